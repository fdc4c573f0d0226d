"""Process supervision: normalised over all steps of the group, summed to the end."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Rollouts
from guerdon.credit import StepNormalized, step_advantages
from tests.strategies import NAN, rollouts


@given(st.integers(0, 2**31), st.booleans(), st.sampled_from(["group", "batch", "none"]), st.sampled_from([0, 1]))
def test_equal_to_a_loop(seed: int, accumulate: bool, scale: str, ddof: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    process = torch.rand(5, 4, generator=generator, dtype=torch.float64)
    exists = torch.rand(5, 4, generator=generator) < 0.7
    process[~exists | (torch.rand(5, 4, generator=generator) < 0.2)] = NAN
    group = torch.tensor([2, -1, 2, 2, -1])
    found = step_advantages(process, group, exists, scale=scale, ddof=ddof, accumulate=accumulate, gamma=0.5)
    everything = process[~torch.isnan(process)]
    for row in range(5):
        pool = process[group == group[row]]
        pool = pool[~torch.isnan(pool)]
        total = 0.0
        for step in reversed(range(4)):
            if not exists[row, step]:
                assert math.isnan(found[row, step])
                continue
            own = 0.0
            if not math.isnan(process[row, step]) and len(pool) > 1:
                own = float(process[row, step] - pool.mean())
                if scale != "none":
                    own /= float((pool if scale == "group" else everything).std(correction=ddof)) + 1e-4
            total = own + 0.5 * total
            assert float(found[row, step]) == pytest.approx(total if accumulate else own, abs=1e-9)


@given(value=rollouts())
def test_steps_of_a_group_sum_to_nothing(value: Rollouts) -> None:
    found = step_advantages(value.process.double(), value.group, value.step_exists, accumulate=False)
    for key in value.group.unique():
        assert float(found[value.group == key].nansum()) == pytest.approx(0.0, abs=1e-6)
    placed = StepNormalized(accumulate=False)(value)
    assert not (placed[value.step < 0] != 0).any()


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"StepNormalized\.scale"):
        StepNormalized(scale="token")
    with pytest.raises(ValueError, match=r"StepNormalized\.gamma"):
        StepNormalized(gamma=1.5)
