"""Objectives that are means of a function of the trajectory (FTR, INMR, IMORL), by enumeration.

They are evaluated on *episodic* environments: without end, states are never repeated, and every trajectory ends in an
absorbing state, one that no action leaves. A trajectory is then its steps up to there, and what follows is known; an
objective must not depend on the actions that are taken in an absorbing state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import ArrayLike

from guerdon.control.canonicalisations import every_transition
from guerdon.control.finite_mdp import FiniteMDP
from guerdon.control.formalisms.diagram import Formalism
from guerdon.control.formalisms.objective import ValueObjective, dense, policy_of
from guerdon.control.mdp import Array, check_discount

LIMIT = 100_000


class Trajectory(NamedTuple):
    """What happened: transitions (s, a, s') up to the absorbing state `end`, where it stays."""

    steps: tuple[tuple[int, int, int], ...]
    end: int


class Trajectories:
    """All trajectories of an episodic environment, and their probabilities under any policy.

    Args:
        env: The environment.
        limit: How many there may be at most.

    Attributes:
        listed: N trajectories.

    Raises:
        ValueError: The environment is not episodic, or has more trajectories than `limit`.
    """

    def __init__(self, env: FiniteMDP, limit: int = LIMIT) -> None:
        tau = dense(env)
        self.env = env
        found = []
        for start in np.flatnonzero(env.mu0 > 0):
            for trajectory, probability in _walk(tau, absorbing_states(env), int(start), float(env.mu0[start])):
                found.append((trajectory, probability))
                if len(found) > limit:
                    raise ValueError(f"the environment has more than {limit} trajectories")
        self.listed = tuple(trajectory for trajectory, _ in found)
        self._dynamics = np.array([probability for _, probability in found])
        # One more entry for steps that a shorter trajectory does not have, of probability 1.
        longest = max((len(trajectory.steps) for trajectory in self.listed), default=0)
        self._choices = np.full((len(found), longest), env.states * env.actions)
        for row, trajectory in enumerate(self.listed):
            for column, (state, action, _) in enumerate(trajectory.steps):
                self._choices[row, column] = state * env.actions + action

    def probabilities(self, pi: ArrayLike) -> Array:
        """(N,) float64 probabilities under a policy; they sum to 1."""
        table = np.append(policy_of(self.env, pi).ravel(), 1.0)
        return np.asarray(self._dynamics * table[self._choices].prod(axis=1))


@lru_cache(maxsize=128)
def trajectories(env: FiniteMDP) -> Trajectories:
    """The trajectories of an episodic environment, enumerated once."""
    return Trajectories(env)


def absorbing_states(env: FiniteMDP) -> Any:
    """(S,) bool: states that no action leaves."""
    tau = dense(env)
    return (tau[np.arange(env.states), :, np.arange(env.states)] == 1).all(axis=1)


def _walk(tau: Array, absorbing: Any, start: int, first: float) -> Iterator[tuple[Trajectory, float]]:
    """Every way from a state to an absorbing one, with the probability of its dynamics."""
    stack: list[tuple[int, tuple[tuple[int, int, int], ...], float]] = [(start, (), first)]
    while stack:
        state, steps, probability = stack.pop()
        if absorbing[state]:
            yield Trajectory(steps, state), probability
            continue
        if any(state == before for before, _, _ in steps):
            raise ValueError(f"state {state} can come again: trajectories are enumerated on episodic environments only")
        for action, after in zip(*np.nonzero(tau[state]), strict=True):
            step = (state, int(action), int(after))
            stack.append((int(after), (*steps, step), probability * float(tau[state, action, after])))


@dataclass(frozen=True, eq=False)
class TrajectoryFunction(ValueObjective):
    """The mean of f over trajectories (FTR).

    Attributes:
        f: `Trajectory` -> real.
    """

    f: Callable[[Trajectory], float]
    formalism: ClassVar[Formalism] = Formalism.FTR
    _known: WeakKeyDictionary[FiniteMDP, Array] = field(default_factory=WeakKeyDictionary, init=False, repr=False)

    def values(self, env: FiniteMDP) -> Array:
        """(N,) float64: f of every trajectory of the environment."""
        if env not in self._known:
            self._known[env] = np.array([float(self.f(trajectory)) for trajectory in trajectories(env).listed])
        return self._known[env]

    def value(self, env: FiniteMDP, pi: ArrayLike) -> float:
        """The mean."""
        return float(trajectories(env).probabilities(pi) @ self.values(env))


@dataclass(frozen=True, eq=False)
class InnerMultiObjective(ValueObjective):
    """The mean of f(G_1, ..., G_k), each G a discounted return of the trajectory (IMORL).

    Attributes:
        rewards: k rewards, (S, A, S), (S, A) or (S,).
        f: (k,) returns -> real.
        gamma: Discount in [0, 1).

    Raises:
        ValueError: gamma is outside [0, 1), or there is no reward.
    """

    rewards: Sequence[Any]
    f: Callable[[Array], float]
    gamma: float
    formalism: ClassVar[Formalism] = Formalism.IMORL
    _known: WeakKeyDictionary[FiniteMDP, Array] = field(default_factory=WeakKeyDictionary, init=False, repr=False)

    def __post_init__(self) -> None:
        check_discount(self.gamma)
        if not len(self.rewards):
            raise ValueError("rewards is empty: at least one was expected")

    def value(self, env: FiniteMDP, pi: ArrayLike) -> float:
        """The mean."""
        if env not in self._known:
            returns = np.stack([trajectory_returns(env, reward, self.gamma) for reward in self.rewards], axis=1)
            self._known[env] = np.array([float(self.f(row)) for row in returns])
        return float(trajectories(env).probabilities(pi) @ self._known[env])


@dataclass(frozen=True, eq=False)
class InnerNonlinear(ValueObjective):
    """The mean of f(G), G the discounted return of the trajectory (INMR).

    Attributes:
        reward: (S, A, S), (S, A) or (S,).
        f: Real to real.
        gamma: Discount in [0, 1).

    Raises:
        ValueError: gamma is outside [0, 1).
    """

    reward: Any
    f: Callable[[float], float]
    gamma: float
    formalism: ClassVar[Formalism] = Formalism.INMR
    _known: WeakKeyDictionary[FiniteMDP, Array] = field(default_factory=WeakKeyDictionary, init=False, repr=False)

    def __post_init__(self) -> None:
        check_discount(self.gamma)

    def value(self, env: FiniteMDP, pi: ArrayLike) -> float:
        """The mean."""
        returns = trajectory_returns(env, self.reward, self.gamma)
        law = trajectories(env).probabilities(pi)
        return float(
            sum(weight * float(self.f(float(G))) for weight, G in zip(law, returns, strict=True) if weight > 0)
        )


def trajectory_returns(env: FiniteMDP, reward: Any, gamma: float) -> Array:
    """(N,) discounted returns of all trajectories, with what their absorbing states pay for ever."""
    table = every_transition(reward, dense(env))
    return np.array([trajectory_return(trajectory, table, gamma) for trajectory in trajectories(env).listed])


def trajectory_return(trajectory: Trajectory, reward: Array, gamma: float) -> float:
    """The discounted return of one trajectory under an (S, A, S) reward."""
    total = sum(gamma**time * float(reward[step]) for time, step in enumerate(trajectory.steps))
    return total + gamma ** len(trajectory.steps) * end_reward(trajectory.end, reward) / (1 - gamma)


def end_reward(end: int, reward: Array) -> float:
    """What an absorbing state pays on each step.

    Raises:
        ValueError: It depends on the action.
    """
    paid = reward[end, :, end]
    if np.ptp(paid) > 0:
        raise ValueError(f"the reward of the absorbing state {end} depends on the action: that is no episode")
    return float(paid[0])
