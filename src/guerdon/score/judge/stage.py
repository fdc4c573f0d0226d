"""The score stage that asks a judge."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from guerdon.rollouts import Rollouts
from guerdon.score.judge.client import JudgeClient, Reply
from guerdon.score.judge.parse import UnreadableReplyError, without_thinking
from guerdon.score.judge.parsers import JsonNumber, Parser
from guerdon.score.judge.template import Template
from guerdon.score.models.step_scores import fill_process

_NAN = float("nan")
_SKIPPED = "not asked"


@dataclass(frozen=True)
class Judge:
    """Fill the outcome, the process rewards or a column by a judge's verdicts on the responses.

    The judge is asked about all rows at once. A row gets NaN, with the reason, if no reply came, if the budget was
    spent, or if the reply holds no verdict in the form that was asked for; the raw reply is kept in a column either
    way. A missing verdict is never a 0.

    Attributes:
        client: Whom to ask.
        template: The prompt. Its fields are filled from the columns of the same names; see `fields`.
        parse: How to read the reply.
        fill: "outcome", "process", or the name of a column of numbers.
        fields: Field of the template -> name of the column that fills it, where the names differ.
        steps: Name of the column with the texts of the steps of each response, for "process". One reply then judges
            all steps of a response: the template has the field `steps`, numbered, and the parser gives a list.
        each_step: Whether every step is asked about on its own: the template has the fields `step`, and `context`
            (the steps before it), and the parser gives one number.
        skip_last_step: Whether the last step, the answer, is not judged (PPR, arXiv 2509.25598).
        where: (rollouts) -> (B,) bool of the rows to be asked about; the others keep what they have. None = all.
        on_failure: What a row without a verdict gets: NaN, or a number in the open.
        name: Prefix of the columns "<name>_reply", the raw replies, and "<name>_error", the reasons ("" = none).
    """

    client: JudgeClient
    template: Template
    parse: Parser = field(default_factory=JsonNumber)
    fill: str = "outcome"
    fields: Mapping[str, str] = field(default_factory=dict)
    steps: str | None = None
    each_step: bool = False
    skip_last_step: bool = False
    where: Callable[[Rollouts], Tensor] | None = None
    on_failure: float = _NAN
    name: str = "judge"
    OWN_FIELDS: ClassVar[tuple[str, ...]] = ("steps", "step", "context")

    def __post_init__(self) -> None:
        if (self.steps is None) != (self.fill != "process"):
            raise ValueError(f"Judge.fill is {self.fill!r}, steps {self.steps!r}: expected steps exactly for 'process'")
        if self.each_step and self.steps is None:
            raise ValueError("Judge.each_step is True: expected steps, the column with the texts of the steps")
        unknown = set(self.fields) - self.template.fields
        if unknown:
            raise ValueError(f"Judge.fields has {sorted(unknown)}: expected fields of the template")
        needed = ("step",) if self.each_step else ("steps",) if self.steps else ()
        for name in needed:
            if name not in self.template.fields:
                raise ValueError(f"the template {self.template.name} has no field {name!r}: expected it here")

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns that are used."""
        return tuple(dict.fromkeys((*self._columns().values(), *((self.steps,) if self.steps else ()))))

    @property
    def writes(self) -> tuple[str, ...]:
        """The field or column that is filled, and the two columns beside it."""
        extra = ("score_error",) if self.fill == "outcome" else ()
        return (self.fill, f"{self.name}_reply", f"{self.name}_error", *extra)

    def __call__(self, rollouts: Rollouts) -> Rollouts:
        """Return the rollouts with the verdicts, the replies and the reasons.

        Raises:
            ValueError: A column that the template needs is missing, or holds neither texts nor numbers.
        """
        asked = self._asked(rollouts)
        prompts, places = self._prompts(rollouts, asked)
        replies = self.client.complete(prompts, self.parse.schema)
        by_row: dict[int, list[Reply]] = {row: [] for row in asked}
        for (row, _), reply in zip(places, replies, strict=True):
            by_row[row].append(reply)
        counts = self._step_counts(rollouts, asked)
        verdicts = {row: self._verdict(by_row[row], counts.get(row, 0)) for row in asked}
        return self._filled(rollouts, verdicts, by_row, counts)

    def _columns(self) -> dict[str, str]:
        own = self.OWN_FIELDS if self.steps else ()
        return {name: self.fields.get(name, name) for name in sorted(self.template.fields) if name not in own}

    def _asked(self, rollouts: Rollouts) -> list[int]:
        if self.where is None:
            return list(range(len(rollouts)))
        chosen = self.where(rollouts)
        if chosen.dtype != torch.bool or chosen.shape != (len(rollouts),):
            raise ValueError(f"where gave {tuple(chosen.shape)} of {chosen.dtype}: expected ({len(rollouts)},) bool")
        return chosen.nonzero().squeeze(1).tolist()

    def _judged_steps(self, rollouts: Rollouts, row: int) -> list[str]:
        assert self.steps is not None
        steps = list(rollouts.column(self.steps)[row] or ())
        return steps[:-1] if self.skip_last_step else steps

    def _step_counts(self, rollouts: Rollouts, rows: Sequence[int]) -> dict[int, int]:
        return {row: len(self._judged_steps(rollouts, row)) for row in rows} if self.steps else {}

    def _prompts(
        self, rollouts: Rollouts, rows: Sequence[int]
    ) -> tuple[list[list[dict[str, str]]], list[tuple[int, int]]]:
        """The prompts, and for each its row and step."""
        columns = {name: rollouts.column(column) for name, column in self._columns().items()}
        prompts, places = [], []
        for row in rows:
            values = {name: values[row] for name, values in columns.items()}
            for step, own in enumerate(self._own_values(rollouts, row)):
                try:
                    prompts.append(self.template.render(**values, **own))
                except ValueError as error:
                    raise ValueError(f"row {row}: {error}") from error
                places.append((row, step))
        return prompts, places

    def _own_values(self, rollouts: Rollouts, row: int) -> list[dict[str, str]]:
        """What the stage itself puts into the prompts of a row; one entry a prompt."""
        if self.steps is None:
            return [{}]
        steps = self._judged_steps(rollouts, row)
        if not self.each_step:
            numbered = "\n".join(f"Step {number}: {text}" for number, text in enumerate(steps, start=1))
            return [{"steps": numbered}] if steps else []
        entries = [{"step": text, "context": "\n".join(steps[:index])} for index, text in enumerate(steps)]
        return [{name: text for name, text in entry.items() if name in self.template.fields} for entry in entries]

    def _verdict(self, replies: Sequence[Reply], n_steps: int) -> tuple[list[float], str]:
        """The numbers of a row, and the reasons of those that are missing."""
        values: list[float] = []
        problems: dict[str, None] = {}
        for reply in replies:
            expected = 1 if self.each_step or not self.steps else n_steps
            found, problem = self._read(reply, n_steps, expected)
            values += found
            if problem:
                problems[problem] = None
        return values, "; ".join(problems)

    def _read(self, reply: Reply, n_steps: int, expected: int) -> tuple[list[float], str]:
        missing = [self.on_failure] * expected
        if reply.error or reply.text is None:
            return missing, reply.error or "there is no reply"
        try:
            value = self.parse(without_thinking(reply.text), n_steps)
        except UnreadableReplyError as error:
            return missing, f"unreadable reply: {error}"
        values = [value] if isinstance(value, int | float) else list(value)
        if len(values) != expected:
            raise ValueError(f"{self.parse!r} gave {len(values)} numbers: expected {expected}")
        problem = "some numbers are missing" if any(number != number for number in values) else ""
        return [self.on_failure if number != number else float(number) for number in values], problem

    def _filled(
        self,
        rollouts: Rollouts,
        verdicts: Mapping[int, tuple[list[float], str]],
        replies: Mapping[int, list[Reply]],
        counts: Mapping[int, int],
    ) -> Rollouts:
        columns: dict[str, list[Any]] = {
            f"{self.name}_reply": [_raw(replies.get(row), self.each_step) for row in range(len(rollouts))],
            f"{self.name}_error": [verdicts[row][1] if row in verdicts else _SKIPPED for row in range(len(rollouts))],
        }
        if self.fill == "process":
            kept = rollouts.process.tolist()
            table = [verdicts[row][0] if row in verdicts else kept[row] for row in range(len(rollouts))]
            return fill_process(rollouts, table).with_columns(**columns)
        if self.fill == "outcome":
            outcome = rollouts.outcome.clone()
            errors = [
                "" if text is None else text for text in rollouts.columns.get("score_error", [""] * len(rollouts))
            ]
            for row, (values, problem) in verdicts.items():
                outcome[row] = values[0]
                errors[row] = problem if values[0] != values[0] else ""
            return rollouts.replace(outcome=outcome).with_columns(**columns, score_error=errors)
        given = list(rollouts.columns.get(self.fill, [_NAN] * len(rollouts)))
        for row, (values, _) in verdicts.items():
            given[row] = values[0]
        return rollouts.with_columns(**columns, **{self.fill: given})


def _raw(replies: Sequence[Reply] | None, each_step: bool) -> Any:
    """The texts of the replies, as they came: one, or a list of those about the steps."""
    texts = [reply.text for reply in replies or ()]
    if each_step:
        return texts
    return texts[0] if texts else None
