"""Partial reward of wrong answers for the entities that the thoughts named (arXiv 2510.24694)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from guerdon import ops
from guerdon.ops.schedule import Schedule, value_at
from guerdon.rollouts import Rollouts
from guerdon.terms import flags, term

STATUSES = ("correct", "wrong", "error")


def entity_aware_rewards(rates: Tensor, status: Sequence[str | None], group_ids: Tensor, alpha: float = 0.3) -> Tensor:
    """1 for correct responses, alpha rate / best rate of the group for wrong ones, 0 for errors.

    The best rate is over all responses of the group, whatever their status; the group's own scale makes entities that
    nobody finds harmless.

    Args:
        rates: (B,) float in [0, 1], share of the question's entities named; NaN = not known.
        status: B of "correct", "wrong" or "error"; None = could not be scored.
        group_ids: (B,) int64.
        alpha: Reward of the best wrong answer, in [0, 1].

    Returns:
        (B,) of the dtype of `rates`; NaN for unscored rows and wrong rows of unknown rate. Where all rates of a group
        are 0, wrong ones get 0.

    Raises:
        ValueError: `alpha` or a rate outside [0, 1], an unknown status, wrong shapes.

    Example:
        >>> import torch
        >>> rates = torch.tensor([1.0, 0.5, 0.25, 0.75])
        >>> status = ["correct", "wrong", "wrong", "error"]
        >>> [round(x, 3) for x in entity_aware_rewards(rates, status, torch.zeros(4, dtype=torch.int64)).tolist()]
        [1.0, 0.15, 0.075, 0.0]
    """
    if not 0.0 <= alpha <= 1.0:
        raise ValueError(f"alpha is {alpha}: expected a number in [0, 1]")
    if rates.ndim != 1 or len(status) != len(rates) or group_ids.shape != rates.shape:
        raise ValueError(
            f"rates {tuple(rates.shape)}, {len(status)} of status, group_ids {tuple(group_ids.shape)}: expected (B,)"
        )
    for row, name in enumerate(status):
        if name is not None and name not in STATUSES:
            raise ValueError(f"status in row {row} is {name!r}: expected one of {STATUSES}, or None")
    outside = (rates < 0) | (rates > 1)
    if bool(outside.any()):
        row = int(outside.nonzero()[0])
        raise ValueError(f"rates in row {row} is {float(rates[row])}: expected a number in [0, 1] or NaN")
    correct, wrong, error = (
        torch.tensor([name == wanted for name in status], dtype=torch.bool, device=rates.device) for wanted in STATUSES
    )
    best = ops.max(rates, group_ids)
    share = torch.where(best > 0, rates / torch.where(best > 0, best, 1.0), 0.0 * rates)
    reward = torch.where(wrong, alpha * share, torch.full_like(rates, torch.nan))
    reward = torch.where(correct, torch.ones_like(reward), reward)
    return torch.where(error, torch.zeros_like(reward), reward)


@dataclass(frozen=True)
class EntityAware:
    """Give wrong answers a reward for the entities that they named; see `entity_aware_rewards`.

    A response is an error if it was truncated or its format is wrong, where there are such columns; it is then not
    looked at whether it is right. Overlong responses stay in the statistics here; dropping them from the loss is a
    selection's work.

    Attributes:
        alpha: Reward of the best wrong answer of a group, in [0, 1].
        rate: Name of the column of rates.
        right_from: Outcome from which a response counts as right.
    """

    alpha: float | Schedule = 0.3
    rate: str = "entity_rate"
    right_from: float = 0.5
    writes: ClassVar[tuple[str, ...]] = ("outcome", "entity_status")

    def __post_init__(self) -> None:
        if not isinstance(self.alpha, Schedule) and not 0.0 <= self.alpha <= 1.0:
            raise ValueError(f"EntityAware.alpha is {self.alpha}: expected a number in [0, 1]")

    @property
    def reads(self) -> tuple[str, ...]:
        """The outcome, the groups, the rates, and what tells errors."""
        return ("outcome", "group", self.rate, "truncated", "format")

    def __call__(self, rollouts: Rollouts) -> Rollouts:
        """Return the rollouts with the three-way reward; the column `entity_status` says which case each row was."""
        error = torch.zeros(len(rollouts), dtype=torch.bool, device=rollouts.device)
        if "truncated" in rollouts.columns:
            error = error | flags(rollouts, "truncated")
        if "format" in rollouts.columns:
            error = error | (term(rollouts, "format") <= 0)
        status = [
            "error" if failed else None if outcome != outcome else "correct" if outcome >= self.right_from else "wrong"
            for failed, outcome in zip(error.tolist(), rollouts.outcome.tolist(), strict=True)
        ]
        alpha = value_at(self.alpha, rollouts.iteration, rollouts.progress)
        reward = entity_aware_rewards(term(rollouts, self.rate), status, rollouts.group, alpha)
        return rollouts.replace(outcome=reward).with_columns(entity_status=status)
