"""Rewards of tokens and steps that a log-likelihood ratio of two language models holds (arXiv 2412.01981, 2502.01456).

A language model trained on the outcomes of whole responses, with beta log(pi / reference) as its reward, gives process
rewards for free: the ratio of each token. Sums are taken in float64, whatever the precision of the log-probabilities.
"""

from __future__ import annotations

import torch
from torch import Tensor

from guerdon import ops


def implicit_token_rewards(logprobs: Tensor, ref_logprobs: Tensor | None, mask: Tensor, beta: float = 0.05) -> Tensor:
    """Beta (log pi - log reference) of every token (arXiv 2412.01981, §3).

    Args:
        logprobs: (B, T) float, of the trained model.
        ref_logprobs: (B, T) float, of the reference; None = no reference, which ranks responses of one policy nearly
            as well.
        mask: (B, T) bool, tokens of the response; what is outside, also NaN, counts nothing.
        beta: Scale, above 0.

    Returns:
        (B, T) of at least float32, 0 outside the mask. Differentiable.

    Raises:
        ValueError: Shapes differ, or `beta` is not above 0.

    Example:
        >>> import torch
        >>> mine, reference = torch.tensor([[0.5, 0.25]]).log(), torch.tensor([[0.25, 0.5]]).log()
        >>> implicit_token_rewards(mine, reference, torch.ones(1, 2, dtype=torch.bool)).mul(1e6).round().tolist()
        [[34657.0, -34657.0]]
    """
    if not beta > 0.0:
        raise ValueError(f"beta is {beta}: expected a number above 0")
    for name, value in (("ref_logprobs", ref_logprobs), ("mask", mask)):
        if value is not None and value.shape != logprobs.shape:
            raise ValueError(f"{name} has shape {tuple(value.shape)}: expected {tuple(logprobs.shape)}, like logprobs")
    wide = logprobs if logprobs.dtype == torch.float64 else logprobs.float()
    ratio = torch.where(mask, wide, 0.0)
    if ref_logprobs is not None:
        ratio = ratio - torch.where(mask, ref_logprobs.to(wide.dtype), 0.0)
    return beta * ratio


def implicit_outcome(token_rewards: Tensor, mask: Tensor) -> Tensor:
    """Reward of each response: the sum of its token rewards, never their mean.

    Args:
        token_rewards: (B, T) float, from `implicit_token_rewards`.
        mask: (B, T) bool.

    Returns:
        (B,) of the dtype of `token_rewards`, NaN for a response without tokens. Differentiable.
    """
    total = torch.where(mask, token_rewards, 0.0).double().sum(1).to(token_rewards.dtype)
    return torch.where(mask.any(1), total, torch.nan)


def implicit_step_rewards(token_rewards: Tensor, step: Tensor, n_steps: int) -> Tensor:
    """Process reward of each step: the sum of its tokens' rewards (arXiv 2412.01981, eq. 3).

    Args:
        token_rewards: (B, T) float, 0 outside the response.
        step: (B, T) int64, -1 = no step. The token of a delimiter belongs to the step that it ends.
        n_steps: S.

    Returns:
        (B, S) of the dtype of `token_rewards`, NaN where there is no step. Differentiable.
    """
    return ops.pool(token_rewards, step, n_steps)


def implicit_values(token_rewards: Tensor, step: Tensor, n_steps: int) -> Tensor:
    """Q at the end of each step: the sum of all token rewards up to there (arXiv 2412.01981, Proposition 3.1).

    It is beta log E exp(r / beta) over the reference's continuations: a soft value of the outcome reward.

    Args:
        token_rewards: (B, T) float, 0 outside the response.
        step: (B, T) int64, -1 = no step; tokens without step count in what comes after them.
        n_steps: S.

    Returns:
        (B, S) of the dtype of `token_rewards`, NaN where there is no step. Differentiable.
    """
    running = token_rewards.double().cumsum(1)
    return ops.pool(running, step, n_steps, "last").to(token_rewards.dtype)


def scale_by_return(token_rewards: Tensor, mask: Tensor, eps: float = 1e-6) -> Tensor:
    """Divide token rewards by the largest absolute reward-to-go of the batch, so that returns lie in [-1, 1].

    The "batch_norm" of PRIME's released code (arXiv 2502.01456). It takes the whole batch: scaling parts of a batch
    each by its own divisor changes their relation.

    Args:
        token_rewards: (B, T) float; what is outside the mask, also NaN, counts nothing.
        mask: (B, T) bool. Rows with NaN inside take no part, and get NaN there.
        eps: Is added to the divisor.

    Returns:
        (B, T) of the dtype of `token_rewards`, 0 outside the mask.

    Raises:
        ValueError: Shapes differ.

    Example:
        >>> import torch
        >>> mask = torch.tensor([[True, True], [True, False]])
        >>> scale_by_return(torch.tensor([[1.0, 3.0], [-2.0, 9.0]]), mask, eps=0.0).tolist()
        [[0.25, 0.75], [-0.5, 0.0]]
    """
    if mask.shape != token_rewards.shape:
        raise ValueError(f"mask has shape {tuple(mask.shape)}: expected {tuple(token_rewards.shape)}")
    inside = torch.where(mask, token_rewards, 0.0).double()
    scored = ~torch.isnan(inside).any(1, keepdim=True)
    to_go = torch.where(mask & scored, inside.flip(1).cumsum(1).flip(1), 0.0)
    largest = to_go.abs().max() if to_go.numel() else to_go.new_zeros(())
    divisor = largest + eps
    return torch.where(divisor > 0, inside / torch.where(divisor > 0, divisor, 1.0), inside).to(token_rewards.dtype)
