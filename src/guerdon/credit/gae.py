"""Credits along the response: generalised advantage estimation and REINFORCE++."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from guerdon import ops
from guerdon.credit.token_rewards import process_on_tokens, token_rewards
from guerdon.rollouts import Rollouts


def _check_unit(stage: str, **values: float) -> None:
    for name, value in values.items():
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"{stage}.{name} is {value}: expected a number in [0, 1]")


def _usable(rollouts: Rollouts) -> Tensor:
    """(B, T) bool: policy tokens of rows that were scored."""
    return rollouts.mask & rollouts.scored[:, None]


@dataclass(frozen=True)
class GAE:
    """Generalised advantage estimation (arXiv 1506.02438) over the policy tokens of each response.

    Reads the critic's values from `tokens["values"]`. Rows that could not be scored get 0 and stay out of the
    whitening.

    Attributes:
        gamma: Discount.
        lam: Weight of longer returns, lambda.
        whiten: Whether advantages are brought to mean 0 and standard deviation 1 over the batch.
        use_process: Whether process rewards count, each at the last token of its step.
        kl_coef: Weight of a KL penalty in the rewards.
    """

    gamma: float = 1.0
    lam: float = 1.0
    whiten: bool = True
    use_process: bool = False
    kl_coef: float = 0.0
    reads: ClassVar[tuple[str, ...]] = ("outcome", "mask", "tokens/values")
    writes: ClassVar[tuple[str, ...]] = ("advantages",)

    def __post_init__(self) -> None:
        _check_unit("GAE", gamma=self.gamma, lam=self.lam)

    def advantages_and_returns(self, rollouts: Rollouts) -> tuple[Tensor, Tensor]:
        """Return (B, T) advantages and (B, T) returns, the critic's targets, both 0 outside the usable tokens.

        Raises:
            ValueError: `tokens["values"]` is missing.
        """
        if "values" not in rollouts.tokens:
            raise ValueError('tokens has no "values": GAE expects the critic\'s values (B, T)')
        usable = _usable(rollouts)
        rewards = token_rewards(rollouts, self.kl_coef)
        if self.use_process:
            rewards = rewards + process_on_tokens(rollouts)
        values = rollouts.tokens["values"].to(torch.float32)
        advantages, returns = ops.gae(rewards, values, usable, self.gamma, self.lam)
        if self.whiten and bool(usable.any()):
            advantages = ops.whiten(advantages, usable)
        zero = torch.zeros_like(advantages)
        return torch.where(usable, advantages, zero), torch.where(usable, returns, zero)

    def __call__(self, rollouts: Rollouts) -> Tensor:
        """Return (B, T) advantages."""
        return self.advantages_and_returns(rollouts)[0]


@dataclass(frozen=True)
class ReinforcePlusPlus:
    """Discounted return of every token, whitened over the whole batch (REINFORCE++, arXiv 2501.03262).

    Needs no critic and no groups. Rows that could not be scored get 0 and stay out of the whitening.

    Attributes:
        gamma: Discount.
        kl_coef: Weight of the k1 KL penalty in the rewards.
        use_process: Whether process rewards count, each at the last token of its step.
    """

    gamma: float = 1.0
    kl_coef: float = 0.0
    use_process: bool = False
    reads: ClassVar[tuple[str, ...]] = ("outcome", "mask")
    writes: ClassVar[tuple[str, ...]] = ("advantages",)

    def __post_init__(self) -> None:
        _check_unit("ReinforcePlusPlus", gamma=self.gamma)

    def __call__(self, rollouts: Rollouts) -> Tensor:
        """Return (B, T) advantages."""
        usable = _usable(rollouts)
        rewards = token_rewards(rollouts, self.kl_coef)
        if self.use_process:
            rewards = rewards + process_on_tokens(rollouts)
        returns = ops.discounted_suffix(rewards, usable, self.gamma)
        if bool(usable.any()):
            returns = ops.whiten(returns, usable)
        return torch.where(usable, returns, torch.zeros_like(returns))
