"""Numbers about a whole batch that its pieces need.

A trainer cuts a batch into pieces that fit its memory, and the losses of the pieces must add up to the loss of the
whole. What an objective divides by is in `Batch.divisors`; an objective that needs more has
`prepare(batch) -> Batch`, which is called once on the whole batch before it is cut. Without that call each piece stands
for the whole, as far as it can.
"""

from __future__ import annotations

import dataclasses

import torch

from guerdon import ops
from guerdon.batch import Batch

_PREFIX = "whole/"
_GROUP_SIZE = "whole/group_size"


def note(batch: Batch, name: str, amount: float) -> Batch:
    """Remember an amount of the trained rows as an amount for each of them, in a column that survives cutting."""
    rate = amount / max(float(batch.trained.sum()), 1.0)
    rollouts = batch.rollouts.with_columns(**{_PREFIX + name: (rate,) * len(batch)})
    return dataclasses.replace(batch, rollouts=rollouts)


def amount(batch: Batch, name: str, own: float) -> float:
    """The amount of the whole batch that the loss of a piece is divided by.

    Args:
        batch: The whole batch, or a piece.
        name: The name that was given to `note`.
        own: The amount in this batch alone, which counts in proportion where nothing was noted.

    Returns:
        A number of 0 or more.
    """
    if not len(batch):
        return 0.0
    noted = batch.rollouts.columns.get(_PREFIX + name)
    rate = own / len(batch) if noted is None else float(noted[0])
    return rate * batch.divisors.sequences


def note_groups(batch: Batch) -> Batch:
    """Remember how many trained rows each row's group has, so that a piece can tell whether its groups are whole."""
    sizes = ops.sum(batch.trained.double(), batch.rollouts.group).long()
    rollouts = batch.rollouts.with_columns(**{_GROUP_SIZE: tuple(sizes.tolist())})
    return dataclasses.replace(batch, rollouts=rollouts)


def expect_whole_groups(batch: Batch, who: str) -> None:
    """Raise ValueError if a group of a prepared batch was cut apart; a batch that was not prepared passes.

    Args:
        batch: The whole batch, or a piece.
        who: The name of the objective.
    """
    noted = batch.rollouts.columns.get(_GROUP_SIZE)
    if noted is None:
        return
    group = batch.rollouts.group
    here = ops.sum(torch.ones(len(group), dtype=torch.float64, device=group.device), group).tolist()
    for row, (size, found) in enumerate(zip(noted, here, strict=True)):
        if found < size:
            raise ValueError(
                f"{who} needs whole groups, but row {row} is in a piece with {int(found)} of its group's {size} rows"
            )
