"""Reward to go with baselines, against loops."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Rollouts
from guerdon.credit import RewardToGo, minus_baseline
from guerdon.credit.reward_to_go import BASELINES
from tests.strategies import NAN


@given(st.integers(0, 4), st.integers(1, 6), st.sampled_from(BASELINES), st.integers(0, 10**6))
def test_baselines_are_means_of_what_they_name(rows: int, width: int, baseline: str, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    returns = torch.randn(rows, width, generator=draw, dtype=torch.float64)
    mask = torch.rand(rows, width, generator=draw) < 0.7
    found = minus_baseline(returns, mask, baseline)
    expected = torch.zeros(rows, width, dtype=torch.float64)
    lines = [[(t, float(returns[b, t])) for t in range(width) if mask[b, t]] for b in range(rows)]
    everything = [value for line in lines for _, value in line]
    for b, line in enumerate(lines):
        for n, (t, value) in enumerate(line):
            same = {"none": [0.0], "batch": everything, "position": [other[n][1] for other in lines if len(other) > n]}
            expected[b, t] = value - sum(same[baseline]) / len(same[baseline])
    torch.testing.assert_close(found, expected)


def test_rewards_of_steps_and_outcome() -> None:
    rollouts = Rollouts(
        group=[0, 0, 0],
        mask=torch.ones(3, 3, dtype=torch.bool),
        step=[[0, 0, 1]] * 3,
        process=[[0.5, 0.25], [0.0, 0.0], [9.0, 9.0]],
        outcome=[1.0, 0.0, NAN],
    )
    plain = RewardToGo(baseline="none", use_process=True)(rollouts)
    assert plain.tolist() == [[1.75, 1.75, 1.25], [0.0] * 3, [0.0] * 3]
    assert RewardToGo(use_process=True)(rollouts).tolist()[0] == [0.875, 0.875, 0.625]
    assert RewardToGo(baseline="none")(rollouts).tolist()[0] == [1.0] * 3
    assert RewardToGo(gamma=0.5, baseline="none")(rollouts).tolist()[0] == [0.25, 0.5, 1.0]


def test_settings_are_checked() -> None:
    for name, value in (("gamma", 1.5), ("baseline", "mean")):
        with pytest.raises(ValueError, match=f"RewardToGo.{name} is"):
            RewardToGo(**{name: value})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected one of"):
        minus_baseline(torch.zeros(1, 1), torch.ones(1, 1, dtype=torch.bool), "x")
    with pytest.raises(ValueError, match="expected equal shapes"):
        minus_baseline(torch.zeros(1, 1), torch.ones(1, 2, dtype=torch.bool), "batch")
