"""Advantages from process rewards that are normalised over all steps of a group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from guerdon import ops
from guerdon.credit.streams import Stream
from guerdon.rollouts import Rollouts


def step_advantages(
    process: Tensor,
    group: Tensor,
    exists: Tensor,
    *,
    scale: str = "group",
    ddof: int = 1,
    eps: float = 1e-4,
    accumulate: bool = True,
    gamma: float = 1.0,
) -> Tensor:
    """Normalise process rewards over all steps of a group, and sum each step's with those of its later steps.

    Process supervision of GRPO (arXiv 2402.03300, §4.1.3).

    Args:
        process: (B, S) float, NaN = no such step, or not scored: such a step takes no part and adds 0.
        group: (B,) int64.
        exists: (B, S) bool, steps that some token belongs to.
        scale: Which standard deviation divides: "group", "batch" or "none".
        ddof: Degrees of freedom taken off in the standard deviation.
        eps: Is added to the standard deviation.
        accumulate: Whether a step gets the reward-to-go, or its own normalised reward only.
        gamma: Discount of one step in the reward-to-go.

    Returns:
        (B, S) float, NaN where no step exists.
    """
    return Stream(
        process,
        group,
        "step",
        accumulate=accumulate,
        gamma=gamma,
        exists=exists,
        scale=scale,
        ddof=ddof,
        eps=eps,
    ).advantage


@dataclass(frozen=True)
class StepNormalized:
    """Process rewards normalised over all steps of the group; every token gets the reward-to-go of its step.

    Policy tokens that belong to no step get 0. Rows without outcome take part if their steps are scored.

    Attributes:
        scale: Which standard deviation divides: "group", "batch" or "none".
        ddof: Degrees of freedom taken off in the standard deviation.
        eps: Is added to the standard deviation.
        accumulate: Whether a step gets the reward-to-go (True), or its own normalised reward only.
        gamma: Discount of one step in the reward-to-go.
    """

    scale: str = "group"
    ddof: int = 1
    eps: float = 1e-4
    accumulate: bool = True
    gamma: float = 1.0
    reads: ClassVar[tuple[str, ...]] = ("process", "step", "group", "mask")
    writes: ClassVar[tuple[str, ...]] = ("advantages",)

    def __post_init__(self) -> None:
        if self.scale not in ("group", "batch", "none"):
            raise ValueError(f"StepNormalized.scale is {self.scale!r}: expected 'group', 'batch' or 'none'")
        if not 0.0 <= self.gamma <= 1.0:
            raise ValueError(f"StepNormalized.gamma is {self.gamma}: expected a number in [0, 1]")

    def __call__(self, rollouts: Rollouts) -> Tensor:
        """Return (B, T) advantages."""
        value = step_advantages(
            rollouts.process,
            rollouts.group,
            rollouts.step_exists,
            scale=self.scale,
            ddof=self.ddof,
            eps=self.eps,
            accumulate=self.accumulate,
            gamma=self.gamma,
        )
        return ops.spread(value, rollouts.step, fill=0.0).to(torch.float32) * rollouts.mask
