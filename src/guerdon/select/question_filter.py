"""Questions kept for how hard their reference answer is, and how much it depends on the reasoning.

Dynamic filtering of direct reasoning optimisation (arXiv 2506.13351, §4.3). The paper does not publish rho, k and the
share that is dropped; the defaults are this project's.
"""

from __future__ import annotations

import math
import random
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import torch
from torch import Tensor

from guerdon import ops
from guerdon.rollouts import Rollouts
from guerdon.selection import Selection
from guerdon.terms import term

Question = TypeVar("Question", bound=Hashable)
TOO_HARD, TOO_EASY = "question too hard", "reasoning makes no difference"


def trace_difficulty(ranks: Tensor, rho: float = 0.1) -> Tensor:
    """Mean of the worst ranks that the tokens of the reference answer have after each reasoning trace.

    Args:
        ranks: (G, L), rank of each answer token in the predicted distribution, 1 = the likeliest; NaN = no token.
        rho: Share of the tokens that is averaged, in (0, 1]: the largest ranks, at least one, rounded up.

    Returns:
        (G,) float, NaN for a trace without tokens.

    Raises:
        ValueError: `rho` outside (0, 1], or wrong shape.

    Example:
        >>> import torch
        >>> trace_difficulty(torch.tensor([[1, 1, 20, 4, 2]]), rho=0.4).tolist()
        [12.0]
    """
    if not 0.0 < rho <= 1.0:
        raise ValueError(f"rho is {rho}: expected a number in (0, 1]")
    if ranks.ndim != 2:
        raise ValueError(f"ranks has shape {tuple(ranks.shape)}: expected (G, L)")
    value = ranks if ranks.is_floating_point() else ranks.to(torch.float32)
    trace = torch.arange(len(value), device=value.device)[:, None].expand(value.shape).reshape(-1)
    there = ~torch.isnan(value)
    # The small number keeps 0.1 of 30 at 3, whatever rounding says.
    quota = torch.ceil(rho * there.sum(1).double() - 1e-9).clamp(min=1)[trace]
    worst = (ops.rank(value.reshape(-1), trace, descending=True) < quota).reshape(value.shape) & there
    return ops.aggregate(torch.where(worst, value, torch.nan), "mean")


def question_filter(difficulty: Tensor, spread: Tensor, group: Tensor, k: float = 10.0, drop: float = 0.3) -> Tensor:
    """Rows of the questions that are neither too hard nor indifferent to the reasoning.

    First the questions go whose easiest trace is harder than k; of the rest, the share `drop` with the smallest spread.

    Args:
        difficulty: (B,) float of each trace, from `trace_difficulty`; NaN takes no part.
        spread: (B,) float, largest standard deviation of an answer token's log-probability over the traces of the
            question; a question's value is its largest.
        group: (B,) int64.
        k: Largest difficulty of a question's easiest trace.
        drop: Share of the questions left that is dropped, in [0, 1); rounded down.

    Returns:
        (B,) bool; False for questions without difficulty or spread.

    Raises:
        ValueError: `drop` outside [0, 1), or wrong shapes.
    """
    if not 0.0 <= drop < 1.0:
        raise ValueError(f"drop is {drop}: expected a number in [0, 1)")
    ids, easiest = ops.reduce(difficulty, group, "min")
    widest = ops.reduce(spread, group, "max")[1]
    solvable = (easiest <= k) & ~torch.isnan(widest)
    remaining = torch.where(solvable, widest, torch.nan)
    place = ops.rank(remaining, torch.zeros_like(ids), descending=False)
    chosen = solvable & (place >= int(drop * int(solvable.sum()) + 1e-9))
    order = ids.argsort()
    return chosen[order][torch.searchsorted(ids[order], group)]


@dataclass(frozen=True, eq=False)
class QuestionStatistics:
    """What is known of one question from G reasoning traces.

    Attributes:
        ranks: (G, L), rank of each token of the reference answer after each trace, 1 = the likeliest.
        sigma: (L,) float, standard deviation of each token's log-probability over the traces.
    """

    ranks: Tensor
    sigma: Tensor


def filter_questions(
    stats: Mapping[Question, QuestionStatistics],
    rho: float = 0.1,
    k: float = 10.0,
    drop: float = 0.3,
    carry: float = 0.1,
    previous: Sequence[Question] = (),
    rng: random.Random | None = None,
) -> list[Question]:
    """The questions to train on, with some carried over from the last round.

    Args:
        stats: Question -> its statistics.
        rho: See `trace_difficulty`.
        k: See `question_filter`.
        drop: See `question_filter`.
        carry: Share of the last round's questions that is added, in [0, 1]; rounded down, those that are kept anyway
            do not count.
        previous: The last round's questions.
        rng: Draws the questions that are carried over; needed if there are any.

    Returns:
        The kept questions in the order of `stats`, then those carried over in the order of `previous`.

    Raises:
        ValueError: A share out of range, a question without traces or answer tokens, or a missing `rng`.
    """
    if not 0.0 <= carry <= 1.0:
        raise ValueError(f"carry is {carry}: expected a number in [0, 1]")
    for question, known in stats.items():
        if known.ranks.ndim != 2 or not known.ranks.numel() or known.sigma.shape != known.ranks.shape[1:]:
            shapes = tuple(known.ranks.shape), tuple(known.sigma.shape)
            raise ValueError(f"question {question!r} has ranks and sigma of shapes {shapes}: expected (G, L) and (L,)")
    easiest = [trace_difficulty(known.ranks, rho).double().amin() for known in stats.values()]
    widest = [known.sigma.double().amax() for known in stats.values()]
    names = list(stats)
    kept: list[Question] = []
    if names:
        each = torch.arange(len(names))
        mask = question_filter(torch.stack(easiest), torch.stack(widest), each, k, drop)
        kept = [name for name, chosen in zip(names, mask.tolist(), strict=True) if chosen]
    return kept + _carried(previous, set(kept), carry, rng)


def _carried(
    previous: Sequence[Question], kept: set[Question], carry: float, rng: random.Random | None
) -> list[Question]:
    fresh = [question for question in dict.fromkeys(previous) if question not in kept]
    number = min(math.floor(carry * len(previous) + 1e-9), len(fresh))
    if not number:
        return []
    if rng is None:
        raise ValueError(f"{number} questions are carried over at random: expected rng")
    drawn = set(rng.sample(range(len(fresh)), number))
    return [question for place, question in enumerate(fresh) if place in drawn]


@dataclass(frozen=True)
class QuestionFilter:
    """Keep the groups that are neither too hard nor indifferent to the reasoning (arXiv 2506.13351).

    Attributes:
        difficulty: Column with each trace's difficulty, from `trace_difficulty`.
        spread: Column with the largest standard deviation of an answer token's log-probability.
        max_difficulty: Largest difficulty of a group's easiest trace.
        drop: Share of the groups left, with the smallest spread, that is dropped.
    """

    difficulty: str = "difficulty"
    spread: str = "answer_spread"
    max_difficulty: float = 10.0
    drop: float = 0.3
    writes: ClassVar[tuple[str, ...]] = ("kept",)

    def __post_init__(self) -> None:
        if not 0.0 <= self.drop < 1.0:
            raise ValueError(f"QuestionFilter.drop is {self.drop}: expected a number in [0, 1)")

    @property
    def reads(self) -> tuple[str, ...]:
        """What is read."""
        return ("group", self.difficulty, self.spread)

    def __call__(self, rollouts: Rollouts) -> Selection:
        """Return the selection with the reason for every dropped row."""
        difficulty, spread = (term(rollouts, name) for name in (self.difficulty, self.spread))
        kept = question_filter(difficulty, spread, rollouts.group, self.max_difficulty, self.drop)
        solvable = ops.min(difficulty, rollouts.group) <= self.max_difficulty
        pairs = zip(kept.tolist(), solvable.tolist(), strict=True)
        reason = ["" if keep else TOO_EASY if easy else TOO_HARD for keep, easy in pairs]
        groups = ops.reduce(solvable.float(), rollouts.group, "min")[1]
        return Selection(kept, reason=reason, metrics={"solvable_groups": float(groups.sum())})
