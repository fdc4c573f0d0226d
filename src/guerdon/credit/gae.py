"""Credits along the response: generalised advantage estimation and REINFORCE++."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from guerdon import ops
from guerdon.credit.token_rewards import process_on_tokens, token_rewards
from guerdon.ops.edges import is_last
from guerdon.rollouts import Rollouts
from guerdon.terms import term


def _check_unit(stage: str, **values: float) -> None:
    for name, value in values.items():
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"{stage}.{name} is {value}: expected a number in [0, 1]")


def _usable(rollouts: Rollouts) -> Tensor:
    """(B, T) bool: policy tokens of rows that were scored."""
    return rollouts.mask & rollouts.scored[:, None]


def gae_returns(
    rewards: Tensor,
    values: Tensor,
    next_value: Tensor | float,
    continues: Tensor,
    format_rewards: Tensor | None,
    gamma: float,
    lam: float,
) -> Tensor:
    """Returns of a stream of turns in which episodes end, plus a bonus that no earlier turn sees (arXiv 2503.08525).

    Args:
        rewards: (N,) float, in order of time.
        values: (N,) float, the critic's value before each turn.
        next_value: The value after the last turn.
        continues: (N,) bool or 0/1: whether the episode goes on after the turn.
        format_rewards: (N,) float, added to the turn's own return after everything else; None = 0.
        gamma: Discount of one turn.
        lam: Weight of longer returns, lambda.

    Returns:
        (N,) returns; minus `values` they are advantages.

    Raises:
        ValueError: Wrong shapes, or `gamma` or `lam` outside [0, 1].
    """
    if rewards.ndim != 1 or continues.shape != rewards.shape:
        raise ValueError(f"rewards {tuple(rewards.shape)}, continues {tuple(continues.shape)}: expected the same (N,)")
    mask = torch.ones_like(rewards, dtype=torch.bool)[None]
    bootstrap = torch.as_tensor(next_value, dtype=rewards.dtype, device=rewards.device).reshape(1)
    _, returns = ops.gae(rewards[None], values[None], mask, gamma, lam, bootstrap, (continues == 0)[None])
    return returns[0] if format_rewards is None else returns[0] + format_rewards


@dataclass(frozen=True)
class GAE:
    """Generalised advantage estimation (arXiv 1506.02438) over the policy tokens, or the turns, of each response.

    Rows that could not be scored get 0 and stay out of the whitening. On tokens the critic's values are
    `tokens["values"]`, and `tokens["done"]`, where it is there, says after which tokens an episode ends. On turns
    (`level="turn"`) they are `steps["values"]` and `steps["done"]`; rewards are `process` and, at the last turn, the
    outcome; every token of a turn gets its advantage. The column `bootstrap`, where it is there, is the value after the
    end of each row.

    Attributes:
        gamma: Discount of one token or turn.
        lam: Weight of longer returns, lambda.
        whiten: Whether advantages are brought to mean 0 and standard deviation 1 over the batch.
        use_process: Whether process rewards count, each at the last token of its step.
        kl_coef: Weight of a KL penalty in the rewards; for tokens only.
        kl_kind: Estimator of the KL; see `guerdon.ops.kl`.
        level: "token" or "turn".
        format_bonus: Multiplies `steps["format"]`, which is then added to each turn's own return and advantage, after
            the estimation and before the whitening (arXiv 2503.08525); for turns only.
        targets: What the critic learns: "lambda" = advantage + value, or "reward_to_go" = plain sums of discounted
            rewards (arXiv 2502.18770).
        whiten_eps: Is added to the variance (tokens), or to the standard deviation (turns).
    """

    gamma: float = 1.0
    lam: float = 1.0
    whiten: bool = True
    use_process: bool = False
    kl_coef: float = 0.0
    kl_kind: str = "k1"
    level: str = "token"
    format_bonus: float = 0.0
    targets: str = "lambda"
    whiten_eps: float = 1e-8
    writes: ClassVar[tuple[str, ...]] = ("advantages",)

    def __post_init__(self) -> None:
        _check_unit("GAE", gamma=self.gamma, lam=self.lam)
        for name, allowed in (("level", ("token", "turn")), ("targets", ("lambda", "reward_to_go"))):
            if getattr(self, name) not in allowed:
                raise ValueError(f"GAE.{name} is {getattr(self, name)!r}: expected one of {allowed}")
        if self.level == "token" and self.format_bonus:
            raise ValueError(f"GAE.format_bonus is {self.format_bonus} on tokens: expected level='turn'")
        if self.level == "turn" and self.kl_coef:
            raise ValueError(f"GAE.kl_coef is {self.kl_coef} on turns: expected level='token'")

    @property
    def reads(self) -> tuple[str, ...]:
        """What is read."""
        if self.level == "turn":
            bonus = ("steps/format",) if self.format_bonus else ()
            return ("outcome", "process", "step", "mask", "steps/values", *bonus)
        penalty = ("logprobs", "ref_logprobs") if self.kl_coef else ()
        return ("outcome", "mask", "tokens/values", *(("process", "step") if self.use_process else ()), *penalty)

    def advantages_and_returns(self, rollouts: Rollouts) -> tuple[Tensor, Tensor]:
        """Return (B, T) advantages and (B, T) returns, the critic's targets, both 0 outside the usable tokens.

        Raises:
            ValueError: The critic's values are missing, or `steps["format"]` where a bonus is asked for.
        """
        usable = _usable(rollouts)
        rewards, values, done, where = self._on_turns(rollouts) if self.level == "turn" else self._on_tokens(rollouts)
        advantages, returns = ops.gae(rewards, values, where, self.gamma, self.lam, _bootstrap(rollouts), done)
        if self.targets == "reward_to_go":
            # Values of 0 and lambda 1 leave nothing but the discounted sums.
            zero = torch.zeros_like(values)
            returns = ops.gae(rewards, zero, where, self.gamma, 1.0, _bootstrap(rollouts), done)[1]
        if self.format_bonus:
            bonus = self.format_bonus * torch.nan_to_num(_step_extra(rollouts, "format"), nan=0.0)
            advantages, returns = (torch.where(where, value + bonus, 0.0) for value in (advantages, returns))
        if self.whiten:
            advantages = self._whitened(advantages, where)
        if self.level == "turn":
            advantages, returns = (ops.spread(value, rollouts.step) for value in (advantages, returns))
        zero = torch.zeros_like(advantages)
        return torch.where(usable, advantages, zero), torch.where(usable, returns, zero)

    def _on_tokens(self, rollouts: Rollouts) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
        if "values" not in rollouts.tokens:
            raise ValueError('tokens has no "values": GAE expected the critic\'s values (B, T)')
        rewards = token_rewards(rollouts, self.kl_coef, self.kl_kind)
        if self.use_process:
            rewards = rewards + process_on_tokens(rollouts)
        done = rollouts.tokens["done"].bool() if "done" in rollouts.tokens else None
        return rewards, rollouts.tokens["values"].to(torch.float32), done, _usable(rollouts)

    def _on_turns(self, rollouts: Rollouts) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
        exists = rollouts.step_exists
        where = exists & rollouts.scored[:, None]
        last = is_last(exists)
        rewards = torch.nan_to_num(rollouts.process, nan=0.0)
        rewards = rewards + torch.where(last & where, rollouts.outcome[:, None], 0.0)
        done = rollouts.steps["done"].bool() if "done" in rollouts.steps else None
        return rewards, _step_extra(rollouts, "values"), done, where

    def _whitened(self, advantages: Tensor, where: Tensor) -> Tensor:
        if self.level == "token":
            return ops.whiten(advantages, where, eps=self.whiten_eps) if bool(where.any()) else advantages
        flat = advantages.reshape(-1)
        key = torch.zeros(len(flat), dtype=torch.int64, device=flat.device)
        return ops.normalize(flat, key, eps=self.whiten_eps, where=where.reshape(-1)).reshape(advantages.shape)

    def __call__(self, rollouts: Rollouts) -> Tensor:
        """Return (B, T) advantages."""
        return self.advantages_and_returns(rollouts)[0]


def _bootstrap(rollouts: Rollouts) -> Tensor | None:
    """(B,) float32: the value after the end of each row, or None."""
    if "bootstrap" not in rollouts.columns:
        return None
    return torch.nan_to_num(term(rollouts, "bootstrap"), nan=0.0)


def _step_extra(rollouts: Rollouts, name: str) -> Tensor:
    """(B, S) float32 entry of `steps`."""
    if name not in rollouts.steps or rollouts.steps[name].ndim != 2:
        raise ValueError(f'steps has no "{name}" of shape (B, S): GAE on turns expected it')
    return rollouts.steps[name].to(torch.float32)


@dataclass(frozen=True)
class ReinforcePlusPlus:
    """Discounted return of every token, whitened over the whole batch (REINFORCE++, arXiv 2501.03262).

    Needs no critic and no groups. Rows that could not be scored get 0 and stay out of the whitening.

    Attributes:
        gamma: Discount.
        kl_coef: Weight of the KL penalty in the rewards.
        use_process: Whether process rewards count, each at the last token of its step.
        kl_kind: Estimator of the KL; see `guerdon.ops.kl`.
    """

    gamma: float = 1.0
    kl_coef: float = 0.0
    use_process: bool = False
    kl_kind: str = "k1"
    reads: ClassVar[tuple[str, ...]] = ("outcome", "mask")
    writes: ClassVar[tuple[str, ...]] = ("advantages",)

    def __post_init__(self) -> None:
        _check_unit("ReinforcePlusPlus", gamma=self.gamma)

    def __call__(self, rollouts: Rollouts) -> Tensor:
        """Return (B, T) advantages."""
        usable = _usable(rollouts)
        rewards = token_rewards(rollouts, self.kl_coef, self.kl_kind)
        if self.use_process:
            rewards = rewards + process_on_tokens(rollouts)
        returns = ops.discounted_suffix(rewards, usable, self.gamma)
        if bool(usable.any()):
            returns = ops.whiten(returns, usable)
        return torch.where(usable, returns, torch.zeros_like(returns))
