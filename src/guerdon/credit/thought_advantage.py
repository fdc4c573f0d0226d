"""Advantages of thoughts: runs of steps with equal labels (TP-GRPO, arXiv 2507.23317).

The last thought carries the outcome instead of a reward of its own, so that the sums telescope: a good thought of a
right response, and one of a wrong response that its answer adopted, get exactly the response's advantage.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from guerdon import ops
from guerdon.ops.edges import is_last
from guerdon.rollouts import Rollouts

GRANULARITIES = ("thought", "step")
SIZES = ("adaptive", "static")


def merge_thoughts(step_labels: Tensor) -> tuple[Tensor, Tensor]:
    """Number the maximal runs of steps with equal labels.

    Args:
        step_labels: (B, S) int64 or bool; negative = no step.

    Returns:
        (B, S) int64 thought of each step, -1 = no step; (B, S) int64 label of each thought, -1 beyond the last.
    """
    return ops.merge_runs(step_labels.long())


def thought_advantages(
    labels: Tensor,
    correct: Tensor,
    base: Tensor,
    scale: Tensor,
    granularity: str = "thought",
    size: str = "adaptive",
) -> Tensor:
    """Reward-to-go of thoughts, none of it normalised.

    A right response: a good thought is worth scale, a bad one -scale. A wrong one: a thought that the answer adopted is
    worth base (0 or less), another -base. The last thought is worth base in both. Since labels alternate between
    thoughts, the sum from a thought on is base if it has the label of the last, and base plus its own worth if not.

    Args:
        labels: (B, S) bool, or numbers with negative or NaN = no step. True: the step is good (right response), or
            matches the answer (wrong response).
        correct: (B,) bool.
        base: (B,) float, the response's advantage.
        scale: (B,) float, what a thought of a right response is worth; alpha times the group's accuracy in the paper.
        granularity: "thought", or "step" = every step is a thought of its own (an ablation).
        size: "adaptive", or "static" = thoughts are worth 1 and -1 (an ablation).

    Returns:
        (B, S) of the dtype of `base`, NaN where no step exists. Equal inside a thought.

    Raises:
        ValueError: Wrong shapes, or an unknown choice.

    Example:
        >>> import torch
        >>> labels = torch.tensor([[True, False, False, True]])
        >>> thought_advantages(labels, torch.tensor([True]), torch.tensor([1.5]), torch.tensor([0.25])).tolist()
        [[1.5, 1.25, 1.25, 1.5]]
    """
    if granularity not in GRANULARITIES or size not in SIZES:
        raise ValueError(f"granularity is {granularity!r}, size is {size!r}: expected one of {GRANULARITIES}, {SIZES}")
    if labels.ndim != 2 or any(value.shape != labels.shape[:1] for value in (correct, base, scale)):
        shapes = [tuple(value.shape) for value in (labels, correct, base, scale)]
        raise ValueError(f"labels, correct, base, scale have the shapes {shapes}: expected (B, S) and three (B,)")
    # Labels that are numbers may say NaN for no step.
    label = torch.nan_to_num(labels, nan=-1.0) if labels.is_floating_point() else labels
    exists, label = label >= 0, label > 0
    if size == "adaptive":
        amount = torch.where(correct > 0, scale.to(base.dtype), base)
    else:
        amount = torch.where(correct > 0, torch.ones_like(base), -torch.ones_like(base))
    worth = torch.where(label, amount[:, None], -amount[:, None])
    last = is_last(exists)
    if granularity == "step":
        return ops.accumulate(torch.where(last, base[:, None], worth), exists)
    differs = label != (last & label).any(1, keepdim=True)
    value = base[:, None] + torch.where(differs, worth, torch.zeros_like(worth))
    return torch.where(exists, value, torch.nan)


@dataclass(frozen=True)
class ThoughtAdvantage:
    """Reward-to-go of the rewards of thoughts, which are not normalised again (arXiv 2507.23317).

    `process` holds rewards of thoughts, the last of which carries the standardised outcome (`ThoughtRewards` of the
    shapes writes them). Policy tokens of no step get the standardised outcome, rows that could not be scored 0.

    Attributes:
        ddof: Degrees of freedom taken off in the standard deviation of the outcomes.
        eps: Is added to it.
    """

    ddof: int = 1
    eps: float = 1e-4
    reads: ClassVar[tuple[str, ...]] = ("outcome", "process", "step", "group", "mask")
    writes: ClassVar[tuple[str, ...]] = ("advantages",)

    def __call__(self, rollouts: Rollouts) -> Tensor:
        """Return (B, T) advantages."""
        usable = rollouts.mask & rollouts.scored[:, None]
        base = ops.normalize(rollouts.outcome, rollouts.group, ddof=self.ddof, eps=self.eps)
        to_go = ops.accumulate(rollouts.process, rollouts.step_exists)
        value = torch.where(rollouts.step >= 0, ops.spread(to_go, rollouts.step), base[:, None])
        return torch.where(usable, value, 0.0).to(torch.float32)
