"""Objectives made from one Markov reward: the plain one, regularised, and through a function of its return."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from guerdon.control.finite_mdp import FiniteMDP
from guerdon.control.formalisms.diagram import Formalism
from guerdon.control.formalisms.objective import ValueObjective, dense, policy_of
from guerdon.control.mdp import Array, check_discount, expected_reward, policy_return


@dataclass(frozen=True, eq=False)
class MarkovReward(ValueObjective):
    """The expected sum of gamma^t R(s, a, s') (MR).

    Attributes:
        reward: (S, A, S), (S, A) or (S,).
        gamma: Discount in [0, 1); part of the objective.

    Raises:
        ValueError: gamma is outside [0, 1).
    """

    reward: Any
    gamma: float
    formalism: ClassVar[Formalism] = Formalism.MR

    def __post_init__(self) -> None:
        check_discount(self.gamma)

    def value(self, env: FiniteMDP, pi: ArrayLike) -> float:
        """The expected discounted return."""
        return policy_return(self.reward, dense(env), self.gamma, policy_of(env, pi), env.mu0)


@dataclass(frozen=True, eq=False)
class RegularisedReward(ValueObjective):
    """The expected sum of gamma^t (R(s, a, s') - alpha F(pi(. | s))) (RRL).

    Attributes:
        reward: (S, A, S), (S, A) or (S,).
        alpha: Weight of the regulariser.
        regulariser: F, of the (A,) probabilities of the actions in a state.
        gamma: Discount in [0, 1).

    Raises:
        ValueError: gamma is outside [0, 1).
    """

    reward: Any
    alpha: float
    regulariser: Callable[[Array], float]
    gamma: float
    formalism: ClassVar[Formalism] = Formalism.RRL

    def __post_init__(self) -> None:
        check_discount(self.gamma)

    def value(self, env: FiniteMDP, pi: ArrayLike) -> float:
        """The expected discounted sum of rewards less the price of the action probabilities."""
        policy = policy_of(env, pi)
        tau = dense(env)
        price = np.array([self.alpha * float(self.regulariser(row)) for row in policy])
        return policy_return(expected_reward(self.reward, tau) - price[:, None], tau, self.gamma, policy, env.mu0)


@dataclass(frozen=True, eq=False)
class OuterNonlinear(ValueObjective):
    """A function f of the expected discounted return (ONMR).

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
    formalism: ClassVar[Formalism] = Formalism.ONMR

    def __post_init__(self) -> None:
        check_discount(self.gamma)

    def value(self, env: FiniteMDP, pi: ArrayLike) -> float:
        """Return f of the return."""
        return float(self.f(MarkovReward(self.reward, self.gamma).value(env, pi)))


def negative_entropy(probabilities: ArrayLike) -> float:
    """Sum of p ln p, with 0 ln 0 = 0: the regulariser of maximum-entropy reinforcement learning."""
    row = np.asarray(probabilities, dtype=np.float64)
    return float((row[row > 0] * np.log(row[row > 0])).sum())
