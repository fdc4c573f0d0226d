"""Token rewards against those of the other responses, added to the outcome's leave-one-out advantage (PRIME).

arXiv 2502.01456, §3. The released code centres in another way than the paper; both are here, the paper's is the
default.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from guerdon import ops
from guerdon.rollouts import Rollouts

VARIANTS = ("paper", "released")


def token_leave_one_out(
    token_rewards: Tensor, mask: Tensor, group: Tensor, variant: str = "paper", where: Tensor | None = None
) -> Tensor:
    """Token rewards minus a baseline from the other responses of the group.

    With m_j the mean reward of the tokens of response j and K the size of the group: "paper" takes off the mean of m_j
    over the other responses; "released" is K / (K - 1) times the reward, minus the sum of all m_j / (K - 1). They agree
    for responses of one token.

    Args:
        token_rewards: (B, T) float.
        mask: (B, T) bool; rewards outside it, also NaN, count nothing.
        group: (B,) int64.
        variant: "paper" or "released".
        where: (B,) bool of rows that take part; the others get 0. A row without tokens never takes part.

    Returns:
        (B, T) of the dtype of `token_rewards`, 0 outside the mask.

    Raises:
        ValueError: An unknown variant, wrong shapes, or a group with one row only that takes part.

    Example:
        >>> import torch
        >>> rewards, mask = torch.tensor([[1.0, 3.0], [5.0, 0.0]]), torch.tensor([[True, True], [True, False]])
        >>> token_leave_one_out(rewards, mask, torch.tensor([0, 0])).tolist()
        [[-4.0, -2.0], [3.0, 0.0]]
    """
    if variant not in VARIANTS:
        raise ValueError(f"variant is {variant!r}: expected one of {VARIANTS}")
    taking_part = mask.any(1) if where is None else mask.any(1) & where
    wide = token_rewards.double()
    mean = ops.masked_mean(wide, mask, 1)
    if variant == "paper":
        value = wide - ops.leave_one_out_mean(mean, group, taking_part)[:, None]
    else:
        # K / (K - 1) d - sum m / (K - 1) = d - (mean of the others) + (d - m) / (K - 1)
        others = (ops.count(mean, group, taking_part) - 1).clamp(min=1)
        baseline = ops.leave_one_out_mean(mean, group, taking_part)
        value = wide - baseline[:, None] + (wide - mean[:, None]) / others[:, None]
    return torch.where(mask & taking_part[:, None], value, 0.0).to(token_rewards.dtype)


def prime_returns(
    process_centred: Tensor,
    outcome_advantage: Tensor,
    mask: Tensor,
    gamma: float = 1.0,
    process_weight: float = 1.0,
    outcome_weight: float = 1.0,
) -> Tensor:
    """Reward-to-go of centred token rewards, plus the outcome's advantage on every token (arXiv 2502.01456, eq. 5).

    Args:
        process_centred: (B, T) float, from `token_leave_one_out`.
        outcome_advantage: (B,) float.
        mask: (B, T) bool.
        gamma: Discount of one policy token in (0, 1].
        process_weight: Weight of the token rewards.
        outcome_weight: Weight of the outcome.

    Returns:
        (B, T) of the dtype of `process_centred`, 0 outside the mask. Not whitened: see `guerdon.ops.whiten`.

    Raises:
        ValueError: `gamma` outside (0, 1], or wrong shapes.
    """
    if not 0.0 < gamma <= 1.0:
        raise ValueError(f"gamma is {gamma}: expected a number in (0, 1]")
    to_go = ops.discounted_suffix(process_centred, mask, gamma)
    outcome = ops.over_tokens(outcome_advantage.to(process_centred.dtype), mask)
    return process_weight * to_go + outcome_weight * outcome


@dataclass(frozen=True)
class TokenLeaveOneOut:
    """Leave-one-out on token rewards and on outcomes, summed: the credit of PRIME (arXiv 2502.01456).

    Reads token rewards from `tokens`, scaled as the recipe likes. Rows that could not be scored and rows without tokens
    take no part and get 0. A group of one such row gets 0 as well, unless it is asked to raise.

    Attributes:
        rewards: Name of the token rewards in `tokens`.
        variant: "paper" or "released"; see `token_leave_one_out`.
        gamma: Discount of one token.
        process_weight: Weight of the token rewards.
        outcome_weight: Weight of the outcome.
        whiten: Whether the sum is brought to mean 0 and standard deviation 1 over the tokens of the batch, as the
            released code does.
        singleton: What a group of one scored row gets: "zero" or "raise".
    """

    rewards: str = "rewards"
    variant: str = "paper"
    gamma: float = 1.0
    process_weight: float = 1.0
    outcome_weight: float = 1.0
    whiten: bool = True
    singleton: str = "raise"
    writes: ClassVar[tuple[str, ...]] = ("advantages",)

    def __post_init__(self) -> None:
        if self.variant not in VARIANTS:
            raise ValueError(f"TokenLeaveOneOut.variant is {self.variant!r}: expected one of {VARIANTS}")
        if self.singleton not in ("zero", "raise"):
            raise ValueError(f"TokenLeaveOneOut.singleton is {self.singleton!r}: expected 'zero' or 'raise'")
        if not 0.0 < self.gamma <= 1.0:
            raise ValueError(f"TokenLeaveOneOut.gamma is {self.gamma}: expected a number in (0, 1]")

    @property
    def reads(self) -> tuple[str, ...]:
        """What is read."""
        return ("outcome", "group", "mask", f"tokens/{self.rewards}")

    def __call__(self, rollouts: Rollouts) -> Tensor:
        """Return (B, T) advantages.

        Raises:
            ValueError: The token rewards are missing, or a group has one usable row and that is asked to raise.
        """
        if self.rewards not in rollouts.tokens:
            raise ValueError(f"tokens has no {self.rewards!r}: there are {sorted(rollouts.tokens)}")
        usable = rollouts.scored & rollouts.mask.any(1)
        if self.singleton == "zero":
            usable = usable & (ops.count(rollouts.outcome, rollouts.group, usable) > 1)
        rewards = rollouts.tokens[self.rewards].to(torch.float32)
        centred = token_leave_one_out(rewards, rollouts.mask, rollouts.group, self.variant, usable)
        outcome = ops.normalize(rollouts.outcome, rollouts.group, center="loo", scale="none", where=usable)
        mask = rollouts.mask & usable[:, None]
        value = prime_returns(centred, outcome, mask, self.gamma, self.process_weight, self.outcome_weight)
        return ops.whiten(value, mask) if self.whiten else value
