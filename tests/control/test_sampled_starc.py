"""Sampled STARC: against the exact distance, its noise floor and interval, and scores of stored rollouts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from guerdon import Rollouts
from guerdon.control.mdp import Array, policy_value, sample_next
from guerdon.control.random_mdps import random_reward, random_transitions
from guerdon.control.sampled_starc import (
    Transitions,
    rollouts_starc,
    sampled_starc,
    score_rewards,
    state_ids,
    step_advantages,
)
from guerdon.control.starc import shaped, starc_distance

STATES, ACTIONS, GAMMA = 6, 3, 0.8


class Lab:
    """A finite MDP that is seen through samples."""

    def __init__(self, seed: int = 0) -> None:
        generator = np.random.default_rng(seed)
        self.tau = random_transitions(STATES, ACTIONS, generator)
        self.first, self.second = (random_reward(STATES, ACTIONS, GAMMA, generator, sparse_share=0.0) for _ in range(2))
        pairs = np.stack(np.meshgrid(np.arange(STATES), np.arange(ACTIONS), indexing="ij"), -1).reshape(-1, 2)
        pairs = np.tile(pairs, (20, 1))
        self.transitions = Transitions(
            pairs[:, 0], pairs[:, 1], lambda s, a, generator: sample_next(self.tau, s, a, generator)
        )
        self.noise = 0.0

    def reward(self, table: Array):  # type: ignore[no-untyped-def]
        def function(states: Array, actions: Array, following: Array) -> Array:
            return np.asarray(table[states, actions, following])

        function.table = table  # type: ignore[attr-defined]
        return function

    def values(self, reward, states, generator):  # type: ignore[no-untyped-def]
        exact = policy_value(reward.table, self.tau, GAMMA)
        return exact[states] + self.noise * generator.normal(size=len(states))

    def distance(self, first: Array, second: Array, k: int = 16, **settings: float):  # type: ignore[no-untyped-def]
        return sampled_starc(
            self.reward(first),
            self.reward(second),
            self.transitions,
            self.values,
            k,
            gamma=GAMMA,
            resamples=200,
            **settings,  # type: ignore[arg-type]
        )


def test_many_draws_give_the_exact_distance() -> None:
    lab = Lab()
    exact = starc_distance(lab.first, lab.second, lab.tau, GAMMA)
    few, many = (lab.distance(lab.first, lab.second, k) for k in (1, 400))
    assert many.distance == pytest.approx(exact, abs=0.03)
    assert many.low < many.distance < many.high
    # 400 times the draws: a twentieth of the noise.
    assert many.noise_floor < 0.1 * few.noise_floor
    assert many.samples == 360
    distance, floor = many
    assert (distance, floor) == (many.distance, many.noise_floor)


def test_shaping_is_seen_through_on_the_same_draws() -> None:
    lab = Lab(1)
    same = 4 * shaped(lab.first, np.arange(6.0), GAMMA)
    found = lab.distance(lab.first, same, k=2)
    assert found.distance < 1e-9
    assert found.noise_floor > 0.05
    assert lab.distance(lab.first, -lab.first, k=2).distance == pytest.approx(2)


def test_noise_of_the_values_raises_the_floor() -> None:
    lab = Lab(2)
    quiet = lab.distance(lab.first, lab.second, k=64).noise_floor
    lab.noise = 5.0
    loud = lab.distance(lab.first, lab.second, k=64)
    assert loud.noise_floor > 2 * quiet
    # The distance of a reward from itself is 0 even then: the noise is shared.
    assert lab.distance(lab.first, lab.first, k=1).distance == 0


def test_other_norms() -> None:
    lab = Lab(3)
    exact = starc_distance(lab.first, lab.second, lab.tau, GAMMA, n="tau-1", m="tau-1")
    assert lab.distance(lab.first, lab.second, 400, n=1, m=1).distance == pytest.approx(exact, abs=0.04)
    exact = starc_distance(lab.first, lab.second, lab.tau, GAMMA, n=np.inf, m=np.inf)
    assert lab.distance(lab.first, lab.second, 400, n=np.inf, m=np.inf).distance == pytest.approx(exact, abs=0.1)


def test_settings_are_checked() -> None:
    lab = Lab()
    for settings, message in (({"k": 0}, "k must be"), ({"n": 0.5}, "p is 0.5"), ({"m": 0.5}, "p is 0.5")):
        with pytest.raises(ValueError, match=message):
            lab.distance(lab.first, lab.second, **settings)
    with pytest.raises(ValueError, match="gamma"):
        sampled_starc(lab.reward(lab.first), lab.reward(lab.first), lab.transitions, lab.values, gamma=1.0)
    empty = Transitions(np.zeros(0, int), np.zeros(0, int), lab.transitions.draw)
    with pytest.raises(ValueError, match="got 0 and 0"):
        sampled_starc(lab.reward(lab.first), lab.reward(lab.first), empty, lab.values, gamma=0.5)
    with pytest.raises(ValueError, match="the reward returned shape"):
        sampled_starc(lambda *_: np.zeros(3), lab.reward(lab.first), lab.transitions, lambda *_: np.zeros(360), gamma=0)


def tree(generator: np.random.Generator, groups: int = 30) -> Rollouts:
    """Eight responses a group of two steps with two choices each; equal choices share nodes. Outcome: both right."""
    choices = np.tile(np.array(np.meshgrid([0, 1], [0, 1])).T.reshape(-1, 2), (2 * groups, 1))
    rows = len(choices)
    hard = np.repeat(generator.random(groups), 8)
    node = np.stack([1 + choices[:, 0], 3 + 2 * choices[:, 0] + choices[:, 1]], 1)
    process = choices + hard[:, None]
    step = torch.arange(4).div(2, rounding_mode="floor").expand(rows, 4)
    return Rollouts(
        group=torch.arange(groups).repeat_interleave(8),
        mask=torch.ones(rows, 4, dtype=torch.bool),
        step=step,
        outcome=torch.as_tensor(choices.all(1)).float(),
        process=torch.as_tensor(process).float(),
        node=torch.as_tensor(node),
        columns={"negated": (-1.0 * choices.all(1)).tolist(), "shifted": (choices.all(1) + 10 * hard).tolist()},
    )


def test_a_finite_tree_gives_the_exact_distance() -> None:
    """One group is an MDP with a start, two nodes and an end, in which the data's policy is uniform."""
    rollouts = tree(np.random.default_rng(0), groups=1)
    tau = np.zeros((4, 2, 4))
    tau[0, 0, 1] = tau[0, 1, 2] = tau[1, :, 3] = tau[2, :, 3] = tau[3, :, 3] = 1
    gamma = 0.9
    outcome, process = np.zeros((4, 2)), np.zeros((4, 2))
    outcome[2, 1] = 1
    steps = rollouts.process.double().numpy()
    process[0] = steps[0, 0], steps[2, 0]
    process[1] = steps[0, 1], steps[1, 1]
    process[2] = steps[2, 1], steps[3, 1]
    forms = []
    for reward in (outcome, process):
        values = policy_value(reward, tau, gamma)
        form = reward + gamma * tau @ values - values[:, None]
        # The data visits the start twice as often as either node.
        weight = np.array([2, 1, 1, 0])[:, None]
        forms.append((form / np.sqrt((weight * form**2).sum()), weight))
    exact = np.sqrt((forms[0][1] * (forms[0][0] - forms[1][0]) ** 2).sum())
    assert rollouts_starc(rollouts, gamma=gamma, resamples=10).distance == pytest.approx(exact, abs=1e-6)


def test_scores_of_rollouts() -> None:
    rollouts = tree(np.random.default_rng(0))
    found = rollouts_starc(rollouts, "outcome", "process", resamples=200)
    assert found.samples == 480
    assert found.low <= found.distance <= found.high
    assert rollouts_starc(rollouts, "outcome", "negated", resamples=5).distance == pytest.approx(2)
    # A constant of each group is shaping: no ranking inside a group sees it.
    assert rollouts_starc(rollouts, "outcome", "shifted", resamples=5).distance == pytest.approx(0, abs=1e-5)
    again = rollouts_starc(rollouts, "outcome", "process", resamples=200)
    assert again == found
    assert rollouts_starc(rollouts, "outcome", "outcome", resamples=5).distance == 0


def test_potential_shaping_of_nodes_is_no_distance_and_a_bonus_is() -> None:
    rollouts = tree(np.random.default_rng(0))
    assert rollouts.node is not None
    phi = torch.as_tensor(np.random.default_rng(1).normal(size=8))
    phi[0] = 0.0
    before = torch.cat([torch.zeros(len(rollouts), 1, dtype=torch.int64), rollouts.node[:, :1]], 1)
    after = torch.stack([phi[rollouts.node[:, 0]], torch.zeros(len(rollouts), dtype=torch.float64)], 1)
    paid = torch.stack([torch.zeros(len(rollouts)), rollouts.outcome], 1).double()
    shaped_reward = paid + 0.9 * after - phi[before]
    bonus = paid + 0.3 * (rollouts.node == 1)
    given = rollouts.with_steps(shaped=shaped_reward, bonus=bonus)
    assert rollouts_starc(given, "outcome", "shaped", gamma=0.9, resamples=5).distance == pytest.approx(0, abs=1e-9)
    assert rollouts_starc(given, "outcome", "bonus", gamma=0.9, resamples=5).distance > 0.1


def test_rounding_of_large_rewards_is_no_direction() -> None:
    rollouts = tree(np.random.default_rng(0)).with_columns(flat=[1e9 / 3] * 240)
    assert rollouts_starc(rollouts, "outcome", "flat", resamples=5).distance == pytest.approx(1)
    assert rollouts_starc(rollouts, "flat", "flat", resamples=5).noise_floor == 0
    lab = Lab()
    assert lab.distance(lab.first, 1e9 / 3 + 0 * lab.first, k=3).distance == pytest.approx(1)


def test_noise_floor_falls_with_more_responses() -> None:
    def floor(repeats: int) -> float:
        base = tree(np.random.default_rng(0), groups=20)
        many = Rollouts.concatenate([base] * repeats)
        noisy = many.outcome + torch.as_tensor(np.random.default_rng(1).normal(size=len(many))).float()
        return rollouts_starc(many.replace(outcome=noisy), "outcome", "negated", resamples=2).noise_floor

    assert floor(20) < 0.6 * floor(1)


def test_rows_without_a_score_take_no_part() -> None:
    rollouts = tree(np.random.default_rng(0), groups=4)
    spoiled = rollouts.outcome.clone()
    spoiled[[0, 9, 17]] = torch.nan
    kept = ~torch.isnan(spoiled)
    found = rollouts_starc(rollouts.replace(outcome=spoiled), resamples=5)
    assert found.distance == pytest.approx(rollouts_starc(rollouts[kept], resamples=5).distance)
    assert found.samples == 58
    process = rollouts.process.clone()
    process[0, 1] = torch.nan
    assert rollouts_starc(rollouts.replace(process=process), resamples=5).samples == 62
    with pytest.raises(ValueError, match="no row has both scores"):
        rollouts_starc(rollouts.replace(outcome=torch.full((32,), torch.nan)))


def test_a_response_without_steps_is_one_step() -> None:
    rollouts = Rollouts(
        group=[0, 0, 0, 1, 1, 2],
        mask=torch.ones(6, 2, dtype=torch.bool),
        outcome=[1.0, 0.0, 0.5, 1.0, 0.0, 1.0],
        columns={"other": [2.0, 0.0, 4.0, 1.0, None, 0.0]},
    )
    reward, scored = score_rewards(rollouts, "other")
    assert reward[:, 0].tolist() == [2.0, 0.0, 4.0, 1.0, 0.0, 0.0]
    assert scored[:, 0].tolist() == [True, True, True, True, False, True]
    found = rollouts_starc(rollouts, "outcome", "other", resamples=5)
    # Minus the mean of the group: (.5, -.5, 0) and (0, -2, 2); lone rows give 0 for both.
    first, second = np.array([0.5, -0.5, 0]), np.array([0, -2.0, 2.0])
    gap = first / np.linalg.norm(first) - second / np.linalg.norm(second)
    assert found.distance == pytest.approx(np.linalg.norm(gap))
    assert found.samples == 5


def test_states_are_prefixes_or_steps() -> None:
    rollouts = tree(np.random.default_rng(0), groups=2)[[0, 2, 4, 8]]
    ids = state_ids(rollouts, "prefix", 2)
    # Rows 0 and 2 of the first group repeat each other's first choice; the last row is another group's.
    assert ids[0, 0] == ids[1, 0] == ids[2, 0] != ids[3, 0]
    assert ids[0, 1] == ids[2, 1] != ids[1, 1]
    coarse = state_ids(rollouts, "step", 2)
    assert coarse[0, 1] == coarse[1, 1] != coarse[3, 1]
    assert coarse[0, 0] != coarse[0, 1]
    alone = state_ids(rollouts.replace(node=None), "prefix", 2)
    assert alone[0, 0] == alone[1, 0]
    assert alone[0, 1] != alone[2, 1]
    assert rollouts_starc(rollouts, state="step", resamples=5).distance >= 0


def test_advantages_of_steps_by_hand() -> None:
    reward = torch.tensor([[1.0, 2.0], [3.0, 0.0]], dtype=torch.float64)
    there = torch.tensor([[True, True], [True, False]])
    state = torch.tensor([[0, 1], [0, 2]])
    # To go: 1 + .5 * 2 = 2 and 3; the start is worth 2.5, state 1 is worth 2.
    found = step_advantages(reward, there, state, 0.5)
    assert found.tolist() == [[1 + 0.5 * 2 - 2.5, 0.0], [0.5, 0.0]]


def test_names_are_checked() -> None:
    rollouts = tree(np.random.default_rng(0), groups=1).with_columns(words=["a"] * 8)
    for settings, message in (
        ({"second": "nothing"}, "no score 'nothing': there are"),
        ({"second": "words"}, "one number a row"),
        ({"state": "token"}, "state is 'token'"),
        ({"gamma": 1.5}, "gamma must be"),
        ({"n": 0.0}, "p is 0.0"),
    ):
        with pytest.raises(ValueError, match=message):
            rollouts_starc(rollouts, **settings)  # type: ignore[arg-type]
