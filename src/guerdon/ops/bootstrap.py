"""How sure a mean, or another statistic of the same rows, is: percentile intervals of the bootstrap."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

_ELEMENTS = 4_000_000
"""Drawn places at a time, to bound memory."""


@dataclass(frozen=True)
class Interval:
    """A statistic with its bootstrap interval.

    Attributes:
        mean: The statistic of all rows.
        low: Lower end of the interval.
        high: Upper end of the interval.
    """

    mean: float
    low: float
    high: float


def mean_interval(
    values: Sequence[float] | Tensor, *, resamples: int = 10_000, level: float = 0.95, seed: int = 0
) -> Interval:
    """Percentile interval of a mean.

    Args:
        values: (N,) finite numbers.
        resamples: Number of bootstrap samples.
        level: Coverage.
        seed: Of the resampling.

    Raises:
        ValueError: No values, one that is not finite, or settings out of range.

    Example:
        >>> found = mean_interval([0.0, 1.0, 1.0, 1.0])
        >>> found.mean, found.low, found.high
        (0.75, 0.25, 1.0)
    """
    numbers = np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values, dtype=np.float64)
    if numbers.ndim != 1 or not len(numbers) or not np.isfinite(numbers).all():
        raise ValueError(f"values are {list(values)[:10]}: expected at least one, all finite")
    _expect_settings(resamples, level)
    drawn = np.random.default_rng(seed)
    means = [numbers[rows].mean(axis=1) for rows in _resampled(len(numbers), resamples, drawn)]
    return _interval(float(numbers.mean()), np.concatenate(means), level)


def statistic_interval(
    statistic: Callable[[Tensor], Tensor | float],
    rows: int,
    *,
    resamples: int = 1_000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile interval of any statistic of rows.

    Resamples whose statistic is NaN (a correlation of equal values, say) are left out.

    Args:
        statistic: Maps (M,) int64 places of rows, which may come several times, to a number.
        rows: How many rows there are.
        resamples: Number of bootstrap samples; the statistic is called so many times.
        level: Coverage.
        seed: Of the resampling.

    Returns:
        The interval; its ends are NaN where no resample has a statistic.

    Raises:
        ValueError: No rows, or settings out of range.

    Example:
        >>> import torch
        >>> values = torch.tensor([1.0, 2.0, 4.0])
        >>> statistic_interval(lambda places: values[places].max(), 3).mean
        4.0
    """
    if rows < 1:
        raise ValueError(f"rows is {rows}: expected at least 1")
    _expect_settings(resamples, level)
    drawn = np.random.default_rng(seed)
    found = [
        float(statistic(torch.from_numpy(places)))
        for part in _resampled(rows, resamples, drawn)
        for places in part.astype(np.int64)
    ]
    usable = np.asarray([value for value in found if value == value])
    whole = float(statistic(torch.arange(rows)))
    return _interval(whole, usable, level) if len(usable) else Interval(whole, float("nan"), float("nan"))


def _resampled(rows: int, resamples: int, generator: np.random.Generator) -> Iterator[np.ndarray]:
    """Index arrays (part, rows), `resamples` rows together: the same numbers as a single draw would give."""
    most = max(_ELEMENTS // rows, 1)
    for start in range(0, resamples, most):
        yield generator.integers(0, rows, size=(min(most, resamples - start), rows))


def _interval(whole: float, resampled: np.ndarray, level: float) -> Interval:
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    return Interval(whole, float(low), float(high))


def _expect_settings(resamples: int, level: float) -> None:
    if resamples < 1 or not 0.0 < level < 1.0:
        raise ValueError(f"resamples is {resamples}, level is {level}: expected at least 1, and a number in (0, 1)")
