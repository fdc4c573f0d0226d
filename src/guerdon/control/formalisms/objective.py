"""What an objective is: it compares stationary policies of a finite MDP; most give each policy a number."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from guerdon.control.finite_mdp import FiniteMDP
from guerdon.control.formalisms.diagram import Formalism
from guerdon.control.mdp import Array, check_policy

TOLERANCE = 1e-9
Comparator: TypeAlias = Callable[[Any, Any], int]
"""(x, y) -> -1, 0 or 1: x is worse than y, as good, or better."""


class Objective(ABC):
    """An objective: a total preorder on the stationary policies of every environment that it fits."""

    formalism: ClassVar[Formalism]

    @abstractmethod
    def compare(self, env: FiniteMDP, pi1: ArrayLike, pi2: ArrayLike) -> int:
        """-1, 0 or 1: the first policy is worse than the second, as good, or better."""


class ValueObjective(Objective):
    """An objective that gives each policy a number."""

    @abstractmethod
    def value(self, env: FiniteMDP, pi: ArrayLike) -> float:
        """The number; larger is better."""

    def compare(self, env: FiniteMDP, pi1: ArrayLike, pi2: ArrayLike) -> int:
        """-1, 0 or 1; numbers that differ by rounding are equal."""
        return sign(self.value(env, pi1), self.value(env, pi2))


def sign(first: float, second: float) -> int:
    """-1, 0 or 1; numbers within 1e-9 of each other, relative to their size, are equal."""
    if abs(first - second) <= TOLERANCE * (1 + max(abs(first), abs(second))):
        return 0
    return 1 if first > second else -1


def checked(comparator: Comparator, first: Any, second: Any) -> int:
    """What a comparator says of two things, asked both ways round.

    Raises:
        ValueError: The answers do not fit together, or are not -1, 0 or 1: it is no total preorder.
    """
    found, back = comparator(first, second), comparator(second, first)
    if found not in (-1, 0, 1) or back != -found:
        raise ValueError(f"the comparator says {found!r} one way and {back!r} the other: it is no total preorder")
    return found


def check_total(comparator: Comparator, things: Sequence[Any]) -> None:
    """Check that a comparator is a total preorder on some things.

    Raises:
        ValueError: It is not: answers do not fit together both ways round, or are not transitive.
    """
    table = np.array([[checked(comparator, one, two) for two in things] for one in things])
    table = table.reshape(len(things), len(things))
    better = table >= 0
    # If a >= b and b >= c, then a >= c.
    broken = ((better.astype(int) @ better.astype(int)) > 0) & ~better
    if broken.any():
        first, second = (int(index) for index in np.argwhere(broken)[0])
        raise ValueError(f"the comparator is not transitive between number {first} and number {second}")


def lexicographic(first: ArrayLike, second: ArrayLike) -> int:
    """Compare two vectors by their first entries, ties by the next: a total preorder that no number states."""
    for one, two in zip(np.ravel(first), np.ravel(second), strict=True):
        found = sign(float(one), float(two))
        if found:
            return found
    return 0


def dense(env: FiniteMDP) -> Array:
    """The (S, A, S) transitions of an environment."""
    if sparse.issparse(env.tau):
        return np.asarray(env.tau.toarray().reshape(env.states, env.actions, env.states))
    return np.asarray(env.tau)


def policy_of(env: FiniteMDP, pi: ArrayLike) -> Array:
    """A policy as (S, A) probabilities, checked."""
    return check_policy(pi, env.states, env.actions)


def reached(env: FiniteMDP, pi: Array) -> Any:
    """(S,) bool: states that the policy visits with some probability."""
    chain = np.einsum("sa,sat->st", pi, dense(env)) > 0
    seen = env.mu0 > 0
    while True:
        more = seen | chain[seen].any(axis=0)
        if (more == seen).all():
            return seen
        seen = more
