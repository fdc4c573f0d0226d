"""How far the policy has moved from another one: log-ratios of tokens, steps, turns and whole responses."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from guerdon import ops

RATIOS = ("token", "sequence", "step", "turn")

THOUGHT = 1
"""The value of `tokens["part"]` at the tokens of a thought."""


def log_ratio(
    logprobs: Tensor,
    old_logprobs: Tensor,
    mask: Tensor,
    ratio: str = "token",
    *,
    step: Tensor | None = None,
    part: Tensor | None = None,
    thought_coefficient: float = 1.0,
) -> Tensor:
    """Logarithm of the importance ratio.

    "token" is PPO's. "sequence" is the mean over the row's tokens (GSPO, arXiv 2507.18071, eq. 7). "step" is the sum
    over the tokens of a step, so the ratio is that of the whole step (arXiv 2509.19199); a token of no step keeps its
    own. "turn" is the same with the tokens of thoughts weighted (GTR, arXiv 2503.08525); a row without any step is one
    turn.

    Args:
        logprobs: (B, T) float with gradient, under the policy.
        old_logprobs: (B, T) float, under the behaviour policy.
        mask: (B, T) bool.
        ratio: "token", "sequence", "step" or "turn".
        step: (B, T) int64, -1 = no step; for "step" and "turn".
        part: (B, T) int64, 1 = thought; for "turn" with a `thought_coefficient` other than 1.
        thought_coefficient: What the log-ratios of thoughts are multiplied by, for "turn".

    Returns:
        (B, 1) for "sequence", (B, T) otherwise; 0 outside the mask. At least float32.

    Raises:
        ValueError: An unknown ratio, `step` or `part` are missing, or a log-probability of a step is NaN.
    """
    if ratio not in RATIOS:
        raise ValueError(f"ratio is {ratio!r}: expected one of {RATIOS}")
    difference = torch.where(mask, at_least_float32(logprobs) - at_least_float32(old_logprobs), 0.0)
    if ratio == "token":
        return difference
    if ratio == "sequence":
        return difference.sum(1, keepdim=True) / mask.sum(1, keepdim=True).clamp(min=1)
    if step is None:
        raise ValueError(f"ratio is {ratio!r}: expected step")
    step = torch.where(mask, step, -1)
    if ratio == "turn":
        step = torch.where((step >= 0).any(1, keepdim=True), step, mask.to(step.dtype) - 1)
        difference = _weigh_thoughts(difference, part, thought_coefficient)
    return _sum_over_steps(difference, step)


def _weigh_thoughts(difference: Tensor, part: Tensor | None, coefficient: float) -> Tensor:
    if coefficient == 1.0:
        return difference
    if part is None:
        raise ValueError(f"thought_coefficient is {coefficient}: expected part, which says what is a thought")
    return torch.where(part == THOUGHT, coefficient * difference, difference)


def _sum_over_steps(difference: Tensor, step: Tensor) -> Tensor:
    """(B, T): every token of a step gets the sum over the step; tokens of no step keep their own value."""
    bad = torch.isnan(difference).any(1)
    if bool(bad.any()):
        raise ValueError(f"logprobs in row {int(bad.nonzero()[0])} hold NaN: expected numbers inside the mask")
    width = int(step.max()) + 1 if step.numel() else 0
    summed = ops.spread(ops.pool(difference, step, width, "sum"), step)
    return torch.where(step >= 0, summed, difference)


def masked_kl(logprobs: Tensor, ref_logprobs: Tensor, mask: Tensor, kind: str) -> Tensor:
    """(B, T) estimates of KL(policy || reference), see `guerdon.ops.kl`; 0 outside the mask, also in the gradient."""
    return ops.kl(torch.where(mask, logprobs, 0.0), torch.where(mask, ref_logprobs, 0.0), kind)


def sequence_log_ratio(logprobs: Tensor, ref_logprobs: Tensor | None, mask: Tensor) -> Tensor:
    """Log-ratio of whole responses: the sum over tokens of log pi - log ref.

    Args:
        logprobs: (B, T) float, under the policy.
        ref_logprobs: (B, T) float, under the reference; None = no reference, log pi itself is summed.
        mask: (B, T) bool.

    Returns:
        (B,) at least float32; NaN for rows without a token. Differentiable.
    """
    reference = torch.zeros_like(logprobs) if ref_logprobs is None else ref_logprobs
    total = ops.masked_sum(at_least_float32(logprobs) - at_least_float32(reference), mask, 1)
    return torch.where(mask.any(1), total, torch.nan)


def mixed_logprob(token_logprobs: Tensor, thought_mask: Tensor, action_mask: Tensor, lam: float) -> Tensor:
    """Log-probability of a turn: `lam` times that of its thought plus that of its action (arXiv 2503.08525, §3).

    Args:
        token_logprobs: (B, T) float.
        thought_mask: (B, T) bool.
        action_mask: (B, T) bool.
        lam: Weight of the thought, in [0, 1].

    Returns:
        (B,) at least float32. Differentiable.

    Raises:
        ValueError: A token is both thought and action, or `lam` is outside [0, 1].

    Example:
        >>> import torch
        >>> logprobs = torch.tensor([[-1.0, -0.5, -0.25, -0.25]])
        >>> thought = torch.tensor([[True, True, False, False]])
        >>> mixed_logprob(logprobs, thought, ~thought, 0.5).tolist()
        [-1.25]
    """
    if not 0.0 <= lam <= 1.0:
        raise ValueError(f"lam is {lam}: expected a number in [0, 1]")
    both = (thought_mask & action_mask).any(1)
    if bool(both.any()):
        raise ValueError(f"row {int(both.nonzero()[0])} has tokens in both masks: expected thought or action")
    wide = at_least_float32(token_logprobs)
    return lam * ops.masked_sum(wide, thought_mask, 1) + ops.masked_sum(wide, action_mask, 1)


def at_least_float32(x: Tensor) -> Tensor:
    """The tensor in float64 if it is that, else in float32: what sums over many tokens need."""
    return x if x.dtype == torch.float64 else x.float()


def softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x)), exact in float64 as well, where torch's own goes over to x above 20."""
    return -functional.logsigmoid(-x)
