"""Rows that count in the statistics but are not trained on.

Overlength rollouts of E-GRPO (arXiv 2510.24694), responses without process signal of TP-GRPO (arXiv 2507.23317),
truncated completions, and groups whose advantages are 0 anyway.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from guerdon import ops
from guerdon.ops.edges import is_last
from guerdon.rollouts import Rollouts
from guerdon.selection import Selection
from guerdon.terms import flags

ZERO_PROCESS, PURE_GROUP = "zero_process", "pure_group"


def loss_keep_mask(overlength: Tensor) -> Tensor:
    """Rows that stay in the loss: those that are not overlength.

    Args:
        overlength: (B,) bool.
    """
    return ~overlength.bool()


def zero_process(process: Tensor, but_last: bool = False) -> Tensor:
    """Rows all of whose process rewards are 0, or not scored.

    Args:
        process: (B, S) float.
        but_last: Whether the last scored step of each row is not looked at, since it carries the outcome.

    Returns:
        (B,) bool.

    Example:
        >>> import torch
        >>> zero_process(torch.tensor([[0.0, 1.5], [0.25, 1.5]]), but_last=True).tolist()
        [True, False]
    """
    signal = ~torch.isnan(process) & (process != 0)
    if but_last:
        signal &= ~is_last(~torch.isnan(process))
    return ~signal.any(1)


def pure_group(outcome: Tensor, group: Tensor) -> Tensor:
    """Rows of the groups whose scored outcomes are all equal, or that have none.

    Args:
        outcome: (B,) float.
        group: (B,) int64.

    Returns:
        (B,) bool.
    """
    return ~(ops.max(outcome, group) > ops.min(outcome, group))


@dataclass(frozen=True)
class DropFromLoss:
    """Keep all rows in the statistics, and train on those only to which no reason applies.

    Attributes:
        on: Why rows are dropped: "zero_process", "pure_group", or the name of a column of flags such as `truncated`;
            several names = any of them.
        but_last: For "zero_process": see `zero_process`.
    """

    on: str | tuple[str, ...] = "truncated"
    but_last: bool = True
    writes: ClassVar[tuple[str, ...]] = ("trained",)

    def __post_init__(self) -> None:
        if not self.on:
            raise ValueError(f"DropFromLoss.on is {self.on!r}: expected at least one reason")

    @property
    def _names(self) -> tuple[str, ...]:
        return (self.on,) if isinstance(self.on, str) else self.on

    @property
    def reads(self) -> tuple[str, ...]:
        """What is read."""
        known = {ZERO_PROCESS: ("process",), PURE_GROUP: ("outcome", "group")}
        return tuple(dict.fromkeys(field for name in self._names for field in known.get(name, (name,))))

    def __call__(self, rollouts: Rollouts) -> Selection:
        """Return the selection with the reason for every untrained row."""
        kept = torch.ones(len(rollouts), dtype=torch.bool, device=rollouts.device)
        trained, reason = kept.clone(), [""] * len(rollouts)
        for name in self._names:
            dropped = self._dropped(rollouts, name)
            text = name.replace("_", " ")
            reason = [old or (text if out else "") for old, out in zip(reason, dropped.tolist(), strict=True)]
            trained &= ~dropped
        return Selection(kept, trained, reason=reason, metrics={"out_of_loss": float((~trained).sum())})

    def _dropped(self, rollouts: Rollouts, name: str) -> Tensor:
        if name == ZERO_PROCESS:
            return zero_process(rollouts.process, self.but_last)
        if name == PURE_GROUP:
            return pure_group(rollouts.outcome, rollouts.group)
        return ~loss_keep_mask(flags(rollouts, name))
