"""Parsers of a judge stage: small values that say in which form a verdict is asked for, and read it.

Called with a reply, a parser gives a number, or a list of numbers of steps, or raises `UnreadableReplyError`. Its
`schema` is what a server that supports structured output is asked for, or None.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from guerdon.score.judge.parse import (
    UnreadableReplyError,
    entries,
    in_range,
    is_number,
    json_value,
    label,
    preference,
    rating,
    score_over_max,
    step_verdicts,
    unit_number,
    unit_numbers,
)


class Parser(Protocol):
    """What a judge stage needs to read replies."""

    @property
    def schema(self) -> Mapping[str, Any] | None:
        """JSON Schema of the reply, or None for free text."""
        ...

    def __call__(self, reply: str, n_steps: int = 0) -> float | list[float]:
        """The verdict of a reply about a response of `n_steps` steps."""
        ...


@dataclass(frozen=True)
class ScoreOverMax:
    """See `score_over_max`."""

    tag: str = "final_score"
    schema: ClassVar[None] = None

    def __call__(self, reply: str, n_steps: int = 0) -> float:
        """Read a reply."""
        return score_over_max(reply, self.tag)


@dataclass(frozen=True)
class UnitNumber:
    """See `unit_number`."""

    out_of_range: str = "error"
    schema: ClassVar[None] = None

    def __call__(self, reply: str, n_steps: int = 0) -> float:
        """Read a reply."""
        return unit_number(reply, self.out_of_range)


@dataclass(frozen=True)
class UnitNumbers:
    """One number a step; see `unit_numbers`."""

    schema: ClassVar[None] = None

    def __call__(self, reply: str, n_steps: int = 0) -> list[float]:
        """Read a reply."""
        return unit_numbers(reply, n_steps)


@dataclass(frozen=True)
class Rating:
    """An integer rating, scaled to [0, 1] unless `scale` is off; see `rating`."""

    low: int = 1
    high: int = 10
    marker: str = "Rating:"
    scale: bool = True
    schema: ClassVar[None] = None

    def __post_init__(self) -> None:
        if not self.low < self.high or not self.marker:
            raise ValueError(f"Rating is {self.low} to {self.high} after {self.marker!r}: expected low < high")

    def __call__(self, reply: str, n_steps: int = 0) -> float:
        """Read a reply."""
        value = rating(reply, self.low, self.high, self.marker)
        return (value - self.low) / (self.high - self.low) if self.scale else float(value)


@dataclass(frozen=True)
class StepVerdicts:
    """1 or 0 for each step; see `step_verdicts`."""

    schema: ClassVar[None] = None

    def __call__(self, reply: str, n_steps: int = 0) -> list[float]:
        """Read a reply."""
        return step_verdicts(reply, n_steps)


def _yes_no() -> Mapping[str, float]:
    return {"CORRECT": 1.0, "INCORRECT": 0.0}


@dataclass(frozen=True)
class Label:
    """The value of a label; see `label`."""

    labels: Mapping[str, float] = field(default_factory=_yes_no)
    schema: ClassVar[None] = None

    def __call__(self, reply: str, n_steps: int = 0) -> float:
        """Read a reply."""
        return label(reply, self.labels)


@dataclass(frozen=True)
class Preference:
    """1, 0 or 0.5; see `preference`."""

    schema: ClassVar[None] = None

    def __call__(self, reply: str, n_steps: int = 0) -> float:
        """Read a reply."""
        return preference(reply)


@dataclass(frozen=True)
class JsonNumber:
    """A number in a field of a JSON object, scaled from low .. high to [0, 1] unless `scale` is off.

    The server is asked for structured output; the reply is checked all the same.
    """

    field: str = "score"
    low: float = 0.0
    high: float = 1.0
    scale: bool = True
    reason_field: str | None = "reason"

    def __post_init__(self) -> None:
        if not -math.inf < self.low < self.high < math.inf:
            raise ValueError(f"JsonNumber is {self.low} to {self.high}: expected finite numbers, low < high")

    @property
    def schema(self) -> Mapping[str, Any]:
        """An object of the reason, which is asked for first, and the score."""
        score = {"type": "number", "minimum": self.low, "maximum": self.high}
        return _object(self.reason_field, self.field, score)

    def __call__(self, reply: str, n_steps: int = 0) -> float:
        """Read a reply."""
        value = _field(json_value(reply), self.field)
        if not is_number(value):
            raise UnreadableReplyError(f"{self.field} is {json.dumps(value)[:50]}: expected a number")
        value = in_range(float(value), self.low, self.high, "error")
        return (value - self.low) / (self.high - self.low) if self.scale else value


@dataclass(frozen=True)
class JsonNumbers:
    """One number a step, in a list in a field of a JSON object; an entry outside of low .. high is NaN."""

    field: str = "scores"
    low: float = 0.0
    high: float = 1.0
    scale: bool = True
    reason_field: str | None = "reason"

    def __post_init__(self) -> None:
        if not -math.inf < self.low < self.high < math.inf:
            raise ValueError(f"JsonNumbers is {self.low} to {self.high}: expected finite numbers, low < high")

    @property
    def schema(self) -> Mapping[str, Any]:
        """An object of the reason, which is asked for first, and the list."""
        number = {"type": "number", "minimum": self.low, "maximum": self.high}
        return _object(self.reason_field, self.field, {"type": "array", "items": number})

    def __call__(self, reply: str, n_steps: int = 0) -> list[float]:
        """Read a reply."""
        value = _field(json_value(reply), self.field)
        if not isinstance(value, list):
            raise UnreadableReplyError(f"{self.field} is {json.dumps(value)[:50]}: expected a list")
        numbers = entries(value, n_steps, self.low, self.high)
        return [(entry - self.low) / (self.high - self.low) for entry in numbers] if self.scale else numbers


def _field(value: Any, name: str) -> Any:
    if not isinstance(value, dict) or name not in value:
        raise UnreadableReplyError(f"has no field {name!r}")
    return value[name]


def _object(reason: str | None, name: str, kind: Mapping[str, Any]) -> Mapping[str, Any]:
    properties = ({} if reason is None else {reason: {"type": "string"}}) | {name: dict(kind)}
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
