"""Thought advantages: the paper's two propositions, its figures, and the sum that they stand for."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Rollouts, ops
from guerdon.credit import GroupNormalized, ThoughtAdvantage, merge_thoughts, thought_advantages
from guerdon.shape.thought_rewards import ThoughtRewards, thought_rewards
from tests.strategies import NAN

RIGHT, WRONG, SCALE = 1.62001, -0.540003, 0.25


def one(labels: list[int], correct: bool, **options: str) -> list[float]:
    base = torch.tensor([RIGHT if correct else WRONG], dtype=torch.float64)
    scale = torch.tensor([SCALE], dtype=torch.float64)
    return thought_advantages(torch.tensor([labels]), torch.tensor([correct]), base, scale, **options)[0].tolist()


def test_the_worked_responses() -> None:
    labels = [1, 1, 0, 0, 1, 0, 1]
    low = RIGHT - SCALE
    assert one(labels, True) == pytest.approx([RIGHT, RIGHT, low, low, RIGHT, low, RIGHT])
    assert one([1, 0, 0, 1], False) == pytest.approx([WRONG, 0.0, 0.0, WRONG])
    thought, names = merge_thoughts(torch.tensor([labels]))
    assert thought.tolist() == [[0, 0, 1, 1, 2, 3, 4]]
    assert names.tolist() == [[1, 0, 1, 0, 1, -1, -1]]
    # The ablation: single steps, worth 1 and -1, the outcome in place of the last step's own reward.
    found = one(labels, True, granularity="step", size="static")
    assert found == pytest.approx([1.62001, 0.62001, -0.37999, 0.62001, 1.62001, 0.62001, 1.62001])


@given(st.lists(st.booleans(), min_size=1, max_size=9), st.booleans(), st.floats(0.0, 2.0))
def test_the_propositions(labels: list[bool], correct: bool, scale: float) -> None:
    labels = [*labels, True]
    base = torch.tensor([1.3 if correct else -0.7], dtype=torch.float64)
    sizes = torch.tensor([scale], dtype=torch.float64)
    found = thought_advantages(torch.tensor([labels]), torch.tensor([correct]), base, sizes)[0]
    other = 1.3 - scale if correct else 0.0
    assert found.tolist() == pytest.approx([float(base) if label else other for label in labels])
    assert float((found - base).abs().max()) <= max(scale, abs(float(base))) + 1e-12
    doubled = [label for label in labels for _ in range(2)]
    again = thought_advantages(torch.tensor([doubled]), torch.tensor([correct]), base, sizes)[0]
    assert again[::2].tolist() == found.tolist()


@given(st.integers(0, 2**31), st.sampled_from(["thought", "step"]), st.sampled_from(["adaptive", "static"]))
def test_equal_to_the_sum_of_thought_rewards(seed: int, granularity: str, size: str) -> None:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(-1, 2, (6, 7), generator=generator)
    correct = torch.rand(6, generator=generator) < 0.5
    base, scale = (torch.randn(6, generator=generator, dtype=torch.float64) for _ in range(2))
    found = thought_advantages(labels, correct, base, scale.abs(), granularity, size)
    rewards = thought_rewards(labels, correct, base, scale.abs(), granularity, size)
    torch.testing.assert_close(found, ops.accumulate(rewards, labels >= 0), equal_nan=True)


@given(st.lists(st.sampled_from([-1, 0, 1]), max_size=8), st.booleans())
def test_equal_to_a_loop_over_thoughts(labels: list[int], correct: bool) -> None:
    found = one(labels, correct)
    steps = [index for index, label in enumerate(labels) if label >= 0]
    thoughts: list[list[int]] = []
    for index in steps:
        if thoughts and labels[thoughts[-1][0]] == labels[index]:
            thoughts[-1].append(index)
        else:
            thoughts.append([index])
    total, expected = 0.0, dict.fromkeys(range(len(labels)), NAN)
    for number, thought in reversed(list(enumerate(thoughts))):
        amount = SCALE if correct else WRONG
        own = amount if labels[thought[0]] else -amount
        total += (RIGHT if correct else WRONG) if number == len(thoughts) - 1 else own
        expected.update(dict.fromkeys(thought, total))
    for index, value in enumerate(found):
        assert math.isnan(value) if labels[index] < 0 else value == pytest.approx(expected[index])


def judged(process: list[list[float]], outcome: list[float]) -> Rollouts:
    width = len(process[0])
    return Rollouts(
        group=[0] * len(outcome),
        mask=torch.ones(len(outcome), width + 1, dtype=torch.bool),
        step=torch.tensor([[*range(width), -1]] * len(outcome)),
        outcome=outcome,
        process=process,
    )


def test_the_stage_sums_what_the_shape_wrote() -> None:
    value = judged([[1.0, 0.0, 1.0], [1.0, 0.0, 1.0], [NAN, NAN, NAN], [1.0, 1.0, 1.0]], [1.0, -1.0, 1.0, NAN])
    found = ThoughtAdvantage()(ThoughtRewards()(value))
    base = GroupNormalized()(value)[:, 0]
    assert found[0].tolist() == pytest.approx([float(base[0]), float(base[0]) - 2 / 3, float(base[0]), float(base[0])])
    assert found[1].tolist() == pytest.approx([float(base[1]), 0.0, float(base[1]), float(base[1])], abs=1e-6)
    assert found[2].tolist() == pytest.approx([float(base[2])] * 4)
    assert found[3].tolist() == [0.0] * 4


def test_groups_of_one_outcome() -> None:
    right = ThoughtAdvantage()(ThoughtRewards()(judged([[0.0, 1.0], [1.0, 1.0]], [1.0, 1.0])))
    assert right.tolist() == [[-1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    wrong = ThoughtAdvantage()(ThoughtRewards()(judged([[0.0, 1.0], [1.0, 1.0]], [-1.0, -1.0])))
    assert not wrong.any()


def test_labels_may_be_numbers_with_nan() -> None:
    one_row = torch.tensor([True]), torch.tensor([2.0]), torch.tensor([0.5])
    numbers = thought_advantages(torch.tensor([[1.0, 0.0, NAN, 1.0]]), *one_row)
    integers = thought_advantages(torch.tensor([[1, 0, -1, 1]]), *one_row)
    torch.testing.assert_close(numbers, integers, equal_nan=True)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="granularity is 'token'"):
        one([1], True, granularity="token")
    with pytest.raises(ValueError, match="size is 'big'"):
        one([1], True, size="big")
    with pytest.raises(ValueError, match="three \\(B,\\)"):
        thought_advantages(torch.ones(2, 2), torch.ones(2), torch.ones(1), torch.ones(2))
    empty = torch.zeros(0)
    assert thought_advantages(torch.zeros(0, 3), empty, empty, empty).shape == (0, 3)
