"""One advantage a response, from its outcome and those of its group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from guerdon import ops
from guerdon.rollouts import Rollouts
from guerdon.terms import keys


def over_tokens(advantage: Tensor, mask: Tensor) -> Tensor:
    """Give every policy token its row's advantage.

    Args:
        advantage: (B,) float, finite.
        mask: (B, T) bool.

    Returns:
        (B, T) float32, 0 outside the mask.
    """
    return ops.over_tokens(advantage.to(torch.float32), mask)


def compared_rows(rollouts: Rollouts, by: tuple[str, ...]) -> Tensor:
    """Keys of the rows that are compared with each other: those of a group that are equal in some columns.

    Args:
        rollouts: B responses.
        by: Names of columns of hashable values; none = the groups themselves.

    Returns:
        (B,) int64.
    """
    if not by:
        return rollouts.group
    return keys(rollouts.group.tolist(), *(rollouts.column(name) for name in by)).to(rollouts.device)


def estimated(outcome: Tensor, group: Tensor, estimator: str, ddof: int, eps: float) -> Tensor:
    """One advantage a response, as the estimator of that name has it.

    Args:
        outcome: (B,) float; NaN rows take no part and get 0.
        group: (B,) int64.
        estimator: "grpo" = by mean and standard deviation of the group; "rloo" = minus the mean of the others, 0 for a
            group of one, and no division.
        ddof: Of the standard deviation.
        eps: Is added to it.

    Returns:
        (B,) float.
    """
    if estimator == "rloo":
        return ops.normalize(outcome, group, center="loo", scale="none")
    return ops.normalize(outcome, group, ddof=ddof, eps=eps)


@dataclass(frozen=True)
class GroupNormalized:
    """(outcome - group mean) / (standard deviation + eps): the advantage of GRPO (arXiv 2402.03300, §4.1.2).

    With the defaults it is TRL's. Rows that could not be scored take no part and get 0, as do groups without spread.

    Example:
        >>> import torch
        >>> from guerdon import Rollouts
        >>> rollouts = Rollouts(
        ...     group=torch.tensor([0, 0]), mask=torch.ones(2, 1, dtype=torch.bool), outcome=torch.tensor([3.0, 1.0])
        ... )
        >>> GroupNormalized(scale="none")(rollouts).flatten().tolist()
        [1.0, -1.0]

    Attributes:
        scale: Which standard deviation divides: of the "group", of the "batch", or "none" (Dr. GRPO).
        ddof: Degrees of freedom taken off in the standard deviation.
        eps: Is added to the standard deviation.
        singleton: What a group of one scored row gets: "zero", its "raw" outcome, or "raise".
        clip: Bound of the advantage, after it was normalised; None = no bound.
        by: Names of columns: only rows of a group that are equal in them are compared (`kind`, say).
    """

    scale: str = "group"
    ddof: int = 1
    eps: float = 1e-4
    singleton: str = "zero"
    clip: float | None = None
    by: tuple[str, ...] = ()
    reads: ClassVar[tuple[str, ...]] = ("outcome", "group", "mask")
    writes: ClassVar[tuple[str, ...]] = ("advantages",)

    def __post_init__(self) -> None:
        if self.scale not in ("group", "batch", "none"):
            raise ValueError(f"GroupNormalized.scale is {self.scale!r}: expected 'group', 'batch' or 'none'")
        if self.singleton not in ("zero", "raw", "raise"):
            raise ValueError(f"GroupNormalized.singleton is {self.singleton!r}: expected 'zero', 'raw' or 'raise'")
        if self.clip is not None and not self.clip > 0.0:
            raise ValueError(f"GroupNormalized.clip is {self.clip}: expected a number above 0, or None")

    def __call__(self, rollouts: Rollouts) -> Tensor:
        """Return (B, T) advantages."""
        advantage = ops.normalize(
            rollouts.outcome,
            compared_rows(rollouts, self.by),
            scale=self.scale,
            ddof=self.ddof,
            eps=self.eps,
            singleton=self.singleton,
        )
        if self.clip is not None:
            advantage = advantage.clamp(-self.clip, self.clip)
        return over_tokens(advantage, rollouts.mask)


@dataclass(frozen=True)
class LeaveOneOut:
    """Outcome minus the mean outcome of the other responses of the group (RLOO, arXiv 2402.14740).

    Attributes:
        singleton: What a group of one scored row gets: "zero", its "raw" outcome, or "raise".
    """

    singleton: str = "raise"
    reads: ClassVar[tuple[str, ...]] = ("outcome", "group", "mask")
    writes: ClassVar[tuple[str, ...]] = ("advantages",)

    def __post_init__(self) -> None:
        if self.singleton not in ("zero", "raw", "raise"):
            raise ValueError(f"LeaveOneOut.singleton is {self.singleton!r}: expected 'zero', 'raw' or 'raise'")

    def __call__(self, rollouts: Rollouts) -> Tensor:
        """Return (B, T) advantages."""
        advantage = ops.normalize(
            rollouts.outcome, rollouts.group, center="loo", scale="none", singleton=self.singleton
        )
        return over_tokens(advantage, rollouts.mask)
