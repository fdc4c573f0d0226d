"""First-order linear recurrences along the rows of a matrix, without a loop over positions.

All of them compute S_t = x_t + d_t S_(t+1) in float64. Which form is fastest depends on the decays:

- one decay for all positions (`decayed_suffix`): blocks of positions; inside a block either a product with a
  triangular matrix of powers, or, where the decay is near enough to 1, a cumulative sum of rescaled values;
- one decay, but positions outside a mask are stepped over (`masked_suffix`): the same cumulative sum with the powers
  counted over the mask;
- any decays (`general_suffix`): doubling, about log2 of the width passes. It alone keeps a NaN from reaching positions
  that come after it, and it alone is differentiable.
"""

from __future__ import annotations

import torch
from torch import Tensor

WIDEST_MATRIX = 64
"""Up to this width a row is multiplied by one triangular matrix."""

MATRIX_BLOCK = 32
CUMULATIVE_BLOCKS = (64, 32, 16)

SMALLEST_POWER = 1e-2
"""A cumulative block rescales by powers of the decay down to this one: it costs two of float64's sixteen digits."""


def block_width(decay: float, *, exact: bool) -> int:
    """Positions of a block that a scan with this decay works in; widths should be a multiple of it.

    Args:
        decay: The decay, in [0, 1].
        exact: Whether the result must keep all digits of float64, which rules the cumulative form out.
    """
    for width in CUMULATIVE_BLOCKS:
        if not exact and is_cumulative(decay, width):
            return width
    return MATRIX_BLOCK


def is_cumulative(decay: float, width: int) -> bool:
    """Whether a block of this width may be computed as a rescaled cumulative sum."""
    return decay > 0.0 and decay**width >= SMALLEST_POWER


def decayed_suffix(x: Tensor, decay: float, *, exact: bool) -> Tensor:
    """S_t = x_t + decay S_(t+1).

    Args:
        x: (R, W) float64. A NaN or infinity makes a whole row unreliable, which shows in its first column.
        decay: The decay, in [0, 1].
        exact: See `block_width`.

    Returns:
        (R, W) float64, possibly `x` itself.
    """
    if decay == 0.0:
        return x
    rows, width = x.shape
    if width <= WIDEST_MATRIX:
        return x @ _powers(width, decay, x)
    block = block_width(decay, exact=exact)
    blocks = -(-width // block)
    if blocks * block != width:
        x = torch.nn.functional.pad(x, (0, blocks * block - width))
    pieces = x.view(rows, blocks, block)
    if not exact and is_cumulative(decay, block):
        suffix = _cumulative_blocks(pieces, decay)
    else:
        suffix = _matrix_blocks(pieces, decay)
    return suffix.view(rows, blocks * block)[:, :width]


def _powers(width: int, decay: float, like: Tensor) -> Tensor:
    """(W, W) with decay^(j - i) in row j, column i <= j: x @ powers is the suffix scan of x."""
    place = torch.arange(width, dtype=like.dtype, device=like.device)
    return torch.tril(torch.pow(decay, (place[:, None] - place).clamp(min=0.0)))


def _matrix_blocks(x: Tensor, decay: float) -> Tensor:
    rows, blocks, block = x.shape
    local = (x.reshape(rows * blocks, block) @ _powers(block, decay, x)).view(rows, blocks, block)
    heads = decayed_suffix(local[:, :, 0], decay**block, exact=True)
    distance = torch.arange(block, 0, -1, dtype=x.dtype, device=x.device)
    local[:, :-1].addcmul_(heads[:, 1:, None], torch.pow(decay, distance))
    return local


def _cumulative_blocks(x: Tensor, decay: float) -> Tensor:
    # Within a block, sum_(j>=i) d^(j-i) x_j = x_i + d^-i (total - sum_(j<=i) d^j x_j).
    block = x.shape[2]
    if decay == 1.0:
        inclusive = torch.cumsum(x, 2)
        heads = decayed_suffix(inclusive[:, :, -1], 1.0, exact=True)
        return torch.sub(heads[:, :, None], inclusive, out=inclusive).add_(x)
    place = torch.arange(block, dtype=x.dtype, device=x.device)
    inclusive = torch.cumsum(x * torch.pow(decay, place), 2)
    heads = decayed_suffix(inclusive[:, :, -1], decay**block, exact=True)
    rest = torch.sub(heads[:, :, None], inclusive, out=inclusive)
    return torch.addcmul(x, rest, torch.pow(decay, -place), out=rest)


def masked_suffix(x: Tensor, mask: Tensor, decay: float) -> Tensor:
    """S_t = x_t + decay S_(t+1) over the masked-in positions only.

    Args:
        x: (R, W) float64, 0 outside the mask.
        mask: (R, W) float64 of 0 and 1.
        decay: The decay; `is_cumulative(decay, CUMULATIVE_BLOCKS[-1])` must hold.

    Returns:
        (R, W) float64; meaningless outside the mask.
    """
    rows, width = x.shape
    block = block_width(decay, exact=False)
    blocks = -(-width // block)
    if blocks * block != width:
        x, mask = (torch.nn.functional.pad(value, (0, blocks * block - width)) for value in (x, mask))
    pieces = x.view(rows, blocks, block)
    # weight = decay^(masked-in positions of the block up to and with this one)
    weight = torch.cumprod((mask * (decay - 1.0)).add_(1.0).view(rows, blocks, block), 2)
    inclusive = torch.cumsum(pieces * weight, 2)
    # A copy, since a single block's scan is its argument itself.
    heads = general_suffix(inclusive[:, :, -1].clone(), weight[:, :, -1])
    rest = torch.sub(heads[:, :, None], inclusive, out=inclusive)
    return rest.div_(weight).add_(pieces).view(rows, blocks * block)[:, :width]


def general_suffix(x: Tensor, decay: Tensor) -> Tensor:
    """S_t = x_t + decay_t S_(t+1) for any decays; differentiable.

    Args:
        x: (R, W) float.
        decay: (R, W) float, the factor from position t + 1 to t; 0 cuts, also a NaN or an infinity.

    Returns:
        (R, W) float.
    """
    width, reach = x.shape[1], 1
    while reach < width:
        carried = decay[:, :-reach] * x[:, reach:]
        carried = torch.where(decay[:, :-reach] == 0.0, torch.zeros_like(carried), carried)
        x = torch.cat([x[:, :-reach] + carried, x[:, -reach:]], 1)
        decay = torch.cat([decay[:, :-reach] * decay[:, reach:], decay[:, -reach:]], 1)
        reach *= 2
    return x
