"""Calibration against a slow loop, and by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon.evaluation import calibration, expected_calibration_error, pair_calibration

NAN = math.nan
rows = st.lists(st.tuples(st.one_of(st.just(NAN), st.floats(0, 1)), st.sampled_from([0.0, 1.0, NAN])), max_size=40)


def tensors(values: list[tuple[float, float]]) -> tuple[torch.Tensor, torch.Tensor]:
    table = torch.tensor(values, dtype=torch.float64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


@given(rows, st.integers(1, 12))
def test_against_a_loop(values: list[tuple[float, float]], bins: int) -> None:
    known = [(sure, truth) for sure, truth in values if sure == sure and truth == truth]
    edges = [index / bins for index in range(bins + 1)]
    report = calibration(*tensors(values), bins=bins)
    assert int(report.count.sum()) == len(known)
    error = 0.0
    for index in range(bins):
        low, high = float(report.edges[index]), float(report.edges[index + 1])
        assert low == pytest.approx(edges[index])
        inside = [pair for pair in known if low <= pair[0] < high or (index == bins - 1 and pair[0] == 1.0)]
        assert int(report.count[index]) == len(inside)
        if inside:
            sure, right = (sum(pair[place] for pair in inside) / len(inside) for place in (0, 1))
            assert float(report.confidence[index]) == pytest.approx(sure)
            assert float(report.accuracy[index]) == pytest.approx(right)
            error += abs(sure - right) * len(inside) / len(known)
    if known:
        assert report.error == pytest.approx(error, abs=1e-12)
        assert report.brier == pytest.approx(sum((a - b) ** 2 for a, b in known) / len(known))
    else:
        assert math.isnan(report.error)


def test_by_hand() -> None:
    report = calibration(torch.tensor([0.9, 0.9, 0.1], dtype=torch.float64), torch.tensor([True, False, False]))
    assert report.error == pytest.approx((0.4 * 2 + 0.1) / 3)
    assert report.largest_error == pytest.approx(0.4)
    assert report.count.tolist()[9] == 2
    assert "expected calibration error 0.3000" in report.table()
    assert report.to_json()["accuracy"][0] is None


def test_perfect_probabilities_have_no_error() -> None:
    generator = torch.Generator().manual_seed(0)
    sure = torch.rand(40_000, generator=generator)
    right = (torch.rand(40_000, generator=generator) < sure).float()
    assert expected_calibration_error(sure, right) < 0.01
    assert expected_calibration_error(sure.square(), right) > 0.1


def test_bins_of_equal_mass() -> None:
    sure = torch.linspace(0.0, 1.0, 101)[:100].square()
    report = calibration(sure, torch.zeros(100), bins=4, scheme="mass")
    assert report.count.tolist() == [25, 25, 25, 25]
    # Equal probabilities cannot be parted.
    tied = calibration(torch.full((10,), 0.3), torch.zeros(10), bins=4, scheme="mass")
    assert tied.count.sum() == 10
    assert tied.error == pytest.approx(0.3)


def test_pairs() -> None:
    win, lose = torch.tensor([2.0, 0.0, 1.0, NAN]), torch.tensor([0.0, 1.0, 1.0, 0.0])
    report = pair_calibration(win, lose, bins=1)
    assert int(report.count.sum()) == 2
    assert float(report.accuracy[0]) == 0.5
    assert float(report.confidence[0]) == pytest.approx((torch.sigmoid(torch.tensor([2.0, 1.0]))).mean().item())
    swapped = pair_calibration(lose, win, bins=1)
    assert float(swapped.confidence[0]) == float(report.confidence[0])


@pytest.mark.parametrize(
    ("sure", "label", "settings", "message"),
    [
        ([0.5, 1.5], [0.0, 1.0], {}, "probability in row 1 is 1.5"),
        ([0.5], [0.5], {}, "label in row 0 is 0.5"),
        ([0.5], [1.0, 0.0], {}, "expected \\(N,\\) of both"),
        ([0.5], [1.0], {"bins": 0}, "bins is 0"),
        ([0.5], [1.0], {"scheme": "other"}, "scheme is 'other'"),
    ],
)
def test_arguments_are_checked(
    sure: list[float], label: list[float], settings: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        calibration(torch.tensor(sure), torch.tensor(label), **settings)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="lose has shape"):
        pair_calibration(torch.zeros(2), torch.zeros(1))
