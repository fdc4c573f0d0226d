"""Objectives that are a function of what a policy makes happen as a whole: returns, occupancies, lotteries, itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import ArrayLike

from guerdon.control.finite_mdp import FiniteMDP
from guerdon.control.formalisms.diagram import Formalism
from guerdon.control.formalisms.objective import ValueObjective, dense, policy_of, reached
from guerdon.control.formalisms.trajectories import trajectories
from guerdon.control.mdp import Array, check_discount, expected_reward, occupancy, transition_occupancy


class Lottery:
    """The law over infinite trajectories that a policy makes of an environment.

    It is fixed by the policy's actions in the states that it reaches, and knows no others: two policies that differ
    elsewhere have the same lottery.

    Args:
        env: The environment.
        pi: The policy.
    """

    def __init__(self, env: FiniteMDP, pi: ArrayLike) -> None:
        self.env = env
        given = policy_of(env, pi)
        self.reached = reached(env, given)
        self._policy = np.where(self.reached[:, None], given, 1 / env.actions)

    @property
    def policy(self) -> Array:
        """(S, A) float64 probabilities of actions; NaN in states that are never reached."""
        return np.where(self.reached[:, None], self._policy, np.nan)

    def occupancy(self, gamma: float) -> Array:
        """(S, A, S) float64: sum of gamma^t P(s_t, a_t, s_t+1)."""
        return transition_occupancy(dense(self.env), gamma, self._policy, self.env.mu0)

    def probabilities(self) -> Array:
        """(N,) float64 over the trajectories of an episodic environment."""
        return trajectories(self.env).probabilities(self._policy)

    def equals(self, other: Lottery, tolerance: float = 1e-12) -> bool:
        """Whether both are the same law."""
        same = self.env is other.env and bool((self.reached == other.reached).all())
        return same and bool((np.abs(self._policy - other._policy) <= tolerance).all())


class SeveralRewards:
    """The expected discounted returns of policies under several rewards, whose means are kept for each environment.

    Args:
        rewards: k rewards.
        gamma: Discount in [0, 1).

    Raises:
        ValueError: gamma is outside [0, 1).
    """

    def __init__(self, rewards: Sequence[Any], gamma: float) -> None:
        self.rewards, self.gamma = rewards, check_discount(gamma)
        self._means: WeakKeyDictionary[FiniteMDP, Array] = WeakKeyDictionary()

    def returns(self, env: FiniteMDP, pi: ArrayLike) -> Array:
        """(k,) float64 returns, from the policy's occupancy measure."""
        if env not in self._means:
            self._means[env] = np.array([expected_reward(reward, dense(env)) for reward in self.rewards])
        visits = occupancy(dense(env), self.gamma, policy_of(env, pi), env.mu0)
        return np.asarray(np.tensordot(self._means[env], visits, axes=2))


@dataclass(frozen=True, eq=False)
class OuterMultiObjective(ValueObjective):
    """A function f of the expected discounted returns (J_1, ..., J_k) (OMORL).

    Attributes:
        rewards: k rewards.
        f: (k,) returns -> real.
        gamma: Discount in [0, 1).

    Raises:
        ValueError: gamma is outside [0, 1).
    """

    rewards: Sequence[Any]
    f: Callable[[Array], float]
    gamma: float
    formalism: ClassVar[Formalism] = Formalism.OMORL
    _several: SeveralRewards = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_several", SeveralRewards(self.rewards, self.gamma))

    def value(self, env: FiniteMDP, pi: ArrayLike) -> float:
        """Return f of the returns."""
        return float(self.f(self._several.returns(env, pi)))


@dataclass(frozen=True, eq=False)
class OccupancyFunction(ValueObjective):
    """A function f of the occupancy measure (FOMR).

    Attributes:
        f: (S, A, S) discounted visits -> real.
        gamma: Discount in [0, 1).

    Raises:
        ValueError: gamma is outside [0, 1).
    """

    f: Callable[[Array], float]
    gamma: float
    formalism: ClassVar[Formalism] = Formalism.FOMR

    def __post_init__(self) -> None:
        check_discount(self.gamma)

    def value(self, env: FiniteMDP, pi: ArrayLike) -> float:
        """Return f of the occupancy measure."""
        return float(self.f(transition_occupancy(dense(env), self.gamma, policy_of(env, pi), env.mu0)))


@dataclass(frozen=True, eq=False)
class LotteryFunction(ValueObjective):
    """A function f of the trajectory lottery (FTLR).

    Attributes:
        f: `Lottery` -> real.
    """

    f: Callable[[Lottery], float]
    formalism: ClassVar[Formalism] = Formalism.FTLR

    def value(self, env: FiniteMDP, pi: ArrayLike) -> float:
        """Return f of the lottery."""
        return float(self.f(Lottery(env, pi)))


@dataclass(frozen=True, eq=False)
class PolicyFunction(ValueObjective):
    """Any function J of the policy (FPR).

    Attributes:
        f: (S, A) probabilities -> real.
    """

    f: Callable[[Array], float]
    formalism: ClassVar[Formalism] = Formalism.FPR

    def value(self, env: FiniteMDP, pi: ArrayLike) -> float:
        """J of the policy."""
        return float(self.f(policy_of(env, pi)))
