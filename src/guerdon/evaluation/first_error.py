"""Whether step scores find the first wrong step (ProcessBench, arXiv 2412.06559)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from guerdon import ops
from guerdon.evaluation.report import number, plain, share, text_table
from guerdon.ops.bootstrap import Interval, statistic_interval


@dataclass(frozen=True)
class FirstErrorReport:
    """How well the first wrong step is found.

    Attributes:
        threshold: A step whose score is below it is called wrong.
        f1: Harmonic mean of the two accuracies.
        with_error: Share of solutions with an error whose first wrong step is named exactly.
        without_error: Share of solutions without an error that are said to have none.
        near: Share of solutions with an error whose first wrong step is missed by one step at most.
        n: Number of solutions.
        curve: (threshold, F1) of other thresholds.
    """

    threshold: float
    f1: Interval
    with_error: float
    without_error: float
    near: float
    n: int
    curve: tuple[tuple[float, float], ...] = ()
    title: ClassVar[str] = "first wrong step"

    def to_json(self) -> dict[str, Any]:
        """The figures as JSON values."""
        figures: dict[str, Any] = plain(self)
        return figures

    def table(self) -> str:
        """The figures, one a line."""
        rows = [
            [f"F1 at threshold {self.threshold:g}", share(self.f1)],
            ["solutions with an error", number(100 * self.with_error, 2)],
            ["  missed by one step at most", number(100 * self.near, 2)],
            ["solutions without an error", number(100 * self.without_error, 2)],
        ]
        if self.curve:
            threshold, best = max(self.curve, key=lambda point: point[1])
            rows.append([f"F1 at the best threshold here, {threshold:g}", number(100 * best, 2)])
        return text_table([f"{self.n} solutions", "per cent"], rows)

    def draw(self, axis: Any) -> None:
        """Draw F1 over thresholds."""
        if self.curve:
            axis.plot(*zip(*self.curve, strict=True))
        axis.errorbar(
            [self.threshold],
            [self.f1.mean],
            [[self.f1.mean - self.f1.low], [self.f1.high - self.f1.mean]],
            marker="o",
            color="C1",
        )
        axis.set_xlabel("threshold", fontsize=8)
        axis.set_ylabel("F1", fontsize=8)
        axis.set_ylim(0, 1)


def first_errors(process: Tensor, threshold: float) -> Tensor:
    """(N,) int64: the first step whose score is below a threshold, -1 = none. NaN steps are passed over."""
    return ops.first_below(process, threshold)


def threshold_curve(
    process: Tensor, gold: Tensor, thresholds: Sequence[float] | None = None
) -> list[tuple[float, float]]:
    """F1 of each threshold.

    A threshold has to be chosen on other solutions than those that it is judged on.

    Args:
        process: (N, S) float, higher = more likely right; NaN = no such step.
        gold: (N,) int64, the first wrong step, -1 = none.
        thresholds: Which; None = 19 evenly spaced from the smallest to the largest score, both left out.

    Raises:
        ValueError: As for `first_error_report`.
    """
    if thresholds is None:
        known = process[~torch.isnan(process)].double()
        low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
        thresholds = torch.linspace(low, high, 21, dtype=torch.float64)[1:-1].tolist()
    return [(float(at), ops.processbench_f1(first_errors(process, at), gold)) for at in thresholds]


def first_error_report(
    process: Tensor,
    gold: Tensor,
    threshold: float = 0.5,
    *,
    thresholds: Sequence[float] | None = None,
    resamples: int = 1_000,
    level: float = 0.95,
    seed: int = 0,
) -> FirstErrorReport:
    """F1 of finding the first wrong step, with a bootstrap interval over solutions.

    Args:
        process: (N, S) float, higher = more likely right; NaN = no such step.
        gold: (N,) int64, the first wrong step, -1 = none.
        threshold: A step whose score is below it is called wrong.
        thresholds: Of the curve; see `threshold_curve`.
        resamples: Of the bootstrap; resamples with solutions of one kind only are left out.
        level: Coverage of the interval.
        seed: Of the bootstrap.

    Raises:
        ValueError: Shapes differ, a solution has no scored step, or not both kinds of solutions are there.
    """
    if process.ndim != 2 or gold.shape != process.shape[:1]:
        raise ValueError(
            f"process has shape {tuple(process.shape)}, gold {tuple(gold.shape)}: expected (N, S) and (N,)"
        )
    unscored = torch.isnan(process).all(1)
    if bool(unscored.any()):
        raise ValueError(f"process in row {int(unscored.nonzero()[0])} has no score: expected at least one")
    found = first_errors(process, threshold)
    ops.processbench_f1(found, gold)

    def statistic(rows: Tensor) -> float:
        places = rows.to(gold.device)
        mixed = bool((gold[places] >= 0).any()) and bool((gold[places] < 0).any())
        return ops.processbench_f1(found[places], gold[places]) if mixed else math.nan

    wrong = gold >= 0
    near = (found[wrong] >= 0) & ((found[wrong] - gold[wrong]).abs() <= 1)
    return FirstErrorReport(
        threshold=threshold,
        f1=statistic_interval(statistic, len(gold), resamples=resamples, level=level, seed=seed),
        with_error=float((found == gold)[wrong].double().mean()),
        without_error=float((found == gold)[~wrong].double().mean()),
        near=float(near.double().mean()),
        n=len(gold),
        curve=tuple(threshold_curve(process, gold, thresholds)),
    )
