"""A long chain with the goal far to the right, and maybe a small reward to the left that distracts from it."""

from __future__ import annotations

import numpy as np

from guerdon.control.finite_mdp import FiniteMDP
from guerdon.control.mdp import Array

LEFT, RIGHT = 0, 1


def distractor_chain(right: int = 20, left: int = 40, slip: float = 0.05, gamma: float = 0.99) -> FiniteMDP:
    """The chain: `left` places to the left of the start and `right` places to its right; the start is state `left`.

    Args:
        right: Places to the right of the start, at least 1.
        left: Places to its left, at least 1.
        slip: How often a uniform action is taken in the place of the chosen one.
        gamma: The discount.

    Returns:
        The MDP: actions 0 = left, 1 = right; a step beyond an end stays; no state is terminal, episodes end by time.

    Raises:
        ValueError: Too few places, or the slip is out of range.
    """
    if right < 1 or left < 1 or not 0 <= slip <= 1:
        raise ValueError(
            f"right {right}, left {left}, slip {slip}: expected at least 1 place each and a slip in [0, 1]"
        )
    states = left + right + 1
    places = np.arange(states)
    after = np.stack((np.maximum(places - 1, 0), np.minimum(places + 1, states - 1)), axis=1)
    moved = np.eye(states)[after]
    tau = (1 - slip) * moved + slip * moved.mean(axis=1, keepdims=True)
    return FiniteMDP(tau, np.eye(states)[left], gamma)


def chain_reward(mdp: FiniteMDP, goal: float = 1.0, distractor: float = 0.0, at: int = 0) -> Array:
    """(S, A) reward: `goal` for each action in the last place on the right, `distractor` for each in one on the left.

    Args:
        mdp: The chain.
        goal: Paid in the last place.
        distractor: Paid in the place `at`.
        at: A state; 0 is the last place on the left.
    """
    reward = np.zeros((mdp.states, mdp.actions))
    reward[at] = distractor
    reward[-1] = goal
    return reward
