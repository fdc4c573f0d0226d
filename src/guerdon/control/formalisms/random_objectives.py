"""Random environments, policies and objectives of every formalism, for checks of what holds of all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from guerdon.control.finite_mdp import FiniteMDP
from guerdon.control.formalisms.diagram import Formalism
from guerdon.control.formalisms.limit_average import LimitAverage
from guerdon.control.formalisms.logic import TemporalLogic
from guerdon.control.formalisms.markov import MarkovReward, OuterNonlinear, RegularisedReward, negative_entropy
from guerdon.control.formalisms.objective import Objective, lexicographic
from guerdon.control.formalisms.orderings import (
    GeneralisedOuterMultiObjective,
    LotteryOrder,
    OccupancyOrder,
    PolicyOrder,
)
from guerdon.control.formalisms.outer import (
    Lottery,
    LotteryFunction,
    OccupancyFunction,
    OuterMultiObjective,
    PolicyFunction,
)
from guerdon.control.formalisms.reward_machine import RewardMachine
from guerdon.control.formalisms.trajectories import (
    InnerMultiObjective,
    InnerNonlinear,
    Trajectory,
    TrajectoryFunction,
    absorbing_states,
)
from guerdon.control.mdp import Array

_LAYERS = (1, 2, 2, 2)
_ROUNDED = 0.25


def random_episodic(generator: np.random.Generator, actions: int = 2) -> FiniteMDP:
    """An environment of three random steps through layers of states; two states at its end are absorbing."""
    firsts = np.cumsum((0, *_LAYERS))
    states = int(firsts[-1])
    tau = np.zeros((states, actions, states))
    for layer in range(len(_LAYERS) - 1):
        for state in range(firsts[layer], firsts[layer + 1]):
            for action in range(actions):
                law = generator.dirichlet(np.full(_LAYERS[layer + 1], 0.7))
                tau[state, action, firsts[layer + 1] : firsts[layer + 2]] = law
    for state in range(firsts[-2], states):
        tau[state, :, state] = 1
    return FiniteMDP(tau, np.eye(states)[0])


def random_environment(generator: np.random.Generator, states: int = 4, actions: int = 2) -> FiniteMDP:
    """An environment without end, some of whose transitions are impossible."""
    tau = generator.dirichlet(np.full(states, 0.6), (states, actions))
    tau = np.where(tau < 0.1, 0.0, tau)
    tau /= tau.sum(axis=2, keepdims=True)
    return FiniteMDP(tau, generator.dirichlet(np.ones(states)))


def random_policies(env: FiniteMDP, count: int, generator: np.random.Generator) -> Array:
    """(count, S, A) policies: three in four stochastic, the others deterministic."""
    found = generator.dirichlet(np.ones(env.actions), (count, env.states))
    sure = np.eye(env.actions)[generator.integers(0, env.actions, (count, env.states))]
    return np.where((np.arange(count) % 4 == 0)[:, None, None], sure, found)


def random_objective(formalism: Formalism, env: FiniteMDP, generator: np.random.Generator) -> Objective:
    """A random objective of a formalism, nonlinear where it may be; actions in absorbing states do not matter to it."""
    return _DRAWS[formalism](env, generator)


def _reward(env: FiniteMDP, generator: np.random.Generator) -> Array:
    table = generator.standard_normal((env.states, env.actions, env.states))
    return np.asarray(_same_at_the_end(table, env, 1))


def _same_at_the_end(table: Any, env: FiniteMDP, axis: int) -> Any:
    """Make entries of absorbing states equal for all actions; `axis` is that of the actions."""
    ends = np.flatnonzero(absorbing_states(env))
    rows = np.moveaxis(table, (axis - 1, axis), (0, 1))
    rows[ends] = rows[ends, :1]
    return table


def _gamma(generator: np.random.Generator) -> float:
    return float(generator.uniform(0.2, 0.95))


def _moves(size: int, env: FiniteMDP, generator: np.random.Generator) -> Any:
    moves = generator.integers(0, size, (size, env.states, env.actions, env.states))
    return _same_at_the_end(moves, env, 2)


def _wave(generator: np.random.Generator) -> Callable[[float], float]:
    shift, slope = generator.uniform(0, 6), generator.uniform(1, 3)
    return lambda value: float(np.sin(slope * value + shift))


def _machine(env: FiniteMDP, generator: np.random.Generator) -> RewardMachine:
    size = int(generator.integers(2, 4))
    shape = (size, size, env.states, env.actions, env.states)
    rewards = _same_at_the_end(generator.standard_normal(shape), env, 3)
    return RewardMachine(_moves(size, env, generator), rewards, _gamma(generator))


def _formula(env: FiniteMDP, generator: np.random.Generator) -> TemporalLogic:
    size = int(generator.integers(2, 5))
    marks = generator.permutation(size)
    pairs = [(marks[:1].tolist(), marks[1:].tolist()), ([], marks[:1].tolist())][: int(generator.integers(1, 3))]
    if len(pairs) == 2:
        pairs = [(pairs[0][0], pairs[0][1][:1])]
    return TemporalLogic(_moves(size, env, generator), [(tuple(never), tuple(often)) for never, often in pairs])


def _of_trajectories(env: FiniteMDP, generator: np.random.Generator) -> TrajectoryFunction:
    seed = int(generator.integers(2**31))

    def f(trajectory: Trajectory) -> float:
        # A number of its own for each trajectory, the same whenever it is asked.
        flat = [part for step in trajectory.steps for part in step]
        return float(np.random.default_rng([seed, trajectory.end, *flat]).standard_normal())

    return TrajectoryFunction(f)


def _of_lotteries(env: FiniteMDP, generator: np.random.Generator) -> Callable[[Lottery], float]:
    reward, gamma, wave = _reward(env, generator), _gamma(generator), _wave(generator)

    def f(lottery: Lottery) -> float:
        spread = float(np.nansum(lottery.policy[~absorbing_states(lottery.env)] ** 2))
        return wave(float((lottery.occupancy(gamma) * reward).sum())) + 0.3 * spread

    return f


def _by_rank(f: Callable[[Any], float]) -> Callable[[Any, Any], int]:
    """First by f in coarse steps, then by its negative: an order with jumps."""

    def order(one: Any, two: Any) -> int:
        values = [f(one), f(two)]
        return lexicographic(*([np.floor(value / _ROUNDED + 1e-7), -value] for value in values))

    return order


def _linear(weight: Array) -> Callable[[Array], float]:
    return lambda table: float((weight * table).sum())


def _of_occupancies(env: FiniteMDP, generator: np.random.Generator) -> OccupancyFunction:
    total = _linear(_reward(env, generator))
    return OccupancyFunction(lambda visits: float(np.sin(total(visits)) + visits.max()), _gamma(generator))


def _of_policies(env: FiniteMDP, generator: np.random.Generator) -> PolicyFunction:
    total = _linear(generator.standard_normal((env.states, env.actions)))
    return PolicyFunction(lambda pi: float(np.sin(3 * total(pi)) + pi[-1].max()))


def _coarse(first: Array, second: Array) -> int:
    """Lexicographic, the first entries in coarse steps."""
    keys = [[np.floor(vector[0] / _ROUNDED + 1e-7), *vector[1:]] for vector in (first, second)]
    return lexicographic(*keys)


_DRAWS: dict[Formalism, Callable[[FiniteMDP, np.random.Generator], Objective]] = {
    Formalism.MR: lambda env, g: MarkovReward(_reward(env, g), _gamma(g)),
    Formalism.LAR: lambda env, g: LimitAverage(_reward(env, g)),
    Formalism.LTL: _formula,
    Formalism.RM: _machine,
    Formalism.INMR: lambda env, g: InnerNonlinear(_reward(env, g), _wave(g), _gamma(g)),
    Formalism.IMORL: lambda env, g: InnerMultiObjective(
        [_reward(env, g), _reward(env, g)], lambda v: float(np.sin(v[0]) * np.cos(2 * v[1])), _gamma(g)
    ),
    Formalism.FTR: _of_trajectories,
    Formalism.RRL: lambda env, g: RegularisedReward(_reward(env, g), g.uniform(0.1, 2), negative_entropy, _gamma(g)),
    Formalism.ONMR: lambda env, g: OuterNonlinear(_reward(env, g), _wave(g), _gamma(g)),
    Formalism.OMORL: lambda env, g: OuterMultiObjective(
        [_reward(env, g), _reward(env, g)], lambda v: float(np.sin(v[0]) * np.cos(2 * v[1])), _gamma(g)
    ),
    Formalism.FOMR: _of_occupancies,
    Formalism.FTLR: lambda env, g: LotteryFunction(_of_lotteries(env, g)),
    Formalism.FPR: _of_policies,
    Formalism.GOMORL: lambda env, g: GeneralisedOuterMultiObjective(
        [_reward(env, g), _reward(env, g)], _coarse, _gamma(g)
    ),
    Formalism.OMO: lambda env, g: OccupancyOrder(_by_rank(_linear(_reward(env, g))), _gamma(g)),
    Formalism.TLO: lambda env, g: LotteryOrder(_by_rank(_of_lotteries(env, g))),
    Formalism.PO: lambda env, g: PolicyOrder(_by_rank(_linear(g.standard_normal((env.states, env.actions))))),
}
