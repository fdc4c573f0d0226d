"""DPO between trajectories."""

from __future__ import annotations

import pytest
import torch

from guerdon.objective import trajectory_dpo_loss
from tests.objective.batches import NAN, gradient

REWARDS = torch.tensor([[0.06, 0.02], [-0.02, -0.04]])
MASK = torch.ones(2, 2, dtype=torch.bool)
GROUP, POSITIVE = torch.tensor([0, 0]), torch.tensor([True, False])


def test_by_hand() -> None:
    loss, pairs = trajectory_dpo_loss(REWARDS, MASK, GROUP, POSITIVE)
    assert (float(loss), pairs) == (pytest.approx(0.625595, abs=1e-6), 1)
    assert float(trajectory_dpo_loss(REWARDS, MASK, GROUP, POSITIVE, "mean")[0]) == pytest.approx(0.658760, abs=1e-6)
    swapped = float(trajectory_dpo_loss(REWARDS, MASK, GROUP, ~POSITIVE)[0])
    assert float(loss) - swapped == pytest.approx(-0.14)


def test_pairs_stay_inside_groups() -> None:
    generator = torch.Generator().manual_seed(0)
    rewards = torch.randn(7, 3, generator=generator, dtype=torch.float64).requires_grad_()
    mask = torch.rand(7, 3, generator=generator) < 0.8
    group = torch.tensor([4, 1, 4, 1, 4, 4, 9])
    positive = torch.tensor([True, True, False, False, False, True, True])
    loss, pairs = trajectory_dpo_loss(rewards, mask, group, positive)
    total = (rewards * mask).sum(1)
    expected = [(0, 2), (0, 4), (5, 2), (5, 4), (1, 3)]
    terms = torch.stack([torch.nn.functional.softplus(total[b] - total[a]) for a, b in expected])
    assert pairs == 5
    torch.testing.assert_close(loss, terms.mean())
    assert (gradient(loss, rewards)[6] == 0).all()
    assert trajectory_dpo_loss(rewards, mask, group, positive, pairing="one_to_one")[1] == 3


def test_no_pairs_and_errors() -> None:
    rewards = REWARDS.clone().requires_grad_()
    loss, pairs = trajectory_dpo_loss(rewards, MASK, GROUP, torch.tensor([True, True]))
    assert (float(loss), pairs) == (0.0, 0)
    assert (gradient(loss, rewards) == 0).all()
    masked = torch.tensor([[0.06, NAN], [-0.02, -0.04]])
    assert trajectory_dpo_loss(masked, torch.tensor([[True, False], [True, True]]), GROUP, POSITIVE)[1] == 1
    with pytest.raises(ValueError, match="row 0 hold NaN"):
        trajectory_dpo_loss(masked, MASK, GROUP, POSITIVE)
    with pytest.raises(ValueError, match="reduce is 'max'"):
        trajectory_dpo_loss(REWARDS, MASK, GROUP, POSITIVE, "max")
    with pytest.raises(ValueError, match="step_mask has shape"):
        trajectory_dpo_loss(REWARDS, MASK[:1], GROUP, POSITIVE)
