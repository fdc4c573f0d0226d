"""Weighted sums of rewards of different kinds.

One function serves the sum of format, outcome and model rewards (arXiv 2510.05283, eq. 3), outcome + beta mean process
reward, alpha and 1 - alpha with alpha falling over the run (arXiv 2508.12800), and sums of z-scores (arXiv 2510.11457).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from guerdon import ops
from guerdon.ops.schedule import Schedule
from guerdon.rollouts import Rollouts
from guerdon.terms import flags, term

NORMS = ("none", "zscore", "rank")
ABSENT = ("nan", "drop", "reweight")


def combine(
    terms: Sequence[Tensor] | Mapping[str, Tensor],
    weights: Sequence[float] | Mapping[str, float],
    *,
    key: Tensor | None = None,
    norm: str = "none",
    missing: str | float = "nan",
    absent: str = "nan",
    where: Tensor | None = None,
    ddof: int = 0,
    eps: float = 0.0,
) -> Tensor:
    """Add rewards with weights, each first normalised inside its group if asked.

    Args:
        terms: One (N,) float tensor a term, in order or by name; NaN = not scored.
        weights: One weight a term, in the same order or by the same names. A term of weight 0 takes no part at all,
            so that it need not be scored.
        key: (N,) int64 groups for `norm` and for `missing="group_mean"`; None = one group.
        norm: "none"; "zscore" = (x - mean) / (standard deviation + eps) in the group, 0 without spread; "rank" =
            average rank in the group scaled to [0, 1], 0.5 for a group of one.
        missing: What a NaN term counts as: "nan" makes the sum NaN, "group_mean" takes the mean of the scored
            members of the group, a number is used as it is. It is filled before `norm`.
        absent: With `missing="group_mean"`, what a term counts as in a group of which no member was scored: "nan"
            makes the sums NaN; "drop" leaves the term out; "reweight" leaves it out and gives its weight to the other
            terms in proportion, so that the weights keep their sum.
        where: (N,) bool of rows that take part in means, deviations and ranks; the others get their own sum, normalised
            terms NaN.
        ddof: Degrees of freedom taken off in the standard deviation of "zscore", 0 or 1.
        eps: Is added to that standard deviation.

    Returns:
        (N,) float tensor. Differentiable for norm "none" and "zscore".

    Raises:
        ValueError: Terms and weights do not match, or an unknown choice.

    Example:
        >>> import torch
        >>> combine({"answer": torch.tensor([1.0, 0.0]), "format": torch.tensor([1.0, 1.0])},
        ...         {"answer": 1.0, "format": 0.5}).tolist()
        [1.5, 0.5]
    """
    values, factors = _matched(terms, weights)
    for name, choice, allowed in (("norm", norm, NORMS), ("absent", absent, ABSENT)):
        if choice not in allowed:
            raise ValueError(f"{name} is {choice!r}: expected one of {allowed}")
    if isinstance(missing, str) and missing not in ("nan", "group_mean"):
        raise ValueError(f"missing is {missing!r}: expected 'nan', 'group_mean' or a number")
    groups = torch.zeros(len(values[0]), dtype=torch.int64, device=values[0].device) if key is None else key
    total = torch.zeros_like(values[0])
    used = torch.zeros_like(values[0])
    for value, factor in zip(values, factors, strict=True):
        if factor == 0:
            continue
        filled = _filled(value, groups, missing, where)
        part = factor * _normalised(filled, groups, norm, where, ddof, eps)
        if absent != "nan" and missing == "group_mean":
            there = ops.count(value, groups, where) > 0
            part = torch.where(there, part, torch.zeros_like(part))
            used = used + factor * there.to(used.dtype)
        total = total + part
    if absent == "reweight" and missing == "group_mean":
        whole = float(sum(factors))
        total = torch.where(used != 0, total * (whole / torch.where(used != 0, used, 1.0)), torch.nan)
    return total


def _matched(
    terms: Sequence[Tensor] | Mapping[str, Tensor], weights: Sequence[float] | Mapping[str, float]
) -> tuple[list[Tensor], list[float]]:
    if isinstance(terms, Mapping) and isinstance(weights, Mapping):
        if set(terms) != set(weights):
            raise ValueError(f"combine got terms {sorted(terms)} and weights {sorted(weights)}: expected equal names")
        weights = [weights[name] for name in terms]
        terms = list(terms.values())
    if isinstance(terms, Mapping) or isinstance(weights, Mapping):
        raise ValueError("combine got names for one of terms and weights only: expected both by name or both in order")
    if len(terms) != len(weights) or not terms:
        raise ValueError(f"combine got {len(terms)} terms and {len(weights)} weights: expected equal numbers above 0")
    return list(terms), list(weights)


def _filled(value: Tensor, key: Tensor, missing: str | float, where: Tensor | None) -> Tensor:
    if missing == "nan":
        return value
    fill = ops.mean(value, key, where) if missing == "group_mean" else torch.full_like(value, float(missing))
    return torch.where(torch.isnan(value), fill, value)


def _normalised(value: Tensor, key: Tensor, norm: str, where: Tensor | None, ddof: int, eps: float) -> Tensor:
    if norm == "none":
        return value
    out = torch.isnan(value) if where is None else torch.isnan(value) | ~where
    counted = torch.where(out, torch.nan, value)
    if norm == "zscore":
        result = ops.normalize(counted, key, ddof=ddof, eps=eps)
    else:
        last = ops.count(counted, key) - 1
        rank = ops.rank(counted, key, descending=False, ties="average").to(value.dtype)
        result = torch.where(last > 0, rank / last.clamp(min=1), torch.full_like(value, 0.5))
    return torch.where(out, torch.nan, result)


@dataclass(frozen=True)
class Blend:
    """Replace the outcome by a weighted sum of reward terms; each weighted term is kept in a column `blend/<term>`.

    A term is "outcome", "process" (aggregated over the steps of the row) or the name of a column of numbers.

    Attributes:
        terms: Names of the terms.
        weights: One weight a term: a number, a `Schedule`, or None = what the others leave of 1.
        aggregate: How process rewards become one number a row; see `guerdon.ops.aggregate`.
        norm: How each term is normalised inside its group; see `combine`.
        missing: What an unscored term counts as; see `combine`.
        absent: What a term counts as that nobody of the group has; see `combine`.
        where: Name of a column of flags: rows that take part in the statistics of the group; None = all.
        ddof: Degrees of freedom taken off in the standard deviation of norm "zscore".
        eps: Is added to that standard deviation.

    Example:
        >>> from guerdon.ops import Schedule
        >>> falling = Schedule("linear", start=0.5, end=0.0)
        >>> Blend(("atoms", "outcome"), (falling, None)).weights_at(iteration=0, progress=0.4)
        (0.3, 0.7)
    """

    terms: tuple[str, ...] = ("outcome", "process")
    weights: tuple[float | Schedule | None, ...] = (1.0, 1.0)
    aggregate: str = "mean"
    norm: str = "none"
    missing: str | float = "nan"
    absent: str = "nan"
    where: str | None = None
    ddof: int = 0
    eps: float = 0.0
    writes: ClassVar[tuple[str, ...]] = ("outcome",)

    def __post_init__(self) -> None:
        if len(self.terms) != len(self.weights) or not self.terms:
            raise ValueError(f"Blend has terms {self.terms} and weights {self.weights}: expected one weight a term")
        if sum(weight is None for weight in self.weights) > 1:
            raise ValueError(f"Blend.weights is {self.weights}: expected at most one None")
        if self.norm not in NORMS:
            raise ValueError(f"Blend.norm is {self.norm!r}: expected one of {NORMS}")
        if self.absent not in ABSENT:
            raise ValueError(f"Blend.absent is {self.absent!r}: expected one of {ABSENT}")

    @property
    def reads(self) -> tuple[str, ...]:
        """The terms, the groups and the column of flags."""
        return (*self.terms, "group", *(() if self.where is None else (self.where,)))

    def weights_at(self, iteration: int, progress: float) -> tuple[float, ...]:
        """The weights at a place in the run."""
        return ops.weights_at(self.weights, iteration, progress)

    def __call__(self, rollouts: Rollouts) -> Rollouts:
        """Return the rollouts with the blended outcome."""
        weights = self.weights_at(rollouts.iteration, rollouts.progress)
        terms = [term(rollouts, name, self.aggregate) for name in self.terms]
        where = None if self.where is None else flags(rollouts, self.where)
        blended = combine(
            terms,
            weights,
            key=rollouts.group,
            norm=self.norm,
            missing=self.missing,
            absent=self.absent,
            where=where,
            ddof=self.ddof,
            eps=self.eps,
        )
        parts = {
            f"blend/{name}": (weight * value).tolist()
            for name, weight, value in zip(self.terms, weights, terms, strict=True)
        }
        return rollouts.replace(outcome=blended).with_columns(**parts)
