"""Functions of values and an integer key: statistics of groups, normalisation, ranking, balanced choice.

Keys are any int64, in any order, in groups of any size. NaN elements never take part; `where` leaves out more.
Statistics are broadcast to every element of the key, also to those that take no part.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from guerdon.ops._check import as_mask, expect_choice, expect_shape
from guerdon.ops._keys import dense_keys

HOW = ("mean", "sum", "min", "max", "any", "all", "count")


def _working(x: Tensor) -> Tensor:
    """The values in at least float32."""
    if x.dtype in (torch.float32, torch.float64):
        return x
    return x.to(torch.float32)


def _back(value: Tensor, x: Tensor) -> Tensor:
    return value.to(x.dtype) if x.is_floating_point() else value


def _prepare(x: Tensor, key: Tensor, where: Tensor | None) -> tuple[Tensor, Tensor, Tensor, int]:
    """(values with 0 where they take no part, takes part, dense key, number of keys)."""
    if x.ndim != 1:
        raise ValueError(f"x has shape {tuple(x.shape)}: expected one dimension")
    expect_shape("key", key, tuple(x.shape), "x")
    if key.is_floating_point() or key.dtype == torch.bool:
        raise ValueError(f"key has dtype {key.dtype}: expected int64")
    values = _working(x)
    valid = ~torch.isnan(values)
    if where is not None:
        valid = valid & as_mask("where", where, tuple(x.shape), "x")
    ids, dense = dense_keys(key)
    return torch.where(valid, values, torch.zeros_like(values)), valid, dense, len(ids)


def _total(values: Tensor, dense: Tensor, keys: int) -> Tensor:
    """(K,) sums, in float64 so that the order of the rows does not show in float32."""
    wide = values.double()
    return torch.zeros(keys, dtype=torch.float64, device=values.device).index_add(0, dense, wide)


def _extreme(values: Tensor, valid: Tensor, dense: Tensor, keys: int, largest: bool) -> Tensor:
    """(K,) extremes, NaN for keys without valid elements."""
    fill = -torch.inf if largest else torch.inf
    filled = torch.where(valid, values, torch.full_like(values, fill))
    start = torch.full((keys,), fill, dtype=values.dtype, device=values.device)
    found = start.scatter_reduce(0, dense, filled, "amax" if largest else "amin")
    # An infinite value is no element of a key without any, but may be one of a key that holds it.
    present = torch.zeros(keys, dtype=torch.bool, device=values.device).index_fill(0, dense[valid], True)
    return torch.where(present, found, torch.full_like(found, torch.nan))


def _reduced(x: Tensor, key: Tensor, how: str, where: Tensor | None, weight: Tensor | None) -> tuple[Tensor, Tensor]:
    """((K,) reduction over sorted ids, dense key)."""
    values, valid, dense, keys = _prepare(x, key, where)
    share = valid.double()
    if weight is not None:
        expect_shape("weight", weight, tuple(x.shape), "x")
        share = torch.where(valid, weight.double(), 0.0)
    if how == "count":
        return _total(valid, dense, keys).to(torch.int64), dense
    if how in ("any", "all"):
        true = _total((values != 0) & valid, dense, keys)
        return (true > 0 if how == "any" else true == _total(valid, dense, keys)), dense
    if how in ("min", "max"):
        return _back(_extreme(values, valid, dense, keys, how == "max"), x), dense
    total = _total(values.double() * share, dense, keys)
    if how == "sum":
        return _back(total.to(values.dtype), x), dense
    weights = _total(share, dense, keys)
    safe = torch.where(weights != 0, weights, 1.0)
    average = torch.where(weights != 0, total / safe, torch.nan)
    return _back(average.to(values.dtype), x), dense


def _broadcast(how: str) -> Callable[..., Tensor]:
    def statistic(x: Tensor, key: Tensor, where: Tensor | None = None) -> Tensor:
        reduced, dense = _reduced(x, key, how, where, None)
        return reduced[dense]

    return statistic


def mean(x: Tensor, key: Tensor, where: Tensor | None = None, weight: Tensor | None = None) -> Tensor:
    """Mean of each key's valid elements, broadcast to all its elements.

    Args:
        x: (N,) float; NaN elements take no part.
        key: (N,) int64.
        where: (N,) bool of elements that take part.
        weight: (N,) float weights.

    Returns:
        (N,) of the dtype of `x`; NaN for keys without valid elements. Differentiable.

    Example:
        >>> import torch
        >>> mean(torch.tensor([1.0, 5.0, 3.0]), torch.tensor([7, 2, 7])).tolist()
        [2.0, 5.0, 2.0]
    """
    reduced, dense = _reduced(x, key, "mean", where, weight)
    return reduced[dense]


def sum(x: Tensor, key: Tensor, where: Tensor | None = None, weight: Tensor | None = None) -> Tensor:
    """Sum of each key's valid elements, broadcast; 0 for keys without any. Arguments as for `mean`."""
    reduced, dense = _reduced(x, key, "sum", where, weight)
    return reduced[dense]


def min(x: Tensor, key: Tensor, where: Tensor | None = None) -> Tensor:
    """Smallest valid element of each key, broadcast; NaN for keys without any. Arguments as for `mean`."""
    return _broadcast("min")(x, key, where)


def max(x: Tensor, key: Tensor, where: Tensor | None = None) -> Tensor:
    """Largest valid element of each key, broadcast; NaN for keys without any. Arguments as for `mean`."""
    return _broadcast("max")(x, key, where)


def any(x: Tensor, key: Tensor, where: Tensor | None = None) -> Tensor:
    """(N,) bool: whether some valid element of the key is not 0. Arguments as for `mean`."""
    return _broadcast("any")(x, key, where)


def all(x: Tensor, key: Tensor, where: Tensor | None = None) -> Tensor:
    """(N,) bool: whether all valid elements of the key are not 0; True for keys without any. As for `mean`."""
    return _broadcast("all")(x, key, where)


def count(x: Tensor, key: Tensor, where: Tensor | None = None) -> Tensor:
    """(N,) int64: number of valid elements of each key, broadcast. Arguments as for `mean`."""
    return _broadcast("count")(x, key, where)


def reduce(x: Tensor, key: Tensor, how: str, where: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """One number for each key.

    Args:
        x: (N,) float.
        key: (N,) int64.
        how: "mean", "sum", "min", "max", "any", "all" or "count".
        where: (N,) bool of elements that take part.

    Returns:
        (K,) int64 ids in order of first appearance, and (K,) values.
    """
    expect_choice("how", how, HOW)
    reduced, dense = _reduced(x, key, how, where, None)
    ids, _ = dense_keys(key)
    place = torch.arange(len(key), device=key.device)
    first = torch.full((len(ids),), len(key), device=key.device).scatter_reduce(0, dense, place, "amin")
    order = first.argsort()
    return ids[order], reduced[order]


def std(x: Tensor, key: Tensor, ddof: int = 1, where: Tensor | None = None) -> Tensor:
    """Standard deviation of each key's valid elements, broadcast.

    Args:
        x: (N,) float; NaN elements take no part.
        key: (N,) int64.
        ddof: Degrees of freedom taken off, 0 or 1.
        where: (N,) bool of elements that take part.

    Returns:
        (N,) of the dtype of `x`; 0 for keys with fewer than ddof + 1 valid elements, and exactly 0 where all valid
        elements are equal. Differentiable; the gradient at spread 0 is 0.
    """
    expect_choice("ddof", ddof, (0, 1))
    values, valid, dense, keys = _prepare(x, key, where)
    deviation = _std_by_key(values, valid, dense, keys, ddof)
    return _back(deviation[dense].to(values.dtype), x)


def _is_spread(values: Tensor, valid: Tensor, dense: Tensor, keys: int) -> Tensor:
    """(K,) bool: keys with unequal valid elements, whatever rounding says of their mean."""
    with torch.no_grad():
        low, high = (_extreme(values.detach(), valid, dense, keys, largest) for largest in (False, True))
        return high > low


def _std_by_key(
    values: Tensor, valid: Tensor, dense: Tensor, keys: int, ddof: int, spread: Tensor | None = None
) -> Tensor:
    number = _total(valid, dense, keys)
    average = _total(values, dense, keys) / number.clamp(min=1)
    centred = torch.where(valid, values.double() - average[dense], 0.0)
    free = number - ddof
    variance = _total(centred * centred, dense, keys) / free.clamp(min=1)
    if spread is None:
        spread = _is_spread(values, valid, dense, keys)
    spread = spread & (free > 0)
    root = torch.sqrt(torch.where(spread, variance, 1.0))
    return torch.where(spread, root, 0.0)


def leave_one_out_mean(x: Tensor, key: Tensor, where: Tensor | None = None) -> Tensor:
    """Mean of the other valid elements of the key.

    Args:
        x: (N,) float.
        key: (N,) int64.
        where: (N,) bool of elements that take part.

    Returns:
        (N,) of the dtype of `x`. An element that takes no part gets the mean of all that do (NaN if there are none).
        Differentiable through the partners.

    Raises:
        ValueError: A key has one valid element only.
    """
    values, valid, dense, keys = _prepare(x, key, where)
    number = _total(valid, dense, keys)
    _refuse_singletons(number, valid, dense, key)
    others = number[dense] - valid.double()
    rest = _total(values, dense, keys)[dense] - values.double()
    result = torch.where(others > 0, rest / others.clamp(min=1), torch.nan)
    return _back(result.to(values.dtype), x)


def _refuse_singletons(number: Tensor, valid: Tensor, dense: Tensor, key: Tensor) -> None:
    alone = valid & (number[dense] == 1)
    if bool(alone.any()):
        row = int(alone.nonzero()[0])
        raise ValueError(f"key {int(key[row])} has one valid element only, in row {row}: expected at least 2")


def normalize(
    x: Tensor,
    key: Tensor,
    *,
    center: str = "mean",
    scale: str = "group",
    ddof: int = 1,
    eps: float = 1e-4,
    singleton: str = "zero",
    where: Tensor | None = None,
) -> Tensor:
    """(x - baseline of the key) / (standard deviation + eps): the advantage of most group methods.

    Args:
        x: (N,) float; NaN elements take no part and get 0.
        key: (N,) int64.
        center: The baseline: "mean" of the key, "loo" = mean of the key's other elements, or "none".
        scale: What divides: standard deviation of the "group", of all valid elements ("batch"), or "none".
        ddof: Degrees of freedom taken off in the standard deviation, 0 or 1.
        eps: Is added to the standard deviation.
        singleton: What an element alone in its key gets: "zero", its "raw" value, or "raise".
        where: (N,) bool of elements that take part; the others get 0.

    Returns:
        (N,) of the dtype of `x`, finite. Exactly 0 in keys whose valid elements are all equal (unless uncentred).
        Differentiable.

    Raises:
        ValueError: An unknown choice, wrong shapes, or a singleton where that is asked to raise.

    Example:
        >>> import torch
        >>> normalize(torch.tensor([1.0, 0.0, float("nan"), 3.0]), torch.tensor([0, 0, 0, 1]), eps=0.0).tolist()
        [0.7071067690849304, -0.7071067690849304, 0.0, 0.0]
    """
    expect_choice("center", center, ("mean", "loo", "none"))
    expect_choice("scale", scale, ("group", "batch", "none"))
    expect_choice("ddof", ddof, (0, 1))
    expect_choice("singleton", singleton, ("zero", "raw", "raise"))
    values, valid, dense, keys = _prepare(x, key, where)
    number = _total(valid, dense, keys)
    if singleton == "raise":
        _refuse_singletons(number, valid, dense, key)
    unequal = _is_spread(values, valid, dense, keys)
    result = _centred(values, dense, keys, number, center, unequal)
    if scale != "none":
        one_key = dense if scale == "group" else torch.zeros_like(dense)
        known = unequal if scale == "group" else None
        spread = _std_by_key(values, valid, one_key, keys if scale == "group" else 1, ddof, known)[one_key]
        divisor = spread + eps
        result = torch.where(
            spread > 0, result / torch.where(divisor > 0, divisor, 1.0), _unspread(result, center, eps)
        )
    alone = valid & (number[dense] == 1)
    result = torch.where(alone, values.double() if singleton == "raw" else 0.0, result)
    return _back(torch.where(valid, result, 0.0).to(values.dtype), x)


def _unspread(result: Tensor, center: str, eps: float) -> Tensor:
    """What stays of values without spread: nothing once they are centred."""
    if center == "none" and eps > 0:
        return result / eps
    return torch.zeros_like(result)


def _centred(values: Tensor, dense: Tensor, keys: int, number: Tensor, center: str, unequal: Tensor) -> Tensor:
    wide = values.double()
    if center == "none":
        return wide
    average = _total(values, dense, keys) / number.clamp(min=1)
    result = wide - average[dense]
    if center == "loo":
        # x - mean of the others = n / (n - 1) times (x - mean of all)
        result = result * (number / (number - 1).clamp(min=1))[dense]
    # The value is exactly 0 without spread; the gradient is kept.
    return torch.where(unequal[dense], result, result - result.detach())


def minmax(x: Tensor, key: Tensor, empty: float = 0.0, where: Tensor | None = None) -> Tensor:
    """(x - min) / (max - min) within each key.

    Args:
        x: (N,) float; NaN elements take no part and stay NaN.
        key: (N,) int64.
        empty: What elements of a key without spread get.
        where: (N,) bool of elements that take part; the others get NaN.

    Returns:
        (N,) of the dtype of `x`, in [0, 1].
    """
    low, high = min(x, key, where), max(x, key, where)
    spread = high - low
    scaled = (x - low) / torch.where(spread > 0, spread, torch.ones_like(spread))
    scaled = torch.where(spread > 0, scaled, torch.full_like(scaled, empty))
    taking_part = ~torch.isnan(x) if where is None else ~torch.isnan(x) & where
    return torch.where(taking_part, scaled, torch.full_like(scaled, torch.nan))


def rank(x: Tensor, key: Tensor, descending: bool = False, ties: str = "first") -> Tensor:
    """Position of each element in its key's order, from 0.

    Args:
        x: (N,) float; NaN elements come last, in order of rows, and do not count for ties.
        key: (N,) int64.
        descending: Whether the largest element has rank 0.
        ties: Equal elements: "first" = the lower row before the higher, "last" = the higher row before the lower,
            "pessimistic" = all get the largest of their ranks, "average" = all get the mean.

    Returns:
        (N,) int64; float64 for "average".
    """
    expect_choice("ties", ties, ("first", "last", "pessimistic", "average"))
    _, valid, dense, keys = _prepare(x, key, None)
    size = len(x)
    if size == 0:
        return torch.zeros(0, dtype=torch.float64 if ties == "average" else torch.int64, device=x.device)
    value = torch.where(valid, -x.double() if descending else x.double(), torch.inf)
    rows = torch.arange(size, device=x.device)
    order = rows.flip(0) if ties == "last" else rows
    order = order[value[order].argsort(stable=True)]
    # NaN after true infinities, in order of rows
    order = order[(~valid[order]).long().argsort(stable=True)]
    if ties == "last":
        order = torch.cat([order[valid[order]], order[~valid[order]].flip(0)])
    order = order[dense[order].argsort(stable=True)]
    starts = torch.cumsum(torch.bincount(dense, minlength=keys), 0) - torch.bincount(dense, minlength=keys)
    position = torch.arange(size, device=x.device) - starts[dense[order]]
    if ties in ("pessimistic", "average"):
        position = _tied(position, value[order], dense[order], valid[order], ties)
    result = torch.empty(size, dtype=position.dtype, device=x.device)
    result[order] = position
    return result


def _tied(position: Tensor, value: Tensor, dense: Tensor, valid: Tensor, ties: str) -> Tensor:
    """Positions of sorted elements, with runs of equal elements sharing one."""
    same = (value[1:] == value[:-1]) & (dense[1:] == dense[:-1]) & valid[1:] & valid[:-1]
    run = torch.cat([torch.zeros(1, dtype=torch.int64, device=value.device), torch.cumsum(~same, 0)])
    number = torch.bincount(run)
    last = torch.zeros_like(number).scatter_reduce(0, run, position, "amax", include_self=False)
    if ties == "pessimistic":
        return last[run]
    return (last.double() - (number.double() - 1) / 2)[run]


def top_fraction(value: Tensor, fraction: float, floor: float | None = None) -> Tensor:
    """The largest share of values.

    Args:
        value: (K,) float; NaN is never chosen.
        fraction: Share in [0, 1]; floor(fraction K) values are chosen (62, eq. 14, safe against rounding).
        floor: Values below it are not chosen.

    Returns:
        (K,) bool; of equal values the lower index is chosen first.
    """
    if not 0.0 <= fraction <= 1.0:
        raise ValueError(f"fraction is {fraction}: expected a number in [0, 1]")
    chosen = int(fraction * len(value) + 1e-9)
    place = rank(value, torch.zeros(len(value), dtype=torch.int64, device=value.device), descending=True)
    top = (place < chosen) & ~torch.isnan(value)
    return top if floor is None else top & (value >= floor)
