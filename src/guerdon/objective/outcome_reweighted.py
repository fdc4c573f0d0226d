"""Behaviour cloning of right responses, policy gradient on wrong ones (OREAL, arXiv 2502.06781).

The official code sets the KL of right responses to 0 and then overwrites that: the KL counts for all, as here. It takes
an undecided outcome for a wrong one; here such a row takes no part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from guerdon import ops
from guerdon.batch import Batch
from guerdon.objective import pieces
from guerdon.objective.clipped_surrogate import KL_KINDS, clipped_surrogate, expect_logprobs
from guerdon.objective.ratios import log_ratio, masked_kl
from guerdon.stages import Loss


def oreal_loss(
    logprobs: Tensor,
    ref_logprobs: Tensor | None,
    mask: Tensor,
    reward: Tensor,
    advantage: Tensor,
    w_plus: Tensor | None = None,
    w_minus: Tensor | None = None,
    positive_factor: float = 1.0,
    negative_factor: float = 0.5,
    kl_coef: float = 0.01,
    kl: str = "k3",
    scale_positive: bool = True,
    counts: tuple[float, float] | None = None,
) -> Loss:
    """The three losses of OREAL, each a mean over tokens of its own kind of row.

    Right responses: -A omega log pi. Wrong ones: -A omega exp(log pi - sg[log pi]), whose value is -A omega and whose
    gradient that of the policy gradient; A is negative there. All: kl_coef KL(pi || reference).

    Args:
        logprobs: (B, T) float with gradient.
        ref_logprobs: (B, T) float; None with `kl_coef=0`.
        mask: (B, T) bool.
        reward: (B,) float, above 0 = right; NaN rows take no part.
        advantage: (B,) or (B, T) float.
        w_plus: (B, T) float, importance of the tokens of right responses; None = 1.
        w_minus: (B, T) float, importance of the tokens of wrong ones; None = 1.
        positive_factor: Weight of the first loss.
        negative_factor: Weight of the second.
        kl_coef: Weight of the third.
        kl: Estimator of the KL; see `guerdon.ops.kl`.
        scale_positive: Whether right responses are weighted by their advantage.
        counts: Numbers of tokens of right and of wrong responses to divide by, instead of this batch's own.

    Returns:
        The loss, with its parts `positive`, `negative` and `kl` as metrics.

    Raises:
        ValueError: `kl_coef` without `ref_logprobs`.
    """
    right, wrong = (reward > 0)[:, None] & mask, (reward <= 0)[:, None] & mask
    n_right, n_wrong = (float(right.sum()), float(wrong.sum())) if counts is None else counts
    amount = torch.nan_to_num(advantage[:, None] if advantage.ndim == 1 else advantage, nan=0.0)
    cloned = -logprobs * (amount if scale_positive else 1.0)
    positive = positive_factor * _mean(cloned, w_plus, right, n_right)
    on_policy = log_ratio(logprobs, logprobs.detach(), mask)
    # The ratio is 1, so no clip acts.
    pushed = clipped_surrogate(on_policy, amount.expand(mask.shape))
    negative = negative_factor * _mean(pushed, w_minus, wrong, n_wrong)
    parts = {"positive": positive, "negative": negative}
    if kl_coef:
        if ref_logprobs is None:
            raise ValueError("kl_coef is not 0: expected ref_logprobs")
        divergence = masked_kl(logprobs, ref_logprobs, mask, kl)
        parts["kl"] = kl_coef * ops.reduce_loss(divergence, right | wrong, "token", counts=n_right + n_wrong)
    total = torch.stack(list(parts.values())).sum()
    return Loss(total, {name: float(value.detach()) for name, value in parts.items()})


def _mean(loss: Tensor, weight: Tensor | None, mask: Tensor, counts: float) -> Tensor:
    weighted = loss if weight is None else loss * weight.detach()
    return ops.reduce_loss(weighted, mask, "token", counts=counts)


@dataclass(frozen=True)
class OutcomeReweighted:
    """Cloning of right responses and policy gradient on wrong ones, each the mean over its own tokens (OREAL).

    The weights are the batch's advantages, so a credit that knows which tokens matter folds their importance into them.
    Rows are right where the outcome is above 0; unscored rows take no part.

    Attributes:
        positive_factor: Weight of the right responses' loss.
        negative_factor: Weight of the wrong responses' loss.
        kl: Estimator of the KL against the reference policy: "k1", "k2" or "k3".
        kl_coef: Weight of that KL; 0 = no reference policy is needed.
    """

    positive_factor: float = 1.0
    negative_factor: float = 0.5
    kl: str = "k3"
    kl_coef: float = 0.01
    writes: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        for name in ("positive_factor", "negative_factor", "kl_coef"):
            if not getattr(self, name) >= 0.0:
                raise ValueError(f"OutcomeReweighted.{name} is {getattr(self, name)}: expected 0 or more")
        if self.kl not in KL_KINDS:
            raise ValueError(f"OutcomeReweighted.kl is {self.kl!r}: expected one of {KL_KINDS}")

    @property
    def reads(self) -> tuple[str, ...]:
        """What the objective reads: the reference's log-probabilities only if it weighs them."""
        return ("advantages", "outcome", "mask", *(("ref_logprobs",) if self.kl_coef else ()))

    def prepare(self, batch: Batch) -> Batch:
        """Note in a whole batch how many tokens right and wrong responses have; see `guerdon.objective.pieces`."""
        right, wrong = _tokens_by_class(batch.training)
        return pieces.note(pieces.note(batch, "right_tokens", right), "wrong_tokens", wrong)

    def __call__(self, logprobs: Tensor, batch: Batch) -> Loss:
        """Return the loss of log-probabilities (B, T) on a batch of the same rows.

        Raises:
            ValueError: Shapes differ, or `kl_coef` is not 0 and the batch has no `ref_logprobs`.
        """
        rollouts = batch.rollouts
        expect_logprobs(logprobs, rollouts.mask)
        right, wrong = _tokens_by_class(batch)
        counts = (pieces.amount(batch, "right_tokens", right), pieces.amount(batch, "wrong_tokens", wrong))
        return oreal_loss(
            logprobs,
            rollouts.ref_logprobs,
            rollouts.mask,
            rollouts.outcome,
            batch.advantages * batch.weights[:, None],
            positive_factor=self.positive_factor,
            negative_factor=self.negative_factor,
            kl_coef=self.kl_coef,
            kl=self.kl,
            counts=counts,
        )


def _tokens_by_class(batch: Batch) -> tuple[float, float]:
    lengths, outcome = batch.rollouts.lengths, batch.rollouts.outcome
    return float(lengths[outcome > 0].sum()), float(lengths[outcome <= 0].sum())
