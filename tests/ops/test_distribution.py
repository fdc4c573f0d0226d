"""Laws over finite sets against closed forms, enumeration and scipy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon import ops

NAN = float("nan")


def law(draw: st.DrawFn, size: int) -> torch.Tensor:
    weights = draw(st.lists(st.floats(0.01, 1.0), min_size=size, max_size=size))
    value = torch.tensor(weights, dtype=torch.float64)
    return value / value.sum()


@st.composite
def candidates(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor]:
    size = draw(st.integers(2, 6))
    score = draw(st.lists(st.sampled_from([0.0, 1.0, 2.5, -3.0]), min_size=size, max_size=size))
    return law(draw, size), torch.tensor(score, dtype=torch.float64)


def divergence(left: torch.Tensor, right: torch.Tensor) -> float:
    return float(scipy.stats.entropy(left.numpy(), right.numpy()))


def test_the_optimum_of_raw_and_of_log_sigmoid_rewards() -> None:
    ref, reward = torch.tensor([0.6, 0.3, 0.1]), torch.tensor([0.0, 1.0, 3.0])
    assert ops.tilt(ref, reward, 2.0).tolist() == pytest.approx([0.388907, 0.320600, 0.290493], abs=1e-6)
    utility = torch.nn.functional.logsigmoid(reward - 1.0)
    assert ops.tilt(ref, utility, 2.0).tolist() == pytest.approx([0.504192, 0.343734, 0.152074], abs=1e-6)


@given(given=candidates())
def test_tilting_by_a_log_likelihood_conditions(given: tuple[torch.Tensor, torch.Tensor]) -> None:
    ref, score = given
    likelihood = torch.sigmoid(score)
    posterior = ref * likelihood / (ref * likelihood).sum()
    torch.testing.assert_close(ops.tilt(ref, likelihood.log(), 1.0), posterior)


@given(given=candidates(), n=st.integers(1, 4))
def test_best_of_n_by_enumeration(given: tuple[torch.Tensor, torch.Tensor], n: int) -> None:
    ref, score = given
    expected = np.zeros(len(ref))
    for drawn in itertools.product(range(len(ref)), repeat=n):
        chance = math.prod(float(ref[i]) for i in drawn)
        best = max(float(score[i]) for i in drawn)
        winners = [i for i in drawn if float(score[i]) == best]
        for i in winners:
            expected[i] += chance / len(winners)
    np.testing.assert_allclose(ops.best_of_n_law(ref, score, n).numpy(), expected, atol=1e-12)


@given(given=candidates(), n=st.integers(2, 40))
def test_best_of_n_of_right_and_wrong_is_a_tilted_law(given: tuple[torch.Tensor, torch.Tensor], n: int) -> None:
    """With rewards 0 and 1 at beta = 1 / log(odds ratio); with -1 and 1 at twice that."""
    ref, score = given
    right = (score > 0).double()
    if right.sum() in (0, len(right)):
        return
    p = float((ref * right).sum())
    chosen = 1 - (1 - p) ** n
    ratio = chosen / (1 - chosen) / (p / (1 - p)) if chosen < 1 - 1e-9 else None
    if ratio is None:
        return
    expected = ops.best_of_n_law(ref, right, n)
    torch.testing.assert_close(ops.tilt(ref, right, 1 / math.log(ratio)), expected, atol=1e-7, rtol=1e-6)
    torch.testing.assert_close(ops.tilt(ref, 2 * right - 1, 2 / math.log(ratio)), expected, atol=1e-7, rtol=1e-6)


@given(given=candidates(), share=st.floats(0.02, 0.98))
def test_the_temperature_for_a_divergence(given: tuple[torch.Tensor, torch.Tensor], share: float) -> None:
    ref, score = given
    if bool((score == score[0]).all()):
        with pytest.raises(ValueError, match="largest divergence"):
            ops.tilt_to_kl(ref, score, 0.1)
        return
    most = -math.log(float(ref[score == score.max()].sum()))
    tilted, beta = ops.tilt_to_kl(ref, score, share * most)
    assert divergence(tilted, ref) == pytest.approx(share * most, abs=1e-9)
    torch.testing.assert_close(ops.tilt(ref, score, beta), tilted, atol=1e-7, rtol=1e-6)
    with pytest.raises(ValueError, match="largest divergence"):
        ops.tilt_to_kl(ref, score, most + 0.01)


def test_batches_of_laws_and_no_divergence() -> None:
    ref = torch.tensor([[0.5, 0.5], [0.9, 0.1]])
    score = torch.tensor([[0.0, 1.0], [5.0, -5.0]])
    tilted, beta = ops.tilt_to_kl(ref, score, 0.05)
    for row in range(2):
        alone, one = ops.tilt_to_kl(ref[row], score[row], 0.05)
        torch.testing.assert_close(tilted[row], alone)
        assert float(beta[row]) == pytest.approx(float(one))
    same, beta = ops.tilt_to_kl(ref, score, 0.0)
    torch.testing.assert_close(same, ref.double())
    assert torch.isinf(beta).all()


def test_candidates_without_utility_and_dtypes() -> None:
    ref = torch.tensor([0.5, 0.25, 0.25])
    assert ops.tilt(ref, torch.tensor([NAN, 1.0, 1.0]), 1.0).tolist() == pytest.approx([0.0, 0.5, 0.5])
    assert ops.tilt(ref, torch.tensor([-math.inf, 0.0, 0.0]), 1.0).tolist() == pytest.approx([0.0, 0.5, 0.5])
    assert ops.tilt(ref, torch.tensor([1e6, -1e6, 0.0]), 1e-3).tolist() == [1.0, 0.0, 0.0]
    assert ops.tilt(ref, ref, 1.0).dtype == torch.float32
    assert ops.tilt(ref.double(), ref, 1.0).dtype == torch.float64
    assert ops.tilt(ref.bfloat16(), ref.bfloat16(), 1.0).dtype == torch.float32
    assert ops.best_of_n_law(ref, torch.tensor([True, False, False]), 2).tolist() == [0.75, 0.125, 0.125]
    utility = torch.tensor([0.0, 1.0, NAN], dtype=torch.float64, requires_grad=True)
    ops.tilt(ref.double(), utility, 1.0)[0].backward()
    assert utility.grad is not None
    assert torch.isfinite(utility.grad).all()


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda r: ops.tilt(r, r, 0.0), "beta"),
        (lambda r: ops.tilt(-r, r, 1.0), "ref"),
        (lambda r: ops.tilt(r, r[:1], 1.0), "utility has shape"),
        (lambda r: ops.tilt(r, torch.full_like(r, NAN), 1.0), "no mass"),
        (lambda r: ops.tilt(r, torch.full_like(r, math.inf), 1.0), "plus infinity"),
        (lambda r: ops.tilt_to_kl(r, r, -1.0), "kl"),
        (lambda r: ops.best_of_n_law(r, r, 0), "n is 0"),
        (lambda r: ops.bon_kl(0.5), "n is 0.5"),
        (lambda r: ops.best_of_n_curve(r, r, [3]), "grid has 3"),
        (lambda r: ops.reference_quantile(r[:0], 0.5), "samples"),
        (lambda r: ops.reference_quantile(r, 1.5), "q is 1.5"),
        (lambda r: ops.reference_quantile(r, 1.0, "gaussian"), "q is 1.0"),
        (lambda r: ops.reference_quantile(r, 0.5, "mean"), "method"),
    ],
)
def test_bad_arguments_are_named(call: object, match: str) -> None:
    assert callable(call)
    with pytest.raises(ValueError, match=match):
        call(torch.tensor([0.7, 0.3]))


def test_divergence_of_best_of_n() -> None:
    found = [ops.bon_kl(n) for n in (1, 4, 16, 256)]
    assert found == pytest.approx([0.0, 0.636294, 1.835089, 4.549084], abs=1e-6)
    # A fine law without ties comes near to it from below.
    ref = torch.full((4000,), 1 / 4000, dtype=torch.float64)
    law = ops.best_of_n_law(ref, torch.arange(4000.0), 8)
    assert divergence(law, ref) == pytest.approx(ops.bon_kl(8), abs=1e-3)


@st.composite
def pools(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor]:
    size = draw(st.integers(1, 7))
    score = st.sampled_from([0.0, 1.0, 1.5, -2.0, NAN])
    lists = [draw(st.lists(score, min_size=size, max_size=size)) for _ in range(2)]
    return torch.tensor(lists[0]), torch.tensor(lists[1])


@given(pool=pools(), data=st.data())
def test_the_curve_is_the_mean_over_all_subsets(pool: tuple[torch.Tensor, torch.Tensor], data: st.DataObject) -> None:
    proxy, gold = pool
    n = data.draw(st.integers(1, len(proxy)))
    rows = [i for i in range(len(proxy)) if not (math.isnan(proxy[i]) or math.isnan(gold[i]))]
    picks = []
    for subset in itertools.combinations(rows, n):
        best = max(float(proxy[i]) for i in subset)
        winners = [float(gold[i]) for i in subset if float(proxy[i]) == best]
        picks.append(sum(winners) / len(winners))
    found = float(ops.best_of_n_curve(proxy, gold, [n])[0])
    if not picks:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(sum(picks) / len(picks), abs=1e-9)


def test_the_expected_proxy_rises_with_n_on_many_pools_at_once() -> None:
    generator = torch.Generator().manual_seed(0)
    proxy = torch.randn(5, 256, generator=generator)
    curve = ops.best_of_n_curve(proxy, proxy, [1, 2, 16, 256])
    assert curve.shape == (5, 4)
    assert bool((curve.diff(dim=1) > 0).all())
    torch.testing.assert_close(curve[:, 0], proxy.double().mean(1))
    torch.testing.assert_close(curve[:, 3], proxy.double().amax(1))
    assert ops.best_of_n_curve(proxy[:0], proxy[:0], [1]).shape == (0, 1)
    infinite = torch.tensor([math.inf, 0.0, NAN])
    assert ops.best_of_n_curve(infinite, torch.tensor([3.0, 1.0, 9.0]), [2]).tolist() == pytest.approx([3.0])


@given(
    samples=st.lists(st.one_of(st.just(NAN), st.floats(-50, 50, width=32)), min_size=1, max_size=12),
    q=st.floats(0.01, 0.99),
)
def test_quantiles_equal_those_of_numpy_and_scipy(samples: list[float], q: float) -> None:
    x = torch.tensor(samples, dtype=torch.float64)
    kept = np.array([value for value in samples if not math.isnan(value)])
    found = ops.reference_quantile(x, q)
    gaussian = ops.reference_quantile(x, q, "gaussian", std_eps=1e-5)
    if not len(kept):
        assert torch.isnan(found)
        assert torch.isnan(gaussian)
        return
    assert float(found) == pytest.approx(np.quantile(kept, q), abs=1e-9)
    spread = kept.std(ddof=1) if len(kept) > 1 else 0.0
    assert float(gaussian) == pytest.approx(kept.mean() + (spread + 1e-5) * scipy.stats.norm.ppf(q), abs=1e-9)


def test_quantiles_of_ragged_rows() -> None:
    table = torch.tensor([[-1.0, 0.0, 0.5, 2.0, 3.0], [4.0, NAN, NAN, NAN, NAN], [NAN] * 5])
    assert ops.reference_quantile(table, 0.85).tolist() == pytest.approx([2.4, 4.0, NAN], nan_ok=True)
    gaussian = ops.reference_quantile(table, 0.85, "gaussian")
    assert gaussian.tolist() == pytest.approx([2.555051, 4.0, NAN], abs=1e-6, nan_ok=True)
    assert ops.reference_quantile(table.double(), 0.5).dtype == torch.float64
