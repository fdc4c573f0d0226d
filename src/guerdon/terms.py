"""Numbers of responses by name: fields, aggregated process rewards, and columns."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import torch
from torch import Tensor

from guerdon import ops
from guerdon.rollouts import Rollouts


def term(rollouts: Rollouts, name: str, aggregate: str = "mean") -> Tensor:
    """One number a row.

    Args:
        rollouts: B responses.
        name: "outcome", "process" (aggregated over the steps of the row), "length" (policy tokens, unless there is a
            column of that name), or a column of numbers; None in a column is NaN, a bool 0 or 1.
        aggregate: How process rewards become one number; see `guerdon.ops.aggregate`.

    Returns:
        (B,) float32.

    Raises:
        ValueError: There is no such column, or one of its values is not a number.
    """
    if name == "outcome":
        return rollouts.outcome
    if name == "process":
        return ops.aggregate(rollouts.process, aggregate)
    if name == "length" and name not in rollouts.columns:
        return rollouts.lengths.to(torch.float32)
    return numbers(name, rollouts.column(name)).to(rollouts.device)


def numbers(name: str, values: Sequence[Any]) -> Tensor:
    """(B,) float32 of a column's values.

    Raises:
        ValueError: A value is not a number; the message names the column and the row.
    """
    try:
        return torch.tensor([torch.nan if value is None else float(value) for value in values], dtype=torch.float32)
    except (TypeError, ValueError) as error:
        row = next(row for row, value in enumerate(values) if not _is_number(value))
        raise ValueError(f"columns[{name!r}] in row {row} is {values[row]!r}: expected a number or None") from error


def _is_number(value: Any) -> bool:
    try:
        return value is None or isinstance(float(value), float)
    except (TypeError, ValueError):
        return False


def keys(*columns: Sequence[Hashable]) -> Tensor:
    """(B,) int64: rows that are equal in all columns share a number; numbers go up from 0 in order of appearance.

    Example:
        >>> keys(["a", "b", "a"], [1, 1, 1]).tolist()
        [0, 1, 0]
    """
    cells = list(zip(*columns, strict=True))
    number = {cell: place for place, cell in enumerate(dict.fromkeys(cells))}
    return torch.tensor([number[cell] for cell in cells], dtype=torch.int64)


def flags(rollouts: Rollouts, name: str) -> Tensor:
    """(B,) bool of a column: whether its value is a number above 0, or True. None and NaN are False."""
    return term(rollouts, name) > 0
