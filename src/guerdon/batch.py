"""What a recipe hands to the trainer: the kept rows with their advantages and weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from guerdon.rollouts import Rollouts
from guerdon.selection import Selection


@dataclass(frozen=True)
class Counts:
    """What the loss is divided by, when one optimiser step is cut into several pieces.

    Attributes:
        sequences: Number of sequences that the mean over sequences runs over.
        tokens: Number of policy tokens that the mean over tokens runs over.
        pieces: Number of pieces of the step, for aggregations that average over each piece's own tokens.
        max_length: Largest possible number of tokens of a response, for aggregations by a constant.
    """

    sequences: float
    tokens: float
    pieces: float
    max_length: int


@dataclass(frozen=True, eq=False)
class Batch:
    """K kept rows, ready for an objective.

    Attributes:
        rollouts: The K kept rows.
        advantages: (K, T) float32, 0 outside the mask.
        weights: (K,) float32. Multiplies the row's advantages in the loss.
        trained: (K,) bool. Rows that cost a forward and backward pass.
        rows: (K,) int64. Where each row was in the scored batch.
        scored: All rows as the scorers left them, or None for a piece of a batch.
        selection: The verdict on every row of `scored`, or None for a piece of a batch.
        metrics: Metrics of all stages.
        counts: What the loss is divided by; None = this batch's own numbers.
        birth: Iteration at which the responses were sampled.
    """

    rollouts: Rollouts
    advantages: Tensor
    weights: Tensor
    trained: Tensor
    rows: Tensor
    scored: Rollouts | None = None
    selection: Selection | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    counts: Counts | None = None
    birth: int = 0

    def __post_init__(self) -> None:
        expected = tuple(self.rollouts.mask.shape)
        if tuple(self.advantages.shape) != expected:
            raise ValueError(f"advantages has shape {tuple(self.advantages.shape)}: expected {expected}")
        for name in ("weights", "trained", "rows"):
            shape = tuple(getattr(self, name).shape)
            if shape != expected[:1]:
                raise ValueError(f"{name} has shape {shape}: expected {expected[:1]}")
        wrong = ~torch.isfinite(self.advantages) | ((self.advantages != 0) & ~self.rollouts.mask)
        if bool(wrong.any()):
            row = int(wrong.any(1).nonzero()[0])
            raise ValueError(
                f"advantages in row {row} are {self.advantages[row].tolist()}: expected finite numbers, "
                "0 outside the mask"
            )

    def __len__(self) -> int:
        return len(self.rollouts)

    def __getitem__(self, rows: Tensor | slice | Sequence[int]) -> Batch:
        """Take a piece of the batch, by mask, indices or slice; `counts` stays as it is."""
        index = self.rollouts.rows(rows)
        return dataclasses.replace(
            self,
            rollouts=self.rollouts[index],
            advantages=self.advantages[index],
            weights=self.weights[index],
            trained=self.trained[index],
            rows=self.rows[index],
            scored=None,
            selection=None,
        )

    @property
    def training(self) -> Batch:
        """The piece of the batch that costs a forward and backward pass."""
        return self[self.trained]

    @property
    def divisors(self) -> Counts:
        """What the loss is divided by: `counts`, or this batch's own numbers."""
        if self.counts is not None:
            return self.counts
        tokens = float(self.rollouts.mask.sum())
        return Counts(float(len(self)), tokens, 1.0, self.rollouts.n_tokens)

    def annotated(self) -> Rollouts:
        """All scored rows with what the recipe made of them, for storage.

        Returns:
            `scored` with `tokens["advantage"]` (NaN where a row was dropped from the statistics) and the columns
            `kept`, `trained`, `dropped_because` ("" for trained rows) and `weight`.

        Raises:
            ValueError: The batch is a piece of a batch, which doesn't know the dropped rows.
        """
        if self.scored is None or self.selection is None:
            raise ValueError("annotated needs the whole batch: this is a piece of one")
        advantage = torch.full(self.scored.mask.shape, torch.nan, device=self.scored.device)
        advantage[self.rows] = self.advantages
        return self.scored.with_tokens(advantage=advantage).with_columns(
            kept=self.selection.kept.tolist(),
            trained=self.selection.trained.tolist(),
            dropped_because=self.selection.reason,
            weight=self.selection.weights.tolist(),
        )
