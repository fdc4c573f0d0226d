"""IGPO's turn returns: worked figures, invariants, and the official code's centring by position."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Rollouts, ops
from guerdon.credit import GroupNormalized, TurnDiscounted, igpo_returns, position_centred_returns
from tests.strategies import NAN, rollouts

GAINS = torch.tensor([[0.15, 0.40, NAN], [-0.01, 0.06, NAN]], dtype=torch.float64)
OUTCOME = torch.tensor([1.0, 0.0], dtype=torch.float64)
GROUP = torch.zeros(2, dtype=torch.int64)


@pytest.mark.parametrize(
    ("norm", "gamma", "first", "second"),
    [
        ("separate", 1.0, [2.103187, 2.103187, 0.707106], [-2.103187, -1.209695, -0.707106]),
        ("separate", 0.9, [1.829229, 2.032476, 0.707106], [-1.918578, -1.138984, -0.707106]),
        ("joint", 1.0, [1.924295, 2.223630, 1.881533], [-1.924295, -1.214444, -0.684194]),
        ("center", 1.0, [0.75, 0.75, 0.5], [-0.75, -0.59, -0.5]),
    ],
)
def test_worked_returns(norm: str, gamma: float, first: list[float], second: list[float]) -> None:
    found = igpo_returns(GAINS, OUTCOME, GROUP, gamma, norm)
    assert found[0].tolist() == pytest.approx(first, abs=2e-6)
    assert found[1].tolist() == pytest.approx(second, abs=2e-6)


def test_scaling_gains_matters_for_joint_only() -> None:
    separate, joint = (igpo_returns(GAINS, OUTCOME, GROUP, norm=norm, eps=0.0) for norm in ("separate", "joint"))
    torch.testing.assert_close(igpo_returns(9 * GAINS, OUTCOME, GROUP, norm="separate", eps=0.0), separate)
    assert float((igpo_returns(9 * GAINS, OUTCOME, GROUP, norm="joint", eps=0.0) - joint).abs().max()) > 0.1


def test_an_all_wrong_group_still_teaches() -> None:
    found = igpo_returns(GAINS, torch.zeros(2), GROUP)
    assert found[:, 2].tolist() == [0.0, 0.0]
    assert float(found[:, 0].abs().min()) > 0.1


def test_without_gains_every_turn_gets_the_outcome() -> None:
    exists = torch.ones(2, 3, dtype=torch.bool)
    found = igpo_returns(torch.full_like(GAINS, NAN), OUTCOME, GROUP, exists=exists)
    expected = ops.normalize(OUTCOME, GROUP, eps=1e-6)
    torch.testing.assert_close(found, expected[:, None].expand(2, 3))


def test_rows_of_different_numbers_of_turns() -> None:
    gains = torch.tensor([[NAN, NAN, NAN], [0.5, NAN, NAN], [0.1, 0.3, NAN]])
    found = igpo_returns(gains, torch.tensor([1.0, 0.0, NAN]), torch.zeros(3, dtype=torch.int64))
    assert torch.isnan(found).tolist() == [[False, True, True], [False, False, True], [False, False, False]]
    assert found[2].tolist() == [0.0, 0.0, 0.0]
    assert found[1].tolist()[:2] == pytest.approx([-0.707106] * 2, abs=1e-5)  # a lone gain has no spread


def test_refusals() -> None:
    with pytest.raises(ValueError, match="row 0 has no column for the answer turn"):
        igpo_returns(GAINS[:, :2], OUTCOME, GROUP)
    with pytest.raises(ValueError, match="row 0 has a value at the answer turn"):
        igpo_returns(GAINS, OUTCOME, GROUP, exists=~torch.isnan(GAINS))
    with pytest.raises(ValueError, match="norm is 'position'"):
        igpo_returns(GAINS, OUTCOME, GROUP, norm="position")
    with pytest.raises(ValueError, match=r"TurnDiscounted\.gamma"):
        TurnDiscounted(gamma=1.5)
    with pytest.raises(ValueError, match=r"TurnDiscounted\.norm"):
        TurnDiscounted(norm="token")


def two_rows() -> Rollouts:
    return Rollouts(
        group=[0, 0],
        mask=[[1, 1, 0, 1, 1, 1], [1, 0, 1, 0, 1, 0]],
        step=[[0, 0, -1, 1, 2, -1], [0, -1, 1, -1, 2, -1]],
        outcome=OUTCOME,
        process=GAINS,
    )


def test_the_stage_gives_every_token_its_turns_return() -> None:
    found = TurnDiscounted()(two_rows())
    assert found[0].tolist() == pytest.approx([2.103187, 2.103187, 0.0, 2.103187, 0.707106, 0.0], abs=1e-5)
    assert found[1].tolist() == pytest.approx([-2.103187, 0.0, -1.209695, 0.0, -0.707106, 0.0], abs=1e-5)


def test_centring_by_position() -> None:
    found = TurnDiscounted(norm="position", gamma=0.5)(two_rows())
    # Row 0: rewards 0, .15, ., .4, 1, 0; row 1: -.01, ., .06, ., 0, . at the same columns.
    first = [0.15 * 0.5 + 0.4 * 0.25 + 1.0 * 0.125, 0.15 + 0.4 * 0.5 + 1.0 * 0.25, 0.0, 0.4 + 0.5, 1.0, 0.0]
    second = [-0.01 + 0.06 * 0.5, 0.0, 0.06, 0.0, 0.0, 0.0]
    expected = [(first[0] - second[0]) / 2, 0.0, 0.0, 0.0, 0.5, 0.0]
    assert found[0].tolist() == pytest.approx(expected, abs=1e-6)
    assert found[1].tolist() == pytest.approx([-expected[0], 0.0, 0.0, 0.0, -0.5, 0.0], abs=1e-6)


@given(st.integers(0, 2**31), st.floats(0.0, 1.0))
def test_position_centring_equals_a_loop(seed: int, gamma: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    rewards = torch.randn(6, 5, generator=generator, dtype=torch.float64)
    mask = torch.rand(6, 5, generator=generator) < 0.7
    group = torch.randint(0, 3, (6,), generator=generator)
    found = position_centred_returns(rewards, mask, group, gamma)
    returns = ops.discounted_suffix(rewards, mask, gamma)
    for row in range(6):
        for t in range(5):
            mates = [float(returns[j, t]) for j in range(6) if group[j] == group[row] and mask[j, t]]
            expected = float(returns[row, t]) - math.fsum(mates) / len(mates) if mask[row, t] else 0.0
            assert float(found[row, t]) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("norm", ["separate", "joint", "center", "position"])
@given(value=rollouts(binary=True))
def test_the_stage_on_anything(norm: str, value: Rollouts) -> None:
    last = value.step_exists & (value.step_exists.flip(1).cumsum(1).flip(1) == 1)
    value = value.replace(process=torch.where(last | ~value.step_exists, NAN, value.process))
    found = TurnDiscounted(0.9, norm)(value)
    assert torch.isfinite(found).all()
    assert not (found[~value.mask] != 0).any()
    assert not (found[~value.scored] != 0).any()


def test_gains_off_is_grpo() -> None:
    value = two_rows().replace(process=torch.full((2, 3), NAN))
    with_step = value.mask & (value.step >= 0)
    torch.testing.assert_close(TurnDiscounted(eps=1e-4)(value), GroupNormalized()(value) * with_step)
