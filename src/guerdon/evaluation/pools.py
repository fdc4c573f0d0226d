"""Responses by problem: as padded tables, and as pairs of a right and a wrong one."""

from __future__ import annotations

import torch
from torch import Tensor

from guerdon import ops


def pool_table(values: Tensor, key: Tensor, where: Tensor | None = None) -> Tensor:
    """(M, K) values of each problem's responses in order of rows, padded with NaN.

    Args:
        values: (N,) float.
        key: (N,) int64, the problem of each response.
        where: (N,) bool, responses that are put into the table; None = all. Problems without any keep an empty row.

    Returns:
        (M, K) of the dtype of `values`; rows in ascending order of the keys.

    Raises:
        ValueError: Shapes differ.

    Example:
        >>> import torch
        >>> pool_table(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([7, 4, 7])).tolist()
        [[2.0, nan], [1.0, 3.0]]
    """
    if key.shape != values.shape or values.ndim != 1:
        raise ValueError(f"values has shape {tuple(values.shape)}, key {tuple(key.shape)}: expected (N,) of both")
    chosen = torch.ones_like(key, dtype=torch.bool) if where is None else where
    ids, dense = torch.unique(key, return_inverse=True)
    place = ops.rank(torch.zeros_like(values[chosen]), dense[chosen])
    width = int(place.max()) + 1 if len(place) else 0
    table = torch.full((len(ids), width), torch.nan, dtype=values.dtype, device=values.device)
    table[dense[chosen], place] = values[chosen]
    return table


def label_pairs(key: Tensor, right: Tensor) -> Tensor:
    """(P, 2) int64 places (right response, wrong response) of the same problem.

    Args:
        key: (N,) int64.
        right: (N,) 1 or True = right, 0 = wrong; NaN takes no part.

    Returns:
        All pairs, in order of rows.

    Raises:
        ValueError: Shapes differ.
    """
    if right.shape != key.shape:
        raise ValueError(f"right has shape {tuple(right.shape)}: expected {tuple(key.shape)}, like key")
    label = right.double()
    rows = torch.arange(len(key), device=key.device).double()
    # Tables of places: memory grows with the pairs, not with the square of the responses.
    winners, losers = (pool_table(rows, key, label == value) for value in (1.0, 0.0))
    shape = (len(winners), winners.shape[1], losers.shape[1])
    columns = winners[:, :, None].expand(shape), losers[:, None, :].expand(shape)
    both = torch.stack(columns, -1).reshape(-1, 2)
    pairs = both[~torch.isnan(both).any(1)].long()
    order = torch.argsort(pairs[:, 0] * max(len(key), 1) + pairs[:, 1])
    return pairs[order]
