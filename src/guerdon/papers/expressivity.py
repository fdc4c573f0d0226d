"""Expressivity: which tasks a reward can state, against sixteen other ways of stating one (arXiv 2310.11840).

An objective is an ordering of stationary policies. Seventeen ways of stating one, from Markov rewards to arbitrary
orderings, form eleven classes with thirteen covering relations: what reward machines, temporal logic, long-run
averages, regularisers and nonlinear returns add to a Markov reward, and what each of them misses.
`guerdon.control.formalisms` evaluates all of them exactly, states one in another, and proves what cannot be stated;
`guerdon formalisms` prints the relation, each cell from a check that is run.

Where this differs from the paper:

* the paper is theory and has no experiments: the claim is the smallest task that needs memory, learnt by Q-learning;
* domination in all environments is checked by its construction on random environments; non-domination by certificates
  over finitely many policies, or by an argument over a continuum whose step is checked on random instances;
* temporal logic is given by deterministic automata, or as text where the formula is safe or co-safe; means over
  trajectories are evaluated on environments that end.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from guerdon.claims import Claim, Comparison
from guerdon.papers.paper import Paper

PAPER = Paper(
    number=61,
    slug="expressivity",
    title="On The Expressivity of Objective-Specification Formalisms in Reinforcement Learning",
    arxiv="2310.11840",
    year=2024,
    stages=(),
    summary="17 ways of stating an objective: which can say what, with constructions and certificates",
)
MARKOV, MACHINE, BLIND = "least squares", "machine", "machine, unseen"


def claim() -> Claim:
    """The task "choose differently the second time": a Markov reward against a reward machine."""
    return Claim(
        number=PAPER.number,
        slug=PAPER.slug,
        statement=(
            "No Markov reward states the task of two different choices in a row, a reward machine does: learning from "
            "the best Markov reward succeeds by chance, in 0.5 of the runs, learning on the machine's product in all."
        ),
        setting=(
            "A chain of two states with two actions each, and its end. Success: the greedy policy's two actions "
            "differ. Tabular Q-learning, 200 independent learners a seed with 400 episodes each, step size 0.1, "
            "exploration 0.3, discount 0.5, first values normal with deviation 0.01. The Markov reward is the least "
            "squares fit of the machine's value over a grid of stationary policies. The third arm, of which nothing is "
            "asserted, is paid by the machine without seeing its state. `cells` counts which of the 121 cells of the "
            "relation pass their checks with environments of the seed; it is the same for all arms."
        ),
        tuning="no arm was tuned",
        runner="guerdon.papers.expressivity:run_arm",
        arms={
            "Markov reward": {"reward": MARKOV},
            "reward machine": {"reward": MACHINE},
            "machine unseen": {"reward": BLIND},
        },
        shared={
            "learners": 200,
            "episodes": 400,
            "step_size": 0.1,
            "exploration": 0.3,
            "gamma": 0.5,
            "environments": 2,
            "policies": 30,
        },
        metrics={
            "success": "share of learners whose two choices differ",
            "cells": "cells of the relation that pass their checks, of 121",
        },
        comparisons=(
            Comparison("success", "reward machine", "Markov reward", 0.4, statement="the machine states the task"),
        ),
        seeds=10,
    )


def best_markov_reward(gamma: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """(S, A): the Markov reward whose values are nearest to the machine's, over a grid of stationary policies.

    Args:
        gamma: The discount of both.
    """
    from guerdon.control.mdp import occupancy
    from guerdon.control.worlds.xor_chain import xor_chain, xor_machine, xor_policy

    env, machine = xor_chain(gamma), xor_machine(gamma)
    grid = np.linspace(0, 1, 11)
    policies = [xor_policy(first, second) for first in grid for second in grid]
    visits = np.array([occupancy(env.tau, gamma, policy, env.mu0)[:2].ravel() for policy in policies])
    values = np.array([machine.value(env, policy) for policy in policies])
    reward = np.zeros((env.states, env.actions))
    reward[:2] = np.linalg.lstsq(visits, values, rcond=None)[0].reshape(2, -1)
    return reward


def learn(kind: str, shared: dict[str, Any], seed: int) -> float:
    """The share of Q-learners that end with a policy of two different choices.

    Args:
        kind: "least squares", "machine" or "machine, unseen".
        shared: Settings of the claim.
        seed: Of exploration and first values.

    Raises:
        ValueError: An unknown kind.
    """
    if kind not in (MARKOV, MACHINE, BLIND):
        raise ValueError(f"reward is {kind!r}: expected {MARKOV!r}, {MACHINE!r} or {BLIND!r}")
    generator = np.random.default_rng(seed)
    learners, gamma, rate = shared["learners"], shared["gamma"], shared["step_size"]
    markov, everyone = best_markov_reward(gamma), np.arange(shared["learners"])
    # Values of the first choice, and of the second in each of the two machine states that a first choice leads to.
    first = 0.01 * generator.standard_normal((learners, 2))
    second = 0.01 * generator.standard_normal((learners, 2, 2))

    def choose(values: Any) -> Any:
        greedy = values.argmax(axis=1)
        random = generator.integers(0, 2, learners)
        return np.where(generator.random(learners) < shared["exploration"], random, greedy)

    for _ in range(shared["episodes"]):
        one = choose(first)
        # Who does not see the machine's state has one row of values for the second choice.
        memory = one if kind == MACHINE else np.zeros_like(one)
        two = choose(second[everyone, memory])
        paid_one = markov[0, one] if kind == MARKOV else np.zeros(learners)
        paid_two = markov[1, two] if kind == MARKOV else (one != two).astype(float)
        onward = second[everyone, memory].max(axis=1)
        first[everyone, one] += rate * (paid_one + gamma * onward - first[everyone, one])
        second[everyone, memory, two] += rate * (paid_two - second[everyone, memory, two])
    one = first.argmax(axis=1)
    two = second[everyone, one if kind == MACHINE else 0].argmax(axis=1)
    return float((one != two).mean())


def run_arm(arm: dict[str, Any], shared: dict[str, Any], seed: int, folder: Path) -> dict[str, float]:
    """Learn with one reward and one seed; called by the claim harness in a process of its own."""
    from guerdon.control.formalisms import relation

    cells = relation(seed, shared["environments"], shared["policies"])
    return {
        "success": learn(arm["reward"], shared, seed),
        "cells": float(sum(cell.passed for cell in cells)),
    }
