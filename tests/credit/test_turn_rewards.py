"""Gated turn rewards: worked rows and invariants of G-RA."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon.credit import turn_rewards
from tests.strategies import NAN

CRITICS = torch.tensor([[[0.1, 0.1], [0.1, 0.0], [0.1, 0.1]]] * 4, dtype=torch.float64)
TURNS = torch.ones(4, 3, dtype=torch.bool)
TIERS = torch.tensor([-1.0, 0.0, 1.0, 2.0], dtype=torch.float64)


def test_four_tiers() -> None:
    gated, direct = (turn_rewards(TIERS, CRITICS, TURNS, delta=0.0, mode=mode) for mode in ("gated", "direct"))
    for row, expected in enumerate([[0.0, 0.0, -1.0], [0.0, 0.0, 0.0], [0.2, 0.1, 1.2], [0.2, 0.1, 2.2]]):
        assert gated[row].tolist() == pytest.approx(expected)
    for row, expected in enumerate([[0.2, 0.1, -0.8], [0.2, 0.1, 0.2], [0.2, 0.1, 1.2], [0.2, 0.1, 2.2]]):
        assert direct[row].tolist() == pytest.approx(expected)


def test_farming_pays_only_without_the_gate() -> None:
    critics = torch.full((2, 30, 1), 0.2)
    turns = torch.arange(30)[None] < torch.tensor([[30], [3]])
    outcome = torch.tensor([-1.0, 1.0])
    totals = [turn_rewards(outcome, critics, turns, mode=mode).nansum(1).tolist() for mode in ("direct", "gated")]
    assert totals[0] == pytest.approx([5.0, 1.6])
    assert totals[1] == pytest.approx([-1.0, 1.6])


@given(st.integers(0, 2**31), st.floats(-2.0, 2.0))
def test_invariants(seed: int, delta: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    critics = torch.rand(6, 4, 3, generator=generator, dtype=torch.float64)
    turns = torch.rand(6, 4, generator=generator) < 0.7
    turns[:, 1] = True
    outcome = torch.randint(-1, 3, (6,), generator=generator).double()
    weights = torch.rand(3, generator=generator, dtype=torch.float64)
    found = turn_rewards(outcome, critics, turns, weights, delta)
    assert torch.isnan(found).equal(~turns)
    easy = (critics * weights).sum(2) * turns * (outcome > delta)[:, None]
    torch.testing.assert_close(found.nansum(1), easy.sum(1) + outcome)
    shut = outcome <= delta
    torch.testing.assert_close(turn_rewards(outcome, 5 * critics, turns, weights, delta)[shut], found[shut],
                               equal_nan=True)  # fmt: skip
    direct = turn_rewards(outcome, critics, turns, weights, mode="direct")
    torch.testing.assert_close(turn_rewards(outcome, critics, turns, weights, -9.0), direct, equal_nan=True)
    assert float(found[~shut].nansum()) >= float(outcome[~shut].sum())


def test_unscored_rows_and_refusals() -> None:
    critics = torch.tensor([[[NAN, 1.0]], [[1.0, 1.0]]])
    found = turn_rewards(torch.tensor([1.0, NAN]), critics, torch.ones(2, 1, dtype=torch.bool))
    assert found[0].tolist() == [2.0]
    assert torch.isnan(found[1]).all()
    assert turn_rewards(torch.zeros(0), torch.zeros(0, 2, 1), torch.zeros(0, 2).bool()).shape == (0, 2)
    with pytest.raises(ValueError, match="mode is 'open'"):
        turn_rewards(TIERS, CRITICS, TURNS, mode="open")
    with pytest.raises(ValueError, match="shapes"):
        turn_rewards(TIERS, CRITICS[:, :2], TURNS)
    with pytest.raises(ValueError, match="one a critic"):
        turn_rewards(TIERS, CRITICS, TURNS, torch.ones(3))
