"""Designed rewards: the worked example, what must hold of every optimum, and slow references."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from guerdon.control.designed_reward import (
    InfeasibleDesign,
    Original,
    ada_reward,
    check_invariance,
    exprd,
    exprd_greedy,
    informativeness,
    informativeness_coefficients,
)
from guerdon.control.mdp import Array, optimal, policy_return, q_values
from guerdon.control.random_mdps import random_transitions

GAMMA, HORIZONS = 0.9, (1, 2, 4)
seeds = st.integers(0, 10_000)


def chain() -> tuple[Array, Array]:
    """Places 0 to 3 and the end, 4; left and right, slip 0.1; right in the last place pays 1."""
    tau = np.zeros((5, 2, 5))
    for place in range(4):
        moved = np.eye(5)[[max(place - 1, 0), place + 1]]
        tau[place] = 0.9 * moved + 0.1 * moved.mean(axis=0)
    tau[4, :, 4] = 1
    reward = np.zeros((5, 2))
    reward[3, 1] = 1
    return tau, reward


TAU, RBAR = chain()


def world(seed: int, states: int = 5, actions: int = 3) -> tuple[Array, Array]:
    generator = np.random.default_rng(seed)
    reward = np.zeros((states, actions))
    reward[generator.integers(states)] = generator.uniform(0.5, 2, actions)
    return random_transitions(states, actions, generator), reward


def slow_informativeness(reward: Array, tau: Array, rbar: Array, gamma: float, horizons: tuple[int, ...]) -> float:
    best = optimal(rbar, tau, gamma)
    total = 0.0
    for horizon in horizons:
        q = q_values(reward, tau, gamma, best.policy, horizon)
        for state in range(len(rbar)):
            wrong = [action for action in range(rbar.shape[1]) if not best.actions[state, action]]
            if wrong:
                margin = min(best.values[state] - best.q[state, action] for action in wrong)
                total += max(max(0.0, margin - q[state, best.policy[state]] + q[state, each]) for each in wrong)
    return -total / len(horizons) / len(rbar)


def test_worked_values() -> None:
    original = Original.of(TAU, RBAR, GAMMA)
    expected = [[0.66998, 0.7401], [0.67454, 0.82666], [0.75367, 0.9279], [0.79336, 1.04176], [0.0, 0.0]]
    np.testing.assert_allclose(original.best.q, expected, atol=6e-6)
    np.testing.assert_allclose(original.margin, [0.07011, 0.15212, 0.17423, 0.2484, 0], atol=6e-6)
    assert original.goals == (3,)
    assert original.terminal.tolist() == [False, False, False, False, True]
    assert informativeness(RBAR, TAU, RBAR, GAMMA, HORIZONS) == pytest.approx(-0.041246, abs=1e-6)
    shaped = np.stack((-original.margin, np.zeros(5)), axis=1)
    assert informativeness(shaped, TAU, RBAR, GAMMA, HORIZONS) == pytest.approx(0, abs=1e-12)
    assert check_invariance(RBAR, TAU, RBAR, GAMMA) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("support", "value"),
    [
        ([3], -0.041246), ([3, 0], -0.021757), ([3, 1], -0.016289), ([3, 2], -0.019490), ([3, 1, 2], -0.004674),
        ([3, 1, 0], -0.011615), ([0, 1, 2, 3], 0.0),
    ],
)  # fmt: skip
def test_worked_supports(support: list[int], value: float) -> None:
    found = exprd(TAU, RBAR, GAMMA, support, HORIZONS)
    assert found.informativeness == pytest.approx(value, abs=1e-6)
    assert found.same_optimum
    assert found.violation <= 1e-5
    assert not np.delete(found.R, support, axis=0).any()
    assert np.abs(found.R).max() <= 10 + 1e-9


def test_worked_greedy_choice() -> None:
    assert [exprd_greedy(TAU, RBAR, GAMMA, budget, horizons=HORIZONS).support for budget in (1, 2, 3, 4)] == [
        (3,), (3, 1), (3, 1, 2), (3, 1, 2, 0),
    ]  # fmt: skip
    assert exprd_greedy(TAU, RBAR, GAMMA, 2, [0, 2], HORIZONS).support == (3, 2)
    assert exprd_greedy(TAU, RBAR, GAMMA, 9, [0, 2], HORIZONS).support == (3, 2, 0)


def test_worked_coefficients() -> None:
    best = optimal(RBAR, TAU, GAMMA)
    right = np.array([0.5, 0.4, 0.7, 0.8])
    pi = np.stack((1 - right, right), axis=1)
    advantage = (best.q - best.values[:, None])[:4]
    found = informativeness_coefficients(advantage, pi, [0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1])
    np.testing.assert_allclose(found[:, 1], [0.00035, 0.00105, 0.00092, 0.00051], atol=6e-6)
    np.testing.assert_allclose(found[:, 0], -found[:, 1], atol=1e-15)


@settings(max_examples=25, deadline=None)
@given(seeds, st.booleans())
def test_optima_are_feasible_and_no_less_informative(seed: int, state_only: bool) -> None:
    tau, rbar = world(seed)
    goals = list(Original.of(tau, rbar, 0.8).goals)
    before = informativeness(rbar, tau, rbar, 0.8, HORIZONS)
    assert before == pytest.approx(slow_informativeness(rbar, tau, rbar, 0.8, HORIZONS), abs=1e-12)
    narrow = exprd(tau, rbar, 0.8, goals, HORIZONS)
    assert narrow.informativeness >= before - 1e-7
    wide = exprd(tau, rbar, 0.8, range(5), HORIZONS)
    assert -1e-12 <= -wide.informativeness <= -narrow.informativeness + 1e-7
    for found in (narrow, wide):
        judged = slow_informativeness(found.R, tau, rbar, 0.8, HORIZONS)
        assert found.informativeness == pytest.approx(judged, abs=1e-12)
        assert found.same_optimum
        best, policy = optimal(rbar, tau, 0.8), optimal(found.R, tau, 0.8).policy
        assert best.actions[np.arange(5), policy].all()
        assert found.violation <= 1e-5 * max(1.0, float(best.values.max()))
    if state_only:
        try:
            alike = exprd(tau, rbar, 0.8, range(5), HORIZONS, state_only=True)
        except InfeasibleDesign:
            return
        np.testing.assert_array_equal(alike.R, np.repeat(alike.R[:, :1], 3, axis=1))
        assert alike.informativeness <= wide.informativeness + 1e-7


@settings(max_examples=10, deadline=None)
@given(seeds, st.floats(0.1, 10))
def test_optima_scale(seed: int, factor: float) -> None:
    tau, rbar = world(seed)
    goal, *_ = Original.of(tau, rbar, 0.8).goals
    support = {0, 1, goal}
    one = exprd(tau, rbar, 0.8, list(support), HORIZONS, rmax=3.0)
    other = exprd(tau, factor * rbar, 0.8, list(support), HORIZONS, rmax=3.0 * factor)
    assert other.informativeness == pytest.approx(factor * one.informativeness, abs=1e-6 * factor)


def test_no_random_reward_is_better() -> None:
    generator = np.random.default_rng(0)
    found = exprd(TAU, RBAR, GAMMA, [2, 3], HORIZONS).informativeness
    reached = []
    for _ in range(4000):
        reward = np.zeros((5, 2))
        reward[2:4] = generator.uniform(-1, 1, (2, 2))
        if check_invariance(reward, TAU, RBAR, GAMMA) <= 0:
            reached.append(informativeness(reward, TAU, RBAR, GAMMA, HORIZONS))
    assert len(reached) > 20
    assert max(reached) <= found + 1e-9


def test_a_broken_reward_is_seen() -> None:
    assert check_invariance(-RBAR, TAU, RBAR, GAMMA) > 0.2
    assert check_invariance(np.zeros((5, 2)), TAU, RBAR, GAMMA) == pytest.approx(0.2484, abs=1e-5)
    assert check_invariance(2 * RBAR, TAU, RBAR, GAMMA) == pytest.approx(0, abs=1e-12)


def test_sparse_transitions_and_features() -> None:
    dense = exprd(TAU, RBAR, GAMMA, [1, 3], HORIZONS)
    thin = exprd(sparse.csr_matrix(TAU.reshape(10, 5)), RBAR, GAMMA, [1, 3], HORIZONS)
    np.testing.assert_allclose(thin.R, dense.R)
    every = np.eye(10).reshape(5, 2, 10)
    free = exprd(TAU, RBAR, GAMMA, [1, 3], HORIZONS, features=every)
    assert free.informativeness == pytest.approx(dense.informativeness, abs=1e-8)
    assert not free.R[[0, 2, 4]].any()
    # One price for going left, wherever it is.
    shared = np.zeros((5, 2, 1))
    shared[:4, 0] = 1
    tied = exprd(TAU, RBAR, GAMMA, range(5), HORIZONS, features=shared)
    np.testing.assert_allclose(tied.R[:4, 0], tied.R[0, 0])
    assert tied.R[0, 0] < 0
    assert tied.same_optimum
    states = exprd(TAU, RBAR, GAMMA, range(5), HORIZONS, state_only=True, features=np.eye(5))
    alike = exprd(TAU, RBAR, GAMMA, range(5), HORIZONS, state_only=True)
    assert states.informativeness == pytest.approx(alike.informativeness, abs=1e-8)


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_adaptive_coefficients_and_optimum(seed: int) -> None:
    tau, rbar = world(seed)
    generator = np.random.default_rng(seed)
    pi, start = generator.dirichlet(np.ones(3), 5), generator.dirichlet(np.ones(5))
    kept = ada_reward(tau, rbar, 0.8, pi, start, 3.0)
    assert kept.same_optimum
    free = ada_reward(tau, rbar, 0.8, pi, start, 3.0, invariant=False)
    assert free.informativeness >= kept.informativeness - 1e-9
    assert free.informativeness >= -1e-12
    c = informativeness_coefficients(generator.normal(size=(5, 3)), pi, start, start)
    np.testing.assert_allclose(c.sum(axis=1), 0, atol=1e-14)
    table, added = generator.normal(size=(5, 3)), generator.normal(size=(5, 1))
    assert float((c * table).sum()) == pytest.approx(float((c * (table + added)).sum()), abs=1e-12)


def test_adaptive_value_is_the_first_order_gain_of_a_policy_step() -> None:
    """Two steps: the softmax follows the reward's own gradient in each state, and the advantage grows by c R."""
    generator = np.random.default_rng(1)
    pi, gain = generator.dirichlet(np.ones(3), 2), generator.normal(size=(2, 3))
    mu, nu, table = np.array([0.3, 0.7]), np.array([0.6, 0.4]), generator.normal(size=(2, 3))
    theta, tiny = np.log(pi), 1e-6
    step = nu[:, None] * pi * (table - (pi * table).sum(axis=1, keepdims=True))
    moved = np.exp(theta + tiny * step)
    moved /= moved.sum(axis=1, keepdims=True)
    grown = (mu[:, None] * (moved - pi) * gain).sum() / tiny
    value = float((informativeness_coefficients(gain, pi, mu, nu) * table).sum())
    assert value == pytest.approx(grown, rel=1e-4)


def test_without_invariance_the_adaptive_reward_is_at_its_bounds() -> None:
    start, pi = np.eye(5)[0], np.full((5, 2), 0.5)
    found = ada_reward(TAU, RBAR, GAMMA, pi, start, 2.0, invariant=False)
    np.testing.assert_allclose(found.R[:4], np.tile([-2.0, 2.0], (4, 1)))
    bound = ada_reward(TAU, RBAR, GAMMA, pi, start, 2.0, support=[2, 3])
    assert not bound.R[[0, 1, 4]].any()
    assert policy_return(RBAR, TAU, GAMMA, optimal(bound.R, TAU, GAMMA).policy, start) == pytest.approx(
        0.7401, abs=1e-5
    )


def test_a_world_without_a_choice_has_nothing_to_tell() -> None:
    found = exprd(TAU, np.zeros((5, 2)), GAMMA, [0], HORIZONS)
    assert found.informativeness == 0
    assert found.violation <= 1e-9


def test_infeasible_programs_are_named() -> None:
    with pytest.raises(InfeasibleDesign, match=r"on the 1 states \[0\] within 10"):
        exprd(TAU, RBAR, GAMMA, [0], HORIZONS)
    with pytest.raises(InfeasibleDesign, match=r"within 0\.01"):
        exprd_greedy(TAU, RBAR, GAMMA, 2, horizons=HORIZONS, rmax=0.01)
    assert issubclass(InfeasibleDesign, ValueError)


def test_greedy_goes_on_where_the_goal_alone_is_infeasible() -> None:
    with pytest.raises(InfeasibleDesign):
        exprd(TAU, RBAR, GAMMA, [3], HORIZONS, rmax=0.3)
    found = exprd_greedy(TAU, RBAR, GAMMA, 4, horizons=HORIZONS, rmax=0.3)
    assert found.same_optimum
    assert np.abs(found.R).max() <= 0.3 + 1e-9


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"support": []}, "support"),
        ({"support": [5]}, "0 to 4"),
        ({"support": [0.5]}, "support"),
        ({"rmax": 0.0}, "rmax"),
        ({"rmax": np.inf}, "rmax"),
        ({"gamma": 1.0}, "gamma"),
        ({"horizons": (0,)}, "horizons"),
        ({"horizons": ()}, "horizons"),
        ({"horizons": (1.5,)}, "horizons"),
        ({"T": TAU / 2}, "sum to 1"),
        ({"Rbar": np.zeros((5, 3))}, "R: shape"),
        ({"features": np.zeros((4, 2))}, "features"),
        ({"features": np.eye(10).reshape(5, 2, 10), "state_only": True}, "state_only"),
    ],
)
def test_mistakes_are_named(changed: dict[str, object], message: str) -> None:
    words: dict[str, object] = {"T": TAU, "Rbar": RBAR, "gamma": GAMMA, "support": [3], "horizons": HORIZONS, **changed}
    with pytest.raises(ValueError, match=message):
        exprd(**words)  # type: ignore[arg-type]


def test_greedy_and_adaptive_mistakes() -> None:
    with pytest.raises(ValueError, match="no state has a reward"):
        exprd_greedy(TAU, np.zeros((5, 2)), GAMMA, 3)
    with pytest.raises(ValueError, match="budget is 0"):
        exprd_greedy(TAU, RBAR, GAMMA, 0)
    with pytest.raises(ValueError, match="eps"):
        ada_reward(TAU, RBAR, GAMMA, np.full((5, 2), 0.5), np.eye(5)[0], eps=2.0)
    with pytest.raises(ValueError, match="mu_teacher"):
        informativeness_coefficients(np.zeros((2, 2)), np.full((2, 2), 0.5), [1.0], [1.0])
