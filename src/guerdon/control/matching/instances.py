"""Instances of online matching: p[u, v] is how likely arrival v succeeds with offline vertex u; 0 = no edge."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from guerdon.control.mdp import Array


def check_instance(p: ArrayLike) -> Array:
    """An instance as (U, V) float64.

    Raises:
        ValueError: It has another number of dimensions, or an entry outside [0, 1], which is named.
    """
    table = np.asarray(p, dtype=np.float64)
    if table.ndim != 2:
        raise ValueError(f"p has shape {table.shape}: expected (U, V)")
    bad = ~((table >= 0) & (table <= 1))
    if bad.any():
        u, v = (int(place) for place in np.argwhere(bad)[0])
        raise ValueError(f"p[{u}, {v}] is {table[u, v]}: expected a number in [0, 1]")
    return table


def triangular(n: int, p: float) -> Array:
    """N offline vertices and n groups of about 1 / p arrivals; group i sees the vertices i and above."""
    if n < 1 or not 0 < p <= 1:
        raise ValueError(f"n {n}, p {p}: expected at least 1 and a number in (0, 1]")
    group = np.repeat(np.arange(n), round(1 / p))
    return np.where(np.arange(n)[:, None] >= group[None], p, 0.0)


def random_graph(offline: int, online: int, p: float, share: float, generator: np.random.Generator) -> Array:
    """A random instance: an edge of vertex u is there with the chance 2 share (u + 1) / (offline + 1)."""
    chance = 2 * share * (np.arange(offline) + 1) / (offline + 1)
    return np.where(generator.random((offline, online)) < chance[:, None], p, 0.0)
