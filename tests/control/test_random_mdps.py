"""Random MDPs: proper laws, the shares of the draws, and changes that no policy can see."""

from __future__ import annotations

import numpy as np
import pytest

from guerdon.control.mdp import check_transitions, expected_reward
from guerdon.control.random_mdps import (
    interpolated,
    random_reward,
    random_sparse_transitions,
    random_transitions,
    redistribute,
)


@pytest.mark.parametrize("threshold", [None, 0.5, 9.0])
def test_transitions_are_laws(threshold: float | None) -> None:
    tau = random_transitions(16, 4, np.random.default_rng(0), threshold)
    assert check_transitions(tau) == (16, 4)


def test_a_higher_threshold_leaves_fewer_next_states() -> None:
    def likely(threshold: float) -> float:
        tau = random_transitions(100, 4, np.random.default_rng(0), threshold)
        return float((tau > 1e-6).sum(axis=2).mean())

    # A standard normal is above 1 in 15.9 % and above 1.5 in 6.7 % of draws.
    assert likely(1.0) == pytest.approx(15.9, rel=0.05)
    assert likely(1.5) == pytest.approx(6.7, rel=0.1)
    # A pair that keeps none leads everywhere alike.
    np.testing.assert_allclose(random_transitions(10, 2, np.random.default_rng(0), 9.0), 0.1)


def test_sparse_transitions_are_laws() -> None:
    tau = random_sparse_transitions(50, 3, np.random.default_rng(0), successors=4)
    assert check_transitions(tau) == (50, 3)
    assert tau.nnz <= 50 * 3 * 4


def test_the_same_seed_gives_the_same_draws() -> None:
    for draw in (lambda g: random_transitions(5, 2, g), lambda g: random_reward(5, 2, 0.9, g)):
        np.testing.assert_array_equal(draw(np.random.default_rng(3)), draw(np.random.default_rng(3)))
        assert not np.array_equal(draw(np.random.default_rng(3)), draw(np.random.default_rng(4)))


def test_sparse_rewards_are_mostly_nothing() -> None:
    plain = {"scaled_share": 0.0, "shifted_share": 0.0, "shaped_share": 0.0}
    reward = random_reward(30, 4, 0.9, np.random.default_rng(0), sparse_share=1.0, sparse_threshold=2.0, **plain)
    assert 0.01 < (reward != 0).mean() < 0.04
    assert reward[reward != 0].min() > 2.0
    full = random_reward(30, 4, 0.9, np.random.default_rng(0), sparse_share=0.0, **plain)
    assert abs(full.mean()) < 0.05
    assert full.std() == pytest.approx(1, abs=0.05)
    shifted = random_reward(
        30, 4, 0.9, np.random.default_rng(0), sparse_share=0.0, scaled_share=0.0, shifted_share=1.0, shaped_share=0.0
    )
    assert 0 < shifted.mean() < 10


def test_a_shaped_draw_differs_by_a_potential() -> None:
    always = {"sparse_share": 0.0, "scaled_share": 0.0, "shifted_share": 0.0}
    plain = random_reward(6, 2, 0.5, np.random.default_rng(1), shaped_share=0.0, **always)
    change = random_reward(6, 2, 0.5, np.random.default_rng(1), shaped_share=1.0, **always) - plain
    # gamma phi(s') - phi(s): phi(s) is minus the diagonal over 1 - gamma.
    phi = -np.einsum("sas->s", change) / 2 / 0.5
    np.testing.assert_allclose(change, np.broadcast_to((0.5 * phi[None] - phi[:, None])[:, None], change.shape))


def test_redistribution_keeps_the_mean_over_next_states() -> None:
    generator = np.random.default_rng(2)
    tau = np.array(random_transitions(8, 3, generator))
    tau = np.where(tau < 1e-6, 0.0, tau)
    tau /= tau.sum(axis=2, keepdims=True)
    reward = random_reward(8, 3, 0.9, generator, sparse_share=0.0)
    changed = redistribute(reward, tau, generator, size=5.0)
    np.testing.assert_allclose(expected_reward(changed, tau), expected_reward(reward, tau), atol=1e-9)
    assert np.abs(changed - reward).mean() > 1
    assert (changed[tau == 0] != reward[tau == 0]).all()
    with pytest.raises(ValueError, match="reward: shape"):
        redistribute(reward[:, :2], tau, generator)


def test_interpolation_ends_at_the_second_reward() -> None:
    found = interpolated([0.0, 1.0], [1.0, 3.0], 4)
    assert found.tolist() == [[0.25, 1.5], [0.5, 2.0], [0.75, 2.5], [1.0, 3.0]]
    with pytest.raises(ValueError, match="equal shapes"):
        interpolated([0.0], [1.0, 2.0], 4)
    with pytest.raises(ValueError, match="at least 1 step"):
        interpolated([0.0], [1.0], 0)
