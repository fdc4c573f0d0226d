"""The loss of a critic: squared error of its values, with the clip of PPO."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from guerdon import ops
from guerdon.batch import Batch, Counts
from guerdon.objective.clipped_surrogate import AGGREGATIONS, aggregate_loss
from guerdon.stages import Loss

VALUE_AGGREGATIONS = tuple(name for name in AGGREGATIONS if name not in ("step", "class"))


def squared_value_error(values: Tensor, returns: Tensor, old_values: Tensor | None, clip: float | None) -> Tensor:
    """0.5 max((V - R)^2, (V' - R)^2), V' being V kept within `clip` of the old value.

    Args:
        values: Float tensor with gradient.
        returns: What the values should be, of the same shape.
        old_values: Values when the responses were sampled; needed for `clip`.
        clip: How far a value may move from its old one; None = plain squared error.

    Returns:
        Float tensor of the same shape.

    Raises:
        ValueError: `clip` without `old_values`.
    """
    error = (values - returns).square()
    if clip is not None:
        if old_values is None:
            raise ValueError(f"clip is {clip}: expected old_values")
        near = torch.minimum(torch.maximum(values, old_values - clip), old_values + clip)
        error = torch.maximum(error, (near - returns).square())
    return 0.5 * error


def value_loss(
    values: Tensor,
    returns: Tensor,
    old_values: Tensor | None,
    mask: Tensor,
    clip: float | None = 0.2,
    *,
    counts: float | Tensor | None = None,
) -> Tensor:
    """Clipped value loss of PPO, the mean over tokens (or turns).

    arXiv 1707.06347 and its usual implementation; used as it is by arXiv 2503.08525, 2505.13445 and 2502.18770.

    Args:
        values: (B, T) float with gradient.
        returns: (B, T) float without gradient; NaN tokens take no part.
        old_values: (B, T) float, or None with `clip=None`.
        mask: (B, T) bool.
        clip: How far a value may move from its old one before the larger of both errors counts; None = no clip.
        counts: Number of tokens to divide by instead of this batch's own.

    Returns:
        0-dimensional tensor; 0 without any token.

    Example:
        >>> import torch
        >>> values, old, returns = (torch.tensor([row]) for row in ([1.5, 0.0], [1.0, 0.2], [2.0, 1.0]))
        >>> float(value_loss(values, returns, old, torch.ones(1, 2, dtype=torch.bool), clip=0.1))
        0.45249998569488525
    """
    usable = mask & ~torch.isnan(returns)
    error = squared_value_error(*_usable(values, returns, usable), old_values, clip)
    return ops.reduce_loss(error, usable, "token", counts=counts)


def _usable(values: Tensor, returns: Tensor, usable: Tensor) -> tuple[Tensor, Tensor]:
    """Values and returns with 0 where they don't count, so that a NaN there reaches no gradient."""
    return torch.where(usable, values, 0.0), torch.where(usable, returns.detach(), 0.0)


@dataclass(frozen=True)
class ValueLoss:
    """The critic's loss on a batch: `(values (B, T) with gradient, Batch) -> Loss`.

    Reads `tokens["returns"]` and, with a clip, `tokens["values"]`. Unscored rows take no part.

    Attributes:
        clip: How far a value may move from its old one before the larger of both errors counts; None = no clip.
        coefficient: Weight of the loss.
        aggregation: "grpo", "bnpo", "dr_grpo", "dapo" or "sum"; see `aggregate_loss`.
    """

    clip: float | None = 0.2
    coefficient: float = 1.0
    aggregation: str = "dapo"
    writes: ClassVar[tuple[str, ...]] = ()
    trains: ClassVar[str] = "critic"

    def __post_init__(self) -> None:
        if self.clip is not None and not self.clip > 0.0:
            raise ValueError(f"ValueLoss.clip is {self.clip}: expected a positive number, or None")
        if not self.coefficient >= 0.0:
            raise ValueError(f"ValueLoss.coefficient is {self.coefficient}: expected 0 or more")
        if self.aggregation not in VALUE_AGGREGATIONS:
            raise ValueError(f"ValueLoss.aggregation is {self.aggregation!r}: expected one of {VALUE_AGGREGATIONS}")

    @property
    def reads(self) -> tuple[str, ...]:
        """What the loss reads: the old values only for the clip."""
        return ("mask", "outcome", "tokens/returns", *(("tokens/values",) if self.clip is not None else ()))

    def __call__(self, values: Tensor, batch: Batch) -> Loss:
        """Return the loss of values (B, T) on a batch of the same rows.

        Raises:
            ValueError: Shapes differ, or `tokens["returns"]` or `tokens["values"]` are missing.
        """
        rollouts = batch.rollouts
        if values.shape != rollouts.mask.shape:
            raise ValueError(f"values has shape {tuple(values.shape)}: expected {tuple(rollouts.mask.shape)}")
        for name in ("returns", *(("values",) if self.clip is not None else ())):
            if name not in rollouts.tokens:
                raise ValueError(f"tokens has no {name!r}: there are {sorted(rollouts.tokens)}")
        returns = rollouts.tokens["returns"]
        usable = rollouts.mask & rollouts.scored[:, None] & ~torch.isnan(returns)
        old = rollouts.tokens.get("values")
        error = squared_value_error(*_usable(values, returns, usable), old, self.clip)
        counts: Counts = batch.divisors
        loss = self.coefficient * aggregate_loss(error, usable, self.aggregation, counts)
        moved = torch.zeros_like(usable) if old is None or self.clip is None else (values - old).abs() > self.clip
        share = ops.masked_mean(moved.float(), usable)
        return Loss(loss, {"value_clip_fraction": float(share), "value_mean": float(_mean(values, usable))})


def _mean(values: Tensor, usable: Tensor) -> Tensor:
    return ops.masked_mean(values.detach().float(), usable)
