"""What shaping needs of columns besides `guerdon.terms`: several numbers in a row, and the outcome as it was."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from guerdon.rollouts import Rollouts

RAW_OUTCOME = "raw_outcome"
"""Column that keeps the outcome as it was before the first transform that hides it."""


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
