"""Shared transitions and states: the worked graph, conservation, loops, and the stages on anything."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from guerdon import Rollouts
from guerdon.credit import (
    GroupNormalized,
    LeaveOneOut,
    StateGroups,
    TrajectoryGraph,
    mean_by_edge,
    merge_rate,
    salt_advantages,
    state_group_advantages,
)
from guerdon.ops.edges import edge_keys, state_keys
from tests.strategies import NAN, rollouts

# States S1..S4 are 1..4, win 5, fail 6; actions a..g are 1..7.
NODE = torch.tensor([[1, 2, 5], [1, 3, 5], [1, 2, 6], [4, 6, 0]])
ACTION = torch.tensor([[1, 2, 3], [1, 4, 3], [1, 2, 5], [6, 7, 0]])
EXISTS = torch.tensor([[1, 1, 1], [1, 1, 1], [1, 1, 1], [1, 1, 0]]).bool()
GROUP = torch.zeros(4, dtype=torch.int64)
ADV = torch.tensor([2 / 3, 2 / 3, -2 / 3, -2 / 3], dtype=torch.float64)


def test_the_worked_graph() -> None:
    found = salt_advantages(ADV, NODE, ACTION, GROUP, exists=EXISTS)
    third = 2 / 3
    expected = [[2 / 9, 0.0, third], [2 / 9, third, third], [2 / 9, 0.0, -third], [-third, -third, NAN]]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), equal_nan=True)
    assert merge_rate(edge_keys(NODE, ACTION, 0, GROUP, EXISTS)) == pytest.approx(5 / 11)


def steps_of(outcome: list[float]) -> Rollouts:
    mask = torch.cat([EXISTS, torch.ones(4, 1, dtype=torch.bool)], 1)
    step = torch.where(EXISTS, torch.arange(3), -1)
    step = torch.cat([step, torch.full((4, 1), -1)], 1)
    return Rollouts(group=GROUP, mask=mask, step=step, node=NODE, outcome=outcome, steps={"action": ACTION})


def test_the_stage_on_the_worked_graph() -> None:
    found = TrajectoryGraph(estimator="rloo")(steps_of([1.0, 1.0, 0.0, 0.0]))
    assert found[0].tolist() == pytest.approx([2 / 9, 0.0, 2 / 3, 2 / 3], abs=1e-6)
    assert found[3].tolist() == pytest.approx([-2 / 3, -2 / 3, 0.0, -2 / 3], abs=1e-6)
    unscored = TrajectoryGraph(estimator="rloo")(steps_of([1.0, NAN, 0.0, NAN]))
    assert unscored[0].tolist() == pytest.approx([0.0, 0.0, 1.0, 1.0], abs=1e-6)
    assert not unscored[[1, 3]].any()


@st.composite
def walks(draw: st.DrawFn) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    rows, width, n = draw(st.integers(1, 7)), draw(st.integers(1, 6)), draw(st.integers(2, 4))

    def numbers(high: int, *shape: int) -> Tensor:
        return torch.randint(0, high, shape, generator=generator)

    exists = torch.rand(rows, width, generator=generator) < 0.8
    adv = torch.randn(rows, generator=generator, dtype=torch.float64)
    adv[torch.rand(rows, generator=generator) < draw(st.sampled_from([0.0, 0.3]))] = NAN
    return adv, numbers(n, rows, width), numbers(2, rows, width), numbers(2, rows), exists


@given(walks(), st.sampled_from([0, 1, None]), st.sampled_from(["occurrence", "trajectory"]))
def test_means_equal_a_loop(walk: tuple[Tensor, ...], history: int | None, count: str) -> None:
    adv, node, action, group, exists = walk
    keys = edge_keys(node, action, history, group, exists)
    found = salt_advantages(adv, node, action, group, history, count, exists)
    cells = [(i, t) for i in range(len(adv)) for t in range(node.shape[1]) if exists[i, t]]
    for i, t in cells:
        mates = [j for j, u in cells if keys[j, u] == keys[i, t] and not math.isnan(adv[j])]
        mates = sorted(set(mates)) if count == "trajectory" else mates
        expected = 0.0 if math.isnan(adv[i]) else sum(float(adv[j]) for j in mates) / len(mates)
        assert float(found[i, t]) == pytest.approx(expected, abs=1e-9)
    assert torch.isnan(found).equal(~exists)
    shared = [(i, t) for i, t in cells if any(keys[j, u] == keys[i, t] and j != i for j, u in cells)]
    assert merge_rate(keys) == pytest.approx(len(shared) / len(cells) if cells else 0.0)


@given(walks())
def test_conservation_and_bounds(walk: tuple[Tensor, ...]) -> None:
    adv, node, action, group, exists = walk
    adv = torch.nan_to_num(adv, nan=0.5)
    found = salt_advantages(adv, node, action, group, 0, exists=exists)
    assert float(found.nansum()) == pytest.approx(float((exists.sum(1) * adv).sum()), abs=1e-9)
    inside = found[exists]
    assert inside.numel() == 0 or (inside.min() >= adv.min() - 1e-9 and inside.max() <= adv.max() + 1e-9)
    unique = salt_advantages(adv, torch.arange(node.numel()).reshape(node.shape), action, group, 0, exists=exists)
    torch.testing.assert_close(unique[exists], adv[:, None].expand(node.shape)[exists])


def test_loops_inside_a_trajectory_count_as_asked() -> None:
    adv = torch.tensor([1.0, -2.0])
    node, action = torch.zeros(2, 2, dtype=torch.int64), torch.zeros(2, 2, dtype=torch.int64)
    exists = torch.tensor([[True, True], [True, False]])
    keys = edge_keys(node, action, exists=exists)
    assert mean_by_edge(adv, keys)[0].tolist() == pytest.approx([0.0, 0.0])
    assert mean_by_edge(adv, keys, "trajectory")[0].tolist() == pytest.approx([-0.5, -0.5])


@given(walks(), st.sampled_from(["none", "group"]))
def test_state_groups_equal_a_loop(walk: tuple[Tensor, ...], scale: str) -> None:
    adv, node, _, group, exists = walk
    returns = torch.where(torch.isnan(adv)[:, None], NAN, torch.sin(torch.arange(node.numel()).reshape(node.shape)))
    returns = returns.double()
    state = state_keys(node, group, exists)
    found = state_group_advantages(returns, state, scale=scale)
    for i in range(len(adv)):
        for t in range(node.shape[1]):
            if not exists[i, t]:
                assert torch.isnan(found[i, t])
                continue
            mates = returns[(state == state[i, t]) & exists & ~torch.isnan(returns)]
            expected = 0.0
            if len(mates) > 1 and not math.isnan(adv[i]):
                expected = float(returns[i, t] - mates.mean())
                expected /= 1.0 if scale == "none" else float(mates.std()) + 1e-6
            assert float(found[i, t]) == pytest.approx(expected, abs=1e-9)


def test_state_groups_on_the_worked_graph() -> None:
    value = steps_of([1.0, 1.0, 0.0, 0.0])
    found = StateGroups(gamma=0.5, scale="none")(value)
    # Returns: t1, t2 .25 .5 1; t3, t4 0. From the start: four steps, mean .125; from S1: .5 .5 0; from S2: 1 and 0.
    assert found[0].tolist() == pytest.approx([0.5 + 0.125, 0.5 + 1 / 6, 0.5 + 0.5, 0.5])
    assert found[1].tolist() == pytest.approx([0.5 + 0.125, 0.5 + 1 / 6, 0.5, 0.5])
    assert found[3].tolist() == pytest.approx([-0.5 - 0.125, -0.5, 0.0, -0.5])
    off = StateGroups(step_weight=0.0, eps=1e-4)(value)
    torch.testing.assert_close(off, GroupNormalized()(value))
    paid = value.replace(process=torch.where(EXISTS, 0.0, NAN))
    torch.testing.assert_close(StateGroups(gamma=0.5, scale="none")(paid), found)


def test_refusals() -> None:
    value = steps_of([1.0, 1.0, 0.0, 0.0])
    for stage in (TrajectoryGraph(), StateGroups()):
        with pytest.raises(ValueError, match="node is missing"):
            stage(value.replace(node=None))
    with pytest.raises(ValueError, match='steps has no "action"'):
        TrajectoryGraph()(value.replace(steps={}))
    with pytest.raises(ValueError, match="count is 'once'"):
        mean_by_edge(ADV, NODE, "once")
    with pytest.raises(ValueError, match="history is -1"):
        salt_advantages(ADV, NODE, ACTION, GROUP, -1)
    for options in ({"history": -1}, {"count": "once"}, {"estimator": "ppo"}):
        with pytest.raises(ValueError, match="TrajectoryGraph"):
            TrajectoryGraph(**options)  # type: ignore[arg-type]
    for options in ({"scale": "batch"}, {"gamma": 2.0}):
        with pytest.raises(ValueError, match="StateGroups"):
            StateGroups(**options)  # type: ignore[arg-type]


@given(value=rollouts(binary=True))
def test_the_stages_on_anything(value: Rollouts) -> None:
    value = value.replace(node=torch.arange(value.process.numel()).reshape(value.process.shape) % 4)
    for stage in (TrajectoryGraph(), TrajectoryGraph(history=None, estimator="rloo"), StateGroups()):
        found = stage(value)
        assert torch.isfinite(found).all()
        assert not (found[~value.mask] != 0).any()
        assert not (found[~value.scored] != 0).any()
    alone = value.replace(node=torch.arange(value.process.numel()).reshape(value.process.shape) + 1)
    torch.testing.assert_close(TrajectoryGraph(estimator="rloo")(alone), LeaveOneOut(singleton="zero")(alone))
