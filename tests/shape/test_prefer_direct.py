"""Rescoring in favour of direct answers."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Rollouts, ops
from guerdon.shape import PreferDirect, adaptive_group_scores
from tests.strategies import NAN


def scores(reward: list[float], tool: list[int], **options: bool) -> torch.Tensor:
    right = torch.tensor([float(r > 0.5) for r in reward], dtype=torch.float64)
    good = torch.tensor([r in (1.0, 0.1) for r in reward])
    return adaptive_group_scores(right, torch.tensor(tool) > 0, good, torch.zeros(len(reward)).long(), **options)


@pytest.mark.parametrize(
    ("reward", "tool", "expected", "advantage"),
    [
        (
            [1.0, 0.1, 1.0, 0.1, 0.0, 0.1], [0, 0, 1, 1, 1, 0], [1.0, 0.1, 0.8, 0.5, 0.5, 0.1],
            [1.376201, -1.100961, 0.825721, 0, 0, -1.100961],
        ),
        ([0.1, 1.0, 1.0, 0.1], [0, 1, 1, 1], [0.1, 1.0, 1.0, 0.5], [-1.261784, 0.802953, 0.802953, -0.344123]),
        ([0.1, 0.0, 0.1, 0.1], [1, 0, 0, 1], [0.5, 0.0, 0.1, 0.5], [0.855524, -1.045641, -0.665408, 0.855524]),
    ],
)  # fmt: skip
def test_the_worked_examples(
    reward: list[float], tool: list[int], expected: list[float], advantage: list[float]
) -> None:
    found = scores(reward, tool)
    assert found.tolist() == pytest.approx(expected)
    key = torch.zeros(len(found), dtype=torch.int64)
    assert ops.normalize(found, key, eps=1e-6).tolist() == pytest.approx(advantage, abs=2e-6)


def test_trying_must_be_well_formed_if_asked() -> None:
    found = scores([1.0, 0.1, 1.0, 0.1, 0.0, 0.1], [0, 0, 1, 1, 1, 0], require_format=True)
    assert found.tolist() == pytest.approx([1.0, 0.1, 0.8, 0.5, 0.0, 0.1])


@given(
    rows=st.lists(
        st.tuples(st.sampled_from([0.0, 1.0, NAN]), st.booleans(), st.booleans(), st.integers(0, 2)), max_size=10
    )
)
def test_scores_against_a_loop(rows: list[tuple[float, bool, bool, int]]) -> None:
    right, tool, good, key = (torch.tensor([row[i] for row in rows]) for i in range(4))
    found = adaptive_group_scores(right, tool.bool(), good.bool(), key.long()).tolist()
    for (correct, used, formed, group), value in zip(rows, found, strict=True):
        members = [row for row in rows if row[3] == group and not math.isnan(row[0])]
        solvable = any(row[0] == 1 and not row[1] for row in members)
        if math.isnan(correct):
            expected = NAN
        elif len(members) == 1:
            expected = 0.9 * correct + 0.1 * formed
        elif correct:
            expected = 0.8 if used and solvable else 1.0
        else:
            expected = 0.5 if used else 0.1 if formed else 0.0
        assert value == pytest.approx(expected, nan_ok=True)
    for group in {row[3] for row in rows}:
        inside = [(row[0], value) for row, value in zip(rows, found, strict=True) if row[3] == group]
        best_wrong = max((value for correct, value in inside if correct == 0), default=-1.0)
        assert all(value > best_wrong for correct, value in inside if correct == 1)


def test_the_stage() -> None:
    value = Rollouts(
        group=[0, 0, 0, 1, 1],
        mask=torch.ones(5, 1, dtype=torch.bool),
        outcome=[1.0, 1.0, 0.1, 0.7, NAN],
        columns={"used_tool": [0, 2, 1, 1, 0], "format": [1, 1, 0, 1, 1]},
    )
    assert PreferDirect()(value).outcome.tolist() == pytest.approx([1.0, 0.8, 0.5, 0.7, NAN], nan_ok=True)
    assert PreferDirect(require_format=True)(value).outcome[2].item() == 0.0
    other = PreferDirect((2.0, 1.5, 0.5, 0.1, 0.0))(value)
    assert other.outcome[:2].tolist() == [2.0, 1.5]


def test_bad_input_is_named() -> None:
    x = torch.zeros(2)
    for call, match in (
        (lambda: adaptive_group_scores(x, x, x, x.long(), (1.0,)), "values"),  # type: ignore[arg-type]
        (lambda: adaptive_group_scores(x, x[:1], x, x.long()), "used_tool has shape"),
        (lambda: PreferDirect((1.0,)), "PreferDirect.values"),  # type: ignore[arg-type]
    ):
        with pytest.raises(ValueError, match=match):
            call()
