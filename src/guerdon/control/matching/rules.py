"""Rules that match arrivals to vertices, and their simulation, many runs at once.

A rule scores all offline vertices from what it may know: the probabilities of this arrival, the loads and who is still
there. The available neighbour with the highest score is tried, of equal ones the first. The load of a vertex is the
probability that was spent on it, whether the attempts succeeded or not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import solve_ivp

from guerdon.control.matching.instances import check_instance
from guerdon.control.mdp import Array
from guerdon.search.allocate import TIE, stochastic_gain

GainFunction = Callable[[Array], Array]


class Rule(Protocol):
    """Scores vertices for an arrival."""

    def score(self, column: Array, load: Array, luck: Array) -> Array:
        """(N, U) scores from probabilities (U,), loads (N, U) and, for rules that draw, numbers (2, N, U).

        luck[0] is drawn once a run, luck[1] anew for each arrival.
        """
        ...


@dataclass(frozen=True)
class LeastLoad:
    """The least load first: Stochastic Balance where all probabilities are equal."""

    def score(self, column: Array, load: Array, luck: Array) -> Array:
        """Minus the load."""
        return -load


@dataclass(frozen=True)
class Gain:
    """The largest p (1 - g(load)) first: Stochastic Balance.

    Attributes:
        gain: g; None = `gain_split("stochastic")`'s.
    """

    gain: GainFunction | None = None

    def score(self, column: Array, load: Array, luck: Array) -> Array:
        """P (1 - g(load))."""
        split = _stochastic if self.gain is None else self.gain
        return column * (1.0 - split(load))


@dataclass(frozen=True)
class Greedy:
    """The largest probability first.

    Attributes:
        last_first: Of equal ones the last vertex is taken, and not the first.
    """

    last_first: bool = False

    def score(self, column: Array, load: Array, luck: Array) -> Array:
        """The probability."""
        order = np.arange(len(column)) * 1e-9 if self.last_first else np.zeros(len(column))
        return np.asarray(np.broadcast_to(column + order, load.shape))


@dataclass(frozen=True)
class RandomNeighbour:
    """Any neighbour, anew each time."""

    def score(self, column: Array, load: Array, luck: Array) -> Array:
        """Drawn for this arrival."""
        return np.asarray(luck[1])


@dataclass(frozen=True)
class Ranking:
    """The neighbour with the best of ranks that were drawn once."""

    def score(self, column: Array, load: Array, luck: Array) -> Array:
        """Drawn for this run."""
        return np.asarray(luck[0])


def choose(rule: Rule, column: Array, load: Array, available: NDArray[np.bool_], luck: Array) -> NDArray[np.int64]:
    """(N,) int64 vertices that are tried, -1 = there is no available neighbour."""
    usable = available & (column > 0)
    score = np.where(usable, rule.score(column, load, luck), -np.inf)
    best = score.max(axis=1, keepdims=True)
    return np.asarray(np.where(usable.any(axis=1), np.argmax(score >= best - TIE, axis=1), -1), dtype=np.int64)


class StochasticBalance:
    """Stochastic Balance for one run, arrival by arrival.

    Args:
        U: Offline vertices.
        g: The split of gains; None = the least load first, for equal probabilities.

    Example:
        >>> balance = StochasticBalance(2)
        >>> balance.choose([0.1, 0.1], [True, True])
        0
        >>> balance.record(0, 0.1, False)
        >>> balance.choose([0.1, 0.1], [True, True])
        1
    """

    def __init__(self, U: int, g: GainFunction | None = None) -> None:  # noqa: N803
        self.load = np.zeros(U)
        self.gone = np.zeros(U, dtype=bool)
        self._rule: Rule = LeastLoad() if g is None else Gain(g)

    def choose(self, p_col: ArrayLike, available: ArrayLike) -> int | None:
        """The vertex that is tried, or None.

        Args:
            p_col: (U,) probabilities of this arrival.
            available: (U,) bool.

        Raises:
            ValueError: Shapes or probabilities are wrong.
        """
        column = check_instance(np.asarray(p_col, dtype=np.float64)[:, None])[:, 0]
        there = np.asarray(available, dtype=bool) & ~self.gone
        if column.shape != self.load.shape or there.shape != self.load.shape:
            raise ValueError(f"p_col {column.shape}, available {there.shape}: expected {self.load.shape}")
        found = int(choose(self._rule, column, self.load[None], there[None], np.zeros((2, 1, len(column))))[0])
        return None if found < 0 else found

    def record(self, u: int, p: float, success: bool) -> None:
        """Count an attempt.

        Raises:
            ValueError: The vertex is matched already.
        """
        if self.gone[u]:
            raise ValueError(f"vertex {u} is matched already: expected one that is available")
        self.load[u] += p
        self.gone[u] = success


def simulate(p: ArrayLike, policy: Rule, trials: int, seed: int) -> tuple[float, float]:
    """Mean number of successes of a rule, and its standard error.

    Args:
        p: (U, V) instance, in order of arrival.
        policy: The rule.
        trials: Runs, at least 2.
        seed: Of all coins.

    Raises:
        ValueError: The instance is none, or fewer than 2 trials.
    """
    successes = simulated_successes(p, policy, trials, seed)
    return float(successes.mean()), float(successes.std(ddof=1) / np.sqrt(trials))


def simulated_successes(p: ArrayLike, policy: Rule, trials: int, seed: int) -> Array:
    """(trials,) float64 successes of each run; arguments as for `simulate`."""
    table = check_instance(p)
    if trials < 2:
        raise ValueError(f"trials is {trials}: expected at least 2")
    generator = np.random.default_rng(seed)
    vertices = len(table)
    load = np.zeros((trials, vertices))
    available = np.ones((trials, vertices), dtype=bool)
    fixed = generator.random((trials, vertices))
    won = np.zeros(trials)
    rows = np.arange(trials)
    for column in table.T:
        luck = np.stack([fixed, generator.random((trials, vertices))])
        chosen = choose(policy, column, load, available, luck)
        tried = chosen >= 0
        place = np.maximum(chosen, 0)
        chance = np.where(tried, column[place], 0.0)
        success = generator.random(trials) < chance
        load[rows, place] += chance
        available[rows[success], place[success]] = False
        won += success
    return won


def gain_split(kind: str = "stochastic") -> tuple[GainFunction, float]:
    """The function g that splits gains between both sides, and the ratio that it proves for small probabilities.

    Args:
        kind: "stochastic" = against the Stochastic Configuration LP (0.596347); "det" = against the Configuration LP,
            with equal probabilities (0.576102).

    Raises:
        ValueError: Another kind.

    Example:
        >>> import numpy as np
        >>> g, ratio = gain_split("stochastic")
        >>> round(float(g(np.array(0.5))), 6), round(ratio, 6)
        (0.551743, 0.596347)
    """
    if kind == "stochastic":
        return _stochastic, 1.0 - float(_stochastic(np.zeros(())))
    if kind != "det":
        raise ValueError(f"kind is {kind!r}: expected 'stochastic' or 'det'")
    end = 1.0 - np.exp(-1.0)

    def slope(load: float, g: Array) -> Array:
        decay = np.exp(-load)
        return np.asarray((g - (1.0 - decay)) / (2.0 - load - decay))

    # From load 1 backward; beyond it g stays as it is.
    found = solve_ivp(slope, (1.0, 0.0), [end], rtol=1e-12, atol=1e-13, dense_output=True)

    def split(load: Array) -> Array:
        inside = np.clip(np.asarray(load, dtype=np.float64), 0.0, 1.0)
        return np.asarray(found.sol(inside.ravel())[0]).reshape(inside.shape)

    return split, 1.0 - float(split(np.zeros(())))


def _stochastic(load: Array) -> Array:
    return (
        stochastic_gain(torch.from_numpy(np.atleast_1d(np.asarray(load, dtype=np.float64))))
        .numpy()
        .reshape(np.shape(load))
    )
