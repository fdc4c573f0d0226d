"""Learners with tables: draws, Q-learning, and REINFORCE with a self-learnt reward."""

from __future__ import annotations

import numpy as np
import pytest

from guerdon.control.explors import ExploRS
from guerdon.control.finite_mdp import FiniteMDP, as_mdp
from guerdon.control.mdp import optimal, q_values
from guerdon.control.tabular_learners import Sampler, q_learning, reinforce_explors
from guerdon.control.worlds.distractor_chain import chain_reward, distractor_chain
from guerdon.control.worlds.four_rooms import four_rooms, rooms_reward


def test_the_sampler_draws_the_law() -> None:
    mdp = FiniteMDP(np.array([[[0.2, 0.0, 0.8]], [[0.0, 1.0, 0.0]], [[0.5, 0.5, 0.0]]]))
    after = Sampler(mdp)
    assert [after(0, 0, draw) for draw in (0.0, 0.19, 0.21, 0.999999999999)] == [0, 0, 2, 2]
    assert after(2, 0, 0.5) == 1


def test_q_learning_finds_the_goal() -> None:
    mdp = four_rooms(5, slip=0.0)
    outcome = rooms_reward(mdp)
    best = optimal(outcome, mdp.tau, 0.95)
    curve = q_learning(mdp, best.q - best.values[:, None], outcome, 60, end=mdp.states - 1, seed=0)
    assert curve.max() <= best.values[0] + 1e-9
    assert curve[-1] == pytest.approx(best.values[0])
    again = q_learning(mdp, best.q - best.values[:, None], outcome, 60, end=mdp.states - 1, seed=0)
    np.testing.assert_array_equal(curve, again)
    with pytest.raises(ValueError, match="no discount"):
        q_learning(as_mdp((mdp.tau, mdp.mu0)), outcome, outcome, 1, end=0)


def test_reinforce_with_a_self_learnt_reward_solves_a_short_chain() -> None:
    mdp = distractor_chain(4, 8)
    outcome = chain_reward(mdp)
    shaper = ExploRS(mdp.states, 2)
    curve = reinforce_explors(mdp, outcome, shaper, 1500, horizon=10, seed=0)
    top = q_values(outcome, mdp.tau, 0.99, np.ones(13, dtype=int), 10)[8, 1]
    assert curve[-300:].mean() > 0.8 * top
    assert shaper.visits.sum() == 1500 * 10
    assert shaper.phi[8, 1] > shaper.phi[8, 0]
    np.testing.assert_allclose(shaper.phi.sum(axis=1), 0, atol=1e-9)
    idle = ExploRS(mdp.states, 2, scale=0.0, eta_phi=0.0)
    reinforce_explors(mdp, outcome, idle, 30, horizon=10, seed=0)
    assert not idle.phi.any()
    with pytest.raises(ValueError, match="policy_batch"):
        reinforce_explors(mdp, outcome, idle, 1, policy_batch=11)
