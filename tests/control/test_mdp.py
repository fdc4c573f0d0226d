"""Exact solvers of finite MDPs against iteration, finite sums and enumerated policies."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from guerdon.control import mdp
from guerdon.control.mdp import Array


def world(seed: int, states: int = 5, actions: int = 3) -> tuple[Array, Array, Array]:
    """Transitions with some impossible next states, a reward of transitions, and a start law."""
    generator = np.random.default_rng(seed)
    tau = generator.dirichlet(np.full(states, 0.5), (states, actions))
    tau = np.where(tau < 0.1, 0.0, tau)
    tau /= tau.sum(axis=2, keepdims=True)
    return tau, generator.normal(size=(states, actions, states)), generator.dirichlet(np.ones(states))


def sparsely(tau: Array) -> sparse.csr_matrix:
    return sparse.csr_matrix(tau.reshape(-1, tau.shape[2]))


seeds = st.integers(0, 10_000)
discounts = st.sampled_from([0.0, 0.3, 0.9, 0.99])


@settings(max_examples=30, deadline=None)
@given(seeds, discounts)
def test_policy_value_is_the_fixed_point_of_the_bellman_equation(seed: int, gamma: float) -> None:
    tau, reward, _ = world(seed)
    pi = np.random.default_rng(seed).dirichlet(np.ones(3), 5)
    values = mdp.policy_value(reward, tau, gamma, pi)
    for state in range(5):
        backup = 0.0
        for action in range(3):
            for after in range(5):
                here = reward[state, action, after] + gamma * values[after]
                backup += pi[state, action] * tau[state, action, after] * here
        assert values[state] == pytest.approx(backup, abs=1e-9)


@settings(max_examples=20, deadline=None)
@given(seeds, st.sampled_from([0.0, 0.5, 0.9]))
def test_optimal_agrees_with_value_iteration_and_with_all_policies(seed: int, gamma: float) -> None:
    tau, reward, start = world(seed, 4, 2)
    found = mdp.optimal(reward, tau, gamma)
    mean = np.einsum("sat,sat->sa", tau, reward)
    values = np.zeros(4)
    for _ in range(400):
        values = (mean + gamma * tau @ values).max(axis=1)
    np.testing.assert_allclose(found.values, values, atol=1e-9)
    returns = [mdp.policy_return(reward, tau, gamma, policy, start) for policy in mdp.enumerate_policies(4, 2)]
    assert len(returns) == 16
    assert float(start @ found.values) == pytest.approx(max(returns), abs=1e-9)
    assert mdp.policy_return(reward, tau, gamma, found.policy, start) == pytest.approx(max(returns), abs=1e-9)
    assert found.q.max(axis=1) == pytest.approx(found.values)


def test_all_optimal_actions_are_named_where_they_tie() -> None:
    tau = np.zeros((2, 3, 2))
    tau[0, :, 1] = tau[1, :, 1] = 1
    found = mdp.optimal(np.array([[1.0, 1.0, 0.5], [0.0, 0.0, 0.0]]), tau, 0.9)
    assert found.actions.tolist() == [[True, True, False], [True, True, True]]
    assert found.policy.tolist() == [0, 0]


@settings(max_examples=20, deadline=None)
@given(seeds, st.sampled_from([0.0, 0.5, 0.9]))
def test_occupancies_are_discounted_sums_of_the_law_of_each_step(seed: int, gamma: float) -> None:
    tau, reward, start = world(seed)
    pi = np.random.default_rng(seed + 1).dirichlet(np.ones(3), 5)
    law, states, pairs = start, np.zeros(5), np.zeros((5, 3))
    for step in range(400):
        states += gamma**step * law
        pairs += gamma**step * law[:, None] * pi
        law = np.einsum("s,sa,sat->t", law, pi, tau)
    np.testing.assert_allclose(mdp.state_occupancy(tau, gamma, pi, start), states, atol=1e-9)
    np.testing.assert_allclose(mdp.occupancy(tau, gamma, pi, start), pairs, atol=1e-9)
    transitions = mdp.transition_occupancy(tau, gamma, pi, start)
    assert transitions.sum() == pytest.approx(1 / (1 - gamma))
    returned = mdp.policy_return(reward, tau, gamma, pi, start)
    assert (transitions * reward).sum() == pytest.approx(returned, abs=1e-9)
    assert float(states @ (pi * mdp.expected_reward(reward, tau)).sum(axis=1)) == pytest.approx(returned, abs=1e-9)


@pytest.mark.parametrize("horizon", [1, 2, 3])
def test_a_horizon_counts_that_many_rewards(horizon: int) -> None:
    tau, reward, _ = world(3, 3, 2)
    pi = np.array([[0.2, 0.8], [1.0, 0.0], [0.5, 0.5]])

    def walk(state: int, action: int, left: int) -> float:
        total = 0.0
        for after in range(3):
            onward = 0.0
            if left > 1:
                onward = sum(pi[after, act] * walk(after, act, left - 1) for act in range(2))
            total += tau[state, action, after] * (reward[state, action, after] + 0.7 * onward)
        return total

    expected = [[walk(state, action, horizon) for action in range(2)] for state in range(3)]
    np.testing.assert_allclose(mdp.q_values(reward, tau, 0.7, pi, horizon=horizon), expected, atol=1e-12)


def test_a_long_horizon_is_no_horizon() -> None:
    tau, reward, _ = world(4)
    np.testing.assert_allclose(mdp.q_values(reward, tau, 0.5, horizon=80), mdp.q_values(reward, tau, 0.5), atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(seeds, st.sampled_from([0.0, 0.5, 0.95]))
def test_sparse_equals_dense(seed: int, gamma: float) -> None:
    tau, reward, start = world(seed, 7, 2)
    thin, flat = sparsely(tau), sparse.csr_matrix(reward.reshape(14, 7))
    pi = np.random.default_rng(seed).dirichlet(np.ones(2), 7)
    assert mdp.check_transitions(thin) == mdp.check_transitions(tau) == (7, 2)
    for given_reward in (flat, reward, mdp.expected_reward(reward, tau)):
        np.testing.assert_allclose(
            mdp.policy_value(given_reward, thin, gamma, pi), mdp.policy_value(reward, tau, gamma, pi), atol=1e-10
        )
    np.testing.assert_allclose(
        mdp.state_occupancy(thin, gamma, pi, start), mdp.state_occupancy(tau, gamma, pi, start), atol=1e-10
    )
    assert mdp.optimal(flat, thin, gamma).actions.tolist() == mdp.optimal(reward, tau, gamma).actions.tolist()
    np.testing.assert_allclose(mdp.q_values(flat, thin, gamma), mdp.q_values(reward, tau, gamma), atol=1e-10)


def test_rewards_of_what_cannot_happen_do_not_count() -> None:
    tau, reward, _ = world(5)
    assert (tau == 0).any()
    wild = np.where(tau > 0, reward, np.inf)
    wild[tau == 0] = np.where(np.arange((tau == 0).sum()) % 2, np.nan, -np.inf)
    np.testing.assert_array_equal(mdp.expected_reward(wild, tau), mdp.expected_reward(reward, tau))
    np.testing.assert_allclose(mdp.expected_reward(wild, sparsely(tau)), mdp.expected_reward(reward, tau))
    wild[np.unravel_index(int(tau.argmax()), tau.shape)] = np.nan
    with pytest.raises(ValueError, match=r"R\[\d, \d\]: rewards must be finite"):
        mdp.expected_reward(wild, tau)


def test_a_reward_of_states_or_of_pairs() -> None:
    tau, _, _ = world(6, 3, 2)
    assert mdp.expected_reward([1.0, 2.0, 3.0], tau).tolist() == [[1, 1], [2, 2], [3, 3]]
    assert mdp.expected_reward([[1, 2], [3, 4], [5, 6]], tau).tolist() == [[1, 2], [3, 4], [5, 6]]


def test_deterministic_policies_come_in_order() -> None:
    found = [policy.tolist() for policy in mdp.enumerate_policies(2, 3)]
    assert found == [[a, b] for a in range(3) for b in range(3)]
    with pytest.raises(ValueError, match="more than the limit of 7"):
        list(mdp.enumerate_policies(3, 2, limit=7))


def test_drawn_next_states_follow_their_law() -> None:
    tau, _, _ = world(7, 4, 2)
    count = 40_000
    generator = np.random.default_rng(0)
    for state, action in ((0, 0), (3, 1)):
        drawn = mdp.sample_next(tau, np.full(count, state), np.full(count, action), generator)
        shares = np.bincount(drawn, minlength=4) / count
        assert (shares[tau[state, action] == 0] == 0).all()
        np.testing.assert_allclose(shares, tau[state, action], atol=0.015)


def test_a_deterministic_policy_is_a_table() -> None:
    table = mdp.check_policy(np.array([1, 0]), 2, 2)
    assert table.tolist() == [[0, 1], [1, 0]]
    assert mdp.uniform_policy(2, 4).tolist() == [[0.25] * 4] * 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tau: tau[:, :, :-1], r"shape \(S, A, S\)"),
        (lambda tau: tau * 0.5, r"tau\[0, 0\]: probabilities must sum to 1"),
        (lambda tau: tau * [-1, 3.0], "at least 0"),
        (lambda tau: tau * np.nan, "finite"),
        (lambda tau: sparse.csr_matrix(np.ones((3, 2))), r"\(S \* A, S\)"),
    ],
)
def test_transitions_are_checked(change: object, message: str) -> None:
    tau = np.full((2, 2, 2), 0.5)
    with pytest.raises(ValueError, match=message):
        mdp.check_transitions(change(tau))  # type: ignore[operator]


def test_other_errors_name_what_was_expected() -> None:
    tau = np.full((2, 2, 2), 0.5)
    for gamma in (1.0, -0.1, float("nan")):
        with pytest.raises(ValueError, match="gamma"):
            mdp.policy_value(np.zeros(2), tau, gamma)
    with pytest.raises(ValueError, match=r"pi\[1\]"):
        mdp.policy_value(np.zeros(2), tau, 0.5, [[0.5, 0.5], [0.5, 0.6]])
    with pytest.raises(ValueError, match="actions must be 0 to 1"):
        mdp.check_policy(np.array([0, 2]), 2, 2)
    with pytest.raises(ValueError, match=r"pi: shape \(2, 2\)"):
        mdp.check_policy(np.ones((2, 3)) / 3, 2, 2)
    with pytest.raises(ValueError, match="R: shape"):
        mdp.policy_value(np.zeros(3), tau, 0.5)
    with pytest.raises(ValueError, match="sparse reward"):
        mdp.expected_reward(sparse.csr_matrix((4, 2)), tau)
    with pytest.raises(ValueError, match="mu0"):
        mdp.policy_return(np.zeros(2), tau, 0.5, np.array([0, 0]), [0.5, 0.6])
    with pytest.raises(ValueError, match="horizon"):
        mdp.q_values(np.zeros(2), tau, 0.5, horizon=0)
