"""Finite Markov chains in the long run: which classes are never left, and how often their states are visited."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from guerdon.control.mdp import Array


@dataclass(frozen=True)
class LongRun:
    """What becomes of a chain.

    Attributes:
        classes: The recurrent classes, each as its states.
        reach: (K,) float64 probability of ending in each of them.
        shares: For each class, the long-run share of time in each of its states, given that it ends there.
    """

    classes: tuple[NDArray[np.int64], ...]
    reach: Array
    shares: tuple[Array, ...]


def long_run(chain: Array, start: Array) -> LongRun:
    """Recurrent classes of a chain, exactly, by linear solves.

    Args:
        chain: (N, N) transition probabilities.
        start: (N,) law of the first state.

    Returns:
        The classes with the probabilities of ending in them and the shares of time within.
    """
    edges = chain > 0
    count, label = connected_components(sparse.csr_matrix(edges), directed=True, connection="strong")
    leaves = np.zeros(count, dtype=bool)
    for one, two in zip(*np.nonzero(edges), strict=True):
        leaves[label[one]] |= label[one] != label[two]
    classes = tuple(np.flatnonzero(label == index) for index in range(count) if not leaves[index])
    transient = np.flatnonzero(leaves[label])
    # Where it ends: what starts there, and what flows in from the states that are left for good.
    inner = chain[np.ix_(transient, transient)]
    visits = np.linalg.solve((np.eye(transient.size) - inner).T, start[transient]) if transient.size else start[:0]
    reach, shares = [], []
    for members in classes:
        inflow = float((visits @ chain[np.ix_(transient, members)]).sum()) if transient.size else 0.0
        reach.append(float(start[members].sum()) + inflow)
        shares.append(stationary(chain[np.ix_(members, members)]))
    return LongRun(classes, np.array(reach), tuple(shares))


def stationary(chain: Array) -> Array:
    """The stationary law of an irreducible chain: (N, N) probabilities -> (N,)."""
    size = len(chain)
    system = np.vstack([np.eye(size) - chain.T, np.ones(size)])
    return np.asarray(np.linalg.lstsq(system, np.append(np.zeros(size), 1.0), rcond=None)[0])
