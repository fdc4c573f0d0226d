"""Reward terms by name: fields, aggregated process rewards, and columns of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from guerdon import ops
from guerdon.rollouts import Rollouts

RAW_OUTCOME = "raw_outcome"
"""Column that keeps the outcome as it was before the first transform that hides it."""


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


def flags(rollouts: Rollouts, name: str) -> Tensor:
    """(B,) bool of a column: whether its value is a number above 0, or True. None and NaN are False."""
    return term(rollouts, name) > 0


def sets_of_numbers(name: str, values: Sequence[Any]) -> Tensor:
    """(B, M) float32 of a column that holds a number or several in each row, padded with NaN.

    Raises:
        ValueError: A value is neither; the message names the column and the row.
    """
    listed = []
    for row, value in enumerate(values):
        entries = [value] if value is None or isinstance(value, Real | str) else value
        try:
            listed.append([torch.nan if entry is None else float(entry) for entry in entries])
        except (TypeError, ValueError) as error:
            raise ValueError(f"columns[{name!r}] in row {row} is {value!r}: expected numbers") from error
    width = max((len(entries) for entries in listed), default=0)
    padded = [entries + [torch.nan] * (width - len(entries)) for entries in listed]
    return torch.tensor(padded, dtype=torch.float32).reshape(len(listed), width)


def keep_raw(rollouts: Rollouts) -> Rollouts:
    """Keep the outcome under `raw_outcome`, unless an earlier stage has done so.

    Reward hacking shows as a raw reward that rises while the true one falls, so what a bounded transform hides must
    stay in the log.
    """
    if RAW_OUTCOME in rollouts.columns:
        return rollouts
    return rollouts.with_columns(**{RAW_OUTCOME: rollouts.outcome.tolist()})
