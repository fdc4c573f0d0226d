"""One right response against many wrong ones in the same style (RewardMATH, arXiv 2410.01729).

A comparison of one pair can be won by style; where a right response has to beat nine wrong ones that are written like
it, the score predicts what a policy makes of the reward model. The headline is strict: a tie is a failure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from guerdon import ops
from guerdon.evaluation.report import plain, share, text_table
from guerdon.ops.bootstrap import Interval, mean_interval

AGGREGATIONS = ("prod", "min", "last", "mean", "max", "geometric_mean", "mean_logit", "mean_odd")
"""How step scores become one score of a solution; which is the best differs by model, so all are reported."""

_UNIT_ONLY = ("geometric_mean", "mean_logit", "mean_odd")

Scores = Tensor | Sequence[float] | Sequence[Sequence[float]]
"""(M,) or (M, C) numbers; a tensor's NaN pads rows that have fewer, lists may be ragged."""


def aggregate_steps(step_scores: Sequence[float], how: str) -> float:
    """One score of a solution from those of its steps.

    Args:
        step_scores: At least one number; probabilities for "geometric_mean", "mean_logit" and "mean_odd".
        how: "prod", "min", "max", "mean", "sum", "last", "geometric_mean", "mean_logit" = sigmoid of the mean log-odds,
            or "mean_odd" = mean odds. For the last two probabilities are bounded to [1e-6, 1 - 1e-6].

    Raises:
        ValueError: No steps, NaN, a number that is no probability where one is needed, or an unknown `how`.

    Example:
        >>> round(aggregate_steps([0.9, 0.6, 0.75], "mean_logit"), 6)
        0.774477
    """
    if not len(step_scores):
        raise ValueError("step_scores is empty: expected at least one step")
    row = torch.tensor([list(step_scores)], dtype=torch.float64)
    if bool(torch.isnan(row).any()):
        raise ValueError(f"step_scores is {list(step_scores)}: expected numbers, not NaN")
    return float(aggregated(row, how)[0])


def aggregated(process: Tensor, how: str) -> Tensor:
    """(B,) scores of solutions from (B, S) scores of steps; NaN = no such step, and where a row has none.

    Args:
        process: (B, S) float.
        how: As for `aggregate_steps`.

    Raises:
        ValueError: A number is no probability where one is needed, or an unknown `how`.
    """
    if how in _UNIT_ONLY and bool(((process < 0) | (process > 1)).any()):
        row = int(((process < 0) | (process > 1)).any(1).nonzero()[0])
        raise ValueError(f"process in row {row} is {process[row].tolist()}: expected probabilities for {how!r}")
    # A step of probability 0 makes a geometric mean 0, without any bound.
    value = ops.aggregate(process, how, clip=0.0 if how == "geometric_mean" else 1e-6)
    return torch.sigmoid(value) if how == "mean_logit" else value


def one_to_many_accuracy(chosen: Scores, rejected: Scores, ties: bool = False) -> Tensor:
    """Whether every right response has a higher score than every wrong one.

    Args:
        chosen: (M,) or (M, C) scores of right responses.
        rejected: (M, K) scores of wrong ones.
        ties: Whether equal scores count as a success. The headline is without; integer judges tie all the time.

    Returns:
        (M,) bool.

    Raises:
        ValueError: A list holds NaN, numbers of problems differ, or a problem has no right or no wrong response.

    Example:
        >>> one_to_many_accuracy([2.0, 0.4, -1.0], [[1, -3, 1.9], [0.4, 0.1, 0], [0, 1, -2]]).tolist()
        [True, False, False]
    """
    right, wrong = _tables(chosen, rejected)
    lowest = torch.where(torch.isnan(right), torch.inf, right).amin(1)
    highest = torch.where(torch.isnan(wrong), -torch.inf, wrong).amax(1)
    return lowest >= highest if ties else lowest > highest


def mean_reciprocal_rank(chosen: Scores, rejected: Scores) -> Tensor:
    """1 / place of the first right response of each problem, of equal scores the wrong ones first.

    Its mean over problems is the mean reciprocal rank.

    Args:
        chosen: As for `one_to_many_accuracy`.
        rejected: As for `one_to_many_accuracy`.

    Returns:
        (M,) float64.

    Raises:
        ValueError: As for `one_to_many_accuracy`.

    Example:
        >>> mean_reciprocal_rank([2.0, 0.4, -1.0], [[1, -3, 1.9], [0.4, 0.1, 0], [0, 1, -2]]).tolist()
        [1.0, 0.5, 0.3333333333333333]
    """
    right, wrong = _tables(chosen, rejected)
    return ops.reciprocal_rank(right, wrong)


def pairwise_scores(wins: Sequence[bool] | Tensor) -> tuple[float, Tensor]:
    """Scores that say the same as a judge's comparisons of the right response with each wrong one.

    The right response gets the number of wins + 1; a wrong one that lost gets 1, one that won K + 2. So all wins are a
    success, and the reciprocal rank is 1 / (1 + losses).

    Args:
        wins: (K,) whether the right response was preferred to each wrong one.

    Returns:
        Score of the right response, and (K,) float64 scores of the wrong ones.

    Raises:
        ValueError: No comparisons, or not one dimension.

    Example:
        >>> score, others = pairwise_scores([True, True, False])
        >>> score, others.tolist()
        (3.0, [1.0, 1.0, 5.0])
    """
    won = torch.as_tensor(wins)
    if won.ndim != 1 or not len(won):
        raise ValueError(f"wins has shape {tuple(won.shape)}: expected (K,) with at least one comparison")
    right, wrong = pairwise_table(won[None].double())
    return float(right[0]), wrong[0]


def pairwise_table(wins: Tensor) -> tuple[Tensor, Tensor]:
    """`pairwise_scores` of many problems.

    Args:
        wins: (M, K) float, 1 = the right response was preferred, 0 = not; NaN pads rows with fewer comparisons.

    Returns:
        (M,) float64 scores of right responses, and (M, K) float64 of wrong ones, NaN where `wins` is.
    """
    won = wins.double()
    there = ~torch.isnan(won)
    number = there.sum(1, keepdim=True).double()
    right = torch.where(there, won, 0.0).sum(1) + 1.0
    wrong = torch.where(won > 0, torch.ones_like(won), number + 2.0)
    return right, torch.where(there, wrong, torch.nan)


def item_accuracy(win: Tensor, lose: Tensor, item: Tensor) -> tuple[float, float]:
    """Share of right pairs (ACC), and of items all of whose pairs are right (ACC+; MM-RLHF, arXiv 2502.10391).

    A tie is a failure. Pairs that are not scored (NaN) take no part.

    Args:
        win: (P,) float, scores of the better responses.
        lose: (P,) float, of the worse ones.
        item: (P,) int64, the item of each pair.

    Returns:
        (ACC, ACC+), NaN without any scored pair.

    Raises:
        ValueError: Shapes differ.

    Example:
        >>> import torch
        >>> win, lose = torch.tensor([1.0, 2.0, 3.0, 0.0]), torch.tensor([0.0, 3.0, 1.0, 0.0])
        >>> accuracy, plus = item_accuracy(win, lose, torch.tensor([0, 0, 1, 2]))
        >>> accuracy, round(plus, 6)
        (0.5, 0.333333)
    """
    if item.shape != win.shape:
        raise ValueError(f"item has shape {tuple(item.shape)}: expected {tuple(win.shape)}, like win")
    accuracy = ops.pair_accuracy(win, lose, tie=0.0)
    scored = ~(torch.isnan(win) | torch.isnan(lose))
    if not bool(scored.any()):
        return accuracy, accuracy
    right = (win > lose).double()[scored]
    return accuracy, float(ops.reduce(right, item[scored], "min")[1].mean())


def _tables(chosen: Scores, rejected: Scores) -> tuple[Tensor, Tensor]:
    right, wrong = _table("chosen", chosen), _table("rejected", rejected)
    if len(right) != len(wrong):
        raise ValueError(f"chosen has {len(right)} problems, rejected has {len(wrong)}: expected equal numbers")
    for name, table in (("chosen", right), ("rejected", wrong)):
        empty = torch.isnan(table).all(1)
        if bool(empty.any()):
            raise ValueError(f"{name} of problem {int(empty.nonzero()[0])} has no score: expected at least one")
    return right, wrong


def _table(name: str, scores: Scores) -> Tensor:
    """(M, C) float64, padded with NaN."""
    if isinstance(scores, Tensor):
        table = scores[:, None] if scores.ndim == 1 else scores
        if table.ndim != 2:
            raise ValueError(f"{name} has shape {tuple(scores.shape)}: expected (M,) or (M, C)")
        return table.double()
    rows = [list(row) if isinstance(row, Sequence | Tensor) else [row] for row in scores]
    for index, row in enumerate(rows):
        if any(value != value for value in row):
            raise ValueError(f"{name} of problem {index} is {row}: expected numbers, not NaN")
    width = max((len(row) for row in rows), default=0)
    padded = [[float(value) for value in row] + [torch.nan] * (width - len(row)) for row in rows]
    return torch.tensor(padded, dtype=torch.float64).reshape(len(rows), width)


@dataclass(frozen=True)
class BenchmarkReport:
    """How often the right response beats all wrong ones.

    Attributes:
        accuracy: Share of problems where it has the highest score, strictly.
        accuracy_with_ties: The same where equal scores count too.
        mean_reciprocal_rank: Mean of 1 / place of the first right response.
        n: Number of problems.
        per_problem: `accurate`, `accurate_with_ties` (M,) bool and `reciprocal_rank` (M,) float64.
    """

    accuracy: Interval
    accuracy_with_ties: Interval
    mean_reciprocal_rank: Interval
    n: int
    per_problem: Mapping[str, Tensor]

    def to_json(self) -> dict[str, Any]:
        """The figures as JSON values."""
        figures: dict[str, Any] = plain(self)
        return figures


def benchmark_report(
    chosen: Scores, rejected: Scores, *, resamples: int = 10_000, level: float = 0.95, seed: int = 0
) -> BenchmarkReport:
    """Accuracy without and with ties, and mean reciprocal rank, with bootstrap intervals over problems.

    Args:
        chosen: As for `one_to_many_accuracy`.
        rejected: As for `one_to_many_accuracy`.
        resamples: Of the bootstrap.
        level: Coverage of the intervals.
        seed: Of the bootstrap.

    Raises:
        ValueError: As for `one_to_many_accuracy`, or there is no problem.
    """
    per_problem = {
        "accurate": one_to_many_accuracy(chosen, rejected),
        "accurate_with_ties": one_to_many_accuracy(chosen, rejected, ties=True),
        "reciprocal_rank": mean_reciprocal_rank(chosen, rejected),
    }
    accuracy, with_ties, rank = (
        mean_interval(values.double(), resamples=resamples, level=level, seed=seed) for values in per_problem.values()
    )
    return BenchmarkReport(accuracy, with_ties, rank, len(per_problem["accurate"]), per_problem)


@dataclass(frozen=True)
class AggregationReport:
    """The benchmark under every way to make one score of step scores, or under the score itself.

    Attributes:
        reports: Name of the score -> report; "score" = the model's own outcome score.
        guess: Accuracy of guessing, the mean over problems of 1 / number of responses, where one is right.
    """

    reports: Mapping[str, BenchmarkReport]
    guess: float
    title: ClassVar[str] = "one right response against many wrong ones"

    def to_json(self) -> dict[str, Any]:
        """The figures as JSON values."""
        return {"guess": self.guess, **{name: report.to_json() for name, report in self.reports.items()}}

    def table(self) -> str:
        """The figures in per cent, with their intervals."""
        rows = [
            [
                name,
                share(report.accuracy),
                share(report.accuracy_with_ties),
                share(report.mean_reciprocal_rank),
                str(report.n),
            ]
            for name, report in self.reports.items()
        ]
        return text_table(["score", "accuracy", "with ties", "reciprocal rank", "problems"], rows)

    def draw(self, axis: Any) -> None:
        """Draw accuracy and mean reciprocal rank of every score."""
        names = list(self.reports)
        for offset, field, label in ((-0.2, "accuracy", "accuracy"), (0.2, "mean_reciprocal_rank", "reciprocal rank")):
            found: list[Interval] = [getattr(self.reports[name], field) for name in names]
            means = [entry.mean for entry in found]
            errors = [[entry.mean - entry.low for entry in found], [entry.high - entry.mean for entry in found]]
            places = [place + offset for place in range(len(names))]
            axis.bar(places, means, width=0.38, yerr=errors, capsize=2, label=label)
        axis.axhline(self.guess, ls=":", color="0.4", label="guessing")
        axis.set_xticks(range(len(names)), names, rotation=40, ha="right", fontsize=8)
        axis.set_ylim(0, 1)
        axis.legend(fontsize=7)
