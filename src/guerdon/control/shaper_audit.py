"""Which shapers of rewards may change what is learnt: their STARC distance from the reward that they shape.

On a finite MDP the answer is exact. `audit` compares any shaped rewards with the true one; `shaped_on_chain` applies
the shelf `guerdon.shape` to the reward of a chain of places. Potential shaping and a positive factor are at distance 0
there. What changes rewards one by one is not, unless it is a line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from guerdon.control.canonicalisations import shaped
from guerdon.control.finite_mdp import FiniteMDP
from guerdon.control.mdp import Array
from guerdon.control.regret import optimal_regret, worst_case_regret
from guerdon.control.starc import starc_distance
from guerdon.control.worlds.goal_chain import FORWARD
from guerdon.shape import clip, delta, log_boost, scale, squash


@dataclass(frozen=True)
class AuditRow:
    """What is known of one shaped reward.

    Attributes:
        name: Its name.
        distance: STARC distance (VAL, 2-norms) from the true reward; 0 = no policy can tell them apart.
        optimal_regret: True regret of the policy that is optimal for it.
        worst_regret: Worst true regret over pairs of stochastic policies that it orders the other way.
    """

    name: str
    distance: float
    optimal_regret: float
    worst_regret: float


def audit(truth: Any, rewards: Mapping[str, Any], mdp: FiniteMDP, gamma: float | None = None) -> list[AuditRow]:
    """Compare shaped rewards with the true one.

    Args:
        truth: The reward that counts, in any shape that the MDP takes.
        rewards: Name -> what is optimised in its place.
        mdp: The MDP.
        gamma: Discount in [0, 1); None = the MDP's own.

    Returns:
        A row for each, in the order given.

    Raises:
        ValueError: There is no discount, or shapes are wrong.
    """
    discount = mdp.gamma if gamma is None else gamma
    if discount is None:
        raise ValueError("gamma: the MDP has no discount of its own, so one must be given")
    return [
        AuditRow(
            name,
            starc_distance(truth, reward, mdp.tau, discount),
            float(optimal_regret(truth, reward, mdp.tau, discount, mdp.mu0)),
            float(worst_case_regret(truth, reward, mdp.tau, discount, mdp.mu0, method="dual")),
        )
        for name, reward in rewards.items()
    ]


def shaped_on_chain(truth: Array, mdp: FiniteMDP) -> dict[str, Array]:
    """The shelf's shapers on the reward of `goal_chain`.

    Args:
        truth: (S, A, S) reward.
        mdp: The chain, with a discount.

    Returns:
        Name -> (S, A, S) shaped reward. Scores of steps are how far the place is along the chain.

    Raises:
        ValueError: The chain has no discount.
    """
    if mdp.gamma is None:
        raise ValueError("gamma: a chain with a discount was expected")
    reward, end = torch.as_tensor(truth), mdp.states - 1
    near = np.arange(mdp.states) / end
    bonus, cost = np.zeros_like(truth), np.zeros_like(truth)
    bonus[:end, FORWARD] = 0.3
    cost[:end] = -0.1
    # Differences of the scores of a place and the next one, which is what a step is credited with.
    pairs = torch.tensor([[[one, two, 0.0] for two in near] for one in near]).reshape(-1, 3)
    differences = delta(pairs)[:, 0].reshape(mdp.states, 1, mdp.states).numpy()
    low, high = float(reward.min()), float(reward.max())
    return {
        "factor 3": scale(reward, 3.0).numpy(),
        "factor 3, offset 1": scale(reward, 3.0, 1.0).numpy(),
        "potential: how near the goal": shaped(truth, near, mdp.gamma),
        "potential: random": shaped(truth, 3 * np.random.default_rng(0).standard_normal(mdp.states), mdp.gamma),
        "differences of step scores": truth + differences,
        "log boost": log_boost((reward - low) / (high - low)).numpy(),
        "tanh": squash(reward).numpy(),
        "clipped at 0.2": clip(reward, high=0.2).numpy(),
        "bonus 0.3 for going forward": truth + bonus,
        "cost 0.1 of each step before the end": truth + cost,
        "score of the place added": truth + near[None, None, :],
    }
