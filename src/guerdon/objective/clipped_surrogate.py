"""The clipped surrogate of PPO and GRPO, with its ratios, clips, KL terms and aggregations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from guerdon import ops
from guerdon.batch import Batch, Counts
from guerdon.stages import Loss

RATIOS = ("token", "sequence")
AGGREGATIONS = ("grpo", "bnpo", "dr_grpo", "dapo")
KL_KINDS = ("k1", "k2", "k3")


def log_ratio(logprobs: Tensor, old_logprobs: Tensor, mask: Tensor, ratio: str = "token") -> Tensor:
    """Logarithm of the importance ratio.

    Args:
        logprobs: (B, T) float with gradient, under the policy.
        old_logprobs: (B, T) float, under the behaviour policy.
        mask: (B, T) bool.
        ratio: "token" (PPO), or "sequence" = the mean over the row's tokens (GSPO, arXiv 2507.18071, eq. 7).

    Returns:
        (B, T) for "token", (B, 1) for "sequence"; 0 outside the mask.
    """
    if ratio not in RATIOS:
        raise ValueError(f"ratio is {ratio!r}: expected one of {RATIOS}")
    difference = torch.where(mask, logprobs - old_logprobs, 0.0)
    if ratio == "token":
        return difference
    return difference.sum(1, keepdim=True) / mask.sum(1, keepdim=True).clamp(min=1)


def clipped_surrogate(
    log_ratio: Tensor,
    advantages: Tensor,
    *,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    dual_clip: float | None = None,
) -> Tensor:
    """-min(ratio * A, clip(ratio, 1 - clip_low, 1 + clip_high) * A), element by element.

    Args:
        log_ratio: (B, T) or (B, 1) float.
        advantages: (B, T) float.
        clip_low: How far the ratio may fall below 1.
        clip_high: How far the ratio may rise above 1.
        dual_clip: For negative advantages the ratio counts as this much at most (arXiv 1912.09729, eq. 5); > 1.

    Returns:
        (B, T) float, to be minimised.
    """
    value = torch.exp(log_ratio)
    loss = torch.maximum(-value * advantages, -value.clamp(1.0 - clip_low, 1.0 + clip_high) * advantages)
    if dual_clip is not None:
        loss = torch.where(advantages < 0, torch.minimum(loss, -advantages * dual_clip), loss)
    return loss


def aggregate_loss(loss: Tensor, mask: Tensor, aggregation: str, counts: Counts) -> Tensor:
    """Bring per-token losses to one number.

    "grpo": mean over sequences of the mean over each one's tokens. "bnpo": mean over the tokens of this piece.
    "dr_grpo": sum divided by sequences times the largest length. "dapo": mean over the tokens of the whole step.

    Args:
        loss: (B, T) float.
        mask: (B, T) bool.
        aggregation: One of the four.
        counts: What to divide by; the pieces of one step then add up to the loss of the whole.

    Returns:
        0-dimensional float tensor.
    """
    if aggregation == "grpo":
        per_row = ops.masked_sum(loss, mask, 1) / mask.sum(1).clamp(min=1)
        return per_row.sum() / max(counts.sequences, 1.0)
    total = ops.masked_sum(loss, mask)
    if aggregation == "bnpo":
        return total / mask.sum().clamp(min=1) / counts.pieces
    if aggregation == "dr_grpo":
        return total / (max(counts.sequences, 1.0) * counts.max_length)
    if aggregation == "dapo":
        return total / max(counts.tokens, 1.0)
    raise ValueError(f"aggregation is {aggregation!r}: expected one of {AGGREGATIONS}")


@dataclass(frozen=True)
class ClippedSurrogate:
    """The clipped surrogate (arXiv 1707.06347, eq. 7; arXiv 2402.03300, eq. 3).

    Without `logprobs` in the rollouts the policy itself is the behaviour policy: the ratio is 1 and its gradient
    is that of the log-probability. `tokens["sampling_ratio"]`, where it is there, corrects for an inference engine
    whose probabilities differ from the trainer's: it multiplies the loss of every token.

    Attributes:
        clip_low: How far the ratio may fall below 1.
        clip_high: How far it may rise above 1.
        dual_clip: Bound of the ratio for negative advantages, above 1; None = no bound.
        ratio: "token" or "sequence".
        aggregation: "grpo", "bnpo", "dr_grpo" or "dapo"; see `aggregate_loss`.
        kl: Estimator of the KL against the reference policy: "k1", "k2" or "k3".
        kl_coef: Weight of that KL in the loss; 0 = no reference policy is needed.
        kl_weighted: Whether the KL of a token is multiplied by its importance ratio, which makes the gradient that of
            the reverse KL (arXiv 2512.02556); TRL's default, and a change of the gradient even where the ratio is 1.
    """

    clip_low: float = 0.2
    clip_high: float = 0.2
    dual_clip: float | None = None
    ratio: str = "token"
    aggregation: str = "grpo"
    kl: str = "k3"
    kl_coef: float = 0.0
    kl_weighted: bool = False
    writes: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        choices = (("ratio", RATIOS), ("aggregation", AGGREGATIONS), ("kl", KL_KINDS))
        for name, allowed in choices:
            if getattr(self, name) not in allowed:
                raise ValueError(f"ClippedSurrogate.{name} is {getattr(self, name)!r}: expected one of {allowed}")
        for name in ("clip_low", "clip_high", "kl_coef"):
            if not getattr(self, name) >= 0.0:
                raise ValueError(f"ClippedSurrogate.{name} is {getattr(self, name)}: expected 0 or more")
        if self.dual_clip is not None and not self.dual_clip > 1.0:
            raise ValueError(f"ClippedSurrogate.dual_clip is {self.dual_clip}: expected a number above 1, or None")

    @property
    def reads(self) -> tuple[str, ...]:
        """What the objective reads: the reference's log-probabilities only if it weighs them."""
        return ("advantages", "mask", *(("ref_logprobs",) if self.kl_coef else ()))

    def __call__(self, logprobs: Tensor, batch: Batch) -> Loss:
        """Return the loss of log-probabilities (B, T) on a batch of the same rows.

        Raises:
            ValueError: Shapes differ, or `kl_coef` is not 0 and the batch has no `ref_logprobs`.
        """
        rollouts, mask = batch.rollouts, batch.rollouts.mask
        if logprobs.shape != mask.shape:
            raise ValueError(f"logprobs has shape {tuple(logprobs.shape)}: expected {tuple(mask.shape)}")
        old = logprobs.detach() if rollouts.logprobs is None else rollouts.logprobs
        advantages = batch.advantages * batch.weights[:, None]
        logarithm = log_ratio(logprobs, old, mask, self.ratio)
        loss = clipped_surrogate(
            logarithm, advantages, clip_low=self.clip_low, clip_high=self.clip_high, dual_clip=self.dual_clip
        )
        if "sampling_ratio" in rollouts.tokens:
            loss = loss * rollouts.tokens["sampling_ratio"]
        metrics = self._clip_metrics(logarithm.detach(), advantages, mask)
        if self.kl_coef:
            if rollouts.ref_logprobs is None:
                raise ValueError("kl_coef is not 0: expected ref_logprobs in the rollouts")
            divergence = ops.kl(logprobs, rollouts.ref_logprobs, self.kl)
            if self.kl_weighted:
                divergence = divergence * torch.exp(logarithm)
            loss = loss + self.kl_coef * divergence
            metrics["kl"] = float(ops.masked_mean(divergence.detach(), mask))
        return Loss(aggregate_loss(loss, mask, self.aggregation, batch.divisors), metrics)

    def _clip_metrics(self, logarithm: Tensor, advantages: Tensor, mask: Tensor) -> dict[str, float]:
        ratio = torch.exp(logarithm)
        low = ((ratio < 1.0 - self.clip_low) & (advantages < 0) & mask).float()
        high = ((ratio > 1.0 + self.clip_high) & (advantages > 0) & mask).float()
        tokens = mask.sum().clamp(min=1)
        return {"clip_fraction_low": float(low.sum() / tokens), "clip_fraction_high": float(high.sum() / tokens)}
