"""Recomposition: worked groups, counts, invariants, and its schedule."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from guerdon import Recipe, Rollouts
from guerdon.credit import GroupNormalized
from guerdon.select import Recompose, compensation_probability, recompose
from tests.strategies import NAN, rollouts

LENGTH = torch.tensor([40, 10, 25, 80, 60, 100, 20, 50])
HALF = torch.tensor([1.0] * 4 + [0.0] * 4)
ONE = torch.zeros(8, dtype=torch.int64)


def indices(mask: Tensor) -> list[int]:
    return [int(row) for row in mask.nonzero().flatten()]


def gap(rows: Tensor, outcome: Tensor) -> float:
    return float(LENGTH[rows & (outcome == 0)].double().mean() - LENGTH[rows & (outcome == 1)].double().mean())


def test_the_worked_groups() -> None:
    parts = recompose(LENGTH, HALF, ONE)
    assert indices(parts.priority) == [1, 2, 4, 5]
    assert indices(parts.compensation) == [0, 3, 6, 7]
    assert parts.reason[:2] == ("long correct", "short correct")
    assert parts.reason[4] == "long incorrect"
    assert parts.reason[6] == "short incorrect"
    assert gap(torch.ones(8).bool(), HALF) == 18.75
    assert gap(parts.priority, HALF) == 62.5
    mostly = torch.tensor([1.0] * 6 + [0.0] * 2)
    assert indices(recompose(LENGTH, mostly, ONE).priority) == [0, 1, 2, 7]
    rollouts = Rollouts(group=ONE, mask=torch.ones(8, 1, dtype=torch.bool), outcome=mostly)
    advantage = GroupNormalized(eps=1e-6)(rollouts)[:, 0]
    assert advantage[[0, 7]].tolist() == pytest.approx([0.540061, -1.620182], abs=1e-5)


def test_counts_are_exact() -> None:
    ten = torch.arange(10)
    for ratio, number in ((0.7, 7), (0.1, 1), (0.05, 1), (0.29, 3), (1.0, 10)):
        parts = recompose(ten, torch.ones(10), torch.zeros(10).long(), ratio)
        assert indices(parts.priority) == list(range(number))


def test_scope_ties_and_degenerate_groups() -> None:
    length = torch.tensor([5, 5, 5, 5, 1, 9])
    outcome = torch.tensor([1.0, 1.0, 0.0, 0.0, 1.0, NAN])
    group = torch.tensor([0, 0, 0, 0, 3, 3])
    assert indices(recompose(length, outcome, group).priority) == [0, 2, 4]
    assert indices(recompose(length, outcome, group, scope="batch").priority) == [0, 2, 4]
    assert indices(recompose(length, outcome, group, 0.3, scope="batch").priority) == [2, 4]
    dropped = recompose(length, outcome, group, drop_degenerate=True)
    assert dropped.reason[4:] == ("degenerate", "unscored")
    assert indices(dropped.priority | dropped.compensation) == [0, 1, 2, 3]


@given(
    st.lists(st.tuples(st.integers(0, 30), st.sampled_from([0.0, 1.0, NAN]), st.integers(0, 2)), max_size=14),
    st.sampled_from([0.1, 0.3, 0.5, 0.7, 1.0]),
    st.sampled_from(["group", "batch"]),
)
def test_equal_to_a_loop(rows: list[tuple[int, float, int]], ratio: float, scope: str) -> None:
    length = torch.tensor([row[0] for row in rows], dtype=torch.int64)
    outcome = torch.tensor([row[1] for row in rows])
    group = torch.tensor([row[2] for row in rows], dtype=torch.int64)
    expected = set()
    for key in {row[2] for row in rows} if scope == "group" else {None}:
        for right in (0.0, 1.0):
            members = [i for i, row in enumerate(rows) if row[1] == right and (key is None or row[2] == key)]
            members.sort(key=lambda i: (rows[i][0] if right else -rows[i][0], i))
            expected |= set(members[: math.ceil(ratio * len(members) - 1e-9)])
    parts = recompose(length, outcome, group, ratio, scope)
    assert set(indices(parts.priority)) == expected
    assert not (parts.priority & parts.compensation).any()
    assert (parts.priority | parts.compensation).equal(~torch.isnan(outcome))
    stretched = recompose(length.double() ** 3, outcome, group, ratio, scope)
    assert stretched.priority.equal(parts.priority)


def test_the_schedule() -> None:
    values = [compensation_probability(step, 100) for step in (0, 25, 50, 75, 100, 140)]
    assert values == pytest.approx([1.0, 0.853553, 0.5, 0.146447, 0.0, 0.0], abs=1e-6)
    assert compensation_probability(200, 100, 0.9, 0.2) == 0.2
    with pytest.raises(ValueError, match="total_steps is 0"):
        compensation_probability(0, 0)
    with pytest.raises(ValueError, match="start is 2"):
        compensation_probability(0, 10, start=2.0)


def with_lengths() -> Rollouts:
    mask = torch.arange(100)[None] < LENGTH[:, None]
    return Rollouts(group=ONE, mask=mask, outcome=HALF, columns={"calls": [8, 7, 6, 5, 4, 3, 2, 1]})


def test_the_stage_leaves_advantages_alone() -> None:
    stage = Recompose()
    batch = Recipe(credit=GroupNormalized(), select=stage)(with_lengths())
    plain = Recipe(credit=GroupNormalized())(with_lengths())
    assert batch.advantages.equal(plain.advantages)
    assert indices(batch.trained) == [1, 2, 4, 5]
    assert batch.metrics["select/Recompose/length_priority_incorrect"] == 80.0
    assert batch.metrics["select/Recompose/length_priority_correct"] == 17.5
    everything = Recipe(credit=GroupNormalized(), select=Recompose(ratio=1.0))(with_lengths())
    assert everything.trained.all()
    by_calls = Recompose(cost="calls")(with_lengths())
    assert indices(by_calls.trained) == [2, 3, 4, 5]
    assert Recompose(cost="calls").reads == ("outcome", "group", "calls")


def test_refusals() -> None:
    for ratio in (0.0, 1.1):
        with pytest.raises(ValueError, match="ratio"):
            recompose(LENGTH, HALF, ONE, ratio)
        with pytest.raises(ValueError, match=r"Recompose\.ratio"):
            Recompose(ratio=ratio)
    with pytest.raises(ValueError, match="length in row 0 is -1"):
        recompose(torch.full((8,), -1.0), HALF, ONE)
    with pytest.raises(ValueError, match="length in row 2 is nan"):
        recompose(torch.tensor([1.0, 1.0, NAN]), HALF[:3], ONE[:3])
    with pytest.raises(ValueError, match=r"outcome in row 1 is 0\.5"):
        recompose(LENGTH[:2], torch.tensor([1.0, 0.5]), ONE[:2])
    with pytest.raises(ValueError, match="scope is 'rank'"):
        recompose(LENGTH, HALF, ONE, scope="rank")
    with pytest.raises(ValueError, match=r"Recompose\.scope"):
        Recompose(scope="rank")
    with pytest.raises(ValueError, match="shapes"):
        recompose(LENGTH, HALF[:2], ONE)


@given(value=rollouts(binary=True))
def test_the_stage_on_anything(value: Rollouts) -> None:
    for stage in (Recompose(), Recompose(0.3, "batch", drop_degenerate=True)):
        found = stage(value)
        assert found.kept.equal(value.scored)
        parts = stage.parts(value)
        assert found.trained.equal(parts.priority)
