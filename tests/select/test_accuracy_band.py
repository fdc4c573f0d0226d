"""The accuracy band: bounds, keys, thresholds, and a loop."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Rollouts
from guerdon.select import AccuracyBand, accuracy_band
from tests.strategies import NAN, rollouts


def test_bounds_are_inside_unless_told() -> None:
    outcome = torch.tensor([1.0, 0, 0, 0, 0, 1, 1, 1, 1, 0])
    group = torch.tensor([0] * 5 + [1] * 5)
    assert accuracy_band(outcome, group).all()
    assert accuracy_band(outcome.double(), group).all()
    assert not accuracy_band(outcome, group, inclusive=False).any()


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0.0, 1.0, NAN])), max_size=20), st.booleans())
def test_equal_to_a_loop(rows: list[tuple[int, float]], inclusive: bool) -> None:
    outcome, group = torch.tensor([row[1] for row in rows]), torch.tensor([row[0] for row in rows], dtype=torch.int64)
    found = accuracy_band(outcome, group, 0.25, 0.75, inclusive)
    for row, (key, _) in enumerate(rows):
        scored = [value for other, value in rows if other == key and not math.isnan(value)]
        share = sum(scored) / len(scored) if scored else NAN
        assert bool(found[row]) == (0.25 <= share <= 0.75 if inclusive else 0.25 < share < 0.75)


def test_prompts_may_be_wider_than_groups() -> None:
    value = Rollouts(
        group=[0, 1, 2, 3],
        mask=torch.ones(4, 1, dtype=torch.bool),
        outcome=[1.0, 0.0, 1.0, 1.0],
        columns={"prompt_id": ["a", "a", "b", "b"]},
    )
    assert not AccuracyBand()(value).kept.any()
    by_prompt = AccuracyBand(by="prompt_id")(value)
    assert by_prompt.kept.tolist() == [True, True, False, False]
    assert by_prompt.reason == ("", "", *["accuracy outside the band"] * 2)
    assert by_prompt.metrics["groups_inside"] == 0.5
    assert by_prompt.metrics["groups_too_easy"] == 0.5
    assert by_prompt.metrics["groups_too_hard"] == 0.0


def test_outcomes_of_other_scales_need_a_threshold() -> None:
    value = Rollouts(group=[0, 0, 1, 1], mask=torch.ones(4, 1, dtype=torch.bool), outcome=[1.0, -1.0, -1.0, -1.0])
    assert AccuracyBand(threshold=0.0)(value).kept.tolist() == [True, True, False, False]
    mixed = AccuracyBand(0.0, 1.0, inclusive=False, threshold=0.0)
    assert mixed(value).kept.tolist() == [True, True, False, False]


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"low is 0\.8"):
        accuracy_band(torch.zeros(1), torch.zeros(1).long(), 0.8, 0.2)
    with pytest.raises(ValueError, match="low 1"):
        AccuracyBand(1.0, 0.0)
    with pytest.raises(ValueError, match=r"AccuracyBand\.by"):
        AccuracyBand(by="batch")


@given(value=rollouts(binary=True))
def test_the_stage_keeps_whole_groups(value: Rollouts) -> None:
    kept = AccuracyBand()(value).kept
    for key in value.group.unique():
        assert len(kept[value.group == key].unique()) == 1
