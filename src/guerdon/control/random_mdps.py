"""Random finite MDPs and rewards, as the experiments of STARC draw them (arXiv 2309.15257).

Transitions are a softmax of normal logits of which low ones are dropped, so that few next states are left. Rewards are
normal, sometimes sparse, scaled, shifted or shaped by a random potential: differences that a measure of rewards should
look through or should see.

Where this differs from the paper: the thresholds of sparsity are parameters, with the official code's as defaults; and
redistributed copies, which the official draws hold only by chance, can be asked for.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from guerdon.control.canonicalisations import shaped
from guerdon.control.mdp import Array, check_transitions

DROPPED = -20.0
_KEPT_LOGIT = ((50, 1.0), (100, 1.5))
_KEPT_LOGIT_LARGE = 1.8
_KEPT_REWARD = 3.0


def random_transitions(
    states: int, actions: int, generator: np.random.Generator, threshold: float | None = None
) -> Array:
    """Transitions to few next states each.

    Args:
        states: S.
        actions: A.
        generator: Source of randomness.
        threshold: Normal logits below it become -20 before the softmax; None = 1 for fewer than 50 states, 1.5 for
            fewer than 100, else 1.8.

    Returns:
        (S, A, S) float64 with rows that sum to 1; a row all of whose logits are dropped is uniform.
    """
    if threshold is None:
        threshold = next((least for limit, least in _KEPT_LOGIT if states < limit), _KEPT_LOGIT_LARGE)
    logits = generator.standard_normal((states, actions, states))
    logits = np.where(logits < threshold, DROPPED, logits)
    weights = np.exp(logits - logits.max(axis=2, keepdims=True))
    return np.asarray(weights / weights.sum(axis=2, keepdims=True))


def random_sparse_transitions(
    states: int, actions: int, generator: np.random.Generator, successors: int = 4
) -> sparse.csr_matrix:
    """Sparse transitions, for many states: each pair leads to a few next states with random probabilities.

    Args:
        states: S.
        actions: A.
        generator: Source of randomness.
        successors: Draws of next states for each pair; equal ones are joined.

    Returns:
        (S * A, S) sparse float64 with rows that sum to 1.
    """
    pairs = states * actions
    weights = generator.exponential(size=(pairs, successors))
    weights /= weights.sum(axis=1, keepdims=True)
    columns = generator.integers(0, states, (pairs, successors))
    rows = np.repeat(np.arange(pairs), successors)
    return sparse.csr_matrix((weights.ravel(), (rows, columns.ravel())), shape=(pairs, states))


def random_reward(
    states: int,
    actions: int,
    gamma: float,
    generator: np.random.Generator,
    *,
    sparse_share: float = 0.2,
    sparse_threshold: float = _KEPT_REWARD,
    scaled_share: float = 0.7,
    shifted_share: float = 0.3,
    shaped_share: float = 0.5,
) -> Array:
    """A random reward of each transition.

    Args:
        states: S.
        actions: A.
        gamma: Discount of the shaping.
        generator: Source of randomness.
        sparse_share: Probability that only normal values above `sparse_threshold` are kept.
        sparse_threshold: See there.
        scaled_share: Probability of a factor from 0 to 10.
        shifted_share: Probability of an added constant from 0 to 10.
        shaped_share: Probability of shaping by a normal potential times a factor from 0 to 10, plus one from 0 to 1.

    Returns:
        (S, A, S) float64.
    """
    reward = generator.standard_normal((states, actions, states))
    if generator.random() < sparse_share:
        reward = np.where(reward > sparse_threshold, reward, 0.0)
    if generator.random() < scaled_share:
        reward = reward * generator.uniform(0, 10)
    if generator.random() < shifted_share:
        reward = reward + generator.uniform(0, 10)
    if generator.random() < shaped_share:
        potential = generator.standard_normal(states) * generator.uniform(0, 10) + generator.uniform(0, 1)
        reward = shaped(reward, potential, gamma)
    return reward


def redistribute(reward: ArrayLike, tau: ArrayLike, generator: np.random.Generator, size: float = 1.0) -> Array:
    """Another reward with the same mean over the next state, and any value where a transition cannot happen.

    Args:
        reward: (S, A, S).
        tau: (S, A, S) transitions.
        generator: Source of randomness.
        size: Standard deviation of the change.

    Returns:
        (S, A, S) float64.

    Raises:
        ValueError: The shapes differ, or rows of `tau` do not sum to 1.
    """
    given, law = np.asarray(reward, dtype=np.float64), np.asarray(tau, dtype=np.float64)
    check_transitions(law)
    if given.shape != law.shape:
        raise ValueError(f"reward: shape {law.shape} was expected, got {given.shape}")
    change = size * generator.standard_normal(law.shape)
    possible = law > 0
    change = change - np.where(possible, (law * change).sum(axis=2, keepdims=True), 0.0)
    return given + change


def interpolated(first: ArrayLike, second: ArrayLike, steps: int) -> Array:
    """Mixtures first + (second - first) i / steps for i = 1 to steps, (steps, ...) float64; the last one is `second`.

    Raises:
        ValueError: The shapes differ, or there is no step.
    """
    start, end = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if start.shape != end.shape or steps < 1:
        raise ValueError(f"equal shapes and at least 1 step were expected, got {start.shape}, {end.shape}, {steps}")
    shares = np.arange(1, steps + 1) / steps
    return start + shares.reshape(-1, *[1] * start.ndim) * (end - start)
