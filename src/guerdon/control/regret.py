"""How much is lost, at worst, when one reward is optimised in the place of another (arXiv 2309.15257).

reg(R1, R2) = max of [J1(pi1) - J1(pi2)] / (max J1 - min J1) over pairs of policies with J2(pi2) >= J2(pi1): R2 prefers
the second policy, or does not care, and R1 pays for it. 0: they never disagree; 1: R2 may lead from best to worst.

Over stochastic policies the pairs of occupancy measures form a polytope. So the maximum is a linear program, and by
its dual it is min over c >= 0 of the spread of J under R1 - c R2: a convex function of one number, each of whose values
takes two exact optimal policies, which also works for thousands of states.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from scipy.optimize import linprog

from guerdon.control.mdp import (
    Array,
    Transitions,
    check_discount,
    check_policy,
    check_start,
    check_transitions,
    enumerate_policies,
    expected_reward,
    occupancy,
    optimal,
    policy_return,
)
from guerdon.control.starc import advantages, standardised

METHODS = ("auto", "enumeration", "linear program", "dual", "optimal policies")
_POLICIES = 100_000
_PROGRAM = 2_000
_CHUNK = 4_096
_TIE = 1e-9
_CUTS = 200
_PRECISE = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}


class Regret(float):
    """A regret in [0, 1], which says how it was found.

    Attributes:
        method: "enumeration" (all deterministic policies), "given policies", "linear program" or "dual" (all
            stochastic policies), or "optimal policies" (only each reward's optimal policy: a lower bound).
    """

    method: str

    def __new__(cls, value: float, method: str) -> Regret:
        """A regret of that value."""
        found = super().__new__(cls, value)
        found.method = method
        return found

    def __getnewargs__(self) -> tuple[float, str]:  # type: ignore[override]  # float has one argument
        return float(self), self.method

    def __repr__(self) -> str:
        return f"Regret({float(self)!r}, {self.method!r})"


class RegretBounds(NamedTuple):
    """Between which values the worst-case regret over stochastic policies lies."""

    lower: float
    upper: float


class _Game(NamedTuple):
    """Both rewards, brought to sizes that can be compared: only order and factor matter."""

    first: Array
    second: Array
    tau: Transitions
    gamma: float
    start: Array
    low: float
    high: float
    second_low: float
    second_high: float

    @property
    def spread(self) -> float:
        return self.high - self.low

    @property
    def trivial_first(self) -> bool:
        return self.spread <= _TIE / (1 - self.gamma)

    @property
    def trivial_second(self) -> bool:
        return self.second_high - self.second_low <= _TIE / (1 - self.gamma)


def worst_case_regret(
    R1: Any,  # noqa: N803
    R2: Any,  # noqa: N803
    tau: Transitions,
    gamma: float,
    mu0: ArrayLike,
    policies: Iterable[ArrayLike] | None = None,
    method: str = "auto",
) -> Regret:
    """The worst regret of preferring by R2 when R1 is true.

    Args:
        R1: The true reward.
        R2: The reward that is optimised.
        tau: The transitions.
        gamma: Discount in [0, 1).
        mu0: (S,) law of the first state.
        policies: Policies to choose from; None = as `method` says.
        method: "enumeration" = all deterministic policies; "linear program" and "dual" = all stochastic ones, exactly;
            "optimal policies" = see `optimal_regret`; "auto" = enumeration up to 100,000 policies, else the linear
            program up to 2,000 pairs of state and action, else the dual.

    Returns:
        The regret, in [0, 1], whose `method` says how it was found; 0 where R1 is trivial.

    Raises:
        ValueError: Shapes, probabilities or the discount are wrong, the method is unknown, or there are more than
            100,000 policies to enumerate.

    Example:
        >>> tau = [[[1.0, 0.0], [0.0, 1.0]], [[0.5, 0.5], [0.0, 1.0]]]
        >>> reward = [[[1, 0], [0, 2]], [[4, 0], [0, -1]]]
        >>> worst_case_regret(reward, [0.0, 1.0], tau, 0.5, [0.5, 0.5])
        Regret(1.0, 'enumeration')
    """
    if method not in METHODS:
        raise ValueError(f"method is {method!r}: expected one of {METHODS}")
    states, actions = check_transitions(tau)
    if policies is not None:
        tables = np.array([check_policy(policy, states, actions) for policy in policies])
        if not len(tables):
            raise ValueError("policies is empty: at least one was expected")
        returns = [[policy_return(reward, tau, gamma, table, mu0) for table in tables] for reward in (R1, R2)]
        return Regret(pairwise_regret(*returns), "given policies")
    if method == "auto":
        method = _affordable(states, actions)
    if method == "enumeration":
        # Levelled, since a large constant or potential would drown the differences.
        levelled = [_levelled(reward, tau, gamma) for reward in (R1, R2)]
        return Regret(pairwise_regret(*deterministic_returns(levelled, tau, gamma, mu0)), method)
    if method == "optimal policies":
        return optimal_regret(R1, R2, tau, gamma, mu0)
    game = _game(R1, R2, tau, gamma, mu0)
    if game.trivial_first:
        return Regret(0.0, method)
    found = _linear_program(game) if method == "linear program" else _dual(game)[1]
    return Regret(min(max(found / game.spread, 0.0), 1.0), method)


def optimal_regret(R1: Any, R2: Any, tau: Transitions, gamma: float, mu0: ArrayLike) -> Regret:  # noqa: N803
    """(J1(best for R1) - J1(best for R2)) / (J1(best for R1) - J1(worst for R1)): the regret of optimising R2 fully.

    Where several policies are optimal for R2, the first is taken. Arguments and errors as for `worst_case_regret`,
    of which this is a lower bound.
    """
    return Regret(float(optimal_regrets((R1, R2), tau, gamma, mu0)[0, 1]), "optimal policies")


def optimal_regrets(rewards: Sequence[Any], tau: Transitions, gamma: float, mu0: ArrayLike) -> Array:
    """The regrets of `optimal_regret` for all pairs, each reward's optimum solved once.

    Args:
        rewards: K rewards.
        tau: The transitions.
        gamma: Discount in [0, 1).
        mu0: (S,) law of the first state.

    Returns:
        (K, K) float64: row i, column j is the regret of optimising reward j when reward i is true.
    """
    states, _ = check_transitions(tau)
    start, tables = check_start(mu0, states), [_levelled(reward, tau, gamma) for reward in rewards]
    visits = [occupancy(tau, gamma, optimal(table, tau, gamma).policy, start) for table in tables]
    returns = np.array([[float((visit * table).sum()) for visit in visits] for table in tables])
    found = np.zeros_like(returns)
    for row, table in enumerate(tables):
        low, high = _extremes(table, tau, gamma, start)
        if high - low > _TIE / (1 - gamma):
            found[row] = np.clip((high - returns[row]) / (high - low), 0, 1)
    return found


def mean_regret(R1: Any, R2: Any, tau: Transitions, gamma: float, mu0: ArrayLike) -> float:  # noqa: N803
    """The mean of `optimal_regret` both ways, the paper's measure of what a distance should foretell."""
    both = optimal_regrets((R1, R2), tau, gamma, mu0)
    return float(both[0, 1] + both[1, 0]) / 2


def regret_bounds(
    R1: Any,  # noqa: N803
    R2: Any,  # noqa: N803
    tau: Transitions,
    gamma: float,
    mu0: ArrayLike,
) -> RegretBounds:
    """Bounds of the worst-case regret from four optimal policies and no search.

    Below: the regret of R2's optimal policy. Above: with standardised rewards s1 and s2, J under s1 changes by no more
    than J under s1 - s2 does wherever s2 prefers, so that (max - min of J under s1 - s2) / (max - min of J under s1) is
    a bound. The spread of J under s1 - s2 is at most its norm times a constant of the MDP, which is why a small STARC
    distance bounds the regret.

    Arguments and errors as for `worst_case_regret`.
    """
    first, second = (standardised(reward, tau, gamma) for reward in (R1, R2))
    low, high = _extremes(first, tau, gamma, check_start(mu0, first.shape[0]))
    if high - low <= _TIE * np.abs(first).max(initial=0.0) / (1 - gamma):
        return RegretBounds(0.0, 0.0)
    below, above = _extremes(first - second, tau, gamma, check_start(mu0, first.shape[0]))
    upper = min(1.0, (above - below) / (high - low))
    return RegretBounds(min(float(optimal_regret(R1, R2, tau, gamma, mu0)), upper), upper)


def pairwise_regret(first: ArrayLike, second: ArrayLike) -> float:
    """The worst regret among policies with known returns.

    Args:
        first: (N,) returns under the true reward.
        second: (N,) returns under the reward that is optimised.

    Returns:
        In [0, 1]; 0 where all true returns are equal. Returns of the second reward that differ by rounding are ties.

    Raises:
        ValueError: The lengths differ, or there are none.

    Example:
        >>> pairwise_regret([3.0, 2.0, 1.0], [0.0, 1.0, -1.0])
        0.5
    """
    true, proxy = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if true.ndim != 1 or true.shape != proxy.shape or not true.size:
        raise ValueError(f"returns: two equal lengths were expected, got {true.shape} and {proxy.shape}")
    spread = float(true.max() - true.min())
    if spread <= _TIE * (1 + float(np.abs(true).max())):
        return 0.0
    order = np.argsort(proxy, kind="stable")
    tie = _TIE * (1 + float(np.abs(proxy).max()))
    # All that the proxy does not put above policy j by more than rounding, ties from both sides included.
    reach = np.searchsorted(proxy[order], proxy[order] + tie, side="right")
    best_below = np.maximum.accumulate(true[order])[reach - 1]
    return float((best_below - true[order]).max()) / spread


def deterministic_returns(
    rewards: Iterable[Any], tau: Transitions, gamma: float, mu0: ArrayLike, limit: int = _POLICIES
) -> list[Array]:
    """The returns of all deterministic policies, in the order of `enumerate_policies`, for each reward.

    Args:
        rewards: K rewards.
        tau: (S, A, S) transitions.
        gamma: Discount in [0, 1).
        mu0: (S,) law of the first state.
        limit: How many policies there may be at most.

    Returns:
        K arrays of shape (A ** S,), float64.

    Raises:
        ValueError: Shapes, probabilities or the discount are wrong, or there are more policies than `limit`.
    """
    states, actions = check_transitions(tau)
    start, means = check_start(mu0, states), [expected_reward(reward, tau) for reward in rewards]
    dense = tau.toarray().reshape(states, actions, states) if sparse.issparse(tau) else np.asarray(tau, np.float64)
    check_discount(gamma)
    policies = np.array(list(enumerate_policies(states, actions, limit)))
    own = np.arange(states)
    found: list[list[Array]] = [[] for _ in means]
    for first in range(0, len(policies), _CHUNK):
        chosen = policies[first : first + _CHUNK]
        system = np.eye(states) - gamma * dense[own, chosen]
        visits = np.linalg.solve(np.swapaxes(system, 1, 2), np.broadcast_to(start, chosen.shape)[..., None])[..., 0]
        for returns, mean in zip(found, means, strict=True):
            returns.append((visits * mean[own, chosen]).sum(axis=1))
    return [np.concatenate(returns) for returns in found]


def _affordable(states: int, actions: int) -> str:
    if states * np.log(actions) <= np.log(_POLICIES):
        return "enumeration"
    return "linear program" if states * actions <= _PROGRAM else "dual"


def _game(R1: Any, R2: Any, tau: Transitions, gamma: float, mu0: ArrayLike) -> _Game:  # noqa: N803
    states, _ = check_transitions(tau)
    start = check_start(mu0, states)
    tables = [_levelled(reward, tau, gamma) for reward in (R1, R2)]
    low, high = _extremes(tables[0], tau, gamma, start)
    second_low, second_high = _extremes(tables[1], tau, gamma, start)
    return _Game(tables[0], tables[1], tau, gamma, start, low, high, second_low, second_high)


def _levelled(R: Any, tau: Transitions, gamma: float) -> Array:  # noqa: N803
    """Advantages of the uniform policy, whose largest is 1: the same order of policies, and numbers of one size."""
    table = advantages(R, tau, gamma)
    largest = float(np.abs(table).max(initial=0.0))
    return table / largest if largest > _TIE * (1 + float(np.abs(expected_reward(R, tau)).max())) else table * 0


def _extremes(table: Array, tau: Transitions, gamma: float, start: Array) -> tuple[float, float]:
    """The least and the largest return of any policy."""
    return -float(start @ optimal(-table, tau, gamma).values), float(start @ optimal(table, tau, gamma).values)


def _linear_program(game: _Game) -> float:
    """Max of <R1, x1 - x2> over occupancy measures x1, x2 with <R2, x2 - x1> >= 0."""
    states, actions = game.first.shape
    pairs = states * actions
    rows = game.tau.tocsr() if sparse.issparse(game.tau) else sparse.csr_matrix(np.reshape(game.tau, (pairs, states)))
    leaves = sparse.csr_matrix((np.ones(pairs), (np.repeat(np.arange(states), actions), np.arange(pairs))))
    flow = (leaves - game.gamma * rows.T).tocsr()
    first, second = game.first.ravel(), game.second.ravel()
    limits: dict[str, Any] = {}
    if not game.trivial_second:
        limits = {"A_ub": sparse.csr_matrix(np.concatenate([second, -second])[None]), "b_ub": [0.0]}
    found = linprog(
        np.concatenate([-first, first]),
        A_eq=sparse.block_diag([flow, flow], format="csr"),
        b_eq=np.concatenate([game.start, game.start]),
        bounds=(0, None),
        method="highs",
        options=_PRECISE,
        **limits,
    )
    if found.status != 0:
        raise RuntimeError(f"the linear program over occupancy measures was not solved: {found.message}")
    return -float(found.fun)


def _dual(game: _Game) -> tuple[float, float]:
    """The c >= 0 that makes the spread of J under R1 - c R2 the least, and that spread, by cutting planes.

    The spread is convex and piecewise linear in c. A pair of policies that attains it at one c gives a line below it
    everywhere; two lines with slopes of either sign bracket the minimum, and where they meet is the next c.
    """

    def cut(factor: float) -> tuple[float, float]:
        """Height at c = 0 and slope of the line of the pair that is best at this factor."""
        table = game.first - factor * game.second
        ends = [optimal(sign * table, game.tau, game.gamma).policy for sign in (1, -1)]
        gaps = []
        for reward in (game.first, game.second):
            high, low = (policy_return(reward, game.tau, game.gamma, end, game.start) for end in ends)
            gaps.append(high - low)
        return gaps[0], -gaps[1]

    def at(line: tuple[float, float], factor: float) -> float:
        return line[0] + line[1] * factor

    if game.trivial_second:
        return 0.0, game.spread
    falling = cut(0.0)
    if falling[1] >= 0:
        return 0.0, falling[0]
    # Far enough out R2 alone decides, and its optimal and worst policies give a rising line.
    factor = 1.0
    rising = cut(factor)
    while rising[1] < 0:
        falling, factor = rising, 2 * factor
        rising = cut(factor)
        if factor > 1e12:
            return factor, at(rising, factor)
    for _ in range(_CUTS):
        factor = (rising[0] - falling[0]) / (falling[1] - rising[1])
        line = cut(factor)
        if at(line, factor) <= at(falling, factor) + 1e-12 * max(1.0, game.spread):
            break
        rising, falling = (line, falling) if line[1] >= 0 else (rising, line)
    return factor, at(falling, factor)
