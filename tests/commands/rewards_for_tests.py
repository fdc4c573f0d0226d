"""Rewards and worlds that the tests of `guerdon compare-rewards` name."""

from __future__ import annotations

from typing import Any

import numpy as np

from guerdon.control.finite_mdp import FiniteMDP

TAU = np.array([[[1.0, 0.0], [0.0, 1.0]], [[0.5, 0.5], [0.0, 1.0]]])
R = np.array([[[1.0, 0.0], [0.0, 2.0]], [[4.0, 0.0], [0.0, -1.0]]])
asked: set[tuple[int, int, int]] = set()


def worked() -> FiniteMDP:
    return FiniteMDP(TAU, [0.5, 0.5], 0.5)


def no_discount() -> tuple[Any, Any]:
    return TAU, [0.5, 0.5]


def nothing() -> int:
    return 3


def table(mdp: FiniteMDP) -> Any:
    assert mdp.states == 2
    return R


def arrival(state: int, action: int, following: int) -> float:
    asked.add((state, action, following))
    return float(following)


def shaped_arrival(state: int, action: int, following: int) -> float:
    return 2 * (float(following == 1) + 0.5 * 3 * following - 3 * state)
