"""The spread filter: the worked states, repeats that are dropped after the mean, and a loop."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Rollouts, ops
from guerdon.credit import GroupNormalized
from guerdon.recipe import Recipe
from guerdon.select import SpreadFilter, advantage_gap, first_copies, select_training_actions, wide_enough
from tests.strategies import NAN

VALUES = torch.tensor([0.8, 0.5, 0.2, 0.5, 0.41, 0.40, 0.44, 0.39], dtype=torch.float64)
STATE = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])


def test_the_worked_states() -> None:
    adv = ops.normalize(VALUES, STATE, scale="none")
    assert adv.tolist() == pytest.approx([0.3, 0.0, -0.3, 0.0, 0.0, -0.01, 0.03, -0.02])
    assert advantage_gap(adv, STATE).tolist() == pytest.approx([0.6, 0.05])
    assert select_training_actions(adv, STATE, list("abcbdefg")).tolist() == [0, 1, 2]
    assert select_training_actions(adv, STATE, torch.tensor([7, 3, 9, 3, 1, 2, 3, 4])).tolist() == [0, 1, 2]
    assert select_training_actions(adv, STATE, list("abcbdefg"), min_gap=0.0).tolist() == [0, 1, 2, 4, 5, 6, 7]


def test_a_gap_that_is_just_met() -> None:
    value, key = torch.tensor([0.5, 0.25]), torch.tensor([0, 0])
    assert wide_enough(value, key, 0.25).all()
    assert not wide_enough(value, key, 0.25, inclusive=False).any()


@given(
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from([0.0, 0.1, 0.5, NAN]), st.sampled_from("ab")), max_size=12),
    st.sampled_from([0.0, 0.1, 0.3]),
)
def test_equal_to_a_loop(rows: list[tuple[int, float, str]], gap: float) -> None:
    adv = torch.tensor([row[1] for row in rows], dtype=torch.float64)
    state = torch.tensor([row[0] for row in rows], dtype=torch.int64)
    expected, seen = [], set()
    for index, (key, value, action) in enumerate(rows):
        mates = [other for at, other, _ in rows if at == key and not math.isnan(other)]
        if math.isnan(value) or max(mates) - min(mates) < gap or (key, action) in seen:
            continue
        seen.add((key, action))
        expected.append(index)
    assert select_training_actions(adv, state, [row[2] for row in rows], gap).tolist() == expected


def states() -> Rollouts:
    return Rollouts(
        group=STATE,
        mask=torch.ones(8, 1, dtype=torch.bool),
        outcome=VALUES,
        columns={"response": tuple("abcbdefg")},
    )


def test_the_stage_trains_on_every_action_once() -> None:
    found = SpreadFilter(action="response")(states())
    assert found.kept.tolist() == [True] * 4 + [False] * 4
    assert found.trained.tolist() == [True, True, True, False] + [False] * 4
    assert found.reason == ("", "", "", "same action as an earlier row", *["spread below the gap"] * 4)
    assert found.metrics["repeated"] == 1.0
    assert found.metrics["mean_gap"] == pytest.approx(0.325)
    # Repeats still count in the baseline.
    batch = Recipe(credit=GroupNormalized(scale="none"), select=SpreadFilter(action="response"))(states())
    assert batch.training.advantages.flatten().tolist() == pytest.approx([0.3, 0.0, -0.3], abs=1e-6)


def test_other_values() -> None:
    value = states().replace(process=VALUES[:, None].flip(0))
    assert SpreadFilter(value="process")(value).kept.tolist() == [False] * 4 + [True] * 4
    assert SpreadFilter(value="level").reads == ("group", "level")
    nothing = Rollouts(group=[0, 0], mask=torch.ones(2, 1, dtype=torch.bool))
    assert not SpreadFilter(min_gap=0.0)(nothing).kept.any()
    empty = nothing[[]]
    assert len(SpreadFilter()(empty).kept) == 0


def test_refusals() -> None:
    with pytest.raises(ValueError, match="min_gap is -1"):
        wide_enough(VALUES, STATE, -1.0)
    with pytest.raises(ValueError, match=r"SpreadFilter\.min_gap"):
        SpreadFilter(min_gap=NAN)
    with pytest.raises(ValueError, match="1 actions: expected 8"):
        select_training_actions(VALUES, STATE, ["a"])
    with pytest.raises(ValueError, match="1 actions: expected 8"):
        first_copies(STATE, ["a"])
