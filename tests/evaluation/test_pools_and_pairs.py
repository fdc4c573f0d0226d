"""Pools, pairs, and pairwise accuracy."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon.evaluation import label_pairs, pair_report, pool_table

NAN = math.nan
responses = st.lists(st.tuples(st.integers(-2, 2), st.sampled_from([0.0, 1.0, NAN])), max_size=14)


@given(responses)
def test_pools_and_pairs_against_loops(rows: list[tuple[int, float]]) -> None:
    key = torch.tensor([row[0] for row in rows], dtype=torch.int64)
    right = torch.tensor([row[1] for row in rows], dtype=torch.float64)
    value = torch.arange(len(rows)).double()
    table = pool_table(value, key, right == 1)
    names = sorted({row[0] for row in rows})
    assert len(table) == len(names)
    for name, found in zip(names, table.tolist(), strict=True):
        expected = [float(index) for index, row in enumerate(rows) if row == (name, 1.0)]
        assert [entry for entry in found if entry == entry] == expected
        assert found[: len(expected)] == expected
    expected_pairs = [
        [one, other]
        for one, first in enumerate(rows)
        for other, second in enumerate(rows)
        if first[0] == second[0] and first[1] == 1 and second[1] == 0
    ]
    assert label_pairs(key, right).tolist() == expected_pairs


def test_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match="expected \\(N,\\) of both"):
        pool_table(torch.zeros(2), torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ValueError, match="right has shape"):
        label_pairs(torch.zeros(2, dtype=torch.int64), torch.zeros(3))


def test_items_count_alike_however_many_pairs_they_have() -> None:
    win = torch.tensor([1.0, 1.0, 1.0, 0.0, 5.0])
    lose = torch.tensor([0.0, 0.0, 0.0, 1.0, 5.0])
    report = pair_report(win, lose, torch.tensor([0, 0, 0, 1, 2]))
    assert report.accuracy.mean == pytest.approx((1 + 0 + 0.5) / 3)
    assert report.strict.mean == pytest.approx(1 / 3)
    assert report.over_pairs == pytest.approx(3.5 / 5)
    assert report.all_right == pytest.approx(1 / 3)
    assert report.ties == pytest.approx(0.2)
    assert report.margin == pytest.approx(2 / 5)
    assert (report.pairs, report.items, report.unscored) == (5, 3, 0)
    assert report.accuracy.low <= report.accuracy.mean <= report.accuracy.high


def test_unscored_pairs_take_no_part() -> None:
    report = pair_report(torch.tensor([1.0, NAN]), torch.tensor([0.0, 0.0]))
    assert (report.accuracy.mean, report.pairs, report.unscored) == (1.0, 1, 1)
    with pytest.raises(ValueError, match="none of the 1 pairs is scored"):
        pair_report(torch.tensor([NAN]), torch.tensor([0.0]))
    with pytest.raises(ValueError, match="lose has shape"):
        pair_report(torch.zeros(2), torch.zeros(3))
