"""Which rows take part in the statistics, which are trained on, and why the others are not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Selection:
    """The verdict of a `select` stage on B rows.

    Attributes:
        kept: (B,) bool. Rows that take part in baselines and normalisation.
        trained: (B,) bool, a subset of `kept`. Rows that cost a forward and backward pass. Default: `kept`.
        weights: (B,) float32, not negative. Weight of each row in the loss. Default: 1.
        reason: Length-B tuple: why the row is not trained on, "" for trained rows. Default: "dropped".
        pairs: (P, 2) int64 (chosen row, rejected row), or None.
        pair_weights: (P,) float32, or None.
        metrics: Name -> number, what the stage reports.

    Raises:
        ValueError: Shapes differ, a trained row is not kept, a weight is negative, a dropped row has no reason.

    Example:
        >>> import torch
        >>> Selection.keep(torch.tensor([True, False]), reason="too long").reason
        ('', 'too long')
    """

    kept: Tensor
    trained: Tensor = None  # type: ignore[assignment]  # filled on construction
    weights: Tensor = None  # type: ignore[assignment]
    reason: Sequence[str] = ()
    pairs: Tensor | None = None
    pair_weights: Tensor | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        def write(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        if self.kept.ndim != 1 or self.kept.dtype != torch.bool:
            raise ValueError(f"kept is {tuple(self.kept.shape)} of {self.kept.dtype}: expected (B,) bool")
        rows = len(self.kept)
        if self.trained is None:
            write("trained", self.kept)
        if self.weights is None:
            write("weights", torch.ones(rows, device=self.kept.device))
        if not self.reason:
            write("reason", tuple("" if bool(row) else "dropped" for row in self.trained))
        write("reason", tuple(self.reason))
        write("metrics", MappingProxyType(dict(self.metrics)))
        self._check(rows)

    def _check(self, rows: int) -> None:
        if self.trained.shape != (rows,) or self.trained.dtype != torch.bool:
            raise ValueError(f"trained is {tuple(self.trained.shape)} of {self.trained.dtype}: expected ({rows},) bool")
        outside = self.trained & ~self.kept
        if bool(outside.any()):
            raise ValueError(f"trained in row {int(outside.nonzero()[0])} is True but kept is False: expected a subset")
        if self.weights.shape != (rows,) or bool((~(self.weights >= 0) | torch.isinf(self.weights)).any()):
            raise ValueError(f"weights: expected {rows} finite numbers of 0 or more, got {self.weights.tolist()}")
        if len(self.reason) != rows:
            raise ValueError(f"reason has {len(self.reason)} rows: expected {rows}")
        for row, (reason, trained) in enumerate(zip(self.reason, self.trained.tolist(), strict=True)):
            if bool(reason) == trained:
                raise ValueError(f"reason in row {row} is {reason!r}: expected text for exactly the untrained rows")
        if self.pairs is not None and (self.pairs.ndim != 2 or self.pairs.shape[1] != 2):
            raise ValueError(f"pairs has shape {tuple(self.pairs.shape)}: expected (P, 2)")
        if self.pairs is not None and bool(((self.pairs < 0) | (self.pairs >= rows)).any()):
            raise ValueError(f"pairs: expected row indices of a batch of {rows}")
        if self.pair_weights is not None and (self.pairs is None or self.pair_weights.shape != self.pairs.shape[:1]):
            raise ValueError("pair_weights: expected one weight for each of the pairs")

    @staticmethod
    def all(rows: int, device: torch.device | str = "cpu") -> Selection:
        """Keep and train on every row."""
        return Selection(torch.ones(rows, dtype=torch.bool, device=device))

    @staticmethod
    def keep(kept: Tensor, reason: str, metrics: Mapping[str, float] | None = None) -> Selection:
        """Keep and train on the rows of a (B,) bool mask, with one reason for all others."""
        return Selection(kept, reason=tuple("" if row else reason for row in kept.tolist()), metrics=metrics or {})

    def then(self, later: Selection) -> Selection:
        """Combine with a later selection made on the rows that this one kept.

        Args:
            later: Selection over `kept.sum()` rows, in their order.

        Returns:
            A selection over this one's rows; weights multiply; the first reason is kept; the later pairs count.
        """
        index = self.kept.nonzero().squeeze(1)
        if len(later.kept) != len(index):
            raise ValueError(f"later selection has {len(later.kept)} rows: expected the {len(index)} kept rows")
        kept, trained, weights = self.kept.clone(), self.trained.clone(), self.weights.clone()
        kept[index] = later.kept
        trained[index] &= later.trained
        weights[index] = weights[index] * later.weights
        reason = list(self.reason)
        for row, text in zip(index.tolist(), later.reason, strict=True):
            reason[row] = reason[row] or text
        pairs = self.pairs if later.pairs is None else index[later.pairs]
        pair_weights = self.pair_weights if later.pairs is None else later.pair_weights
        metrics = {**self.metrics, **later.metrics}
        return Selection(kept, trained, weights, reason, pairs, pair_weights, metrics)

    def reasons(self) -> dict[str, int]:
        """Count the reasons of the untrained rows, the most frequent first."""
        return dict(Counter(text for text in self.reason if text).most_common())
