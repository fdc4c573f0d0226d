"""Selective advantages: the worked group, signs, and equality with the outcome where verdicts agree."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Rollouts
from guerdon.credit import GroupNormalized, Selective, selective_advantage
from tests.strategies import NAN, rollouts

A = 0.866025


def test_the_worked_group() -> None:
    adv = torch.tensor([A, A, -A, -A])
    labels = torch.tensor([[1, 1], [1, 0], [1, 0], [0, 0]])
    step = torch.tensor([[0, 0, 1, 1, -1]] * 4)
    mask = torch.tensor([[1] * 5, *[[1] * 4 + [0]] * 3], dtype=torch.bool)
    found = selective_advantage(adv, labels, step, mask)
    expected = [[A] * 5, [A, A, 0, 0, 0], [0, 0, -A, -A, 0], [-A] * 4 + [0]]
    torch.testing.assert_close(found, torch.tensor(expected))


@given(st.integers(0, 2**31))
def test_equal_to_a_loop(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    adv = torch.randn(5, generator=generator, dtype=torch.float64)
    adv[0] = 0.0
    labels = torch.randint(0, 2, (5, 3), generator=generator).double()
    labels[torch.rand(5, 3, generator=generator) < 0.2] = NAN
    mask = torch.rand(5, 6, generator=generator) < 0.8
    step = torch.where(mask, torch.randint(-1, 3, (5, 6), generator=generator), -1)
    found = selective_advantage(adv, labels, step, mask)
    for row in range(5):
        for t in range(6):
            verdict = float(labels[row, step[row, t]]) if step[row, t] >= 0 else NAN
            keeps = verdict != verdict or (verdict == 1.0) == (float(adv[row]) >= 0)
            assert float(found[row, t]) == (float(adv[row]) if mask[row, t] and keeps else 0.0)
    assert (found.abs() <= adv.abs()[:, None]).all()
    assert (found * adv[:, None] >= 0).all()
    by_token = selective_advantage(adv[:, None].expand(5, 6), labels, step, mask)
    assert by_token.equal(found)


@given(value=rollouts(binary=True))
def test_the_stage_on_anything(value: Rollouts) -> None:
    found, plain = Selective()(value), GroupNormalized(eps=1e-6)(value)
    assert torch.isfinite(found).all()
    assert ((found == plain) | (found == 0)).all()
    agreeing = torch.where(value.step_exists, (plain > 0).any(1).float()[:, None].expand_as(value.process), NAN)
    assert Selective()(value.replace(process=agreeing)).equal(plain)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="adv has shape"):
        selective_advantage(torch.zeros(3), torch.zeros(2, 1), torch.zeros(2, 2).long(), torch.ones(2, 2).bool())
    with pytest.raises(ValueError, match=r"Selective\.scale"):
        Selective(scale="token")
