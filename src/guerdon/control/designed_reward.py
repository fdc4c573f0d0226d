"""Rewards that a teacher designs: dense enough to learn from, few enough to explain, and with the same optimum.

Given an MDP and the reward that counts, a linear program finds another reward, nonzero in few states only, under which
every optimal policy is optimal for the original too, with at least its margin, and that tells a learner who looks only
a few steps ahead as much as possible (ExPRD); of actions that tie one may be preferred. A second program asks what
helps a learner most who now follows a given policy (ExpAdaRD). Both are solved by scipy's HiGHS, and every result
carries a certificate that was computed anew from it.

Notation: delta_h(s, a; R) = Q_h(s, pi*(s)) - Q_h(s, a), what it costs to take a in the place of the optimal action and
then to follow the optimal policy, counting h rewards; the margin d(s) is the smallest delta_inf(s, a) of the original
reward over actions that are not optimal.

Where this differs from the paper: of several optimal policies one is followed (the first optimal action of each state),
as the official code does; h counts rewards, so h = 1 is the action's own reward alone, as the later of the two official
codes counts; the invariance constraints ask for d / (1 + 1e-5), so that rounding cannot make the original reward
infeasible, while the informativeness is measured against d itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from scipy.optimize import linprog

from guerdon.control.invariance import HORIZONS, Original, check_horizons, check_invariance, informativeness
from guerdon.control.mdp import Array, Transitions, check_policy, optimal, state_occupancy

__all__ = [
    "HORIZONS", "DesignedReward", "InfeasibleDesign", "Original", "ada_reward", "check_invariance", "exprd",
    "exprd_greedy", "informativeness", "informativeness_coefficients",
]  # fmt: skip
SLACK = 1e-5
_INFEASIBLE = 2
_SAME = 1e-9


class InfeasibleDesign(ValueError):  # noqa: N818
    """No reward within the given support and bound is optimised by optimal policies alone."""


@dataclass(frozen=True, eq=False)
class DesignedReward:
    """A reward that a program found.

    Attributes:
        R: (S, A) float64 rewards.
        informativeness: What was maximised: at most 0 for `exprd`, any sign for `ada_reward`.
        status: What the solver says.
        support: The states that were allowed a reward.
        violation: See `check_invariance`: at most 1e-5 of the largest margin where the program asked for invariance.
        same_optimum: Whether every action that is optimal for R is optimal for the original reward, by solving both.
    """

    R: Array
    informativeness: float
    status: str
    support: tuple[int, ...]
    violation: float
    same_optimum: bool


def exprd(
    T: Transitions,  # noqa: N803
    Rbar: Any,  # noqa: N803
    gamma: float,
    support: ArrayLike,
    horizons: Iterable[int] = HORIZONS,
    rmax: float = 10.0,
    state_only: bool = False,
    features: ArrayLike | None = None,
) -> DesignedReward:
    """The most informative reward on a support whose optimal policies are optimal for the original (ExPRD).

    Args:
        T: (S, A, S) transitions, or sparse (S * A, S).
        Rbar: The reward that counts, (S, A, S), (S, A) or (S,).
        gamma: Discount in [0, 1).
        support: The states that may have a reward: integers, or (S,) bool.
        horizons: How many rewards learners count; each at least 1.
        rmax: Bound of the absolute rewards.
        state_only: Whether all actions of a state get the same reward.
        features: (S, A, K), or (S, K) for all actions alike: the reward is a combination of these; on states outside
            the support they are taken as 0.

    Returns:
        The reward with its certificate.

    Raises:
        InfeasibleDesign: There is no such reward.
        ValueError: Shapes, probabilities, the discount, the support, a horizon or the bound are wrong.

    Example:
        >>> import numpy as np
        >>> T = np.zeros((3, 2, 3))
        >>> T[0, 0, 0] = T[0, 1, 1] = T[1, 0, 0] = T[1, 1, 2] = T[2, :, 2] = 1
        >>> Rbar = np.zeros((3, 2))
        >>> Rbar[1, 1] = 1
        >>> found = exprd(T, Rbar, 0.9, [0, 1], horizons=(1, 2))
        >>> found.same_optimum, abs(round(found.informativeness, 6))
        (True, 0.0)
        >>> round(informativeness(Rbar, T, Rbar, 0.9, (1, 2)), 6)
        -0.015
    """
    original = Original.of(T, Rbar, gamma)
    return _exprd(
        original, _support(support, len(original.reward)), check_horizons(horizons), rmax, state_only, features
    )


def exprd_greedy(
    T: Transitions,  # noqa: N803
    Rbar: Any,  # noqa: N803
    gamma: float,
    budget: int,
    candidates: ArrayLike | None = None,
    horizons: Iterable[int] = HORIZONS,
    rmax: float = 10.0,
    state_only: bool = False,
    features: ArrayLike | None = None,
) -> DesignedReward:
    """`exprd` on a support that is chosen greedily.

    It starts with the states that have a reward, and adds, one by one, the state whose program has the highest optimum;
    of equals the first.

    Args:
        T: (S, A, S) transitions, or sparse (S * A, S).
        Rbar: The reward that counts.
        gamma: Discount in [0, 1).
        budget: How many states may have a reward.
        candidates: The states to choose from; None = all that are ever left.
        horizons: How many rewards learners count.
        rmax: Bound of the absolute rewards.
        state_only: Whether all actions of a state get the same reward.
        features: As for `exprd`.

    Returns:
        The reward; its `support` holds the states in the order in which they were chosen.

    Raises:
        InfeasibleDesign: There is no such reward on the states that were chosen.
        ValueError: As for `exprd`, or the states with a reward are more than the budget, or none.
    """
    original = Original.of(T, Rbar, gamma)
    states = len(original.reward)
    chosen = list(original.goals)
    if not chosen:
        raise ValueError("Rbar: no state has a reward, so that there is nothing to keep optimal")
    if len(chosen) > budget:
        raise ValueError(f"budget is {budget}: {len(chosen)} states have a reward already")
    free = np.flatnonzero(~original.terminal) if candidates is None else np.array(_support(candidates, states))
    steps = check_horizons(horizons)

    def solved(support: Sequence[int]) -> DesignedReward:
        return _exprd(original, tuple(support), steps, rmax, state_only, features)

    problem: InfeasibleDesign | None = None
    found: DesignedReward | None = None
    try:
        found = solved(chosen)
    except InfeasibleDesign as error:
        problem = error
    while len(chosen) < budget:
        left = [int(state) for state in free if state not in chosen]
        if not left:
            break
        highest: DesignedReward | None = None
        for state in left:
            try:
                one = solved([*chosen, state])
            except InfeasibleDesign as error:
                problem = error
                continue
            if highest is None or one.informativeness > highest.informativeness + _SAME:
                highest = one
        # Where no single state makes it feasible, the first is taken, and the next round goes on from there.
        chosen = list(highest.support) if highest is not None else [*chosen, left[0]]
        found = highest
    if found is None:
        assert problem is not None
        raise problem
    return found


def informativeness_coefficients(
    advantage: ArrayLike, pi_learner: ArrayLike, mu_teacher: ArrayLike, mu_learner: ArrayLike
) -> Array:
    """The (S, A) coefficients c of what a reward brings a learner in one policy-gradient step: I(R) = sum c R.

    I(R) = sum over s, a of mu_T(s) mu_L(s) pi(a|s)^2 (A_T(s, a) - A_T(s, pi)) (R(s, a) - R(s, pi)), where one factor pi
    is the visit and the other comes from the gradient of the softmax, and X(s, pi) is the mean over the policy.

    Args:
        advantage: (S, A) advantages A_T of the teacher's optimal policy under the original reward.
        pi_learner: (S, A) policy of the learner, or integer (S,).
        mu_teacher: (S,) visits of the teacher.
        mu_learner: (S,) visits of the learner.

    Returns:
        (S, A) float64; each row sums to 0.

    Raises:
        ValueError: Shapes do not fit, or the policy's rows do not sum to 1.
    """
    gain = np.asarray(advantage, dtype=np.float64)
    if gain.ndim != 2:
        raise ValueError(f"advantage: shape (S, A) was expected, got {gain.shape}")
    pi = check_policy(pi_learner, *gain.shape)
    visits = np.asarray(mu_teacher, dtype=np.float64) * np.asarray(mu_learner, dtype=np.float64)
    if visits.shape != gain.shape[:1]:
        raise ValueError(f"mu_teacher and mu_learner: shape {gain.shape[:1]} was expected, got {visits.shape}")
    weighted = visits[:, None] * pi**2 * (gain - (pi * gain).sum(axis=1, keepdims=True))
    return np.asarray(weighted - pi * weighted.sum(axis=1, keepdims=True))


def ada_reward(
    T: Transitions,  # noqa: N803
    Rbar: Any,  # noqa: N803
    gamma: float,
    pi_learner: ArrayLike,
    mu0: ArrayLike,
    rmax: float = 10.0,
    eps: float = 0.4,
    *,
    support: ArrayLike | None = None,
    state_only: bool = False,
    features: ArrayLike | None = None,
    invariant: bool = True,
) -> DesignedReward:
    """The reward that helps a learner most who now follows a given policy (ExpAdaRD).

    To be solved again as the learner changes. The reward replaces the original one, it is not added to it.

    Args:
        T: (S, A, S) transitions, or sparse (S * A, S).
        Rbar: The reward that counts.
        gamma: Discount in [0, 1).
        pi_learner: (S, A) policy of the learner.
        mu0: (S,) law of the first state.
        rmax: Bound of the absolute rewards.
        eps: The teacher takes a uniform action this often; in [0, 1].
        support: The states that may have a reward; None = all.
        state_only: Whether all actions of a state get the same reward.
        features: As for `exprd`.
        invariant: Whether the optimal policies have to be kept; without, the result is rmax * sign(c).

    Returns:
        The reward with its certificate; its `informativeness` is the sum of `informativeness_coefficients` times R.

    Raises:
        InfeasibleDesign: There is no such reward.
        ValueError: Shapes, probabilities, the discount, the support, the bound or eps are wrong.
    """
    if not 0 <= eps <= 1:
        raise ValueError(f"eps must be in [0, 1], got {eps}")
    original = Original.of(T, Rbar, gamma)
    states, actions = original.reward.shape
    teacher = (1 - eps) * np.eye(actions)[original.best.policy] + eps / actions
    learner = check_policy(pi_learner, states, actions)
    advantage = original.best.q - original.best.values[:, None]
    visits = [_visits(original, policy, mu0) for policy in (teacher, learner)]
    coefficients = informativeness_coefficients(advantage, learner, *visits)
    places = tuple(range(states)) if support is None else _support(support, states)
    basis = _basis(original, places, state_only, features)
    rows, right = _invariance(original, basis) if invariant else (np.zeros((0, basis.shape[2])), np.zeros(0))
    gains = np.einsum("sa,sak->k", coefficients, basis)
    weights, status = _solved(-gains, rows, right, basis, rmax, places)
    return _result(original, basis @ weights, float(gains @ weights), status, places)


def _visits(original: Original, policy: Array, mu0: ArrayLike) -> Array:
    """(S,) share of the discounted visits, the end of the episode left out."""
    visits = np.where(original.terminal, 0.0, state_occupancy(original.tau, original.gamma, policy, mu0))
    total = visits.sum()
    return np.asarray(visits / total if total > 0 else visits)


def _exprd(
    original: Original,
    support: tuple[int, ...],
    horizons: tuple[int, ...],
    rmax: float,
    state_only: bool,
    features: ArrayLike | None,
) -> DesignedReward:
    basis = _basis(original, support, state_only, features)
    wrong = ~original.best.actions
    # A state where every action is optimal has nothing to tell.
    open_states = np.flatnonzero(wrong.any(axis=1))
    place = np.full(len(original.reward), -1)
    place[open_states] = np.arange(len(open_states))
    rows, right = _invariance(original, basis)
    size = basis.shape[2]
    gaps = len(open_states) * len(horizons)
    blocks = [sparse.csr_matrix(np.hstack([rows, np.zeros((len(rows), gaps))]))]
    states, _ = np.nonzero(wrong)
    for index, horizon in enumerate(horizons):
        # x(s, h) >= d(s) - delta_h(s, a) for every action that is not optimal.
        told = original.losses(basis, horizon)[wrong]
        columns = index * len(open_states) + place[states]
        gap = sparse.csr_matrix((np.full(len(states), -1.0), (np.arange(len(states)), columns)), (len(states), gaps))
        blocks.append(sparse.hstack([sparse.csr_matrix(-told), gap], format="csr"))
        right = np.concatenate([right, -original.margin[states]])
    scale = len(horizons) * len(original.reward)
    cost = np.concatenate([np.zeros(size), np.full(gaps, 1 / scale)])
    weights, status = _solved(cost, sparse.vstack(blocks), right, basis, rmax, support)
    return _result(original, basis @ weights[:size], None, status, support, horizons)


def _result(
    original: Original,
    table: Array,
    value: float | None,
    status: str,
    support: tuple[int, ...],
    horizons: tuple[int, ...] = HORIZONS,
) -> DesignedReward:
    """The result, judged anew from the reward alone."""
    parts = (original.tau, original.reward, original.gamma)
    reached = informativeness(table, *parts, horizons) if value is None else value
    kept = not (optimal(table, original.tau, original.gamma).actions & ~original.best.actions).any()
    return DesignedReward(table, reached, status, support, check_invariance(table, *parts), bool(kept))


def _invariance(original: Original, basis: Array) -> tuple[Array, Array]:
    """Rows and right sides of delta_inf >= d for what is not optimal, >= 0 for what is."""
    asked = np.where(original.best.actions, 0.0, original.margin[:, None] / (1 + SLACK))
    other = np.ones(asked.shape, dtype=bool)
    # The followed action loses nothing by definition.
    other[np.arange(len(other)), original.best.policy] = False
    return -original.losses(basis, None)[other], -asked[other]


def _basis(original: Original, support: tuple[int, ...], state_only: bool, features: ArrayLike | None) -> Array:
    """(S, A, K): what rewards are combinations of."""
    states, actions = original.reward.shape
    allowed = np.zeros(states)
    allowed[list(support)] = 1
    if features is not None:
        given = np.asarray(features, dtype=np.float64)
        given = np.repeat(given[:, None], actions, axis=1) if given.ndim == 2 else given
        if given.ndim != 3 or given.shape[:2] != (states, actions) or not np.isfinite(given).all():
            raise ValueError(f"features: finite ({states}, {actions}, K) or ({states}, K), got {np.shape(features)}")
        if state_only and not np.array_equal(given, np.repeat(given[:, :1], actions, axis=1)):
            raise ValueError("features: with state_only they must be the same for all actions")
        return np.asarray(given * allowed[:, None, None])
    places = np.eye(states)[:, list(support)]
    if state_only:
        return np.repeat(places[:, None], actions, axis=1)
    return np.asarray(np.einsum("sk,ab->sakb", places, np.eye(actions)).reshape(states, actions, -1))


def _solved(
    cost: Array, rows: Any, right: Array, basis: Array, rmax: float, support: tuple[int, ...]
) -> tuple[Array, str]:
    """The weights that cost least, and what the solver says. What comes after the basis' weights is at least 0."""
    if not 0 < rmax < np.inf:
        raise ValueError(f"rmax must be positive and finite, got {rmax}")
    size, extra = basis.shape[2], len(cost) - basis.shape[2]
    flat = basis.reshape(-1, size)
    used = flat[(flat != 0).any(axis=1)]
    boxes = np.vstack([used, -used])
    matrix = sparse.vstack(
        [sparse.csr_matrix(rows), sparse.csr_matrix(np.hstack([boxes, np.zeros((len(boxes), extra))]))]
    )
    bounds = [(None, None)] * size + [(0, None)] * extra
    found = linprog(
        cost, A_ub=matrix, b_ub=np.concatenate([right, np.full(len(boxes), rmax)]), bounds=bounds, method="highs"
    )
    if found.status == _INFEASIBLE:
        raise InfeasibleDesign(
            f"no reward on the {len(support)} states {list(support)[:10]} within {rmax} "
            "is optimised by optimal policies alone"
        )
    if found.status != 0:
        raise RuntimeError(f"the linear program was not solved: {found.message}")
    return np.asarray(found.x, dtype=np.float64), str(found.message)


def _support(support: ArrayLike, states: int) -> tuple[int, ...]:
    given = np.asarray(support)
    if given.dtype == bool and given.shape == (states,):
        given = np.flatnonzero(given)
    if not given.size or given.ndim != 1 or not np.issubdtype(given.dtype, np.integer):
        raise ValueError(f"support: states, one or more, or ({states},) bool were expected, got {support!r}")
    if given.min() < 0 or given.max() >= states:
        raise ValueError(f"support: states must be 0 to {states - 1}, got {given.min()} to {given.max()}")
    return tuple(dict.fromkeys(int(state) for state in given))
