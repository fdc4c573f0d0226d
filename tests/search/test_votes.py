"""Best of n and weighted votes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Rollouts
from guerdon.search.votes import BestOfN, WeightedVote, best_of_n, best_rows, weighted_vote, winning_rows
from tests.strategies import NAN

ANSWERS = st.one_of(st.none(), st.sampled_from(["a", "b", "c"]))
ROWS = st.lists(st.tuples(ANSWERS, st.one_of(st.just(NAN), st.sampled_from([0.0, 0.5, 1.0, 2.0]))), max_size=7)


def slow_vote(rows: list[tuple[str | None, float]]) -> str | None:
    totals: dict[str, float] = {}
    counts: dict[str, int] = {}
    for answer, weight in rows:
        if answer is None or weight != weight:
            continue
        totals[answer] = totals.get(answer, 0.0) + weight
        counts[answer] = counts.get(answer, 0) + 1
    if not totals:
        return None
    support: dict[str, Any] = totals if any(totals.values()) else counts
    return max(support, key=lambda answer: support[answer])


def slow_best(rows: list[tuple[str | None, float]], ties: str) -> int:
    scored = [(index, score) for index, (_, score) in enumerate(rows) if score == score]
    if not scored:
        return -1
    top = max(score for _, score in scored)
    tied = [index for index, score in scored if score == top]
    if ties == "majority":
        votes = [sum(rows[j][0] == rows[i][0] for j in tied) if rows[i][0] is not None else 0 for i in tied]
        return tied[votes.index(max(votes))]
    return tied[0] if ties == "first" else tied[-1]


def test_votes_by_hand() -> None:
    scores = torch.tensor([2.0, -0.5, -0.4])
    assert weighted_vote([7, 9, 9], scores, "sigmoid") == 7
    # Equal or no weights: the majority.
    assert weighted_vote([7, 9, 9], torch.full((3,), 0.25)) == 9
    assert weighted_vote(["x", "y", "y"], torch.zeros(3)) == "y"
    assert weighted_vote(["x", "y"], torch.ones(2)) == "x"
    assert weighted_vote([None, "y"], torch.tensor([5.0, 0.0])) == "y"
    assert weighted_vote([None, "y"], torch.tensor([5.0, NAN])) is None
    assert weighted_vote([], torch.zeros(0)) is None
    # A verified answer beats a common one.
    assert weighted_vote(["1", "2", "2", "2"], torch.tensor([1.0, 0.25, 0.25, 0.25])) == "1"


def test_vote_errors() -> None:
    with pytest.raises(ValueError, match="the weight of row 1 is -1"):
        weighted_vote(["x", "y"], torch.tensor([1.0, -1.0]))
    with pytest.raises(ValueError, match="transform is 'exp'"):
        weighted_vote(["x"], torch.ones(1), "exp")
    with pytest.raises(ValueError, match="2 answers and 1 weights"):
        weighted_vote(["x", "y"], torch.ones(1))


@given(ROWS)
def test_votes_against_a_loop(rows: list[tuple[str | None, float]]) -> None:
    answers, weights = [row[0] for row in rows], torch.tensor([row[1] for row in rows])
    assert weighted_vote(answers, weights) == slow_vote(rows)


@given(st.lists(ROWS, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_groups_vote_apart_in_any_order(groups: list[list[tuple[str | None, float]]], random: Any) -> None:
    flat = [(key, index, row) for key, rows in enumerate(groups) for index, row in enumerate(rows)]
    shuffled = sorted(flat, key=lambda entry: (entry[1], random.random()))
    answers, weights = [row[0] for *_, row in shuffled], torch.tensor([row[1] for *_, row in shuffled])
    group = torch.tensor([key for key, *_ in shuffled], dtype=torch.int64)
    chosen = winning_rows(answers, weights, group)
    found = {int(group[row]): answers[row] for row in chosen.nonzero().squeeze(1).tolist()}
    assert len(found) == int(chosen.sum())
    expected = {key: slow_vote(rows) for key, rows in enumerate(groups)}
    assert found == {key: answer for key, answer in expected.items() if answer is not None}
    for ties in ("first", "last", "majority"):
        best = best_rows(weights, group, answers, ties)
        places = {int(group[row]): shuffled[row][1] for row in best.nonzero().squeeze(1).tolist()}
        wanted = {key: slow_best(rows, ties) for key, rows in enumerate(groups)}
        assert places == {key: place for key, place in wanted.items() if place >= 0}


def test_best_of_n() -> None:
    proxy = torch.tensor([[0.1, 0.9, 0.9, 0.9], [NAN, 0.2, NAN, 0.1], [NAN] * 4])
    answers = [["1", "2", "3", "3"], ["1"] * 4, ["1"] * 4]
    assert best_of_n(proxy, answers).tolist() == [2, 1, -1]
    assert best_of_n(proxy).tolist() == [1, 1, -1]
    assert best_of_n(proxy, answers, n=2).tolist() == [1, 1, -1]
    assert best_of_n(proxy, torch.tensor([[1, 2, 3, 3]] * 3), ties="last").tolist() == [3, 1, -1]
    for n in (0, 5):
        with pytest.raises(ValueError, match=f"n is {n}"):
            best_of_n(proxy, n=n)
    with pytest.raises(ValueError, match="ties is 'random'"):
        best_of_n(proxy, ties="random")
    with pytest.raises(ValueError, match="expected 2 answers"):
        best_rows(torch.zeros(2), torch.zeros(2, dtype=torch.int64), ties="majority")


def test_the_stages_choose_one_row_a_group() -> None:
    value = Rollouts(
        group=[0, 1, 0, 1, 0, 2],
        mask=torch.ones(6, 2, dtype=torch.bool),
        step=[[0, 1]] * 6,
        outcome=[0.0, 1.0, 1.0, 1.0, 1.0, NAN],
        process=[[0.9, 0.1], [0.5, 0.5], [0.4, 0.8], [0.6, 0.7], [0.3, 0.9], [NAN, NAN]],
        columns={"extracted": ["4", "x", "5", "y", "5", None], "sure": [0.9, 0.1, None, 0.3, 0.2, 0.5]},
    )
    assert BestOfN()(value).kept.tolist() == [False, True, True, False, False, False]
    assert BestOfN("process")(value).kept.nonzero().squeeze(1).tolist() == [2, 3]
    assert BestOfN("sure")(value).kept.nonzero().squeeze(1).tolist() == [0, 3, 5]
    assert BestOfN(ties="majority")(value).kept.nonzero().squeeze(1).tolist() == [1, 2]
    assert WeightedVote()(value).kept.nonzero().squeeze(1).tolist() == [1, 2]
    assert WeightedVote("sure")(value).kept.nonzero().squeeze(1).tolist() == [0, 3]
    assert WeightedVote("one")(value).kept.nonzero().squeeze(1).tolist() == [1, 2]
    assert BestOfN()(value).reason[0] == "not the best of its group"
    for stage in (BestOfN, WeightedVote):
        with pytest.raises(ValueError, match="aggregate is 'median'"):
            stage(aggregate="median")
    with pytest.raises(ValueError, match="ties is 'random'"):
        BestOfN(ties="random")
    with pytest.raises(ValueError, match="transform is 'exp'"):
        WeightedVote(transform="exp")
