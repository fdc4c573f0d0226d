"""Agreement against scipy, enumeration and published figures."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon import ops

NAN = float("nan")
scores = st.one_of(st.just(NAN), st.sampled_from([0.0, 1.0, 2.0]), st.floats(-9, 9, width=32))
pairs = st.lists(st.tuples(scores, scores), max_size=15)


def kept(given: list[tuple[float, float]]) -> list[tuple[float, float]]:
    return [pair for pair in given if not any(math.isnan(value) for value in pair)]


@given(given=pairs)
def test_correlations_equal_those_of_scipy(given: list[tuple[float, float]]) -> None:
    a, b = (torch.tensor([pair[side] for pair in given]) for side in (0, 1))
    valid = kept(given)
    left, right = ([pair[side] for pair in valid] for side in (0, 1))
    if len(valid) < 2 or len(set(left)) == 1 or len(set(right)) == 1:
        assert all(math.isnan(measure(a, b)) for measure in (ops.pearson, ops.spearman, ops.kendall, ops.r2))
        return
    expected = scipy.stats.pearsonr(left, right).statistic
    if abs(expected) <= 1:  # scipy loses nearly constant sides
        assert ops.pearson(a, b) == pytest.approx(expected, abs=1e-6)
    assert ops.spearman(a, b) == pytest.approx(scipy.stats.spearmanr(left, right).statistic, abs=1e-9)
    assert ops.kendall(a, b) == pytest.approx(scipy.stats.kendalltau(left, right).statistic, abs=1e-9)
    assert ops.r2(a, b) == pytest.approx(ops.pearson(a, b) ** 2)


def test_kendall_over_several_chunks() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 2100, generator=generator)
    assert ops.kendall(a, b) == pytest.approx(scipy.stats.kendalltau(a.numpy(), b.numpy()).statistic, abs=1e-9)


@given(given=pairs, tie=st.sampled_from([0.0, 0.5, 1.0]))
def test_pairs(given: list[tuple[float, float]], tie: float) -> None:
    win, lose = (torch.tensor([pair[side] for pair in given]) for side in (0, 1))
    valid = kept(given)
    found = ops.pair_accuracy(win, lose, tie)
    if not valid:
        assert math.isnan(found)
        return
    assert found == pytest.approx(sum(1.0 if a > b else tie if a == b else 0.0 for a, b in valid) / len(valid))


@given(
    rows=st.lists(st.tuples(scores, st.sampled_from([0.0, 1.0, NAN]), st.integers(-2, 2)), max_size=14),
    tie=st.sampled_from([0.0, 0.25, 0.5, 1.0]),
)
def test_pairs_of_groups(rows: list[tuple[float, float, int]], tie: float) -> None:
    score, right, key = (torch.tensor([row[i] for row in rows]) for i in range(3))
    ids, found = ops.group_pair_accuracy(score, right, key.long(), tie)
    assert ids.tolist() == list(dict.fromkeys(int(row[2]) for row in rows))
    for name, value in zip(ids.tolist(), found.tolist(), strict=True):
        members = [row for row in rows if row[2] == name and not (math.isnan(row[0]) or math.isnan(row[1]))]
        sides = [[row[0] for row in members if row[1] == label] for label in (1.0, 0.0)]
        compared = [1.0 if a > b else tie if a == b else 0.0 for a, b in itertools.product(*sides)]
        assert value == pytest.approx(sum(compared) / len(compared) if compared else 0.5)


def test_pairs_of_one_group_are_the_area_under_the_curve() -> None:
    generator = np.random.default_rng(3)
    score, right = generator.integers(0, 6, 200).astype(float), generator.random(200) < 0.4
    statistic = scipy.stats.mannwhitneyu(score[right], score[~right]).statistic
    key = torch.zeros(200, dtype=torch.int64)
    _, found = ops.group_pair_accuracy(torch.tensor(score), torch.tensor(right), key)
    assert float(found[0]) == pytest.approx(statistic / (right.sum() * (~right).sum()))


def test_kappa_of_the_textbook() -> None:
    """Fleiss' own example: 10 subjects, 14 raters, 5 categories."""
    table = torch.tensor(
        [
            [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
            [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
        ]
    )  # fmt: skip
    assert ops.fleiss_kappa(table) == pytest.approx(0.210, abs=1e-3)
    assert ops.fleiss_kappa(torch.tensor([[3, 0], [0, 3]])) == 1.0
    assert math.isnan(ops.fleiss_kappa(torch.tensor([[3, 0], [3, 0]])))
    assert math.isnan(ops.fleiss_kappa(torch.zeros(0, 4)))
    assert ops.fleiss_kappa(torch.tensor([[1, 1], [1, 1]])) == pytest.approx(-1.0)
    for bad in (torch.tensor([[1, 2], [2, 2]]), torch.tensor([[1, 0]]), torch.tensor([1, 2]), torch.tensor([[-1, 4]])):
        with pytest.raises(ValueError, match="table"):
            ops.fleiss_kappa(bad)


def test_pass_at_k_by_binomials() -> None:
    assert float(ops.pass_at_k(64, 8, 5)) == pytest.approx(0.499008, abs=1e-6)
    for n, k in itertools.product(range(1, 9), repeat=2):
        if k > n:
            with pytest.raises(ValueError, match="k is"):
                ops.pass_at_k(n, 0, k)
            continue
        c = torch.arange(n + 1)
        expected = [1 - math.comb(n - int(right), k) / math.comb(n, k) for right in c]
        found = ops.pass_at_k(n, c, k)
        assert found.tolist() == pytest.approx(expected)
        assert bool((found.diff() >= 0).all())
        if k == 1:
            assert found.tolist() == pytest.approx((c / n).tolist())
    assert ops.pass_at_k(torch.tensor([4, 10]), torch.tensor([[1, 2]]), 2).shape == (1, 2)
    with pytest.raises(ValueError, match="c is"):
        ops.pass_at_k(3, 4, 1)


@given(
    rows=st.lists(
        st.tuples(st.lists(scores, min_size=1, max_size=3), st.lists(scores, max_size=5)), min_size=1, max_size=6
    )
)
def test_reciprocal_rank_by_sorting(rows: list[tuple[list[float], list[float]]]) -> None:
    width = [max(len(row[side]) for row in rows) for side in (0, 1)]
    chosen, rejected = (
        torch.tensor([row[side] + [NAN] * (width[side] - len(row[side])) for row in rows]).reshape(len(rows), -1)
        for side in (0, 1)
    )
    for row, found in zip(rows, ops.reciprocal_rank(chosen, rejected).tolist(), strict=True):
        # High scores first, rejected before chosen among equals.
        order = sorted(
            [(-score, 1) for score in row[0] if not math.isnan(score)]
            + [(-score, 0) for score in row[1] if not math.isnan(score)]
        )
        places = [place for place, (_, side) in enumerate(order, 1) if side == 1]
        assert found == pytest.approx(1 / places[0] if places else NAN, nan_ok=True)


def test_reciprocal_rank_of_published_scores(real_data: Path) -> None:
    rows = json.loads((real_data / "rewardmath" / "internlm2_reward.json").read_text())
    table = torch.tensor([row["score"] for row in rows], dtype=torch.float64)
    rank = ops.reciprocal_rank(table[:, 0], table[:, 1:])
    assert 100 * float(rank.mean()) == pytest.approx(55.17, abs=0.005)
    assert 100 * float((rank == 1).double().mean()) == pytest.approx(37.27, abs=0.005)


def test_shapes_are_checked() -> None:
    x = torch.zeros(3)
    for call in (
        lambda: ops.pair_accuracy(x, x[:2]),
        lambda: ops.pearson(x, x[:2]),
        lambda: ops.kendall(x[None], x[None]),
        lambda: ops.group_pair_accuracy(x, x[:2], x.long()),
        lambda: ops.reciprocal_rank(x, x),
        lambda: ops.pair_accuracy(x, x, tie=2.0),
    ):
        with pytest.raises(ValueError, match="expected"):
            call()
