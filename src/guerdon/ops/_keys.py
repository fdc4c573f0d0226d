"""Keys as numbers from 0 on."""

from __future__ import annotations

import torch
from torch import Tensor


def dense_keys(key: Tensor) -> tuple[Tensor, Tensor]:
    """The sorted ids of keys, and the place of each element's id among them.

    The same as `torch.unique(key, return_inverse=True)`, which sorts; keys that lie close together, as they mostly do,
    are counted instead.

    Args:
        key: Integers of any shape.

    Returns:
        (K,) ids in the dtype of `key`, and int64 places in the shape of `key`.
    """
    if key.numel():
        low, high = (int(end) for end in key.aminmax())
        span = high - low + 1
        if span <= 2 * key.numel() + 64:
            place = key.long() - low
            present = torch.zeros(span, dtype=torch.bool, device=key.device).index_fill_(0, place.flatten(), True)
            ids = torch.nonzero(present)[:, 0]
            if len(ids) < span:
                place = (torch.cumsum(present, 0) - 1)[place]
            return (ids + low).to(key.dtype), place
    found: tuple[Tensor, Tensor] = torch.unique(key, return_inverse=True)  # type: ignore[no-untyped-call]
    return found
