"""When rows that waited are trained on, and which."""

from __future__ import annotations

import pytest
import torch

from guerdon import Batch, Recipe, Rollouts
from guerdon.credit import GroupNormalized
from guerdon.search import Compensation
from guerdon.select import Recompose

LENGTHS = [40, 10, 25, 80, 60, 100, 20, 50]


def step(iteration: int, rows: int = 8) -> Batch:
    rollouts = Rollouts(
        group=[0] * rows,
        mask=torch.ones(rows, 1, dtype=torch.bool),
        outcome=[1.0] * (rows // 2) + [0.0] * (rows // 2),
        logprobs=torch.full((rows, 1), -1.0 - iteration),
        columns={"length": LENGTHS[:rows]},
        iteration=iteration,
    )
    return Recipe(select=Recompose(), credit=GroupNormalized(eps=1e-6))(rollouts)


def test_the_worked_schedule() -> None:
    """Four rows wait after each step; six are asked for, with draws of 0.5, over four steps: once, after step 1."""
    waiting = Compensation(total=4, count=6)
    found = [waiting.after(step(number), number, draw=0.5) for number in range(4)]
    assert [batch is not None for batch in found] == [False, True, False, False]
    batch = found[1]
    assert batch is not None
    assert batch.rollouts.column("birth") == (0, 0, 0, 0, 1, 1)
    assert batch.rollouts.column("length") == (40, 80, 20, 50, 40, 80)
    assert batch.rollouts.logprobs is not None
    assert batch.rollouts.logprobs[:, 0].tolist() == [-1.0] * 4 + [-2.0] * 2
    expected = [0.935413, 0.935413, -0.935413, -0.935413, 0.935413, 0.935413]
    assert batch.advantages[:, 0].tolist() == pytest.approx(expected, abs=1e-5)
    assert len(waiting.buffer) == 4 * 4 - 6


def test_as_many_as_were_trained_on() -> None:
    batch = Compensation(total=10).after(step(0), 0)
    assert batch is not None
    assert len(batch) == 4
    assert Compensation(total=10, start=0.0, end=0.0).after(step(0), 0) is None


def test_it_goes_on_after_a_restart() -> None:
    whole, first = (Compensation(total=6, seed=3) for _ in range(2))
    expected = [whole.after(step(number), number) for number in range(6)]
    head = [first.after(step(number), number) for number in range(3)]
    again = Compensation(total=6, seed=3)
    again.load_state_dict(first.state_dict())
    found = head + [again.after(step(number), number) for number in range(3, 6)]
    assert [batch is None for batch in found] == [batch is None for batch in expected]
    for ours, theirs in zip(found, expected, strict=True):
        assert ours is None or theirs is None or ours.rollouts.equals(theirs.rollouts)


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="total_steps"):
        Compensation(total=0)
    with pytest.raises(ValueError, match=r"Compensation\.count is 0"):
        Compensation(total=1, count=0)
