"""Rows that count in the statistics but not in the loss."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given

from guerdon import Recipe, Rollouts
from guerdon.credit import GroupNormalized
from guerdon.select import DropFromLoss, DropZeroSpread, loss_keep_mask, pure_group, zero_process
from tests.strategies import NAN, rollouts


def overlength() -> Rollouts:
    return Rollouts(
        group=[0] * 4,
        mask=torch.ones(4, 2, dtype=torch.bool),
        outcome=[1.0, 0.15, 0.075, 0.0],
        columns={"truncated": [False, None, 0, True]},
    )


def test_overlength_rows_stay_in_the_statistics() -> None:
    assert loss_keep_mask(torch.tensor([False, True])).tolist() == [True, False]
    batch = Recipe(credit=GroupNormalized(eps=1e-6), select=DropFromLoss("truncated"))(overlength())
    expected = [1.487019, -0.334914, -0.495673]
    assert batch.training.advantages[:, 0].tolist() == pytest.approx(expected, abs=1e-5)
    assert batch.advantages[3, 0] == pytest.approx(-0.656432, abs=1e-5)
    assert batch.selection is not None
    assert batch.selection.reason == ("", "", "", "truncated")


def test_zero_process() -> None:
    process = torch.tensor([[0.0, NAN, 1.5], [0.0, -0.25, 1.5], [NAN, NAN, NAN], [0.0, 0.0, NAN]])
    assert zero_process(process).tolist() == [False, False, True, True]
    assert zero_process(process, but_last=True).tolist() == [True, False, True, True]
    assert zero_process(torch.zeros(2, 0)).tolist() == [True, True]


def test_several_reasons_and_the_first_is_noted() -> None:
    value = overlength().replace(process=[[0.0, 2.0], [1.0, 2.0], [0.0, 2.0], [0.0, 2.0]])
    stage = DropFromLoss(("zero_process", "truncated"))
    found = stage(value)
    assert found.kept.all()
    assert found.trained.tolist() == [False, True, False, False]
    assert found.reason == ("zero process", "", "zero process", "zero process")
    assert stage.reads == ("process", "truncated")
    assert DropFromLoss("zero_process", but_last=False)(value).trained.all()
    assert DropFromLoss("pure_group").reads == ("outcome", "group")
    with pytest.raises(ValueError, match=r"DropFromLoss\.on"):
        DropFromLoss(())
    with pytest.raises(ValueError, match="no 'late'"):
        DropFromLoss("late")(value)


@given(value=rollouts(binary=True))
def test_pure_groups_are_those_without_spread(value: Rollouts) -> None:
    pure = pure_group(value.outcome, value.group)
    assert (~pure).equal(DropZeroSpread()(value).kept)
    found = DropFromLoss("pure_group")(value)
    assert found.kept.all()
    assert found.trained.equal(~pure)
    assert not GroupNormalized()(value)[pure].any()
