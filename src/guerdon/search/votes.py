"""Choosing one of several responses to a prompt: the best by a score, or the answer that most of them vote for."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import torch
from torch import Tensor

from guerdon import ops
from guerdon.ops.step import AGGREGATES
from guerdon.rollouts import Rollouts
from guerdon.selection import Selection
from guerdon.terms import numbers, term

TIES = ("first", "last", "majority")
TRANSFORMS = ("none", "sigmoid")

Answer = TypeVar("Answer", bound=Hashable)


def best_rows(
    score: Tensor, group: Tensor, answers: Sequence[Hashable | None] | None = None, ties: str = "first"
) -> Tensor:
    """The row with the highest score of each group.

    Args:
        score: (B,) float; NaN rows are never chosen.
        group: (B,) int64.
        answers: Length-B answers, for "majority"; None = the response has none, and votes for nothing.
        ties: Which of several rows with the highest score: the "first", the "last", or the first of those whose answer
            is the commonest among them (arXiv 2410.01729).

    Returns:
        (B,) bool, True in one row of each group that has a score.

    Raises:
        ValueError: An unknown `ties`, shapes differ, or `answers` are missing.
    """
    if ties not in TIES:
        raise ValueError(f"ties is {ties!r}: expected one of {TIES}")
    if ties != "majority":
        return (ops.rank(score, group, descending=True, ties=ties) == 0) & ~torch.isnan(score)
    if answers is None or len(answers) != len(score):
        raise ValueError(f"ties is 'majority': expected {len(score)} answers")
    best = score == ops.max(score, group)
    votes = ops.sum(_voting(answers, score.device) * best, _answer_key(group, answers))
    popular = torch.where(best, votes, torch.nan)
    return (ops.rank(popular, group, descending=True) == 0) & best


def best_of_n(
    proxy: Tensor,
    answers: Sequence[Sequence[Hashable | None]] | Tensor | None = None,
    n: int | None = None,
    ties: str = "majority",
) -> Tensor:
    """The index of the best of the first n samples of each problem.

    Args:
        proxy: (P, N) float scores; NaN samples are never chosen.
        answers: (P, N) answers, for `ties="majority"`; without them the first of equal samples is taken.
        n: How many samples are looked at; None = N.
        ties: See `best_rows`.

    Returns:
        (P,) int64; -1 for problems without any score.

    Raises:
        ValueError: `n` is not from 1 to N.

    Example:
        >>> import torch
        >>> best_of_n(torch.tensor([[0.2, 0.9, 0.9, 0.9]]), [["1", "2", "3", "3"]]).tolist()
        [2]
    """
    width = proxy.shape[1]
    n = width if n is None else n
    if not 1 <= n <= width:
        raise ValueError(f"n is {n}: expected 1 to {width}")
    if answers is None and ties == "majority":
        ties = "first"
    rows = answers.tolist() if isinstance(answers, Tensor) else answers
    flat = None if rows is None else [answer for row in rows for answer in row[:n]]
    group = torch.arange(len(proxy), device=proxy.device).repeat_interleave(n)
    chosen = best_rows(proxy[:, :n].reshape(-1), group, flat, ties).reshape(len(proxy), n)
    return torch.where(chosen.any(1), chosen.long().argmax(1), -1)


def winning_rows(answers: Sequence[Hashable | None], weights: Tensor, group: Tensor, transform: str = "none") -> Tensor:
    """The first row of the winning answer of each group: the answer with the largest total weight.

    Where all totals are 0 the commonest answer wins; of equal answers the one that comes first.

    Args:
        answers: Length-B answers; rows with None don't vote.
        weights: (B,) float, 0 or more after `transform`; NaN rows don't vote.
        group: (B,) int64.
        transform: "none", or "sigmoid" of the weights: of logits of being right.

    Returns:
        (B,) bool, True in one row of each group that has a vote.

    Raises:
        ValueError: A weight is negative, an unknown transform, or lengths differ.
    """
    if transform not in TRANSFORMS:
        raise ValueError(f"transform is {transform!r}: expected one of {TRANSFORMS}")
    if len(answers) != len(weights):
        raise ValueError(f"there are {len(answers)} answers and {len(weights)} weights: expected equal numbers")
    weight = torch.sigmoid(weights.double()) if transform == "sigmoid" else weights.double()
    if bool((weight < 0).any()):
        row = int((weight < 0).nonzero()[0])
        raise ValueError(f"the weight of row {row} is {float(weight[row])}: expected 0 or more")
    voting = _voting(answers, weights.device) * ~torch.isnan(weight)
    key = _answer_key(group, answers)
    where = voting > 0
    total, number = ops.sum(weight, key, where), ops.sum(voting, key)
    undecided = ops.max(total, group, where) == 0
    support = torch.where(where, torch.where(undecided, number, total), torch.nan)
    return (ops.rank(support, group, descending=True) == 0) & where


def weighted_vote(answers: Sequence[Answer | None], weights: Tensor, transform: str = "none") -> Answer | None:
    """The answer with the largest total weight of several responses to one prompt.

    With the scores of a reward model and `transform="sigmoid"` it is the weighted vote of arXiv 2412.01981; with the
    share of a response's verifications that call it right, the verified vote of arXiv 2505.13445; with equal weights,
    the majority.

    Args:
        answers: (k,) answers, compared by equality; None = the response has none, and doesn't vote.
        weights: (k,) float; NaN rows don't vote.
        transform: "none", or "sigmoid" of the weights.

    Returns:
        The winner, of equal ones the first; the commonest where all weights are 0; None without any vote.

    Raises:
        ValueError: A weight is negative, an unknown transform, or lengths differ.

    Example:
        >>> import torch
        >>> weighted_vote([7, 9, 9], torch.tensor([2.0, -0.5, -0.4]), "sigmoid")
        7
        >>> weighted_vote([7, 9, 9], torch.zeros(3))
        9
    """
    one = torch.zeros(len(weights), dtype=torch.int64, device=weights.device)
    found = winning_rows(answers, weights, one, transform).nonzero()
    return answers[int(found[0])] if len(found) else None


def _voting(answers: Sequence[Hashable | None], device: torch.device) -> Tensor:
    """(B,) float64: 1 for rows that have an answer."""
    return torch.tensor([float(answer is not None) for answer in answers], dtype=torch.float64, device=device)


def _answer_key(group: Tensor, answers: Sequence[Hashable | None]) -> Tensor:
    """(B,) int64: equal for rows of one group with equal answers."""
    known: dict[tuple[int, Hashable], int] = {}
    pairs = zip(group.tolist(), answers, strict=True)
    return torch.tensor([known.setdefault(pair, len(known)) for pair in pairs], dtype=torch.int64, device=group.device)


def _row_score(rollouts: Rollouts, name: str, aggregate: str) -> Tensor:
    if name in ("outcome", "process"):
        return term(rollouts, name, aggregate)
    return numbers(name, rollouts.column(name)).to(rollouts.device)


@dataclass(frozen=True)
class BestOfN:
    """Keep the best response of each group by a score, as a selection.

    Attributes:
        score: "outcome", "process" (aggregated over the row's steps), or the name of a column of numbers.
        aggregate: How process rewards become one number; see `guerdon.ops.aggregate`.
        ties: "first", "last" or "majority" (of the column `extracted`); see `best_rows`.
    """

    score: str = "outcome"
    aggregate: str = "min"
    ties: str = "first"
    writes: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        if self.ties not in TIES:
            raise ValueError(f"BestOfN.ties is {self.ties!r}: expected one of {TIES}")
        if self.aggregate not in AGGREGATES:
            raise ValueError(f"BestOfN.aggregate is {self.aggregate!r}: expected one of {AGGREGATES}")

    @property
    def reads(self) -> tuple[str, ...]:
        """What is read: the score, and the answers for ties."""
        return ("group", self.score, *(("extracted",) if self.ties == "majority" else ()))

    def __call__(self, rollouts: Rollouts) -> Selection:
        """Return the choice of one row for each group that has a score."""
        score = _row_score(rollouts, self.score, self.aggregate)
        answers = rollouts.column("extracted") if self.ties == "majority" else None
        return Selection.keep(best_rows(score, rollouts.group, answers, self.ties), "not the best of its group")


@dataclass(frozen=True)
class WeightedVote:
    """Keep one response of each group that gives the answer with the largest total weight, as a selection.

    Attributes:
        weight: "outcome", "process" (aggregated), "one" = plain majority, or the name of a column of numbers.
        aggregate: How process rewards become one number; see `guerdon.ops.aggregate`.
        transform: "none", or "sigmoid" of the weights.
        answers: The column that holds the answers.
    """

    weight: str = "outcome"
    aggregate: str = "min"
    transform: str = "none"
    answers: str = "extracted"
    writes: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        if self.transform not in TRANSFORMS:
            raise ValueError(f"WeightedVote.transform is {self.transform!r}: expected one of {TRANSFORMS}")
        if self.aggregate not in AGGREGATES:
            raise ValueError(f"WeightedVote.aggregate is {self.aggregate!r}: expected one of {AGGREGATES}")

    @property
    def reads(self) -> tuple[str, ...]:
        """What is read."""
        return ("group", self.answers, *(() if self.weight == "one" else (self.weight,)))

    def __call__(self, rollouts: Rollouts) -> Selection:
        """Return the choice of one row for each group that has a vote."""
        if self.weight == "one":
            weights = torch.ones(len(rollouts), device=rollouts.device)
        else:
            weights = _row_score(rollouts, self.weight, self.aggregate)
        rows = winning_rows(rollouts.column(self.answers), weights, rollouts.group, self.transform)
        return Selection.keep(rows, "not the winning answer")
