"""Four yardsticks of length."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Rollouts, ops
from guerdon.shape import (
    LengthPenalty,
    correctness_ratio,
    group_length_penalty,
    grpo_lambda_rewards,
    length_penalised,
    length_penalty_reward,
    length_reward,
    top_lambda_groups,
)
from tests.strategies import NAN
from tests.strategies import rollouts as any_rollouts

LENGTHS, RIGHT = torch.tensor([200, 100, 30, 140, 400]), torch.tensor([True, True, False, False, False])
ONE = torch.zeros(5, dtype=torch.int64)


def test_distance_from_the_right_ones() -> None:
    for side, expected in (
        ("short", [0, 0, -0.733333, 0, 0]),
        ("long", [0, 0, 0, 0, -1]),
        ("both", [0, 0, -0.733333, 0, -1]),
    ):
        found = group_length_penalty(LENGTHS, RIGHT, ONE, tau=0.25, p_max=1.0, side=side)
        assert found.tolist() == pytest.approx(expected, abs=1e-6)


rows_of_lengths = st.lists(
    st.tuples(st.integers(0, 300), st.sampled_from([0.0, 1.0, NAN]), st.integers(0, 2)), max_size=12
)


@given(rows=rows_of_lengths, tau=st.sampled_from([0.0, 0.2, 0.9]), side=st.sampled_from(["short", "long", "both"]))
def test_group_penalty_against_a_loop(rows: list[tuple[int, float, int]], tau: float, side: str) -> None:
    lengths, right, key = (torch.tensor([row[i] for row in rows]) for i in range(3))
    found = group_length_penalty(lengths, right.double(), key.long(), tau=tau, p_max=0.7, side=side).tolist()
    for (length, correct, group), value in zip(rows, found, strict=True):
        usual = [row[0] for row in rows if row[2] == group and row[1] == 1]
        expected = 0.0
        if math.isnan(correct):
            expected = NAN
        elif usual and correct == 0:
            mean = sum(usual) / len(usual)
            x = length / mean if mean else (math.inf if length else 1.0)
            d = {"short": 1 - x, "long": x - 1, "both": abs(x - 1)}[side]
            expected = -0.7 * min(1.0, max(0.0, (d - tau) / (1 - tau)))
        assert value == pytest.approx(expected, abs=1e-9, nan_ok=True)
    scaled = group_length_penalty(3 * lengths, right.double(), key.long(), tau=tau, p_max=0.7, side=side)
    assert scaled.tolist() == pytest.approx(found, nan_ok=True)


CORRECT = torch.tensor([1.0, 1, 0, 1, 1, 1, 1, 1, 0, 1, 0, 0])
WRITTEN = torch.tensor([100, 200, 50, 300, 80, 80, 160, 240, 10, 500, 20, 20])
GROUPS = torch.repeat_interleave(torch.tensor([7, 3, 5]), 4)
EASY = [0.942376, 0.942376, 0.885038, 0.836260]


def test_only_the_best_solved_groups_are_penalised() -> None:
    ids, ratio = correctness_ratio(CORRECT, GROUPS)
    assert (ids.tolist(), ratio.tolist()) == ([7, 3, 5], [0.75, 1.0, 0.25])
    one, chosen = grpo_lambda_rewards(CORRECT, WRITTEN, GROUPS, lam=0.34)
    assert one.tolist() == pytest.approx([1, 1, 0, 1, *EASY, 0, 1, 0, 0], abs=1e-6)
    assert chosen.tolist() == [False] * 4 + [True] * 4 + [False] * 4
    two, _ = grpo_lambda_rewards(CORRECT.double(), WRITTEN, GROUPS, lam=0.67)
    assert two.tolist() == pytest.approx([0.954579, 0.9, 0, 0.845421, *EASY, 0, 1, 0, 0], abs=1e-6)
    advantage = ops.normalize(two, GROUPS, ddof=0, eps=1e-6)
    expected = [0.713907, 0.574538, -1.723615, 0.435169, 0.921294, 0.921294, -0.371436, -1.471152]
    assert advantage.tolist() == pytest.approx([*expected, -0.577349, 1.732047, -0.577349, -0.577349], abs=1e-6)
    passed, chosen = grpo_lambda_rewards(CORRECT, WRITTEN, GROUPS, selector="threshold", theta=0.75)
    torch.testing.assert_close(passed, two.float())
    assert chosen.tolist() == [True] * 8 + [False] * 4


@given(rows=rows_of_lengths, lam=st.floats(0, 1), alpha=st.sampled_from([0.0, 0.2, 0.9]))
def test_lambda_rewards_against_a_loop(rows: list[tuple[int, float, int]], lam: float, alpha: float) -> None:
    lengths, right, key = (torch.tensor([row[i] for row in rows], dtype=torch.float64) for i in range(3))
    found, chosen = grpo_lambda_rewards(right, lengths, key.long(), lam, alpha)
    names = list(dict.fromkeys(row[2] for row in rows))

    def ratio(name: int) -> float:
        scored = [row[1] for row in rows if row[2] == name and not math.isnan(row[1])]
        return sum(scored) / len(scored) if scored else -1.0

    ranked = sorted(names, key=lambda name: -ratio(name))[: math.floor(lam * len(names) + 1e-9)]
    picked = {name for name in ranked if ratio(name) > 0}
    for row, (length, correct, name) in enumerate(rows):
        assert bool(chosen[row]) == (name in picked)
        usual = [r[0] for r in rows if r[2] == name and r[1] == 1]
        expected = correct
        if name in picked and correct == 1:
            spread = np.std(usual)
            z = (length - np.mean(usual)) / spread if spread > 0 else 0.0
            expected = 1 - alpha / (1 + math.exp(-z))
        assert float(found[row]) == pytest.approx(expected, abs=1e-9, nan_ok=True)
    assert int(top_lambda_groups(correctness_ratio(right, key.long())[1], lam).sum()) <= lam * len(names) + 1e-9


def test_an_all_right_group_moves_by_length_alone_whatever_alpha() -> None:
    advantages = [
        ops.normalize(length_penalty_reward(torch.ones(4).double(), WRITTEN[4:8], ONE[:4], alpha), ONE[:4], eps=0.0)
        for alpha in (0.1, 0.5)
    ]
    torch.testing.assert_close(*advantages)
    shifted = length_penalty_reward(torch.ones(4), 2 * WRITTEN[4:8] + 30, ONE[:4], 0.2)
    assert shifted.tolist() == pytest.approx(EASY, abs=1e-6)


def test_references_and_limits() -> None:
    assert length_reward(torch.tensor([40.0, 40, 10]), torch.tensor([58, 22, 10])).tolist() == pytest.approx(
        [0.775, 0.775, 1.0]
    )
    found = length_penalised(torch.full((3,), 3.0, dtype=torch.float64), torch.tensor([300, 301, 512]))
    assert found.tolist() == pytest.approx([3.0, 2.99, 0.88])


def batch(outcome: list[float], lengths: list[int], group: list[int], **columns: list[object]) -> Rollouts:
    mask = torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]
    return Rollouts(group=group, mask=mask, outcome=outcome, columns=columns)


def test_the_stage_with_each_yardstick() -> None:
    value = batch([1.0, 1.0, 0.0, 0.0, 0.0], LENGTHS.tolist(), [0] * 5)
    shaped = LengthPenalty(strength=1.0, tolerance=0.25, side="both")(value)
    assert shaped.outcome.tolist() == pytest.approx([1, 1, -0.733333, 0, -1], abs=1e-6)
    assert shaped.columns["length_penalty"] == pytest.approx([0, 0, -0.733333, 0, -1], abs=1e-6)
    assert shaped.columns["raw_outcome"] == (1, 1, 0, 0, 0)
    groups = batch(CORRECT.tolist(), WRITTEN.tolist(), GROUPS.tolist())
    shaped = LengthPenalty("correct_zscore", fraction=0.34)(groups)
    assert shaped.outcome.tolist() == pytest.approx([1, 1, 0, 1, *EASY, 0, 1, 0, 0], abs=1e-6)
    assert shaped.columns["length_penalised"] == (False,) * 4 + (True,) * 4 + (False,) * 4
    threshold = LengthPenalty("correct_zscore", threshold=0.75)(groups)
    assert sum(threshold.columns["length_penalised"]) == 8
    answers = batch([0.25, 0.5], [9, 9], [0, 0], answer_length=[58, 40], reference_length=[40, None])
    shaped = LengthPenalty("reference", length="answer_length")(answers)
    assert shaped.outcome.tolist() == pytest.approx([1.025, NAN], nan_ok=True)
    scores = batch([3.0, 3.0, NAN], [300, 512, 512], [0, 0, 0])
    assert LengthPenalty("limit")(scores).outcome.tolist() == pytest.approx([3.0, 0.88, NAN], nan_ok=True)


@given(value=any_rollouts(binary=True), yardstick=st.sampled_from(["correct_mean", "correct_zscore", "limit"]))
def test_the_stage_runs_on_any_rollouts(value: Rollouts, yardstick: str) -> None:
    shaped = LengthPenalty(yardstick, limit=3)(value)
    assert torch.equal(torch.isnan(shaped.outcome), torch.isnan(value.outcome))
    assert bool((shaped.outcome[value.scored] <= value.outcome[value.scored]).all())


def test_bad_arguments_are_named() -> None:
    x = torch.zeros(2)
    for call, match in (
        (lambda: group_length_penalty(x, x, x.long(), tau=1.0), "tau"),
        (lambda: group_length_penalty(x, x, x.long(), p_max=-1.0), "p_max"),
        (lambda: group_length_penalty(x, x, x.long(), side="left"), "side"),
        (lambda: group_length_penalty(x - 1, x, x.long()), "row 0 is -1.0"),
        (lambda: group_length_penalty(x, x[:1], x.long()), "expected"),
        (lambda: top_lambda_groups(x, 1.5), "lam"),
        (lambda: length_penalty_reward(x, x, x.long(), 1.0), "alpha"),
        (lambda: grpo_lambda_rewards(x, x, x.long(), selector="best"), "selector"),
        (lambda: grpo_lambda_rewards(x, x, x.long(), selector="threshold"), "theta"),
        (lambda: length_reward(x, x), "n_ref in row 0"),
        (lambda: LengthPenalty("median"), "yardstick"),
        (lambda: LengthPenalty(tolerance=1.0), "tau"),
        (lambda: LengthPenalty("correct_zscore", strength=1.0), "alpha"),
    ):
        with pytest.raises(ValueError, match=match):
            call()
