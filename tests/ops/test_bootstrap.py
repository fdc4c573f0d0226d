"""Bootstrap intervals: against one plain draw, and against scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from guerdon.ops import bootstrap
from guerdon.ops.bootstrap import Interval, mean_interval, statistic_interval


def test_the_interval_is_that_of_one_plain_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(1).normal(size=37)
    chosen = np.random.default_rng(5).integers(0, 37, size=(999, 37))
    low, high = np.quantile(values[chosen].mean(axis=1), [0.05, 0.95])
    expected = (values.mean(), low, high)
    # In one part, and in many.
    for elements in (10**9, 37 * 10, 1):
        monkeypatch.setattr(bootstrap, "_ELEMENTS", elements)
        found = mean_interval(values.tolist(), resamples=999, level=0.9, seed=5)
        assert (found.mean, found.low, found.high) == pytest.approx(expected, abs=1e-12)
        assert mean_interval(torch.from_numpy(values), resamples=999, level=0.9, seed=5) == found


def test_the_interval_is_near_that_of_scipy() -> None:
    values = np.random.default_rng(2).random(200)
    reference = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=5000, random_state=0)
    found = mean_interval(values.tolist(), resamples=5000)
    assert found.low == pytest.approx(reference.confidence_interval.low, abs=0.004)
    assert found.high == pytest.approx(reference.confidence_interval.high, abs=0.004)


def test_a_statistic_of_rows() -> None:
    values = torch.tensor([0.0, 1.0, 1.0, 1.0, 3.0])
    by_function = statistic_interval(lambda rows: values[rows].mean(), 5, resamples=400, seed=3)
    by_mean = mean_interval(values, resamples=400, seed=3)
    assert (by_function.low, by_function.high) == pytest.approx((by_mean.low, by_mean.high), abs=1e-6)
    median = statistic_interval(lambda rows: float(values[rows].median()), 5, resamples=50)
    assert median.mean == 1.0
    assert median.low <= 1.0 <= median.high


def test_resamples_without_a_statistic_are_left_out() -> None:
    def only_of_mixed(rows: torch.Tensor) -> float:
        return 1.0 if len(set(rows.tolist())) > 1 else math.nan

    assert statistic_interval(only_of_mixed, 2, resamples=200) == Interval(1.0, 1.0, 1.0)
    nothing = statistic_interval(lambda rows: math.nan, 2, resamples=5)
    assert math.isnan(nothing.mean)
    assert math.isnan(nothing.low)


def test_one_row_has_no_width() -> None:
    assert mean_interval([2.5]) == Interval(2.5, 2.5, 2.5)


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [math.inf], [[1.0]]])
def test_values_are_checked(values: list[float]) -> None:
    with pytest.raises(ValueError, match="expected at least one, all finite"):
        mean_interval(values)


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="resamples is 0"):
        mean_interval([1.0], resamples=0)
    with pytest.raises(ValueError, match="level is 1"):
        mean_interval([1.0], level=1.0)
    with pytest.raises(ValueError, match="rows is 0"):
        statistic_interval(lambda rows: 0.0, 0)
