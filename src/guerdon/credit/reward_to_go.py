"""The textbook's policy gradient: reward to go, minus a baseline that no critic has to learn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from guerdon import ops
from guerdon.credit.token_rewards import process_on_tokens, token_rewards
from guerdon.rollouts import Rollouts

BASELINES = ("none", "batch", "position")


def minus_baseline(returns: Tensor, mask: Tensor, baseline: str) -> Tensor:
    """Returns minus their mean over the batch, or over the tokens at the same place of all rows.

    Args:
        returns: (B, T) float.
        mask: (B, T) bool; other tokens take no part.
        baseline: "none", "batch" = one mean of all tokens, or "position" = one for the n-th policy token of each row.

    Returns:
        (B, T) of the dtype of `returns`, 0 outside the mask.

    Raises:
        ValueError: An unknown baseline, or shapes differ.

    Example:
        >>> import torch
        >>> returns = torch.tensor([[3.0, 1.0], [1.0, 0.0]])
        >>> minus_baseline(returns, torch.tensor([[True, True], [True, False]]), "position").tolist()
        [[1.0, 0.0], [-1.0, 0.0]]
    """
    if baseline not in BASELINES:
        raise ValueError(f"baseline is {baseline!r}: expected one of {BASELINES}")
    if returns.shape != mask.shape:
        raise ValueError(f"returns {tuple(returns.shape)}, mask {tuple(mask.shape)}: expected equal shapes")
    mean = torch.zeros_like(returns)
    if baseline == "batch":
        mean = mean + ops.masked_mean(returns, mask)
    if baseline == "position":
        place = torch.where(mask, mask.long().cumsum(1) - 1, -1)
        key = place.clamp(min=0).flatten()
        value = torch.where(mask, returns, torch.nan).flatten()
        mean = ops.mean(value, key).reshape(returns.shape)
    return torch.where(mask, returns - mean, torch.zeros_like(returns))


@dataclass(frozen=True)
class RewardToGo:
    """Discounted sum of the later rewards of each token, minus a baseline (REINFORCE).

    Rows that could not be scored get 0 and stay out of the baseline.

    Attributes:
        gamma: Discount.
        baseline: "none", "batch" or "position"; see `minus_baseline`.
        use_process: Whether process rewards count, each at the last token of its step.
        kl_coef: Weight of a KL penalty in the rewards.
        kl_kind: Estimator of the KL; see `guerdon.ops.kl`.
    """

    gamma: float = 1.0
    baseline: str = "position"
    use_process: bool = False
    kl_coef: float = 0.0
    kl_kind: str = "k1"
    writes: ClassVar[tuple[str, ...]] = ("advantages",)

    def __post_init__(self) -> None:
        if not 0.0 <= self.gamma <= 1.0:
            raise ValueError(f"RewardToGo.gamma is {self.gamma}: expected a number in [0, 1]")
        if self.baseline not in BASELINES:
            raise ValueError(f"RewardToGo.baseline is {self.baseline!r}: expected one of {BASELINES}")

    @property
    def reads(self) -> tuple[str, ...]:
        """What is read."""
        penalty = ("logprobs", "ref_logprobs") if self.kl_coef else ()
        return ("outcome", "mask", *(("process", "step") if self.use_process else ()), *penalty)

    def __call__(self, rollouts: Rollouts) -> Tensor:
        """Return (B, T) advantages."""
        usable = rollouts.mask & rollouts.scored[:, None]
        rewards = token_rewards(rollouts, self.kl_coef, self.kl_kind)
        if self.use_process:
            rewards = rewards + process_on_tokens(rollouts)
        return minus_baseline(ops.discounted_suffix(rewards, usable, self.gamma), usable, self.baseline)
