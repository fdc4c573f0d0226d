"""Losses that reward models are trained with: Bradley-Terry, binary cross-entropy, squared error.

Elements that are NaN on either side take no part; a loss of nothing is 0, with a gradient of 0.
"""

from __future__ import annotations

import torch
from torch import Tensor

from guerdon import ops
from guerdon.objective.ratios import at_least_float32, softplus
from guerdon.ops.agreement import pair_accuracy


def bradley_terry(
    win: Tensor,
    lose: Tensor,
    tie: Tensor | None = None,
    center: float = 0.0,
    target: float | Tensor = 1.0,
    *,
    tie_weight: float = 1.0,
    margin: float | Tensor = 0.0,
    weight: Tensor | None = None,
) -> Tensor:
    """-t log sigmoid(d) - (1 - t) log sigmoid(-d) with d = win - lose - margin, the mean over pairs.

    Bradley and Terry (1952). Ties, as arXiv 2502.10391 has them: pairs marked in `tie` are left out of that mean; the
    mean of their (win - lose)^2 is added. Centring: `center` times the mean of (win + lose)^2 over all pairs. A soft
    target (arXiv 2410.23022) is 1 for the first, 0 for the second, 1/2 for neither.

    Args:
        win: (P,) float, scores of the better ones.
        lose: (P,) float, scores of the worse ones.
        tie: (P,) bool, pairs of equals; None = there are none.
        center: Weight of the centring.
        target: Probability that the first is the better one, a number or (P,), in [0, 1].
        tie_weight: Weight of the ties' term.
        margin: By how much the better score should be higher, a number or (P,).
        weight: (P,) float, multiplies the pairs' losses, not what is divided by.

    Returns:
        0-dimensional tensor of at least float32. Differentiable.

    Raises:
        ValueError: Shapes differ, or a target is outside [0, 1].

    Example:
        >>> import torch
        >>> round(float(bradley_terry(torch.tensor([1.2, 0.3]), torch.tensor([0.2, 0.9]))), 6)
        0.675375
    """
    if lose.shape != win.shape:
        raise ValueError(f"lose has shape {tuple(lose.shape)}: expected {tuple(win.shape)}, like win")
    first, second = at_least_float32(win), at_least_float32(lose)
    goal = torch.as_tensor(target, dtype=first.dtype, device=first.device)
    if bool(((goal < 0) | (goal > 1)).any()):
        raise ValueError(f"target is {goal.tolist()}: expected numbers in [0, 1]")
    known = ~(torch.isnan(first) | torch.isnan(second))
    equal = torch.zeros_like(known) if tie is None else known & tie.bool()
    gap = torch.where(known, first - second, 0.0)
    logit = gap - margin
    pair = goal * softplus(-logit) + (1.0 - goal) * softplus(logit)
    if weight is not None:
        pair = pair * weight
    loss = ops.masked_mean(pair, known & ~equal)
    if tie is not None:
        loss = loss + tie_weight * ops.masked_mean(gap.square(), equal)
    return loss + center * centring(first, second) if center else loss


def centring(win: Tensor, lose: Tensor) -> Tensor:
    """Mean of (win + lose)^2 over pairs: keeps the free constant of Bradley-Terry scores near 0.

    Args:
        win: (P,) float.
        lose: (P,) float.
    """
    known = ~(torch.isnan(win) | torch.isnan(lose))
    total = torch.where(known, at_least_float32(win) + at_least_float32(lose), 0.0)
    return ops.masked_mean(total.square(), known)


def soft_bce(logit: Tensor, target: Tensor) -> Tensor:
    """-t log sigmoid(x) - (1 - t) log(1 - sigmoid(x)), the mean over elements.

    Args:
        logit: Float tensor.
        target: Of the same shape, in [0, 1]; NaN = not known.

    Returns:
        0-dimensional tensor of at least float32. Differentiable.

    Raises:
        ValueError: Shapes differ, or a target is outside [0, 1].

    Example:
        >>> import torch
        >>> round(float(soft_bce(torch.logit(torch.tensor([0.6, 0.1, 0.9])), torch.tensor([0.75, 0.0, 1.0]))), 6)
        0.274304
    """
    known, value, goal = _known(logit, target, "logit")
    if bool(((goal < 0) | (goal > 1)).any()):
        raise ValueError(f"target is {target.tolist()}: expected numbers in [0, 1], or NaN")
    return ops.masked_mean(softplus(value) - goal * value, known)


def mse(prediction: Tensor, target: Tensor) -> Tensor:
    """Squared error, the mean over elements.

    Args:
        prediction: Float tensor.
        target: Of the same shape; NaN = not known.

    Returns:
        0-dimensional tensor of at least float32. Differentiable.

    Raises:
        ValueError: Shapes differ.
    """
    known, value, goal = _known(prediction, target, "prediction")
    return ops.masked_mean((value - goal).square(), known)


def token_reward_loss(score: Tensor, mask: Tensor, reward: Tensor) -> Tensor:
    """Cross-entropy of a token reward model against outcomes (OREAL, arXiv 2502.06781).

    The logit of a response is the mean score of its tokens, its label 1 if the reward is above 0.

    Args:
        score: (B, T) float, the score at the position that predicts each token.
        mask: (B, T) bool; rows without tokens take no part.
        reward: (B,) float; NaN rows take no part.

    Returns:
        0-dimensional tensor of at least float32, the mean over responses. Differentiable.

    Example:
        >>> import torch
        >>> score = torch.tensor([[2.0, 1.0, -1.0, 0.5], [-1.0, -3.0, 2.0, -2.0]])
        >>> mask = torch.tensor([[True, True, True, True], [True, True, True, False]])
        >>> round(float(token_reward_loss(score, mask, torch.tensor([1.0, -1.0]))), 6)
        0.421535
    """
    if reward.shape != score.shape[:1]:
        raise ValueError(
            f"reward has shape {tuple(reward.shape)}: expected {tuple(score.shape[:1])}, the rows of score"
        )
    logit = ops.masked_mean(at_least_float32(score), mask, 1)
    usable = mask.any(1) & ~torch.isnan(reward)
    return soft_bce(logit, torch.where(usable, (reward > 0).to(logit.dtype), torch.nan))


def critique_rm_loss(
    r_w: Tensor,
    r_l: Tensor,
    nll_w: Tensor,
    nll_l: Tensor,
    is_tie: Tensor | None = None,
    no_critique: Tensor | None = None,
    score_weight: float = 1.0,
    critique_weight: float = 1.0,
    center: float = 0.01,
    tie_weight: float = 1.0,
) -> tuple[Tensor, dict[str, float]]:
    """Loss of a reward model that writes a critique before it scores (MM-RLHF, arXiv 2502.10391).

    Args:
        r_w: (P,) float, scores of the better responses.
        r_l: (P,) float, scores of the worse ones.
        nll_w: (P,) float, token-mean negative log-likelihood of the critiques of the better ones.
        nll_l: (P,) float, of the worse ones.
        is_tie: (P,) bool, pairs of equals.
        no_critique: (P,) bool, pairs that have no critique to learn.
        score_weight: Weight of the Bradley-Terry loss with its ties.
        critique_weight: Weight of the critiques' likelihood.
        center: Weight of the centring, which `score_weight` does not multiply.
        tie_weight: Weight of the ties inside the score loss.

    Returns:
        0-dimensional tensor with gradient, and metrics.
    """
    score = bradley_terry(r_w, r_l, is_tie, tie_weight=tie_weight)
    learnt = torch.ones_like(r_w, dtype=torch.bool) if no_critique is None else ~no_critique.bool()
    nll = torch.where(learnt, at_least_float32(nll_w) + at_least_float32(nll_l), 0.0)
    critique = ops.masked_mean(nll, torch.ones_like(learnt))
    centred = centring(r_w, r_l)
    loss = score_weight * score + critique_weight * critique + center * centred
    metrics = {"score_loss": float(score), "critique_loss": float(critique), "centring": float(centred)}
    decided = torch.ones_like(learnt) if is_tie is None else ~is_tie.bool()
    metrics["accuracy"] = pair_accuracy(r_w.detach()[decided], r_l.detach()[decided])
    return loss, metrics


def _known(value: Tensor, target: Tensor, name: str) -> tuple[Tensor, Tensor, Tensor]:
    if target.shape != value.shape:
        raise ValueError(f"target has shape {tuple(target.shape)}: expected {tuple(value.shape)}, like {name}")
    wide = at_least_float32(value)
    goal = target.to(wide.dtype)
    known = ~(torch.isnan(wide) | torch.isnan(goal))
    return known, torch.where(known, wide, 0.0), torch.where(known, goal, 0.0)
