"""One reward from several dimensions of a response, each normalised inside its group (arXiv 2510.11457)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from guerdon import ops
from guerdon.rollouts import Rollouts
from guerdon.shape.blend import NORMS, combine
from guerdon.terms import flags, term

DIMENSIONS = ("dimension/confidence", "dimension/relevance", "dimension/coherence")


def dimension_reward(
    scores: Mapping[str, Tensor],
    weights: Mapping[str, float],
    group_ids: Tensor,
    norm: str = "zscore",
    complete: Tensor | None = None,
) -> Tensor:
    """Weighted sum of dimensions, each as a z-score of its group (population standard deviation).

    Args:
        scores: Name -> (B,) float; NaN = not scored.
        weights: Name -> weight; a dimension of weight 0 takes no part at all.
        group_ids: (B,) int64.
        norm: "zscore", "rank" or "none"; see `guerdon.shape.blend.combine`.
        complete: (B,) bool, responses that have all parts; the others stay out of means and deviations, and get the
            smallest reward of their group. None = all.

    Returns:
        (B,) float; NaN where a dimension is not scored, and in groups without any complete response.

    Raises:
        ValueError: Names differ, or an unknown norm.
    """
    value = combine(scores, weights, key=group_ids, norm=norm, where=complete)
    if complete is None:
        return value
    lowest = ops.min(torch.where(complete, value, torch.nan), group_ids)
    return torch.where(complete, value, lowest)


@dataclass(frozen=True)
class DimensionReward:
    """Blends dimensions that are columns, or the outcome, into one reward; see `dimension_reward`.

    Attributes:
        terms: "outcome", "process" or names of columns.
        weights: One weight a term.
        norm: How each is normalised inside its group: "zscore", "rank" or "none".
        complete: The column of flags that says which responses have all parts; "" = all.
        write: "outcome", or the name of the column that is filled.
    """

    terms: tuple[str, ...] = DIMENSIONS
    weights: tuple[float, ...] = (1 / 3, 1 / 3, 1 / 3)
    norm: str = "zscore"
    complete: str = "dimension/complete"
    write: str = "drm"

    def __post_init__(self) -> None:
        if len(self.terms) != len(self.weights) or not self.terms:
            raise ValueError(f"DimensionReward has terms {self.terms}, weights {self.weights}: expected one a term")
        if self.norm not in NORMS:
            raise ValueError(f"DimensionReward.norm is {self.norm!r}: expected one of {NORMS}")

    @property
    def reads(self) -> tuple[str, ...]:
        """What is read."""
        return (*self.terms, "group", *((self.complete,) if self.complete else ()))

    @property
    def writes(self) -> tuple[str, ...]:
        """What is written."""
        return (self.write,)

    def __call__(self, rollouts: Rollouts) -> Rollouts:
        """Return the rollouts with the reward."""
        value = dimension_reward(
            {name: term(rollouts, name) for name in self.terms},
            dict(zip(self.terms, self.weights, strict=True)),
            rollouts.group,
            self.norm,
            flags(rollouts, self.complete) if self.complete else None,
        )
        if self.write == "outcome":
            return rollouts.replace(outcome=value)
        return rollouts.with_columns(**{self.write: value.tolist()})
