"""The question filter: worked ranks, loops, what is carried over, and the stage."""

from __future__ import annotations

import math
import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Rollouts
from guerdon.select import (
    QuestionFilter,
    QuestionStatistics,
    filter_questions,
    question_filter,
    trace_difficulty,
)
from tests.strategies import NAN


def test_the_worked_ranks() -> None:
    assert trace_difficulty(torch.tensor([[1, 1, 20, 4, 2]]), 0.4).tolist() == [12.0]
    ragged = torch.tensor([[1.0, 9.0, NAN], [NAN, NAN, NAN], [5.0, NAN, NAN]])
    found = trace_difficulty(ragged, 0.5)
    assert found[[0, 2]].tolist() == [9.0, 5.0]
    assert torch.isnan(found[1])


@given(st.lists(st.lists(st.integers(1, 50), min_size=4, max_size=4), min_size=1, max_size=4), st.floats(0.05, 1.0))
def test_difficulty_equals_a_loop(ranks: list[list[int]], rho: float) -> None:
    found = trace_difficulty(torch.tensor(ranks), rho)
    number = max(1, math.ceil(rho * 4 - 1e-9))
    for row, values in enumerate(ranks):
        assert float(found[row]) == pytest.approx(sum(sorted(values, reverse=True)[:number]) / number)


def stats(table: dict[str, tuple[float, float]]) -> dict[str, QuestionStatistics]:
    """Question -> (easiest difficulty, largest sigma), as statistics of two traces and one token."""
    return {
        name: QuestionStatistics(torch.tensor([[rank], [rank + 5]]), torch.tensor([sigma]))
        for name, (rank, sigma) in table.items()
    }


TABLE = {"a": (3.0, 0.9), "b": (11.0, 2.0), "c": (10.0, 0.1), "d": (1.0, 0.4), "e": (2.0, 0.2)}


def test_hard_questions_go_first_then_the_indifferent() -> None:
    assert filter_questions(stats(TABLE), drop=0.0) == ["a", "c", "d", "e"]
    assert filter_questions(stats(TABLE), drop=0.3) == ["a", "d", "e"]
    assert filter_questions(stats(TABLE), drop=0.5) == ["a", "d"]
    assert filter_questions(stats(TABLE), k=11.0, drop=0.0) == list(TABLE)
    assert filter_questions({}) == []


def test_a_tenth_of_the_last_round_is_carried_over() -> None:
    last = [f"q{i}" for i in range(18)] + ["a", "d"]
    found = filter_questions(stats(TABLE), drop=0.5, previous=last, rng=random.Random(0))
    assert found[:2] == ["a", "d"]
    assert len(found) == 4
    assert set(found[2:]) <= set(last) - {"a", "d"}
    assert found == filter_questions(stats(TABLE), drop=0.5, previous=last, rng=random.Random(0))
    assert filter_questions(stats(TABLE), drop=0.5, previous=["a", "d"] * 5, carry=1.0) == ["a", "d"]


@given(st.dictionaries(st.integers(0, 20), st.tuples(st.integers(1, 15), st.floats(0.0, 1.0)), max_size=8),
       st.floats(0.0, 0.9), st.integers(1, 15))  # fmt: skip
def test_the_filter_equals_a_loop(table: dict[int, tuple[int, float]], drop: float, k: int) -> None:
    rows = [(name, rank + extra, sigma) for name, (rank, sigma) in table.items() for extra in (0, 3)]
    group = torch.tensor([row[0] for row in rows], dtype=torch.int64)
    difficulty, spread = (torch.tensor([row[i] for row in rows], dtype=torch.float64) for i in (1, 2))
    solvable = [name for name, (rank, _) in table.items() if rank <= k]
    gone = sorted(solvable, key=lambda name: table[name][1])[: int(drop * len(solvable) + 1e-9)]
    expected = set(solvable) - set(gone)
    found = question_filter(difficulty, spread, group, k, drop)
    assert {int(key) for key in group[found]} == expected
    assert found.tolist() == [int(key) in expected for key in group]


def test_the_stage() -> None:
    value = Rollouts(
        group=[4, 4, 1, 7, 7],
        mask=torch.ones(5, 1, dtype=torch.bool),
        columns={"difficulty": [30, 2, 40, 1, None], "answer_spread": [0.5, 0.5, 0.9, 0.1, 0.1]},
    )
    found = QuestionFilter(drop=0.5)(value)
    assert found.kept.tolist() == [True, True, False, False, False]
    assert found.reason == ("", "", "question too hard", *["reasoning makes no difference"] * 2)
    assert found.metrics["solvable_groups"] == 2.0
    assert len(QuestionFilter()(value[[]]).kept) == 0


def test_refusals() -> None:
    for rho in (0.0, 1.5):
        with pytest.raises(ValueError, match="rho"):
            trace_difficulty(torch.ones(1, 1), rho)
    with pytest.raises(ValueError, match="expected \\(G, L\\)"):
        trace_difficulty(torch.ones(3))
    with pytest.raises(ValueError, match="drop is 1"):
        question_filter(torch.ones(1), torch.ones(1), torch.ones(1).long(), drop=1.0)
    with pytest.raises(ValueError, match=r"QuestionFilter\.drop"):
        QuestionFilter(drop=-0.1)
    with pytest.raises(ValueError, match="carry is 2"):
        filter_questions({}, carry=2.0)
    with pytest.raises(ValueError, match="expected rng"):
        filter_questions({}, carry=1.0, previous=["x"])
    with pytest.raises(ValueError, match="question 'x' has ranks"):
        filter_questions({"x": QuestionStatistics(torch.ones(2, 0), torch.ones(0))})
