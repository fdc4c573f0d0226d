"""STARC's canonical forms, norms and distances: the worked example, what they look through, and slow references."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.optimize import minimize

from guerdon.control.mdp import Array, expected_reward, occupancy, policy_return, policy_value
from guerdon.control.random_mdps import random_reward, random_transitions, redistribute
from guerdon.control.starc import (
    CANONICALISATIONS,
    Norm,
    as_norm,
    canon_dard,
    canon_epic,
    canon_minimal_l2,
    canon_minimal_potential,
    canon_val,
    canon_val_potential,
    canonical_form,
    epic_distance,
    norm_of,
    shaped,
    standardised,
    starc_distance,
    starc_matrix,
)

TAU = np.array([[[1.0, 0.0], [0.0, 1.0]], [[0.5, 0.5], [0.0, 1.0]]])
R = np.array([[[1.0, 0.0], [0.0, 2.0]], [[4.0, 0.0], [0.0, -1.0]]])
R2 = np.array([[[1.0, -5.0], [-1.0, -1.0]], [[18.0, 0.0], [7.0, 1.0]]])
R3 = np.broadcast_to([0.0, 1.0], (2, 2, 2))
GAMMA = 0.5
seeds = st.integers(0, 10_000)
STARC = ("val", "minimal", "minimal-tau")
NORMS = (1, 2, np.inf, 3.5, "tau-1", "tau-2", "tau-inf")


def world(seed: int, states: int = 5, actions: int = 3) -> tuple[Array, list[Array]]:
    """Transitions, some of which cannot happen, and three rewards."""
    generator = np.random.default_rng(seed)
    tau = random_transitions(states, actions, generator)
    tau = np.where(tau < 1e-6, 0.0, tau)
    tau /= tau.sum(axis=2, keepdims=True)
    return tau, [random_reward(states, actions, 0.9, generator, sparse_share=0.0) for _ in range(3)]


def sparsely(table: Array) -> sparse.csr_matrix:
    return sparse.csr_matrix(table.reshape(-1, table.shape[-1]))


def relative(reward: Array, tau: Array, gamma: float, seed: int) -> Array:
    """A shaped, redistributed and scaled copy."""
    generator = np.random.default_rng(seed)
    copy = redistribute(shaped(reward, 3 * generator.normal(size=len(tau)), gamma), tau, generator, size=4.0)
    return copy * generator.uniform(0.1, 10)


def test_worked_values_and_advantages() -> None:
    np.testing.assert_allclose(policy_value(R, TAU, GAMMA), [17 / 7, 9 / 7])
    val = canon_val(R, TAU, GAMMA)
    np.testing.assert_allclose(val[:, :, 0], [[-0.214286, 0.214286], [1.642857, -1.642857]], atol=1e-6)
    np.testing.assert_array_equal(val[:, :, 0], val[:, :, 1])
    assert norm_of(val, TAU, 2) == pytest.approx(3.313547, abs=1e-6)
    minimal = canon_minimal_l2(R, TAU, GAMMA)
    rows = [[[-0.276596, 0], [0, 0.595745]], [[0.914894, 0.914894], [0, -2.148936]]]
    np.testing.assert_allclose(minimal, rows, atol=1e-6)
    assert norm_of(minimal, TAU, 2) == pytest.approx(2.592953, abs=1e-6)


def test_worked_distances() -> None:
    moved = 2 * shaped(R, [1.0, -3.0], GAMMA)
    moved[1, 0] += [3, -3]
    np.testing.assert_array_equal(moved, R2)
    assert starc_distance(R, R2, TAU, GAMMA) == pytest.approx(0, abs=1e-12)
    assert starc_distance(R, R2, TAU, GAMMA, "epic") == pytest.approx(0.270533, abs=1e-6)
    np.testing.assert_allclose(policy_value(R3, TAU, GAMMA), [8 / 7, 10 / 7])
    np.testing.assert_allclose(canon_val(R3, TAU, GAMMA)[:, :, 0], np.array([[-4, 4], [-2, 2]]) / 7)
    for canon, expected in (("val", 1.629584), ("minimal", 1.611418), ("epic", 1.635886)):
        assert starc_distance(R, R3, TAU, GAMMA, canon) == pytest.approx(expected, abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(seeds, st.sampled_from(STARC), st.sampled_from(NORMS), st.sampled_from([0.0, 0.5, 0.9]))
def test_what_never_changes_the_order_of_policies_is_no_distance(
    seed: int, canon: str, norm: float | str, gamma: float
) -> None:
    tau, (reward, other, third) = world(seed)
    assert starc_distance(reward, relative(reward, tau, gamma, seed), tau, gamma, canon, norm, norm) < 1e-8
    assert starc_distance(reward, -reward, tau, gamma, canon, norm, norm) == pytest.approx(2)
    found = starc_matrix((reward, other, third), tau, gamma, canon, norm, norm)
    assert (found <= 2 + 1e-12).all()
    assert (found == found.T).all()
    assert (np.diag(found) == 0).all()
    assert found[0, 1] > 1e-3
    assert found[0, 2] <= found[0, 1] + found[1, 2] + 1e-12
    assert starc_distance(reward, 7.0 + 0 * reward, tau, gamma, canon, norm, norm) == pytest.approx(1)
    assert starc_distance(0 * reward, 7.0 + 0 * reward, tau, gamma, canon, norm, norm) == 0


@settings(max_examples=25, deadline=None)
@given(seeds, st.sampled_from(CANONICALISATIONS))
def test_canonical_forms_are_linear_and_stay_where_they_are(seed: int, canon: str) -> None:
    tau, (reward, other, _) = world(seed)

    def form(given_reward: Array) -> Array:
        found: Array = canonical_form(given_reward, tau, 0.9, canon)
        return found if found.ndim == 3 else np.repeat(found[:, :, None], 5, axis=2)

    np.testing.assert_allclose(form(2 * reward - 3 * other), 2 * form(reward) - 3 * form(other), atol=1e-7)
    if canon != "dard":  # its last term is no potential
        np.testing.assert_allclose(form(form(reward)), form(reward), atol=1e-7)


@settings(max_examples=25, deadline=None)
@given(seeds)
def test_older_forms_look_through_shaping_only(seed: int) -> None:
    tau, (reward, _, _) = world(seed)
    generator = np.random.default_rng(seed)
    same = 3 * shaped(reward, generator.normal(size=5), 0.9)
    moved = redistribute(reward, tau, generator, size=float(reward.std()))
    for canon in ("val-potential", "minimal-potential", "epic", "dard"):
        assert starc_distance(reward, same, tau, 0.9, canon) == pytest.approx(0, abs=1e-7)
        assert starc_distance(reward, moved, tau, 0.9, canon) > 0.05
    assert starc_distance(reward, same, tau, 0.9, "none") > 0.01


@settings(max_examples=20, deadline=None)
@given(seeds, st.sampled_from([0.0, 0.9]))
def test_val_shifts_all_returns_by_one_number_and_has_no_value(seed: int, gamma: float) -> None:
    tau, (reward, _, _) = world(seed)
    generator = np.random.default_rng(seed)
    pi = generator.dirichlet(np.ones(3), 5)
    start = generator.dirichlet(np.ones(5))
    form = canon_val(reward, tau, gamma, pi)
    np.testing.assert_allclose(policy_value(form, tau, gamma, pi), 0, atol=1e-8)
    for other in (canon_val(reward, tau, gamma), form, canon_minimal_l2(reward, tau, gamma)):
        gaps = [
            policy_return(reward, tau, gamma, policy, start) - policy_return(other, tau, gamma, policy, start)
            for policy in generator.dirichlet(np.ones(3), (20, 5))
        ]
        np.testing.assert_allclose(gaps, gaps[0], atol=1e-7)


@settings(max_examples=20, deadline=None)
@given(seeds, st.sampled_from([0.3, 0.9]))
def test_the_minimal_form_is_the_shortest_of_its_class(seed: int, gamma: float) -> None:
    tau, (reward, _, _) = world(seed)
    generator = np.random.default_rng(seed)
    form, weighted = (canon_minimal_l2(reward, tau, gamma, weighted=flag) for flag in (False, True))
    potential = canon_minimal_potential(reward, tau, gamma)
    for size in (0.01, 1.0):
        phi = size * generator.normal(size=5)
        near = redistribute(shaped(form, phi, gamma), tau, generator, size=size)
        assert norm_of(form, tau, 2) <= norm_of(near, tau, 2)
        near = redistribute(shaped(weighted, phi, gamma), tau, generator, size=size)
        assert norm_of(weighted, tau, "tau-2") <= norm_of(near, tau, "tau-2")
        assert norm_of(potential, tau, 2) <= norm_of(shaped(potential, phi, gamma), tau, 2)
    assert norm_of(form, tau, 2) <= norm_of(canon_val(reward, tau, gamma), tau, 2) + 1e-9
    assert norm_of(potential, tau, 2) <= norm_of(canon_val_potential(reward, tau, gamma), tau, 2) + 1e-9


def test_the_minimal_form_is_what_descent_finds() -> None:
    tau, (reward, _, _) = world(1, 4, 2)
    mean = expected_reward(reward, tau)

    def length(phi: Array) -> float:
        gaps = mean + 0.9 * tau @ phi - phi[:, None]
        return float((gaps**2 / (tau**2).sum(axis=2)).sum())

    found = minimize(length, np.zeros(4), method="BFGS", options={"gtol": 1e-10})
    assert norm_of(canon_minimal_l2(reward, tau, 0.9), tau, 2) == pytest.approx(found.fun**0.5, rel=1e-6)

    def shaped_length(phi: Array) -> float:
        return float((shaped(reward, phi, 0.9) ** 2).sum())

    found = minimize(shaped_length, np.zeros(4), method="BFGS", options={"gtol": 1e-8})
    assert norm_of(canon_minimal_potential(reward, tau, 0.9), tau, 2) == pytest.approx(found.fun**0.5, rel=1e-6)

    def likely_length(phi: Array) -> float:
        return float((tau * shaped(reward, phi, 0.9) ** 2).sum())

    found = minimize(likely_length, np.zeros(4), method="BFGS", options={"gtol": 1e-8})
    form = canon_minimal_potential(reward, tau, 0.9, weighted=True)
    assert norm_of(form, tau, "tau-2") == pytest.approx(found.fun**0.5, rel=1e-6)


def test_epic_is_what_slow_loops_give() -> None:
    """The expectations one by one, over every independent draw, as the formula reads."""
    generator = np.random.default_rng(0)
    states, actions, gamma = 3, 2, 0.7
    reward = generator.normal(size=(states, actions, states))
    ds, da = generator.dirichlet(np.ones(states)), generator.dirichlet(np.ones(actions))
    found = canon_epic(reward, gamma, ds, da)
    for s, a, t in itertools.product(range(states), range(actions), range(states)):
        total = reward[s, a, t]
        for draw, act, after in itertools.product(range(states), range(actions), range(states)):
            law = ds[draw] * da[act] * ds[after]
            total += law * (gamma * reward[t, act, after] - reward[s, act, after] - gamma * reward[draw, act, after])
        assert found[s, a, t] == pytest.approx(total)


def test_dard_is_what_slow_loops_give() -> None:
    tau, (reward, _, _) = world(0, 3, 2)
    da = np.array([0.3, 0.7])
    found = canon_dard(reward, tau, 0.9, da)
    for s, a, t in itertools.product(range(3), range(2), range(3)):
        total = reward[s, a, t]
        for act, near, far in itertools.product(range(2), range(3), range(3)):
            law = da[act] * tau[s, act, near] * tau[t, act, far]
            total += law * (0.9 * reward[t, act, far] - reward[s, act, near] - 0.9 * reward[near, act, far])
        assert found[s, a, t] == pytest.approx(total)


def test_the_published_epic_distance_is_half_the_distance_of_its_forms() -> None:
    _, (first, second, _) = world(2)
    assert epic_distance(first, second, 0.9) == pytest.approx(
        starc_distance(first, second, world(2)[0], 0.9, "epic") / 2
    )
    assert epic_distance(first, 5 * shaped(first, np.arange(5.0), 0.9), 0.9) == pytest.approx(0, abs=1e-7)
    assert epic_distance(first, -first, 0.9) == pytest.approx(1)
    assert np.isnan(epic_distance(first, np.ones((5, 3, 5)), 0.9))


def test_the_published_epic_distance_is_a_correlation_of_draws() -> None:
    generator = np.random.default_rng(0)
    ds, da = generator.dirichlet(np.ones(4)), generator.dirichlet(np.ones(2))
    first, second = generator.normal(size=(2, 4, 2, 4))
    s, a, t = generator.choice(4, 200_000, p=ds), generator.choice(2, 200_000, p=da), generator.choice(4, 200_000, p=ds)
    forms = [canon_epic(reward, 0.8, ds, da)[s, a, t] for reward in (first, second)]
    rho = np.corrcoef(*forms)[0, 1]
    assert epic_distance(first, second, 0.8, ds, da) == pytest.approx(((1 - rho) / 2) ** 0.5, abs=0.01)


@settings(max_examples=15, deadline=None)
@given(seeds)
def test_no_distance_means_one_order_of_all_policies(seed: int) -> None:
    tau, (reward, other, _) = world(seed, 3, 2)
    generator = np.random.default_rng(seed)
    start = generator.dirichlet(np.ones(3))
    visits = [
        occupancy(tau, 0.9, policy, start) for policy in [*generator.dirichlet(np.ones(2), (40, 3)), *np.eye(2)[
            np.array(list(itertools.product(range(2), repeat=3)))
        ]]
    ]  # fmt: skip

    def returns(given_reward: Array) -> Array:
        mean = expected_reward(given_reward, tau)
        return np.array([(visit * mean).sum() for visit in visits])

    same = relative(reward, tau, 0.9, seed)
    assert starc_distance(reward, same, tau, 0.9) < 1e-8
    first, second = returns(reward), returns(same)
    signs = np.sign((first[:, None] - first) * (second[:, None] - second))
    assert (signs[np.abs(first[:, None] - first) > 1e-6] == 1).all()
    assert starc_distance(reward, other, tau, 0.9) > 1e-3
    third = returns(other)
    assert ((first[:, None] - first) * (third[:, None] - third) < 0).any()


@pytest.mark.parametrize("norm", NORMS)
def test_norms_are_sums_of_powers(norm: float | str) -> None:
    tau, (reward, _, _) = world(3)
    kind = as_norm(norm)
    assert kind is not None
    total, largest = 0.0, 0.0
    for s, a, t in itertools.product(range(5), range(3), range(5)):
        weight = tau[s, a, t] if kind.weighted else 1.0
        if weight > 0:
            largest = max(largest, abs(reward[s, a, t]))
            total += weight * abs(reward[s, a, t]) ** (kind.p if np.isfinite(kind.p) else 1)
    expected = largest if np.isinf(kind.p) else total ** (1 / kind.p)
    assert norm_of(reward, tau, norm) == pytest.approx(expected)
    table = reward[:, :, 0]
    copies = np.repeat(table[:, :, None], 5, axis=2)
    assert norm_of(table, tau, norm) == pytest.approx(norm_of(copies, tau, norm))
    assert norm_of(sparsely(reward), tau, norm) == pytest.approx(expected)
    assert norm_of(reward, sparsely(tau), norm) == pytest.approx(expected)
    assert norm_of(sparsely(reward), sparsely(tau), norm) == pytest.approx(expected)


def test_norms_may_differ_and_may_be_left_out() -> None:
    first, second = (canon_val(reward, TAU, GAMMA) for reward in (R, R3))
    gap = first / np.abs(first).sum() - second / np.abs(second).sum()
    assert starc_distance(R, R3, TAU, GAMMA, n=1, m=2) == pytest.approx(float(np.sqrt((gap**2).sum())))
    raw = float(np.abs(first - second).max())
    assert starc_distance(R, R3, TAU, GAMMA, n="none", m=np.inf) == pytest.approx(raw)
    assert starc_distance(R, R3, TAU, GAMMA, n=None, m=np.inf) == pytest.approx(raw)


@pytest.mark.parametrize("canon", ["val", "minimal", "minimal-tau"])
@pytest.mark.parametrize("norm", NORMS)
def test_rewards_of_what_cannot_happen_do_not_count(canon: str, norm: float | str) -> None:
    tau, (reward, other, _) = world(4)
    assert (tau == 0).any()
    wild = np.where(tau > 0, reward, 1e12 * np.random.default_rng(0).normal(size=tau.shape))
    expected = starc_distance(reward, other, tau, 0.9, canon, norm, norm)
    assert starc_distance(wild, other, tau, 0.9, canon, norm, norm) == expected
    broken = np.where(tau > 0, reward, np.nan)
    assert starc_distance(broken, other, tau, 0.9, canon, norm, norm) == expected


def test_potential_forms_do_not_see_what_cannot_happen_in_weighted_norms() -> None:
    tau, (reward, other, _) = world(4)
    wild = np.where(tau > 0, reward, 1e6)
    for canon in ("val-potential", "none"):
        for norm in ("tau-1", "tau-2", "tau-inf"):
            expected = starc_distance(reward, other, tau, 0.9, canon, norm, norm)
            assert starc_distance(wild, other, tau, 0.9, canon, norm, norm) == pytest.approx(expected)
        assert starc_distance(wild, other, tau, 0.9, canon) != pytest.approx(
            starc_distance(reward, other, tau, 0.9, canon)
        )


@pytest.mark.parametrize("canon", STARC)
@pytest.mark.parametrize("norm", NORMS)
def test_sparse_equals_dense(canon: str, norm: float | str) -> None:
    tau, (reward, other, _) = world(5, 7, 2)
    expected = starc_distance(reward, other, tau, 0.9, canon, norm, norm)
    thin = sparsely(tau)
    for first, second in ((reward, other), (sparsely(reward), sparsely(other))):
        assert starc_distance(first, second, thin, 0.9, canon, norm, norm) == pytest.approx(expected)
    pairs = [expected_reward(given_reward, tau) for given_reward in (reward, other)]
    assert starc_distance(pairs[0], sparsely(other), thin, 0.9, canon, norm, norm) == pytest.approx(expected)
    if canon == "minimal":
        dense = canon_minimal_l2(reward, tau, 0.9)
        np.testing.assert_allclose(canon_minimal_l2(reward, thin, 0.9), dense, atol=1e-8)


def test_many_states_need_no_dense_table() -> None:
    """(S, A, S) would be 72 GB here."""
    from guerdon.control.random_mdps import random_sparse_transitions

    generator = np.random.default_rng(0)
    states, actions = 30_000, 10
    tau = random_sparse_transitions(states, actions, generator, successors=3)
    pairs, of_states = generator.normal(size=(states, actions)), generator.normal(size=states)
    phi = generator.normal(size=states)
    same = 2 * (pairs + 0.9 * (tau @ phi).reshape(states, actions) - phi[:, None])
    found = starc_matrix((pairs, same, of_states), tau, 0.9)
    assert found[0, 1] < 1e-9
    assert found[0, 2] > 0.5


def test_rewards_of_states_pairs_and_transitions_mix() -> None:
    tau, (reward, _, _) = world(6)
    pairs = expected_reward(reward, tau)
    assert starc_distance(reward, pairs, tau, 0.9) == pytest.approx(0, abs=1e-12)
    assert starc_distance(np.arange(5.0), np.repeat(np.arange(5.0)[:, None], 3, axis=1), tau, 0.9, "epic") == 0
    assert starc_distance(pairs, reward, tau, 0.9, "none") > 0.1


def test_a_trivial_reward_has_no_direction() -> None:
    tau, (reward, other, _) = world(7)
    trivial = shaped(3.0 + np.zeros_like(reward), 1e3 * np.random.default_rng(0).normal(size=5), 0.9)
    assert (standardised(trivial, tau, 0.9) == 0).all()
    assert starc_distance(trivial, reward, tau, 0.9) == pytest.approx(1)
    assert starc_distance(trivial, 0 * reward, tau, 0.9) == 0
    assert starc_distance(1e-7 * reward, 1e7 * other, tau, 0.9) == pytest.approx(
        starc_distance(reward, other, tau, 0.9)
    )


def test_a_canonicalisation_of_ones_own() -> None:
    found = starc_distance(R, R3, TAU, GAMMA, lambda reward, tau, gamma: canon_val(reward, tau, gamma))
    assert found == pytest.approx(starc_distance(R, R3, TAU, GAMMA))
    weighted = starc_distance(R, R3, TAU, GAMMA, lambda reward, tau, gamma: canon_epic(reward, gamma, [0.9, 0.1]))
    assert weighted != pytest.approx(starc_distance(R, R3, TAU, GAMMA, "epic"))


def test_any_policy_canonicalises() -> None:
    for pi in ([[0.9, 0.1], [0.2, 0.8]], np.array([0, 1])):
        assert starc_distance(R, R2, TAU, GAMMA, pi=pi) == pytest.approx(0, abs=1e-12)
        assert starc_distance(R, R3, TAU, GAMMA, pi=pi) > 1


def test_errors_name_what_was_expected() -> None:
    with pytest.raises(ValueError, match="canon is 'vla'"):
        starc_distance(R, R3, TAU, GAMMA, "vla")
    with pytest.raises(ValueError, match=r"tau\[0, 0\]: probabilities must sum to 1"):
        starc_distance(R, R3, TAU * 0.5, GAMMA)
    with pytest.raises(ValueError, match="R: shape"):
        starc_distance(R, R3[:, :1], TAU, GAMMA)
    with pytest.raises(ValueError, match="pi"):
        starc_distance(R, R3, TAU, GAMMA, pi=[[0.5, 0.6], [0.5, 0.5]])
    for gamma in (1.0, -0.1):
        for canon in CANONICALISATIONS:
            with pytest.raises(ValueError, match="gamma"):
                starc_distance(R, R3, TAU, gamma, canon)
    for norm in (0.5, "tau-0.5", "two", float("nan")):
        with pytest.raises(ValueError, match=r"norm is|p is"):
            starc_distance(R, R3, TAU, GAMMA, n=norm)
    with pytest.raises(ValueError, match="p >= 1"):
        Norm(0.9)
    with pytest.raises(ValueError, match="m is 'none'"):
        starc_distance(R, R3, TAU, GAMMA, m="none")
    with pytest.raises(ValueError, match="norm is 'none'"):
        norm_of(R, TAU, None)
    with pytest.raises(ValueError, match="form: shape"):
        norm_of(np.zeros(2), TAU)
    with pytest.raises(ValueError, match="fills every transition"):
        starc_distance(R, R3, sparsely(TAU), GAMMA, "epic")
    with pytest.raises(ValueError, match="ds: 2 probabilities"):
        canon_epic(R, GAMMA, ds=[0.5, 0.6])
    with pytest.raises(ValueError, match="R: shape"):
        canon_epic(R[0], GAMMA)
    with pytest.raises(ValueError, match="sparse reward of shape"):
        starc_distance(sparse.csr_matrix((3, 2)), R3, TAU, GAMMA, "none")
