"""Objectives stated in stronger formalisms keep the order of all policies."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from guerdon.control.formalisms import (
    FORMALISMS,
    Formalism,
    MarkovReward,
    NotExpressible,
    PolicyFunction,
    TrajectoryFunction,
    check_embedding,
    dominates,
    embed,
    embedding_path,
)
from guerdon.control.formalisms.random_objectives import random_episodic, random_objective, random_policies
from guerdon.control.formalisms.table import same_order
from guerdon.control.formalisms.witnesses import bandit

UP = [(lower, upper) for lower in FORMALISMS for upper in FORMALISMS if lower != upper and dominates(upper, lower)]
STEPS = [(lower, upper) for lower, upper in UP if len(embedding_path(lower, upper)) == 2]
NOT_UP = [(lower, upper) for lower in FORMALISMS for upper in FORMALISMS if not dominates(upper, lower)]


@pytest.mark.parametrize(("lower", "upper"), UP, ids=lambda each: each.name)
def test_every_pair_of_the_relation_embeds(lower: Formalism, upper: Formalism) -> None:
    assert check_embedding(lower, upper, seed=1, environments=3, policies=25)


@pytest.mark.slow
@pytest.mark.parametrize(("lower", "upper"), STEPS, ids=lambda each: each.name)
def test_two_hundred_policies_in_twenty_environments(lower: Formalism, upper: Formalism) -> None:
    """Every single construction; the others are made of these."""
    assert check_embedding(lower, upper, seed=2)


@pytest.mark.parametrize(("lower", "upper"), NOT_UP, ids=lambda each: each.name)
def test_what_is_not_dominated_is_refused(lower: Formalism, upper: Formalism) -> None:
    env = random_episodic(np.random.default_rng(0))
    spec = random_objective(lower, env, np.random.default_rng(1))
    with pytest.raises(NotExpressible, match=f"{upper.name} .* does not dominate {lower.name}"):
        embed(spec, upper, env)


def test_an_objective_is_itself() -> None:
    env = bandit(2)
    spec = MarkovReward(np.zeros(2), 0.5)
    assert embed(spec, Formalism.MR, env) is spec
    assert embedding_path(Formalism.RM, Formalism.RM) == [Formalism.RM]


def test_the_check_of_orders_can_fail() -> None:
    env = random_episodic(np.random.default_rng(0))
    policies = random_policies(env, 30, np.random.default_rng(1))
    spec = random_objective(Formalism.MR, env, np.random.default_rng(2))
    assert isinstance(spec, MarkovReward)
    opposite, flat = MarkovReward(-spec.reward, spec.gamma), MarkovReward(0 * spec.reward, spec.gamma)
    assert same_order(spec, spec, env, policies)
    for other in (opposite, flat, PolicyFunction(lambda pi: float(pi[0, 0]))):
        assert not same_order(spec, other, env, policies)
        assert not same_order(other, spec, env, policies)
    ordered = embed(spec, Formalism.PO, env)
    assert same_order(spec, ordered, env, policies)
    assert not same_order(opposite, ordered, env, policies)


def test_a_return_codes_the_trajectory() -> None:
    """Any function of trajectories is a function of one well-chosen return."""
    env = random_episodic(np.random.default_rng(3))
    spec = random_objective(Formalism.FTR, env, np.random.default_rng(4))
    coded = embed(spec, Formalism.INMR, env)
    assert isinstance(spec, TrajectoryFunction)
    for pi in random_policies(env, 5, np.random.default_rng(5)):
        assert coded.value(env, pi) == pytest.approx(spec.value(env, pi))  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="no trajectory"):
        coded.f(-1.0)  # type: ignore[attr-defined]


def test_values_of_machines_formulas_and_averages_are_kept_exactly() -> None:
    for seed, formalism in itertools.product(range(5), (Formalism.RM, Formalism.LTL, Formalism.LAR)):
        env = random_episodic(np.random.default_rng(seed))
        spec = random_objective(formalism, env, np.random.default_rng(seed))
        stated = embed(spec, Formalism.FTLR, env)
        for pi in random_policies(env, 8, np.random.default_rng(seed)):
            assert stated.value(env, pi) == pytest.approx(spec.value(env, pi), abs=1e-9)  # type: ignore[attr-defined]
