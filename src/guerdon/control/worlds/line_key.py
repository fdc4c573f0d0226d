"""A line with a key on one end and a locked door on the other, cut into segments.

The place on the line is a number in [0, 1]; a step changes it by a fixed length and some noise. States are segments of
equal length, with and without the key: where in its segment the walker stands is taken as uniform.
"""

from __future__ import annotations

import numpy as np

from guerdon.control.finite_mdp import FiniteMDP
from guerdon.control.mdp import Array

LEFT, RIGHT, PICK = 0, 1, 2
_POINTS = 64


def line_key(
    segments: int = 20, step: float = 0.075, noise: float = 0.01, gamma: float = 0.95, key: float = 0.15
) -> FiniteMDP:
    """The line: states 0 to N - 1 are segments without the key, N to 2 N - 1 with it, 2 N is the end.

    Args:
        segments: N, at least 3.
        step: Length of a step.
        noise: A step is longer or shorter by up to this, uniformly.
        gamma: The discount.
        key: Where on the line the key lies.

    Returns:
        The MDP: actions 0 = left, 1 = right, 2 = pick, which takes the key in the key's segment and does nothing
        elsewhere. Every action in the last segment with the key leads to the end, which is never left. The start is
        uniform over segments without the key.

    Raises:
        ValueError: Too few segments, or lengths out of range.
    """
    if segments < 3 or not 0 < step < 1 or not 0 <= noise <= step or not 0 <= key < 1:
        raise ValueError(
            f"segments {segments}, step {step}, noise {noise}, key {key}: expected at least 3 segments, a step in "
            "(0, 1), a noise between 0 and the step, and a key in [0, 1)"
        )
    tau = np.zeros((2 * segments + 1, 3, 2 * segments + 1))
    for action, direction in ((LEFT, -1), (RIGHT, 1)):
        moved = _moved(segments, direction * step, noise)
        tau[:segments, action, :segments] = moved
        tau[segments:-1, action, segments:-1] = moved
    stays = np.arange(2 * segments)
    place = int(key * segments)
    tau[stays, PICK, np.where(stays == place, place + segments, stays)] = 1
    tau[-2] = tau[-1] = np.eye(2 * segments + 1)[-1]
    start = np.zeros(2 * segments + 1)
    start[:segments] = 1 / segments
    return FiniteMDP(tau, start, gamma)


def line_reward(mdp: FiniteMDP, goal: float = 10.0) -> Array:
    """(S, A) reward: `goal` for any action in the last segment with the key, which ends the episode; 0 elsewhere."""
    reward = np.zeros((mdp.states, mdp.actions))
    reward[-2] = goal
    return reward


def _moved(segments: int, step: float, noise: float) -> Array:
    """(N, N) law of the next segment, by the midpoint rule over places and noise."""
    middles = (np.arange(_POINTS) + 0.5) / _POINTS
    starts = (np.arange(segments)[:, None] + middles) / segments
    places = starts[:, :, None] + step + noise * (2 * middles - 1)
    after = np.clip((places * segments).astype(np.int64), 0, segments - 1)
    found = np.zeros((segments, segments))
    rows = np.broadcast_to(np.arange(segments)[:, None, None], after.shape)
    np.add.at(found, (rows, after), 1 / _POINTS**2)
    return found
