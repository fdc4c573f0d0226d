"""The clipped surrogate of PPO and GRPO, with its ratios, clips, KL terms and aggregations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from guerdon import ops
from guerdon.batch import Batch, Counts
from guerdon.objective import pieces
from guerdon.objective.class_balance import balanced_class_weights
from guerdon.objective.ratios import RATIOS, log_ratio, masked_kl
from guerdon.stages import Loss

AGGREGATIONS = ("grpo", "bnpo", "dr_grpo", "dapo", "sum", "step", "class")
KL_KINDS = ("k1", "k2", "k3")


def clipped_surrogate(
    log_ratio: Tensor,
    advantages: Tensor,
    *,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    dual_clip: float | None = None,
    ratio_limit: float | None = None,
) -> Tensor:
    """-min(ratio * A, clip(ratio, 1 - clip_low, 1 + clip_high) * A), element by element.

    Args:
        log_ratio: (B, T) or (B, 1) float.
        advantages: (B, T) float.
        clip_low: How far the ratio may fall below 1.
        clip_high: How far the ratio may rise above 1.
        dual_clip: For negative advantages the ratio counts as this much at most (arXiv 1912.09729, eq. 5); > 1.
        ratio_limit: If any ratio is above it, only the clipped term counts, everywhere: what the code of GTR
            (arXiv 2503.08525) does with 10; None = never.

    Returns:
        (B, T) float, to be minimised.
    """
    value = torch.exp(log_ratio)
    bounded = -value.clamp(1.0 - clip_low, 1.0 + clip_high) * advantages
    loss = torch.maximum(-value * advantages, bounded)
    if ratio_limit is not None:
        loss = torch.where((value > ratio_limit).any(), bounded, loss)
    if dual_clip is not None:
        loss = torch.where(advantages < 0, torch.minimum(loss, -advantages * dual_clip), loss)
    return loss


def aggregate_loss(
    loss: Tensor,
    mask: Tensor,
    aggregation: str,
    counts: Counts,
    *,
    step: Tensor | None = None,
    n_steps: float | None = None,
    label: Tensor | None = None,
) -> Tensor:
    """Bring per-token losses to one number.

    "grpo": mean over sequences of the mean over each one's tokens. "bnpo": mean over the tokens of this piece.
    "dr_grpo": sum divided by sequences times the largest length. "dapo": mean over the tokens of the whole step.
    "sum": sum divided by sequences. "step": mean over all steps of the mean over each one's tokens. "class": mean over
    the classes of rows of the token mean of each, in this piece.

    Args:
        loss: (B, T) float.
        mask: (B, T) bool.
        aggregation: One of the seven.
        counts: What to divide by; the pieces of one step then add up to the loss of the whole.
        step: (B, T) int64, -1 = no step, for "step".
        n_steps: Number of steps to divide by, for "step"; None = those of this piece.
        label: (B,) int64, for "class".

    Returns:
        0-dimensional float tensor.
    """
    if aggregation == "grpo":
        return ops.reduce_loss(loss, mask, "sequence", counts=counts.sequences)
    if aggregation == "bnpo":
        return ops.reduce_loss(loss, mask, "token") / counts.pieces
    if aggregation in ("dr_grpo", "sum"):
        length = counts.max_length if aggregation == "dr_grpo" else 1
        return ops.reduce_loss(loss, mask, "constant", counts=counts.sequences, max_length=length)
    if aggregation == "dapo":
        return ops.reduce_loss(loss, mask, "token", counts=counts.tokens)
    if aggregation == "step":
        return ops.reduce_loss(loss, mask, "step", counts=n_steps, step=step)
    if aggregation == "class":
        return ops.reduce_loss(loss, mask, "class", label=label) / counts.pieces
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
        ratio: "token", "sequence", "step" or "turn"; see `log_ratio`.
        aggregation: "grpo", "bnpo", "dr_grpo", "dapo", "sum", "step" or "class"; see `aggregate_loss`. For "class" the
            classes are the rows with an outcome above 0 and the others.
        kl: Estimator of the KL against the reference policy: "k1", "k2" or "k3".
        kl_coef: Weight of that KL in the loss; 0 = no reference policy is needed.
        kl_weighted: Whether the KL of a token is multiplied by its importance ratio, which makes the gradient that of
            the reverse KL (arXiv 2512.02556); TRL's default, and a change of the gradient even where the ratio is 1.
        thought_coefficient: What the log-ratios of thoughts (`tokens["part"]` = 1) are multiplied by, for "turn".
        ratio_limit: If any ratio of the piece is above it, only the clipped term counts; None = never.
        class_weights: Whether rows are weighted so that right and wrong responses of a group count alike.
    """

    clip_low: float = 0.2
    clip_high: float = 0.2
    dual_clip: float | None = None
    ratio: str = "token"
    aggregation: str = "grpo"
    kl: str = "k3"
    kl_coef: float = 0.0
    kl_weighted: bool = False
    thought_coefficient: float = 1.0
    ratio_limit: float | None = None
    class_weights: bool = False
    writes: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        choices = (("ratio", RATIOS), ("aggregation", AGGREGATIONS), ("kl", KL_KINDS))
        for name, allowed in choices:
            if getattr(self, name) not in allowed:
                raise ValueError(f"ClippedSurrogate.{name} is {getattr(self, name)!r}: expected one of {allowed}")
        for name in ("clip_low", "clip_high", "kl_coef"):
            if not getattr(self, name) >= 0.0:
                raise ValueError(f"ClippedSurrogate.{name} is {getattr(self, name)}: expected 0 or more")
        for name in ("dual_clip", "ratio_limit"):
            value = getattr(self, name)
            if value is not None and not value > 1.0:
                raise ValueError(f"ClippedSurrogate.{name} is {value}: expected a number above 1, or None")
        if not 0.0 <= self.thought_coefficient <= 1.0:
            raise ValueError(
                f"ClippedSurrogate.thought_coefficient is {self.thought_coefficient}: expected a number in [0, 1]"
            )
        if self.thought_coefficient != 1.0 and self.ratio != "turn":
            raise ValueError(f"ClippedSurrogate.thought_coefficient acts with ratio 'turn' only, not {self.ratio!r}")

    @property
    def reads(self) -> tuple[str, ...]:
        """What the objective reads; the reference's log-probabilities only if it weighs them."""
        steps = self.ratio in ("step", "turn") or self.aggregation == "step"
        asked = {
            "ref_logprobs": self.kl_coef != 0.0,
            "step": steps,
            "tokens/part": self.thought_coefficient != 1.0,
            "outcome": self.class_weights or self.aggregation == "class",
            "group": self.class_weights,
        }
        return ("advantages", "mask", *(name for name, read in asked.items() if read))

    @property
    def needs_whole_groups(self) -> bool:
        """Whether the rows of a group must be in one piece."""
        return self.class_weights

    def prepare(self, batch: Batch) -> Batch:
        """Note in a whole batch what its pieces need; see `guerdon.objective.pieces`."""
        if self.class_weights:
            batch = pieces.note_groups(batch)
        if self.aggregation != "step":
            return batch
        return pieces.note(batch, "steps", _number_of_steps(batch.training))

    def __call__(self, logprobs: Tensor, batch: Batch) -> Loss:
        """Return the loss of log-probabilities (B, T) on a batch of the same rows.

        Raises:
            ValueError: Shapes differ, or something that a setting needs is not in the batch.
        """
        rollouts, mask = batch.rollouts, batch.rollouts.mask
        expect_logprobs(logprobs, mask)
        old = logprobs.detach() if rollouts.logprobs is None else rollouts.logprobs
        advantages = batch.advantages * self._row_weights(batch)[:, None]
        logarithm = log_ratio(
            logprobs,
            old,
            mask,
            self.ratio,
            step=rollouts.step,
            part=rollouts.tokens.get("part"),
            thought_coefficient=self.thought_coefficient,
        )
        loss = clipped_surrogate(
            logarithm,
            advantages,
            clip_low=self.clip_low,
            clip_high=self.clip_high,
            dual_clip=self.dual_clip,
            ratio_limit=self.ratio_limit,
        )
        if "sampling_ratio" in rollouts.tokens:
            loss = loss * rollouts.tokens["sampling_ratio"]
        metrics = self._clip_metrics(logarithm.detach(), advantages, mask)
        if self.kl_coef:
            if rollouts.ref_logprobs is None:
                raise ValueError("kl_coef is not 0: expected ref_logprobs in the rollouts")
            divergence = masked_kl(logprobs, rollouts.ref_logprobs, mask, self.kl)
            if self.kl_weighted:
                divergence = divergence * torch.exp(logarithm)
            loss = loss + self.kl_coef * divergence
            metrics["kl"] = float(ops.masked_mean(divergence.detach(), mask))
        return Loss(self._aggregate(loss, batch), metrics)

    def _row_weights(self, batch: Batch) -> Tensor:
        if not self.class_weights:
            return batch.weights
        pieces.expect_whole_groups(batch, "ClippedSurrogate with class_weights")
        right = torch.where(batch.rollouts.scored, (batch.rollouts.outcome > 0).float(), torch.nan)
        return batch.weights * balanced_class_weights(right, batch.rollouts.group)

    def _aggregate(self, loss: Tensor, batch: Batch) -> Tensor:
        rollouts = batch.rollouts
        if self.aggregation == "step":
            number = pieces.amount(batch, "steps", _number_of_steps(batch))
            return aggregate_loss(loss, rollouts.mask, "step", batch.divisors, step=rollouts.step, n_steps=number)
        if self.aggregation == "class":
            scored = rollouts.mask & rollouts.scored[:, None]
            return aggregate_loss(loss, scored, "class", batch.divisors, label=(rollouts.outcome > 0).long())
        return aggregate_loss(loss, rollouts.mask, self.aggregation, batch.divisors)

    def _clip_metrics(self, logarithm: Tensor, advantages: Tensor, mask: Tensor) -> dict[str, float]:
        ratio = torch.exp(logarithm)
        low = ((ratio < 1.0 - self.clip_low) & (advantages < 0) & mask).float()
        high = ((ratio > 1.0 + self.clip_high) & (advantages > 0) & mask).float()
        tokens = mask.sum().clamp(min=1)
        return {"clip_fraction_low": float(low.sum() / tokens), "clip_fraction_high": float(high.sum() / tokens)}


def expect_logprobs(logprobs: Tensor, mask: Tensor) -> None:
    """Raise ValueError unless the log-probabilities have the shape of the mask."""
    if logprobs.shape != mask.shape:
        raise ValueError(f"logprobs has shape {tuple(logprobs.shape)}: expected {tuple(mask.shape)}")


def _number_of_steps(batch: Batch) -> float:
    return float(batch.rollouts.step_exists.sum())
