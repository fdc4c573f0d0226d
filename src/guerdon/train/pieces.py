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


def cut(batch: dict[str, Any], count: int, pieces: int, spare: dict[str, Any]) -> list[tuple[int, dict[str, Any]]]:
    """Cut the first `count` rows of a batch into pieces.

    Args:
        batch: As for `pick_rows`.
        count: Number of rows that count.
        pieces: Number of pieces.
        spare: A one-row batch that stands in for an empty piece, so that every process does as many forward and
            backward passes as the others.

    Returns:
        (number of rows that count, piece) for each piece; 0 rows for a stand-in.
    """
    result, start = [], 0
    for size in piece_sizes(count, pieces):
        rows = range(start, start + size)
        result.append((size, pick_rows(batch, rows) if size else dict(spare)))
        start += size
    return result
