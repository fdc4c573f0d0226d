"""Rewards of turns that count only where the outcome passed a threshold (G-RA, arXiv 2508.10548)."""

from __future__ import annotations

import torch
from torch import Tensor

MODES = ("gated", "direct")


def turn_rewards(
    outcome: Tensor,
    critics: Tensor,
    turn_mask: Tensor,
    weights: Tensor | None = None,
    delta: float = 0.0,
    mode: str = "gated",
) -> Tensor:
    """The critics' rewards of each turn, if the outcome is above delta, and the outcome on the last turn.

    Args:
        outcome: (B,) float; NaN rows could not be scored.
        critics: (B, S, C) float, one reward of each critic for each turn; NaN = not scored, counts 0.
        turn_mask: (B, S) bool, turns that exist.
        weights: (C,) float; None = 1.
        delta: The gate opens strictly above it.
        mode: "gated", or "direct" = the gate is always open.

    Returns:
        (B, S) float, NaN where no turn exists and in unscored rows; a row sums to its total reward.

    Raises:
        ValueError: Wrong shapes, or an unknown mode.

    Example:
        >>> import torch
        >>> critics, turns = torch.full((2, 2, 1), 0.5), torch.ones(2, 2, dtype=torch.bool)
        >>> turn_rewards(torch.tensor([0.0, 1.0]), critics, turns).tolist()
        [[0.0, 0.0], [0.5, 1.5]]
    """
    if mode not in MODES:
        raise ValueError(f"mode is {mode!r}: expected one of {MODES}")
    if critics.ndim != 3 or critics.shape[:2] != turn_mask.shape or outcome.shape != critics.shape[:1]:
        shapes = tuple(outcome.shape), tuple(critics.shape), tuple(turn_mask.shape)
        raise ValueError(f"outcome, critics, turn_mask have the shapes {shapes}: expected (B,), (B, S, C), (B, S)")
    if weights is None:
        weights = critics.new_ones(critics.shape[2])
    if weights.shape != critics.shape[2:]:
        raise ValueError(f"weights has shape {tuple(weights.shape)}: expected {tuple(critics.shape[2:])}, one a critic")
    easy = (torch.nan_to_num(critics, nan=0.0) * weights.to(critics.dtype)).sum(2)
    if mode == "gated":
        easy = torch.where((outcome > delta)[:, None], easy, 0.0)
    last = turn_mask & (turn_mask.flip(1).cumsum(1).flip(1) == 1)
    total = easy + torch.where(last, outcome.to(easy.dtype)[:, None], 0.0)
    return torch.where(turn_mask & ~torch.isnan(outcome)[:, None], total, torch.nan)
