"""OPRL's two advantages: worked figures, loops, and the released code's baseline."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Rollouts
from guerdon.credit import EpisodeAndStep, GroupNormalized, oprl_advantages
from tests.strategies import NAN, rollouts

OUTCOMES = torch.tensor([1.0, 0.0], dtype=torch.float64)
STEPS = torch.tensor([[0.06, 0.02], [-0.02, -0.04]], dtype=torch.float64)
ALL = torch.ones(2, 2, dtype=torch.bool)
GROUP = torch.zeros(2, dtype=torch.int64)


def test_the_worked_group() -> None:
    found = oprl_advantages(OUTCOMES, STEPS, ALL, GROUP)
    assert found[0].tolist() == pytest.approx([1.947294, 1.045339], abs=2e-6)
    assert found[1].tolist() == pytest.approx([-1.270828, -1.721805], abs=2e-6)
    shifted = oprl_advantages(OUTCOMES, STEPS + 3.0, ALL, GROUP)
    torch.testing.assert_close(shifted, found)


def test_without_weight_or_signal_the_episode_alone_counts() -> None:
    for steps, alpha in ((STEPS, 0.0), (torch.zeros_like(STEPS), 1.0)):
        found = oprl_advantages(OUTCOMES, steps, ALL, GROUP, alpha)
        assert found.flatten().tolist() == pytest.approx([0.5**0.5] * 2 + [-(0.5**0.5)] * 2, abs=1e-5)
    four = torch.tensor([1.0, 0.0, 0.0, 1.0])
    rloo = oprl_advantages(four, torch.zeros(4, 1), torch.ones(4, 1).bool(), four.long() * 0, episode="rloo")
    assert rloo[:, 0].tolist() == pytest.approx([2 / 3, -2 / 3, -2 / 3, 2 / 3])
    groups = torch.tensor([0, 1])
    batch = oprl_advantages(OUTCOMES, torch.zeros_like(STEPS), ALL, groups, episode="reinforce_pp")
    assert batch[:, 0].tolist() == pytest.approx([0.5**0.5, -(0.5**0.5)], abs=1e-5)
    assert not oprl_advantages(OUTCOMES, STEPS, ALL, groups, 0.0).any()


@given(st.integers(0, 2**31))
def test_official_baseline_is_over_first_steps(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    steps = torch.randn(6, 4, generator=generator, dtype=torch.float64)
    mask = torch.rand(6, 4, generator=generator) < 0.7
    group = torch.tensor([0, 0, 0, 5, 5, 5])
    outcomes = torch.randint(0, 2, (6,), generator=generator).double()
    found = oprl_advantages(outcomes, steps, mask, group, compat="official")
    episode = oprl_advantages(outcomes, steps, mask, group, alpha=0.0)
    for key in (0, 5):
        rows = [row for row in range(6) if group[row] == key]
        first = torch.stack([steps[row][mask[row]][0] for row in rows if mask[row].any()] or [torch.tensor(0.0)])
        mean, deviation = (first.mean(), first.std()) if len(first) > 1 else (0.0, 1.0)
        for row in rows:
            own = (steps[row] - mean) / (deviation + 1e-6)
            torch.testing.assert_close((found - episode)[row][mask[row]], own[mask[row]])


def test_unscored_rows_and_odd_steps() -> None:
    outcomes, mask = torch.tensor([1.0, 0.0, NAN]), torch.tensor([[1, 1], [1, 0], [1, 1]]).bool()
    steps = torch.tensor([[1.0, NAN], [3.0, 9.0], [100.0, 100.0]])
    found = oprl_advantages(outcomes, steps, mask, torch.zeros(3, dtype=torch.int64), eps=0.0)
    half = 0.5**0.5
    assert found[0].tolist() == pytest.approx([0.0, half], abs=1e-6)
    assert float(found[1, 0]) == pytest.approx(0.0, abs=1e-6)
    assert torch.isnan(found[1, 1])
    assert found[2].tolist() == [0.0, 0.0]


def test_refusals() -> None:
    with pytest.raises(ValueError, match="alpha is -1"):
        oprl_advantages(OUTCOMES, STEPS, ALL, GROUP, -1.0)
    with pytest.raises(ValueError, match="episode is 'ppo'"):
        oprl_advantages(OUTCOMES, STEPS, ALL, GROUP, episode="ppo")
    with pytest.raises(ValueError, match="shapes"):
        oprl_advantages(OUTCOMES, STEPS, ALL[:, :1], GROUP)
    with pytest.raises(ValueError, match=r"EpisodeAndStep\.compat"):
        EpisodeAndStep(compat="verl")
    with pytest.raises(ValueError, match="alpha"):
        EpisodeAndStep(alpha=NAN)


@pytest.mark.parametrize("compat", ["paper", "official"])
@given(value=rollouts(binary=True))
def test_the_stage_on_anything(compat: str, value: Rollouts) -> None:
    found = EpisodeAndStep(compat=compat, episode="rloo")(value)
    assert torch.isfinite(found).all()
    assert not (found[~value.mask] != 0).any()
    assert not (found[~value.scored] != 0).any()
    plain = EpisodeAndStep(alpha=0.0, eps=1e-4)(value)
    torch.testing.assert_close(plain, GroupNormalized()(value))
