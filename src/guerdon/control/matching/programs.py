"""Linear programs that bound every policy: Matching, Configuration and Stochastic Configuration LP.

A configuration of a vertex is the list of arrivals that it would be offered as long as it keeps failing. In the
Stochastic Configuration LP it is worth the chance that one of them succeeds, and uses each arrival only as far as the
vertex is still there. Both configuration programs are solved by column generation; the pricing of the stochastic one is
a recursion over arrivals, that of the other one a small integer program.

Where this differs from the paper: the Stochastic Configuration LP is a reconstruction; that it bounds the best adaptive
policy is tested on random instances. The plain one bounds it for small probabilities only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from scipy.optimize import LinearConstraint, linprog, milp

from guerdon.control.matching.instances import check_instance
from guerdon.control.mdp import Array

REDUCED_COST = 1e-9
_ROUNDS = 5_000


@dataclass(frozen=True)
class LPResult:
    """A solved program.

    Attributes:
        value: The optimum.
        x: (vertex, arrivals) -> weight, above 0; for the Matching LP arrivals are single.
        alpha: (U,) prices of the vertices.
        beta: (V,) prices of the arrivals.
    """

    value: float
    x: dict[tuple[int, tuple[int, ...]], float]
    alpha: Array
    beta: Array


def matching_lp(p: ArrayLike) -> LPResult:
    """Max sum p y with sum_u y_uv <= 1 and sum_v p_uv y_uv <= 1.

    Raises:
        ValueError: The instance is none.
    """
    table = check_instance(p)
    edges: list[tuple[int, tuple[int, ...]]] = [(int(u), (int(v),)) for u, v in np.argwhere(table > 0)]
    worth = np.array([table[u, taken[0]] for u, taken in edges])
    uses = [np.array([1.0]) for _ in edges]
    return _solved(table.shape, edges, worth, worth, uses)


def configuration_lp(p: ArrayLike, stochastic: bool = True) -> LPResult:
    """The (Stochastic) Configuration LP, by column generation.

    Args:
        p: (U, V) instance, in order of arrival.
        stochastic: Whether a configuration is worth 1 - prod(1 - p) and uses arrivals as far as they are needed, or is
            worth min(1, sum p) and uses them whole.

    Raises:
        ValueError: The instance is none.
        RuntimeError: A program was not solved.
    """
    table = check_instance(p)
    vertices, arrivals = table.shape
    columns: list[tuple[int, tuple[int, ...]]] = [(int(u), (int(v),)) for u, v in np.argwhere(table > 0)]
    if not columns:
        return LPResult(0.0, {}, np.zeros(vertices), np.zeros(arrivals))
    known = set(columns)
    price = _stochastic_best if stochastic else _plain_best
    for _ in range(_ROUNDS):
        worth = np.array([_worth(table, column, stochastic) for column in columns])
        uses = [_uses(table, column, stochastic) for column in columns]
        found = _solved(table.shape, columns, worth, np.ones(len(columns)), uses)
        gains, configurations = price(table, found.beta, 1.0)
        fresh = [
            (u, configurations[u])
            for u in range(vertices)
            if gains[u] - found.alpha[u] > REDUCED_COST and (u, configurations[u]) not in known
        ]
        if not fresh:
            return found
        columns += fresh
        known.update(fresh)
    raise RuntimeError(f"column generation did not end within {_ROUNDS} rounds")


def verify_dual(
    p: ArrayLike, alpha: ArrayLike, beta: ArrayLike, stochastic: bool = True, ratio: float = 1.0
) -> tuple[bool, float]:
    """Whether prices cover `ratio` times the worth of every configuration of every vertex.

    Args:
        p: (U, V) instance.
        alpha: (U,) prices of the vertices.
        beta: (V,) prices of the arrivals, at least 0.
        stochastic: As for `configuration_lp`.
        ratio: The share that has to be covered.

    Returns:
        Whether they do within 1e-7, and the least of alpha_u + prices - ratio * worth over all configurations.

    Raises:
        ValueError: Shapes do not fit, or a price of an arrival is negative.
    """
    table = check_instance(p)
    own, prices = np.asarray(alpha, dtype=np.float64), np.asarray(beta, dtype=np.float64)
    if own.shape != table.shape[:1] or prices.shape != table.shape[1:]:
        raise ValueError(f"alpha {own.shape}, beta {prices.shape}: expected {table.shape[:1]} and {table.shape[1:]}")
    if (prices < -REDUCED_COST).any():
        raise ValueError(f"beta has {prices.min()}: expected at least 0")
    gains, _ = (_stochastic_best if stochastic else _plain_best)(table, prices, ratio)
    worst = float((own - gains).min())
    return worst >= -1e-7, worst


def _solved(
    shape: tuple[int, int], columns: list[tuple[int, tuple[int, ...]]], worth: Array, own: Array, uses: list[Array]
) -> LPResult:
    """The master program: own and uses are what a column takes of its vertex and of its arrivals."""
    vertices, arrivals = shape
    if not columns:
        return LPResult(0.0, {}, np.zeros(vertices), np.zeros(arrivals))
    rows = np.concatenate([np.array([u, *(vertices + v for v in taken)]) for u, taken in columns])
    places = np.repeat(np.arange(len(columns)), [1 + len(taken) for _, taken in columns])
    values = np.concatenate([np.concatenate([[own[place]], use]) for place, use in enumerate(uses)])
    matrix = sparse.csr_matrix((values, (rows, places)), shape=(vertices + arrivals, len(columns)))
    found: Any = linprog(-worth, A_ub=matrix, b_ub=np.ones(vertices + arrivals), bounds=(0, None), method="highs")
    if found.status != 0:
        raise RuntimeError(f"the linear program was not solved: {found.message}")
    prices = -np.asarray(found.ineqlin.marginals)
    weights = {column: float(weight) for column, weight in zip(columns, found.x, strict=True) if weight > 1e-12}
    return LPResult(-float(found.fun), weights, prices[:vertices], np.maximum(prices[vertices:], 0.0))


def _worth(table: Array, column: tuple[int, tuple[int, ...]], stochastic: bool) -> float:
    chances = table[column[0], list(column[1])]
    return float(1.0 - np.prod(1.0 - chances)) if stochastic else min(1.0, float(chances.sum()))


def _uses(table: Array, column: tuple[int, tuple[int, ...]], stochastic: bool) -> Array:
    chances = table[column[0], list(column[1])]
    if not stochastic:
        return np.ones(len(chances))
    return np.concatenate([[1.0], np.cumprod(1.0 - chances)[:-1]])


def _stochastic_best(table: Array, beta: Array, ratio: float) -> tuple[Array, list[tuple[int, ...]]]:
    """The best reduced worth of every vertex, by f(v) = max(f(v + 1), ratio p - beta + (1 - p) f(v + 1))."""
    vertices, arrivals = table.shape
    best = np.zeros(vertices)
    taken = np.zeros((vertices, arrivals), dtype=bool)
    for v in reversed(range(arrivals)):
        chance = table[:, v]
        offered = ratio * chance - beta[v] + (1.0 - chance) * best
        taken[:, v] = (offered > best) & (chance > 0)
        best = np.where(taken[:, v], offered, best)
    return best, [tuple(np.flatnonzero(row).tolist()) for row in taken]


def _plain_best(table: Array, beta: Array, ratio: float) -> tuple[Array, list[tuple[int, ...]]]:
    """The largest ratio * min(1, sum p) - sum beta of every vertex, by an integer program each."""
    vertices, arrivals = table.shape
    best, chosen = np.zeros(vertices), []
    for u in range(vertices):
        # The last variable is min(1, sum p): at most 1, and at most the sum.
        limits = LinearConstraint(np.concatenate([-table[u], [1.0]])[None], -np.inf, 0.0)
        cost = np.concatenate([beta, [-ratio]])
        found: Any = milp(cost, integrality=[1] * arrivals + [0], bounds=(0, 1), constraints=limits)
        if found.status != 0:
            raise RuntimeError(f"the pricing program of vertex {u} was not solved: {found.message}")
        best[u] = max(0.0, -float(found.fun))
        chosen.append(tuple(np.flatnonzero((found.x[:-1] > 0.5) & (table[u] > 0)).tolist()))
    return best, chosen
