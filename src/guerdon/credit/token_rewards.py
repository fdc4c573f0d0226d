"""Rewards placed on tokens, for credits that work along the response."""

from __future__ import annotations

import torch
from torch import Tensor

from guerdon import ops
from guerdon.ops.edges import is_last
from guerdon.rollouts import Rollouts


def place_on_last_token(value: Tensor, mask: Tensor) -> Tensor:
    """Put each row's value on its last policy token.

    Args:
        value: (B,) float; NaN counts as no reward.
        mask: (B, T) bool; a row without policy tokens gets nothing.

    Returns:
        (B, T) float, 0 elsewhere.
    """
    return torch.where(is_last(mask), torch.nan_to_num(value, nan=0.0)[:, None], 0.0)


def token_rewards(rollouts: Rollouts, kl_coef: float = 0.0, kl_kind: str = "k1") -> Tensor:
    """The rewards of a token-level Markov decision process: outcome at the end, steps at their ends, minus KL.

    Args:
        rollouts: Process rewards are placed at the last token of their step where `process` is scored; the outcome
            at the last policy token; `tokens["rewards"]` is added where it is there.
        kl_coef: Weight of the KL penalty against the reference policy.
        kl_kind: Estimator of the KL; see `guerdon.ops.kl`.

    Returns:
        (B, T) float32, 0 outside the mask.

    Raises:
        ValueError: `kl_coef` is not 0 and `logprobs` or `ref_logprobs` are missing.
    """
    rewards = place_on_last_token(rollouts.outcome, rollouts.mask)
    if "rewards" in rollouts.tokens:
        rewards = rewards + rollouts.tokens["rewards"] * rollouts.mask
    if kl_coef:
        if rollouts.logprobs is None or rollouts.ref_logprobs is None:
            raise ValueError("kl_coef is not 0: expected logprobs and ref_logprobs in the rollouts")
        rewards = rewards - kl_coef * ops.kl(rollouts.logprobs, rollouts.ref_logprobs, kl_kind) * rollouts.mask
    return rewards.to(torch.float32)


def process_on_tokens(rollouts: Rollouts) -> Tensor:
    """(B, T) float32: each scored process reward on the last token of its step."""
    placed = ops.place(torch.nan_to_num(rollouts.process, nan=0.0), rollouts.step, at="last")
    return placed.to(torch.float32) * rollouts.mask
