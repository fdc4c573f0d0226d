"""A chain of places with a goal at its end, a puddle on the way and steps that may slip."""

from __future__ import annotations

import numpy as np

from guerdon.control.finite_mdp import FiniteMDP
from guerdon.control.mdp import Array

BACK, FORWARD = 0, 1


def goal_chain(places: int = 8, slip: float = 0.1, gamma: float = 0.9) -> FiniteMDP:
    """The chain: states 0 to places - 1, and the goal, state `places`, which is never left.

    Args:
        places: How many places before the goal, at least 2.
        slip: Probability of a step the other way.
        gamma: The discount.

    Returns:
        The MDP: actions 0 = back, 1 = forward; back from the first place stays there; the start is the first place.

    Raises:
        ValueError: Too few places, or a probability out of range.
    """
    if places < 2 or not 0 <= slip <= 1:
        raise ValueError(f"places {places}, slip {slip}: expected at least 2 places and a slip in [0, 1]")
    tau = np.zeros((places + 1, 2, places + 1))
    for place in range(places):
        back, on = max(place - 1, 0), place + 1
        tau[place, BACK, back] += 1 - slip
        tau[place, BACK, on] += slip
        tau[place, FORWARD, on] += 1 - slip
        tau[place, FORWARD, back] += slip
    tau[places, :, places] = 1
    return FiniteMDP(tau, np.eye(places + 1)[0], gamma)


def goal_reward(mdp: FiniteMDP, goal: float = 1.0, step: float = -0.05, puddle: float = -0.5) -> Array:
    """(S, A, S) reward: `goal` for reaching the goal, else `step`, and `puddle` more for entering the middle; 0 after.

    Args:
        mdp: The chain.
        goal: Paid once.
        step: Paid on every step that does not reach the goal.
        puddle: Paid with each arrival at the place in the middle.
    """
    end = mdp.states - 1
    reward = np.full((mdp.states, mdp.actions, mdp.states), step)
    reward[:, :, end // 2] += puddle
    reward[:, :, end] = goal
    reward[end] = 0.0
    return reward
