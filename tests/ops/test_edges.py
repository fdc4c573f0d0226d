"""Keys of transitions and states against slow loops over tuples."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from guerdon.ops.edges import edge_keys, following, is_last, start_states, state_keys


def loop_keys(
    node: Tensor, action: Tensor, history: int | None, group: Tensor, exists: Tensor
) -> dict[tuple[int, int], tuple[object, ...]]:
    """(row, step) -> key as a tuple."""
    keys: dict[tuple[int, int], tuple[object, ...]] = {}
    for row in range(len(node)):
        state, past = 0, []
        for step in range(node.shape[1]):
            if not exists[row, step]:
                continue
            act, after = int(action[row, step]), int(node[row, step])
            window = len(past) if history is None else min(history, len(past))
            recent = tuple(past[len(past) - window :])
            keys[row, step] = (int(group[row]), recent, state, act, after)
            past.append((state, act))
            state = after
    return keys


def same_partition(keys: Tensor, expected: dict[tuple[int, int], tuple[object, ...]]) -> bool:
    found: dict[int, tuple[object, ...]] = {}
    for (row, step), name in expected.items():
        if found.setdefault(int(keys[row, step]), name) != name:
            return False
    return len(found) == len(set(expected.values()))


@st.composite
def graphs(draw: st.DrawFn) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    rows, width = draw(st.integers(0, 6)), draw(st.integers(0, 7))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))

    def numbers(high: int, *shape: int) -> Tensor:
        return torch.randint(0, high, shape, generator=generator)

    exists = torch.rand(rows, width, generator=generator) < draw(st.sampled_from([0.6, 1.0]))
    return numbers(3, rows, width) - 1, numbers(2, rows, width) - 1, numbers(2, rows) * 7 - 3, exists


@given(graphs(), st.sampled_from([0, 1, 2, 3, 5, 6, 99, None]))
def test_edge_keys_equal_a_loop_over_tuples(graph: tuple[Tensor, ...], history: int | None) -> None:
    node, action, group, exists = graph
    keys = edge_keys(node, action, history, group, exists)
    assert keys.dtype == torch.int64
    assert (keys[~exists] == -1).all()
    assert (keys[exists] >= 0).all()
    expected = loop_keys(node, action, None if history == 99 else history, group, exists)
    assert same_partition(keys, expected)


@given(graphs())
def test_a_longer_history_only_splits(graph: tuple[Tensor, ...]) -> None:
    node, action, group, exists = graph
    coarse = edge_keys(node, action, 0, group, exists)
    for history in (1, 2, None):
        fine = edge_keys(node, action, history, group, exists)
        parents: dict[int, int] = {}
        for child, parent in zip(fine[exists].tolist(), coarse[exists].tolist(), strict=True):
            assert parents.setdefault(child, parent) == parent
        coarse = fine


@given(graphs())
def test_states_and_followers_equal_loops(graph: tuple[Tensor, ...]) -> None:
    node, _, group, exists = graph
    states, after = start_states(node, exists), following(node.double(), exists, fill=-9.0)
    names: dict[tuple[int, int], tuple[object, ...]] = {}
    for row in range(len(node)):
        steps = exists[row].nonzero().flatten().tolist()
        for place, step in enumerate(steps):
            state = int(node[row, steps[place - 1]]) if place else 0
            assert int(states[row, step]) == state
            expected = float(node[row, steps[place + 1]]) if place + 1 < len(steps) else -9.0
            assert float(after[row, step]) == expected
            names[row, step] = (int(group[row]), state)
    assert (states[~exists] == -1).all()
    assert (after[~exists] == -9.0).all()
    ends = is_last(exists)
    for row in range(len(node)):
        assert ends[row].nonzero().flatten().tolist() == exists[row].nonzero().flatten().tolist()[-1:]
    assert same_partition(state_keys(node, group, exists), names)


def test_unbounded_history_may_be_written_as_infinity() -> None:
    node, action = torch.tensor([[1, 2, 1, 2], [3, 1, 2, 1]]), torch.zeros(2, 4, dtype=torch.int64)
    assert edge_keys(node, action, float("inf")).equal(edge_keys(node, action, None))
    assert edge_keys(node, action, 4).equal(edge_keys(node, action, None))


def test_renaming_states_changes_no_bag() -> None:
    node, action = torch.tensor([[1, 2, 1], [1, 2, 2]]), torch.tensor([[0, 1, 0], [0, 1, 0]])
    renamed = torch.where(node == 1, 10**12, 77)
    assert edge_keys(node, action, 1)[:, 1].unique().numel() == 1
    assert edge_keys(renamed, action, 1)[:, 1].unique().numel() == 1


def test_bad_arguments_are_refused() -> None:
    node = torch.zeros(2, 3, dtype=torch.int64)
    with pytest.raises(ValueError, match="history is -1"):
        edge_keys(node, node, -1)
    with pytest.raises(ValueError, match="action has dtype"):
        edge_keys(node, node.float())
    with pytest.raises(ValueError, match="node has dtype"):
        start_states(node.float())
    with pytest.raises(ValueError, match="expected \\(2, 3\\)"):
        edge_keys(node, node[:, :2])
    with pytest.raises(ValueError, match="group has shape"):
        state_keys(node, torch.zeros(3, dtype=torch.int64))
