"""What a proposed task is worth."""

from __future__ import annotations

import pytest
import torch

from guerdon import Rollouts
from guerdon.shape import Learnability, learnability_reward


def test_both_ends_are_worth_nothing() -> None:
    accuracy = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0])
    assert learnability_reward(accuracy).tolist() == [0.0, 0.75, 0.5, 0.25, 0.0]
    assert learnability_reward(accuracy, "inverse").tolist() == [1.0, 0.75, 0.5, 0.25, 0.0]
    eighths = learnability_reward(torch.arange(9, dtype=torch.float64) / 8)
    assert float(eighths.max()) == 7 / 8 == float(eighths[1])
    assert bool((eighths[1:].diff() < 0).all())
    assert eighths.dtype == torch.float64


def test_only_proposals_are_rescored() -> None:
    value = Rollouts(
        group=[0, 0, 1],
        mask=torch.ones(3, 1, dtype=torch.bool),
        outcome=[float("nan"), 1.0, 1.0],
        columns={"solver_accuracy": [0.25, None, 0.0]},
    )
    assert Learnability()(value).outcome.tolist() == [0.75, 1.0, 0.0]
    assert value.outcome[2] == 1.0


@pytest.mark.parametrize("bad", [-0.1, 1.1, float("nan")])
def test_bad_accuracies_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="accuracy has"):
        learnability_reward(torch.tensor([0.5, bad]))


def test_bad_modes_are_refused() -> None:
    for call in (lambda: learnability_reward(torch.zeros(1), "square"), lambda: Learnability("square")):
        with pytest.raises(ValueError, match="mode"):
            call()
