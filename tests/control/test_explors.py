"""ExploRS: bonus, meta-gradient and critic by hand, and the network against the table."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from guerdon.control.explors import ExploRS, SelfRewardNet, discounted_returns, episode, meta_gradient, meta_loss

seeds = st.integers(0, 10_000)


def steps(seed: int, n: int = 30, states: int = 4, actions: int = 3) -> tuple[np.ndarray, ...]:
    generator = np.random.default_rng(seed)
    rows = generator.integers(states, size=n)
    policy = generator.dirichlet(np.ones(actions), states)
    return rows, generator.integers(actions, size=n), generator.normal(size=n), policy[rows]


def test_worked_bonus() -> None:
    shaper = ExploRS(3, 2, terminal=(2,))
    assert shaper.reward(0, 1, 1) == 1.0
    for _ in range(3):
        shaper.observe(1)
    assert shaper.reward(0, 1, 1) == 0.5
    assert shaper.reward(0, 1, 2) == 0.0
    assert ExploRS(3, 2, scale=0.0).reward(0, 1, 1) == 0.0
    assert ExploRS(3, 2, scale=2.0, largest_bonus=0.5).reward(0, 1, 1) == 0.5


def test_an_update_by_hand() -> None:
    shaper = ExploRS(2, 2, eta_phi=0.1, eta_v=0.5)
    one = episode([0, 1, 0], [1, 0, 0], [0.0, 0.0, 1.0], [[0.25, 0.75], [0.5, 0.5], [0.25, 0.75]], gamma=0.5)
    assert one.returns.tolist() == [0.25, 0.5, 1.0]
    shaper.update([one])
    # State 0: .75 * .25 at action 1, .25 * 1 at action 0, each less its share over the policy; state 1: .5 * .5.
    first, third, second = 0.1875, 0.25, 0.25
    row = np.array([third, first]) - (first + third) * np.array([0.25, 0.75])
    np.testing.assert_allclose(shaper.phi, 0.1 * np.array([row, [second / 2, -second / 2]]))
    np.testing.assert_allclose(shaper.values, 0.5 * np.array([(0.25 + 1) / 2, 0.5]))


def test_the_critic_moves_after_the_reward() -> None:
    shaper = ExploRS(1, 2, eta_phi=1.0, eta_v=1.0)
    one = episode([0], [0], [1.0], [[0.5, 0.5]])
    shaper.update([one])
    np.testing.assert_allclose(shaper.phi, [[0.25, -0.25]])
    assert shaper.values.tolist() == [1.0]
    shaper.update([one])
    np.testing.assert_allclose(shaper.phi, [[0.25, -0.25]])


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_rows_of_the_meta_gradient_sum_to_zero(seed: int) -> None:
    rows, taken, advantage, laws = steps(seed)
    found = meta_gradient(rows, taken, advantage, laws, 4)
    np.testing.assert_allclose(found.sum(axis=1), 0, atol=1e-12)
    slow = np.zeros((4, 3))
    for state, action, gain, law in zip(rows, taken, advantage, laws, strict=True):
        weight = law[action] * gain
        slow[state, action] += weight
        slow[state] -= weight * law
    np.testing.assert_allclose(found, slow, atol=1e-12)
    # The network's loss has the same gradient, but for the mean.
    phi = torch.zeros(4, 3, dtype=torch.float64, requires_grad=True)
    loss = meta_loss(phi[torch.as_tensor(rows)], *map(torch.as_tensor, (taken, advantage, laws)))
    loss.backward()  # type: ignore[no-untyped-call]
    assert phi.grad is not None
    np.testing.assert_allclose(-phi.grad.numpy() * len(rows), found, atol=1e-12)


def test_without_success_nothing_is_learnt() -> None:
    shaper = ExploRS(3, 2)
    shaper.update([episode([0, 1], [0, 1], [0.0, 0.0], np.full((2, 2), 0.5))])
    shaper.update([])
    assert not shaper.phi.any()
    assert not shaper.values.any()


def test_the_clip_holds() -> None:
    shaper = ExploRS(1, 2, eta_phi=10.0, clip=0.01)
    shaper.update([episode([0], [0], [1.0], [[0.5, 0.5]])])
    np.testing.assert_allclose(shaper.phi, [[0.01, -0.01]])


def test_returns() -> None:
    np.testing.assert_allclose(discounted_returns([0, 0, 1], 0.9), [0.81, 0.9, 1])
    assert discounted_returns([], 0.9).shape == (0,)


@pytest.mark.parametrize("changed", [{"scale": -1.0}, {"largest_bonus": 0.0}, {"clip": 0.0}, {"eta_v": -1.0}, {"S": 0}])
def test_mistakes_are_named(changed: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=str(next(iter(changed)))):
        ExploRS(**{"S": 2, "A": 2, **changed})  # type: ignore[arg-type]


def test_an_episode_of_odd_lengths() -> None:
    with pytest.raises(ValueError, match="expected"):
        episode([0, 1], [0], [0.0, 0.0], np.full((2, 2), 0.5))


def test_the_network_learns_which_action_pays() -> None:
    net = SelfRewardNet(2, 2, clip=0.1, eta_phi=1e-2, eta_v=1e-2, seed=3)
    x = torch.eye(2).repeat(20, 1)
    assert not net(x).any()
    generator = torch.Generator().manual_seed(0)
    actions = torch.randint(0, 2, (40,), generator=generator)
    returns = (actions == x.argmax(dim=1)).float()
    returns[0] = torch.nan
    for _ in range(60):
        net.update(x, actions, returns, torch.full((40, 2), 0.5))
    rewards = net(torch.eye(2))
    assert (rewards.diagonal() > rewards.flip(1).diagonal() + 0.05).all()
    assert rewards.abs().max() <= 0.1
    assert torch.isfinite(rewards).all()


def test_the_network_leaves_out_what_has_no_return() -> None:
    net = SelfRewardNet(2, 2)
    before = [p.clone() for p in net.parameters()]
    nothing = torch.full((3,), torch.nan)
    assert net.update(torch.ones(3, 2), torch.zeros(3, dtype=torch.int64), nothing, torch.full((3, 2), 0.5)) == (0, 0)
    assert all(torch.equal(old, new) for old, new in zip(before, net.parameters(), strict=True))
    assert (
        float(meta_loss(torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64), torch.zeros(0), torch.zeros(0, 2))) == 0
    )
    with pytest.raises(ValueError, match="clip"):
        SelfRewardNet(2, 2, clip=0.0)


def test_steps_without_a_score_leave_loss_and_gradient_finite() -> None:
    from guerdon.control.explors import meta_loss

    rewards = torch.tensor([[1.0, 0.5], [float("nan"), 1.0], [2.0, float("nan")]], requires_grad=True)
    policies = torch.tensor([[0.5, 0.5], [0.5, 0.5], [1.0, 0.0]])
    loss = meta_loss(rewards, torch.tensor([0, 0, 0]), torch.tensor([1.0, 1.0, float("nan")]), policies)
    assert float(loss) == pytest.approx(-0.5 * (1.0 - 0.75))
    loss.backward()
    assert rewards.grad is not None
    assert rewards.grad.flatten().tolist() == pytest.approx([-0.25, 0.25, 0.0, 0.0, 0.0, 0.0])
    silent = meta_loss(rewards, torch.tensor([0, 0, 0]), torch.full((3,), float("nan")), policies)
    assert float(silent) == 0.0
