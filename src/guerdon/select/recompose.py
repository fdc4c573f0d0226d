"""Brevity from the composition of updates alone: short right and long wrong responses now, the others later.

RoRecomp (arXiv 2509.25958). Rewards and advantages stay as they are; the rows that wait go through a
`guerdon.search.ReplayBuffer`. The ratio, the shape of the schedule and the sizes of the buffer are not published; the
defaults are this project's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from guerdon import ops
from guerdon.ops.schedule import schedule
from guerdon.rollouts import Rollouts
from guerdon.selection import Selection
from guerdon.terms import term

SCOPES = ("group", "batch")
SHORT_CORRECT, LONG_INCORRECT = "short correct", "long incorrect"
LONG_CORRECT, SHORT_INCORRECT = "long correct", "short incorrect"
DEGENERATE, UNSCORED = "degenerate", "unscored"


@dataclass(frozen=True, eq=False)
class Recomposition:
    """How the rows of a batch are divided among updates.

    Attributes:
        priority: (B,) bool, rows that are trained on at once.
        compensation: (B,) bool, rows that wait in a buffer.
        reason: One a row: "short correct", "long incorrect" (priority), "long correct", "short incorrect"
            (compensation), "degenerate" or "unscored" (neither).
    """

    priority: Tensor
    compensation: Tensor
    reason: tuple[str, ...]


def recompose(
    length: Tensor,
    outcome: Tensor,
    group: Tensor,
    ratio: float = 0.5,
    scope: str = "group",
    drop_degenerate: bool = False,
) -> Recomposition:
    """Choose the shortest right and the longest wrong rows, ceil(ratio n) of the n rows of each class.

    Args:
        length: (B,), cost of each response: tokens, tool calls or turns; 0 or more.
        outcome: (B,) in {0, 1}, or NaN for rows that could not be scored, which go to neither part.
        group: (B,) int64.
        ratio: Share of each class that is chosen, in (0, 1].
        scope: Whether classes are ranked in each "group", or over the whole "batch".
        drop_degenerate: Whether rows of groups with one class only go to neither part.

    Returns:
        The division; of equal lengths the lower row is chosen first.

    Raises:
        ValueError: A ratio outside (0, 1], a negative or NaN length, an outcome other than 0, 1 or NaN, an unknown
            scope, or wrong shapes.

    Example:
        >>> import torch
        >>> length, outcome = torch.tensor([40, 10, 60, 100]), torch.tensor([1.0, 1.0, 0.0, 0.0])
        >>> recompose(length, outcome, torch.zeros(4, dtype=torch.int64)).priority.tolist()
        [False, True, False, True]
    """
    if not 0.0 < ratio <= 1.0:
        raise ValueError(f"ratio is {ratio}: expected a number in (0, 1]")
    if scope not in SCOPES:
        raise ValueError(f"scope is {scope!r}: expected one of {SCOPES}")
    if not length.shape == outcome.shape == group.shape or length.ndim != 1:
        shapes = tuple(length.shape), tuple(outcome.shape), tuple(group.shape)
        raise ValueError(f"length, outcome, group have the shapes {shapes}: expected (B,) each")
    _check_values(length, outcome)
    scored, correct = ~torch.isnan(outcome), outcome == 1
    degenerate = torch.zeros_like(scored)
    if drop_degenerate:
        degenerate = scored & ~(ops.max(outcome, group) > ops.min(outcome, group))
    taking_part = scored & ~degenerate
    place = torch.unique(group, return_inverse=True)[1] if scope == "group" else torch.zeros_like(group)
    key = 2 * place + correct.long()
    cost = torch.where(correct, length.double(), -length.double())
    rank = ops.rank(torch.where(taking_part, cost, torch.nan), key, descending=False, ties="first")
    number = ops.count(cost, key, taking_part)
    # The small number keeps 0.7 of 10 at 7, whatever rounding says.
    priority = taking_part & (rank < torch.ceil(ratio * number.double() - 1e-9))
    reason = _reasons(priority, correct, scored, degenerate)
    return Recomposition(priority, taking_part & ~priority, reason)


def _check_values(length: Tensor, outcome: Tensor) -> None:
    wrong = ~(length >= 0)
    if bool(wrong.any()):
        row = int(wrong.nonzero()[0])
        raise ValueError(f"length in row {row} is {float(length[row])}: expected 0 or more")
    wrong = ~torch.isnan(outcome) & (outcome != 0) & (outcome != 1)
    if bool(wrong.any()):
        row = int(wrong.nonzero()[0])
        raise ValueError(f"outcome in row {row} is {float(outcome[row])}: expected 0, 1 or NaN")


def _reasons(priority: Tensor, correct: Tensor, scored: Tensor, degenerate: Tensor) -> tuple[str, ...]:
    names = {
        (True, True): SHORT_CORRECT,
        (True, False): LONG_INCORRECT,
        (False, True): LONG_CORRECT,
        (False, False): SHORT_INCORRECT,
    }
    rows = zip(priority.tolist(), correct.tolist(), scored.tolist(), degenerate.tolist(), strict=True)
    return tuple(
        UNSCORED if not known else DEGENERATE if pure else names[first, right] for first, right, known, pure in rows
    )


def compensation_probability(step: int, total_steps: int, start: float = 1.0, end: float = 0.0) -> float:
    """Probability that a step also trains on rows that waited; falls along half a cosine, and stays at the end.

    Args:
        step: Steps so far.
        total_steps: Steps that the schedule takes, at least 1.
        start: Probability at step 0.
        end: Probability from `total_steps` on.

    Raises:
        ValueError: `total_steps` below 1, a negative step, or a probability outside [0, 1].

    Example:
        >>> round(compensation_probability(25, 100), 6)
        0.853553
    """
    if total_steps < 1:
        raise ValueError(f"total_steps is {total_steps}: expected at least 1")
    for name, value in (("start", start), ("end", end)):
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"{name} is {value}: expected a probability in [0, 1]")
    return schedule(step, total_steps, "cosine", start, end)


@dataclass(frozen=True)
class Recompose:
    """Train on short right and long wrong rows; the others only count in the statistics, and may be replayed later.

    Advantages are over all scored rows, so a row's advantage does not depend on its part. The reasons "long correct"
    and "short incorrect" name the rows that belong into a replay buffer.

    Attributes:
        ratio: Share of each class that is trained on at once.
        scope: "group" or "batch"; see `recompose`.
        drop_degenerate: Whether rows of groups with one class only are not trained on at all.
        cost: What is kept short: "length" (policy tokens, unless there is a column of that name), or a column such as
            the number of tool calls.
        threshold: Rows with an outcome above it are right.
    """

    ratio: float = 0.5
    scope: str = "group"
    drop_degenerate: bool = False
    cost: str = "length"
    threshold: float = 0.5
    writes: ClassVar[tuple[str, ...]] = ("kept", "trained")

    def __post_init__(self) -> None:
        if not 0.0 < self.ratio <= 1.0:
            raise ValueError(f"Recompose.ratio is {self.ratio}: expected a number in (0, 1]")
        if self.scope not in SCOPES:
            raise ValueError(f"Recompose.scope is {self.scope!r}: expected one of {SCOPES}")

    @property
    def reads(self) -> tuple[str, ...]:
        """What is read."""
        return ("outcome", "group", "mask" if self.cost == "length" else self.cost)

    def parts(self, rollouts: Rollouts) -> Recomposition:
        """The division of the rows."""
        outcome = torch.where(rollouts.scored, (rollouts.outcome > self.threshold).float(), torch.nan)
        length = term(rollouts, self.cost)
        return recompose(length, outcome, rollouts.group, self.ratio, self.scope, self.drop_degenerate)

    def __call__(self, rollouts: Rollouts) -> Selection:
        """Return the selection with the reason for every untrained row."""
        parts = self.parts(rollouts)
        first = parts.priority.tolist()
        reason = ["" if now else why for now, why in zip(first, parts.reason, strict=True)]
        length, right = term(rollouts, self.cost), rollouts.outcome > self.threshold
        metrics = {"priority": float(parts.priority.sum()), "compensation": float(parts.compensation.sum())}
        for name, rows in (("priority", parts.priority), ("compensation", parts.compensation)):
            metrics[f"length_{name}_correct"] = _mean(length, rows & right)
            metrics[f"length_{name}_incorrect"] = _mean(length, rows & ~right)
        return Selection(rollouts.scored, parts.priority, reason=reason, metrics=metrics)


def _mean(values: Tensor, where: Tensor) -> float:
    return float(values[where].mean()) if bool(where.any()) else float("nan")
