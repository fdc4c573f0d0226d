"""Putting rewards of steps, found from texts, into the steps that tokens belong to."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch

from guerdon.rollouts import Rollouts


def fill_process(rollouts: Rollouts, values: Sequence[Sequence[float]]) -> Rollouts:
    """Fill `process` with one value for each step of each response.

    Args:
        rollouts: B rows.
        values: For each row the rewards of its steps, in order; NaN = not scored. Steps that no token belongs to (cut
            off, say) are left out. If no row names a step, `process` becomes as wide as the longest list.

    Returns:
        The rollouts with `process` (B, S) float32; NaN where there is no step or no value.

    Raises:
        ValueError: `values` has not one entry a row.
    """
    if len(values) != len(rollouts):
        raise ValueError(f"values has {len(values)} rows: expected {len(rollouts)}")
    named = bool((rollouts.step >= 0).any())
    width = rollouts.n_steps if named else max([rollouts.n_steps, *(len(row) for row in values)])
    table = torch.full((len(rollouts), width), torch.nan)
    for index, row in enumerate(values):
        kept = list(row)[:width]
        table[index, : len(kept)] = torch.tensor(kept, dtype=torch.float32)
    table = table.to(rollouts.device)
    if named:
        table = table.masked_fill(~rollouts.step_exists, torch.nan)
    return dataclasses.replace(rollouts, process=table)
