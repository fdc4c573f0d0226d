"""Memory for large results on the CPU, and masking at the speed of memory."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

RECYCLED = 1 << 25
"""Blocks up to this many bytes come back from the allocator without page faults; larger ones are always fresh."""


def empty(rows: int, width: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(rows, width) uninitialised memory for a result."""
    large = rows * width * dtype.itemsize > RECYCLED
    if large and device.type == "cpu" and dtype in (torch.float32, torch.float64):
        # NumPy asks the operating system for huge pages, torch does not: without them the page faults of a fresh
        # result take longer than the sums.
        kind = np.float32 if dtype == torch.float32 else np.float64
        return torch.from_numpy(np.empty((rows, width), kind))
    return torch.empty(rows, width, dtype=dtype, device=device)


def rows_per_chunk(width: int, device: torch.device) -> int:
    """Rows whose float64 scratch stays in a processor's cache; all rows on an accelerator."""
    return max(1, math.ceil(262_144 / max(width, 1))) if device.type == "cpu" else 1 << 30


def all_ones(mask: Tensor) -> Tensor:
    """int8 with all bits set where the mask is True and none elsewhere; its sum is minus the number of True."""
    return mask.contiguous().view(torch.int8).neg()


def keep(x: Tensor, ones: Tensor, out: Tensor | None = None) -> Tensor:
    """`x` (float32) where `ones` has its bits set, 0 elsewhere.

    A bitwise "and" is several times faster than `where`, and clears a NaN as well.
    """
    bits = torch.bitwise_and(x.view(torch.int32), ones, out=None if out is None else out.view(torch.int32))
    return bits.view(torch.float32)
