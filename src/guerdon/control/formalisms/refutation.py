"""Proofs that an ordering of policies cannot be stated in a formalism.

Values of Markov rewards, limit averages and functions of trajectories are linear in features of the policy: discounted
visits, long-run visits, probabilities of trajectories. If no weights give the ordering, then (Gordan, Motzkin) a
nonnegative combination of the differences "better minus worse", plus any combination of the differences of ties, is 0:
a certificate that anyone can check by adding up. Regularised rewards are linear in the visits of (state, law of actions
there). What is a function of the lottery cannot tell two policies with the same lottery apart.

The discount is part of an objective, so that a formalism is refuted for one discount at a time, except on episodic
environments, where the law of each time step is a feature that serves all discounts at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cmp_to_key
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linprog

from guerdon.control.finite_mdp import FiniteMDP
from guerdon.control.formalisms.diagram import Formalism, dominates, equivalence_classes, representative
from guerdon.control.formalisms.limit_average import limit_visits
from guerdon.control.formalisms.objective import Objective, dense, policy_of
from guerdon.control.formalisms.outer import Lottery
from guerdon.control.formalisms.trajectories import absorbing_states, trajectories
from guerdon.control.mdp import Array, check_discount, state_occupancy

GAMMAS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.95, 0.99)
_RESIDUAL = 1e-8
_SAME = 1e-12
_SUBSETS = 14


class Proof(ABC):
    """Why an ordering of some policies cannot be stated."""

    @abstractmethod
    def verify(self, features: Array, order: Sequence[float]) -> bool:
        """Whether it holds for these features of the policies (N, F) and this order."""


@dataclass(frozen=True)
class Combination(Proof):
    """A combination of differences that is 0.

    Attributes:
        better: (K, 2) rows of policies, the first of which is strictly better.
        weights: (K,) at least 0, not all 0.
        tied: (L, 2) rows of policies that tie.
        tie_weights: (L,) of either sign.
    """

    better: Any
    weights: Array
    tied: Any
    tie_weights: Array

    def verify(self, features: Array, order: Sequence[float]) -> bool:
        """Whether the pairs are as the order says, and the weighted differences add up to 0."""
        levels = np.asarray(order)
        proper = all(levels[one] > levels[two] for one, two in self.better)
        proper = proper and all(levels[one] == levels[two] for one, two in self.tied)
        if not proper or (self.weights < 0).any() or not self.weights.sum() > _RESIDUAL:
            return False
        total = _differences(features, self.better).T @ self.weights
        total = total + _differences(features, self.tied).T @ self.tie_weights
        return bool((np.abs(total) <= _RESIDUAL * (1 + np.abs(features).max(initial=0.0))).all())


@dataclass(frozen=True)
class Indistinguishable(Proof):
    """Two policies with equal features, one of which is strictly better."""

    better: int
    worse: int

    def verify(self, features: Array, order: Sequence[float]) -> bool:
        """Whether the features are equal and the order is not."""
        same = bool((np.abs(features[self.better] - features[self.worse]) <= _SAME).all())
        return same and order[self.better] > order[self.worse]


@dataclass(frozen=True)
class ThreeLevels(Proof):
    """Three policies, each with one sure trajectory, on three levels: a formula holds of a trajectory or does not."""

    rows: tuple[int, int, int]

    def verify(self, features: Array, order: Sequence[float]) -> bool:
        """Whether the trajectories are sure and the levels differ."""
        sure = bool((np.abs(features[list(self.rows)].max(axis=1) - 1) <= _SAME).all())
        return sure and len({order[row] for row in self.rows}) == 3


@dataclass(frozen=True)
class NoSubset(Proof):
    """No set of trajectories has probabilities in this order; all sets were tried."""

    def verify(self, features: Array, order: Sequence[float]) -> bool:
        """Try them all again."""
        return not _some_subset(features, np.asarray(order))


@dataclass(frozen=True, eq=False)
class Certificate:
    """That an ordering of policies of an environment cannot be stated in a formalism.

    Attributes:
        formalism: The formalism.
        env: The environment.
        policies: N policies, (S, A) each.
        order: N levels; higher is better, equal is tied.
        proofs: Discount -> proof; None = for all discounts.
    """

    formalism: Formalism
    env: FiniteMDP
    policies: tuple[Array, ...]
    order: tuple[float, ...]
    proofs: dict[float | None, Proof]

    @property
    def scope(self) -> str:
        """For which discounts it was shown."""
        if None in self.proofs:
            return "for all discounts"
        return f"for the tested discounts {', '.join(f'{gamma:g}' for gamma in self.proofs if gamma is not None)}"

    def verify(self) -> bool:
        """Compute all features again from the environment, and check every proof."""
        return all(
            proof.verify(_features(self.formalism, self.env, self.policies, gamma, type(proof)), self.order)
            for gamma, proof in self.proofs.items()
        )


def refute(
    policies: Sequence[ArrayLike],
    order: Sequence[float],
    formalism: Formalism,
    env: FiniteMDP,
    gammas: Sequence[float] = GAMMAS,
) -> Certificate | None:
    """Show that an ordering of policies cannot be stated in a formalism.

    Args:
        policies: N policies.
        order: N levels: higher is better, equal is tied.
        formalism: The formalism.
        env: The environment.
        gammas: Discounts to try where no argument serves all of them.

    Returns:
        A certificate, or None where no proof was found: then the ordering can be stated (Markov rewards with one of
        the discounts, limit averages; functions of trajectories on episodic environments), or it may be.

    Raises:
        ValueError: Lengths differ, a level is NaN, or a policy or discount is wrong.
    """
    tables = tuple(policy_of(env, pi) for pi in policies)
    levels = tuple(float(level) for level in order)
    if len(tables) != len(levels) or any(level != level for level in levels):
        raise ValueError(f"order: {len(tables)} levels, none of them NaN, were expected, got {list(order)}")
    if len(set(levels)) < 2:
        return None
    proofs = _proofs(formalism, env, tables, levels, tuple(check_discount(gamma) for gamma in gammas))
    return Certificate(formalism, env, tables, levels, proofs) if proofs else None


def levels(spec: Objective, env: FiniteMDP, policies: Sequence[ArrayLike]) -> tuple[float, ...]:
    """The levels on which an objective puts some policies, 0 for the worst."""

    def compare(one: int, two: int) -> int:
        return spec.compare(env, policies[one], policies[two])

    rows = sorted(range(len(policies)), key=cmp_to_key(compare))
    found, level = [0.0] * len(rows), 0.0
    for place, row in enumerate(rows):
        if place and compare(rows[place - 1], row) != 0:
            level += 1.0
        found[row] = level
    return tuple(found)


def smallest_formalisms(
    policies: Sequence[ArrayLike], order: Sequence[float], env: FiniteMDP, gammas: Sequence[float] = GAMMAS
) -> tuple[Formalism, ...]:
    """The weakest formalisms that an ordering of policies was not refuted in.

    Arguments and errors as for `refute`.

    Returns:
        Formalisms that stand for their classes, none of which dominates another; () only if one policy has two levels.
    """
    heads = [members[0] for members in equivalence_classes()]
    refuted = {head for head in heads if refute(policies, order, head, env, gammas)}
    left = [head for head in heads if not any(dominates(other, head) for other in refuted)]
    return tuple(head for head in left if not any(other != head and dominates(head, other) for other in left))


def _proofs(
    formalism: Formalism, env: FiniteMDP, policies: tuple[Array, ...], order: tuple[float, ...], gammas: Sequence[float]
) -> dict[float | None, Proof]:
    head = representative(formalism)
    if head in (Formalism.ONMR, Formalism.FTLR, Formalism.TLO, Formalism.FPR, Formalism.PO):
        found = _same(_features(head, env, policies, None, Indistinguishable), order)
        return {None: found} if found else {}
    episodic = is_episodic(env)
    if head not in (Formalism.MR, Formalism.RRL, Formalism.LAR) and not episodic:
        return {}
    if episodic or head is Formalism.LAR:
        features = _features(head, env, policies, None, Combination)
        linear = _combination(features, order)
        if linear:
            return {None: linear}
        if head is Formalism.LTL:
            return _no_formula(features, order)
    if head not in (Formalism.MR, Formalism.RRL):
        return {}
    parts = {gamma: _combination(_features(head, env, policies, gamma, Combination), order) for gamma in gammas}
    return {gamma: proof for gamma, proof in parts.items() if proof} if all(parts.values()) else {}


def _no_formula(features: Array, order: tuple[float, ...]) -> dict[float | None, Proof]:
    sure = np.flatnonzero(np.abs(features.max(axis=1) - 1) <= _SAME)
    rows = {order[row]: int(row) for row in sure}
    if len(rows) > 2:
        first, second, third, *_ = rows.values()
        return {None: ThreeLevels((first, second, third))}
    if features.shape[1] <= _SUBSETS and not _some_subset(features, np.asarray(order)):
        return {None: NoSubset()}
    return {}


def _some_subset(features: Array, order: Array) -> bool:
    """Whether the probabilities of some set of trajectories are in this order."""
    count = features.shape[1]
    subsets = (np.arange(2**count)[:, None] >> np.arange(count)) & 1
    values = features @ subsets.T
    rows = np.argsort(order, kind="stable")
    gaps, rises = np.diff(values[rows], axis=0), np.diff(order[rows]) > 0
    fits = np.where(rises[:, None], gaps > _RESIDUAL, np.abs(gaps) <= _RESIDUAL)
    return bool(fits.all(axis=0).any())


def _same(features: Array, order: tuple[float, ...]) -> Indistinguishable | None:
    for one, two in np.argwhere(np.asarray(order)[:, None] > np.asarray(order)[None]):
        proof = Indistinguishable(int(one), int(two))
        if proof.verify(features, order):
            return proof
    return None


def _combination(features: Array, order: tuple[float, ...]) -> Combination | None:
    """A certificate that no weights give the order, or None where some do."""
    rows = np.argsort(order, kind="stable")
    steps = np.stack([rows[1:], rows[:-1]], axis=1)
    strict = np.asarray(order)[steps[:, 0]] > np.asarray(order)[steps[:, 1]]
    better, tied = steps[strict], steps[~strict]
    matrix = np.concatenate([_differences(features, better), _differences(features, tied)]).T
    total = np.concatenate([np.ones(len(better)), np.zeros(len(tied))])
    found = linprog(
        np.zeros(len(total)),
        A_eq=np.vstack([matrix, total]),
        b_eq=np.append(np.zeros(len(matrix)), 1.0),
        bounds=[(0, None)] * len(better) + [(None, None)] * len(tied),
        method="highs",
    )
    if found.status != 0:
        return None
    proof = Combination(better, np.maximum(found.x[: len(better)], 0), tied, found.x[len(better) :])
    return proof if proof.verify(features, order) else None


def _differences(features: Array, pairs: Any) -> Array:
    rows = np.asarray(pairs, dtype=np.int64).reshape(-1, 2)
    return np.asarray(features[rows[:, 0]] - features[rows[:, 1]])


def is_episodic(env: FiniteMDP) -> bool:
    """Whether every way ends in an absorbing state without coming to a state twice."""
    left = ~absorbing_states(env)
    inner = dense(env).sum(axis=1)[np.ix_(left, left)] > 0
    # Without cycles no way through these states is as long as their number.
    return not np.linalg.matrix_power(inner.astype(float), max(len(inner), 1)).any()


def _features(
    formalism: Formalism, env: FiniteMDP, policies: Sequence[Array], gamma: float | None, proof: type[Proof]
) -> Array:
    """(N, F): what values are linear in, or, for `Indistinguishable`, what they are a function of."""
    head = representative(formalism)
    if proof is Indistinguishable and head in (Formalism.FPR, Formalism.PO):
        return np.array([policy.ravel() for policy in policies])
    if proof is Indistinguishable:
        # A mark beyond any probability for states that are never reached.
        return np.array([np.nan_to_num(Lottery(env, policy).policy, nan=-1.0).ravel() for policy in policies])
    if head is Formalism.LAR:
        return np.array([limit_visits(env, policy).ravel() for policy in policies])
    if head in (Formalism.MR, Formalism.RRL):
        return _visits(head, env, policies, gamma)
    return np.array([trajectories(env).probabilities(policy) for policy in policies])


def _visits(head: Formalism, env: FiniteMDP, policies: Sequence[Array], gamma: float | None) -> Array:
    """Visits of (state, action) or (state, law of actions): discounted, or of each time step."""
    laws, tau = [], dense(env)
    for policy in policies:
        if gamma is not None:
            laws.append(state_occupancy(tau, gamma, policy, env.mu0)[None] * (1 - gamma))
            continue
        chain, law, rows = np.einsum("sa,sat->st", policy, tau), env.mu0, [env.mu0]
        for _ in range(env.states):
            law = law @ chain
            rows.append(law)
        laws.append(np.array(rows))
    if head is Formalism.MR:
        return np.array([(law[:, :, None] * policy).ravel() for law, policy in zip(laws, policies, strict=True)])
    known = np.unique(np.concatenate(policies), axis=0)
    kinds = [(policy[:, None] == known).all(axis=2) for policy in policies]
    return np.array([(law[:, :, None] * kind).ravel() for law, kind in zip(laws, kinds, strict=True)])
