"""Finding the first wrong step."""

from __future__ import annotations

import math

import pytest
import torch

from guerdon import ops
from guerdon.evaluation import first_error_report, first_errors, threshold_curve

NAN = math.nan
PROCESS = torch.tensor(
    [[0.9, 0.2, 0.8], [0.9, 0.9, 0.4], [0.9, 0.7, NAN], [0.6, 0.9, 0.9], [0.9, 0.8, 0.3]], dtype=torch.float64
)
GOLD = torch.tensor([1, 1, -1, -1, -1])


def test_by_hand() -> None:
    assert first_errors(PROCESS, 0.5).tolist() == [1, 2, -1, -1, 2]
    report = first_error_report(PROCESS, GOLD, 0.5, resamples=200)
    assert (report.with_error, report.without_error) == (0.5, pytest.approx(2 / 3))
    assert report.f1.mean == pytest.approx(2 * 0.5 * (2 / 3) / (0.5 + 2 / 3))
    assert report.near == 1.0
    assert report.n == 5
    assert report.f1.low <= report.f1.mean <= report.f1.high


def test_the_curve_is_the_figure_of_every_threshold() -> None:
    curve = threshold_curve(PROCESS, GOLD, [0.1, 0.5, 0.65])
    assert [at for at, _ in curve] == [0.1, 0.5, 0.65]
    for at, value in curve:
        assert value == ops.processbench_f1(first_errors(PROCESS, at), GOLD)
    assert curve[0][1] == 0.0
    spaced = threshold_curve(PROCESS, GOLD)
    assert len(spaced) == 19
    assert 0.2 < spaced[0][0] < spaced[-1][0] < 0.9


def test_a_perfect_judge() -> None:
    gold = torch.tensor([0, 2, -1])
    process = torch.tensor([[0.0, 1.0, 1.0], [1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
    report = first_error_report(process, gold, resamples=50)
    assert (report.f1.mean, report.f1.low, report.f1.high) == (1.0, 1.0, 1.0)
    assert "F1 at threshold 0.5" in report.table()


def test_arguments_are_checked() -> None:
    with pytest.raises(ValueError, match="expected both kinds"):
        first_error_report(PROCESS[:2], GOLD[:2])
    with pytest.raises(ValueError, match="process in row 0 has no score"):
        first_error_report(PROCESS * NAN, GOLD)
    with pytest.raises(ValueError, match="expected \\(N, S\\) and \\(N,\\)"):
        first_error_report(PROCESS, GOLD[:2])
