"""Auxiliary heads: classes, windows, and gradients into the actor."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon.control.auxiliary_heads import (
    RewardClassHead,
    StateReconstructionHead,
    reward_class_targets,
    sequence_windows,
)
from guerdon.control.ppo import ActorCritic


def actor() -> ActorCritic:
    torch.manual_seed(0)
    return ActorCritic(own=4, objects=3, features=2, actions=5)


def test_classes_of_rewards() -> None:
    r = torch.tensor([0.3, 0.0051, 0.005, 0.0, -0.005, -0.0051])
    assert reward_class_targets(r, 0.005).tolist() == [0, 0, 2, 2, 2, 1]
    assert reward_class_targets(torch.tensor([0.1, -0.1, 0.0]), 0.0).tolist() == [0, 1, 2]
    assert reward_class_targets(torch.zeros(0)).dtype == torch.int64
    with pytest.raises(ValueError, match="row 1 is nan"):
        reward_class_targets(torch.tensor([0.0, float("nan")]))
    with pytest.raises(ValueError, match="eps is -1"):
        reward_class_targets(r, -1.0)


def test_worked_example_of_windows() -> None:
    expected = [[-1, -1, 0], [-1, 0, 1], [0, 1, 2], [-1, -1, 3], [-1, 3, 4]]
    assert sequence_windows(5, [0, 3], 3).tolist() == expected
    assert sequence_windows(5, torch.tensor([True, False, False, True, False]), 3).tolist() == expected
    # A rollout that begins in the middle of an episode is padded there too.
    assert sequence_windows(5, [3], 3).tolist() == expected


@given(
    starts=st.lists(st.lists(st.booleans(), min_size=6, max_size=6), min_size=1, max_size=3), length=st.integers(1, 8)
)
def test_windows_equal_the_obvious_loop(starts: list[list[bool]], length: int) -> None:
    found = sequence_windows(6, torch.tensor(starts), length)
    for row, flags in enumerate(starts):
        for time in range(6):
            began = max([0] + [start for start in range(time + 1) if flags[start]])
            inside = list(range(began, time + 1))[-length:]
            assert found[row, time].tolist() == [-1] * (length - len(inside)) + inside


def test_windows_refuse() -> None:
    with pytest.raises(ValueError, match="length is 0"):
        sequence_windows(3, [0], 0)
    with pytest.raises(ValueError, match="from 0 to 2"):
        sequence_windows(3, [3], 1)
    with pytest.raises(ValueError, match=r"expected \(\.\.\., 3\)"):
        sequence_windows(3, torch.tensor([True]), 1)
    assert sequence_windows(0, [], 2).shape == (0, 2)


def test_reward_classes_train_the_shared_embeddings() -> None:
    trunk = actor()
    head = RewardClassHead(trunk, 4)
    loss = head.loss(torch.randn(7, 4, 10), torch.linspace(-1, 1, 7))
    loss.backward()
    for shared in (trunk.query.weight, trunk.keys.weight):
        assert shared.grad is not None
        assert shared.grad.abs().sum() > 0
    assert trunk.critic[0].weight.grad is None
    names = {name for name, _ in head.named_parameters()}
    assert not any("query" in name and "trunk" in name for name in names)
    assert head(torch.randn(2, 4, 10)).shape == (2, 3)
    with pytest.raises(ValueError, match="length is 0"):
        RewardClassHead(trunk, 0)


def test_reward_classes_are_learnt_from_the_past() -> None:
    """The class is what was seen two observations ago, so the head has to remember."""
    trunk = actor()
    head = RewardClassHead(trunk, 3)
    generator = torch.Generator().manual_seed(1)
    optimiser = torch.optim.Adam([*trunk.parameters(), *head.parameters()], lr=1e-2)
    for _ in range(150):
        windows = torch.randn(64, 3, 10, generator=generator)
        loss = head.loss(windows, windows[:, 0, 0].sign())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    windows = torch.randn(400, 3, 10, generator=generator)
    right = head(windows).argmax(1) == reward_class_targets(windows[:, 0, 0].sign())
    assert right.float().mean() > 0.8


def test_reconstruction_trains_the_shared_embeddings() -> None:
    trunk = actor()
    head = StateReconstructionHead(trunk, 6)
    seen = torch.rand(16, 10)
    found = head(seen)
    assert found.shape == (16, 6)
    assert (found >= 0).all()
    first = head.loss(seen)
    first.backward()
    assert trunk.keys.weight.grad is not None
    assert trunk.keys.weight.grad.abs().sum() > 0
    assert float(first) == pytest.approx(float(torch.nn.functional.smooth_l1_loss(found, seen[:, 4:])), rel=1e-4)
    with pytest.raises(ValueError, match="expected at least 2"):
        head.loss(seen[:1])
    head.eval()
    assert torch.isfinite(head.loss(seen[:1]))
