"""Rewards of thoughts, and what their sums come to."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Rollouts, ops
from guerdon.shape import (
    ThoughtRewards,
    adaptive_scale,
    labels_from_matching,
    labels_from_reflections,
    thought_rewards,
)
from tests.strategies import NAN
from tests.strategies import rollouts as any_rollouts

OUTCOME = torch.tensor([1.0, 1, -1, -1, -1, -1, -1, -1], dtype=torch.float64)
KEY = torch.zeros(8, dtype=torch.int64)


def to_go(rewards: torch.Tensor) -> torch.Tensor:
    return ops.accumulate(rewards, ~torch.isnan(rewards))


def test_the_worked_example() -> None:
    base = ops.normalize(OUTCOME, KEY)
    assert base[[0, 2]].tolist() == pytest.approx([1.62001, -0.540003], abs=1e-5)
    scale = adaptive_scale(OUTCOME, KEY)
    assert scale.tolist() == [0.25] * 8
    right = torch.tensor([[1, 1, 0, 0, 1, 0, 1]])
    arguments = (torch.tensor([True]), base[:1], scale[:1])
    rewards = thought_rewards(right, *arguments)
    assert rewards[0].tolist() == pytest.approx([0, 0.25, 0, -0.25, 0.25, -0.25, 1.62001], abs=1e-5)
    expected = [1.62001, 1.62001, 1.37001, 1.37001, 1.62001, 1.37001, 1.62001]
    assert to_go(rewards)[0].tolist() == pytest.approx(expected, abs=1e-5)
    wrong = thought_rewards(torch.tensor([[1, 0, 0, 1]]), torch.tensor([False]), base[2:3], scale[:1])
    assert to_go(wrong)[0].tolist() == pytest.approx([-0.540003, 0, 0, -0.540003], abs=1e-5)
    # Equal labels get unequal values where every step is rewarded.
    static = thought_rewards(right, *arguments, granularity="step", size="static")
    expected = [1.62001, 0.62001, -0.37999, 0.62001, 1.62001, 0.62001, 1.62001]
    assert to_go(static)[0].tolist() == pytest.approx(expected, abs=1e-5)


@given(
    rows=st.lists(st.lists(st.sampled_from([-1, 0, 1]), min_size=6, max_size=6), min_size=1, max_size=6),
    right=st.booleans(),
    base=st.floats(0.0, 2.0),
    scale=st.floats(0.0, 1.0),
)
def test_sums_are_the_propositions(rows: list[list[int]], right: bool, base: float, scale: float) -> None:
    """A good thought keeps the outcome, a bad one loses the scale; an unmatched one is left alone."""
    labels = torch.tensor(rows)
    there = labels >= 0
    last = there & (there.flip(1).cumsum(1).flip(1) == 1)
    labels = torch.where(last, 1, labels)
    outcome = base if right else -base
    count = len(rows)
    correct = torch.full((count,), right)
    found = to_go(thought_rewards(labels, correct, torch.full((count,), outcome).double(), torch.full((count,), scale)))
    lower = outcome - scale if right else 0.0
    expected = torch.where(labels > 0, outcome, lower).double()
    torch.testing.assert_close(found, torch.where(there, expected, NAN), equal_nan=True, atol=1e-6, rtol=1e-6)


@given(
    labels=st.lists(st.sampled_from([0, 1]), min_size=1, max_size=6),
    granularity=st.sampled_from(["thought", "step"]),
    size=st.sampled_from(["adaptive", "static"]),
    right=st.booleans(),
)
def test_rewards_against_a_loop(labels: list[int], granularity: str, size: str, right: bool) -> None:
    base, scale, alpha = (1.5 if right else -0.5), 0.25, 0.7
    found = thought_rewards(
        torch.tensor([labels]), torch.tensor([right]), torch.tensor([base]), torch.tensor([scale]), granularity, size,
        alpha,
    )  # fmt: skip
    runs = [[k] for k in range(len(labels))]
    if granularity == "thought":
        runs = [list(run) for _, run in itertools.groupby(range(len(labels)), key=lambda k: labels[k])]
    expected = [0.0] * len(labels)
    for run in runs:
        amount = (scale if right else base) if size == "adaptive" else (alpha if right else -alpha)
        expected[run[-1]] = amount if labels[run[0]] else -amount
    expected[-1] = base
    assert found[0].tolist() == pytest.approx(expected)


def test_labels_of_a_right_response() -> None:
    assert labels_from_reflections(7, [(2, 4), (5, 6)], {2, 3, 5}) == [True, True, False, False, True, False, True]
    # Errors outside an interval are not known to be errors; the last step is good.
    assert labels_from_reflections(4, [(0, 2), (1, 3)], {0, 2, 3}) == [False, True, False, True]
    assert labels_from_reflections(0, [], set()) == []
    for arguments in ((3, [(1, 1)], set()), (3, [(0, 3)], set()), (3, [], {3})):
        with pytest.raises(ValueError, match="expected"):
            labels_from_reflections(*arguments)


def test_labels_of_a_wrong_response() -> None:
    assert labels_from_matching(4, {0, 2}) == [True, False, True, True]
    with pytest.raises(ValueError, match="step 4"):
        labels_from_matching(4, {4})


def batch() -> Rollouts:
    step = torch.tensor([[0, 1, 2, 3], [0, 1, 2, -1], [0, 1, -1, -1], [0, 1, 2, 3]])
    return Rollouts(
        group=[0] * 4,
        mask=step >= 0,
        step=step,
        outcome=[1.0, -1.0, -1.0, NAN],
        process=[[1.0, 0.0, 0.0, 0.0], [1.0, 0.0, 1.0, NAN], [0.0, NAN, NAN, NAN], [1.0, 1.0, 0.0, 1.0]],
    )


def test_the_stage() -> None:
    shaped = ThoughtRewards(eps=0.0)(batch())
    right, wrong = 2 / 3**0.5, -1 / 3**0.5
    third = 1 / 3
    expected = [[third, 0, -third, right], [wrong, -wrong, wrong, NAN], [0, wrong, NAN, NAN], [NAN] * 4]
    for row, line in enumerate(expected):
        assert shaped.process[row].tolist() == pytest.approx(line, abs=1e-6, nan_ok=True)
    assert shaped.columns["thought_scale"] == pytest.approx([third] * 4)
    steps = ThoughtRewards(granularity="step", size="static")(batch())
    # Where a step was not judged only the outcome acts.
    assert steps.process[2].tolist() == pytest.approx([0, wrong, NAN, NAN], abs=1e-3, nan_ok=True)


@given(value=any_rollouts(binary=True))
def test_the_stage_runs_on_any_rollouts(value: Rollouts) -> None:
    shaped = ThoughtRewards()(value)
    assert torch.equal(~torch.isnan(shaped.process), value.step_exists & value.scored[:, None])
    again = value.replace(outcome=2 * value.outcome - 1)
    torch.testing.assert_close(ThoughtRewards(eps=0.0)(value).process, ThoughtRewards(eps=0.0)(again).process,
                               equal_nan=True, atol=1e-4, rtol=1e-4)  # fmt: skip


def test_bad_arguments_are_named() -> None:
    x = torch.zeros(1)
    labels = torch.zeros(1, 2, dtype=torch.int64)
    for call, match in (
        (lambda: thought_rewards(labels, x > 0, x, x, "token"), "granularity"),
        (lambda: thought_rewards(labels, x > 0, x, x, size="big"), "size"),
        (lambda: thought_rewards(labels, x > 0, x, torch.zeros(2)), "expected"),
        (lambda: adaptive_scale(x, x.long(), 0.0), "alpha"),
        (lambda: ThoughtRewards(alpha=0.0), "alpha"),
        (lambda: ThoughtRewards(granularity="token"), "granularity"),
        (lambda: ThoughtRewards(size="big"), "size"),
    ):
        with pytest.raises(ValueError, match=match):
            call()
