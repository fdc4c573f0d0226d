"""Joining two passes of generation into one: TRL's tensors, and the rollouts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from guerdon.joining import pad_to
from guerdon.rollouts import Rollouts

_LEFT = ("prompt_ids", "prompt_mask")
_COUNTS = ("num_items_in_batch",)


def join_outputs(first: Mapping[str, Any], second: Mapping[str, Any], pad_token_id: int) -> dict[str, Any]:
    """The tensors of two generations of TRL's, row after row: prompts padded on the left, all else on the right.

    Raises:
        ValueError: One of them has what the other has not, or something that cannot be joined, such as images.
    """
    if set(first) != set(second):
        raise ValueError(f"only one of both passes has {sorted(set(first) ^ set(second))}: expected equal inputs")
    joined: dict[str, Any] = {}
    for name, mine in first.items():
        other = second[name]
        if name in _COUNTS:
            joined[name] = mine
        elif not isinstance(mine, Tensor) or mine.ndim not in (1, 2):
            raise ValueError(f"a second pass with {name!r} is not supported: expected texts alone")
        elif mine.ndim == 1:
            joined[name] = torch.cat([mine, other])
        else:
            fill = pad_token_id if name.endswith("_ids") else 0
            width = max(mine.shape[1], other.shape[1])
            joined[name] = torch.cat([_padded(value, width, fill, name in _LEFT) for value in (mine, other)])
    return joined


def _padded(value: Tensor, width: int, fill: int, left: bool) -> Tensor:
    return pad_to(value.flip(1), width, fill).flip(1) if left else pad_to(value, width, fill)


def join_rollouts(first: Rollouts, second: Rollouts, groups: int) -> Rollouts:
    """Both passes as one batch; the groups of the second come after all of the first.

    Args:
        first: Responses to the problems; without a column `kind` they are of the kind "solve".
        second: Responses to the prompts that follow up; columns that only one pass has are None in the other.
        groups: Groups of the first pass in all processes.
    """
    if "kind" not in first.columns:
        first = first.with_columns(kind=["solve"] * len(first))
    second = second.replace(group=second.group + groups)
    names = {*first.columns, *second.columns}
    return Rollouts.concatenate([_with_all(part, sorted(names)) for part in (first, second)])


def _with_all(part: Rollouts, names: Sequence[str]) -> Rollouts:
    missing = {name: [None] * len(part) for name in names if name not in part.columns}
    return part.with_columns(**missing) if missing else part
