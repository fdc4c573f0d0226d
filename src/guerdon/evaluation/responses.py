"""Responses to be judged: their problems, labels, and, once a model has seen them, scores."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from guerdon.evaluation.benchmark_report import aggregated
from guerdon.rollouts import Rollouts
from guerdon.terms import numbers, term

UNSCORED = ("error", "exclude", "fail")


@runtime_checkable
class Scorer(Protocol):
    """A reward model."""

    def score(self, prompts: Sequence[str], responses: Sequence[Any]) -> Any:
        """Score responses, texts or lists of steps.

        Returns:
            A value with `outcome` (B,) and/or `process` (B, S), or a tensor (B,) or (B, S), or a list of B numbers or
            lists of numbers of steps.
        """
        ...


@dataclass(frozen=True, eq=False)
class JudgedResponses:
    """N responses with what is known about them.

    Attributes:
        problem: (N,) int64; responses to the same problem are compared with each other.
        right: (N,) float64: 1 = right (chosen), 0 = wrong (rejected), NaN = not known. Default: from `first_error`, or
            else NaN.
        score: (N,) float64, the reward model's score of the response; NaN = not scored. None = not scored yet.
        process: (N, S) float64, its scores of the steps; NaN = no such step, or not scored. None = it scores no steps.
        gold: (N,) float64, the true score, for curves of optimisation; None = `right`.
        first_error: (N,) int64, the first wrong step, -1 = none, -2 = not known; None = nowhere known.
        ordinal: Whether scores only order the responses of a problem, as those made of a judge's comparisons do.
        features: Name -> (N,) float64 of features that should not matter, such as length.
        prompts: The prompts; empty = not known.
        responses: Texts, or tuples of the texts of steps; empty = not known.

    Raises:
        ValueError: Numbers of responses differ, or a label is neither 0 nor 1.
    """

    problem: Tensor
    right: Tensor = None  # type: ignore[assignment]  # filled on construction
    score: Tensor | None = None
    process: Tensor | None = None
    gold: Tensor | None = None
    first_error: Tensor | None = None
    ordinal: bool = False
    features: Mapping[str, Tensor] = field(default_factory=dict)
    prompts: tuple[str, ...] = ()
    responses: tuple[str | tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        size = len(self.problem)
        if self.right is None:
            unknown = torch.full((size,), torch.nan, dtype=torch.float64)
            given = unknown if self.first_error is None else (self.first_error == -1).double()
            if self.first_error is not None:
                given = torch.where(self.first_error < -1, torch.nan, given)
            object.__setattr__(self, "right", given)
        tables = {"right": self.right, "score": self.score, "process": self.process, "gold": self.gold}
        tables |= {"first_error": self.first_error, **{f"features[{n!r}]": v for n, v in self.features.items()}}
        for name, value in tables.items():
            if value is not None and (len(value) != size or value.ndim != 1 + (name == "process")):
                raise ValueError(f"{name} has shape {tuple(value.shape)}: expected {size} rows, as problem has")
        for name in ("prompts", "responses"):
            if len(getattr(self, name)) not in (0, size):
                raise ValueError(f"{name} has {len(getattr(self, name))} entries: expected {size}, as problem has")
        wrong = ~torch.isnan(self.right) & (self.right != 0) & (self.right != 1)
        if bool(wrong.any()):
            row = int(wrong.nonzero()[0])
            raise ValueError(f"right in row {row} is {float(self.right[row])}: expected 0, 1 or NaN")

    def __len__(self) -> int:
        """Number of responses."""
        return len(self.problem)

    def overall(self, aggregation: str = "min") -> Tensor:
        """(N,) float64: the score of each response, or what `aggregation` makes of its steps where there is none.

        Raises:
            ValueError: There are no scores at all.
        """
        if self.score is not None:
            return self.score.double()
        if self.process is None:
            raise ValueError("the responses have neither score nor process: expected scores, or a model to score them")
        return aggregated(self.process.double(), aggregation)

    def scored_by(self, model: Scorer) -> JudgedResponses:
        """The same responses with the scores of a model.

        Raises:
            ValueError: Prompts or responses are not known, or the model gave another number of scores.
        """
        if not self.prompts or not self.responses:
            raise ValueError("prompts or responses are not known: expected texts for the model to score")
        score, process = _read(model.score(list(self.prompts), [_listed(text) for text in self.responses]), len(self))
        return dataclasses.replace(self, score=score, process=process)

    def edited(self, edit: Any) -> JudgedResponses:
        """The same responses without scores, every text changed by a function; steps are joined by newlines.

        Args:
            edit: Maps a text to a text.
        """
        texts = ["\n".join(text) if isinstance(text, tuple) else text for text in self.responses]
        return dataclasses.replace(self, score=None, process=None, responses=tuple(edit(text) for text in texts))

    @staticmethod
    def from_rollouts(
        rollouts: Rollouts,
        *,
        score: str = "outcome",
        right: str | None = None,
        gold: str | None = None,
        features: Sequence[str] = ("length",),
    ) -> JudgedResponses:
        """Stored rollouts as responses to be judged; problems are the groups.

        Args:
            rollouts: B responses.
            score: What is judged: "outcome", "process" (the scores of steps), or a column of numbers.
            right: A column, or "outcome", that is above 0 for right responses; None = not known.
            gold: A column, or "outcome", with the true scores; None = `right`.
            features: "length", or columns of numbers.

        Raises:
            ValueError: There is no such column, or it holds no numbers.
        """
        label = None if right is None else term(rollouts, right).double()
        truth = None if label is None else torch.where(torch.isnan(label), torch.nan, (label > 0).double())
        return JudgedResponses(
            problem=rollouts.group,
            right=truth,  # type: ignore[arg-type]
            score=None if score == "process" else term(rollouts, score).double(),
            process=rollouts.process.double() if score == "process" else None,
            gold=None if gold is None else term(rollouts, gold).double(),
            features={name: term(rollouts, name).double() for name in features},
        )


def _listed(text: str | tuple[str, ...]) -> str | list[str]:
    return list(text) if isinstance(text, tuple) else text


def _read(found: Any, size: int) -> tuple[Tensor | None, Tensor | None]:
    """(outcome, process) of what a model gave."""
    if hasattr(found, "outcome") or hasattr(found, "process"):
        outcome, process = getattr(found, "outcome", None), getattr(found, "process", None)
    elif isinstance(found, Tensor):
        outcome, process = (found, None) if found.ndim == 1 else (None, found)
    else:
        rows = list(found)
        nested = bool(rows) and all(isinstance(row, Sequence | Tensor) and not isinstance(row, str) for row in rows)
        if nested:
            outcome, process = None, step_table([list(map(float, row)) for row in rows])
        else:
            outcome, process = numbers("score", rows), None
    for name, value in (("outcome", outcome), ("process", process)):
        if value is not None and len(value) != size:
            raise ValueError(f"the model gave {len(value)} scores as {name}: expected {size}")
    if outcome is None and process is None:
        raise ValueError("the model gave neither outcome nor process: expected one of them")
    return tuple(None if value is None else value.detach().cpu().double() for value in (outcome, process))  # type: ignore[return-value]


def step_table(rows: Sequence[Sequence[float]]) -> Tensor:
    """(N, S) float64 of ragged lists, padded with NaN.

    Example:
        >>> step_table([[0.5], [0.25, 1.0]]).tolist()
        [[0.5, nan], [0.25, 1.0]]
    """
    width = max((len(row) for row in rows), default=0)
    padded = [[float(value) for value in row] + [torch.nan] * (width - len(row)) for row in rows]
    return torch.tensor(padded, dtype=torch.float64).reshape(len(rows), width)
