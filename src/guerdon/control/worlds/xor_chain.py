"""Two free choices and an end: the smallest world in which a task needs memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from guerdon.control.finite_mdp import FiniteMDP

if TYPE_CHECKING:
    from guerdon.control.formalisms.reward_machine import RewardMachine

FIRST, SECOND, END = 0, 1, 2
SUCCESS = 3


def xor_chain(gamma: float | None = 0.5) -> FiniteMDP:
    """The chain: state 0, then state 1, then the absorbing state 2; two actions, which change nothing.

    Args:
        gamma: The discount that is kept with it.
    """
    tau = np.zeros((3, 2, 3))
    tau[FIRST, :, SECOND] = tau[SECOND, :, END] = tau[END, :, END] = 1
    return FiniteMDP(tau, [1.0, 0.0, 0.0], gamma)


def xor_machine(gamma: float = 0.5) -> RewardMachine:
    """The reward machine of "choose differently": it pays 1 on the second step if the two actions differ.

    Machine states: 0 = nothing chosen yet, 1 and 2 = the first action was 0 or 1, 3 = over.

    Args:
        gamma: Discount in [0, 1).
    """
    # The formalisms' own witnesses are built on this world.
    from guerdon.control.formalisms.reward_machine import RewardMachine

    moves = np.zeros((4, 3, 2, 3), dtype=np.int64)
    moves[0, :, 0], moves[0, :, 1] = 1, 2
    moves[1:] = SUCCESS
    rewards = {}
    for first in (0, 1):
        reward = np.zeros((3, 2, 3))
        reward[SECOND, 1 - first, END] = 1.0
        rewards[1 + first, SUCCESS] = reward
    return RewardMachine(moves, rewards, gamma)


def xor_policy(first: float, second: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """The (S, A) policy that takes action 1 with these probabilities in states 0 and 1.

    Raises:
        ValueError: A probability is outside [0, 1].
    """
    for name, probability in (("first", first), ("second", second)):
        if not 0 <= probability <= 1:
            raise ValueError(f"{name} is {probability}: expected a probability")
    return np.array([[1 - first, first], [1 - second, second], [1.0, 0.0]])
