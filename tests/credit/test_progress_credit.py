"""Progress under a prover: the worked trace, telescoping, and the stage."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given

from guerdon import Rollouts
from guerdon.credit import LeaveOneOut, ProgressCredit, effective_reward, progress_credit
from tests.strategies import NAN, rollouts

Q = torch.tensor([[0.1, 0.3, 0.3, 0.6, 1.0]], dtype=torch.float64)
PROVER = 1.0 - (1.0 - Q) ** 4
START = 1.0 - (1.0 - torch.tensor([0.2], dtype=torch.float64)) ** 4


def test_the_worked_trace() -> None:
    assert PROVER[0].tolist() == pytest.approx([0.3439, 0.7599, 0.7599, 0.9744, 1.0])
    value = effective_reward(Q, PROVER, START, 0.5)
    assert value[0].tolist() == pytest.approx([-0.02325, 0.508, 0.3, 0.70725, 1.0128])
    right = progress_credit(torch.tensor([1.0]), PROVER, START, 5.0)
    assert right[0].tolist() == pytest.approx([-0.2325, 3.08, 1.0, 2.0725, 1.128])
    wrong = progress_credit(torch.tensor([0.0]), PROVER, START, 5.0)
    assert wrong[0].tolist() == pytest.approx([-1.2325, 2.08, 0.0, 1.0725, 0.128])
    telescoped = (right - 1.0).sum() / 5.0
    assert float(telescoped) == pytest.approx(float(PROVER[0, -1] - START[0]))


def test_baselines_and_absent_steps() -> None:
    prover = torch.tensor([[0.5, NAN, 0.75], [0.25, NAN, NAN]])
    found = progress_credit(torch.tensor([1.0, NAN]), prover, torch.tensor([0.5, 0.5]), 2.0, torch.tensor([0.25, 0.0]))
    assert found[0, [0, 2]].tolist() == [0.75, 1.25]
    assert torch.isnan(found[0, 1])
    assert float(found[1, 0]) == 0.0
    by_step = progress_credit(torch.tensor([1.0, 0.0]), prover, torch.tensor([0.5, 0.5]), 0.0, torch.full((2, 3), 0.5))
    assert by_step[0, [0, 2]].tolist() == [0.5, 0.5]


def test_refusals() -> None:
    one = torch.tensor([1.0])
    with pytest.raises(ValueError, match="q_prover has the value 1"):
        progress_credit(one, torch.tensor([[1.5]]), one, 1.0)
    with pytest.raises(ValueError, match="prover_start has the value -1"):
        progress_credit(one, torch.tensor([[0.5]]), -one, 1.0)
    with pytest.raises(ValueError, match="q_base has the value"):
        effective_reward(torch.tensor([[-0.5]]), torch.tensor([[0.5]]), one, 1.0)
    with pytest.raises(ValueError, match="baseline has shape"):
        progress_credit(one, torch.tensor([[0.5]]), one, 1.0, torch.zeros(3))
    with pytest.raises(ValueError, match="shapes"):
        progress_credit(one, torch.tensor([[0.5], [0.5]]), one, 1.0)
    with pytest.raises(ValueError, match=r"ProgressCredit\.baseline"):
        ProgressCredit(baseline="batch")
    with pytest.raises(ValueError, match=r"ProgressCredit\.alpha"):
        ProgressCredit(alpha=-1.0)
    with pytest.raises(ValueError, match="no 'start'"):
        ProgressCredit()(Rollouts(group=[0], mask=[[1]], process=[[0.5]]))


def test_the_stage_by_hand() -> None:
    value = Rollouts(
        group=[0, 0],
        mask=[[1, 1, 1], [1, 1, 1]],
        step=[[0, 1, -1], [0, 0, 1]],
        outcome=[1.0, 0.0],
        process=[[0.5, 0.75], [0.25, NAN]],
        columns={"start": [0.5, None]},
    )
    found = ProgressCredit(alpha=2.0)(value)
    assert found[0].tolist() == [0.5, 1.0, 0.5]
    assert found[1].tolist() == [-0.5, -0.5, -0.5]  # no start: no progress known at its first step
    raw = ProgressCredit(alpha=0.0, baseline="none")(value)
    assert raw.tolist() == [[1.0] * 3, [0.0] * 3]


@given(value=rollouts(binary=True))
def test_the_stage_on_anything(value: Rollouts) -> None:
    value = value.with_columns(start=[0.5] * len(value))
    found = ProgressCredit()(value)
    assert torch.isfinite(found).all()
    assert not (found[~value.mask] != 0).any()
    assert not (found[~value.scored] != 0).any()
    plain = ProgressCredit(alpha=0.0, baseline="leave_one_out")(value)
    torch.testing.assert_close(plain, LeaveOneOut(singleton="zero")(value))
