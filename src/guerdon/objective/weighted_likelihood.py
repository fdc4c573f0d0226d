"""Likelihood of responses, weighted by their rewards: cloning, rejection sampling, semi-off-policy learning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from guerdon import ops
from guerdon.batch import Batch
from guerdon.objective.clipped_surrogate import aggregate_loss, expect_logprobs
from guerdon.objective.ratios import at_least_float32
from guerdon.stages import Loss

REDUCTIONS = ("sum_tokens", "mean_tokens", "token")
IGNORED = -100
"""The label of tokens that are not learnt."""

_AGGREGATION = {"sum_tokens": "sum", "mean_tokens": "grpo", "token": "dapo"}


def weighted_likelihood(
    token_logp: Tensor,
    mask: Tensor,
    reward: Tensor,
    reduce: str = "sum_tokens",
    *,
    counts: float | None = None,
) -> Tensor:
    """-reward times the log-likelihood of each response.

    With rewards in {0, 1} it is the update of SOPHIA (arXiv 2507.16814), whose importance ratio is set to 1; with
    rewards of 1 it is supervised fine-tuning.

    Args:
        token_logp: (B, T) float with gradient.
        mask: (B, T) bool.
        reward: (B,) float weights; NaN rows take no part. Rows of weight 0 count in what is divided by.
        reduce: "sum_tokens" = sum over tokens, mean over rows; "mean_tokens" = mean over each row's tokens, mean over
            rows; "token" = sum over all, divided by all tokens.
        counts: Number of rows ("token": of tokens) to divide by instead of those here.

    Returns:
        0-dimensional tensor of at least float32.

    Raises:
        ValueError: An unknown reduction, or shapes differ.

    Example:
        >>> import torch
        >>> logp = torch.tensor([[-0.2, -0.3, -0.1], [-1.0, -1.0, 0.0], [-0.4, -0.4, -0.4]])
        >>> mask = torch.tensor([[True, True, True], [True, True, False], [True, True, True]])
        >>> round(float(weighted_likelihood(logp, mask, torch.tensor([1.0, 0.0, 1.0]))), 6)
        0.6
    """
    if reduce not in REDUCTIONS:
        raise ValueError(f"reduce is {reduce!r}: expected one of {REDUCTIONS}")
    if token_logp.shape != mask.shape:
        raise ValueError(f"token_logp has shape {tuple(token_logp.shape)}: expected {tuple(mask.shape)}, like mask")
    scored = ~torch.isnan(reward)
    loss, weight = -at_least_float32(token_logp)[scored], reward[scored]
    if reduce == "token":
        return ops.reduce_loss(loss, mask[scored], "token", counts=counts, row_weight=weight)
    if reduce == "mean_tokens":
        return ops.reduce_loss(loss, mask[scored], "sequence", counts=counts, row_weight=weight)
    return ops.reduce_loss(loss, mask[scored], "constant", counts=counts, row_weight=weight, max_length=1)


def importance_diagnostics(logp_pi: Tensor, logp_mu: Tensor, reward: Tensor) -> dict[str, float]:
    """How far the importance-weighted value is from that with the ratio set to 1 (arXiv 2507.16814, lemma A.3).

    Args:
        logp_pi: (B,) float, log-probabilities of whole responses under the policy.
        logp_mu: (B,) float, under the policy that wrote them.
        reward: (B,) float; NaN rows take no part.

    Returns:
        `g_is` = mean of ratio * reward, `g_1` = mean of reward, `delta` = largest |ratio - 1| where the reward is not
        0. |g_is - g_1| is at most delta for rewards in [0, 1]. All are 0 without rows.
    """
    scored = ~torch.isnan(reward)
    value = reward[scored].double()
    if not value.numel():
        return {"g_is": 0.0, "g_1": 0.0, "delta": 0.0}
    ratio = torch.exp(logp_pi.double() - logp_mu.double())[scored]
    away = torch.where(value != 0, (ratio - 1.0).abs(), 0.0)
    return {"g_is": float((ratio * value).mean()), "g_1": float(value.mean()), "delta": float(away.max())}


def thought_clone_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Negative log-likelihood of corrected thoughts, the mean over labelled tokens (GTR, arXiv 2503.08525).

    Args:
        logits: (B, T, V) float; row t is scored against label t: the caller shifts.
        labels: (B, T) int64, -100 = not learnt (the prompt, the action, right thoughts).

    Returns:
        0-dimensional tensor of at least float32; 0 with zero gradient without any label.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[[0.0, 1.0, 2.0], [1.0, 0.0, 0.0], [0.0, 0.0, 3.0]]])
        >>> round(float(thought_clone_loss(logits, torch.tensor([[0, 2, 1]]))), 4)
        2.3513
    """
    labelled = labels != IGNORED
    logprobs = ops.token_logprobs(logits, labels.clamp(min=0))
    return weighted_likelihood(logprobs, labelled, torch.ones(len(labels), device=labels.device), "token")


@dataclass(frozen=True)
class WeightedLikelihood:
    """Likelihood of the responses, weighted by their rewards; without ratio, clip or baseline.

    Unscored rows take no part where the weight is the outcome.

    Attributes:
        reduce: "sum_tokens", "mean_tokens" or "token"; see `weighted_likelihood`.
        weight: "outcome" = each row's outcome reward, or "one" = all rows count alike (cloning of what was selected).
    """

    reduce: str = "sum_tokens"
    weight: str = "outcome"
    writes: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        if self.reduce not in REDUCTIONS:
            raise ValueError(f"WeightedLikelihood.reduce is {self.reduce!r}: expected one of {REDUCTIONS}")
        if self.weight not in ("outcome", "one"):
            raise ValueError(f"WeightedLikelihood.weight is {self.weight!r}: expected 'outcome' or 'one'")

    @property
    def reads(self) -> tuple[str, ...]:
        """What the objective reads."""
        return ("mask", *(("outcome",) if self.weight == "outcome" else ()))

    def __call__(self, logprobs: Tensor, batch: Batch) -> Loss:
        """Return the loss of log-probabilities (B, T) on a batch of the same rows.

        Raises:
            ValueError: Shapes differ.
        """
        rollouts, mask = batch.rollouts, batch.rollouts.mask
        expect_logprobs(logprobs, mask)
        reward = rollouts.outcome if self.weight == "outcome" else torch.ones_like(rollouts.outcome)
        weight = torch.nan_to_num(reward, nan=0.0) * batch.weights
        loss = -at_least_float32(logprobs) * weight[:, None]
        value = aggregate_loss(loss, mask, _AGGREGATION[self.reduce], batch.divisors)
        learnt = mask & (weight != 0)[:, None]
        return Loss(value, {"nll": float(ops.masked_mean(-logprobs.detach().float(), learnt))})
