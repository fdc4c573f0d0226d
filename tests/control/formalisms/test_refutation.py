"""Certificates that orderings cannot be stated: they verify, break when touched, and are found where they should be."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guerdon.control.formalisms import (
    Certificate,
    FiniteMDP,
    Formalism,
    LimitAverage,
    MarkovReward,
    RegularisedReward,
    equivalence_classes,
    levels,
    negative_entropy,
    next_is,
    refute,
    smallest_formalisms,
)
from guerdon.control.formalisms.random_objectives import (
    random_environment,
    random_episodic,
    random_objective,
    random_policies,
)
from guerdon.control.formalisms.refutation import Combination, Indistinguishable, NoSubset, ThreeLevels, is_episodic
from guerdon.control.formalisms.witnesses import arm_policy, bandit, detour, detour_policy
from guerdon.control.worlds.xor_chain import xor_chain, xor_machine, xor_policy

MIXTURES = [arm_policy(1, 0), arm_policy(0.5, 0.5), arm_policy(0, 1)]
CORNERS = [xor_policy(first, second) for first in (0, 1) for second in (0, 1)]
XOR = (0.0, 1.0, 1.0, 0.0)


def found(policies: list[np.ndarray], order: tuple[float, ...], formalism: Formalism, env: FiniteMDP) -> Certificate:  # type: ignore[type-arg]
    certificate = refute(policies, order, formalism, env)
    assert certificate is not None
    assert certificate.verify()
    return certificate


def test_worked_bandit() -> None:
    for formalism in (Formalism.MR, Formalism.RM, Formalism.FTR, Formalism.INMR, Formalism.LTL):
        certificate = found(MIXTURES, (0.0, 1.0, 0.0), formalism, bandit(2))
        assert certificate.scope == "for all discounts"
    proof = found(MIXTURES, (0.0, 1.0, 0.0), Formalism.FTR, bandit(2)).proofs[None]
    assert isinstance(proof, Combination)
    # .5 (middle - left) + .5 (middle - right) = 0, where the tie of both ends takes up what is left.
    total = np.zeros(3)
    for pairs, weights in ((proof.better, proof.weights), (proof.tied, proof.tie_weights)):
        for (one, two), weight in zip(pairs, weights, strict=True):
            total[one] += weight
            total[two] -= weight
    assert total / total[1] == pytest.approx([-0.5, 1, -0.5])
    for formalism in (Formalism.RRL, Formalism.ONMR, Formalism.FTLR, Formalism.PO):
        assert refute(MIXTURES, (0.0, 1.0, 0.0), formalism, bandit(2)) is None


def test_worked_xor_chain() -> None:
    env = xor_chain()
    assert levels(xor_machine(), env, CORNERS) == XOR
    for formalism in (Formalism.MR, Formalism.RRL, Formalism.LAR):
        assert found(CORNERS, XOR, formalism, env).scope == "for all discounts"
    for formalism in (Formalism.RM, Formalism.FTR, Formalism.LTL, Formalism.ONMR, Formalism.PO):
        assert refute(CORNERS, XOR, formalism, env) is None
    assert set(smallest_formalisms(CORNERS, XOR, env)) == {Formalism.ONMR, Formalism.RM, Formalism.LTL}
    # One level for each policy is a sum, which a Markov reward states.
    assert smallest_formalisms(CORNERS, (0.0, 1.0, 2.0, 3.0), env) == (Formalism.MR,)


@pytest.mark.parametrize("formalism", [Formalism.MR, Formalism.RRL])
def test_a_touched_coefficient_breaks_a_certificate(formalism: Formalism) -> None:
    certificate = found(CORNERS, XOR, formalism, xor_chain())
    proof = certificate.proofs[None]
    assert isinstance(proof, Combination)
    for name in ("weights", "tie_weights"):
        for index in range(len(getattr(proof, name))):
            values = getattr(proof, name).copy()
            values[index] += 0.01
            touched = dataclasses.replace(proof, **{name: values})
            assert not dataclasses.replace(certificate, proofs={None: touched}).verify()
    assert not dataclasses.replace(
        certificate, proofs={None: dataclasses.replace(proof, weights=-proof.weights)}
    ).verify()
    assert not dataclasses.replace(
        certificate, proofs={None: dataclasses.replace(proof, weights=0 * proof.weights)}
    ).verify()
    assert not dataclasses.replace(certificate, order=(0.0, 1.0, 2.0, 0.0)).verify()
    moved = (*certificate.policies[:3], xor_policy(1, 0.5))
    assert not dataclasses.replace(certificate, policies=moved).verify()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([Formalism.MR, Formalism.LAR, Formalism.RRL]), st.booleans())
def test_what_a_formalism_states_is_never_refuted_in_it(seed: int, formalism: Formalism, episodic: bool) -> None:
    generator = np.random.default_rng(seed)
    env = random_episodic(generator) if episodic else random_environment(generator)
    spec = random_objective(formalism, env, generator)
    policies = list(random_policies(env, 6, generator))
    gammas = (getattr(spec, "gamma", 0.5),)
    assert refute(policies, levels(spec, env, policies), formalism, env, gammas) is None


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([members[0] for members in equivalence_classes()]))
def test_no_class_is_refuted_by_what_it_states_on_episodes(seed: int, formalism: Formalism) -> None:
    generator = np.random.default_rng(seed)
    env = random_episodic(generator)
    spec = random_objective(formalism, env, generator)
    policies = list(random_policies(env, 6, generator))
    assert refute(policies, levels(spec, env, policies), formalism, env, (getattr(spec, "gamma", 0.5),)) is None


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_refuted_orders_have_a_certificate_and_others_a_reward(seed: int) -> None:
    """Against a margin program that looks for the weights themselves."""
    from scipy.optimize import linprog

    from guerdon.control.mdp import occupancy

    generator = np.random.default_rng(seed)
    env = random_environment(generator, states=2)
    policies = list(random_policies(env, 6, generator))
    order = tuple(float(level) for level in generator.integers(0, 3, 6))
    certificate = refute(policies, order, Formalism.MR, env, (0.7,))
    visits = np.array([occupancy(env.tau, 0.7, pi, env.mu0).ravel() for pi in policies])
    above = [visits[j] - visits[i] for i, j in itertools.permutations(range(6), 2) if order[i] > order[j]]
    ties = [visits[i] - visits[j] for i, j in itertools.combinations(range(6), 2) if order[i] == order[j]]
    program = linprog(
        np.zeros(4),
        A_ub=np.array(above).reshape(-1, 4),
        b_ub=-np.ones(len(above)),
        A_eq=np.array(ties).reshape(-1, 4) if ties else None,
        b_eq=np.zeros(len(ties)) if ties else None,
        bounds=(None, None),
    )
    assert (certificate is None) == (program.status == 0)
    if certificate is not None:
        assert certificate.verify()
        assert certificate.scope == "for the tested discounts 0.7"


def test_a_refutation_at_one_discount_is_not_one_of_all() -> None:
    """Which of two delays is better depends on the discount."""
    env = detour()
    policies = [detour_policy(go, good) for go, good in ((0.3, 1.0), (1.0, 0.8), (1.0, 1.0))]
    spec = MarkovReward(np.array([0.0, 0.0, 1.0, 0.0]), 0.95)
    order = levels(spec, env, policies)
    assert order == (1.0, 0.0, 2.0)
    assert refute(policies, order, Formalism.MR, env) is None
    # A reward of pairs may pay anything on the way, so that one discount is no less than another here.
    slow = (0.0, 1.0, 2.0)
    assert refute(policies, slow, Formalism.MR, env, (0.1,)) is None


def test_the_same_lottery_cannot_be_told_apart() -> None:
    tau = np.zeros((2, 2, 2))
    tau[0, :, 0] = tau[1, :, 1] = 1
    env = FiniteMDP(tau, [1.0, 0.0])
    policies = [np.array([[1.0, 0.0], row]) for row in ([1.0, 0.0], [0.0, 1.0])]
    for formalism in (Formalism.TLO, Formalism.OMO, Formalism.FTLR, Formalism.ONMR):
        certificate = found(policies, (0.0, 1.0), formalism, env)
        assert isinstance(certificate.proofs[None], Indistinguishable)
    assert refute(policies, (0.0, 1.0), Formalism.FPR, env) is None
    assert smallest_formalisms(policies, (0.0, 1.0), env) == (Formalism.FPR,)
    twice = [policies[0], policies[0]]
    assert found(twice, (0.0, 1.0), Formalism.PO, env).verify()
    assert smallest_formalisms(twice, (0.0, 1.0), env) == ()
    broken = dataclasses.replace(certificate, order=(1.0, 1.0))
    assert not broken.verify()


def test_a_formula_has_two_levels_of_sure_trajectories() -> None:
    env = bandit(3)
    arms = [arm_policy(*row) for row in np.eye(3)]
    certificate = found(arms, (0.0, 1.0, 2.0), Formalism.LTL, env)
    assert isinstance(certificate.proofs[None], ThreeLevels)
    assert not dataclasses.replace(certificate, order=(0.0, 1.0, 1.0)).verify()
    assert refute(arms, (0.0, 1.0, 1.0), Formalism.LTL, env) is None
    assert refute(arms, (0.0, 1.0, 2.0), Formalism.MR, env) is None
    # Mixtures: weights of 0 and 1 alone give these four no such order, though other weights do.
    mixed = [arm_policy(0.5, 0.3, 0.2), arm_policy(0.45, 0.55, 0.0), arm_policy(0.2, 0.2, 0.6)]
    orders = list(itertools.permutations((0.0, 1.0, 2.0)))
    refuted = [refute(mixed, order, Formalism.LTL, env) for order in orders]
    kinds = {type(each.proofs[None]) for each in refuted if each is not None}
    assert kinds <= {NoSubset, Combination}
    for order, each in zip(orders, refuted, strict=True):
        values = np.array(mixed)[:, 0] @ np.array(list(itertools.product((0, 1), repeat=3))).T
        steps = np.diff(values[np.argsort(order)], axis=0)
        assert (each is None) == bool((steps > 1e-8).all(axis=0).any())
        assert each is None or each.verify()


def test_limit_averages_do_not_see_transients() -> None:
    tau = np.zeros((2, 2, 2))
    tau[0, 0], tau[0, 1, 1] = [0.9, 0.1], 1
    tau[1, :, 1] = 1
    env = FiniteMDP(tau, [1.0, 0.0])
    policies = [np.array([row, [1.0, 0.0]]) for row in ([1.0, 0.0], [0.0, 1.0])]
    for spec in (MarkovReward([0.0, 1.0], 0.5), next_is(env, [1])):
        assert levels(spec, env, policies) == (0.0, 1.0)
    found(policies, (0.0, 1.0), Formalism.LAR, env)
    assert levels(LimitAverage([0.0, 1.0]), env, policies) == (0.0, 0.0)


def test_levels_are_dense_and_ties_share_them() -> None:
    spec = RegularisedReward(np.zeros(2), 1.0, negative_entropy, 0.9)
    arms = [arm_policy(p, 1 - p) for p in (0.5, 0.0, 0.9, 1.0, 0.1)]
    assert levels(spec, bandit(2), arms) == (2.0, 0.0, 1.0, 0.0, 1.0)


def test_empty_and_flat_orders_are_stated_by_all() -> None:
    env = bandit(2)
    for formalism in Formalism:
        assert refute([], [], formalism, env) is None
        assert refute(MIXTURES[:1], [3.0], formalism, env) is None
        assert refute(MIXTURES, [1.0, 1.0, 1.0], formalism, env) is None
    weakest = set(smallest_formalisms(MIXTURES, [1.0] * 3, env))
    assert weakest == {Formalism.MR, Formalism.LAR, Formalism.LTL}


def test_which_environments_are_episodes() -> None:
    assert is_episodic(bandit(2))
    assert is_episodic(xor_chain())
    assert is_episodic(random_episodic(np.random.default_rng(0)))
    assert not is_episodic(detour())
    assert not is_episodic(random_environment(np.random.default_rng(0)))


def test_errors_name_what_was_expected() -> None:
    env = bandit(2)
    with pytest.raises(ValueError, match="order: 3 levels"):
        refute(MIXTURES, (0.0, 1.0), Formalism.MR, env)
    with pytest.raises(ValueError, match="none of them NaN"):
        refute(MIXTURES, (0.0, 1.0, float("nan")), Formalism.MR, env)
    with pytest.raises(ValueError, match="gamma"):
        refute(MIXTURES, (0.0, 1.0, 0.0), Formalism.MR, env, (1.0,))
