"""Values of prefixes by completions: which responses are cut, and what the completions of their prefixes say.

Phase A of direct advantage policy optimisation (arXiv 2412.18279, section 3.1): a few responses of every prompt are
picked, right and wrong ones as evenly as possible; every prefix of them is completed several times; the share of right
completions is the value of the prefix.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from guerdon import ops


def balanced_pick(outcome: Tensor, k: int, generator: torch.Generator) -> Tensor:
    """Pick responses of one prompt at random, right and wrong ones as evenly as possible.

    Args:
        outcome: (n,) float; above 0 = right, NaN = not scored and never picked.
        k: How many to pick. An odd one is right; where one class is short, the other fills up; fewer are picked where
            fewer were scored.
        generator: Source of randomness.

    Returns:
        Sorted (min(k, scored),) int64 indices.

    Raises:
        ValueError: `k` is negative, or `outcome` has another shape.

    Example:
        >>> outcome = torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0])
        >>> int((outcome[balanced_pick(outcome, 3, torch.Generator().manual_seed(0))] > 0).sum())
        2
    """
    if outcome.ndim != 1:
        raise ValueError(f"outcome has shape {tuple(outcome.shape)}: expected (n,)")
    if k < 0:
        raise ValueError(f"k is {k}: expected 0 or more")
    right, wrong = (torch.nonzero(chosen)[:, 0] for chosen in (outcome > 0, outcome <= 0))
    quotas = ops.balanced_counts(len(right), len(wrong), k, odd="positive")
    picked = [
        rows[torch.randperm(len(rows), generator=generator)[:quota]]
        for rows, quota in zip((right, wrong), quotas, strict=True)
    ]
    return torch.cat(picked).sort().values


def monte_carlo_values(success: Tensor | Sequence[Tensor], state: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Share of right completions of every state.

    Args:
        success: (N,) float, the outcome of each completion, NaN = not scored: it does not count. Or one such tensor for
            each state, of any lengths.
        state: (N,) int64, the state that each completion started from; None only where `success` has one tensor a
            state.

    Returns:
        Values (S,) float, NaN where no completion was scored, and how many completions were scored (S,) int64; states
        are in order of first appearance, as `torch.unique` of `state` in that order.

    Raises:
        ValueError: Shapes differ, or there is no `state` for a flat tensor.

    Example:
        >>> values, counts = monte_carlo_values(torch.tensor([1.0, 0.0, 1.0]), torch.tensor([7, 7, 3]))
        >>> values.tolist(), counts.tolist()
        ([0.5, 1.0], [2, 1])
    """
    if not isinstance(success, Tensor):
        if state is not None:
            raise ValueError("state was given beside one tensor a state: expected one or the other")
        shares = [part.to(torch.float64).nanmean() for part in success]
        scored = [int((~torch.isnan(part)).sum()) for part in success]
        dtype = success[0].dtype if len(success) else torch.float32
        return torch.tensor(shares, dtype=dtype), torch.tensor(scored, dtype=torch.int64)
    if state is None:
        raise ValueError("state is None: expected the (N,) state of each completion")
    return ops.reduce(success, state, "mean")[1], ops.reduce(success, state, "count")[1]
