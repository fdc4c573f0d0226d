"""Group advantages: bounds, cells of a group, and worked figures of several papers."""

from __future__ import annotations

import pytest
import torch

from guerdon import Rollouts
from guerdon.credit import GroupNormalized, LeaveOneOut, compared_rows, over_tokens
from tests.strategies import NAN


def group_of(outcome: list[float], **columns: list[str]) -> Rollouts:
    rows = len(outcome)
    return Rollouts(group=[4] * rows, mask=torch.ones(rows, 1, dtype=torch.bool), outcome=outcome, columns=columns)


@pytest.mark.parametrize(
    ("outcome", "ddof", "eps", "expected"),
    [
        ([1.0, 0.15, 0.075, 0.0], 1, 1e-6, [1.487019, -0.334914, -0.495673, -0.656432]),
        ([0.3, 0.15, 0.0, 0.15], 1, 1e-6, [1.224735, 0.0, -1.224735, 0.0]),
        ([2, 2, 2, 1, 0, 1, 2, 2], 1, 1e-4, [0.661350] * 3 + [-0.661350, -1.984051, -0.661350] + [0.661350] * 2),
        ([2.8, 2.4, 1.0, 1.0, 0.0, 2.6], 1, 1e-6, [1.034977, 0.680128, -0.561845, -0.561845, -1.448967, 0.857552]),
        ([0.954579, 0.9, 0.0, 0.845421], 0, 1e-6, [0.713907, 0.574538, -1.723615, 0.435169]),
        ([1.35, -0.35, 0.45], 0, 0.0, [1.248040, -1.200038, -0.048002]),
        ([1.0] * 4 + [0.0] * 4, 1, 1e-6, [0.935413] * 4 + [-0.935413] * 4),
    ],
)
def test_worked_groups(outcome: list[float], ddof: int, eps: float, expected: list[float]) -> None:
    found = GroupNormalized(ddof=ddof, eps=eps)(group_of(outcome))
    assert found[:, 0].tolist() == pytest.approx(expected, abs=1e-5)


def test_leave_one_out_of_eight() -> None:
    found = LeaveOneOut()(group_of([1.0, 1.0, *[-1.0] * 6]))
    assert found[:, 0].tolist() == pytest.approx([1.714286] * 2 + [-0.571429] * 6, abs=1e-6)


def test_clip_comes_after_the_normalisation() -> None:
    value = group_of([0.0] * 9 + [1.0])
    plain, clipped = GroupNormalized()(value), GroupNormalized(clip=0.5)(value)
    assert float(plain[9, 0]) > 2.0
    assert float(clipped[9, 0]) == 0.5
    assert clipped[:9].equal(plain[:9])
    with pytest.raises(ValueError, match=r"GroupNormalized\.clip"):
        GroupNormalized(clip=0.0)


def test_rows_are_compared_inside_their_cell() -> None:
    value = group_of([1.0, 0.0, 5.0, 3.0, NAN], kind=["solve", "solve", "verify", "verify", "verify"])
    found = GroupNormalized(by=("kind",), scale="none")(value)
    assert found[:, 0].tolist() == [0.5, -0.5, 1.0, -1.0, 0.0]
    assert compared_rows(value, ()).equal(value.group)
    with pytest.raises(ValueError, match="no 'role'"):
        GroupNormalized(by=("role",))(value)


def test_over_tokens_is_float32_and_zero_outside() -> None:
    found = over_tokens(torch.tensor([2.0], dtype=torch.float64), torch.tensor([[True, False]]))
    assert found.dtype == torch.float32
    assert found.tolist() == [[2.0, 0.0]]
