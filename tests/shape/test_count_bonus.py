"""Count bonus and count decay: the worked examples, the counter, and the stage."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from guerdon import Rollouts
from guerdon.shape.count_bonus import CountDecay, VisitCounter, count_bonus, count_decay, mixed_reward, occurrences


def test_worked_messages() -> None:
    counter = VisitCounter(episodic=True)
    counts = torch.cat([counter.update([message]) for message in "aaba"])
    assert counts.tolist() == [1, 2, 1, 3]
    ext, intr = torch.tensor([0.0, 0, 1, 0]), torch.tensor([1.0, 1, 0, 1])
    mixed = mixed_reward(ext, intr, counts, 0.1, 0.4)
    torch.testing.assert_close(mixed, torch.tensor([0.4, 0.05, 0.1, 0.014815]), atol=1e-6, rtol=0)
    torch.testing.assert_close(mixed_reward(ext, intr, counts, 0.1, 0.0), 0.1 * ext)
    torch.testing.assert_close(mixed_reward(ext, intr, counts, 0.0, 1.0, beta=0.0), intr)
    assert mixed_reward(ext.double(), intr.double(), counts).dtype == torch.float64


def test_worked_bonus() -> None:
    assert count_bonus(0) == 1
    assert count_bonus(3) == 0.5
    torch.testing.assert_close(count_bonus(torch.tensor([0, 3, 8])), torch.tensor([1.0, 0.5, 1 / 3]))
    np.testing.assert_allclose(count_bonus(np.array([0, 12]), 2.0, 1.0), [1.0, 0.5])
    assert count_bonus(0, 3.0, 0.2) == pytest.approx(0.2)
    n = torch.arange(100, dtype=torch.float64)
    assert (count_bonus(n).diff() < 0).all()
    assert count_bonus(torch.zeros(0)).shape == (0,)


def test_all_that_one_message_can_earn_is_bounded() -> None:
    n = torch.arange(1, 100_000, dtype=torch.float64)
    assert float(count_decay(n).sum()) == pytest.approx(1.2021, abs=1e-4)
    assert torch.isnan(count_decay(torch.tensor([1.0, torch.nan]))).tolist() == [False, True]
    assert torch.isnan(count_decay(torch.tensor([torch.nan]), beta=0.0)).all()


def test_counts_start_anew_with_each_environments_episode() -> None:
    counter = VisitCounter(episodic=True)
    assert counter.update(["a", "a"], [False, True]).tolist() == [1, 1]
    assert counter.counts(["a", "a"]).tolist() == [1, 0]
    assert counter.update(["a", "a"], torch.tensor([False, False])).tolist() == [2, 1]
    other = VisitCounter()
    other.load_state_dict(counter.state_dict())
    assert other.episodic
    assert other.update(["a", "b"]).tolist() == [3, 1]
    with pytest.raises(ValueError, match="one of each environment"):
        counter.update(["a"])
    with pytest.raises(ValueError, match="dones has 1"):
        counter.update(["a", "b"], [True])
    with pytest.raises(ValueError, match="keys has 3"):
        counter.counts(["a", "b", "c"])


def test_counts_over_all_history_never_start_anew() -> None:
    counter = VisitCounter()
    assert counter.counts(["a"]).tolist() == [0]
    assert counter.update(["a", "a", (1, 2)], [True, True, True]).tolist() == [1, 2, 1]
    assert counter.counts(["a", (1, 2), "z"]).tolist() == [2, 1, 0]
    assert VisitCounter(episodic=True).counts(["a", "b"]).tolist() == [0, 0]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 4), st.integers(0, 9))
def test_occurrences_are_what_the_counter_counts(seed: int, rows: int, size: int) -> None:
    generator = np.random.default_rng(seed)
    keys = torch.as_tensor(generator.integers(0, 3, (rows, size)).astype(np.float32))
    keys[torch.as_tensor(generator.random((rows, size)) < 0.2)] = torch.nan
    found = occurrences(keys)
    for row in range(rows):
        counter = VisitCounter()
        for place in range(size):
            missing = bool(torch.isnan(keys[row, place]))
            assert found[row, place] == (0 if missing else counter.update([keys[row, place].item()]).item())
    whole = torch.nan_to_num(keys, nan=-1).long()
    assert occurrences(whole).shape == keys.shape


def test_the_stage_decays_what_repeats() -> None:
    nan = torch.nan
    rollouts = Rollouts(
        group=torch.tensor([0, 0]),
        mask=torch.ones(2, 3, dtype=torch.bool),
        step=torch.tensor([[0, 1, 2], [0, 1, 2]]),
        outcome=torch.zeros(2),
        process=torch.tensor([[1.0, 1.0, 1.0], [2.0, nan, 2.0]]),
        steps={"kind": torch.tensor([[5.0, 5.0, 6.0], [7.0, 7.0, nan]])},
    )
    found = CountDecay("kind", beta=2.0)(rollouts)
    torch.testing.assert_close(found.process, torch.tensor([[1.0, 0.25, 1.0], [2.0, nan, 2.0]]), equal_nan=True)
    assert CountDecay("kind").reads == ("process", "steps/kind")
    with pytest.raises(ValueError, match="steps has no 'place'"):
        CountDecay("place")(rollouts)


def test_mistakes_are_named() -> None:
    for beta in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="beta"):
            CountDecay("kind", beta)
    with pytest.raises(ValueError, match="counts"):
        count_decay(torch.tensor([0]))
    with pytest.raises(ValueError, match="counts"):
        count_bonus(-1)
    with pytest.raises(ValueError, match="scale is 0"):
        count_bonus(1, 0.0)
    with pytest.raises(ValueError, match="keys has shape"):
        occurrences(torch.zeros(3))
