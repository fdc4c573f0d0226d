"""Added advantages: worked figures of four papers, and a loop over groups."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from guerdon import Rollouts
from guerdon.credit import (
    Stream,
    Streams,
    added_advantage,
    added_over_tokens,
    global_step_advantage,
    step_rewards,
)
from guerdon.ops.schedule import Schedule
from tests.strategies import NAN, rollouts

ONE = torch.zeros(4, dtype=torch.int64)


def close(found: Tensor, expected: object, tolerance: float = 1e-6) -> None:
    torch.testing.assert_close(
        found.double(), torch.tensor(expected, dtype=torch.float64), atol=tolerance, rtol=0.0, equal_nan=True
    )


def test_outcome_and_a_second_score() -> None:
    outcome = torch.tensor([1.0, 1.0, 0.0, 0.0], dtype=torch.float64)
    second = torch.tensor([0.977620, -0.185695, -0.358636, -0.433289], dtype=torch.float64)
    parts = [Stream(values, ONE, eps=0.0) for values in (outcome, second)]
    close(added_advantage(parts[1:], [1.0]), [1.481366, -0.281380, -0.543433, -0.656553], 2e-6)
    close(added_advantage(parts, [1.0, 1.0]), [2.347391, 0.584645, -1.409458, -1.522579], 2e-6)
    close(added_advantage(parts, [1.0, 0.0]), added_advantage(parts[:1], [1.0]).tolist())
    together = added_advantage([Stream(outcome + second, ONE, eps=0.0)], [1.0])
    assert float((together - added_advantage(parts, [1.0, 1.0])).abs().max()) > 0.1


def tango() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    verdicts = torch.tensor([[1, 1, 1], [1, -1, NAN], [-1, NAN, NAN]], dtype=torch.float64)
    step = torch.tensor([[0, 0 + 1, 2, 2], [0, 0, 1, -1], [0, -1, -1, -1]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0]], dtype=torch.bool)
    return torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64), verdicts, step, mask


def test_outcome_and_accumulated_step_verdicts() -> None:
    outcome, verdicts, step, mask = tango()
    group = torch.zeros(3, dtype=torch.int64)
    rewards = step_rewards(verdicts)
    close(rewards, [[1 / 3] * 3, [0.5, -0.5, NAN], [-1.0, NAN, NAN]])
    streams = [Stream(outcome, group, eps=0.0), Stream(rewards, group, "step", accumulate=True, eps=0.0)]
    found = added_over_tokens(streams, [0.9, 0.1], step, mask)
    expected = [
        [1.204375, 1.149327, 1.094279, 1.094279],
        [-0.519615, -0.519615, -0.602188, 0.0],
        [-0.684760, -0.519615, 0.0, 0.0],
    ]
    close(found, expected)
    scaled = [Stream(3.0 * outcome, group, eps=0.0), Stream(7.0 * rewards, group, "step", accumulate=True, eps=0.0)]
    torch.testing.assert_close(added_over_tokens(scaled, [0.9, 0.1], step, mask), found)
    close(added_over_tokens(streams, [1.0, 0.0], step, mask)[:, 0], added_advantage(streams[:1], [1.0]).tolist())


def test_the_stage_reads_names_and_follows_a_schedule() -> None:
    outcome, verdicts, step, mask = tango()
    value = Rollouts(group=[0, 0, 0], mask=mask, step=step, outcome=outcome, process=verdicts, iteration=0)
    weights = (Schedule("linear", 0.9, 1.0, total=10), Schedule("linear", 0.1, 0.0, total=10))
    stage = Streams(weights=weights, accumulate=True, share_out=True, eps=0.0)
    assert stage(value)[0].tolist() == pytest.approx([1.204375, 1.149327, 1.094279, 1.094279], abs=1e-5)
    late = stage(value.replace(iteration=10))
    assert late[0].tolist() == pytest.approx([1.154701] * 4, abs=1e-5)
    assert "steps/extra" in Streams(("steps/extra",), (1.0,)).reads
    other = value.with_steps(extra=verdicts).with_columns(score=[3.0, 1.0, None])
    named = Streams(("score", "steps/extra"), (1.0, 0.0), eps=0.0)(other)
    assert named[:, 0].tolist() == pytest.approx([0.5**0.5, -(0.5**0.5), 0.0], abs=1e-6)
    with pytest.raises(ValueError, match="steps has no 'missing'"):
        Streams(("steps/missing",), (1.0,))(value)


def spark() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    adv = torch.tensor([0.866025, 0.866025, -0.866025, -0.866025], dtype=torch.float64)
    labels = torch.tensor([[1, 1], [1, 0], [1, 0], [0, 0]])
    step = torch.tensor([[0, 0, 1, 1, -1], *[[0, 0, 1, 1, -1]] * 3])
    mask = torch.tensor([[1] * 5, *[[1] * 4 + [0]] * 3], dtype=torch.bool)
    return adv, labels, step, mask


def test_global_step_advantage_of_four_responses() -> None:
    found = global_step_advantage(*spark(), eps=0.0)
    expected = [
        [0.879903] * 4 + [0.692820],
        [0.879903] * 2 + [0.505737] * 2 + [0.0],
        [-0.505737] * 2 + [-0.879903] * 2 + [0.0],
        [-0.879903] * 4 + [0.0],
    ]
    close(found, expected, 2e-6)
    adv, labels, step, mask = spark()
    torch.testing.assert_close(global_step_advantage(adv, labels, step, mask, w=0.0), adv[:, None] * mask)


@given(
    st.integers(0, 2**31),
    st.sampled_from(["group", "position", "response"]),
    st.booleans(),
    st.sampled_from(["group", "batch", "none"]),
)
def test_step_streams_equal_a_loop(seed: int, pool: str, accumulate: bool, scale: str) -> None:
    generator = torch.Generator().manual_seed(seed)
    rows, width = 5, 4
    values = torch.randn(rows, width, generator=generator, dtype=torch.float64)
    exists = torch.rand(rows, width, generator=generator) < 0.7
    values[torch.rand(rows, width, generator=generator) < 0.2] = NAN
    key = torch.randint(0, 2, (rows,), generator=generator)
    stream = Stream(values, key, "step", pool, accumulate, 0.5, exists, scale=scale, eps=1e-3)
    found = stream.advantage

    def name(row: int, step: int) -> object:
        return {"group": int(key[row]), "position": (int(key[row]), step), "response": row}[pool]

    cells = [(i, t) for i in range(rows) for t in range(width) if exists[i, t] and not math.isnan(values[i, t])]
    everything = torch.stack([values[cell] for cell in cells]) if cells else torch.zeros(0)
    normal = torch.zeros(rows, width, dtype=torch.float64)
    for cell in cells:
        mates = torch.stack([values[other] for other in cells if name(*other) == name(*cell)])
        deviation = {"group": mates, "batch": everything}.get(scale)
        if len(mates) > 1:
            divisor = 1.0 if deviation is None else float(deviation.std()) + 1e-3
            normal[cell] = (values[cell] - mates.mean()) / divisor
    for row in range(rows):
        total = 0.0
        for step in reversed(range(width)):
            if not exists[row, step]:
                assert math.isnan(found[row, step])
                continue
            total = float(normal[row, step]) + 0.5 * total
            expected = total if accumulate else float(normal[row, step])
            assert float(found[row, step]) == pytest.approx(expected, abs=1e-9)


def test_absent_steps_are_nan_only_where_no_stream_has_them() -> None:
    first = torch.tensor([[1.0, NAN, NAN], [3.0, NAN, NAN]])
    second = torch.tensor([[1.0, 1.0, NAN], [1.0, 3.0, NAN]])
    group = torch.zeros(2, dtype=torch.int64)
    found = added_advantage([(first, group, "step"), (second, group, "step", "position")], [1.0, 1.0])
    close(found, [[-(0.5**0.5), -(0.5**0.5), NAN], [0.5**0.5, 0.5**0.5, NAN]], 1e-5)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="2 weights"):
        added_advantage([(ONE.float(), ONE)], [1.0, 2.0])
    with pytest.raises(ValueError, match="streams have the shapes"):
        added_advantage([(ONE.float(), ONE), (torch.zeros(3), ONE[:3])], [1.0, 2.0])
    with pytest.raises(ValueError, match="expected \\(B,\\) of rows"):
        Stream(torch.zeros(2, 2), ONE[:2])
    with pytest.raises(ValueError, match="key has shape"):
        Stream(torch.zeros(2, 2), ONE, "step")
    with pytest.raises(ValueError, match="a verdict is 2"):
        step_rewards(torch.tensor([1.0, 2.0]))
    with pytest.raises(ValueError, match="one weight a name"):
        Streams(("outcome",), (1.0, 2.0))
    assert step_rewards(torch.zeros(0)).shape == (0,)


@given(value=rollouts(binary=True))
def test_the_stage_on_anything(value: Rollouts) -> None:
    found = Streams(accumulate=True)(value)
    assert found.dtype == torch.float32
    assert torch.isfinite(found).all()
    assert not (found[~value.mask] != 0).any()
    assert not (found[~value.scored] != 0).any()
