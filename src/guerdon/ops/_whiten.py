"""Whitening in two passes over memory, for large float32 batches that need no gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from guerdon.ops import _memory


def fits(x: Tensor) -> bool:
    """Whether the fast form computes the same as the general one for this input."""
    return x.dtype == torch.float32 and not x.requires_grad and x.is_contiguous() and x.numel() > 0


def whiten(x: Tensor, mask: Tensor, rows: Tensor, keys: int, eps: float, center_only: bool, ddof: int) -> Tensor:
    """(x - mean) / sqrt(variance + eps) over the masked-in tokens of each key.

    Args:
        x: (B, T) float32, contiguous.
        mask: (B, T) bool.
        rows: (B,) int64, the dense key of each row.
        keys: Number of keys.
        eps: Is added to the variance.
        center_only: Whether only the mean is taken off.
        ddof: Degrees of freedom taken off in the variance.

    Returns:
        (B, T) float32, 0 outside the mask.
    """
    moments = _row_moments(x, mask)
    if bool(torch.isnan(moments[1]).any()):
        mask = mask & ~torch.isnan(x)
        moments = _row_moments(x, mask)
    mean, factor = _mean_and_factor(moments, rows, keys, eps, ddof)
    if center_only:
        factor = torch.ones_like(factor)
    # x - mean is taken with the nearest float32 of the mean; what that leaves over is added after the scaling.
    near = mean.float()
    rest = ((near.double() - mean) * factor).float()[:, None]
    near, narrow = near[:, None], factor.float()[:, None]
    result = _memory.empty(x.shape[0], x.shape[1], torch.float32, x.device)
    step = _memory.rows_per_chunk(x.shape[1], x.device)
    for start in range(0, len(x), step):
        part = slice(start, start + step)
        scaled = torch.addcmul(rest[part], torch.sub(x[part], near[part]), narrow[part])
        _memory.keep(scaled, _memory.all_ones(mask[part]), out=result[part])
    return result


def _mean_and_factor(
    moments: tuple[Tensor, Tensor, Tensor, Tensor], rows: Tensor, keys: int, eps: float, ddof: int
) -> tuple[Tensor, Tensor]:
    """(B,) float64: mean of the row's key and 1 / sqrt(variance + eps), 0 where there is no spread."""
    number, mean, squares, size = moments

    def total(per_row: Tensor) -> Tensor:
        return torch.zeros(keys, dtype=torch.float64, device=rows.device).index_add(0, rows, per_row)[rows]

    count = total(number)
    overall = total(number * mean) / count.clamp(min=1)
    variance = total(squares + number * (mean - overall).square()) / (count - ddof).clamp(min=1)
    # Rounding in the mean of equal values must not be blown up to a spread.
    flat = variance <= (total(size) / count.clamp(min=1) * 1e-12) ** 2
    return overall, torch.where(flat, 0.0, torch.rsqrt(torch.where(flat, 1.0, variance + eps)))


def _row_moments(x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(B,) float64 each: number, mean, sum of squared deviations, and sum of absolute values of each row."""
    moments = torch.empty(4, len(x), dtype=torch.float64, device=x.device)
    step = _memory.rows_per_chunk(x.shape[1], x.device)
    for start in range(0, len(x), step):
        part = slice(start, start + step)
        ones = _memory.all_ones(mask[part])
        kept = _memory.keep(x[part], ones)
        number = ones.sum(1, dtype=torch.int32).neg_().double()
        mean = kept.sum(1, dtype=torch.float64) / number.clamp(min=1)
        size = torch.linalg.vector_norm(kept, 1, dim=1, dtype=torch.float64)
        near = mean.float()
        centred = _memory.keep(kept.sub_(near[:, None]), ones)
        squares = torch.linalg.vector_norm(centred, dim=1, dtype=torch.float64).square()
        squares -= number * (mean - near.double()).square()
        moments[:, part] = torch.stack([number, mean, squares.clamp_(min=0.0), size])
    number, mean, squares, size = moments
    return number, mean, squares, size
