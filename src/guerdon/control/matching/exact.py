"""Exact values of small instances: of a rule, and of the best policy that knows everything but the coins."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import ArrayLike

from guerdon.control.matching.instances import check_instance
from guerdon.control.matching.rules import RandomNeighbour, Ranking, Rule, choose

MOST_VERTICES, MOST_ARRIVALS = 12, 40


def opt_nonanticipating(p: ArrayLike) -> float:
    """The value of the best adaptive policy that knows the instance, but not the coins, by dynamic programming.

    Args:
        p: (U, V) instance with at most 12 vertices and 40 arrivals.

    Raises:
        ValueError: The instance is none, or too large.
    """
    table = check_instance(p)
    vertices, arrivals = table.shape
    if vertices > MOST_VERTICES or arrivals > MOST_ARRIVALS:
        raise ValueError(f"p has shape {table.shape}: expected at most {(MOST_VERTICES, MOST_ARRIVALS)}")
    sets = np.arange(1 << vertices)
    value = np.zeros(1 << vertices)
    for column in reversed(table.T):
        best = value.copy()
        for u in np.flatnonzero(column):
            there = (sets >> u & 1).astype(bool)
            tried = column[u] * (1 + value[sets & ~(1 << u)]) + (1 - column[u]) * value
            best = np.where(there, np.maximum(best, tried), best)
        value = best
    return float(value[-1])


def exact_value(p: ArrayLike, policy: Rule) -> float:
    """The expected number of successes of a rule, over all coins.

    Args:
        p: (U, V) instance; the number of coins that can differ grows quickly.
        policy: A rule that draws nothing, or `RandomNeighbour`.

    Raises:
        ValueError: The instance is none, or the rule is `Ranking`.
    """
    table = check_instance(p)
    if isinstance(policy, Ranking):
        raise ValueError("policy is Ranking: its ranks are drawn once a run, simulate it")
    vertices = len(table)

    @cache
    def value(arrival: int, load: tuple[float, ...], available: int) -> float:
        if arrival == table.shape[1]:
            return 0.0
        column = table[:, arrival]
        there = np.array([bool(available >> u & 1) for u in range(vertices)])
        if isinstance(policy, RandomNeighbour):
            tried = np.flatnonzero(there & (column > 0)).tolist()
        else:
            found = int(choose(policy, column, np.array(load)[None], there[None], np.zeros((2, 1, vertices)))[0])
            tried = [] if found < 0 else [found]
        if not tried:
            return value(arrival + 1, load, available)
        total = 0.0
        for u in tried:
            chance = float(column[u])
            heavier = tuple(round(own + chance * (place == u), 12) for place, own in enumerate(load))
            won = value(arrival + 1, heavier, available & ~(1 << u)) if chance > 0 else 0.0
            lost = value(arrival + 1, heavier, available) if chance < 1 else 0.0
            total += chance * (1.0 + won) + (1.0 - chance) * lost
        return total / len(tried)

    return value(0, (0.0,) * vertices, (1 << vertices) - 1)
