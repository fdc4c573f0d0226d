"""What every reward model can do, whatever its kind: score responses, or their steps; and the stage that uses one."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor

from guerdon import ops
from guerdon.ops.step import AGGREGATES
from guerdon.rollouts import Rollouts
from guerdon.score.models.step_scores import fill_process
from guerdon.score.verify.blocks import split_steps

Response = str | Sequence[str]
"""A response: one text, or the texts of its steps."""

SETTINGS_FILE = "reward_model.json"
"""Beside the weights of a saved reward model: its kind and its settings."""

KINDS = {
    "scalar_head": "guerdon.score.models.scalar_head:ScalarHeadModel",
    "yes_no": "guerdon.score.models.yes_no:YesNoModel",
    "ensemble": "guerdon.score.models.ensemble:Ensemble",
    "implicit": "guerdon.score.models.implicit:ImplicitModel",
}
"""Kind of a saved reward model -> its class."""


@dataclass(frozen=True, eq=False)
class Scores:
    """What a reward model says of B responses.

    Attributes:
        outcome: (B,) float32, NaN = not scored; None = the model scores no whole responses.
        process: (B, S) float32, NaN = no such step, or not scored; None = the model scores no steps.
        reasons: Why a response was not scored, "" where it was; empty = all were.
        columns: Name -> B further values, such as an uncertainty.

    Raises:
        ValueError: Nothing is scored, a shape is wrong, or numbers of rows differ.
    """

    outcome: Tensor | None = None
    process: Tensor | None = None
    reasons: tuple[str, ...] = ()
    columns: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        known = {name: value for name in ("outcome", "process") if (value := getattr(self, name)) is not None}
        if not known:
            raise ValueError("outcome and process are None: expected at least one of them")
        for name, value in known.items():
            dimensions = 1 + (name == "process")
            if value.ndim != dimensions or len(value) != len(self):
                raise ValueError(
                    f"{name} has shape {tuple(value.shape)}: expected {dimensions} dimension(s), {len(self)} rows"
                )
            object.__setattr__(self, name, value.detach().to("cpu", torch.float32))
        for name, values in (("reasons", self.reasons or [""] * len(self)), *self.columns.items()):
            if len(values) != len(self):
                raise ValueError(f"{name} has {len(values)} entries: expected {len(self)}")

    def __len__(self) -> int:
        """B."""
        value = self.process if self.outcome is None else self.outcome
        assert value is not None
        return len(value)

    def overall(self, aggregate: str = "min") -> Tensor:
        """(B,) float32: the outcome, or where the model scores steps only, what `aggregate` makes of them."""
        if self.outcome is not None:
            return self.outcome
        assert self.process is not None
        return ops.aggregate(self.process, aggregate)

    def rows(self, index: Sequence[int]) -> Scores:
        """The scores of some responses, in that order; a response may come more than once."""
        at = torch.tensor(list(index), dtype=torch.int64)
        return Scores(
            None if self.outcome is None else self.outcome[at],
            None if self.process is None else self.process[at],
            tuple(self.reasons[row] for row in index) if self.reasons else (),
            {name: [values[row] for row in index] for name, values in self.columns.items()},
        )


@runtime_checkable
class RewardModel(Protocol):
    """Scores responses to prompts."""

    def score(self, prompts: Sequence[str], responses: Sequence[Response]) -> Scores:
        """Score responses.

        Args:
            prompts: B texts before the responses.
            responses: B texts, or B sequences of the texts of steps, delimiters included.

        Returns:
            `outcome` (B,) and/or `process` (B, S); what could not be scored is NaN, with a reason.
        """
        ...


def joined(response: Response) -> str:
    """The whole text of a response."""
    return response if isinstance(response, str) else "".join(response)


def as_steps(response: Response, delimiter: str) -> list[str]:
    r"""The texts of a response's steps; a text is cut after each delimiter.

    Example:
        >>> as_steps("3\n7", "\n"), as_steps(["3", "7"], "\n")
        (['3\n', '7'], ['3', '7'])
    """
    if not isinstance(response, str):
        return list(response)
    return [response[start:end] for start, end in split_steps(response, delimiter)]


def write_settings(folder: Path, kind: str, settings: Mapping[str, Any]) -> None:
    """Write what `from_pretrained` needs beside the weights of a reward model."""
    text = json.dumps({"kind": kind, **settings}, indent=2, ensure_ascii=False)
    (folder / SETTINGS_FILE).write_text(text + "\n")


def read_settings(folder: Path) -> dict[str, Any]:
    """Read what `write_settings` wrote, with the kind.

    Raises:
        ValueError: The folder holds no saved reward model.
    """
    path = folder / SETTINGS_FILE
    if not path.is_file():
        raise ValueError(f"{folder} has no {SETTINGS_FILE}: expected a folder that save_pretrained wrote")
    settings: dict[str, Any] = json.loads(path.read_text())
    return settings


def from_pretrained(folder: str | os.PathLike[str]) -> RewardModel:
    """Load a saved reward model of any kind.

    Args:
        folder: What `save_pretrained` of that kind wrote.

    Raises:
        ValueError: No reward model was saved there, or one of an unknown kind.
    """
    source = Path(folder)
    kind = read_settings(source)["kind"]
    if kind not in KINDS:
        raise ValueError(f"{source / SETTINGS_FILE} names the kind {kind!r}: expected one of {sorted(KINDS)}")
    module, _, name = KINDS[kind].partition(":")
    model: RewardModel = getattr(import_module(module), name).from_pretrained(source)
    return model


@dataclass(frozen=True, eq=False)
class ModelScore:
    """Fill the outcome, the process rewards or a column by a reward model.

    Equal responses to equal prompts are scored once. Where a response was not scored its reward is NaN, and the reason
    is in `score_error` for the outcome, in "<write>_error" for everything else.

    Attributes:
        model: The reward model.
        write: "outcome", "process", or the name of a column of numbers.
        aggregate: What makes one number of the steps, for a model that scores steps only.
        delimiter: Text that ends a step: the model is given steps; "" = it is given whole texts.
        steps: Column with the texts of the steps of each response, instead of a delimiter; "" = there is none.
        prompt: The column with the prompts.

    Raises:
        ValueError: A delimiter and a column of steps, or an unknown aggregation.
    """

    model: RewardModel
    write: str = "outcome"
    aggregate: str = "min"
    delimiter: str = ""
    steps: str = ""
    prompt: str = "prompt"
    FIELDS: ClassVar[tuple[str, ...]] = ("outcome", "process")

    def __post_init__(self) -> None:
        if self.aggregate not in AGGREGATES:
            raise ValueError(f"ModelScore.aggregate is {self.aggregate!r}: expected one of {AGGREGATES}")
        if self.delimiter and self.steps:
            raise ValueError(
                f"ModelScore has delimiter {self.delimiter!r} and steps {self.steps!r}: expected one at most"
            )
        if not self.write:
            raise ValueError("ModelScore.write is empty: expected 'outcome', 'process' or the name of a column")

    @property
    def reads(self) -> tuple[str, ...]:
        """What is read."""
        return (self.prompt, self.steps or "response", *(("step",) if self.write == "process" else ()))

    @property
    def writes(self) -> tuple[str, ...]:
        """What is filled."""
        return (self.write, self._error)

    @property
    def _error(self) -> str:
        return "score_error" if self.write == "outcome" else f"{self.write}_error"

    def __call__(self, rollouts: Rollouts) -> Rollouts:
        """Return the rollouts with the scores.

        Raises:
            ValueError: A prompt is no text, a column is missing, or the model scores no steps where they are asked for.
        """
        cells = list(zip(self._prompts(rollouts), self._responses(rollouts), strict=True))
        place = {cell: index for index, cell in enumerate(dict.fromkeys(cells))}
        distinct = self.model.score([prompt for prompt, _ in place], [response for _, response in place])
        if len(distinct) != len(place):
            raise ValueError(f"the model gave {len(distinct)} scores: expected {len(place)}")
        scores = distinct.rows([place[cell] for cell in cells])
        filled = self._filled(rollouts, scores)
        columns: dict[str, Sequence[Any]] = dict(scores.columns)
        if scores.reasons or self._error in rollouts.columns:
            columns[self._error] = scores.reasons or ("",) * len(rollouts)
        return filled.with_columns(**columns) if columns else filled

    def _filled(self, rollouts: Rollouts, scores: Scores) -> Rollouts:
        if self.write == "process":
            if scores.process is None:
                raise ValueError(f"{type(self.model).__name__} scores no steps: expected write='outcome' or a column")
            return fill_process(rollouts, scores.process.tolist())
        value = scores.overall(self.aggregate)
        if self.write == "outcome":
            return rollouts.replace(outcome=value.to(rollouts.device))
        return rollouts.with_columns(**{self.write: value.tolist()})

    def _prompts(self, rollouts: Rollouts) -> tuple[str, ...]:
        prompts = rollouts.column(self.prompt)
        for row, prompt in enumerate(prompts):
            if not isinstance(prompt, str):
                raise ValueError(f"columns[{self.prompt!r}] in row {row} is a {type(prompt).__name__}: expected text")
        return prompts

    def _responses(self, rollouts: Rollouts) -> list[str | tuple[str, ...]]:
        if self.steps:
            return [tuple(texts or ()) for texts in rollouts.column(self.steps)]
        texts = rollouts.column("response")
        return [tuple(as_steps(text, self.delimiter)) if self.delimiter else text for text in texts]
