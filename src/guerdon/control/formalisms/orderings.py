"""Objectives that compare, and need not give numbers: orderings of returns, occupancies, lotteries, policies.

A comparator gets two things and says -1, 0 or 1. It must be a total preorder; each pair is asked both ways round, and
`objective.check_total` checks transitivity on any finite set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from numpy.typing import ArrayLike

from guerdon.control.finite_mdp import FiniteMDP
from guerdon.control.formalisms.diagram import Formalism
from guerdon.control.formalisms.objective import Comparator, Objective, checked, dense, policy_of
from guerdon.control.formalisms.outer import Lottery, SeveralRewards
from guerdon.control.mdp import check_discount, transition_occupancy


@dataclass(frozen=True, eq=False)
class GeneralisedOuterMultiObjective(Objective):
    """A total preorder on the vectors of expected returns (J_1, ..., J_k) (GOMORL).

    Attributes:
        rewards: k rewards.
        order: Comparator of (k,) arrays.
        gamma: Discount in [0, 1).

    Raises:
        ValueError: gamma is outside [0, 1).
    """

    rewards: Sequence[Any]
    order: Comparator
    gamma: float
    formalism: ClassVar[Formalism] = Formalism.GOMORL
    _several: SeveralRewards = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_several", SeveralRewards(self.rewards, self.gamma))

    def compare(self, env: FiniteMDP, pi1: ArrayLike, pi2: ArrayLike) -> int:
        """What the order says of both vectors of returns."""
        return checked(self.order, self._several.returns(env, pi1), self._several.returns(env, pi2))


@dataclass(frozen=True, eq=False)
class OccupancyOrder(Objective):
    """A total preorder on occupancy measures (OMO).

    Attributes:
        order: Comparator of (S, A, S) arrays.
        gamma: Discount in [0, 1).

    Raises:
        ValueError: gamma is outside [0, 1).
    """

    order: Comparator
    gamma: float
    formalism: ClassVar[Formalism] = Formalism.OMO

    def __post_init__(self) -> None:
        check_discount(self.gamma)

    def compare(self, env: FiniteMDP, pi1: ArrayLike, pi2: ArrayLike) -> int:
        """What the order says of both occupancy measures."""
        tau = dense(env)
        measures = (transition_occupancy(tau, self.gamma, policy_of(env, pi), env.mu0) for pi in (pi1, pi2))
        return checked(self.order, *measures)


@dataclass(frozen=True, eq=False)
class LotteryOrder(Objective):
    """A total preorder on trajectory lotteries (TLO).

    Attributes:
        order: Comparator of `Lottery`.
    """

    order: Comparator
    formalism: ClassVar[Formalism] = Formalism.TLO

    def compare(self, env: FiniteMDP, pi1: ArrayLike, pi2: ArrayLike) -> int:
        """What the order says of both lotteries."""
        return checked(self.order, Lottery(env, pi1), Lottery(env, pi2))


@dataclass(frozen=True, eq=False)
class PolicyOrder(Objective):
    """A total preorder on policies (PO).

    Attributes:
        order: Comparator of (S, A) arrays.
    """

    order: Comparator
    formalism: ClassVar[Formalism] = Formalism.PO

    def compare(self, env: FiniteMDP, pi1: ArrayLike, pi2: ArrayLike) -> int:
        """What the order says of both policies."""
        return checked(self.order, policy_of(env, pi1), policy_of(env, pi2))
