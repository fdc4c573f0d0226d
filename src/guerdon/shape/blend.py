"""Weighted sums of rewards of different kinds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from guerdon import ops
from guerdon.rollouts import Rollouts

NORMS = ("none", "zscore", "rank")


def combine(
    terms: Sequence[Tensor],
    weights: Sequence[float],
    *,
    key: Tensor | None = None,
    norm: str = "none",
    missing: str | float = "nan",
) -> Tensor:
    """Add rewards with weights, each first normalised inside its group if asked.

    Args:
        terms: One (N,) float tensor a term; NaN = not scored.
        weights: One weight a term.
        key: (N,) int64 groups for `norm` and for `missing="group_mean"`; None = one group.
        norm: "none"; "zscore" = (x - mean) / (sample standard deviation + 1e-6) in the group; "rank" = average rank
            in the group scaled to [0, 1], 0.5 for a group of one.
        missing: What a NaN term counts as: "nan" makes the sum NaN, "group_mean" takes the mean of the scored
            members of the group (NaN where there is none), a number is used as it is. It is filled before `norm`.

    Returns:
        (N,) float tensor.

    Raises:
        ValueError: Numbers of terms and weights differ, or an unknown `norm` or `missing`.
    """
    if len(terms) != len(weights) or not terms:
        raise ValueError(f"combine got {len(terms)} terms and {len(weights)} weights: expected equal numbers above 0")
    if norm not in NORMS:
        raise ValueError(f"norm is {norm!r}: expected one of {NORMS}")
    if isinstance(missing, str) and missing not in ("nan", "group_mean"):
        raise ValueError(f"missing is {missing!r}: expected 'nan', 'group_mean' or a number")
    groups = torch.zeros(len(terms[0]), dtype=torch.int64, device=terms[0].device) if key is None else key
    total = torch.zeros_like(terms[0])
    for term, weight in zip(terms, weights, strict=True):
        total = total + weight * _normalised(_filled(term, groups, missing), groups, norm)
    return total


def _filled(term: Tensor, key: Tensor, missing: str | float) -> Tensor:
    if missing == "nan":
        return term
    value = ops.mean(term, key) if missing == "group_mean" else torch.full_like(term, float(missing))
    return torch.where(torch.isnan(term), value, term)


def _normalised(term: Tensor, key: Tensor, norm: str) -> Tensor:
    if norm == "none":
        return term
    absent = torch.isnan(term)
    if norm == "zscore":
        value = ops.normalize(term, key, ddof=1, eps=1e-6)
    else:
        last = ops.count(term, key) - 1
        rank = ops.rank(term, key, descending=False, ties="average").to(term.dtype)
        value = torch.where(last > 0, rank / last.clamp(min=1), torch.full_like(term, 0.5))
    return torch.where(absent, term, value)


@dataclass(frozen=True)
class Blend:
    """Replace the outcome by a weighted sum of reward terms.

    A term is "outcome", "process" (aggregated over the steps of the row) or the name of a column of numbers.

    Attributes:
        terms: Names of the terms.
        weights: One weight a term.
        aggregate: How process rewards become one number a row; see `guerdon.ops.aggregate`.
        norm: How each term is normalised inside its group; see `combine`.
        missing: What an unscored term counts as; see `combine`.
    """

    terms: tuple[str, ...] = ("outcome", "process")
    weights: tuple[float, ...] = (1.0, 1.0)
    aggregate: str = "mean"
    norm: str = "none"
    missing: str | float = "nan"
    reads: ClassVar[tuple[str, ...]] = ("outcome", "process", "group")
    writes: ClassVar[tuple[str, ...]] = ("outcome",)

    def __post_init__(self) -> None:
        if len(self.terms) != len(self.weights) or not self.terms:
            raise ValueError(f"Blend has terms {self.terms} and weights {self.weights}: expected one weight a term")
        if self.norm not in NORMS:
            raise ValueError(f"Blend.norm is {self.norm!r}: expected one of {NORMS}")

    def __call__(self, rollouts: Rollouts) -> Rollouts:
        """Return the rollouts with the blended outcome."""
        terms = [self._term(rollouts, name) for name in self.terms]
        blended = combine(terms, self.weights, key=rollouts.group, norm=self.norm, missing=self.missing)
        return rollouts.replace(outcome=blended)

    def _term(self, rollouts: Rollouts, name: str) -> Tensor:
        if name == "outcome":
            return rollouts.outcome
        if name == "process":
            return ops.aggregate(rollouts.process, self.aggregate)
        values = [torch.nan if value is None else float(value) for value in rollouts.column(name)]
        return torch.tensor(values, dtype=torch.float32, device=rollouts.device)
