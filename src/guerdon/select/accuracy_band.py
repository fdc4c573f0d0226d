"""Prompts kept for how often they are solved: neither too easy nor too hard (PRIME, arXiv 2502.01456, §3.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from guerdon import ops
from guerdon.rollouts import Rollouts
from guerdon.selection import Selection
from guerdon.terms import keys

BY = ("group", "prompt_id")


def accuracy_band(
    outcome: Tensor, group: Tensor, low: float = 0.2, high: float = 0.8, inclusive: bool = True
) -> Tensor:
    """Rows of the groups whose mean outcome lies in a band.

    Args:
        outcome: (B,) float; NaN rows take no part in the mean, and go with their group.
        group: (B,) int64.
        low: Lower bound.
        high: Upper bound.
        inclusive: Whether the bounds belong to the band.

    Returns:
        (B,) bool; False for groups without any scored row.

    Raises:
        ValueError: `low` above `high`, or wrong shapes.

    Example:
        >>> import torch
        >>> accuracy_band(torch.tensor([1.0, 0.0, 1.0, 1.0]), torch.tensor([0, 0, 1, 1])).tolist()
        [True, True, False, False]
    """
    if not low <= high:
        raise ValueError(f"low is {low} and high is {high}: expected low <= high")
    share = ops.mean(outcome, group)
    return (share >= low) & (share <= high) if inclusive else (share > low) & (share < high)


@dataclass(frozen=True)
class AccuracyBand:
    """Keep the prompts whose responses are right neither too often nor too seldom.

    With `low=0, high=1, inclusive=False` it drops the prompts that are always or never solved, as dynamic sampling does
    (arXiv 2503.14476).

    Attributes:
        low: Lower bound of the mean outcome.
        high: Upper bound of the mean outcome.
        inclusive: Whether the bounds belong to the band.
        threshold: Outcomes above it count 1, others 0; None = outcomes count as they are.
        by: Whose mean: of the "group", or of the column "prompt_id" where groups are finer or coarser than prompts.
    """

    low: float = 0.2
    high: float = 0.8
    inclusive: bool = True
    threshold: float | None = None
    by: str = "group"
    writes: ClassVar[tuple[str, ...]] = ("kept",)

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            raise ValueError(f"AccuracyBand has low {self.low}, high {self.high}: expected low <= high")
        if self.by not in BY:
            raise ValueError(f"AccuracyBand.by is {self.by!r}: expected one of {BY}")

    @property
    def reads(self) -> tuple[str, ...]:
        """What is read."""
        return ("outcome", self.by)

    def __call__(self, rollouts: Rollouts) -> Selection:
        """Return the selection of the rows of prompts inside the band."""
        outcome, key = rollouts.outcome, rollouts.group
        if self.threshold is not None:
            outcome = torch.where(rollouts.scored, (outcome > self.threshold).float(), torch.nan)
        if self.by == "prompt_id":
            key = keys(rollouts.column("prompt_id")).to(rollouts.device)
        kept = accuracy_band(outcome, key, self.low, self.high, self.inclusive)
        share = ops.reduce(outcome, key, "mean")[1]
        easy, hard = (share > self.high).sum(), (share < self.low).sum()
        inside = ops.reduce(kept.float(), key, "min")[1]
        metrics = {
            "groups_inside": float(inside.mean()) if len(inside) else 0.0,
            "groups_too_easy": float(easy) / max(len(share), 1),
            "groups_too_hard": float(hard) / max(len(share), 1),
        }
        return Selection.keep(kept, "accuracy outside the band", metrics)
