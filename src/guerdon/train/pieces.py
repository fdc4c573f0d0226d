"""Cutting a batch of tensors and lists into micro-batches of unequal size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def pick_rows(batch: dict[str, Any], rows: Sequence[int]) -> dict[str, Any]:
    """Take rows of every tensor and list of a batch; scalars and None stay.

    Args:
        batch: Name -> (B, ...) tensor, length-B list, 0-dimensional tensor or None.
        rows: Row indices.
    """
    index = torch.as_tensor(list(rows), dtype=torch.int64)

    def pick(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value if value.ndim == 0 else value[index.to(value.device)]
        if isinstance(value, list):
            return [value[row] for row in rows]
        return value

    return {name: pick(value) for name, value in batch.items()}


def piece_sizes(count: int, pieces: int) -> list[int]:
    """Divide a number of rows into pieces that differ by one at most, the larger first.

    Example:
        >>> piece_sizes(7, 3)
        [3, 2, 2]
    """
    whole, rest = divmod(count, pieces)
    return [whole + (piece < rest) for piece in range(pieces)]


def cut(
    batch: dict[str, Any], sizes: Sequence[int], heights: Sequence[int], silent: dict[str, Any]
) -> list[dict[str, Any]]:
    """Cut a batch into pieces, filled up with silent rows.

    Args:
        batch: As for `pick_rows`.
        sizes: Rows of the batch in each piece.
        heights: Rows of each piece together with silent ones, at least its size and at least 1.
        silent: A one-row batch that contributes nothing, so that every process does as many forward and backward
            passes, on as many rows, as the others.

    Returns:
        The pieces.
    """
    pieces, start = [], 0
    for size, height in zip(sizes, heights, strict=True):
        piece = pick_rows(batch, range(start, start + size))
        filling = pick_rows(silent, [0] * (height - size))
        pieces.append(join_rows(piece, filling) if height > size else piece)
        start += size
    return pieces


def join_rows(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Join two batches of the same names row after row; scalars and None are the first's."""

    def join(left: Any, right: Any) -> Any:
        if isinstance(left, Tensor) and left.ndim:
            return torch.cat([left, right])
        return left + right if isinstance(left, list) else left

    return {name: join(value, second[name]) for name, value in first.items()}
