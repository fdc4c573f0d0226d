from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon.search import RolloutAllocator, allocate_rollouts, stochastic_gain


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6), st.integers(0, 20))
def test_a_budget_goes_where_it_gains_the_most(probability, budget):
    p = torch.tensor(probability, dtype=torch.float64)
    counts = allocate_rollouts(p, budget)
    assert int(counts.sum()) == (budget if bool((p > 0).any()) else 0)
    assert not bool(counts[p == 0].any())
    # One by one, by the definition.
    load, expected = torch.zeros_like(p), torch.zeros_like(counts)
    for _ in range(int(counts.sum())):
        gain = torch.where(p > 0, p * (1 - stochastic_gain(load)), -1.0)
        place = next(i for i, value in enumerate(gain) if value >= gain.max() - 1e-12)
        expected[place] += 1
        load[place] += p[place]
    assert counts.tolist() == expected.tolist()


def test_equal_prompts_get_equal_shares():
    assert allocate_rollouts(torch.full((4,), 0.1), 8).tolist() == [2, 2, 2, 2]


def test_solved_prompts_get_no_more_and_only_those_that_can_be_served():
    allocator = RolloutAllocator(torch.tensor([0.3, 0.2, 0.0]))
    assert allocator.next(among=torch.tensor([False, True, True])) == 1
    assert allocator.next() == 0
    allocator.record(0, True)
    assert allocator.next() == 1
    allocator.record(1, True)
    assert allocator.next() is None
    with pytest.raises(ValueError, match="prompt 1 was solved"):
        allocator.record(1, False)


def test_the_gain_keeps_its_dtype_and_grows_below_one():
    load = torch.linspace(0, 50, 100)
    gain = stochastic_gain(load)
    assert gain.dtype == torch.float32
    assert bool((gain.diff() > 0).all())
    assert float(gain[-1]) < 1


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="row 1"):
        allocate_rollouts(torch.tensor([0.5, 1.5]), 1)
    with pytest.raises(ValueError, match="budget is -1"):
        allocate_rollouts(torch.tensor([0.5]), -1)
