"""Canonical forms of a reward: what is left of it when that which never changes the order of policies is taken out.

Two rewards order all policies of a finite MDP alike if and only if they differ by potential shaping
(R + gamma phi(s') - phi(s)), by redistribution over the next state (another R with the same mean over s'), and by a
positive factor. A canonicalisation is linear and takes out the first two: `canon_val` (value-adjusted levelling, STARC,
arXiv 2309.15257) and `canon_minimal_l2` do so. `canon_val_potential` and `canon_minimal_potential` take out shaping
only, and so do the older EPIC (arXiv 2006.13900) and DARD (arXiv 2201.10081): where transitions are random they keep
differences that no policy can see.

Where this differs from the paper: the minimal forms are those of the 2-norm and are solved as least squares, where the
official code descends by Adam and may end without an answer.

Shapes are those of `guerdon.control.mdp`. A canonical form is (S, A, S), except where it is the same for every next
state: then it is kept as (S, A), so that many states fit into memory; and over sparse transitions the minimal form is a
sparse (S * A, S) matrix. `canonical_form` returns these, the `canon_...` functions always (S, A, S).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from scipy.sparse.linalg import cg

from guerdon.control.mdp import (
    Array,
    Transitions,
    check_discount,
    check_transitions,
    expected_reward,
    next_values,
    policy_value,
)

Canonicalisation: TypeAlias = Callable[[Any, Transitions, float], Any]
"""(R, tau, gamma) -> canonical form: (S, A) = the same for every next state, (S, A, S), or sparse (S * A, S)."""


def advantages(R: Any, tau: Transitions, gamma: float, pi: ArrayLike | None = None) -> Array:  # noqa: N803
    """E[R(s, a, S') + gamma V(S')] - V(s): advantages of a policy, which are VAL without its copies along s'.

    Args:
        R: The reward, (S, A, S), (S, A), (S,) or sparse (S * A, S).
        tau: The transitions, dense or sparse.
        gamma: Discount in [0, 1).
        pi: The policy whose values V are taken; None = uniform.

    Returns:
        (S, A) float64.

    Raises:
        ValueError: Shapes, probabilities or the discount are wrong.
    """
    mean = expected_reward(R, tau)
    values = policy_value(mean, tau, gamma, pi)
    return mean + gamma * next_values(values, tau) - values[:, None]


def canon_val(R: Any, tau: Transitions, gamma: float, pi: ArrayLike | None = None) -> Array:  # noqa: N803
    """Value-adjusted levelling (VAL): the advantage of a policy, the same for every next state.

    Any policy will do, but the values must be those of the same reward: with the values of another reward the form is
    not linear. Arguments and errors as for `advantages`.

    Returns:
        (S, A, S) float64.

    Example:
        >>> tau = [[[1.0, 0.0], [0.0, 1.0]], [[0.5, 0.5], [0.0, 1.0]]]
        >>> canon_val([[[1, 0], [0, 2]], [[4, 0], [0, -1]]], tau, 0.5)[:, :, 0].round(6).tolist()
        [[-0.214286, 0.214286], [1.642857, -1.642857]]
    """
    return _copied(advantages(R, tau, gamma, pi))


def canon_val_potential(R: Any, tau: Transitions, gamma: float, pi: ArrayLike | None = None) -> Array:  # noqa: N803
    """R + gamma V(s') - V(s), VAL without the mean over s': takes out shaping, but not redistribution.

    Arguments and errors as for `advantages`.

    Returns:
        (S, A, S) float64.
    """
    return shaped(every_transition(R, tau), policy_value(R, tau, gamma, pi), gamma)


def canon_minimal_l2(R: Any, tau: Transitions, gamma: float, weighted: bool = False) -> Array:  # noqa: N803
    """The member of the reward's class (shaped and redistributed in any way) that has the least 2-norm.

    With b = E[R] + gamma E[phi(S')] - phi(s), the shortest row of that mean is tau b / ||tau(s, a)||^2, whose norm is
    |b| / ||tau(s, a)||: phi is a least squares solution with weights 1 / ||tau(s, a)||^2. In the norm weighted by tau
    the shortest row is b itself, and all weights are 1.

    Args:
        R: The reward.
        tau: The transitions.
        gamma: Discount in [0, 1).
        weighted: Whether the norm is (sum tau R^2)^(1/2) instead of (sum R^2)^(1/2).

    Returns:
        (S, A, S) float64.

    Raises:
        ValueError: Shapes, probabilities or the discount are wrong.
    """
    found = _minimal(R, tau, gamma, weighted)
    if sparse.issparse(found):
        return _dense(found, *check_transitions(tau))
    return _copied(found) if found.ndim == 2 else found


def canon_minimal_potential(R: Any, tau: Transitions, gamma: float, weighted: bool = False) -> Array:  # noqa: N803
    """The reward shaped so that its 2-norm is the least: takes out shaping, but not redistribution.

    Arguments, shapes and errors as for `canon_minimal_l2`.
    """
    states, actions = check_transitions(tau)
    check_discount(gamma)
    reward = every_transition(R, tau)
    weight = _dense(tau, states, actions) if weighted else np.ones((states, actions, states))
    # The normal equations of min over phi of sum w (R + gamma phi(s') - phi(s))^2.
    flow = weight.sum(axis=1)
    pull = weight * np.where(weight > 0, reward, 0)
    matrix = np.diag(gamma**2 * flow.sum(axis=0) + flow.sum(axis=1)) - gamma * (flow + flow.T)
    right = pull.sum(axis=(1, 2)) - gamma * pull.sum(axis=(0, 1))
    return shaped(reward, np.linalg.lstsq(matrix, right, rcond=None)[0], gamma)


def canon_epic(
    R: Any,  # noqa: N803
    gamma: float,
    ds: ArrayLike | None = None,
    da: ArrayLike | None = None,
) -> Array:
    """EPIC's form: R + E[gamma R(s', A, S') - R(s, A, S') - gamma R(S, A, S')], all draws independent.

    It knows no transitions, and so looks at rewards of transitions that cannot happen.

    Args:
        R: (S, A, S) reward, finite everywhere.
        gamma: Discount in [0, 1).
        ds: (S,) law of S and S'; None = uniform.
        da: (A,) law of A; None = uniform.

    Returns:
        (S, A, S) float64.

    Raises:
        ValueError: Shapes, probabilities or the discount are wrong.
    """
    reward = np.asarray(R, dtype=np.float64)
    if reward.ndim != 3 or reward.shape[0] != reward.shape[2]:
        raise ValueError(f"R: shape (S, A, S) was expected, got {reward.shape}")
    check_discount(gamma)
    states = _law("ds", ds, reward.shape[0])
    means = np.einsum("sat,a,t->s", reward, _law("da", da, reward.shape[1]), states)
    return shaped(reward, means, gamma) - gamma * float(states @ means)


def canon_dard(R: Any, tau: Transitions, gamma: float, da: ArrayLike | None = None) -> Array:  # noqa: N803
    """DARD's form: EPIC's with next states drawn from the transitions.

    R + gamma E[R(s', A, S'')] - E[R(s, A, S')] - gamma E[R(S', A, S'')] with S' ~ tau(s, A), S'' ~ tau(s', A). The
    last term may look at transitions from S' to S'' that cannot happen.

    Args:
        R: The reward.
        tau: (S, A, S) transitions.
        gamma: Discount in [0, 1).
        da: (A,) law of A; None = uniform.

    Returns:
        (S, A, S) float64.

    Raises:
        ValueError: Shapes, probabilities or the discount are wrong.
    """
    states, actions = check_transitions(tau)
    check_discount(gamma)
    reward, law, dense = every_transition(R, tau), _law("da", da, actions), _dense(tau, states, actions)
    means = np.einsum("sat,sat,a->s", dense, reward, law)
    onward = np.zeros((states, states))
    for action in range(actions):
        onward += law[action] * (dense[:, action] @ reward[:, action] @ dense[:, action].T)
    return shaped(reward, means, gamma) - gamma * onward[:, None, :]


def no_canon(R: Any, tau: Transitions, gamma: float) -> Any:  # noqa: N803
    """The reward as it is: what distances of raw rewards are made from."""
    check_discount(gamma)
    if np.ndim(R) == 1 or (np.ndim(R) == 2 and not sparse.issparse(R)):
        return expected_reward(R, tau)
    return every_transition(R, tau)


def shaped(R: Array, phi: ArrayLike, gamma: float) -> Array:  # noqa: N803
    """Potential shaping of an (S, A, S) reward: R(s, a, s') + gamma phi(s') - phi(s)."""
    potential = np.asarray(phi, dtype=np.float64)
    return R + gamma * potential[None, None, :] - potential[:, None, None]


def every_transition(R: Any, tau: Transitions) -> Array:  # noqa: N803
    """A reward as a new (S, A, S) float64 array.

    Raises:
        ValueError: The shape is another.
    """
    states, actions = check_transitions(tau)
    if sparse.issparse(R):
        if R.shape != (states * actions, states):
            raise ValueError(f"R: a sparse reward of shape {(states * actions, states)} was expected, got {R.shape}")
        return _dense(R, states, actions)
    reward = np.asarray(R, dtype=np.float64)
    if reward.shape == (states, actions, states):
        return reward.copy()
    return _copied(expected_reward(reward, tau))


def canonical_form(
    R: Any,  # noqa: N803
    tau: Transitions,
    gamma: float,
    canon: str | Canonicalisation = "val",
    pi: ArrayLike | None = None,
) -> Any:
    """A canonical form in its smallest shape.

    Args:
        R: The reward.
        tau: The transitions.
        gamma: Discount in [0, 1).
        canon: "val", "val-potential", "minimal", "minimal-tau" (of the norm weighted by tau), "minimal-potential",
            "epic", "dard", "none", or a function (R, tau, gamma).
        pi: The policy of "val" and "val-potential"; None = uniform.

    Returns:
        (S, A) where the form is the same for every next state, else (S, A, S) or sparse (S * A, S); float64.

    Raises:
        ValueError: The name is unknown; shapes, probabilities or the discount are wrong; or transitions are sparse and
            the form is one that fills every transition.
    """
    if callable(canon):
        return canon(R, tau, gamma)
    if canon not in CANONICALISATIONS:
        raise ValueError(f"canon is {canon!r}: expected one of {CANONICALISATIONS}")
    if sparse.issparse(tau) and canon in _DENSE and not (canon == "none" and np.ndim(R) < 3 and not sparse.issparse(R)):
        raise ValueError(f"canon {canon!r} fills every transition: with sparse transitions use 'val' or 'minimal'")
    if canon == "val":
        return advantages(R, tau, gamma, pi)
    if canon == "val-potential":
        return canon_val_potential(R, tau, gamma, pi)
    if canon in ("minimal", "minimal-tau"):
        return _minimal(R, tau, gamma, canon == "minimal-tau")
    if canon == "epic":
        return canon_epic(every_transition(R, tau), gamma)
    others: dict[str, Canonicalisation] = {
        "minimal-potential": canon_minimal_potential,
        "dard": canon_dard,
        "none": no_canon,
    }
    return others[canon](R, tau, gamma)


CANONICALISATIONS = (
    "val", "minimal", "minimal-tau", "val-potential", "minimal-potential", "epic", "dard", "none",
)  # fmt: skip
"""Names that `canonical_form` knows; the first three take out all that never changes the order of policies."""
_DENSE = frozenset(("val-potential", "minimal-potential", "epic", "dard", "none"))


def _minimal(R: Any, tau: Transitions, gamma: float, weighted: bool) -> Any:  # noqa: N803
    """The minimal form: (S, A) if weighted, else (S, A, S) or sparse."""
    check_discount(gamma)
    states, actions = check_transitions(tau)
    rows: Any = tau.tocsr() if sparse.issparse(tau) else np.reshape(np.asarray(tau, np.float64), (-1, states))
    mean = expected_reward(R, tau).ravel()
    squares = np.asarray(rows.power(2).sum(axis=1)).ravel() if sparse.issparse(tau) else (rows**2).sum(axis=1)
    weight = np.ones_like(squares) if weighted else 1 / squares
    residual = mean + _least_squares_shaping(rows, mean, weight, gamma, actions)
    if weighted:
        return residual.reshape(states, actions)
    if sparse.issparse(tau):
        return (sparse.diags(residual * weight) @ rows).tocsr()
    return (rows * (residual * weight)[:, None]).reshape(states, actions, states)


def _least_squares_shaping(rows: Any, mean: Array, weight: Array, gamma: float, actions: int) -> Array:
    """(S * A,) gamma E[phi(S')] - phi(s) for the phi that brings it nearest to -mean."""
    states = rows.shape[1]
    root = np.sqrt(weight)
    own = np.repeat(np.arange(states), actions)
    if sparse.issparse(rows):
        pairs = np.arange(states * actions)
        here = sparse.csr_matrix((np.ones(states * actions), (pairs, own)), shape=rows.shape)
        change = (gamma * rows - here).tocsr()
        scaled = (sparse.diags(root) @ change).tocsr()
        normal = (scaled.T @ scaled).tocsr()
        # The columns are independent for gamma < 1, so that the normal equations have one solution.
        phi, failed = cg(normal, -(scaled.T @ (root * mean)), rtol=1e-14, atol=0.0, maxiter=20 * states)
        if failed:
            raise ValueError("the minimal canonical form did not converge: use 'val', which is exact")
        return np.asarray(change @ phi)
    change = gamma * rows
    change[np.arange(states * actions), own] -= 1
    phi = np.linalg.lstsq(change * root[:, None], -root * mean, rcond=None)[0]
    return np.asarray(change @ phi)


def _copied(table: Array) -> Array:
    """(S, A) as (S, A, S)."""
    return np.repeat(table[:, :, None], table.shape[0], axis=2)


def _dense(matrix: Any, states: int, actions: int) -> Array:
    """(S * A, S), sparse or not, or (S, A, S), as an (S, A, S) array."""
    table = matrix.toarray() if sparse.issparse(matrix) else np.asarray(matrix, dtype=np.float64)
    return table.reshape(states, actions, states)


def _law(name: str, law: ArrayLike | None, size: int) -> Array:
    if law is None:
        return np.full(size, 1 / size)
    found = np.asarray(law, dtype=np.float64)
    if found.shape != (size,) or not (found >= 0).all() or abs(found.sum() - 1) > 1e-6:
        raise ValueError(f"{name}: {size} probabilities that sum to 1 were expected, got {found.tolist()}")
    return found
