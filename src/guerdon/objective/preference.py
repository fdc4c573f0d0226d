"""Losses on preferences between responses: DPO, NCA and KTO, on sums of log-ratios.

The reward of a response is beta times its summed log-ratio against a reference, never a mean over its tokens.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from guerdon import ops
from guerdon.batch import Batch
from guerdon.objective.clipped_surrogate import expect_logprobs
from guerdon.objective.dynamic_beta import batch_beta, dynamic_beta
from guerdon.objective.implicit_cross_entropy import REFERENCE_FIELDS, REFERENCES, reference_logprobs
from guerdon.objective.ratios import at_least_float32, sequence_log_ratio, softplus
from guerdon.objective.reward_losses import bradley_terry
from guerdon.stages import Loss

KINDS = ("dpo", "nca", "kto")
PAIRINGS = ("all", "extreme", "one_to_one")
BETAS = ("constant", "margin", "batch", "pair")
_COLUMN = "whole/preferred_to"


def implicit_dpo(r_w: Tensor, r_l: Tensor, weight: Tensor | None = None) -> Tensor:
    """-log sigmoid(r_w - r_l), the mean over pairs (arXiv 2305.18290, eq. 7).

    Args:
        r_w: (P,) float, beta times the summed log-ratios of the chosen responses.
        r_l: (P,) float, of the rejected ones.
        weight: (P,) float, multiplies the pairs' losses.

    Returns:
        0-dimensional tensor of at least float32; 0 without pairs. Differentiable.
    """
    return bradley_terry(r_w, r_l, weight=weight)


def implicit_nca(r_w: Tensor, r_l: Tensor, weight: Tensor | None = None) -> Tensor:
    """-log sigmoid(r_w) - 1/2 log sigmoid(-r_w) - 1/2 log sigmoid(-r_l), the mean over pairs (arXiv 2402.05369).

    Arguments and result as for `implicit_dpo`.
    """
    if r_l.shape != r_w.shape:
        raise ValueError(f"r_l has shape {tuple(r_l.shape)}: expected {tuple(r_w.shape)}, like r_w")
    known = ~(torch.isnan(r_w) | torch.isnan(r_l))
    win, lose = (torch.where(known, at_least_float32(x), 0.0) for x in (r_w, r_l))
    pair = softplus(-win) + 0.5 * (softplus(win) + softplus(lose))
    return ops.masked_mean(pair if weight is None else pair * weight, known)


def implicit_kto(
    reward: Tensor,
    label: Tensor,
    reference_point: float | Tensor,
    desirable: float = 1.0,
    undesirable: float = 1.0,
    weight: Tensor | None = None,
) -> Tensor:
    """w_d (1 - sigmoid(r - z)) for right responses, w_u (1 - sigmoid(z - r)) for wrong ones (arXiv 2402.01306, eq. 8).

    Args:
        reward: (B,) float, beta times the summed log-ratio; NaN rows take no part.
        label: (B,) 1 = right, 0 = wrong; NaN rows take no part.
        reference_point: z, see `kto_reference_point`; no gradient flows through it.
        desirable: Weight of right responses, w_d.
        undesirable: Weight of wrong ones, w_u.
        weight: (B,) float, multiplies the rows' losses.

    Returns:
        0-dimensional tensor of at least float32, the mean over rows. Differentiable.
    """
    wide, goal = at_least_float32(reward), label.to(reward.dtype)
    wrong = ~torch.isnan(goal) & (goal != 0) & (goal != 1)
    if bool(wrong.any()):
        row = int(wrong.nonzero()[0])
        raise ValueError(f"label in row {row} is {float(goal[row])}: expected 0 or 1")
    known = ~(torch.isnan(wide) | torch.isnan(goal))
    point = torch.as_tensor(reference_point, dtype=wide.dtype, device=wide.device).detach()
    gap = torch.where(known, wide - point, 0.0)
    right = goal == 1
    loss = torch.where(right, desirable * torch.sigmoid(-gap), undesirable * torch.sigmoid(gap))
    return ops.masked_mean(loss if weight is None else loss * weight, known)


def kto_reference_point(mismatched_log_ratio: Tensor, beta: float) -> Tensor:
    """Beta times max(0, mean log-ratio of responses to prompts that are not their own), without gradient.

    Args:
        mismatched_log_ratio: (N,) float, of all processes.
        beta: Scale.

    Returns:
        0-dimensional tensor; 0 without any.
    """
    value = at_least_float32(mismatched_log_ratio.detach())
    return beta * ops.masked_mean(value, ~torch.isnan(value)).clamp(min=0.0)


def preference_loss(
    chosen: Tensor,
    rejected: Tensor,
    beta: float | Tensor = 0.1,
    kind: str = "dpo",
    *,
    weight: Tensor | None = None,
    nll: Tensor | None = None,
    nll_coef: float = 0.0,
) -> Tensor:
    """A preference loss on log-ratio sums, with the chosen responses' likelihood beside it.

    For diffusion models the log-ratio is minus the difference of the denoising errors.

    Args:
        chosen: (P,) float, summed log-ratios of the chosen responses, with gradient.
        rejected: (P,) float, of the rejected ones.
        beta: Scale, one number or (P,); no gradient flows through it.
        kind: "dpo", "nca" or "kto" (each chosen response right, each rejected one wrong, reference point 0).
        weight: (P,) float, multiplies the pairs' losses.
        nll: (P,) float, negative log-likelihood of the chosen responses; needed for `nll_coef`.
        nll_coef: Weight of its mean.

    Returns:
        0-dimensional tensor of at least float32; 0 without pairs.

    Raises:
        ValueError: An unknown kind, shapes differ, a beta is not positive, or `nll` is missing.
    """
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}: expected one of {KINDS}")
    scale = torch.as_tensor(beta, dtype=at_least_float32(chosen).dtype, device=chosen.device).detach()
    if bool((scale <= 0).any()):
        raise ValueError(f"beta is {scale.tolist()}: expected positive numbers")
    win, lose = scale * at_least_float32(chosen), scale * at_least_float32(rejected)
    if kind == "kto":
        label = torch.cat([torch.ones_like(win), torch.zeros_like(lose)])
        both = None if weight is None else torch.cat([weight, weight])
        loss = implicit_kto(torch.cat([win, lose]), label, 0.0, weight=both)
    else:
        loss = (implicit_dpo if kind == "dpo" else implicit_nca)(win, lose, weight)
    if not nll_coef:
        return loss
    if nll is None:
        raise ValueError(f"nll_coef is {nll_coef}: expected nll")
    return loss + nll_coef * ops.masked_mean(at_least_float32(nll), ~torch.isnan(nll))


def dpo_sft_loss(
    policy_c: Tensor, policy_r: Tensor, ref_c: Tensor, ref_r: Tensor, n_c: Tensor, beta: float, alpha: float
) -> Tensor:
    """DPO with a likelihood term, one loss a pair (DRM, arXiv 2510.11457).

    -log sigmoid(beta [(log pi(c) - log ref(c)) - (log pi(r) - log ref(r))]) - alpha log pi(c) / |c|

    Args:
        policy_c: (P,) float with gradient, summed log-probabilities of the chosen responses.
        policy_r: (P,) float with gradient, of the rejected ones.
        ref_c: (P,) float, of the chosen ones under the reference.
        ref_r: (P,) float, of the rejected ones under the reference.
        n_c: (P,) number of tokens of the chosen responses.
        beta: Scale of the log-ratios.
        alpha: Weight of the chosen responses' token-mean likelihood.

    Returns:
        (P,) of at least float32.
    """
    margin = beta * ((at_least_float32(policy_c) - ref_c) - (at_least_float32(policy_r) - ref_r))
    return softplus(-margin) - alpha * at_least_float32(policy_c) / n_c


@dataclass(frozen=True)
class Preference:
    """Learning from pairs of responses to one prompt.

    The pairs are those of the selection, where it chose some; otherwise better and worse responses of a group, by
    outcome. "kto" takes single responses, right where the outcome is above 0.

    Attributes:
        kind: "dpo", "nca" or "kto".
        beta: Scale of the log-ratios.
        beta_mode: "constant"; "margin" = beta grows with the pair's difference in outcome (see `dynamic_beta`);
            "batch" = one beta from all log-ratios (see `batch_beta`); "pair" = the selection's pair weights.
        beta_gain: How much beta may grow, w, for "margin" and "batch".
        beta_rate: How fast it grows with the margin, k, for "margin".
        nll_coef: Weight of the chosen responses' token-mean negative log-likelihood.
        reference: What log-ratios are taken against: "reference", "behaviour" or "none".
        pairing: Pairs of a group without a selection's: "all", the "extreme" one, or "one_to_one".
        margin: Smallest difference in outcome of such a pair (exclusive).
        desirable: Weight of right responses, for "kto".
        undesirable: Weight of wrong responses, for "kto".
        seed: Of the draws of "batch".
    """

    kind: str = "dpo"
    beta: float = 0.1
    beta_mode: str = "constant"
    beta_gain: float = 0.5
    beta_rate: float = 0.5
    nll_coef: float = 0.0
    reference: str = "reference"
    pairing: str = "all"
    margin: float = 0.0
    desirable: float = 1.0
    undesirable: float = 1.0
    seed: int = 0
    writes: ClassVar[tuple[str, ...]] = ()
    needs_whole_groups: ClassVar[bool] = True

    def __post_init__(self) -> None:
        choices = (("kind", KINDS), ("beta_mode", BETAS), ("reference", REFERENCES), ("pairing", PAIRINGS))
        for name, allowed in choices:
            if getattr(self, name) not in allowed:
                raise ValueError(f"Preference.{name} is {getattr(self, name)!r}: expected one of {allowed}")
        if not self.beta > 0.0:
            raise ValueError(f"Preference.beta is {self.beta}: expected a positive number")
        for name in ("beta_gain", "beta_rate", "nll_coef", "margin", "desirable", "undesirable"):
            if not getattr(self, name) >= 0.0:
                raise ValueError(f"Preference.{name} is {getattr(self, name)}: expected 0 or more")
        if self.kind == "kto" and self.beta_mode != "constant":
            raise ValueError(f"Preference.beta_mode is {self.beta_mode!r}: 'kto' has no pairs; expected 'constant'")

    @property
    def reads(self) -> tuple[str, ...]:
        """What the objective reads."""
        return ("outcome", "group", "mask", *REFERENCE_FIELDS[self.reference])

    def prepare(self, batch: Batch) -> Batch:
        """Note in a whole batch which rows are preferred to which, so that a piece finds its pairs.

        Pairs are kept by the rows' places in the scored batch, if both rows are trained on; their losses are scaled so
        that those of the pieces add up to the mean over all pairs.
        """
        if self.kind == "kto":
            return batch
        pairs, weights = self._pairs(batch)
        both = batch.trained[pairs].all(1)
        pairs, weights = pairs[both], weights[both]
        lists: list[list[tuple[int, float]]] = [[] for _ in range(len(batch))]
        places = batch.rows.tolist()
        for (winner, loser), weight in zip(pairs.tolist(), weights.tolist(), strict=True):
            lists[winner].append((places[loser], weight))
        scale = float(batch.trained.sum()) / max(len(pairs), 1)
        noted = tuple((scale, tuple(entries)) for entries in lists)
        return dataclasses.replace(batch, rollouts=batch.rollouts.with_columns(**{_COLUMN: noted}))

    def __call__(self, logprobs: Tensor, batch: Batch) -> Loss:
        """Return the loss of log-probabilities (B, T) on a batch of the same rows, in whole groups.

        Raises:
            ValueError: Shapes differ, the reference's log-probabilities are missing, or a pair is cut apart.
        """
        rollouts = batch.rollouts
        expect_logprobs(logprobs, rollouts.mask)
        ratio = sequence_log_ratio(logprobs, reference_logprobs(batch, self.reference), rollouts.mask)
        if self.kind == "kto":
            return self._kto(ratio, logprobs, batch)
        pairs, weights = self._pairs(batch)
        chosen, rejected = ratio[pairs[:, 0]], ratio[pairs[:, 1]]
        beta = self._beta(chosen - rejected, pairs, weights, batch)
        loss_weight = batch.weights[pairs[:, 0]] * (1.0 if self.beta_mode == "pair" else weights)
        nll = -ops.masked_mean(at_least_float32(logprobs), rollouts.mask, 1)[pairs[:, 0]]
        value = preference_loss(chosen, rejected, beta, self.kind, weight=loss_weight, nll=nll, nll_coef=self.nll_coef)
        metrics = {"pairs": float(len(pairs)), "beta": float(torch.as_tensor(beta).mean())} if len(pairs) else {}
        if len(pairs):
            metrics["pair_accuracy"] = float((chosen > rejected).float().mean())
            metrics["margin"] = float((chosen - rejected).detach().mean())
        # No pair: a loss of 0 that the backward pass can go through.
        return Loss(value * self._share(batch, len(pairs)) + 0.0 * logprobs.sum(), metrics)

    def _share(self, batch: Batch, number: int) -> float:
        noted = batch.rollouts.columns.get(_COLUMN)
        if not noted or batch.counts is None:
            return 1.0 if batch.counts is None else 1.0 / batch.counts.pieces
        return number * float(noted[0][0]) / max(batch.divisors.sequences, 1.0)

    def _beta(self, gap: Tensor, pairs: Tensor, weights: Tensor, batch: Batch) -> float | Tensor:
        if self.beta_mode == "constant":
            return self.beta
        if self.beta_mode == "pair":
            return weights
        if self.beta_mode == "margin":
            outcome = batch.rollouts.outcome
            delta = outcome[pairs[:, 0]] - outcome[pairs[:, 1]]
            return dynamic_beta(delta, self.beta, self.beta_gain, self.beta_rate)
        generator = torch.Generator().manual_seed(self.seed + batch.rollouts.iteration)
        return batch_beta(gap, self.beta, self.beta_gain, generator=generator)

    def _kto(self, ratio: Tensor, logprobs: Tensor, batch: Batch) -> Loss:
        outcome = batch.rollouts.outcome
        label = torch.where(torch.isnan(outcome), torch.nan, (outcome > 0).to(ratio.dtype))
        usable = ~(torch.isnan(label) | torch.isnan(ratio))
        loss = implicit_kto(self.beta * ratio, label, 0.0, self.desirable, self.undesirable, weight=batch.weights)
        value = loss * usable.sum() / max(batch.divisors.sequences, 1.0)
        return Loss(value + 0.0 * logprobs.sum(), {"rows": float(usable.sum())})

    def _pairs(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """(P, 2) rows of this batch and (P,) weights: as noted, as selected, or by outcome."""
        noted = batch.rollouts.columns.get(_COLUMN)
        if noted is not None:
            return _noted_pairs(batch, noted)
        selection = batch.selection
        if selection is not None and selection.pairs is not None:
            return _selected_pairs(batch, selection.pairs, selection.pair_weights)
        rollouts = batch.rollouts
        pairs = ops.pair_indices(rollouts.group, rollouts.outcome, self.pairing, self.margin)
        return pairs, torch.ones(len(pairs), device=rollouts.device)


def _noted_pairs(batch: Batch, noted: Any) -> tuple[Tensor, Tensor]:
    here = {place: row for row, place in enumerate(batch.rows.tolist())}
    pairs, weights = [], []
    for row, (_, entries) in enumerate(noted):
        for place, weight in entries:
            if place not in here:
                raise ValueError(
                    f"row {row} is preferred to row {place}, which is in another piece: expected whole groups"
                )
            pairs.append((row, here[place]))
            weights.append(weight)
    device = batch.rollouts.device
    index = torch.tensor(pairs, dtype=torch.int64, device=device).reshape(-1, 2)
    return index, torch.tensor(weights, dtype=torch.float32, device=device)


def _selected_pairs(batch: Batch, pairs: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
    """The selection's pairs as rows of this batch; a pair with a dropped row is left out."""
    size = int(max(int(pairs.max()) if pairs.numel() else 0, int(batch.rows.max()) if len(batch) else 0)) + 1
    place = torch.full((size,), -1, dtype=torch.int64, device=batch.rows.device)
    place[batch.rows] = torch.arange(len(batch), device=batch.rows.device)
    mapped = place[pairs]
    kept = (mapped >= 0).all(1)
    amount = torch.ones(len(pairs), device=pairs.device) if weights is None else weights
    return mapped[kept], amount[kept]
