"""The plain policy gradient: REINFORCE with a baseline and an entropy bonus."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from guerdon import ops
from guerdon.batch import Batch
from guerdon.objective.clipped_surrogate import KL_KINDS, aggregate_loss, expect_logprobs
from guerdon.objective.ratios import masked_kl
from guerdon.objective.value_loss import VALUE_AGGREGATIONS as AGGREGATIONS
from guerdon.stages import Loss


def reinforce_loss(
    logprobs: Tensor,
    returns: Tensor,
    mask: Tensor,
    *,
    baseline: Tensor | None = None,
    entropy_coef: float = 0.0,
    gamma: float = 1.0,
) -> Tensor:
    """-log pi (G - b), element by element (Williams, 1992).

    The entropy bonus is a reward of -log pi for every token: the weight of a token also holds `entropy_coef` times the
    discounted sum of -log pi from that token on. No gradient flows through returns, baseline and bonus.

    Args:
        logprobs: (B, T) float with gradient.
        returns: (B, T) or (B,) float; NaN counts as 0.
        mask: (B, T) bool.
        baseline: What is taken off the returns, of a shape that fits; None = nothing.
        entropy_coef: Weight of the entropy.
        gamma: Discount of the entropies of later tokens.

    Returns:
        (B, T), 0 outside the mask, to be minimised.
    """
    weight = returns.detach() if returns.ndim == 2 else returns.detach()[:, None]
    if baseline is not None:
        weight = weight - (baseline.detach() if baseline.ndim == 2 else baseline.detach()[:, None])
    weight = torch.nan_to_num(weight, nan=0.0)
    if entropy_coef:
        weight = weight + entropy_coef * ops.discounted_suffix(-logprobs.detach(), mask, gamma)
    return torch.where(mask, -logprobs * weight, 0.0)


@dataclass(frozen=True)
class Reinforce:
    """The policy gradient without ratio and clip; the baseline is the credit's.

    Attributes:
        aggregation: "grpo", "bnpo", "dr_grpo", "dapo" or "sum"; see `aggregate_loss`. "sum" is the textbook's.
        entropy_coef: Weight of the policy's entropy, from sampled log-probabilities; see `reinforce_loss`.
        gamma: Discount of the entropies of later tokens.
        kl: Estimator of the KL against the reference policy: "k1", "k2" or "k3".
        kl_coef: Weight of that KL in the loss; 0 = no reference policy is needed.
    """

    aggregation: str = "sum"
    entropy_coef: float = 0.0
    gamma: float = 1.0
    kl: str = "k3"
    kl_coef: float = 0.0
    writes: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        for name, allowed in (("aggregation", AGGREGATIONS), ("kl", KL_KINDS)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"Reinforce.{name} is {getattr(self, name)!r}: expected one of {allowed}")
        for name in ("entropy_coef", "kl_coef"):
            if not getattr(self, name) >= 0.0:
                raise ValueError(f"Reinforce.{name} is {getattr(self, name)}: expected 0 or more")
        if not 0.0 <= self.gamma <= 1.0:
            raise ValueError(f"Reinforce.gamma is {self.gamma}: expected a number in [0, 1]")

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
        expect_logprobs(logprobs, mask)
        advantages = batch.advantages * batch.weights[:, None]
        loss = reinforce_loss(logprobs, advantages, mask, entropy_coef=self.entropy_coef, gamma=self.gamma)
        metrics = {"nll": float(ops.masked_mean(-logprobs.detach(), mask))}
        if self.kl_coef:
            if rollouts.ref_logprobs is None:
                raise ValueError("kl_coef is not 0: expected ref_logprobs in the rollouts")
            divergence = masked_kl(logprobs, rollouts.ref_logprobs, mask, self.kl)
            loss = loss + self.kl_coef * divergence
            metrics["kl"] = float(ops.masked_mean(divergence.detach(), mask))
        return Loss(aggregate_loss(loss, mask, self.aggregation, batch.divisors), metrics)
