"""Weights that make right and wrong responses of a group count alike."""

from __future__ import annotations

import torch
from torch import Tensor

from guerdon import ops


def balanced_class_weights(outcome: Tensor, group: Tensor) -> Tensor:
    """Size of the group / (2 members of the row's class); 1 in groups of one class (PACS, arXiv 2509.02522).

    Args:
        outcome: (B,) float in {0, 1}; NaN rows take no part and get 0.
        group: (B,) int64.

    Returns:
        (B,) of the dtype of `outcome`, at least float32.

    Raises:
        ValueError: An outcome is neither 0 nor 1 nor NaN.

    Example:
        >>> import torch
        >>> balanced_class_weights(torch.tensor([1.0, 0.0, 0.0, 0.0]), torch.zeros(4, dtype=torch.int64)).tolist()
        [2.0, 0.6666666865348816, 0.6666666865348816, 0.6666666865348816]
    """
    scored = ~torch.isnan(outcome)
    wrong = scored & (outcome != 0) & (outcome != 1)
    if bool(wrong.any()):
        row = int(wrong.nonzero()[0])
        raise ValueError(f"outcome in row {row} is {float(outcome[row])}: expected 0 or 1")
    dtype = outcome.dtype if outcome.dtype == torch.float64 else torch.float32
    weights = torch.zeros(len(outcome), dtype=dtype, device=outcome.device)
    weights[scored] = ops.class_weights(outcome[scored], group[scored]).to(dtype)
    return weights
