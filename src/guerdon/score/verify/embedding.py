"""Similarity of embeddings as a reward (the embedding surrogate of HARMO, arXiv 2510.05283)."""

from __future__ import annotations

import torch
from torch import Tensor


def embedding_cosine(response: Tensor, reference: Tensor) -> Tensor:
    """Cosine of the embeddings of response and reference, cut at 0.

    Args:
        response: (B, D) float.
        reference: (B, D) float, or (D,) for all rows.

    Returns:
        (B,) in [0, 1]; 0 where either is the zero vector, NaN where either holds NaN.

    Raises:
        ValueError: The shapes do not fit.

    Example:
        >>> import torch
        >>> embedding_cosine(torch.tensor([[3.0, 4.0], [1.0, 0.0]]), torch.tensor([[3.0, 4.0], [-1.0, 0.0]])).tolist()
        [1.0, 0.0]
    """
    if response.ndim != 2 or reference.shape not in (response.shape, response.shape[1:]):
        raise ValueError(f"shapes {tuple(response.shape)} and {tuple(reference.shape)}: expected (B, D) twice")
    dtype = torch.promote_types(torch.promote_types(response.dtype, reference.dtype), torch.float32)
    left, right = _unit(response.to(dtype)), _unit(reference.to(dtype).expand_as(response))
    return (left * right).sum(1).clamp(0.0, 1.0)


def _unit(value: Tensor) -> Tensor:
    """Rows of length 1, and the zero vector as it is; large and small values neither overflow nor vanish."""
    if not value.shape[1]:
        return value
    largest = value.abs().amax(1, keepdim=True)
    scaled = value / torch.where(largest == 0, torch.ones_like(largest), largest)
    length = torch.linalg.vector_norm(scaled, dim=1, keepdim=True)
    return scaled / torch.where(length == 0, torch.ones_like(length), length)
