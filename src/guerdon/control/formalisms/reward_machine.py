"""Reward machines (RM): finite memory of what happened, which chooses the reward of each transition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from guerdon.control.finite_mdp import FiniteMDP
from guerdon.control.formalisms.diagram import Formalism
from guerdon.control.formalisms.objective import ValueObjective, dense, policy_of
from guerdon.control.mdp import Array, check_discount


@dataclass(frozen=True, eq=False)
class RewardMachine(ValueObjective):
    """The expected sum of gamma^t R_t, where R_t is the machine's reward function of the transition.

    In machine state u, a transition (s, a, s') leads to u' = moves[u, s, a, s'], and pays rewards[u, u'](s, a, s').

    Attributes:
        moves: (U, S, A, S) integers, the next machine state.
        rewards: (U, U, S, A, S) array, or (u, u') -> (S, A, S) array; pairs that are not there pay 0.
        gamma: Discount in [0, 1).
        start: The first machine state.

    Raises:
        ValueError: A shape or a machine state is wrong, or gamma is outside [0, 1).
    """

    moves: Any
    rewards: Any
    gamma: float
    start: int = 0
    formalism: ClassVar[Formalism] = Formalism.RM

    def __post_init__(self) -> None:
        check_discount(self.gamma)
        moves = check_moves("moves", self.moves)
        object.__setattr__(self, "moves", moves)
        if not 0 <= self.start < len(moves):
            raise ValueError(f"start is {self.start}: expected a machine state from 0 to {len(moves) - 1}")
        shape = (len(moves), *moves.shape)
        if isinstance(self.rewards, Mapping):
            table = np.zeros(shape)
            for (before, after), reward in self.rewards.items():
                table[before, after] = np.asarray(reward, dtype=np.float64)
        else:
            table = np.asarray(self.rewards, dtype=np.float64)
        if table.shape != shape:
            raise ValueError(f"rewards: shape {shape} was expected, got {table.shape}")
        object.__setattr__(self, "rewards", table)

    @property
    def paid(self) -> Array:
        """(U, S, A, S) float64: what each transition pays in each machine state."""
        return np.asarray(np.take_along_axis(self.rewards, self.moves[:, None], axis=1)[:, 0])

    def value(self, env: FiniteMDP, pi: ArrayLike) -> float:
        """The expected discounted return, on the product of environment and machine."""
        policy, tau = policy_of(env, pi), dense(env)
        if self.moves.shape[1:] != tau.shape:
            raise ValueError(f"moves: shape (U, {', '.join(map(str, tau.shape))}) was expected, got {self.moves.shape}")
        chain, start = product_chain(tau, policy, self.moves, self.start, env.mu0)
        mean = np.einsum("sa,sat,usat->su", policy, tau, self.paid).ravel()
        return float(start @ np.linalg.solve(np.eye(len(chain)) - self.gamma * chain, mean))

    def product(self, env: FiniteMDP) -> tuple[FiniteMDP, Array]:
        """The environment with the machine's memory in its state, and the machine's Markov reward there.

        Returns:
            The MDP over pairs s * U + u, and its (S * U, A) mean reward.
        """
        tau, machine = dense(env), len(self.moves)
        size = env.states * machine
        found = np.zeros((env.states, machine, env.actions, env.states, machine))
        for state in range(machine):
            for after in range(machine):
                found[:, state, :, :, after] = tau * (self.moves[state] == after)
        reward = np.einsum("sat,usat->sua", tau, self.paid).reshape(size, env.actions)
        start = np.zeros((env.states, machine))
        start[:, self.start] = env.mu0
        return FiniteMDP(found.reshape(size, env.actions, size), start.ravel(), self.gamma), reward


def check_moves(name: str, moves: Any) -> Any:
    """The moves of a deterministic machine as an (U, S, A, S) int64 array.

    Args:
        name: For the message.
        moves: (U, S, A, S) integers, or (U, S, A, S, U) bool: which machine states may follow.

    Raises:
        ValueError: The shape is another, a state is out of range, or not exactly one state follows.
    """
    found = np.asarray(moves)
    if found.ndim == 5 and found.dtype == np.bool_:
        number = found.sum(axis=4)
        if (number != 1).any():
            where = tuple(int(index) for index in np.argwhere(number != 1)[0])
            raise ValueError(f"{name}{list(where)}: {number[where]} states follow: a deterministic machine has 1")
        found = found.argmax(axis=4)
    if found.ndim != 4 or not np.issubdtype(found.dtype, np.integer) or found.shape[1] != found.shape[3]:
        raise ValueError(f"{name}: integers of shape (U, S, A, S) were expected, got {found.dtype} {found.shape}")
    if ((found < 0) | (found >= len(found))).any():
        raise ValueError(f"{name}: machine states must be 0 to {len(found) - 1}")
    return found.astype(np.int64)


def product_chain(tau: Array, policy: Array, moves: Any, first: int, mu0: Array) -> tuple[Array, Array]:
    """The chain of a policy on environment and machine.

    Args:
        tau: (S, A, S) transitions.
        policy: (S, A) probabilities.
        moves: (U, S, A, S) integers.
        first: The first machine state.
        mu0: (S,) law of the first state.

    Returns:
        (S * U, S * U) transition probabilities between pairs s * U + u, and the (S * U,) start law.
    """
    machine, states = len(moves), len(tau)
    joint = policy[:, :, None] * tau
    chain = np.zeros((states, machine, states, machine))
    for state in range(machine):
        for after in range(machine):
            chain[:, state, :, after] = (joint * (moves[state] == after)).sum(axis=1)
    start = np.zeros((states, machine))
    start[:, first] = mu0
    size = states * machine
    return chain.reshape(size, size), start.ravel()
