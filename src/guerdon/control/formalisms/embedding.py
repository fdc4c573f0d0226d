"""Stating an objective of one formalism in another that dominates it: one construction for each edge of the diagram."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, TypeAlias

import networkx
import numpy as np

from guerdon.control.canonicalisations import every_transition
from guerdon.control.finite_mdp import FiniteMDP
from guerdon.control.formalisms.diagram import Formalism
from guerdon.control.formalisms.limit_average import LimitAverage
from guerdon.control.formalisms.logic import TemporalLogic
from guerdon.control.formalisms.markov import MarkovReward, OuterNonlinear, RegularisedReward
from guerdon.control.formalisms.objective import Objective, dense, sign
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
    end_reward,
    trajectories,
    trajectory_returns,
)
from guerdon.control.mdp import Array

Construction: TypeAlias = Callable[[Any, FiniteMDP], Objective]
_RECOVERY_GAMMA = 0.5
_DISTINCT = 1e-9
_ATTEMPTS = 20


class NotExpressible(ValueError):  # noqa: N818  # a statement about formalisms, not a mistake
    """One formalism does not dominate another, so that not every objective can be stated in it."""


def embed(spec: Objective, to: Formalism, env: FiniteMDP) -> Objective:
    """State an objective in another formalism, with the same ordering of all policies of an environment.

    Args:
        spec: The objective.
        to: The formalism to state it in.
        env: The environment; what is built may look up its states and transitions.

    Returns:
        An objective of the formalism `to`; `spec` itself if it is one.

    Raises:
        NotExpressible: `to` does not dominate the objective's formalism.

    Example:
        >>> import numpy as np
        >>> env = FiniteMDP(np.full((1, 2, 1), 1.0))
        >>> machine = embed(MarkovReward([[1.0, 0.0]], 0.5), Formalism.RM, env)
        >>> machine.value(env, [[0.25, 0.75]])
        0.5
    """
    for lower, upper in pairwise(embedding_path(spec.formalism, to)):
        spec = _CONSTRUCTIONS[lower, upper](spec, env)
    return spec


def embedding_path(lower: Formalism, upper: Formalism) -> list[Formalism]:
    """The formalisms that an objective is stated in one after the other, on its way from one to another.

    Raises:
        NotExpressible: There is no way up.
    """
    try:
        return list(networkx.shortest_path(_GRAPH, lower, upper))
    except networkx.NetworkXNoPath:
        message = f"{upper.name} ({upper.value}) does not dominate {lower.name} ({lower.value})"
        raise NotExpressible(message) from None


def _one_machine_state(spec: MarkovReward, env: FiniteMDP) -> RewardMachine:
    tau = dense(env)
    moves = np.zeros((1, *tau.shape), dtype=np.int64)
    return RewardMachine(moves, every_transition(spec.reward, tau)[None, None], spec.gamma)


def _without_regulariser(spec: MarkovReward, env: FiniteMDP) -> RegularisedReward:
    return RegularisedReward(spec.reward, 0.0, lambda row: 0.0, spec.gamma)


def _identity(spec: MarkovReward, env: FiniteMDP) -> OuterNonlinear:
    return OuterNonlinear(spec.reward, lambda value: value, spec.gamma)


def _machine_run(spec: RewardMachine, env: FiniteMDP) -> TrajectoryFunction:
    """Run the machine along the trajectory; in the absorbing state it goes round a cycle for ever."""
    paid = spec.paid

    def total(trajectory: Trajectory) -> float:
        state, discount, found = spec.start, 1.0, 0.0
        for step in trajectory.steps:
            found += discount * float(paid[(state, *step)])
            state, discount = int(spec.moves[(state, *step)]), discount * spec.gamma
        path = _cycle(spec.moves, state, trajectory.end)
        rewards = [end_reward(trajectory.end, paid[each]) for each in path.states]
        before, round_ = rewards[: path.entry], rewards[path.entry :]
        found += discount * sum(spec.gamma**time * reward for time, reward in enumerate(before))
        once = sum(spec.gamma**time * reward for time, reward in enumerate(round_))
        return found + discount * spec.gamma ** len(before) * once / (1 - spec.gamma ** len(round_))

    return TrajectoryFunction(total)


def _automaton_run(spec: TemporalLogic, env: FiniteMDP) -> TrajectoryFunction:
    def holds(trajectory: Trajectory) -> float:
        state = spec.start
        for step in trajectory.steps:
            state = int(spec.moves[(state, *step)])
        path = _cycle(spec.moves, state, trajectory.end)
        return float(spec.accepts(set(path.states[path.entry :])))

    return TrajectoryFunction(holds)


class _Path:
    """The states of a machine in an absorbing state of the environment: from `entry` on they repeat."""

    def __init__(self, states: list[int], entry: int) -> None:
        self.states, self.entry = states, entry


def _cycle(moves: Any, state: int, end: int) -> _Path:
    states: list[int] = []
    while state not in states:
        states.append(state)
        following = set(moves[state, end, :, end].tolist())
        if len(following) > 1:
            raise ValueError(f"the machine depends on actions in the absorbing state {end}: that is no episode")
        state = following.pop()
    return _Path(states, states.index(state))


def _end_average(spec: LimitAverage, env: FiniteMDP) -> TrajectoryFunction:
    """In the long run a trajectory is paid what its absorbing state pays."""
    reward = every_transition(spec.reward, dense(env))
    return TrajectoryFunction(lambda trajectory: end_reward(trajectory.end, reward))


def _single(spec: InnerNonlinear, env: FiniteMDP) -> InnerMultiObjective:
    return InnerMultiObjective([spec.reward], lambda returns: spec.f(float(returns[0])), spec.gamma)


def _of_returns(spec: InnerMultiObjective, env: FiniteMDP) -> TrajectoryFunction:
    table = np.stack([trajectory_returns(env, reward, spec.gamma) for reward in spec.rewards], axis=1)
    rows = dict(zip(trajectories(env).listed, table, strict=True))
    return TrajectoryFunction(lambda trajectory: spec.f(rows[trajectory]))


def _coded(spec: TrajectoryFunction, env: FiniteMDP) -> InnerNonlinear:
    """A reward whose return is different for every trajectory, so that the return says which one it was."""
    tau, absorbing = dense(env), absorbing_states(env)
    for seed in range(_ATTEMPTS):
        reward = np.random.default_rng(seed).uniform(1, 2, tau.shape)
        reward[absorbing] = 0.0
        codes = trajectory_returns(env, reward, _RECOVERY_GAMMA)
        order = np.argsort(codes)
        known, values = codes[order], spec.values(env)[order]
        if len(known) < 2 or np.diff(known).min() > _DISTINCT:
            break
    else:
        raise ValueError("no reward was found whose return tells all trajectories apart")

    def decoded(found: float) -> float:
        place = int(np.searchsorted(known, found - _DISTINCT / 2))
        if place == len(known) or abs(known[place] - found) > _DISTINCT / 2:
            raise ValueError(f"return {found}: no trajectory of the environment has it")
        return float(values[place])

    return InnerNonlinear(reward, decoded, _RECOVERY_GAMMA)


def _mean_over_lottery(spec: TrajectoryFunction, env: FiniteMDP) -> LotteryFunction:
    return LotteryFunction(lambda lottery: float(lottery.probabilities() @ spec.values(lottery.env)))


def _regularised_visits(spec: RegularisedReward, env: FiniteMDP) -> LotteryFunction:
    reward = every_transition(spec.reward, dense(env))

    def value(lottery: Lottery) -> float:
        visits = lottery.occupancy(spec.gamma)
        rows = lottery.policy
        price = [
            float(visits[state].sum()) * float(spec.regulariser(rows[state]))
            for state in np.flatnonzero(lottery.reached)
        ]
        return float((visits * np.where(visits > 0, reward, 0)).sum()) - spec.alpha * sum(price)

    return LotteryFunction(value)


def _outer_of_lottery(spec: OuterNonlinear, env: FiniteMDP) -> LotteryFunction:
    reward = every_transition(spec.reward, dense(env))
    return LotteryFunction(lambda lottery: spec.f(float((lottery.occupancy(spec.gamma) * reward).sum())))


def _all_returns(spec: OuterMultiObjective, env: FiniteMDP) -> OccupancyFunction:
    tables = _tables(spec.rewards, env)
    return OccupancyFunction(lambda visits: spec.f(_products(tables, visits)), spec.gamma)


def _occupancy_of_lottery(spec: OccupancyFunction, env: FiniteMDP) -> LotteryFunction:
    return LotteryFunction(lambda lottery: spec.f(lottery.occupancy(spec.gamma)))


def _recovered(spec: LotteryFunction, env: FiniteMDP) -> OccupancyFunction:
    return OccupancyFunction(lambda visits: spec.f(_lottery(visits, env)), _RECOVERY_GAMMA)


def _indicators(spec: OccupancyFunction, env: FiniteMDP) -> OuterMultiObjective:
    """One reward for each transition: their returns are the occupancy measure."""
    shape = dense(env).shape
    return OuterMultiObjective(_every_indicator(shape), lambda found: spec.f(found.reshape(shape)), spec.gamma)


def _of_policy(spec: LotteryFunction, env: FiniteMDP) -> PolicyFunction:
    return PolicyFunction(lambda pi: spec.f(Lottery(env, pi)))


def _by_number(spec: LotteryFunction, env: FiniteMDP) -> LotteryOrder:
    return LotteryOrder(lambda one, two: sign(spec.f(one), spec.f(two)))


def _policies_by_number(spec: PolicyFunction, env: FiniteMDP) -> PolicyOrder:
    return PolicyOrder(lambda one, two: sign(spec.f(one), spec.f(two)))


def _policies_by_lottery(spec: LotteryOrder, env: FiniteMDP) -> PolicyOrder:
    return PolicyOrder(lambda one, two: spec.order(Lottery(env, one), Lottery(env, two)))


def _order_of_returns(spec: GeneralisedOuterMultiObjective, env: FiniteMDP) -> OccupancyOrder:
    tables = _tables(spec.rewards, env)

    def order(one: Array, two: Array) -> int:
        return spec.order(_products(tables, one), _products(tables, two))

    return OccupancyOrder(order, spec.gamma)


def _order_of_occupancies(spec: OccupancyOrder, env: FiniteMDP) -> LotteryOrder:
    return LotteryOrder(lambda one, two: spec.order(one.occupancy(spec.gamma), two.occupancy(spec.gamma)))


def _order_of_indicators(spec: LotteryOrder, env: FiniteMDP) -> GeneralisedOuterMultiObjective:
    shape = dense(env).shape

    def order(one: Array, two: Array) -> int:
        return spec.order(*(_lottery(found.reshape(shape), env) for found in (one, two)))

    return GeneralisedOuterMultiObjective(_every_indicator(shape), order, _RECOVERY_GAMMA)


def _every_indicator(shape: tuple[int, ...]) -> list[Array]:
    size = int(np.prod(shape))
    return list(np.eye(size).reshape(size, *shape))


def _tables(rewards: Any, env: FiniteMDP) -> Array:
    return np.array([every_transition(reward, dense(env)) for reward in rewards])


def _products(tables: Array, visits: Array) -> Array:
    return np.asarray(np.tensordot(tables, visits, axes=visits.ndim))


def _lottery(visits: Array, env: FiniteMDP) -> Lottery:
    """The lottery of an occupancy measure, which fixes the policy wherever it goes."""
    pairs = visits.sum(axis=2)
    states = pairs.sum(axis=1, keepdims=True)
    policy = np.where(states > 0, pairs / np.where(states > 0, states, 1), 1 / env.actions)
    return Lottery(env, policy)


_CONSTRUCTIONS: dict[tuple[Formalism, Formalism], Construction] = {
    (Formalism.MR, Formalism.RM): _one_machine_state,
    (Formalism.MR, Formalism.RRL): _without_regulariser,
    (Formalism.MR, Formalism.ONMR): _identity,
    (Formalism.RM, Formalism.FTR): _machine_run,
    (Formalism.LTL, Formalism.FTR): _automaton_run,
    (Formalism.LAR, Formalism.FTR): _end_average,
    (Formalism.INMR, Formalism.IMORL): _single,
    (Formalism.IMORL, Formalism.FTR): _of_returns,
    (Formalism.FTR, Formalism.INMR): _coded,
    (Formalism.FTR, Formalism.FTLR): _mean_over_lottery,
    (Formalism.RRL, Formalism.FTLR): _regularised_visits,
    (Formalism.ONMR, Formalism.FTLR): _outer_of_lottery,
    (Formalism.OMORL, Formalism.FOMR): _all_returns,
    (Formalism.FOMR, Formalism.FTLR): _occupancy_of_lottery,
    (Formalism.FTLR, Formalism.FOMR): _recovered,
    (Formalism.FOMR, Formalism.OMORL): _indicators,
    (Formalism.FTLR, Formalism.FPR): _of_policy,
    (Formalism.FTLR, Formalism.TLO): _by_number,
    (Formalism.FPR, Formalism.PO): _policies_by_number,
    (Formalism.TLO, Formalism.PO): _policies_by_lottery,
    (Formalism.GOMORL, Formalism.OMO): _order_of_returns,
    (Formalism.OMO, Formalism.TLO): _order_of_occupancies,
    (Formalism.TLO, Formalism.GOMORL): _order_of_indicators,
}
_GRAPH = networkx.DiGraph(list(_CONSTRUCTIONS))
