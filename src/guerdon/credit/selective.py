"""Advantages kept only where a step's verdict agrees with their sign (SPARK, arXiv 2512.03244)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from guerdon import ops
from guerdon.rollouts import Rollouts


def selective_advantage(adv: Tensor, step_labels: Tensor, step: Tensor, mask: Tensor) -> Tensor:
    """Keep a positive advantage on right steps and a negative one on wrong steps; 0 on the others.

    Tokens of no step, and of steps without verdict, keep theirs.

    Args:
        adv: (B,) float advantages of responses, already normalised; or (B, T) of tokens.
        step_labels: (B, S) float, above 0.5 = right; NaN = no verdict. Or bool.
        step: (B, T) int64, -1 = no step.
        mask: (B, T) bool.

    Returns:
        (B, T) of the dtype of `adv`, 0 outside the mask and for NaN.

    Raises:
        ValueError: Wrong shapes.

    Example:
        >>> import torch
        >>> step, mask = torch.tensor([[0, 1], [0, 1]]), torch.ones(2, 2, dtype=torch.bool)
        >>> labels = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
        >>> selective_advantage(torch.tensor([2.0, -2.0]), labels, step, mask).tolist()
        [[2.0, 0.0], [0.0, -2.0]]
    """
    if adv.shape not in (mask.shape, mask.shape[:1]):
        raise ValueError(f"adv has shape {tuple(adv.shape)}: expected {tuple(mask.shape[:1])} or {tuple(mask.shape)}")
    labels = step_labels if step_labels.is_floating_point() else step_labels.float()
    verdict = ops.spread(labels, step, fill=torch.nan)
    value = adv[:, None].expand(mask.shape) if adv.ndim == 1 else adv
    agrees = torch.isnan(verdict) | ((value >= 0) == (verdict > 0.5))
    return torch.where(mask & agrees & ~torch.isnan(value), value, 0.0)


@dataclass(frozen=True)
class Selective:
    """GRPO's advantage where the step's verdict agrees with its sign, 0 where it does not (arXiv 2512.03244).

    `process` holds the verdicts: above `threshold` = right. Tokens of no step and of steps without verdict keep the
    advantage. The selection comes after the normalisation.

    Attributes:
        threshold: Steps with a process reward above it are right.
        scale: Which standard deviation divides: of the "group", of the "batch", or "none".
        ddof: Degrees of freedom taken off in it.
        eps: Is added to it.
    """

    threshold: float = 0.5
    scale: str = "group"
    ddof: int = 1
    eps: float = 1e-6
    reads: ClassVar[tuple[str, ...]] = ("outcome", "process", "step", "group", "mask")
    writes: ClassVar[tuple[str, ...]] = ("advantages",)

    def __post_init__(self) -> None:
        if self.scale not in ("group", "batch", "none"):
            raise ValueError(f"Selective.scale is {self.scale!r}: expected 'group', 'batch' or 'none'")

    def __call__(self, rollouts: Rollouts) -> Tensor:
        """Return (B, T) advantages."""
        advantage = ops.normalize(rollouts.outcome, rollouts.group, scale=self.scale, ddof=self.ddof, eps=self.eps)
        process = rollouts.process
        verdicts = torch.where(torch.isnan(process), torch.nan, (process > self.threshold).float())
        return selective_advantage(advantage, verdicts, rollouts.step, rollouts.mask).to(torch.float32)
