"""Pairs of a better and a worse response: how often the better one has the higher score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from guerdon import ops
from guerdon.evaluation.benchmark_report import item_accuracy
from guerdon.evaluation.report import number, plain, share, text_table
from guerdon.ops.bootstrap import Interval, mean_interval


@dataclass(frozen=True)
class PairReport:
    """Pairwise accuracy.

    Attributes:
        accuracy: Mean over items of the share of their pairs that are right, a tie counting as said.
        strict: The same, a tie counting as a failure.
        over_pairs: Share of right pairs, all items together, a tie counting as said.
        all_right: Share of items all of whose pairs are right, a tie being a failure.
        ties: Share of pairs of equal scores.
        margin: Mean difference of scores, better - worse.
        pairs: How many scored pairs there are.
        items: Of how many items.
        unscored: How many pairs were not scored.
    """

    accuracy: Interval
    strict: Interval
    over_pairs: float
    all_right: float
    ties: float
    margin: float
    pairs: int
    items: int
    unscored: int
    title: ClassVar[str] = "pairs of a right and a wrong response"

    def to_json(self) -> dict[str, Any]:
        """The figures as JSON values."""
        figures: dict[str, Any] = plain(self)
        return figures

    def table(self) -> str:
        """The figures, one a line."""
        rows = [
            ["accuracy, mean over items", share(self.accuracy)],
            ["  a tie being a failure", share(self.strict)],
            ["accuracy over all pairs", number(100 * self.over_pairs, 2)],
            ["items with all pairs right", number(100 * self.all_right, 2)],
            ["pairs with equal scores", number(100 * self.ties, 2)],
            ["mean margin", number(self.margin)],
            ["pairs, items, unscored pairs", f"{self.pairs}, {self.items}, {self.unscored}"],
        ]
        return text_table(["pairs", "per cent"], rows)

    def draw(self, axis: Any) -> None:
        """Draw the shares as bars."""
        shares = {
            "mean over\nitems": self.accuracy.mean,
            "ties\nfail": self.strict.mean,
            "over\npairs": self.over_pairs,
            "all pairs\nright": self.all_right,
        }
        axis.bar(range(len(shares)), list(shares.values()), color=[f"C{place}" for place in range(len(shares))])
        for place, interval in enumerate((self.accuracy, self.strict)):
            axis.vlines(place, interval.low, interval.high, color="black")
        axis.axhline(0.5, ls=":", color="0.4")
        axis.set_xticks(range(len(shares)), list(shares), fontsize=8)
        axis.set_ylim(0, 1)


def pair_report(
    win: Tensor,
    lose: Tensor,
    item: Tensor | None = None,
    *,
    tie: float = 0.5,
    resamples: int = 10_000,
    level: float = 0.95,
    seed: int = 0,
) -> PairReport:
    """Pairwise accuracy with bootstrap intervals over items.

    Pairs of one item share its difficulty, so items are resampled, not pairs.

    Args:
        win: (P,) float, scores of the better responses; NaN takes no part.
        lose: (P,) float, of the worse ones.
        item: (P,) int64, the item (problem) of each pair; None = every pair is its own.
        tie: What a pair of equal scores counts.
        resamples: Of the bootstrap.
        level: Coverage of the intervals.
        seed: Of the bootstrap.

    Raises:
        ValueError: Shapes differ, or no pair is scored.
    """
    items = torch.arange(len(win), device=win.device) if item is None else item
    over_pairs = ops.pair_accuracy(win, lose, tie)
    _, all_right = item_accuracy(win, lose, items)
    scored = ~(torch.isnan(win) | torch.isnan(lose))
    if not bool(scored.any()):
        raise ValueError(f"none of the {len(win)} pairs is scored: expected at least one")
    better, worse, own = win[scored].double(), lose[scored].double(), items[scored]
    intervals = []
    for value in (tie, 0.0):
        point = (better > worse).double() + value * (better == worse).double()
        shares = ops.reduce(point, own, "mean")[1]
        intervals.append(mean_interval(shares, resamples=resamples, level=level, seed=seed))
    return PairReport(
        accuracy=intervals[0],
        strict=intervals[1],
        over_pairs=over_pairs,
        all_right=all_right,
        ties=float((better == worse).double().mean()),
        margin=float((better - worse).mean()),
        pairs=len(better),
        items=len(torch.unique(own)),
        unscored=int((~scored).sum()),
    )
