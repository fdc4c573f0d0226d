"""Reinforcement learning with verifiable rewards as classification (PACS, arXiv 2509.02522).

The verifier's 0 or 1 is a label, a group-relative score made of the policy's own log-ratio is its logit, and the loss
is their cross-entropy. Unlike the official code, which relies on neighbouring rows, groups are found by their ids.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from guerdon import ops
from guerdon.batch import Batch
from guerdon.objective import pieces
from guerdon.objective.class_balance import balanced_class_weights
from guerdon.objective.clipped_surrogate import expect_logprobs
from guerdon.objective.ratios import sequence_log_ratio, softplus
from guerdon.stages import Loss

SCORES = ("log_ratio", "mean_logprob")
ESTIMATORS = ("rloo", "grpo", "naive")
WEIGHTS = ("group", "none", "positive", "negative")


def policy_score(
    logprobs: Tensor, old_logprobs: Tensor | None, mask: Tensor, beta: float = 1.0, kind: str = "log_ratio"
) -> Tensor:
    """The score that a policy gives a response.

    Args:
        logprobs: (B, T) float with gradient.
        old_logprobs: (B, T) float, under the behaviour policy; not needed for "mean_logprob".
        mask: (B, T) bool.
        beta: Scale.
        kind: "log_ratio" = beta times the sum of log pi - log pi_old; "mean_logprob" = beta times the mean of log pi.

    Returns:
        (B,) at least float32; 0 for rows without tokens. Differentiable.

    Raises:
        ValueError: An unknown kind, or `old_logprobs` is missing.
    """
    if kind not in SCORES:
        raise ValueError(f"kind is {kind!r}: expected one of {SCORES}")
    if kind == "log_ratio":
        if old_logprobs is None:
            raise ValueError("kind is 'log_ratio': expected old_logprobs")
        total = sequence_log_ratio(logprobs, old_logprobs, mask)
    else:
        total = sequence_log_ratio(logprobs, None, mask) / mask.sum(1).clamp(min=1)
    return beta * torch.where(mask.any(1), total, 0.0)


def relative_score(
    score: Tensor, group: Tensor, estimator: str = "rloo", eps: float = 1e-6, singleton: str = "raise"
) -> Tensor:
    """The score relative to the group, with gradient through the baseline.

    Args:
        score: (B,) float.
        group: (B,) int64.
        estimator: "rloo" = minus the mean of the others, "grpo" = (score - mean) / (sample standard deviation + eps),
            "naive" = the score itself.
        eps: For "grpo".
        singleton: What a row alone in its group gets under "rloo": "raise", or "zero".

    Returns:
        (B,) of the dtype of `score`. Differentiable.

    Raises:
        ValueError: An unknown estimator, or a group of one under "rloo".
    """
    if estimator not in ESTIMATORS:
        raise ValueError(f"estimator is {estimator!r}: expected one of {ESTIMATORS}")
    if estimator == "naive":
        return score
    if estimator == "rloo":
        return ops.normalize(score, group, center="loo", scale="none", singleton=singleton)
    return ops.normalize(score, group, eps=eps)


def implicit_actor_critic_loss(
    logprobs: Tensor,
    old_logprobs: Tensor | None,
    mask: Tensor,
    outcome: Tensor,
    group: Tensor,
    beta: float = 1.0,
    estimator: str = "rloo",
    weights: str = "group",
    *,
    kind: str = "log_ratio",
    eps: float = 1e-6,
    soft_labels: bool = False,
    singleton: str = "raise",
    row_weight: Tensor | None = None,
    counts: float | None = None,
) -> Loss:
    """Weighted cross-entropy of relative scores, w (softplus(psi) - R psi), the mean over responses.

    Args:
        logprobs: (B, T) float with gradient.
        old_logprobs: (B, T) float, under the behaviour policy, taken with the trainer's own forward pass.
        mask: (B, T) bool.
        outcome: (B,) float labels, 0 or 1; NaN rows are left out before the baseline is taken.
        group: (B,) int64; the rows of a group must all be here.
        beta: Scale of the score.
        estimator: See `relative_score`.
        weights: "group" = both labels of a group count alike, "none", "positive" = right responses only, "negative" =
            wrong ones only.
        kind: See `policy_score`.
        eps: For the estimator "grpo".
        soft_labels: Whether outcomes between 0 and 1 are allowed; group weights then take those above 1/2 for right.
        singleton: See `relative_score`.
        row_weight: (B,) float, multiplies the rows' losses.
        counts: Number of responses to divide by instead of the scored ones here.

    Returns:
        The loss, with the metrics `score_right` and `score_wrong` (mean relative score by label),
        `classification_accuracy`, `mixed_groups` (share of groups with both labels) and `score_abs_max`.

    Raises:
        ValueError: An outcome that is no label, a group of one scored row under "rloo", or an unknown choice.
    """
    if weights not in WEIGHTS:
        raise ValueError(f"weights is {weights!r}: expected one of {WEIGHTS}")
    _expect_labels(outcome, soft_labels)
    rows = (~torch.isnan(outcome)).nonzero().squeeze(1)
    label, key = outcome[rows], group[rows]
    old = None if old_logprobs is None else old_logprobs[rows]
    score = policy_score(logprobs[rows], old, mask[rows], beta, kind)
    psi = relative_score(score, key, estimator, eps, singleton)
    goal = label.to(psi.dtype)
    row_loss = _class_weights(goal, key, weights) * (softplus(psi) - goal * psi)
    if row_weight is not None:
        row_loss = row_loss * row_weight[rows]
    number = max(float(len(rows)) if counts is None else counts, 1.0)
    return Loss(row_loss.sum() / number, _metrics(psi.detach(), goal, key))


def _expect_labels(outcome: Tensor, soft: bool) -> None:
    allowed = torch.isnan(outcome) | (outcome == 0) | (outcome == 1)
    if soft:
        allowed |= (outcome > 0) & (outcome < 1)
    if not bool(allowed.all()):
        row = int((~allowed).nonzero()[0])
        wanted = "a number in [0, 1]" if soft else "0 or 1 (numbers between them only with soft_labels=True)"
        raise ValueError(f"outcome in row {row} is {float(outcome[row])}: expected {wanted}")


def _class_weights(label: Tensor, group: Tensor, weights: str) -> Tensor:
    if weights == "none":
        return torch.ones_like(label)
    if weights == "group":
        return balanced_class_weights((label > 0.5).to(label.dtype), group)
    return label if weights == "positive" else 1.0 - label


def _metrics(psi: Tensor, label: Tensor, group: Tensor) -> dict[str, float]:
    right = label > 0.5
    _, share = ops.reduce(right.to(psi.dtype), group, "mean")
    return {
        "score_right": _mean(psi[right]),
        "score_wrong": _mean(psi[~right]),
        "score_abs_max": float(psi.abs().max()) if psi.numel() else float("nan"),
        "classification_accuracy": _mean(((psi > 0) == right).to(psi.dtype)),
        "mixed_groups": _mean(((share > 0) & (share < 1)).to(psi.dtype)),
    }


def _mean(x: Tensor) -> float:
    return float(x.mean()) if x.numel() else float("nan")


@dataclass(frozen=True)
class ImplicitActorCritic:
    """Classification of a group's responses by the policy's own log-ratio (PACS, arXiv 2509.02522).

    Reads outcomes and groups, not the advantages. Unscored rows are left out before the baseline.

    Attributes:
        beta: Scale of the score.
        estimator: "rloo", "grpo" or "naive"; see `relative_score`.
        weights: "group", "none", "positive" or "negative"; see `implicit_actor_critic_loss`.
        kind: "log_ratio" or "mean_logprob"; see `policy_score`.
        eps: For the estimator "grpo".
        soft_labels: Whether outcomes between 0 and 1 are allowed.
        singleton: What a group of one scored row does under "rloo": "raise", or "zero" = it teaches nothing.
    """

    beta: float = 1.0
    estimator: str = "rloo"
    weights: str = "group"
    kind: str = "log_ratio"
    eps: float = 1e-6
    soft_labels: bool = False
    singleton: str = "raise"
    writes: ClassVar[tuple[str, ...]] = ()
    needs_whole_groups: ClassVar[bool] = True

    def __post_init__(self) -> None:
        choices = (
            ("estimator", ESTIMATORS),
            ("weights", WEIGHTS),
            ("kind", SCORES),
            ("singleton", ("raise", "zero")),
        )
        for name, allowed in choices:
            if getattr(self, name) not in allowed:
                raise ValueError(f"ImplicitActorCritic.{name} is {getattr(self, name)!r}: expected one of {allowed}")
        if not self.beta > 0.0:
            raise ValueError(f"ImplicitActorCritic.beta is {self.beta}: expected a positive number")
        if self.estimator == "grpo" and self.kind == "log_ratio":
            warnings.warn(
                "estimator 'grpo' divides by the spread of the scores, which is rounding noise while the policy is the "
                "behaviour policy: use it with kind='mean_logprob'",
                stacklevel=3,
            )

    @property
    def reads(self) -> tuple[str, ...]:
        """What the objective reads."""
        return ("outcome", "group", "mask", *(("logprobs",) if self.kind == "log_ratio" else ()))

    def prepare(self, batch: Batch) -> Batch:
        """Note in a whole batch how large its groups are; see `guerdon.objective.pieces`."""
        return pieces.note_groups(batch)

    def __call__(self, logprobs: Tensor, batch: Batch) -> Loss:
        """Return the loss of log-probabilities (B, T) on a batch of the same rows, in whole groups.

        Without `logprobs` in the rollouts the policy itself is the behaviour policy.

        Raises:
            ValueError: Shapes differ, an outcome is no label, a group of one under "rloo", or a group of a prepared
                batch is cut apart.
        """
        rollouts = batch.rollouts
        pieces.expect_whole_groups(batch, "ImplicitActorCritic")
        expect_logprobs(logprobs, rollouts.mask)
        return implicit_actor_critic_loss(
            logprobs,
            logprobs.detach() if rollouts.logprobs is None else rollouts.logprobs,
            rollouts.mask,
            rollouts.outcome,
            rollouts.group,
            self.beta,
            self.estimator,
            self.weights,
            kind=self.kind,
            eps=self.eps,
            soft_labels=self.soft_labels,
            singleton=self.singleton,
            row_weight=batch.weights,
            counts=batch.divisors.sequences,
        )
