"""Small rewards of thoughts, the runs of equally judged steps of a chain of thought (arXiv 2507.23317).

Summed from a thought to the end they telescope: every token of a good thought keeps its response's standardised
outcome, so the rewards cannot be farmed by writing more steps. For that the last thought carries the outcome in place
of its own reward, which the paper does not spell out but both of its propositions need.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from guerdon import ops
from guerdon.ops.edges import is_last
from guerdon.rollouts import Rollouts

GRANULARITIES = ("thought", "step")
SIZES = ("adaptive", "static")


def labels_from_reflections(
    n_steps: int, intervals: Sequence[tuple[int, int]], bad: Sequence[int] | set[int]
) -> list[bool]:
    """Which steps of a right response are good, from the reflections in it.

    Args:
        n_steps: Number of steps.
        intervals: (source, reflection) for each reflection: the error began at the source and was noticed at the
            reflection; steps from the source up to, not including, the reflection may be bad. They may overlap.
        bad: Steps that hold an error or depend on one.

    Returns:
        One bool a step, True = good. Steps outside all intervals are good, and so is the last, which yields the answer.

    Raises:
        ValueError: A step outside the response, or an interval that is not increasing.

    Example:
        >>> labels_from_reflections(5, [(1, 3)], {1, 2, 3})
        [True, False, False, True, True]
    """
    for source, reflection in intervals:
        if not 0 <= source < reflection < n_steps:
            raise ValueError(
                f"intervals has ({source}, {reflection}): expected 0 <= source < reflection < {n_steps} steps"
            )
    _check_steps("bad", bad, n_steps)
    inside = {step for source, reflection in intervals for step in range(source, reflection)}
    wrong = inside & set(bad)
    return [step not in wrong or step == n_steps - 1 for step in range(n_steps)]


def labels_from_matching(n_steps: int, matched: Sequence[int] | set[int]) -> list[bool]:
    """Which steps of a wrong response were adopted into its wrong answer.

    Args:
        n_steps: Number of steps.
        matched: Steps that match a step of the answer.

    Returns:
        One bool a step, True = matching; the last always is.

    Raises:
        ValueError: A step outside the response.

    Example:
        >>> labels_from_matching(4, {0})
        [True, False, False, True]
    """
    _check_steps("matched", matched, n_steps)
    return [step in matched or step == n_steps - 1 for step in range(n_steps)]


def _check_steps(name: str, steps: Sequence[int] | set[int], n_steps: int) -> None:
    for step in steps:
        if not 0 <= step < n_steps:
            raise ValueError(f"{name} has step {step}: expected 0 to {n_steps - 1}")


def adaptive_scale(outcome: Tensor, group: Tensor, alpha: float = 1.0) -> Tensor:
    """Size of a thought's reward: alpha times the share of right responses of the group.

    Args:
        outcome: (B,) float, right where above 0; NaN rows take no part.
        group: (B,) int64.
        alpha: Above 0.

    Returns:
        (B,) of the dtype of `outcome`; NaN in a group without scored rows.

    Raises:
        ValueError: `alpha` not above 0.
    """
    if not alpha > 0:
        raise ValueError(f"alpha is {alpha}: expected a number above 0")
    scored = ~torch.isnan(outcome)
    return alpha * ops.mean((outcome > 0).to(outcome.dtype), group, scored)


def thought_rewards(
    labels: Tensor,
    correct: Tensor,
    base: Tensor,
    scale: Tensor,
    granularity: str = "thought",
    size: str = "adaptive",
    alpha: float = 1.0,
) -> Tensor:
    """Rewards of thoughts, each on the last step of its thought; the last thought carries the base.

    Right responses: good thoughts +scale, bad ones -scale. Wrong responses: matching thoughts get the base, unmatched
    ones minus the base. Reward-to-go over the steps then gives, for right responses, base for good and base - scale for
    bad thoughts, and for wrong ones, base for matching and 0 for unmatched thoughts, provided the last is good.

    Args:
        labels: (B, S) int: 1 good or matching, 0 bad or unmatched, -1 no step.
        correct: (B,) bool.
        base: (B,) float, the standardised outcome.
        scale: (B,) float, from `adaptive_scale`.
        granularity: "thought"; or "step", the ablation that rewards each step alone.
        size: "adaptive"; or "static", the ablation in which thoughts get +alpha or -alpha.
        alpha: For "static".

    Returns:
        (B, S) of the dtype of `base`: 0 on steps that end no thought, NaN where there is no step.

    Raises:
        ValueError: Wrong shapes, or an unknown choice.

    Example:
        >>> import torch
        >>> labels = torch.tensor([[1, 1, 0, 0, 1]])
        >>> thought_rewards(labels, torch.tensor([True]), torch.tensor([1.5]), torch.tensor([0.25])).tolist()
        [[0.0, 0.25, 0.0, -0.25, 1.5]]
    """
    if granularity not in GRANULARITIES:
        raise ValueError(f"granularity is {granularity!r}: expected one of {GRANULARITIES}")
    if size not in SIZES:
        raise ValueError(f"size is {size!r}: expected one of {SIZES}")
    rows = labels.shape[:1]
    if labels.ndim != 2 or not rows == correct.shape == base.shape == scale.shape:
        raise ValueError(
            f"labels {tuple(labels.shape)}, correct {tuple(correct.shape)}, base {tuple(base.shape)}, scale "
            f"{tuple(scale.shape)}: expected (B, S) and (B,)"
        )
    there = labels >= 0
    right = correct[:, None] > 0
    if size == "static":
        amount = torch.where(right, torch.full_like(base, alpha)[:, None], torch.full_like(base, -alpha)[:, None])
    else:
        amount = torch.where(right, scale.to(base.dtype)[:, None], base[:, None])
    value = torch.where(labels > 0, amount, -amount)
    run = ops.merge_runs(labels)[0] if granularity == "thought" else torch.where(there, there.cumsum(1) - 1, -1)
    ends = ops.place(torch.where(ops.exists(run, labels.shape[1]), 1.0, torch.nan), run) > 0
    last = is_last(there)
    value = torch.where(last, base[:, None], torch.where(ends, value, torch.zeros_like(value)))
    return torch.where(there, value, torch.nan)


@dataclass(frozen=True)
class ThoughtRewards:
    """Turn judged steps into rewards of thoughts; a credit that sums them to the end, without normalising, follows.

    Process rewards above 0.5 are good (right responses) or matching (wrong ones). A response of which some step was not
    judged counts as one good thought, so that only its outcome acts. The column `thought_scale` holds the size.

    Attributes:
        alpha: Size of a thought's reward in a group that is all right.
        granularity: "thought" or "step".
        size: "adaptive" or "static".
        ddof: Degrees of freedom taken off in the standard deviation of the outcomes.
        eps: Is added to it.
    """

    alpha: float = 1.0
    granularity: str = "thought"
    size: str = "adaptive"
    ddof: int = 1
    eps: float = 1e-4
    reads: ClassVar[tuple[str, ...]] = ("process", "outcome", "group", "step")
    writes: ClassVar[tuple[str, ...]] = ("process", "thought_scale")

    def __post_init__(self) -> None:
        if not self.alpha > 0:
            raise ValueError(f"ThoughtRewards.alpha is {self.alpha}: expected a number above 0")
        if self.granularity not in GRANULARITIES:
            raise ValueError(f"ThoughtRewards.granularity is {self.granularity!r}: expected one of {GRANULARITIES}")
        if self.size not in SIZES:
            raise ValueError(f"ThoughtRewards.size is {self.size!r}: expected one of {SIZES}")

    def __call__(self, rollouts: Rollouts) -> Rollouts:
        """Return the rollouts with rewards of thoughts as process rewards; unscored rows get none."""
        there = rollouts.step_exists
        judged = ~(there & torch.isnan(rollouts.process)).any(1, keepdim=True)
        good = (rollouts.process > 0.5) | ~judged
        last = is_last(there)
        labels = torch.where(there, (good | last).long(), -1)
        base = ops.normalize(rollouts.outcome, rollouts.group, ddof=self.ddof, eps=self.eps)
        scale = adaptive_scale(rollouts.outcome, rollouts.group, self.alpha)
        value = thought_rewards(labels, rollouts.outcome > 0, base, scale, self.granularity, self.size, self.alpha)
        # Without judgement neither ablation may reward single steps either.
        value = torch.where(judged | last | ~there, value, torch.zeros_like(value))
        value = torch.where(rollouts.scored[:, None], value, torch.nan)
        return rollouts.replace(process=value).with_columns(thought_scale=scale.tolist())
