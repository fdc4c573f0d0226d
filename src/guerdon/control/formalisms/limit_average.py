"""The long-run average of a reward (LAR), by the recurrent classes of the policy's chain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from guerdon.control.finite_mdp import FiniteMDP
from guerdon.control.formalisms.chains import long_run
from guerdon.control.formalisms.diagram import Formalism
from guerdon.control.formalisms.objective import ValueObjective, dense, policy_of
from guerdon.control.mdp import Array, expected_reward


@dataclass(frozen=True, eq=False)
class LimitAverage(ValueObjective):
    """The limit of (1/N) times the expected sum of the first N rewards; it always exists for stationary policies.

    Attributes:
        reward: (S, A, S), (S, A) or (S,).
    """

    reward: Any
    formalism: ClassVar[Formalism] = Formalism.LAR

    def value(self, env: FiniteMDP, pi: ArrayLike) -> float:
        """The average."""
        visits = limit_visits(env, pi)
        return float((visits * expected_reward(self.reward, dense(env))).sum())


def limit_visits(env: FiniteMDP, pi: ArrayLike) -> Array:
    """(S, A) float64 long-run share of time in each state with each action; they sum to 1."""
    policy = policy_of(env, pi)
    found = long_run(np.einsum("sa,sat->st", policy, dense(env)), env.mu0)
    states = np.zeros(env.states)
    for members, reach, shares in zip(found.classes, found.reach, found.shares, strict=True):
        states[members] += reach * shares
    return states[:, None] * policy
