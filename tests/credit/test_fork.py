"""Siblings of a tree: the worked trees of two papers, loops, and the weights of shared steps."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from guerdon import Rollouts
from guerdon.credit import Fork, added_advantage, copies, fork_advantages, portool_streams
from tests.strategies import NAN

# Steps a..e are 1..5; trajectories [a, c], [a, d], [b, e].
NODE = torch.tensor([[1, 3], [1, 4], [2, 5]])
REWARDS = torch.tensor([[1.45, 1.5], [1.45, 0.5], [0.5, 0.0]], dtype=torch.float64)
GROUP = torch.zeros(3, dtype=torch.int64)


def test_the_worked_tree() -> None:
    forks = fork_advantages(REWARDS, NODE, GROUP)
    half = 0.707106
    assert forks.flatten().tolist() == pytest.approx([half, half, half, -half, -half, 0.0], abs=2e-6)
    streams = portool_streams(REWARDS, NODE, GROUP)
    assert added_advantage(streams[:1], [1.0]).tolist() == pytest.approx([0.933540, 0.121766, -1.055306], abs=2e-6)
    both = added_advantage(streams, [1.0, 1.0])
    expected = [1.640645, 1.640646, 0.828872, -0.585340, -1.762411, -1.055306]
    assert both.flatten().tolist() == pytest.approx(expected, abs=2e-6)
    assert copies(NODE, GROUP).tolist() == [[2, 1], [2, 1], [1, 1]]


def test_sibling_groups_of_a_search_tree() -> None:
    # Children 1, 2, 3 of the root and 4, 5 of node 1, each with a row of its own that leads there.
    node = torch.tensor([[1, 4], [1, 5], [2, 0], [3, 0]])
    rewards = torch.tensor([[0.611510, 1.0], [0.611510, 0.0], [0.747222, NAN], [0.0, NAN]], dtype=torch.float64)
    found = fork_advantages(rewards, node, torch.zeros(4, dtype=torch.int64), eps=1e-4)
    assert found[[0, 2, 3], 0].tolist() == pytest.approx([0.398333, 0.739181, -1.137514], abs=2e-6)
    assert found[:2, 1].tolist() == pytest.approx([0.707007, -0.707007], abs=2e-6)
    assert torch.isnan(found[2:, 1]).all()


def random_tree(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """(node, reward, group) of paths in two random trees with the same ids."""
    generator = torch.Generator().manual_seed(seed)
    rows, width = 8, 4
    group = torch.randint(0, 2, (rows,), generator=generator)
    node = torch.zeros(rows, width, dtype=torch.int64)
    known: dict[tuple[int, tuple[int, ...]], int] = {}
    for row in range(rows):
        path: tuple[int, ...] = ()
        for t in range(int(torch.randint(0, width + 1, (1,), generator=generator))):
            path = (*path, int(torch.randint(0, 2, (1,), generator=generator)))
            number = known.setdefault((int(group[row]), path), 1 + sum(key[0] == group[row] for key in known))
            node[row, t] = number
    reward = torch.full((rows, width), NAN, dtype=torch.float64)
    table = torch.randn(2, 64, generator=generator, dtype=torch.float64)
    for row in range(rows):
        for t in range(width):
            if node[row, t]:
                reward[row, t] = table[group[row], node[row, t]]
    return node, reward, group


@given(st.integers(0, 2**31), st.sampled_from(["group", "none"]))
def test_equal_to_a_loop_over_parents(seed: int, scale: str) -> None:
    node, reward, group = random_tree(seed)
    found = fork_advantages(reward, node, group, eps=1e-3, scale=scale)
    children: dict[tuple[int, int], dict[int, float]] = {}
    rows: dict[tuple[int, int], int] = {}
    for row in range(len(node)):
        for t in range(node.shape[1]):
            if node[row, t]:
                parent = int(node[row, t - 1]) if t else 0
                children.setdefault((int(group[row]), parent), {})[int(node[row, t])] = float(reward[row, t])
                rows[int(group[row]), int(node[row, t])] = rows.get((int(group[row]), int(node[row, t])), 0) + 1
    for row in range(len(node)):
        for t in range(node.shape[1]):
            if not node[row, t]:
                assert torch.isnan(found[row, t])
                continue
            parent = int(node[row, t - 1]) if t else 0
            mates = torch.tensor(list(children[int(group[row]), parent].values()), dtype=torch.float64)
            expected = 0.0
            if len(mates) > 1:
                expected = float(reward[row, t] - mates.mean())
                expected /= float(mates.std()) + 1e-3 if scale == "group" else 1.0
            assert float(found[row, t]) == pytest.approx(expected, abs=1e-9)
    number = copies(node, group, node > 0)
    for row in range(len(node)):
        for t in range(node.shape[1]):
            assert int(number[row, t]) == (rows[int(group[row]), int(node[row, t])] if node[row, t] else 0)
    shares = torch.where(number > 0, 1.0 / number.clamp(min=1), 0.0).sum()
    assert float(shares) == pytest.approx(len(rows), abs=1e-5)


def test_the_stage_counts_shared_tokens_once() -> None:
    step = torch.tensor([[0, 0, 1, -1]] * 3)
    value = Rollouts(group=GROUP, mask=torch.ones(3, 4, dtype=torch.bool), step=step, process=REWARDS, node=NODE)
    plain, once = Fork(deduplicate=False)(value), Fork()(value)
    assert plain[1].tolist() == pytest.approx([0.828872, 0.828872, -0.585340, 0.121766], abs=1e-5)
    assert once[1].tolist() == pytest.approx([0.414436, 0.414436, -0.585340, 0.121766], abs=1e-5)
    # The two copies together weigh as one step with the mean of the trajectories' parts.
    shared = float(once[0, 0] + once[1, 0])
    assert shared == pytest.approx((0.933540 + 0.121766) / 2 + 0.707106, abs=1e-5)
    no_fork = Fork(fork_weight=0.0, deduplicate=False)(value)
    assert no_fork[:, 0].tolist() == pytest.approx([0.933540, 0.121766, -1.055306], abs=1e-5)


def test_refusals_and_empty_batches() -> None:
    with pytest.raises(ValueError, match="node 3 in row 0 follows two different nodes"):
        fork_advantages(REWARDS, torch.tensor([[1, 3], [1, 4], [2, 3]]), GROUP)
    with pytest.raises(ValueError, match="expected the same"):
        fork_advantages(REWARDS, NODE[:, :1], GROUP)
    with pytest.raises(ValueError, match="node is missing"):
        Fork()(Rollouts(group=[0], mask=[[1]]))
    empty = fork_advantages(torch.zeros(0, 2), torch.zeros(0, 2).long(), torch.zeros(0).long())
    assert empty.shape == (0, 2)
    other_group = fork_advantages(REWARDS, torch.tensor([[1, 3], [1, 4], [2, 3]]), torch.tensor([0, 0, 1]))
    assert torch.isfinite(other_group).all()
