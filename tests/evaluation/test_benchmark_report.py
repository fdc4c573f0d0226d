"""One right response against many wrong ones: worked examples, bounds, slow loops, and the released score files."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon import ops
from guerdon.evaluation import (
    AGGREGATIONS,
    aggregate_steps,
    benchmark_report,
    evaluate,
    item_accuracy,
    mean_reciprocal_rank,
    one_to_many_accuracy,
    pairwise_scores,
    pairwise_table,
)

CHOSEN, REJECTED = [2.0, 0.4, -1.0], [[1.0, -3.0, 1.9], [0.4, 0.1, 0.0], [0.0, 1.0, -2.0]]
NAN = math.nan

# Few values, so that there are ties.
grid_score = st.integers(-3, 3).map(lambda value: value / 2)
problem = st.tuples(st.lists(grid_score, min_size=1, max_size=3), st.lists(grid_score, min_size=1, max_size=9))
problems = st.lists(problem, min_size=1, max_size=8)


def test_the_worked_steps() -> None:
    expected = {
        "min": 0.6,
        "max": 0.9,
        "prod": 0.405,
        "geometric_mean": 0.739864,
        "mean": 0.75,
        "mean_logit": 0.774477,
        "mean_odd": 4.5,
        "last": 0.75,
    }
    assert set(expected) == set(AGGREGATIONS)
    for how, value in expected.items():
        assert aggregate_steps([0.9, 0.6, 0.75], how) == pytest.approx(value, abs=1e-6), how


@given(st.lists(st.floats(0.01, 0.99), min_size=1, max_size=7))
def test_the_order_of_aggregates(steps: list[float]) -> None:
    found = {how: aggregate_steps(steps, how) for how in AGGREGATIONS}
    ordered = [found[how] for how in ("prod", "min", "geometric_mean", "mean", "max")]
    assert all(low <= high + 1e-12 for low, high in itertools.pairwise(ordered))
    if len(steps) == 1:
        for how in set(AGGREGATIONS) - {"mean_odd"}:
            assert found[how] == pytest.approx(steps[0], abs=1e-12), how
        assert found["mean_odd"] == pytest.approx(steps[0] / (1 - steps[0]))


def test_steps_of_probability_0_and_1_are_bounded() -> None:
    assert aggregate_steps([1.0], "mean_odd") == pytest.approx(1e6, rel=1e-5)
    assert aggregate_steps([1.0, 1.0], "mean_logit") == pytest.approx(1 - 1e-6)
    assert aggregate_steps([0.0], "mean_odd") == pytest.approx(1e-6, rel=1e-5)
    assert aggregate_steps([0.0, 1.0, 1.0], "geometric_mean") == 0.0
    assert aggregate_steps([1e-9], "geometric_mean") == pytest.approx(1e-9)


@pytest.mark.parametrize(
    ("steps", "how", "message"),
    [
        ([], "min", "is empty"),
        ([0.5], "median", "how is 'median'"),
        ([0.5, NAN], "min", "not NaN"),
        ([1.5], "mean_logit", "expected probabilities"),
        ([-0.5], "geometric_mean", "expected probabilities"),
    ],
)
def test_steps_are_checked(steps: list[float], how: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        aggregate_steps(steps, how)


def test_the_worked_problems() -> None:
    report = benchmark_report(CHOSEN, REJECTED)
    assert report.accuracy.mean == pytest.approx(1 / 3)
    assert report.accuracy_with_ties.mean == pytest.approx(2 / 3)
    assert report.per_problem["reciprocal_rank"].tolist() == pytest.approx([1.0, 0.5, 1 / 3])
    assert report.mean_reciprocal_rank.mean == pytest.approx(0.6111, abs=1e-4)
    assert report.n == 3


@given(problems)
def test_against_a_loop(rows: list[tuple[list[float], list[float]]]) -> None:
    chosen, rejected = [row[0] for row in rows], [row[1] for row in rows]
    strict, ties = one_to_many_accuracy(chosen, rejected), one_to_many_accuracy(chosen, rejected, ties=True)
    ranks = mean_reciprocal_rank(chosen, rejected)
    assert strict.dtype == torch.bool
    assert ranks.dtype == torch.float64
    for index, (right, wrong) in enumerate(rows):
        assert bool(strict[index]) == all(one > other for one in right for other in wrong)
        assert bool(ties[index]) == all(one >= other for one in right for other in wrong)
        # From high to low, of equal scores the wrong ones first.
        ranked = sorted([(-value, 1) for value in right] + [(-value, 0) for value in wrong])
        assert float(ranks[index]) == 1 / (1 + [kind for _, kind in ranked].index(1))
    padded = [
        torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in side], batch_first=True, padding_value=NAN)
        for side in (chosen, rejected)
    ]
    assert one_to_many_accuracy(*padded).tolist() == strict.tolist()
    assert mean_reciprocal_rank(*padded).tolist() == ranks.tolist()


@given(problems)
def test_bounds(rows: list[tuple[list[float], list[float]]]) -> None:
    chosen, rejected = [row[0][:1] for row in rows], [row[1] for row in rows]
    accuracy = float(one_to_many_accuracy(chosen, rejected).double().mean())
    with_ties = float(one_to_many_accuracy(chosen, rejected, ties=True).double().mean())
    rank = float(mean_reciprocal_rank(chosen, rejected).mean())
    assert accuracy <= with_ties
    assert accuracy <= rank + 1e-12
    assert rank <= (1 + accuracy) / 2 + 1e-12

    def curved(side: list[list[float]]) -> list[list[float]]:
        return [[math.exp(value) for value in row] for row in side]

    assert float(one_to_many_accuracy(curved(chosen), curved(rejected)).double().mean()) == accuracy
    assert float(mean_reciprocal_rank(curved(chosen), curved(rejected)).mean()) == rank
    harder = [[*row, 0.0] for row in rejected]
    assert float(one_to_many_accuracy(chosen, harder).double().mean()) <= accuracy
    firsts = [row[:1] for row in rejected]
    pairs = ops.pair_accuracy(torch.tensor(chosen)[:, 0], torch.tensor(firsts)[:, 0], tie=0.0)
    assert float(one_to_many_accuracy(chosen, firsts).double().mean()) == pytest.approx(pairs)


def test_pairwise_judges() -> None:
    score, others = pairwise_scores([True, True, False])
    assert (score, others.tolist()) == (3.0, [1.0, 1.0, 5.0])
    assert mean_reciprocal_rank([score], others[None]).tolist() == [0.5]
    score, others = pairwise_scores(torch.tensor([True] * 3))
    assert (score, others.tolist()) == (4.0, [1.0, 1.0, 1.0])
    assert one_to_many_accuracy([score], others[None]).tolist() == [True]


@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=5), min_size=1, max_size=5))
def test_pairwise_scores_count_losses(wins: list[list[bool]]) -> None:
    table = torch.full((len(wins), 5), NAN)
    for row, values in enumerate(wins):
        table[row, : len(values)] = torch.tensor(values).float()
    right, wrong = pairwise_table(table)
    assert one_to_many_accuracy(right, wrong).tolist() == [all(row) for row in wins]
    expected = [1 / (1 + row.count(False)) for row in wins]
    assert mean_reciprocal_rank(right, wrong).tolist() == pytest.approx(expected)
    for row, values in enumerate(wins):
        score, others = pairwise_scores(values)
        assert score == float(right[row])
        assert others.tolist() == wrong[row, : len(values)].tolist()


def test_items_all_of_whose_pairs_are_right() -> None:
    win, lose = torch.tensor([1.0, 2.0, 3.0, 0.0]), torch.tensor([0.0, 3.0, 1.0, 0.0])
    accuracy, plus = item_accuracy(win, lose, torch.tensor([0, 0, 1, 2]))
    assert (accuracy, plus) == (0.5, pytest.approx(1 / 3))
    assert item_accuracy(win, lose, torch.arange(4)) == (0.5, 0.5)
    unscored = torch.tensor([NAN, 2.0, 3.0, 0.0])
    assert item_accuracy(unscored, lose, torch.tensor([0, 0, 1, 2])) == (pytest.approx(1 / 3), pytest.approx(1 / 3))
    assert all(math.isnan(value) for value in item_accuracy(win * NAN, lose, torch.arange(4)))
    with pytest.raises(ValueError, match="item has shape"):
        item_accuracy(win, lose, torch.arange(3))


@pytest.mark.parametrize(
    ("chosen", "rejected", "message"),
    [
        ([1.0], [[NAN]], "not NaN"),
        ([1.0, 2.0], [[0.0]], "expected equal numbers"),
        ([1.0], [[]], "rejected of problem 0 has no score"),
        (torch.tensor([[NAN]]), [[1.0]], "chosen of problem 0 has no score"),
        (torch.zeros(1, 1, 1), [[1.0]], "expected"),
    ],
)
def test_scores_are_checked(chosen: object, rejected: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        one_to_many_accuracy(chosen, rejected)  # type: ignore[arg-type]


def test_wins_are_checked() -> None:
    for wins in ([], torch.ones(2, 2)):
        with pytest.raises(ValueError, match="expected \\(K,\\)"):
            pairwise_scores(wins)


GOLDEN = {
    "internlm2_reward": {"score": (37.27, 55.17)},
    "skywork_llama3_reward": {"score": (22.15, 44.69)},
    "gpt4_pairwise_reward": {"score": (29.81, 51.92)},
    "Math_Shepherd_reward": {"prod": (17.18, 34.68), "min": (15.32, 34.67), "last": (18.22, 38.83)},
}


@pytest.mark.parametrize("name", list(GOLDEN))
def test_released_scores(name: str, real_data: Path) -> None:
    """The figures that the benchmark's own evaluator has for these files."""
    part = evaluate(real_data / "rewardmath" / f"{name}.json", resamples=50).parts["benchmark"].to_json()
    assert part["guess"] == pytest.approx(0.1)
    for score, (accuracy, rank) in GOLDEN[name].items():
        assert part[score]["n"] == 483
        assert 100 * part[score]["accuracy"]["mean"] == pytest.approx(accuracy, abs=0.005)
        assert 100 * part[score]["mean_reciprocal_rank"]["mean"] == pytest.approx(rank, abs=0.005)
