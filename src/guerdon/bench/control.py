"""Finite MDPs, distances of rewards, novelty and matching, against plain numpy loops and pyribs."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import sparse

from guerdon.bench.row import BenchRow, measure, measure_pair
from guerdon.control.matching import LeastLoad, configuration_lp, simulate, triangular
from guerdon.control.mdp import Array, expected_reward, optimal, policy_value, uniform_policy
from guerdon.control.novelty import novelty
from guerdon.control.random_mdps import random_reward, random_transitions
from guerdon.control.regret import deterministic_returns
from guerdon.control.starc import canon_epic, canon_val, starc_distance

GAMMA = 0.95
LOOP = "plain numpy loop"


def rows(quick: bool = False) -> list[BenchRow]:
    """Measure.

    Args:
        quick: Small sizes, few runs.
    """
    runs = 3 if quick else 7
    return [
        *_dense(16 if quick else 64, runs),
        *_sparse(quick, runs),
        *_policies(runs),
        *_novelty(quick, runs),
        *_matching(quick),
    ]


def _dense(states: int, runs: int) -> list[BenchRow]:
    actions = 4
    generator = np.random.default_rng(0)
    tau = random_transitions(states, actions, generator)
    reward, other = (random_reward(states, actions, GAMMA, generator) for _ in range(2))
    shape = (states, actions, states)
    uniform = uniform_policy(states, actions)

    def evaluate() -> Array:
        return policy_value(reward, tau, GAMMA, uniform)

    return [
        measure_pair("policy evaluation", shape, evaluate, LOOP, lambda: looped_values(reward, tau, GAMMA), runs),
        measure_pair("VAL", shape, lambda: canon_val(reward, tau, GAMMA), LOOP, lambda: looped_val(reward, tau), runs),
        measure_pair("EPIC", shape, lambda: canon_epic(reward, GAMMA), LOOP, lambda: looped_epic(reward), runs),
        measure_pair(
            "STARC distance",
            shape,
            lambda: starc_distance(reward, other, tau, GAMMA),
            LOOP,
            lambda: looped_distance(reward, other, tau),
            runs,
        ),
    ]


def _sparse(quick: bool, runs: int) -> list[BenchRow]:
    states, actions, reached = (500 if quick else 10_000), 10, 4
    generator = np.random.default_rng(0)
    columns = generator.integers(0, states, (states * actions, reached))
    weights = generator.dirichlet(np.ones(reached), states * actions)
    places = np.repeat(np.arange(states * actions), reached)
    tau = sparse.csr_matrix((weights.ravel(), (places, columns.ravel())), shape=(states * actions, states))
    first, second = (generator.normal(size=(states, actions)) for _ in range(2))
    shape = (states, actions)
    note = f"{reached} next states of each action; the aim is 30 s"
    return [
        BenchRow(
            "STARC distance, sparse", shape, measure(lambda: starc_distance(first, second, tau, GAMMA)), note=note
        ),
        BenchRow("optimal policy, sparse", shape, measure(lambda: optimal(first, tau, GAMMA)), note=note),
        measure_pair(
            "policy evaluation, sparse",
            shape,
            lambda: policy_value(first, tau, GAMMA),
            "value iteration to 1e-8",
            lambda: iterated_values(first, tau),
            runs,
        ),
    ]


def _policies(runs: int) -> list[BenchRow]:
    states, actions = 8, 3
    generator = np.random.default_rng(0)
    tau = random_transitions(states, actions, generator)
    reward = random_reward(states, actions, GAMMA, generator)
    start = np.full(states, 1 / states)

    def looped() -> list[float]:
        from guerdon.control.mdp import enumerate_policies

        mean = expected_reward(reward, tau)
        own = np.arange(states)
        return [
            float(start @ np.linalg.solve(np.eye(states) - GAMMA * tau[own, policy], mean[own, policy]))
            for policy in enumerate_policies(states, actions)
        ]

    ours: Callable[[], Any] = lambda: deterministic_returns([reward], tau, GAMMA, start)  # noqa: E731
    return [measure_pair("returns of all policies", (actions**states,), ours, LOOP, looped, runs)]


def _novelty(quick: bool, runs: int) -> list[BenchRow]:
    count = 2_000 if quick else 100_000
    generator = np.random.default_rng(0)
    known = generator.random((count, 2))
    asked = generator.random((1_000, 2))
    peer = None
    if importlib.util.find_spec("ribs") is not None:
        from ribs.archives import ProximityArchive

        archive = ProximityArchive(solution_dim=1, measure_dim=2, k_neighbors=15, novelty_threshold=0.0)
        archive.add(np.zeros((count, 1)), np.zeros(count), known)
        peer = lambda: archive.compute_novelty(asked)  # noqa: E731
    ours: Callable[[], Any] = lambda: novelty(asked, known, 15)  # noqa: E731
    note = "1,000 behaviours; ours builds its tree in each call"
    return [measure_pair("novelty", (count, 2), ours, "pyribs ProximityArchive", peer, runs, note)]


def _matching(quick: bool) -> list[BenchRow]:
    trials = 100 if quick else 10_000
    found = []
    for n in (3,) if quick else (5, 10, 15):
        instance = triangular(n, 1 / n)
        seconds = measure(lambda instance=instance: simulate(instance, LeastLoad(), trials, 0))  # type: ignore[misc]
        rate = f"{trials * instance.shape[1] / seconds:,.0f} arrivals a second"
        found.append(BenchRow("matching, simulated", instance.shape, seconds, note=rate))
        seconds = measure(lambda instance=instance: configuration_lp(instance))  # type: ignore[misc]
        found.append(BenchRow("Stochastic Configuration LP", instance.shape, seconds, note="column generation"))
    return found


def looped_values(reward: Array, tau: Array, gamma: float) -> Array:
    """Values of the uniform policy by sweeps of Python loops, to 1e-6."""
    states, actions, _ = tau.shape
    values = np.zeros(states)
    while True:
        before = values.copy()
        for state in range(states):
            values[state] = sum(tau[state, a] @ (reward[state, a] + gamma * before) for a in range(actions)) / actions
        if np.abs(values - before).max() < 1e-6:
            return values


def iterated_values(reward: Array, tau: Any) -> Array:
    """Values of the uniform policy by vectorised sweeps, to 1e-8."""
    states, actions = reward.shape
    values = np.zeros(states)
    while True:
        after = (reward + GAMMA * np.asarray(tau @ values).reshape(states, actions)).mean(1)
        if np.abs(after - values).max() < 1e-8:
            return np.asarray(after)
        values = after


def looped_val(reward: Array, tau: Array) -> Array:
    """VAL entry by entry."""
    values = looped_values(reward, tau, GAMMA)
    found = np.empty_like(reward)
    for state, action in np.ndindex(*reward.shape[:2]):
        mean = tau[state, action] @ (reward[state, action] + GAMMA * values)
        found[state, action] = mean - values[state]
    return found


def looped_epic(reward: Array) -> Array:
    """EPIC entry by entry, with uniform laws."""
    states, actions, _ = reward.shape
    found = np.empty_like(reward)
    overall = reward.mean()
    for state, action, after in np.ndindex(states, actions, states):
        found[state, action, after] = (
            reward[state, action, after] + GAMMA * reward[after].mean() - reward[state].mean() - GAMMA * overall
        )
    return found


def looped_distance(first: Array, second: Array, tau: Array) -> float:
    """The distance with VAL and 2-norms, from looped forms."""
    forms = [looped_val(reward, tau) for reward in (first, second)]
    return float(np.linalg.norm(forms[0] / np.linalg.norm(forms[0]) - forms[1] / np.linalg.norm(forms[1])))
