"""A score of the whole thought, weighted by whether it prefers right answers (arXiv 2505.17018)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from guerdon import ops
from guerdon.ops.schedule import Schedule, schedule, value_at
from guerdon.rollouts import Rollouts
from guerdon.terms import term

UNIFORM = ("keep", "zero")


def trust_weight(think: Tensor, outcome: Tensor, key: Tensor | None = None, threshold: float = 0.5) -> Tensor:
    """How far a group's thinking rewards can be trusted: 1, or exp(mean over right - mean over wrong) if that is less.

    Args:
        think: (B,) float in [0, 1]; NaN rows take no part.
        outcome: (B,) float; NaN rows take no part.
        key: (B,) int64 groups; None = one group.
        threshold: Rows with an outcome of at least this are right.

    Returns:
        (B,) of the dtype of `think`, in [1/e, 1], the same for all rows of a group; 1 where there are no right or no
        wrong rows.

    Raises:
        ValueError: Wrong shapes, or a score outside [0, 1].

    Example:
        >>> import torch
        >>> trust_weight(torch.tensor([0.2, 0.4, 0.9, 0.7]), torch.tensor([1.0, 1.0, 0.0, 0.0]))
        tensor([0.6065, 0.6065, 0.6065, 0.6065])
    """
    if think.ndim != 1 or outcome.shape != think.shape:
        raise ValueError(f"think {tuple(think.shape)}, outcome {tuple(outcome.shape)}: expected (B,) and (B,)")
    wrong = (think < 0) | (think > 1)
    if bool(wrong.any()):
        row = int(wrong.nonzero()[0])
        raise ValueError(f"think in row {row} is {float(think[row])}: expected a number in [0, 1] or NaN")
    groups = torch.zeros(len(think), dtype=torch.int64, device=think.device) if key is None else key
    right = ops.mean(think, groups, outcome >= threshold)
    false = ops.mean(think, groups, outcome < threshold)
    gap = torch.nan_to_num(right - false, nan=0.0)
    return torch.exp(gap.clamp(max=0.0))


class TrustRewards(NamedTuple):
    """What `trust_rewards` returns: rewards (B,), and the trust weight of each row's group (B,)."""

    reward: Tensor
    gamma: Tensor


def trust_rewards(
    outcome: Tensor,
    think: Tensor,
    group_ids: Tensor,
    step: float,
    total: float,
    alpha: float = 0.3,
    threshold: float = 0.5,
    use_trust: bool = True,
    use_anneal: bool = True,
    uniform_groups: str = "keep",
    uniform_bounds: tuple[float, float] = (0.1, 0.9),
    asked_from: float | None = None,
) -> TrustRewards:
    """Add the thinking reward: outcome + gamma alpha exp(-step / total) think.

    Args:
        outcome: (B,) float.
        think: (B,) float in [0, 1]; a NaN gives a NaN reward.
        group_ids: (B,) int64.
        step: Steps of the whole run, 0 or more.
        total: Steps of the whole run in all, above 0.
        alpha: Weight of the thinking reward at the start.
        threshold: Rows with an outcome of at least this are right.
        use_trust: False = gamma is 1.
        use_anneal: False = the weight does not fall.
        uniform_groups: "keep"; or "zero" = no thinking reward in groups whose outcomes all lie at or below the lower
            bound, or all at or above the upper one (the official code): there it would be the only signal, which a
            division by the standard deviation blows up.
        uniform_bounds: These two bounds.
        asked_from: Rows with an outcome below it count with a thinking reward of 0, as in the official code (0.2),
            which does not ask its judge about them; None = all count (the paper).

    Returns:
        Rewards and weights, (B,) each.

    Raises:
        ValueError: As for `trust_weight`; `step` or `total` out of range; an unknown choice.
    """
    if uniform_groups not in UNIFORM:
        raise ValueError(f"uniform_groups is {uniform_groups!r}: expected one of {UNIFORM}")
    factor = alpha * schedule(step, total, "exponential") if use_anneal else alpha
    thought = think if asked_from is None else torch.where(outcome < asked_from, torch.zeros_like(think), think)
    gamma = trust_weight(thought, outcome, group_ids, threshold)
    if not use_trust:
        gamma = torch.ones_like(gamma)
    bonus = gamma * factor * thought
    if uniform_groups == "zero":
        low, high = uniform_bounds
        uniform = (ops.max(outcome, group_ids) <= low) | (ops.min(outcome, group_ids) >= high)
        bonus = torch.where(uniform, torch.zeros_like(bonus), bonus)
    return TrustRewards(outcome + bonus.to(outcome.dtype) if factor != 0 else outcome, gamma)


@dataclass(frozen=True)
class TrustWeighted:
    """Add a thinking reward to the outcome, weighted by trust and falling over the run; see `trust_rewards`.

    The columns `trust` (weight of the row's group) and `thinking_bonus` (what was added) show what it did.

    Attributes:
        think: Name of the column of thinking rewards.
        alpha: Weight of the thinking reward; a `Schedule` replaces the exponential fall.
        total: Iterations that the weight takes to fall to 1/e; None = the whole run.
        threshold: Rows with an outcome of at least this are right.
        use_trust: Whether the weight of the group counts.
        use_anneal: Whether the weight falls.
        uniform_groups: "keep" or "zero".
        asked_from: Rows with an outcome below it count with a thinking reward of 0; None = all count.
        missing: What a row without thinking reward counts as; None = it is unscored.
    """

    think: str = "thinking"
    alpha: float | Schedule = 0.3
    total: float | None = None
    threshold: float = 0.5
    use_trust: bool = True
    use_anneal: bool = True
    uniform_groups: str = "keep"
    asked_from: float | None = None
    missing: float | None = None
    writes: ClassVar[tuple[str, ...]] = ("outcome", "trust", "thinking_bonus")

    def __post_init__(self) -> None:
        if self.uniform_groups not in UNIFORM:
            raise ValueError(f"TrustWeighted.uniform_groups is {self.uniform_groups!r}: expected one of {UNIFORM}")
        if self.total is not None and not self.total > 0:
            raise ValueError(f"TrustWeighted.total is {self.total}: expected a number above 0, or None")

    @property
    def reads(self) -> tuple[str, ...]:
        """The outcome, the groups and the thinking rewards."""
        return ("outcome", "group", self.think)

    def __call__(self, rollouts: Rollouts) -> Rollouts:
        """Return the rollouts with the thinking reward added to the outcome."""
        think = term(rollouts, self.think)
        if self.missing is not None:
            think = torch.where(torch.isnan(think), self.missing, think)
        reward, gamma = trust_rewards(
            rollouts.outcome,
            think,
            rollouts.group,
            rollouts.progress if self.total is None else rollouts.iteration,
            1.0 if self.total is None else self.total,
            value_at(self.alpha, rollouts.iteration, rollouts.progress),
            self.threshold,
            self.use_trust,
            self.use_anneal and not isinstance(self.alpha, Schedule),
            self.uniform_groups,
            asked_from=self.asked_from,
        )
        bonus = reward - rollouts.outcome
        return rollouts.replace(outcome=reward).with_columns(trust=gamma.tolist(), thinking_bonus=bonus.tolist())
