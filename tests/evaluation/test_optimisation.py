"""Best-of-n and over-optimisation curves; correlation of score and gain."""

from __future__ import annotations

import math
from itertools import combinations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from guerdon import ops
from guerdon.evaluation import best_of_n_report, correlate, policy_report, powers_of_two

NAN = math.nan


def test_the_worked_pool() -> None:
    proxy, gold = torch.tensor([[0.1, 0.2, 0.3, 0.4, 0.5]]), torch.tensor([[0.0, 1.0, 0.0, 1.0, 0.0]])
    report = best_of_n_report(proxy, gold, [1, 3])
    assert [point.mean for point in report.gold] == pytest.approx([0.4, 0.3])
    assert report.kl == (0.0, pytest.approx(math.log(3) - 2 / 3))
    assert report.gain == pytest.approx(-0.1)
    assert (report.peak, report.drop) == (0, pytest.approx(0.1))


def test_divergences() -> None:
    assert [round(ops.bon_kl(n), 6) for n in (1, 4, 16, 256)] == [0.0, 0.636294, 1.835089, 4.549084]


@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(2, 6))
def test_the_curve_is_the_mean_over_all_subsets(seed: int, problems: int, size: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    proxy = torch.rand(problems, size, generator=generator, dtype=torch.float64)
    gold = torch.rand(problems, size, generator=generator, dtype=torch.float64)
    report = best_of_n_report(proxy, gold, resamples=5)
    for n, point, own, best in zip(report.n, report.gold, report.proxy, report.best, strict=True):
        picked = [
            (float(gold[row, max(rows, key=lambda i: proxy[row, i])]), float(max(proxy[row, i] for i in rows)))
            for row in range(problems)
            for rows in combinations(range(size), n)
        ]
        assert point.mean == pytest.approx(sum(pair[0] for pair in picked) / len(picked))
        assert own == pytest.approx(sum(pair[1] for pair in picked) / len(picked))
        assert best >= point.mean - 1e-9
    assert list(report.proxy) == sorted(report.proxy)
    assert report.kl[0] == 0.0


def test_pools_may_differ_in_size() -> None:
    proxy = torch.tensor([[1.0, 2.0, NAN], [3.0, 1.0, 2.0]])
    report = best_of_n_report(proxy, proxy.clone())
    assert report.n == (1, 2)
    with pytest.raises(ValueError, match="from 1 to 2, the smallest pool"):
        best_of_n_report(proxy, proxy, [1, 3])
    with pytest.raises(ValueError, match="a pool is empty"):
        best_of_n_report(proxy * NAN, proxy)
    with pytest.raises(ValueError, match="expected \\(P, N\\) of both"):
        best_of_n_report(proxy, proxy[:1])


def test_a_policy_that_turns_over() -> None:
    report = policy_report([2.0, 0.0, 1.0], [0.2, 0.0, 0.5], [3.0, 1.0, 2.0])
    assert report.kl == (0.0, 1.0, 2.0)
    assert (report.gain, report.peak, report.drop) == (pytest.approx(0.2), 1, pytest.approx(0.3))
    assert "peak at KL 1.000" in report.table()
    with pytest.raises(ValueError, match="expected equal"):
        policy_report([1.0], [], [1.0])
    with pytest.raises(ValueError, match="not finite"):
        policy_report([1.0], [NAN], [1.0])


def test_powers_of_two() -> None:
    assert powers_of_two(1) == [1]
    assert powers_of_two(8) == [1, 2, 4, 8]
    assert powers_of_two(9) == [1, 2, 4, 8, 9]
    with pytest.raises(ValueError, match="most is 0"):
        powers_of_two(0)


def test_correlation_is_that_of_scipy() -> None:
    generator = torch.Generator().manual_seed(4)
    score = torch.rand(12, generator=generator, dtype=torch.float64)
    gain = score + 0.3 * torch.rand(12, generator=generator, dtype=torch.float64)
    report = correlate(score, gain)
    assert report.pearson == pytest.approx(stats.pearsonr(score, gain).statistic)
    assert report.spearman == pytest.approx(stats.spearmanr(score, gain).statistic)
    assert report.r2.mean == pytest.approx(report.pearson**2)
    assert report.r2.low < report.r2.mean < report.r2.high <= 1.0


def test_correlation_without_spread_is_unknown() -> None:
    assert math.isnan(correlate([1.0, 1.0], [0.0, 1.0]).pearson)
    assert math.isnan(correlate([], []).r2.mean)
    assert correlate([1.0, 1.0], [0.0, 1.0]).to_json()["r2"] == {"mean": None, "low": None, "high": None}
    with pytest.raises(ValueError, match="b has shape"):
        correlate([1.0], [1.0, 2.0])
