"""Verdicts on differences between arms, by a paired bootstrap over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence

from guerdon.ops.bootstrap import Interval, mean_interval

HOLDS, FAILS, INCONCLUSIVE = "holds", "fails", "inconclusive"


def paired_bootstrap(
    differences: Sequence[float], *, resamples: int = 10_000, level: float = 0.95, seed: int = 0
) -> Interval:
    """Percentile interval of the mean of paired differences.

    Args:
        differences: One difference a seed, finite.
        resamples: Number of bootstrap samples.
        level: Coverage.
        seed: Of the resampling.

    Raises:
        ValueError: No differences, or one that is not finite.
    """
    if not len(differences) or not all(map(math.isfinite, differences)):
        raise ValueError(f"differences are {list(differences)}: expected at least one, all finite")
    return mean_interval(differences, resamples=resamples, level=level, seed=seed)


def verdict(interval: Interval, minimum_effect: float) -> str:
    """Judge a difference against the smallest one that the claim asserts.

    "holds": the interval lies at or above `minimum_effect`. "fails": it lies below. "inconclusive": neither. A
    `minimum_effect` below 0 states that the arm is not worse by more than that.
    """
    if interval.low >= minimum_effect:
        return HOLDS
    return FAILS if interval.high < minimum_effect else INCONCLUSIVE


def overall(verdicts: Sequence[str]) -> str:
    """A claim of several parts holds if all do, fails if one does, and is inconclusive otherwise."""
    if all(part == HOLDS for part in verdicts):
        return HOLDS
    return FAILS if FAILS in verdicts else INCONCLUSIVE
