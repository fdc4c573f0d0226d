"""Steps as edges of a graph: the state that each starts from, and keys that equal steps share.

A step leads from a state to the state `node` of its own; it starts from the node of the existing step before it, and
the first step of a row from state 0. Ids of states mean something inside one group only.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from guerdon.ops._check import expect_matrix, expect_shape
from guerdon.ops._keys import dense_keys
from guerdon.ops.token import shift

START = 0
"""The state before the first step of a row."""


def is_last(exists: Tensor) -> Tensor:
    """Whether a position is the last of its row that exists.

    Args:
        exists: (B, S) bool, steps or tokens that exist.

    Returns:
        (B, S) bool, at most one True a row.

    Example:
        >>> import torch
        >>> is_last(torch.tensor([[True, True, False]])).tolist()
        [[False, True, False]]
    """
    return exists & (exists.flip(1).cumsum(1).flip(1) == 1)


def following(x: Tensor, exists: Tensor, fill: float = math.nan) -> Tensor:
    """The value of the next existing step of the row.

    Args:
        x: (B, S) tensor.
        exists: (B, S) bool; other steps are stepped over.
        fill: What the last existing step of a row gets, and steps that do not exist.

    Returns:
        (B, S) of the dtype of `x`.

    Example:
        >>> import torch
        >>> following(torch.tensor([[1.0, 9.0, 3.0]]), torch.tensor([[True, False, True]]), fill=0.0).tolist()
        [[3.0, 0.0, 0.0]]
    """
    expect_shape("exists", exists, tuple(x.shape), "x")
    return _scattered(shift(_gathered(x, exists, fill), -1, fill), exists, fill)


def start_states(node: Tensor, exists: Tensor | None = None) -> Tensor:
    """The state that each step starts from: the node of the existing step before it, 0 for the first of a row.

    Args:
        node: (B, S) int64, the state that a step leads to.
        exists: (B, S) bool; None = all.

    Returns:
        (B, S) int64, -1 for steps that do not exist.

    Raises:
        ValueError: Wrong shape or dtype.

    Example:
        >>> import torch
        >>> start_states(torch.tensor([[7, 3, 5]])).tolist()
        [[0, 7, 3]]
    """
    exists = _checked("node", node, exists)
    return _scattered(shift(_gathered(node, exists, START), 1, START), exists, -1)


def state_keys(node: Tensor, group: Tensor | None = None, exists: Tensor | None = None) -> Tensor:
    """Keys that steps share which start from one state of one group.

    Args:
        node: (B, S) int64, the state that a step leads to.
        group: (B,) int64; steps of different groups never share a key. None = one group.
        exists: (B, S) bool; None = all.

    Returns:
        (B, S) int64 from 0, -1 for steps that do not exist.

    Raises:
        ValueError: Wrong shapes or dtypes.
    """
    exists = _checked("node", node, exists)
    return torch.where(exists, _joined(_group_of(node, group), start_states(node, exists)), -1)


def edge_keys(
    node: Tensor,
    action: Tensor,
    history: int | float | None = 0,
    group: Tensor | None = None,
    exists: Tensor | None = None,
) -> Tensor:
    """Keys of identical transitions: equal state, action and next state, after an equal recent past.

    The key of a step (arXiv 2510.20022) holds the last `history` (state, action) pairs before it, filled up with "none"
    at the start of the row, its own state, its action and the state that it leads to. With a longer history keys only
    split; with an unbounded one equal keys are shared prefixes, a tree.

    Args:
        node: (B, S) int64, the state that a step leads to.
        action: (B, S) int64.
        history: Number of earlier pairs; None or infinity = all of them.
        group: (B,) int64; steps of different groups never share a key. None = one group.
        exists: (B, S) bool; other steps are stepped over. None = all.

    Returns:
        (B, S) int64 from 0, -1 for steps that do not exist.

    Raises:
        ValueError: Wrong shapes or dtypes, or a negative `history`.

    Example:
        >>> import torch
        >>> node, action = torch.tensor([[1, 2], [1, 2]]), torch.tensor([[0, 5], [3, 5]])
        >>> keys = edge_keys(node, action)
        >>> bool(keys[0, 1] == keys[1, 1]), bool(keys[0, 0] == keys[1, 0])
        (True, False)
        >>> keys = edge_keys(node, action, history=1)
        >>> bool(keys[0, 1] == keys[1, 1])
        False
    """
    exists = _checked("node", node, exists)
    expect_shape("action", action, tuple(node.shape), "node")
    _expect_integers("action", action)
    if history is not None and not history >= 0:
        raise ValueError(f"history is {history}: expected 0 or more, or None for all")
    width = node.shape[1]
    span = width if history is None or history >= width else int(history)
    state = shift(_gathered(node, exists, START), 1, START)
    pair = _joined(state, _gathered(action, exists, 0))
    own = _joined(pair, _gathered(node, exists, START))
    key = _joined(_joined(_group_of(node, group), own), _past(pair, span))
    return _scattered(key, exists, -1)


def _past(pair: Tensor, span: int) -> Tensor:
    """(B, S) int64: ids of the `span` pairs before each position, in windows whose lengths are powers of two."""
    # 0 stands for "before the start" in every window, since position 0 of each row sees nothing else.
    window = shift(_joined(torch.zeros_like(pair), pair) + 1, 1, 0)
    past, length, offset = torch.zeros_like(pair), 1, 0
    while length <= span:
        if span & length:
            past = _joined(past, shift(window, offset, 0))
            offset += length
        window = _joined(window, shift(window, length, 0))
        length *= 2
    return past


def _joined(left: Tensor, right: Tensor) -> Tensor:
    """Dense ids of pairs of ids, in the order of the pairs."""
    first = dense_keys(left)[1]
    ids, second = dense_keys(right)
    joined: Tensor = dense_keys(first * max(len(ids), 1) + second)[1]
    return joined


def _gathered(x: Tensor, exists: Tensor, fill: float) -> Tensor:
    """The values of the existing steps of each row, moved to its start."""
    slot = torch.where(exists, exists.cumsum(1) - 1, x.shape[1])
    result = torch.full((x.shape[0], x.shape[1] + 1), fill, dtype=x.dtype, device=x.device)
    return result.scatter(1, slot, x)[:, :-1]


def _scattered(x: Tensor, exists: Tensor, fill: float) -> Tensor:
    """The way back from `_gathered`."""
    slot = (exists.cumsum(1) - 1).clamp(min=0)
    return torch.where(exists, torch.gather(x, 1, slot), torch.full_like(x, fill))


def _group_of(node: Tensor, group: Tensor | None) -> Tensor:
    if group is None:
        return torch.zeros_like(node)
    expect_shape("group", group, (len(node),), "the rows of node")
    return group[:, None].expand(node.shape)


def _checked(name: str, value: Tensor, exists: Tensor | None) -> Tensor:
    expect_matrix(name, value)
    _expect_integers(name, value)
    if exists is None:
        return torch.ones_like(value, dtype=torch.bool)
    expect_shape("exists", exists, tuple(value.shape), name)
    return exists


def _expect_integers(name: str, value: Tensor) -> None:
    if value.is_floating_point() or value.dtype == torch.bool:
        raise ValueError(f"{name} has dtype {value.dtype}: expected int64")
