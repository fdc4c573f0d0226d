from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon.search import balanced_pick, monte_carlo_values

NAN = float("nan")


@given(
    outcome=st.lists(st.sampled_from([1.0, 0.0, -1.0, NAN]), max_size=12),
    k=st.integers(0, 8),
    seed=st.integers(0, 9),
)
def test_a_pick_is_as_even_as_the_classes_allow(outcome, k, seed):
    given_outcome = torch.tensor(outcome)
    picked = balanced_pick(given_outcome, k, torch.Generator().manual_seed(seed))
    right, wrong = sum(value > 0 for value in outcome), sum(value <= 0 for value in outcome)
    assert picked.tolist() == sorted(set(picked.tolist()))
    chosen = given_outcome[picked]
    assert not torch.isnan(chosen).any()
    assert len(picked) == min(k, right + wrong)
    expected_right = max(min((k + 1) // 2, right), min(k, right + wrong) - wrong)
    assert int((chosen > 0).sum()) == expected_right


def test_the_pick_of_a_seed_is_always_the_same_and_reaches_every_row():
    outcome = torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
    one, other = (balanced_pick(outcome, 2, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one, other)
    reached = {
        row for seed in range(60) for row in balanced_pick(outcome, 2, torch.Generator().manual_seed(seed)).tolist()
    }
    assert reached == set(range(6))


def test_a_pick_refuses_what_makes_no_sense():
    with pytest.raises(ValueError, match="k is -1"):
        balanced_pick(torch.ones(2), -1, torch.Generator())
    with pytest.raises(ValueError, match="shape"):
        balanced_pick(torch.ones(2, 2), 1, torch.Generator())


def test_values_are_shares_of_scored_completions():
    success = torch.tensor([1.0, 0.0, 1.0, NAN, NAN, 1.0])
    state = torch.tensor([5, 2, 5, 2, 9, 5])
    values, counts = monte_carlo_values(success, state)
    torch.testing.assert_close(values, torch.tensor([1.0, 0.0, NAN]), equal_nan=True)
    assert counts.tolist() == [3, 1, 0]
    parts = [success[state == name] for name in (5, 2, 9)]
    ragged, ragged_counts = monte_carlo_values(parts)
    torch.testing.assert_close(ragged, values, equal_nan=True)
    assert torch.equal(ragged_counts, counts)


def test_flat_completions_need_their_states():
    with pytest.raises(ValueError, match="state is None"):
        monte_carlo_values(torch.ones(2))
    with pytest.raises(ValueError, match="one or the other"):
        monte_carlo_values([torch.ones(2)], torch.zeros(1, dtype=torch.int64))
