"""Rows and groups that carry no learning signal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from guerdon import ops
from guerdon.rollouts import Rollouts
from guerdon.selection import Selection


@dataclass(frozen=True)
class DropUnscorable:
    """Drop the rows whose outcome could not be scored (NaN)."""

    reads: ClassVar[tuple[str, ...]] = ("outcome",)
    writes: ClassVar[tuple[str, ...]] = ("kept",)

    def __call__(self, rollouts: Rollouts) -> Selection:
        """Return a selection without the unscored rows."""
        return Selection.keep(rollouts.scored, "unscored", {"unscored": float((~rollouts.scored).sum())})


@dataclass(frozen=True)
class DropZeroSpread:
    """Drop the groups whose scored outcomes are all equal: their advantages are 0.

    Unscored rows of a mixed group are kept: another stage decides on them.

    Attributes:
        tolerance: The largest difference between the best and the worst outcome that still counts as equal.
    """

    tolerance: float = 0.0
    reads: ClassVar[tuple[str, ...]] = ("outcome", "group")
    writes: ClassVar[tuple[str, ...]] = ("kept",)

    def __post_init__(self) -> None:
        if not self.tolerance >= 0.0:
            raise ValueError(f"DropZeroSpread.tolerance is {self.tolerance}: expected 0 or more")

    def __call__(self, rollouts: Rollouts) -> Selection:
        """Return a selection of the groups that have a spread."""
        spread = ops.max(rollouts.outcome, rollouts.group) - ops.min(rollouts.outcome, rollouts.group)
        mixed = torch.nan_to_num(spread, nan=0.0) > self.tolerance
        groups = ops.reduce(mixed.float(), rollouts.group, "min")[1]
        share = float(groups.mean()) if len(groups) else 0.0
        return Selection.keep(mixed, "group without spread", {"mixed_groups": share})
