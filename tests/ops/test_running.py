"""Statistics that survive batches, processes and restarts."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon import ops

NAN = float("nan")
batches = st.lists(st.lists(st.one_of(st.just(NAN), st.floats(-20, 20, width=32)), max_size=6), min_size=1, max_size=6)


@given(given=batches)
def test_moments_equal_those_of_everything_seen(given: list[list[float]]) -> None:
    moments = ops.RunningMoments()
    for batch in given:
        moments.update(torch.tensor(batch))
    everything = np.array([value for batch in given for value in batch if not math.isnan(value)], dtype=np.float64)
    assert moments.count == len(everything)
    if not len(everything):
        assert moments.empty
        return
    assert moments.mean == pytest.approx(everything.mean(), abs=1e-9)
    assert moments.variance == pytest.approx(everything.var(), abs=1e-7)
    assert (moments.smallest, moments.largest) == (everything.min(), everything.max())


@given(given=batches, cut=st.integers(0, 6))
def test_merging_the_statistics_of_processes_is_as_good_as_one_batch(given: list[list[float]], cut: int) -> None:
    whole, left, right = (ops.RunningMoments() for _ in range(3))
    for place, batch in enumerate(given):
        whole.update(torch.tensor(batch))
        (left if place < cut else right).update(torch.tensor(batch))
    left.merge(right)
    assert left.state_dict() == pytest.approx(whole.state_dict(), abs=1e-7)


@given(given=batches, cut=st.integers(0, 6), decay=st.sampled_from([None, 0.9]))
def test_a_restart_changes_nothing(given: list[list[float]], cut: int, decay: float | None) -> None:
    kept = ops.RunningMoments(1, decay)
    resumed = ops.RunningMoments(1, decay)
    for place, batch in enumerate(given):
        if place == cut:
            resumed.load_state_dict(pickle.loads(pickle.dumps(kept.state_dict())))
        kept.update(torch.tensor(batch))
        if place >= cut:
            resumed.update(torch.tensor(batch))
    if cut < len(given):
        assert resumed.state_dict() == kept.state_dict()


def test_unbiased_batches_merged_from_a_start() -> None:
    moments = ops.RunningMoments(1, count=1e-4, mean=0.0, variance=1.0)
    moments.update(torch.tensor([2.0, 4.0]))
    assert moments.mean == pytest.approx(2.999850, abs=1e-6)
    assert moments.variance == pytest.approx(2.000400, abs=1e-6)
    for _ in range(499):
        moments.update(torch.tensor([2.0, 4.0]))
    assert moments.variance == pytest.approx(2.0, abs=1e-3)
    population = ops.RunningMoments(0)
    for _ in range(500):
        population.update(torch.tensor([2.0, 4.0]))
    assert population.variance == pytest.approx(1.0)


def test_an_exponential_average_has_no_bias_towards_the_start() -> None:
    moments, weight, first, second = ops.RunningMoments(decay=0.9), 0.0, 0.0, 0.0
    generator = torch.Generator().manual_seed(1)
    for _ in range(5):
        batch = torch.randn(7, generator=generator, dtype=torch.float64) + 3
        moments.update(batch)
        weight = 0.9 * weight + 0.1
        first = 0.9 * first + 0.1 * float(batch.mean())
        second = 0.9 * second + 0.1 * float(batch.square().mean())
        assert moments.mean == pytest.approx(first / weight)
        assert moments.variance == pytest.approx(second / weight - (first / weight) ** 2)


def test_a_copy_that_has_seen_more_leaves_the_first_as_it_was() -> None:
    moments = ops.RunningMoments()
    moments.update(torch.tensor([1.0, 3.0]))
    before = moments.state_dict()
    assert moments.seeing(torch.tensor([8.0])).mean == 4.0
    assert moments.state_dict() == before
    moments.update(torch.tensor([NAN]))
    moments.update(torch.zeros(0))
    assert moments.state_dict() == before
    with pytest.raises(ValueError, match="infinite"):
        moments.update(torch.tensor([math.inf]))
    with pytest.raises(ValueError, match="merge"):
        moments.merge(ops.RunningMoments(1))
    with pytest.raises(ValueError, match="decay"):
        ops.RunningMoments(decay=1.0)
    with pytest.raises(ValueError, match="count"):
        ops.RunningMoments(count=-1.0)


def slow_window(costs: list[float], size: int, q: tuple[float, float]) -> list[float]:
    held: list[float] = []
    placed = []
    for cost in costs:
        if math.isnan(cost):
            placed.append(NAN)
            continue
        held = [*held, math.sqrt(cost)][-size:]
        low, high = np.quantile(held, q[0]), np.quantile(held, q[1])
        placed.append(0.5 if high - low < 1e-8 else float(np.clip((math.sqrt(cost) - low) / (high - low), 0, 1)))
    return placed


@given(
    costs=st.lists(st.one_of(st.just(NAN), st.sampled_from([0.0, 100.0, 225.0]), st.floats(0, 500)), max_size=20),
    size=st.integers(1, 7),
    cut=st.integers(0, 20),
    q=st.sampled_from([(0.05, 0.95), (0.0, 1.0), (0.25, 0.5)]),
)
def test_a_window_places_values_one_by_one(costs: list[float], size: int, cut: int, q: tuple[float, float]) -> None:
    window = ops.RunningWindow(size, q, "sqrt")
    found = window.update(torch.tensor(costs[:cut], dtype=torch.float64)).tolist()
    resumed = ops.RunningWindow(size, q, "sqrt")
    resumed.load_state_dict(pickle.loads(pickle.dumps(window.state_dict())))
    found += resumed.update(torch.tensor(costs[cut:], dtype=torch.float64)).tolist()
    assert found == pytest.approx(slow_window(costs, size, q), abs=1e-9, nan_ok=True)
    assert len(resumed) == min(size, sum(not math.isnan(cost) for cost in costs))


def test_cheap_calls_are_rewarded_by_their_place_in_the_window() -> None:
    window = ops.RunningWindow(1000, (0.05, 0.95), "sqrt")
    assert (1 - window.update(torch.tensor([100.0, 400.0, 0.0, 400.0]))).tolist() == [0.5, 0.0, 1.0, 0.0]
    before = window.state_dict()
    assert 1 - float(window.peek(torch.tensor([0.0]))) == 1.0
    assert window.state_dict() == before
    assert 1 - float(window.update(torch.tensor([225.0]))) == pytest.approx(0.277778, abs=1e-6)


def test_a_large_batch_equals_small_ones() -> None:
    costs = torch.rand(2500, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    whole, pieces = ops.RunningWindow(50), ops.RunningWindow(50)
    found = torch.cat([pieces.update(part) for part in costs.split(300)])
    torch.testing.assert_close(whole.update(costs), found)
    assert whole.state_dict() == pieces.state_dict()


def test_windows_under_scaling_and_errors() -> None:
    costs = torch.tensor([5.0, 1.0, 9.0, 2.0, 2.0])
    for transform in ("none", "sqrt"):
        plain, scaled = (ops.RunningWindow(4, transform=transform) for _ in range(2))
        torch.testing.assert_close(plain.update(costs), scaled.update(7 * costs))
    logs = [ops.RunningWindow(4, transform="log").update(factor * costs) for factor in (1.0, 100.0)]
    assert not torch.allclose(*logs)
    empty = ops.RunningWindow()
    assert empty.peek(torch.tensor([3.0, NAN])).tolist() == pytest.approx([0.5, NAN], nan_ok=True)
    assert all(math.isnan(bound) for bound in empty.bounds())
    assert empty.update(torch.zeros(0)).shape == (0,)
    for bad in (-1.0, math.inf):
        with pytest.raises(ValueError, match="x has"):
            ops.RunningWindow(transform="sqrt").update(torch.tensor([bad]))
    for arguments in ({"size": 0}, {"q": (0.9, 0.1)}, {"transform": "cube"}):
        with pytest.raises(ValueError, match=next(iter(arguments))):
            ops.RunningWindow(**arguments)  # type: ignore[arg-type]
