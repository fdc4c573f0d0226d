"""Regret: the worked example, three exact methods against each other, and slow references."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from guerdon.control.mdp import Array, enumerate_policies, policy_return
from guerdon.control.random_mdps import random_reward, random_sparse_transitions, random_transitions, redistribute
from guerdon.control.regret import (
    METHODS,
    deterministic_returns,
    mean_regret,
    optimal_regret,
    pairwise_regret,
    regret_bounds,
    worst_case_regret,
)
from guerdon.control.starc import shaped

TAU = np.array([[[1.0, 0.0], [0.0, 1.0]], [[0.5, 0.5], [0.0, 1.0]]])
R = np.array([[[1.0, 0.0], [0.0, 2.0]], [[4.0, 0.0], [0.0, -1.0]]])
R3 = np.broadcast_to([0.0, 1.0], (2, 2, 2))
START = [0.5, 0.5]
seeds = st.integers(0, 10_000)


def world(seed: int, states: int = 4, actions: int = 2) -> tuple[Array, Array, Array, Array]:
    """Transitions, two rewards that agree in part, and a start law."""
    generator = np.random.default_rng(seed)
    tau = random_transitions(states, actions, generator)
    first = random_reward(states, actions, 0.9, generator, sparse_share=0.0)
    second = first / first.std() + 0.7 * generator.standard_normal(first.shape)
    return tau, first, second, generator.dirichlet(np.ones(states))


def test_worked_returns_and_regrets() -> None:
    returns = deterministic_returns((R, R3), TAU, 0.5, START)
    np.testing.assert_allclose(returns[0], [2.666667, 0, 4, -0.5], atol=1e-6)
    np.testing.assert_allclose(returns[1], [0.333333, 1, 1.4, 2], atol=1e-6)
    for method in ("auto", "enumeration", "linear program", "dual"):
        assert worst_case_regret(R, R3, TAU, 0.5, START, method=method) == pytest.approx(1)
        assert worst_case_regret(R3, R, TAU, 0.5, START, method=method) == pytest.approx(1)
    # R3's best policy is R's worst; R's best has 1.4 between 1/3 and 2.
    assert optimal_regret(R, R3, TAU, 0.5, START) == pytest.approx(1)
    assert optimal_regret(R3, R, TAU, 0.5, START) == pytest.approx((2 - 1.4) / (2 - 1 / 3))
    assert mean_regret(R, R3, TAU, 0.5, START) == pytest.approx((1 + 0.36) / 2)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=1, max_size=8))
def test_pairs_of_policies_one_by_one(pairs: list[tuple[int, int]]) -> None:
    true, proxy = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    spread = max(true) - min(true)
    worst = max(
        (a - b for a, one in zip(true, proxy, strict=True) for b, two in zip(true, proxy, strict=True) if two >= one),
        default=0,
    )
    assert pairwise_regret(true, proxy) == pytest.approx(worst / spread if spread else 0.0)


@settings(max_examples=20, deadline=None)
@given(seeds, st.sampled_from([0.0, 0.5, 0.9]))
def test_returns_of_all_policies_one_by_one(seed: int, gamma: float) -> None:
    tau, first, second, start = world(seed)
    found = deterministic_returns((first, second), tau, gamma, start)
    for reward, returns in zip((first, second), found, strict=True):
        slow = [policy_return(reward, tau, gamma, policy, start) for policy in enumerate_policies(4, 2)]
        np.testing.assert_allclose(returns, slow, atol=1e-9)
    thin = sparse.csr_matrix(tau.reshape(8, 4))
    np.testing.assert_allclose(deterministic_returns((first,), thin, gamma, start)[0], found[0], atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(seeds, st.sampled_from([0.0, 0.5, 0.9]))
def test_two_exact_methods_agree_and_bound_the_others(seed: int, gamma: float) -> None:
    tau, first, second, start = world(seed)
    program, dual, listed, chosen = (
        worst_case_regret(first, second, tau, gamma, start, method=method)
        for method in ("linear program", "dual", "enumeration", "optimal policies")
    )
    assert program == pytest.approx(dual, abs=1e-6)
    assert program >= listed - 1e-7
    assert listed >= chosen - 1e-7
    bounds = regret_bounds(first, second, tau, gamma, start)
    assert bounds.lower == pytest.approx(chosen, abs=1e-9)
    assert bounds.lower - 1e-6 <= program <= bounds.upper + 1e-6
    # No pair of stochastic policies does worse than the exact value says.
    generator = np.random.default_rng(seed)
    policies = generator.dirichlet(np.full(2, 0.3), (60, 4))
    spread = np.ptp(deterministic_returns((first,), tau, gamma, start)[0])
    true, proxy = (
        np.array([policy_return(reward, tau, gamma, pi, start) for pi in policies]) for reward in (first, second)
    )
    if spread > 1e-6:
        losses = np.where(proxy[None] >= proxy[:, None], true[:, None] - true[None], 0)
        assert losses.max() / spread <= program + 1e-6


@settings(max_examples=20, deadline=None)
@given(seeds, st.sampled_from(METHODS))
def test_rewards_of_one_class_have_no_regret(seed: int, method: str) -> None:
    tau, first, _, start = world(seed)
    tau = np.where(tau < 1e-6, 0, tau)
    tau /= tau.sum(axis=2, keepdims=True)
    generator = np.random.default_rng(seed)
    same = 3 * redistribute(shaped(first, 5 * generator.normal(size=4), 0.9), tau, generator)
    assert worst_case_regret(first, same, tau, 0.9, start, method=method) == pytest.approx(0, abs=1e-6)
    assert worst_case_regret(same, first, tau, 0.9, start, method=method) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("method", ["enumeration", "linear program", "dual"])
def test_opposite_and_trivial_rewards(method: str) -> None:
    tau, first, second, start = world(0)
    flat = shaped(np.full_like(first, 2.0), np.arange(4.0), 0.9)
    assert worst_case_regret(first, -first, tau, 0.9, start, method=method) == pytest.approx(1)
    assert worst_case_regret(first, flat, tau, 0.9, start, method=method) == pytest.approx(1)
    assert worst_case_regret(flat, second, tau, 0.9, start, method=method) == 0
    assert regret_bounds(first, flat, tau, 0.9, start).upper == pytest.approx(1)
    assert regret_bounds(flat, second, tau, 0.9, start) == (0, 0)


def test_a_large_constant_does_not_drown_the_order() -> None:
    tau, first, second, start = world(2)
    expected = worst_case_regret(first, second, tau, 0.9, start)
    found = worst_case_regret(1e7 + first, shaped(second, 1e6 * np.arange(4.0), 0.9), tau, 0.9, start)
    assert found == pytest.approx(expected, abs=1e-6)


def test_the_result_names_its_method() -> None:
    tau, first, second, start = world(1)
    assert worst_case_regret(first, second, tau, 0.9, start).method == "enumeration"
    found = worst_case_regret(first, second, tau, 0.9, start, policies=[np.zeros(4, int), np.ones(4, int)])
    assert found.method == "given policies"
    assert repr(found).endswith("'given policies')")
    copy = pickle.loads(pickle.dumps(found))
    assert (float(copy), copy.method) == (float(found), found.method)
    generator = np.random.default_rng(0)
    for states, method in ((40, "linear program"), (1100, "dual")):
        thin = random_sparse_transitions(states, 2, generator)
        pairs = generator.normal(size=(states, 2))
        near = pairs + 0.1 * generator.normal(size=(states, 2))
        found = worst_case_regret(pairs, near, thin, 0.9, np.full(states, 1 / states))
        assert found.method == method
        assert 0 < found < 0.5


def test_states_that_are_never_reached_do_not_count() -> None:
    tau = np.zeros((2, 2, 2))
    tau[0, :, 0] = tau[1, :, 1] = 1
    first, second = np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([[1.0, 0.0], [0.0, 1.0]])
    for method in ("enumeration", "linear program", "dual"):
        assert worst_case_regret(first, second, tau, 0.9, [1.0, 0.0], method=method) == pytest.approx(0, abs=1e-9)
        assert worst_case_regret(first, second, tau, 0.9, [0.5, 0.5], method=method) > 0.4


def test_errors_name_what_was_expected() -> None:
    with pytest.raises(ValueError, match="method is 'guess'"):
        worst_case_regret(R, R3, TAU, 0.5, START, method="guess")
    with pytest.raises(ValueError, match="mu0"):
        worst_case_regret(R, R3, TAU, 0.5, [1.0, 1.0])
    with pytest.raises(ValueError, match="gamma"):
        worst_case_regret(R, R3, TAU, 1.0, START)
    with pytest.raises(ValueError, match="policies is empty"):
        worst_case_regret(R, R3, TAU, 0.5, START, policies=[])
    with pytest.raises(ValueError, match="two equal lengths"):
        pairwise_regret([1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="more than the limit"):
        deterministic_returns((R,), TAU, 0.5, START, limit=3)
