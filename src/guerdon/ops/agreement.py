"""How far scores agree with labels, with other scores, or raters with each other.

Elements that are NaN on either side take no part. What cannot be computed is NaN, never 0.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from guerdon.ops._check import expect_shape, expect_unit
from guerdon.ops.group import rank, reduce

_CHUNK = 1024
"""Rows of the pairwise comparison at a time, to bound memory."""


def pair_accuracy(win: Tensor, lose: Tensor, tie: float = 0.5) -> float:
    """Share of pairs whose winner has the higher score.

    Args:
        win: Float tensor, scores of the better ones.
        lose: Scores of the worse ones, of the same shape.
        tie: What a pair of equal scores counts: 0.5, or 0 where a tie is a failure.

    Returns:
        A number in [0, 1]; NaN without any scored pair.

    Example:
        >>> import torch
        >>> pair_accuracy(torch.tensor([1.2, 0.3]), torch.tensor([0.2, 0.5]))
        0.5
    """
    expect_shape("lose", lose, tuple(win.shape), "win")
    expect_unit("tie", tie)
    scored = ~(torch.isnan(win) | torch.isnan(lose))
    better, worse = win[scored], lose[scored]
    if not better.numel():
        return math.nan
    return float(((better > worse).double() + tie * (better == worse).double()).mean())


def group_pair_accuracy(score: Tensor, positive: Tensor, key: Tensor, tie: float = 0.5) -> tuple[Tensor, Tensor]:
    """Share of (positive, negative) pairs of each group whose positive has the higher score.

    With one key this is the area under the ROC curve.

    Args:
        score: (N,) float; NaN elements take no part.
        positive: (N,) bool, or float above 0 = positive; NaN elements take no part.
        key: (N,) int64.
        tie: What a pair of equal scores counts.

    Returns:
        (K,) int64 ids in order of first appearance, and (K,) float64 shares; 0.5 for groups of one class.

    Example:
        >>> import torch
        >>> score, positive = torch.tensor([0.9, 0.1, 0.1, 0.4]), torch.tensor([True, False, True, True])
        >>> group_pair_accuracy(score, positive, torch.tensor([0, 0, 0, 5]))
        (tensor([0, 5]), tensor([0.7500, 0.5000], dtype=torch.float64))
    """
    expect_shape("positive", positive, tuple(score.shape), "score")
    expect_shape("key", key, tuple(score.shape), "score")
    expect_unit("tie", tie)
    scored = ~(torch.isnan(score) | torch.isnan(positive.double()))
    value = torch.where(scored, score.double(), torch.nan)
    right = (positive > 0) & scored
    # Positives before negatives: an equal negative then comes later, so that only strictly lower ones are counted.
    order = torch.argsort((~right).long(), stable=True)
    strict = torch.empty_like(order)
    strict[order] = rank(value[order], key[order], ties="first")
    half = rank(value, key, ties="average")
    # Sums of places count the pairs; those of positives with each other are taken off.
    ids, n_right = reduce(right.double(), key, "sum")
    _, number = reduce(scored.double(), key, "sum")
    n_wrong = number - n_right
    _, strict_sum = reduce(torch.where(right, strict.double(), 0.0), key, "sum")
    _, half_sum = reduce(torch.where(right, half, 0.0), key, "sum")
    own = n_right * (n_right - 1) / 2
    below, with_half = strict_sum - own, half_sum - own
    wins = below + 2.0 * tie * (with_half - below)
    pairs = n_right * n_wrong
    return ids, torch.where(pairs > 0, wins / pairs.clamp(min=1), 0.5)


def _paired(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    if a.ndim != 1:
        raise ValueError(f"a has shape {tuple(a.shape)}: expected one dimension")
    expect_shape("b", b, tuple(a.shape), "a")
    valid = ~(torch.isnan(a) | torch.isnan(b))
    return a[valid].double(), b[valid].double()


def pearson(a: Tensor, b: Tensor) -> float:
    """Linear correlation of two (N,) tensors; NaN with fewer than two pairs, or where one side is constant.

    Example:
        >>> import torch
        >>> round(pearson(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2.0, 4.0, 6.0])), 6)
        1.0
    """
    left, right = _paired(a, b)
    if len(left) < 2 or bool((left == left[0]).all()) or bool((right == right[0]).all()):
        return math.nan
    left, right = left - left.mean(), right - right.mean()
    left, right = left / left.abs().max(), right / right.abs().max()
    value = (left * right).sum() / (left.square().sum().sqrt() * right.square().sum().sqrt())
    return float(value.clamp(-1.0, 1.0))


def spearman(a: Tensor, b: Tensor) -> float:
    """Correlation of the ranks, equal values sharing their mean rank. As for `pearson`."""
    left, right = _paired(a, b)
    one = torch.zeros(len(left), dtype=torch.int64, device=left.device)
    return pearson(rank(left, one, ties="average"), rank(right, one, ties="average"))


def kendall(a: Tensor, b: Tensor) -> float:
    """Kendall's tau-b: pairs in the same order less pairs in opposite orders, corrected for ties. As for `pearson`."""
    left, right = _paired(a, b)
    agreement = left_untied = right_untied = 0.0
    for start in range(0, len(left), _CHUNK):
        rows = slice(start, start + _CHUNK)
        # The sign of the difference, without the difference, which could overflow.
        first = (left[rows, None] > left).double() - (left[rows, None] < left).double()
        second = (right[rows, None] > right).double() - (right[rows, None] < right).double()
        agreement += float((first * second).sum())
        left_untied += float(first.abs().sum())
        right_untied += float(second.abs().sum())
    if left_untied == 0.0 or right_untied == 0.0:
        return math.nan
    return max(-1.0, min(1.0, agreement / math.sqrt(left_untied * right_untied)))


def r2(a: Tensor, b: Tensor) -> float:
    """Share of the variance of one that a straight line in the other explains. As for `pearson`."""
    return pearson(a, b) ** 2


def fleiss_kappa(table: Tensor) -> float:
    """Agreement of raters beyond chance.

    Args:
        table: (N, C): how many raters put item n into category c; every item has the same number of raters.

    Returns:
        Fleiss' kappa, at most 1; NaN without items, or if only one category was ever used.

    Raises:
        ValueError: Not two dimensions, negative numbers, items with different numbers of raters, or fewer than two.
    """
    if table.ndim != 2:
        raise ValueError(f"table has shape {tuple(table.shape)}: expected (items, categories)")
    if not len(table):
        return math.nan
    counts = table.double()
    raters = counts.sum(1)
    if bool((~(counts >= 0)).any()) or bool((raters != raters[0]).any()) or float(raters[0]) < 2:
        raise ValueError(f"table has {raters.tolist()} raters: expected the same number for each item, at least 2")
    per_item = raters[0]
    observed = (counts.square().sum(1) - per_item) / (per_item * (per_item - 1))
    expected = float((counts.sum(0) / counts.sum()).square().sum())
    if expected >= 1.0:
        return math.nan
    return (float(observed.mean()) - expected) / (1.0 - expected)


def processbench_f1(pred: Tensor, gold: Tensor) -> float:
    """How well the first wrong step is found: F1 of solutions with an error and of solutions without (ProcessBench).

    It is the harmonic mean of two shares: solutions with an error whose first wrong step is named exactly, and
    solutions without an error that are said to have none (arXiv 2412.06559, §3).

    Args:
        pred: (n,) int64, the index of the first wrong step, -1 = none.
        gold: (n,) int64, the same in truth.

    Returns:
        A number in [0, 1]; 0 if both shares are 0.

    Raises:
        ValueError: Shapes differ, or `gold` has no solution of one of the two kinds.

    Example:
        >>> import torch
        >>> pred, gold = torch.tensor([1, 3, -1, -1, 2]), torch.tensor([1, 2, -1, -1, -1])
        >>> round(processbench_f1(pred, gold), 6)
        0.571429
    """
    expect_shape("pred", pred, tuple(gold.shape), "gold")
    hit, wrong = (pred == gold).double(), gold >= 0
    if not bool(wrong.any()) or bool(wrong.all()):
        raise ValueError(f"gold has {int(wrong.sum())} of {len(gold)} solutions with an error: expected both kinds")
    first, second = float(hit[wrong].mean()), float(hit[~wrong].mean())
    return 2.0 * first * second / (first + second) if first + second else 0.0


def pass_at_k(n: int | Tensor, c: int | Tensor, k: int) -> Tensor:
    """Chance that k of n samples, drawn without replacement, hold one of the c right ones: 1 - C(n-c, k) / C(n, k).

    Args:
        n: Samples of each problem.
        c: Right ones among them; broadcasts against `n`.
        k: How many are drawn.

    Returns:
        float64 tensor of the broadcast shape.

    Raises:
        ValueError: c outside [0, n], or k outside [1, n].

    Example:
        >>> round(float(pass_at_k(64, 8, 5)), 6)
        0.499008
    """
    samples, right = torch.as_tensor(n).double(), torch.as_tensor(c).double()
    samples, right = samples + torch.zeros_like(right), right + torch.zeros_like(samples)
    if bool(((right < 0) | (right > samples)).any()):
        raise ValueError(f"c is {right.tolist()}: expected numbers from 0 to n, {samples.tolist()}")
    if k < 1 or bool((k > samples).any()):
        raise ValueError(f"k is {k}: expected a number from 1 to n, {samples.tolist()}")
    # The product over the k draws of the share of wrong ones; it meets 0 where there are fewer than k.
    draw = torch.arange(k, dtype=torch.float64, device=samples.device)
    wrong = ((samples - right)[..., None] - draw).clamp(min=0)
    none_right: Tensor = (wrong / (samples[..., None] - draw)).prod(-1)
    return 1.0 - none_right


def reciprocal_rank(chosen: Tensor, rejected: Tensor) -> Tensor:
    """1 / place of the first chosen one when all are sorted from high to low, equal rejected ones first.

    Args:
        chosen: (M,) or (M, C) float; NaN pads rows with fewer.
        rejected: (M, K) float; NaN pads rows with fewer.

    Returns:
        (M,) float64; NaN for a row without chosen ones.

    Example:
        >>> import torch
        >>> chosen = torch.tensor([2.0, 0.4, -1.0])
        >>> rejected = torch.tensor([[1.0, -3.0, 1.9], [0.4, 0.1, 0.0], [0.0, 1.0, -2.0]])
        >>> reciprocal_rank(chosen, rejected)
        tensor([1.0000, 0.5000, 0.3333], dtype=torch.float64)
    """
    wanted = chosen[:, None] if chosen.ndim == 1 else chosen
    if wanted.ndim != 2 or rejected.ndim != 2 or len(wanted) != len(rejected):
        raise ValueError(f"chosen {tuple(chosen.shape)}, rejected {tuple(rejected.shape)}: expected (M, C) and (M, K)")
    present = ~torch.isnan(wanted)
    some = present.any(1)
    if not wanted.shape[1]:
        return torch.full((len(wanted),), torch.nan, dtype=torch.float64, device=wanted.device)
    best = torch.where(present, wanted.double(), -torch.inf).amax(1)
    before = (rejected.double() >= best[:, None]).sum(1)
    return torch.where(some, 1.0 / (1.0 + before.double()), torch.nan)
