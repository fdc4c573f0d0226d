"""Finite Markov decision processes, solved exactly: values, optimal policies, occupancies.

Shapes: S states, A actions. Transitions are (S, A, S) with rows that sum to 1, or, for many states, a scipy sparse
matrix of shape (S * A, S) whose row s * A + a is the law of the next state. A reward is (S, A, S), (S, A) or (S,); with
sparse transitions it is (S, A), (S,) or a sparse (S * A, S) matrix. A policy is (S, A) with rows that sum to 1, or an
integer (S,) of actions. Everything is computed in float64 by linear solves, not by iteration to a tolerance; the
discount is in [0, 1).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.sparse.linalg import bicgstab, splu

Array: TypeAlias = NDArray[np.float64]
Transitions: TypeAlias = Any
"""(S, A, S) array or (S * A, S) scipy sparse matrix."""

ROW_SUM_TOLERANCE = 1e-6
_MAX_POLICY_STEPS = 10_000
_TIE = 1e-9
_RESIDUAL = 1e-14
_REFINEMENTS = 6
_MAX_ITERATIONS = 2_000


@dataclass(frozen=True)
class Optimal:
    """What is best in an MDP.

    Attributes:
        values: (S,) float64 optimal values.
        q: (S, A) float64 optimal action values.
        actions: (S, A) bool; the actions that are optimal, ties within a tolerance included.
    """

    values: Array
    q: Array
    actions: NDArray[np.bool_]

    @cached_property
    def policy(self) -> NDArray[np.int64]:
        """(S,) int64: the first optimal action of each state."""
        return np.asarray(np.argmax(self.actions, axis=1), dtype=np.int64)


def check_transitions(tau: Transitions) -> tuple[int, int]:
    """Check transitions.

    Args:
        tau: (S, A, S) array or sparse (S * A, S).

    Returns:
        The numbers of states and actions.

    Raises:
        ValueError: The shape is another, an entry is negative or not finite, or a row does not sum to 1 (within 1e-6);
            the first bad state and action are named.
    """
    if sparse.issparse(tau):
        rows, states = tau.shape
        if states == 0 or rows % states:
            raise ValueError(f"tau: a sparse matrix of shape (S * A, S) was expected, got {tau.shape}")
        entries, sums = tau.data, np.asarray(tau.sum(axis=1)).ravel()
    else:
        dense = np.asarray(tau, dtype=np.float64)
        if dense.ndim != 3 or dense.shape[0] != dense.shape[2] or not dense.size:
            raise ValueError(f"tau: shape (S, A, S) was expected, got {dense.shape}")
        states, rows = dense.shape[0], dense.shape[0] * dense.shape[1]
        entries, sums = dense, dense.sum(axis=2).ravel()
    if not np.isfinite(entries).all() or (entries < 0).any():
        raise ValueError("tau: probabilities must be finite and at least 0")
    bad = np.flatnonzero(np.abs(sums - 1) > ROW_SUM_TOLERANCE)
    actions = rows // states
    if bad.size:
        state, action = divmod(int(bad[0]), actions)
        raise ValueError(f"tau[{state}, {action}]: probabilities must sum to 1, they sum to {sums[bad[0]]:.6g}")
    return states, actions


def check_discount(gamma: float) -> float:
    """The discount, which must be in [0, 1).

    Raises:
        ValueError: It is not.
    """
    if not 0 <= gamma < 1:
        raise ValueError(f"gamma must be in [0, 1), got {gamma}")
    return float(gamma)


def check_policy(pi: ArrayLike, states: int, actions: int) -> Array:
    """A policy as (S, A) probabilities.

    Args:
        pi: (S, A) probabilities, or (S,) integers.
        states: S.
        actions: A.

    Returns:
        (S, A) float64.

    Raises:
        ValueError: The shape is another, an action is out of range, or a row does not sum to 1 (within 1e-6).
    """
    given = np.asarray(pi)
    if given.ndim == 1 and given.shape == (states,) and np.issubdtype(given.dtype, np.integer):
        if ((given < 0) | (given >= actions)).any():
            raise ValueError(f"pi: actions must be 0 to {actions - 1}")
        return np.asarray(np.eye(actions)[given])
    table = np.asarray(given, dtype=np.float64)
    if table.shape != (states, actions):
        raise ValueError(f"pi: shape {(states, actions)} was expected, got {table.shape}")
    bad = np.flatnonzero((np.abs(table.sum(axis=1) - 1) > ROW_SUM_TOLERANCE) | ~(table >= 0).all(axis=1))
    if bad.size:
        raise ValueError(f"pi[{bad[0]}]: probabilities must be at least 0 and sum to 1, got {table[bad[0]].tolist()}")
    return table


def uniform_policy(states: int, actions: int) -> Array:
    """The (S, A) policy that takes each action equally often."""
    return np.full((states, actions), 1 / actions)


def expected_reward(reward: Any, tau: Transitions) -> Array:
    """The (S, A) float64 mean of a reward over the next state.

    Args:
        reward: (S, A, S), (S, A) or (S,); sparse (S * A, S) with sparse transitions.
        tau: The transitions.

    Raises:
        ValueError: Shapes do not fit, or a value that can be reached is not finite.
    """
    states, actions = check_transitions(tau)
    if sparse.issparse(reward):
        if not sparse.issparse(tau) or reward.shape != tau.shape:
            raise ValueError(
                f"R: a sparse reward must have the shape of sparse transitions {tau.shape}, got {reward.shape}"
            )
        return np.asarray(tau.multiply(reward).sum(axis=1)).reshape(states, actions)
    table = np.asarray(reward, dtype=np.float64)
    if table.shape == (states,):
        mean = np.repeat(table[:, None], actions, axis=1)
    elif table.shape == (states, actions):
        mean = table
    elif table.shape == (states, actions, states):
        # What cannot happen has no reward: infinities and NaN there must not spread.
        if sparse.issparse(tau):
            rows = table.reshape(states * actions, states)
            mean = np.asarray(tau.multiply(np.where(np.isfinite(rows), rows, 0)).sum(axis=1)).reshape(states, actions)
        else:
            probabilities = np.asarray(tau, dtype=np.float64)
            mean = np.where(probabilities > 0, probabilities * np.where(probabilities > 0, table, 0), 0).sum(axis=2)
    else:
        expected = f"{(states, actions, states)}, {(states, actions)} or {(states,)}"
        raise ValueError(f"R: shape {expected} was expected, got {table.shape}")
    if not np.isfinite(mean).all():
        state, action = (int(index) for index in np.argwhere(~np.isfinite(mean))[0])
        raise ValueError(f"R[{state}, {action}]: rewards must be finite")
    return mean


def next_values(values: ArrayLike, tau: Transitions) -> Array:
    """(S, A) expected value of the next state."""
    vector = np.asarray(values, dtype=np.float64)
    if sparse.issparse(tau):
        return np.asarray(tau @ vector).reshape(tau.shape[1], -1)
    return np.asarray(np.asarray(tau, dtype=np.float64) @ vector)


def policy_transitions(tau: Transitions, pi: Array) -> Any:
    """The chain of a policy: (S, S), sparse where the transitions are."""
    states, actions = pi.shape
    if sparse.issparse(tau):
        rows = np.repeat(np.arange(states), actions)
        mix = sparse.csr_matrix((pi.ravel(), (rows, np.arange(states * actions))), shape=(states, states * actions))
        return (mix @ tau.tocsr()).tocsr()
    return np.einsum("sa,sat->st", pi, np.asarray(tau, dtype=np.float64))


def _solve(chain: Any, gamma: float, right: Array, transposed: bool = False) -> Array:
    """Solve (1 - gamma chain) x = right, or its transpose."""
    if not sparse.issparse(chain):
        matrix = np.eye(chain.shape[0]) - gamma * chain
        return np.asarray(np.linalg.solve(matrix.T if transposed else matrix, right))
    system = (sparse.identity(chain.shape[0], format="csr") - gamma * chain).tocsr()
    if transposed:
        system = system.T.tocsr()
    # A factorisation of a random graph is nearly dense; the iteration is kept only where it is as exact as one: the
    # residual is at the level of rounding, and bounds the error by 1 / (1 - gamma) times itself (in the largest entry
    # for values, in the sum for occupancies).
    norm = 1 if transposed else np.inf
    solution = np.zeros_like(right)
    for _ in range(_REFINEMENTS):
        residual = right - system @ solution
        if np.linalg.norm(residual, norm) <= _RESIDUAL * max(
            np.linalg.norm(right, norm), np.linalg.norm(solution, norm)
        ):
            return solution
        solution = solution + bicgstab(system, residual, rtol=1e-8, maxiter=_MAX_ITERATIONS)[0]
    return np.asarray(splu(system.tocsc()).solve(right))


def policy_value(R: Any, tau: Transitions, gamma: float, pi: ArrayLike | None = None) -> Array:  # noqa: N803
    """Values of a policy, by a linear solve.

    Args:
        R: The reward, (S, A, S), (S, A) or (S,).
        tau: The transitions.
        gamma: Discount in [0, 1).
        pi: The policy; None = uniform.

    Returns:
        (S,) float64: expected discounted return from each state.

    Raises:
        ValueError: Shapes, probabilities or the discount are wrong.
    """
    states, actions = check_transitions(tau)
    table = uniform_policy(states, actions) if pi is None else check_policy(pi, states, actions)
    right = (table * expected_reward(R, tau)).sum(axis=1)
    return _solve(policy_transitions(tau, table), check_discount(gamma), right)


def q_values(
    R: Any,  # noqa: N803
    tau: Transitions,
    gamma: float,
    pi: ArrayLike | None = None,
    horizon: int | None = None,
) -> Array:
    """Action values of a policy.

    Args:
        R: The reward, (S, A, S), (S, A) or (S,).
        tau: The transitions.
        gamma: Discount in [0, 1).
        pi: The policy that is followed after the action; None = uniform.
        horizon: How many rewards are counted; 1 = the action's own reward alone. None = all.

    Returns:
        (S, A) float64.

    Raises:
        ValueError: Shapes, probabilities, the discount or the horizon are wrong.
    """
    states, actions = check_transitions(tau)
    table = uniform_policy(states, actions) if pi is None else check_policy(pi, states, actions)
    mean = expected_reward(R, tau)
    if horizon is None:
        return mean + gamma * next_values(policy_value(mean, tau, gamma, table), tau)
    if horizon < 1:
        raise ValueError(f"horizon must be at least 1, got {horizon}")
    check_discount(gamma)
    q = mean
    for _ in range(horizon - 1):
        q = mean + gamma * next_values((table * q).sum(axis=1), tau)
    return q


def optimal(R: Any, tau: Transitions, gamma: float, tie: float = _TIE) -> Optimal:  # noqa: N803
    """Optimal values and actions, by policy iteration with exact evaluation.

    Args:
        R: The reward, (S, A, S), (S, A) or (S,).
        tau: The transitions.
        gamma: Discount in [0, 1).
        tie: Actions whose value is within `tie` * max(1, largest value) of the best are optimal too.

    Raises:
        ValueError: Shapes, probabilities or the discount are wrong.
    """
    states, _ = check_transitions(tau)
    mean = expected_reward(R, tau)
    policy = np.argmax(mean, axis=1)
    for _ in range(_MAX_POLICY_STEPS):
        q = q_values(mean, tau, gamma, policy)
        slack = 1e-12 * max(1.0, float(np.abs(q).max()))
        # An action is left only for one that is better by more than rounding: otherwise ties would go round for ever.
        better = q.max(axis=1) > q[np.arange(states), policy] + slack
        if not better.any():
            break
        policy = np.where(better, np.argmax(q, axis=1), policy)
    best = q.max(axis=1)
    return Optimal(best, q, q >= best[:, None] - tie * max(1.0, float(np.abs(best).max())))


def state_occupancy(tau: Transitions, gamma: float, pi: ArrayLike, mu0: ArrayLike) -> Array:
    """(S,) float64 discounted visits: sum over t of gamma^t P(s_t = s); they sum to 1 / (1 - gamma).

    Args:
        tau: The transitions.
        gamma: Discount in [0, 1).
        pi: The policy.
        mu0: (S,) law of the first state.

    Raises:
        ValueError: Shapes, probabilities or the discount are wrong.
    """
    states, actions = check_transitions(tau)
    start = check_start(mu0, states)
    return _solve(
        policy_transitions(tau, check_policy(pi, states, actions)), check_discount(gamma), start, transposed=True
    )


def occupancy(tau: Transitions, gamma: float, pi: ArrayLike, mu0: ArrayLike) -> Array:
    """(S, A) float64 discounted visits of each state and action; see `state_occupancy`."""
    states, actions = check_transitions(tau)
    return state_occupancy(tau, gamma, pi, mu0)[:, None] * check_policy(pi, states, actions)


def transition_occupancy(tau: Transitions, gamma: float, pi: ArrayLike, mu0: ArrayLike) -> Array:
    """(S, A, S) float64 discounted visits of each transition; dense transitions only."""
    return occupancy(tau, gamma, pi, mu0)[:, :, None] * np.asarray(tau, dtype=np.float64)


def check_start(mu0: ArrayLike, states: int) -> Array:
    """The law of the first state as (S,) float64.

    Raises:
        ValueError: It has another shape or does not sum to 1.
    """
    start = np.asarray(mu0, dtype=np.float64)
    if start.shape != (states,) or not (start >= 0).all() or abs(start.sum() - 1) > ROW_SUM_TOLERANCE:
        raise ValueError(
            f"mu0: {states} probabilities that sum to 1 were expected, got shape {start.shape}, sum {start.sum():.6g}"
        )
    return start


def policy_return(R: Any, tau: Transitions, gamma: float, pi: ArrayLike, mu0: ArrayLike) -> float:  # noqa: N803
    """The expected discounted return of a policy from the start distribution."""
    states, _ = check_transitions(tau)
    return float(check_start(mu0, states) @ policy_value(R, tau, gamma, pi))


def enumerate_policies(states: int, actions: int, limit: int = 100_000) -> Iterator[NDArray[np.int64]]:
    """All deterministic policies as (S,) int64 rows; the action of the last state changes fastest.

    Raises:
        ValueError: There are more than `limit`.
    """
    count = actions**states
    if count > limit:
        raise ValueError(f"{actions} ** {states} policies are more than the limit of {limit}")
    powers = actions ** np.arange(states - 1, -1, -1)
    for index in range(count):
        yield index // powers % actions


def sample_next(
    tau: Transitions, states: ArrayLike, actions: ArrayLike, generator: np.random.Generator
) -> NDArray[np.int64]:
    """Draw the next state of each (state, action) of a batch.

    Args:
        tau: (S, A, S) transitions; dense.
        states: (N,) integers.
        actions: (N,) integers.
        generator: Source of randomness.

    Returns:
        (N,) int64.
    """
    cumulative = np.cumsum(np.asarray(tau, dtype=np.float64)[np.asarray(states), np.asarray(actions)], axis=-1)
    draws = generator.random(cumulative.shape[:-1])[..., None] * cumulative[..., -1:]
    return np.asarray((draws >= cumulative).sum(axis=-1), dtype=np.int64)
