"""Exact values of every formalism: the worked examples, special cases that coincide, and long sums."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guerdon.control.formalisms import (
    FiniteMDP,
    Formalism,
    GeneralisedOuterMultiObjective,
    InnerMultiObjective,
    InnerNonlinear,
    LimitAverage,
    Lottery,
    LotteryFunction,
    LotteryOrder,
    MarkovReward,
    OccupancyFunction,
    OccupancyOrder,
    OuterMultiObjective,
    OuterNonlinear,
    PolicyFunction,
    PolicyOrder,
    RegularisedReward,
    RewardMachine,
    TemporalLogic,
    Trajectory,
    TrajectoryFunction,
    always,
    always_eventually,
    check_total,
    eventually,
    eventually_always,
    lexicographic,
    limit_visits,
    negative_entropy,
    next_is,
)
from guerdon.control.formalisms.objective import Objective, sign
from guerdon.control.formalisms.random_objectives import (
    random_environment,
    random_episodic,
    random_objective,
    random_policies,
)
from guerdon.control.formalisms.trajectories import trajectories
from guerdon.control.formalisms.witnesses import arm_policy, bandit, detour, detour_policy
from guerdon.control.mdp import Array, sample_next
from guerdon.control.worlds.xor_chain import xor_chain, xor_machine, xor_policy

seeds = st.integers(0, 10_000)
some = settings(max_examples=15, deadline=None)


def transient() -> FiniteMDP:
    tau = np.zeros((2, 2, 2))
    tau[0, 0] = [0.9, 0.1]
    tau[0, 1, 1] = tau[1, :, 1] = 1
    return FiniteMDP(tau, [1.0, 0.0])


def test_worked_bandit() -> None:
    env = bandit(2)
    mixtures = [arm_policy(1, 0), arm_policy(0.5, 0.5), arm_policy(0, 1)]
    entropy = RegularisedReward(np.zeros(2), 1.0, negative_entropy, 0.9)
    assert [entropy.value(env, pi) for pi in mixtures] == pytest.approx([0, 0.693147, 0], abs=1e-6)
    paid = np.array([[1.0, 0.0], [0.0, 0.0]])
    middle = OuterNonlinear(paid, lambda value: -abs(value - 0.5), 0.9)
    assert [middle.value(env, pi) for pi in mixtures] == pytest.approx([-0.5, 0, -0.5])
    assert middle.compare(env, mixtures[1], mixtures[0]) == 1
    assert middle.compare(env, mixtures[0], mixtures[2]) == 0


def test_worked_xor_chain() -> None:
    env, machine = xor_chain(), xor_machine(0.5)
    corners = [xor_policy(first, second) for first in (0, 1) for second in (0, 1)]
    assert [machine.value(env, pi) for pi in corners] == pytest.approx([0, 0.5, 0.5, 0])
    for p, q in itertools.product((0.0, 0.3, 0.8), repeat=2):
        assert machine.value(env, xor_policy(p, q)) == pytest.approx(0.5 * (p + q - 2 * p * q))
    # Occupancies of the four policies add up crosswise, for every discount.
    for gamma in (0.0, 0.5, 0.9):
        measures = [Lottery(env, pi).occupancy(gamma) for pi in corners]
        np.testing.assert_allclose(measures[1] + measures[2], measures[0] + measures[3])
    with pytest.raises(ValueError, match=r"second is 1\.5"):
        xor_policy(0, 1.5)


def test_worked_limit_average() -> None:
    env, reward = transient(), np.array([0.0, 1.0])
    policies = [np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([[0.0, 1.0], [1.0, 0.0]])]
    assert [LimitAverage(reward).value(env, pi) for pi in policies] == pytest.approx([1, 1])
    # With gamma = 0.5, being in state 1 from the second step on is worth .5 / (1 - .5).
    late = 0.5 * (0.1 * 2) / (1 - 0.5 * 0.9)
    assert [MarkovReward(reward, 0.5).value(env, pi) for pi in policies] == pytest.approx([late, 1])
    assert late == pytest.approx(0.181818, abs=1e-6)


@some
@given(seeds)
def test_limit_average_is_the_mean_of_many_steps(seed: int) -> None:
    generator = np.random.default_rng(seed)
    env = random_environment(generator)
    reward = generator.normal(size=(4, 2, 4))
    for pi in random_policies(env, 3, generator):
        chain = np.einsum("sa,sat->st", pi, env.tau)
        law, total = env.mu0, np.zeros(4)
        for _ in range(20_000):
            total += law
            law = law @ chain
        mean = (total / 20_000) @ np.einsum("sa,sat,sat->s", pi, env.tau, reward)
        assert LimitAverage(reward).value(env, pi) == pytest.approx(mean, abs=2e-3)
        assert limit_visits(env, pi).sum() == pytest.approx(1)


def test_limit_average_of_periodic_chains_and_prefixes() -> None:
    tau = np.zeros((4, 1, 4))
    tau[0, 0, 1] = tau[1, 0, 2] = tau[2, 0, 3] = tau[3, 0, 1] = 1
    env = FiniteMDP(tau, [1.0, 0, 0, 0])
    pi = np.ones((4, 1))
    assert LimitAverage([100.0, 1.0, 2.0, 6.0]).value(env, pi) == pytest.approx(3)
    # What is paid before the cycle does not count, whatever it is.
    assert LimitAverage([-5.0, 1.0, 2.0, 6.0]).value(env, pi) == pytest.approx(3)


@some
@given(seeds)
def test_special_cases_are_the_markov_reward(seed: int) -> None:
    generator = np.random.default_rng(seed)
    env = random_episodic(generator)
    plain = random_objective(Formalism.MR, env, generator)
    assert isinstance(plain, MarkovReward)
    reward, gamma = plain.reward, plain.gamma
    moves = np.zeros((1, 7, 2, 7), dtype=int)
    same = {
        "one machine state": RewardMachine(moves, reward[None, None], gamma),
        "no regulariser": RegularisedReward(reward, 0.0, negative_entropy, gamma),
        "identity within": InnerNonlinear(reward, lambda value: value, gamma),
        "one of several": OuterMultiObjective([reward], lambda values: values[0], gamma),
        "of the occupancy": OccupancyFunction(lambda visits: (visits * reward).sum(), gamma),
        "of the lottery": LotteryFunction(lambda lottery: (lottery.occupancy(gamma) * reward).sum()),
    }
    policies = random_policies(env, 12, generator)
    expected = [plain.value(env, pi) for pi in policies]
    for spec in same.values():
        assert [spec.value(env, pi) for pi in policies] == pytest.approx(expected, abs=1e-9)
    rising = OuterNonlinear(reward, math.atan, gamma)
    affine = InnerNonlinear(reward, lambda value: 3 * value - 2, gamma)
    ordered = GeneralisedOuterMultiObjective([reward], lexicographic, gamma)
    for one, two in itertools.pairwise(policies):
        for spec in (rising, affine, ordered):
            assert spec.compare(env, one, two) == plain.compare(env, one, two)


@some
@given(seeds)
def test_reward_machines_are_sums_over_long_runs(seed: int) -> None:
    generator = np.random.default_rng(seed)
    env = random_environment(generator)
    spec = random_objective(Formalism.RM, env, generator)
    assert isinstance(spec, RewardMachine)
    pi = random_policies(env, 2, generator)[1]
    law, total = np.zeros((4, len(spec.moves))), 0.0
    law[:, spec.start] = env.mu0
    for step in range(120):
        after = np.zeros_like(law)
        for s, u, a, t in itertools.product(range(4), range(len(spec.moves)), range(2), range(4)):
            weight = law[s, u] * pi[s, a] * env.tau[s, a, t]
            following = spec.moves[u, s, a, t]
            total += spec.gamma**step * weight * spec.rewards[u, following, s, a, t]
            after[t, following] += weight
        law = after
    bound = spec.gamma**120 * np.abs(spec.rewards).max() / (1 - spec.gamma)
    assert spec.value(env, pi) == pytest.approx(total, abs=1e-9 + bound)


@some
@given(seeds)
def test_the_product_has_the_machines_value(seed: int) -> None:
    generator = np.random.default_rng(seed)
    env = random_environment(generator)
    spec = random_objective(Formalism.RM, env, generator)
    assert isinstance(spec, RewardMachine)
    product, reward = spec.product(env)
    pi = random_policies(env, 2, generator)[1]
    lifted = np.repeat(pi, len(spec.moves), axis=0)
    assert MarkovReward(reward, spec.gamma).value(product, lifted) == pytest.approx(spec.value(env, pi))


def test_formulas_of_a_detour() -> None:
    env = detour()
    for go, good in ((0.0, 1.0), (0.3, 0.25), (1.0, 0.6)):
        pi, chance = detour_policy(go, good), good if go else 0.0
        assert eventually(env, [2]).value(env, pi) == pytest.approx(chance)
        assert eventually_always(env, [2]).value(env, pi) == pytest.approx(chance)
        assert always_eventually(env, [2]).value(env, pi) == pytest.approx(chance)
        assert always_eventually(env, [1]).value(env, pi) == 0
        assert always(env, [0, 1, 2]).value(env, pi) == pytest.approx(1 - (1 - good) * (go > 0))
        assert next_is(env, [1]).value(env, pi) == pytest.approx(go)


@some
@given(seeds)
def test_formulas_hold_as_often_as_in_sampled_runs(seed: int) -> None:
    generator = np.random.default_rng(seed)
    env = random_environment(generator)
    spec = random_objective(Formalism.LTL, env, generator)
    assert isinstance(spec, TemporalLogic)
    pi = random_policies(env, 2, generator)[1]
    count, steps = 400, 400
    states = generator.choice(4, count, p=env.mu0)
    machine = np.full(count, spec.start)
    seen = np.zeros((count, len(spec.moves)), dtype=bool)
    for step in range(steps):
        actions = (generator.random(count) > pi[states, 0]).astype(int)
        following = sample_next(env.tau, states, actions, generator)
        machine = spec.moves[machine, states, actions, following]
        states = following
        if step > steps // 2:
            seen[np.arange(count), machine] = True
    share = np.mean([spec.accepts(set(np.flatnonzero(row).tolist())) for row in seen])
    value = spec.value(env, pi)
    assert 0 <= value <= 1
    assert value == pytest.approx(share, abs=0.12)


def test_rabin_pairs() -> None:
    spec = TemporalLogic(np.zeros((3, 1, 1, 1), int), [((0,), (1,)), ((), (2,))])
    assert spec.accepts({1})
    assert spec.accepts({1, 2})
    assert spec.accepts({0, 2})
    assert not spec.accepts({0, 1})
    assert not spec.accepts({0})


@some
@given(seeds)
def test_trajectories_are_all_and_their_law_is_right(seed: int) -> None:
    generator = np.random.default_rng(seed)
    env = random_episodic(generator)
    pi = random_policies(env, 2, generator)[1]
    found = trajectories(env)
    law = found.probabilities(pi)
    assert law.sum() == pytest.approx(1)
    assert len(set(found.listed)) == len(found.listed)
    for trajectory, probability in zip(found.listed, law, strict=True):
        slow = env.mu0[trajectory.steps[0][0]] if trajectory.steps else env.mu0[trajectory.end]
        for state, action, after in trajectory.steps:
            slow *= pi[state, action] * env.tau[state, action, after]
        assert probability == pytest.approx(slow)
    ends = TrajectoryFunction(lambda trajectory: float(trajectory.end == 6))
    assert ends.value(env, pi) == pytest.approx(eventually(env, [6]).value(env, pi))


def test_nonlinear_returns_of_a_gamble() -> None:
    """A sure 1, or 0 and 2 with even odds: the mean of the square prefers the gamble, its concave cousin does not."""
    tau = np.zeros((4, 2, 4))
    tau[0, 0, 1] = 1
    tau[0, 1, [2, 3]] = 0.5
    tau[[1, 2, 3], :, [1, 2, 3]] = 1
    env = FiniteMDP(tau, np.eye(4)[0])
    reward = np.zeros((4, 2, 4))
    reward[0, :, 1], reward[0, :, 3] = 1, 2
    sure, gamble = (np.vstack([row, np.eye(2)[[0, 0, 0]]]) for row in np.eye(2))
    assert MarkovReward(reward, 0.9).compare(env, sure, gamble) == 0
    assert InnerNonlinear(reward, lambda value: value**2, 0.9).value(env, gamble) == pytest.approx(2)
    assert InnerNonlinear(reward, math.sqrt, 0.9).compare(env, sure, gamble) == 1
    both = InnerMultiObjective([reward, np.ones(4)], lambda values: values[0] * values[1], 0.5)
    assert both.value(env, gamble) == pytest.approx(2)


def test_lotteries_know_only_what_is_reached() -> None:
    tau = np.zeros((2, 2, 2))
    tau[0, :, 0] = tau[1, :, 1] = 1
    env = FiniteMDP(tau, [1.0, 0.0])
    one, two = (Lottery(env, np.array([[0.3, 0.7], row])) for row in ([1.0, 0.0], [0.0, 1.0]))
    assert one.equals(two)
    assert not one.equals(Lottery(env, np.full((2, 2), 0.5)))
    assert np.isnan(one.policy[1]).all()
    assert PolicyFunction(lambda pi: pi[1, 1]).compare(env, [[0.3, 0.7], [1.0, 0.0]], [[0.3, 0.7], [0.0, 1.0]]) == -1
    assert LotteryOrder(lambda a, b: sign(a.occupancy(0.5)[0, 0, 0], b.occupancy(0.5)[0, 0, 0])).compare(
        env, one._policy, two._policy
    ) == 0  # fmt: skip


def test_lexicographic_orders() -> None:
    assert lexicographic([1.0, 5.0], [1.0, 3.0]) == 1
    assert lexicographic([0.0, 5.0], [1.0, 3.0]) == -1
    assert lexicographic([1.0, 3.0], [1.0, 3.0]) == 0
    assert lexicographic([], []) == 0
    env = bandit(3)
    spec = GeneralisedOuterMultiObjective(
        [np.eye(3)[[0, 0]] * [[1], [0]], np.eye(3)[[1, 1]] * [[1], [0]]], lexicographic, 0.5
    )
    assert spec.compare(env, arm_policy(0.5, 0.5, 0), arm_policy(0.5, 0.2, 0.3)) == 1
    assert spec.compare(env, arm_policy(0.5, 0, 0.5), arm_policy(0.4, 0.6, 0)) == 1


def test_orders_that_are_no_total_preorders_are_refused() -> None:
    env, one, two = bandit(2), arm_policy(1, 0), arm_policy(0, 1)
    for order in (lambda a, b: 1, lambda a, b: -1, lambda a, b: 2):
        specs: tuple[Objective, ...] = (
            PolicyOrder(order),
            LotteryOrder(order),
            OccupancyOrder(order, 0.5),
            GeneralisedOuterMultiObjective([np.zeros(2)], order, 0.5),
        )
        for spec in specs:
            with pytest.raises(ValueError, match="no total preorder"):
                spec.compare(env, one, two)

    def round_and_round(first: int, second: int) -> int:
        return 0 if first == second else (1 if (first - second) % 3 == 1 else -1)

    with pytest.raises(ValueError, match="not transitive"):
        check_total(round_and_round, [0, 1, 2])
    check_total(lexicographic, [[1, 2], [1, 3], [0, 9], [1, 2]])
    check_total(lexicographic, [])


def test_machines_and_automata_must_be_deterministic() -> None:
    moves = np.zeros((2, 1, 1, 1, 2), dtype=bool)
    with pytest.raises(ValueError, match="0 states follow"):
        TemporalLogic(moves, [((), (1,))])
    moves[..., :] = True
    with pytest.raises(ValueError, match="2 states follow"):
        RewardMachine(moves, {}, 0.5)
    moves[..., 0] = False
    assert TemporalLogic(moves, [((), (1,))]).moves.tolist() == [[[[1]]], [[[1]]]]
    for bad in (np.full((2, 1, 1, 1), 2), np.zeros((2, 1, 1, 1)), np.zeros((2, 1, 1, 2), int)):
        with pytest.raises(ValueError, match="moves"):
            TemporalLogic(bad, [])


def test_other_errors_name_what_was_expected() -> None:
    env, pi, zero = bandit(2), arm_policy(1, 0), np.zeros((1, 2, 2, 2), int)
    for gamma in (1.0, -0.1):
        for build in (
            lambda g: MarkovReward(np.zeros(2), g),
            lambda g: RegularisedReward(np.zeros(2), 1.0, negative_entropy, g),
            lambda g: OuterNonlinear(np.zeros(2), abs, g),
            lambda g: RewardMachine(zero, {}, g),
            lambda g: InnerNonlinear(np.zeros(2), abs, g),
            lambda g: InnerMultiObjective([np.zeros(2)], np.sum, g),
            lambda g: OuterMultiObjective([np.zeros(2)], np.sum, g),
            lambda g: OccupancyFunction(np.sum, g),
            lambda g: OccupancyOrder(lexicographic, g),
            lambda g: GeneralisedOuterMultiObjective([np.zeros(2)], lexicographic, g),
        ):
            with pytest.raises(ValueError, match="gamma"):
                build(gamma)
    with pytest.raises(ValueError, match="rewards: shape"):
        RewardMachine(zero, np.zeros((1, 2, 2, 2)), 0.5)
    with pytest.raises(ValueError, match="start is 1"):
        RewardMachine(zero, {}, 0.5, start=1)
    with pytest.raises(ValueError, match=r"moves: shape \(U, 2, 2, 2\)"):
        RewardMachine(np.zeros((1, 3, 2, 3), int), {}, 0.5).value(env, pi)
    with pytest.raises(ValueError, match=r"moves: shape \(Q, 2, 2, 2\)"):
        TemporalLogic(np.zeros((1, 3, 2, 3), int), []).value(env, pi)
    with pytest.raises(ValueError, match="automaton states"):
        TemporalLogic(zero, [((), (4,))])
    with pytest.raises(ValueError, match="automaton state 3"):
        TemporalLogic.safe(zero, bad=[3])
    with pytest.raises(ValueError, match="rewards is empty"):
        InnerMultiObjective([], np.sum, 0.5)
    with pytest.raises(ValueError, match="episodic environments only"):
        TrajectoryFunction(lambda trajectory: 0.0).value(transient(), np.full((2, 2), 0.5))
    at_the_end = np.zeros((2, 2))
    at_the_end[1] = [0.0, 1.0]
    with pytest.raises(ValueError, match="depends on the action"):
        InnerNonlinear(at_the_end, abs, 0.5).value(env, pi)
    with pytest.raises(ValueError, match=r"pi\[0\]"):
        MarkovReward(np.zeros(2), 0.5).value(env, [[0.5, 0.6], [1.0, 0.0]])


def test_a_trajectory_may_be_empty() -> None:
    tau: Array = np.ones((1, 2, 1))
    env = FiniteMDP(tau, [1.0])
    assert trajectories(env).listed == (Trajectory((), 0),)
    assert InnerNonlinear(np.array([2.0]), abs, 0.5).value(env, [[0.5, 0.5]]) == pytest.approx(4)
