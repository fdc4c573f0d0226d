"""Process rewards shifted by the outcome."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Rollouts, ops
from guerdon.shape import OutcomeShift, renorm
from tests.strategies import NAN
from tests.strategies import rollouts as any_rollouts

JUDGED = torch.tensor([[4 / 6, 1.0, NAN]])


def test_the_worked_example() -> None:
    assert renorm(JUDGED, torch.tensor([1.0]))[0].tolist() == pytest.approx([2 / 3, 1.0, 1.0])
    assert renorm(JUDGED, torch.tensor([0.0]))[0].tolist() == pytest.approx([-1 / 3, 0.0, 0.0])
    tokens = ops.place(renorm(JUDGED, torch.tensor([1.0])), torch.tensor([[0, 0, 1, 1, 2]]))
    assert tokens[0].tolist() == pytest.approx([0, 2 / 3, 0, 1, 1])
    advantage, gains = ops.gae(
        tokens.double(), torch.full((1, 5), 0.5).double(), torch.ones(1, 5, dtype=torch.bool), 1.0, 0.95
    )
    assert advantage[0].tolist() == pytest.approx([1.897961, 1.997854, 1.401250, 1.475000, 0.5], abs=1e-6)
    assert gains[0].tolist() == pytest.approx([2.397961, 2.497854, 1.901250, 1.975000, 1.0], abs=1e-6)


def test_unjudged_steps_are_shifted_all_the_same() -> None:
    judged = torch.tensor([[NAN, 0.5, NAN]])
    assert renorm(judged, torch.tensor([0.0]))[0].tolist() == [-1.0, -0.5, 0.0]
    kept = renorm(judged, torch.tensor([0.0]), missing=None)[0]
    assert kept.tolist() == pytest.approx([NAN, -0.5, 0.0], nan_ok=True)
    shifted = renorm(torch.tensor([[0.25, 0.5]]), torch.tensor([0.0]), last_step="shift")
    assert shifted[0].tolist() == [-0.75, -0.5]
    assert renorm(torch.zeros(1, 2), torch.tensor([0.7]), beta=0.0)[0].tolist() == pytest.approx([0.7, 0.7])


score = st.one_of(st.just(NAN), st.floats(0, 1, width=32))


@given(
    rows=st.lists(
        st.tuples(st.lists(st.tuples(score, st.booleans()), min_size=4, max_size=4), st.sampled_from([0.0, 1.0, NAN])),
        min_size=1,
        max_size=5,
    ),
    beta=st.sampled_from([1.0, 0.5]),
)
def test_shifts_against_a_loop(rows: list[tuple[list[tuple[float, bool]], float]], beta: float) -> None:
    process = torch.tensor([[cell[0] for cell in cells] for cells, _ in rows])
    exists = torch.tensor([[cell[1] for cell in cells] for cells, _ in rows])
    outcome = torch.tensor([result for _, result in rows])
    found = renorm(process, outcome, beta, exists=exists)
    for row, (cells, result) in enumerate(rows):
        there = [k for k, cell in enumerate(cells) if cell[1]]
        expected = [NAN] * 4
        for k in there:
            p = 0.0 if math.isnan(cells[k][0]) else cells[k][0]
            expected[k] = result if k == there[-1] else p + result - beta
        assert found[row].tolist() == pytest.approx(expected, abs=1e-6, nan_ok=True)
        if beta == 1.0 and not math.isnan(result):
            signs = [value for k, value in zip(there, (expected[k] for k in there), strict=True) if k != there[-1]]
            assert all(value >= -1e-6 if result == 1 else value <= 1e-6 for value in signs)


@given(value=any_rollouts(binary=True))
def test_the_stage_runs_on_any_rollouts(value: Rollouts) -> None:
    shaped = OutcomeShift()(value)
    expected = value.step_exists & value.scored[:, None]
    assert torch.equal(~torch.isnan(shaped.process), expected)
    # The last step carries the outcome.
    rows = expected.any(1)
    torch.testing.assert_close(ops.aggregate(shaped.process, "last")[rows], value.outcome[rows])
    assert torch.equal(torch.nan_to_num(shaped.outcome), torch.nan_to_num(value.outcome))


def test_bad_scores_are_named() -> None:
    with pytest.raises(ValueError, match=r"row 0, step 1 is 1\.5"):
        renorm(torch.tensor([[0.0, 1.5, 0.0]]), torch.tensor([1.0]))
    # What is not used is not checked.
    assert renorm(torch.tensor([[0.0, 7.0]]), torch.tensor([1.0]))[0].tolist() == [0.0, 1.0]
    for call, match in (
        (lambda: renorm(JUDGED, torch.zeros(2)), "expected"),
        (lambda: renorm(JUDGED, torch.zeros(1), last_step="drop"), "last_step"),
        (lambda: OutcomeShift(last_step="drop"), "OutcomeShift.last_step"),
    ):
        with pytest.raises(ValueError, match=match):
            call()
