"""Numbers that change over a run, and stay the same inside a batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

KINDS = ("linear", "cosine", "exponential", "geometric", "ramp", "switch")
_ENDS = {
    "linear": (1.0, 0.0),
    "cosine": (1.0, 0.0),
    "exponential": (1.0, 0.0),
    "geometric": (1.0, 1e-3),
    "ramp": (0.0, 1.0),
    "switch": (1.0, 0.0),
}


def schedule(
    iteration: float, total: float, kind: str = "linear", start: float | None = None, end: float | None = None
) -> float:
    """The value of a schedule at an iteration; x is iteration / total.

    "linear" and "ramp" go straight from start to end and stay there; "cosine" along half a cosine; "geometric" is
    start (end / start)^x, and stays at the end; "exponential" is end + (start - end) exp(-x) and has no last
    iteration; "switch" is the start before `total`, the end from then on.

    Args:
        iteration: Iterations of the whole run, also after a restart; 0 or more.
        total: How many the schedule takes; above 0.
        kind: One of the six.
        start: Value at iteration 0. Default: 1, 0 for "ramp".
        end: Value that it goes to. Default: 0, 1 for "ramp", 0.001 for "geometric".

    Raises:
        ValueError: `total` is not positive, `iteration` is negative, an unknown kind, or an end that "geometric"
            cannot reach.

    Example:
        >>> schedule(40, 100, start=0.5, end=0.0)
        0.3
        >>> round(schedule(50, 200, "geometric", start=0.1, end=1e-3), 6)
        0.031623
    """
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}: expected one of {KINDS}")
    if not (total > 0 and math.isfinite(total)):
        raise ValueError(f"total is {total}: expected a number above 0")
    if not iteration >= 0:
        raise ValueError(f"iteration is {iteration}: expected 0 or more")
    first = _ENDS[kind][0] if start is None else start
    last = _ENDS[kind][1] if end is None else end
    share = min(iteration / total, 1.0)
    if kind == "switch":
        return first if iteration < total else last
    if kind == "exponential":
        return last + (first - last) * math.exp(-iteration / total)
    if kind == "geometric":
        if not (first != 0 and last / first > 0):
            raise ValueError(f"start is {first} and end is {last}: expected two numbers of one sign, not 0")
        return float(first * (last / first) ** share)
    if share == 1.0:
        return last
    if kind == "cosine":
        return last + (first - last) * (1.0 + math.cos(math.pi * share)) / 2.0
    return first + (last - first) * share


@dataclass(frozen=True)
class Schedule:
    """A number that depends on how far the run is; it can stand where a stage takes a weight.

    Attributes:
        kind: "linear", "cosine", "exponential", "geometric", "ramp" or "switch"; see `schedule`.
        start: Value at the beginning; None = as for `schedule`.
        end: Value that it goes to; None = as for `schedule`.
        total: Iterations that it takes; None = counted in the progress of the run instead.
        share: Without `total`: the share of the run that it takes, in (0, 1].

    Example:
        >>> Schedule("switch", total=100).at(iteration=99, progress=0.0)
        1.0
        >>> Schedule("linear", start=0.5, end=0.0).at(iteration=7, progress=0.4)
        0.3
    """

    kind: str = "linear"
    start: float | None = None
    end: float | None = None
    total: float | None = None
    share: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 < self.share <= 1.0:
            raise ValueError(f"Schedule.share is {self.share}: expected a number in (0, 1]")
        self.at(0, 0.0)

    def at(self, iteration: int, progress: float) -> float:
        """The value at a number of iterations (with `total`) or at a share of the run (without)."""
        if self.total is not None:
            return schedule(iteration, self.total, self.kind, self.start, self.end)
        return schedule(progress, self.share, self.kind, self.start, self.end)


def value_at(value: float | Schedule, iteration: int, progress: float) -> float:
    """A number as it is, a schedule at its place in the run."""
    return value.at(iteration, progress) if isinstance(value, Schedule) else float(value)


def weights_at(weights: Sequence[float | Schedule | None], iteration: int, progress: float) -> tuple[float, ...]:
    """Weights at a place in the run; one of them may be None: what the others leave of 1.

    Raises:
        ValueError: More than one is None.

    Example:
        >>> weights_at((None, Schedule("linear", start=0.5, end=0.0)), iteration=0, progress=0.4)
        (0.7, 0.3)
    """
    if sum(weight is None for weight in weights) > 1:
        raise ValueError(f"weights is {tuple(weights)}: expected at most one None")
    known = [None if weight is None else value_at(weight, iteration, progress) for weight in weights]
    rest = 1.0 - sum(weight for weight in known if weight is not None)
    return tuple(rest if weight is None else weight for weight in known)
