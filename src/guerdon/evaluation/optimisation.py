"""What becomes of the true score when a policy is optimised against a reward model.

Best-of-n is the cheapest optimiser: its expected gold score is known exactly from a pool of samples, and so is its
divergence from the base policy. A robust model's curve of gold over divergence does not turn over (arXiv 2210.10760).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from guerdon import ops
from guerdon.evaluation.report import number, plain, text_table
from guerdon.ops.bootstrap import Interval, mean_interval, statistic_interval


@dataclass(frozen=True)
class OptimisationReport:
    """Gold and proxy score over divergence from the base policy.

    Attributes:
        kl: Divergence of each point in nats, ascending.
        gold: Mean gold score, with intervals over problems where there are any.
        proxy: Mean proxy score of each point.
        n: The n of best-of-n of each point; empty for other optimisers.
        best: Gold score of the best choice possible at each point, for best-of-n; empty if not known.
    """

    kl: tuple[float, ...]
    gold: tuple[Interval, ...]
    proxy: tuple[float, ...]
    n: tuple[int, ...] = ()
    best: tuple[float, ...] = ()
    title: ClassVar[str] = "gold and proxy under optimisation"

    @property
    def gain(self) -> float:
        """Gold score at the end, less that at the beginning."""
        return self.gold[-1].mean - self.gold[0].mean

    @property
    def peak(self) -> int:
        """The first point with the highest gold score."""
        means = [point.mean for point in self.gold]
        return means.index(max(means))

    @property
    def drop(self) -> float:
        """How far gold falls from its peak to the end; 0 = the curve does not turn over."""
        return self.gold[self.peak].mean - self.gold[-1].mean

    def to_json(self) -> dict[str, Any]:
        """The figures as JSON values."""
        return {**plain(self), **plain({"gain": self.gain, "peak_kl": self.kl[self.peak], "drop": self.drop})}

    def table(self) -> str:
        """A line a point, and what follows from all of them."""
        rows = []
        for place, (kl, gold, proxy) in enumerate(zip(self.kl, self.gold, self.proxy, strict=True)):
            row = [str(self.n[place]) if self.n else str(place), f"{kl:.3f}", number(proxy)]
            row.append(f"{number(gold.mean)} ({number(gold.low)} to {number(gold.high)})")
            rows.append([*row, *([number(self.best[place])] if self.best else [])])
        header = ["n" if self.n else "point", "KL", "proxy", "gold", *(["best possible"] if self.best else [])]
        after = f"gain {number(self.gain)}, peak at KL {self.kl[self.peak]:.3f}, drop after it {number(self.drop)}"
        return f"{text_table(header, rows)}\n{after}"

    def draw(self, axis: Any) -> None:
        """Draw gold, with its intervals, and proxy, each on its own scale."""
        axis.plot(self.kl, [point.mean for point in self.gold], marker="o", ms=3, color="C0", label="gold")
        axis.fill_between(
            self.kl, [point.low for point in self.gold], [point.high for point in self.gold], alpha=0.2, color="C0"
        )
        if self.best:
            axis.plot(self.kl, self.best, ls=":", color="0.4", label="best possible")
        axis.set_xlabel("KL from the base policy, nats", fontsize=8)
        axis.set_ylabel("gold", fontsize=8)
        second = axis.twinx()
        second.plot(self.kl, self.proxy, ls="--", color="C1", label="proxy")
        second.set_ylabel("proxy", fontsize=8)
        axis.legend(fontsize=7, loc="best")
        second.legend(fontsize=7, loc="upper left")


def powers_of_two(most: int) -> list[int]:
    """1, 2, 4 ... up to `most`, which is the last.

    Example:
        >>> powers_of_two(10)
        [1, 2, 4, 8, 10]
    """
    if most < 1:
        raise ValueError(f"most is {most}: expected at least 1")
    found = [2**power for power in range(most.bit_length()) if 2**power < most]
    return [*found, most]


def best_of_n_report(
    proxy: Tensor,
    gold: Tensor,
    grid: Sequence[int] | None = None,
    *,
    resamples: int = 10_000,
    level: float = 0.95,
    seed: int = 0,
) -> OptimisationReport:
    """Expected gold and proxy score of the best of n by the proxy, without bias, over all subsets of a pool.

    Args:
        proxy: (P, N) float, scores of each problem's samples under the reward model; NaN = not in the pool.
        gold: (P, N) float, true scores; NaN = not in the pool.
        grid: Values of n, ascending; None = powers of two up to the largest that all pools allow.
        resamples: Of the bootstrap over problems.
        level: Coverage of the intervals.
        seed: Of the bootstrap.

    Raises:
        ValueError: Shapes differ, a value of the grid is larger than some pool, or a pool is empty.
    """
    if proxy.ndim != 2 or gold.shape != proxy.shape:
        raise ValueError(f"proxy has shape {tuple(proxy.shape)}, gold {tuple(gold.shape)}: expected (P, N) of both")
    there = ~(torch.isnan(proxy) | torch.isnan(gold))
    sizes = there.sum(1)
    smallest = int(sizes.min()) if len(sizes) else 0
    if not smallest:
        raise ValueError("a pool is empty: expected samples with both scores for every problem")
    points = powers_of_two(smallest) if grid is None else list(grid)
    if not points or min(points) < 1 or max(points) > smallest or points != sorted(points):
        raise ValueError(f"grid is {points}: expected ascending numbers from 1 to {smallest}, the smallest pool")
    true, own, best = (ops.best_of_n_curve(a, b, points) for a, b in ((proxy, gold), (proxy, proxy), (gold, gold)))
    intervals = [mean_interval(column, resamples=resamples, level=level, seed=seed) for column in true.unbind(1)]
    return OptimisationReport(
        kl=tuple(ops.bon_kl(n) for n in points),
        gold=tuple(intervals),
        proxy=tuple(own.mean(0).tolist()),
        n=tuple(points),
        best=tuple(best.mean(0).tolist()),
    )


def policy_report(kl: Sequence[float], gold: Sequence[float], proxy: Sequence[float]) -> OptimisationReport:
    """The curve of a policy that was trained against the reward model.

    Args:
        kl: Divergence from the initial policy at each checkpoint.
        gold: Mean gold score there.
        proxy: Mean proxy score there.

    Returns:
        The points in ascending order of divergence, with intervals of width 0.

    Raises:
        ValueError: Lengths differ, there are no points, or one is not finite.
    """
    if not len(kl) or len(gold) != len(kl) or len(proxy) != len(kl):
        raise ValueError(
            f"there are {len(kl)} divergences, {len(gold)} gold, {len(proxy)} proxy scores: expected equal"
        )
    points = sorted(zip(kl, gold, proxy, strict=True))
    if not all(math.isfinite(value) for point in points for value in point):
        raise ValueError("a point is not finite: expected finite divergences and scores")
    return OptimisationReport(
        kl=tuple(float(point[0]) for point in points),
        gold=tuple(Interval(float(point[1]), float(point[1]), float(point[1])) for point in points),
        proxy=tuple(float(point[2]) for point in points),
    )


@dataclass(frozen=True)
class CorrelationReport:
    """How well benchmark scores of reward models predict what optimisation gains.

    Attributes:
        r2: Share of the variance of the gains that a straight line in the score explains, with its interval over
            the models.
        pearson: Linear correlation.
        spearman: Correlation of ranks.
        scores: Benchmark score of each model.
        gains: Gain of each model.
    """

    r2: Interval
    pearson: float
    spearman: float
    scores: tuple[float, ...]
    gains: tuple[float, ...]
    title: ClassVar[str] = "benchmark score and gain"

    def to_json(self) -> dict[str, Any]:
        """The figures as JSON values."""
        figures: dict[str, Any] = plain(self)
        return figures

    def table(self) -> str:
        """The correlations."""
        rows = [
            ["r2", f"{number(self.r2.mean)} ({number(self.r2.low)} to {number(self.r2.high)})"],
            ["Pearson", number(self.pearson)],
            ["Spearman", number(self.spearman)],
        ]
        return text_table([f"{len(self.scores)} models", "value"], rows)

    def draw(self, axis: Any) -> None:
        """Draw gains over scores."""
        axis.scatter(self.scores, self.gains, s=18)
        axis.set_xlabel("benchmark score", fontsize=8)
        axis.set_ylabel("gain in gold", fontsize=8)
        axis.text(0.03, 0.92, f"r2 {number(self.r2.mean, 3)}", fontsize=8, transform=axis.transAxes)


def correlate(
    benchmark_scores: Tensor | Sequence[float],
    gains: Tensor | Sequence[float],
    *,
    resamples: int = 1_000,
    level: float = 0.95,
    seed: int = 0,
) -> CorrelationReport:
    """Correlation of benchmark scores with gains over R reward models.

    Args:
        benchmark_scores: (R,) numbers; a model whose score or gain is NaN takes no part.
        gains: (R,) numbers.
        resamples: Of the bootstrap over models.
        level: Coverage of the interval.
        seed: Of the bootstrap.

    Returns:
        NaN where a correlation cannot be computed: fewer than two models, or equal scores.

    Raises:
        ValueError: Lengths differ.

    Example:
        >>> found = correlate([0.1, 0.2, 0.4], [1.0, 2.0, 4.0])
        >>> round(found.r2.mean, 6), round(found.spearman, 6)
        (1.0, 1.0)
    """
    left, right = (torch.as_tensor(values, dtype=torch.float64) for values in (benchmark_scores, gains))
    pearson, spearman = ops.pearson(left, right), ops.spearman(left, right)
    if len(left):
        interval = statistic_interval(
            lambda rows: ops.r2(left[rows], right[rows]), len(left), resamples=resamples, level=level, seed=seed
        )
    else:
        interval = Interval(math.nan, math.nan, math.nan)
    return CorrelationReport(interval, pearson, spearman, tuple(left.tolist()), tuple(right.tolist()))
