"""RoRecomp: what shares an update, and that nothing else changes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from guerdon import Rollouts
from guerdon.papers import rorecomp

LENGTHS = [40, 10, 25, 80, 60, 100, 20, 50]


def batch(outcome: list[float]) -> Rollouts:
    return Rollouts(
        group=[0] * 8,
        mask=torch.ones(8, 1, dtype=torch.bool),
        outcome=outcome,
        columns={"length": LENGTHS, "calls": LENGTHS[::-1]},
    )


def test_the_worked_groups() -> None:
    even = rorecomp.recipe()(batch([1.0] * 4 + [0.0] * 4))
    assert even.trained.nonzero().squeeze(1).tolist() == [1, 2, 4, 5]
    assert even.advantages[:, 0].tolist() == pytest.approx([0.935413] * 4 + [-0.935413] * 4, abs=1e-5)
    lopsided = rorecomp.recipe()(batch([1.0] * 6 + [0.0] * 2))
    assert lopsided.trained.nonzero().squeeze(1).tolist() == [0, 1, 2, 7]
    assert lopsided.advantages[:, 0].tolist() == pytest.approx([0.540061] * 6 + [-1.620182] * 2, abs=1e-5)


def test_with_ratio_one_it_is_grpo() -> None:
    given = batch([1.0, 0.0] * 4)
    whole = rorecomp.recipe(ratio=1.0)(given)
    assert bool(whole.trained.all())
    torch.testing.assert_close(whole.advantages, rorecomp.recipe(ratio=0.3)(given).advantages)


def test_cost_may_be_a_column() -> None:
    chosen = rorecomp.recipe(cost="calls")(batch([1.0] * 4 + [0.0] * 4)).trained.nonzero().squeeze(1).tolist()
    assert chosen == [0, 1, 4, 7]


def test_the_control_has_the_same_counts() -> None:
    given = batch([1.0] * 4 + [0.0] * 4)
    control = rorecomp.recipe(cost="random_cost").replace(shape=(rorecomp.RandomCost(3),))
    assert int(control(given).trained.sum()) == 4
    assert torch.equal(control(given).trained, control(given).trained)


def test_an_arm_repeats_itself(tmp_path: Path) -> None:
    shared = {**rorecomp.claim().shared, "steps": 15}
    for arm in rorecomp.claim().arms.values():
        first = rorecomp.run_arm(dict(arm), shared, 1, tmp_path)
        assert first == rorecomp.run_arm(dict(arm), shared, 1, tmp_path)
