"""Answers that are sets or rankings: set F1, MRR with and without a penalty for guesses, NDCG.

Set F1, the ranks of a set-valued answer and the penalised MRR are those of ReaL-TG (arXiv 2509.00975), whose rank is
the mean of the optimistic and the pessimistic one, as in the Temporal Graph Benchmark.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from guerdon.score.verdict import Verdict
from guerdon.score.verify.blocks import find_blocks
from guerdon.score.verify.parts import answer_part

AVERAGES = ("query", "link")

_NAN = float("nan")
_ID = re.compile(r"[0-9]{1,18}")
_ITEM = re.compile(r"[,;\n]")
_NUMBERING = re.compile(r"^(?:\(?[0-9]{1,3}[.)]|[-*•])\s+")


def parse_answer(text: str) -> frozenset[int] | None:
    """The ids in the last closed `<answer>` block; None if there is no block, or no id in it.

    Example:
        >>> sorted(parse_answer("<answer>12, 7, node 12</answer>"))
        [7, 12]
    """
    closed = [block for block in find_blocks(text, ("think", "answer")) if block.name == "answer" and block.closed]
    if not closed:
        return None
    tokens = re.split(r"[\s,;]+", closed[-1].content.strip("()[]{} \n\t"))
    found = frozenset(int(token) for token in tokens if _ID.fullmatch(token))
    return found or None


def set_f1_reward(pred: Collection[Hashable] | None, truth: Collection[Hashable]) -> float:
    """F1 of a predicted set: 2 |P and Y| / (|P| + |Y|); 0 for no answer. Order and duplicates do not matter.

    Args:
        pred: The predicted items, or None.
        truth: The right ones.

    Raises:
        ValueError: There is no right item.

    Example:
        >>> set_f1_reward({5, 6, 7}, {5, 9})
        0.4
    """
    right, predicted = set(truth), set(pred or ())
    if not right:
        raise ValueError("truth is empty: expected at least one right item")
    return 2.0 * len(predicted & right) / (len(predicted) + len(right))


def reciprocal_ranks(
    pred: Collection[Hashable] | None,
    truth: Sequence[Hashable] | Collection[Hashable],
    nodes: int | Collection[Hashable],
    wrong_score: float = 1.0,
) -> NDArray[np.float64]:
    """1 / rank of each right item, where a predicted set gives scores to all items.

    A predicted right item scores 1, a predicted wrong one `wrong_score`, every other one 0. A right item is ranked
    among the wrong ones only: rank = 1 + (number that score more + number that score as much or more) / 2.

    Args:
        pred: The predicted items, or None; those outside of `nodes` are left out.
        truth: The right items; each counts once.
        nodes: All items, or n for the items 0 .. n - 1.
        wrong_score: 1 for the plain figures; any number above 1 ranks wrong guesses before right ones (penalised).

    Returns:
        One number in (0, 1] for each right item, in their order.

    Raises:
        ValueError: No right item, one that is not among `nodes`, or a `wrong_score` that is not positive.

    Example:
        >>> [round(float(reciprocal_ranks({5, 6, 7}, [5, 9], 100, score).mean()), 6) for score in (1.0, 1.1)]
        [0.259804, 0.176471]
    """
    items = range(nodes) if isinstance(nodes, int) else set(nodes)
    right = list(dict.fromkeys(truth))
    if not right:
        raise ValueError("truth is empty: expected at least one right item")
    if not wrong_score > 0:
        raise ValueError(f"wrong_score is {wrong_score}: expected a positive number")
    for item in right:
        if item not in items:
            raise ValueError(f"truth has {item!r}: expected one of the {len(items)} items")
    predicted = {item for item in pred or () if item in items}
    negatives = len(items) - len(right)
    wrong = len(predicted - set(right))
    above_hit, beside_hit = wrong * (wrong_score > 1.0), wrong * (wrong_score >= 1.0)
    hit, miss = 1.0 + (above_hit + beside_hit) / 2.0, 1.0 + (wrong + negatives) / 2.0
    return np.array([1.0 / (hit if item in predicted else miss) for item in right])


def mrr(
    queries: Sequence[tuple[Collection[Hashable] | None, Collection[Hashable], int | Collection[Hashable]]],
    wrong_score: float = 1.0,
    average: str = "query",
) -> float:
    """Mean reciprocal rank of set-valued answers; with `wrong_score` above 1 the penalised one (pMRR).

    Args:
        queries: (predicted, right, all items) of each query; see `reciprocal_ranks`.
        wrong_score: Score of a wrong guess.
        average: "query" = every query counts the same; "link" = every right item does.

    Returns:
        A number in [0, 1]; NaN without queries.

    Raises:
        ValueError: An unknown average, or what `reciprocal_ranks` refuses.
    """
    if average not in AVERAGES:
        raise ValueError(f"average is {average!r}: expected one of {AVERAGES}")
    ranks = [reciprocal_ranks(pred, truth, nodes, wrong_score) for pred, truth, nodes in queries]
    if not ranks:
        return _NAN
    return float(np.concatenate(ranks).mean()) if average == "link" else float(np.mean([row.mean() for row in ranks]))


def reciprocal_rank(ranking: Sequence[Hashable], relevant: Collection[Hashable], cutoff: int | None = None) -> float:
    """1 / position of the first relevant item of a ranking; 0 if none is in it.

    Args:
        ranking: Items, the best first; a repeated item counts where it comes first, and takes no position later.
        relevant: The right items.
        cutoff: Only so many positions count; None = all.

    Raises:
        ValueError: There is no relevant item, or a cutoff below 1.

    Example:
        >>> reciprocal_rank(["b", "b", "a"], {"a"})
        0.5
    """
    right = _checked(relevant, cutoff)
    for position, item in enumerate(list(dict.fromkeys(ranking))[:cutoff], start=1):
        if item in right:
            return 1.0 / position
    return 0.0


def ndcg(
    ranking: Sequence[Hashable],
    relevance: Mapping[Any, float] | Collection[Hashable],
    cutoff: int | None = None,
    gain: str = "linear",
) -> float:
    """Normalised discounted cumulative gain: sum of gain / log2(position + 1), over that of the best ranking.

    Args:
        ranking: Items, the best first; repeated items count once.
        relevance: Item -> relevance of 0 or more, or the relevant items (relevance 1).
        cutoff: Only so many positions count; None = all.
        gain: "linear" = the relevance (Järvelin and Kekäläinen 2002); "exponential" = 2^relevance - 1.

    Returns:
        A number in [0, 1].

    Raises:
        ValueError: Nothing is relevant, a negative relevance, a cutoff below 1, or an unknown gain.

    Example:
        >>> round(ndcg(["b", "a"], {"a"}), 6)
        0.63093
    """
    if gain not in ("linear", "exponential"):
        raise ValueError(f"gain is {gain!r}: expected 'linear' or 'exponential'")
    _checked(relevance, cutoff)
    given = relevance if isinstance(relevance, Mapping) else dict.fromkeys(relevance, 1.0)
    if any(not 0 <= value < math.inf for value in given.values()) or not any(given.values()):
        raise ValueError("relevance: expected finite numbers of 0 or more, at least one of them above 0")
    worth = {item: value if gain == "linear" else 2.0**value - 1.0 for item, value in given.items()}
    got = [worth.get(item, 0.0) for item in list(dict.fromkeys(ranking))[:cutoff]]
    best = sorted(worth.values(), reverse=True)[:cutoff]
    return _discounted(got) / _discounted(best)


def _discounted(gains: Sequence[float]) -> float:
    return math.fsum(value / math.log2(position + 1) for position, value in enumerate(gains, start=1))


def _checked(relevant: Collection[Hashable], cutoff: int | None) -> frozenset[Hashable]:
    if not relevant:
        raise ValueError("there is no relevant item: expected at least one")
    if cutoff is not None and cutoff < 1:
        raise ValueError(f"cutoff is {cutoff}: expected 1 or more, or None")
    return frozenset(relevant)


def parse_ranking(text: str) -> list[str]:
    r"""The items of a list: one a line, or separated by commas or semicolons, numbered or not.

    Example:
        >>> parse_ranking("1. Paris\n2. Rome")
        ['Paris', 'Rome']
    """
    items = (_NUMBERING.sub("", item.strip()).strip() for item in _ITEM.split(text.strip()))
    return [item for item in items if item]


def _items(target: str | Sequence[Any]) -> list[str]:
    return parse_ranking(target) if isinstance(target, str) else [str(item) for item in target]


# --- verifiers --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SetF1:
    """F1 of a set of ids or names; see `set_f1_reward`.

    Attributes:
        part: What of the response is read; see `guerdon.score.verify.parts.answer_part`.
        timeout: Seconds that one row may take.
    """

    part: str = "answer"
    timeout: float = 5.0
    name: ClassVar[str] = "set-f1"
    version: ClassVar[str] = "1"
    reads: ClassVar[tuple[str, ...]] = ()

    def __call__(self, response: str, target: str, row: Mapping[str, Any]) -> Verdict:
        """Compare the set that a response names with the target: items separated by commas or lines, or a list."""
        truth = {item.casefold() for item in _items(target)}
        if not truth:
            return Verdict(_NAN, reason="the reference answer is empty")
        found = answer_part(response, self.part)
        pred = {item.casefold() for item in parse_ranking(found or "")}
        reward = set_f1_reward(pred, truth)
        return Verdict(reward, found, "" if reward else "names no right item" if pred else "there is no answer")


@dataclass(frozen=True)
class Ranking:
    """Reciprocal rank or NDCG of the list that a response gives, best first.

    Attributes:
        metric: "reciprocal_rank" or "ndcg".
        cutoff: Only so many positions count; None = all.
        penalty: What each item that is not relevant costs, down to a reward of 0, against lists of everything.
        relevance: Name of the column with item -> relevance for "ndcg"; None = the target lists the right items.
        part: What of the response is read; see `guerdon.score.verify.parts.answer_part`.
        timeout: Seconds that one row may take.
    """

    metric: str = "reciprocal_rank"
    cutoff: int | None = None
    penalty: float = 0.0
    relevance: str | None = None
    part: str = "answer"
    timeout: float = 5.0
    name: ClassVar[str] = "ranking"
    version: ClassVar[str] = "1"

    def __post_init__(self) -> None:
        if self.metric not in ("reciprocal_rank", "ndcg"):
            raise ValueError(f"Ranking.metric is {self.metric!r}: expected 'reciprocal_rank' or 'ndcg'")
        if not self.penalty >= 0:
            raise ValueError(f"Ranking.penalty is {self.penalty}: expected 0 or more")
        if self.relevance is not None and self.metric != "ndcg":
            raise ValueError("Ranking.relevance is given: expected metric='ndcg'")

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns of the row that are used."""
        return () if self.relevance is None else (self.relevance,)

    def __call__(self, response: str, target: str, row: Mapping[str, Any]) -> Verdict:
        """Score the list of a response."""
        relevance = self._relevance(target, row)
        if not any(relevance.values()):
            return Verdict(_NAN, reason="there is no relevant item")
        found = answer_part(response, self.part)
        ranking = list(dict.fromkeys(item.casefold() for item in parse_ranking(found or "")))
        if not ranking:
            return Verdict(0.0, found, "there is no answer")
        if self.metric == "ndcg":
            value = ndcg(ranking, relevance, self.cutoff)
        else:
            value = reciprocal_rank(ranking, {item for item, grade in relevance.items() if grade}, self.cutoff)
        wrong = sum(not relevance.get(item) for item in ranking)
        reward = max(0.0, value - self.penalty * wrong)
        return Verdict(reward, found, "" if reward else "names no right item" if not value else f"{wrong} wrong items")

    def _relevance(self, target: str, row: Mapping[str, Any]) -> dict[str, float]:
        if self.relevance is None:
            return dict.fromkeys((item.casefold() for item in _items(target)), 1.0)
        if self.relevance not in row:
            raise ValueError(f"the row has no column {self.relevance!r}: there are {sorted(row)}")
        return {str(item).casefold(): float(grade) for item, grade in dict(row[self.relevance]).items()}


@dataclass(frozen=True)
class LinkRanks:
    """Mean reciprocal rank of the set of ids that a response predicts, plain or penalised; see `reciprocal_ranks`.

    Attributes:
        nodes: Number of all ids, 0 .. nodes - 1.
        wrong_score: 1 for MRR, above 1 for the penalised one.
        timeout: Seconds that one row may take.
    """

    nodes: int
    wrong_score: float = 1.1
    timeout: float = 5.0
    name: ClassVar[str] = "link-ranks"
    version: ClassVar[str] = "1"
    reads: ClassVar[tuple[str, ...]] = ()

    def __call__(self, response: str, target: str, row: Mapping[str, Any]) -> Verdict:
        """Rank the ids of the target, given as text or as a list of integers."""
        truth = [int(item) for item in _items(target)]
        if not truth:
            return Verdict(_NAN, reason="the reference answer is empty")
        pred = parse_answer(response)
        reward = float(reciprocal_ranks(pred, truth, self.nodes, self.wrong_score).mean())
        named = None if pred is None else ", ".join(map(str, sorted(pred)))
        return Verdict(reward, named, "there is no answer" if pred is None else "")
