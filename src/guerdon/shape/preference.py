"""Reward-model scores relative to those of reference responses to the same prompt.

PAR is the mean probability of being preferred to a reference (arXiv 2502.18770); LSC is the logarithm of the
probability of being good, which adds up over properties to a logical and (arXiv 2402.00742). The other curves are the
first paper's controls. All are computed in at least float32: a sigmoid in bfloat16 is flat from 6 on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from guerdon.ops.distribution import reference_quantile
from guerdon.rollouts import Rollouts
from guerdon.shape.blend import combine
from guerdon.shape.terms import keep_raw, sets_of_numbers
from guerdon.terms import term

CURVES = ("sigmoid", "tanh", "polynomial", "linear")
METHODS = ("empirical", "gaussian")
_POLYNOMIAL_RANGE = 5.0


def _wide(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.to(torch.float32)


@lru_cache(maxsize=1)
def _polynomial() -> tuple[float, ...]:
    """Coefficients, constant first, of the least-squares polynomial of degree 5 of the sigmoid on [-5, 5]."""
    z = np.linspace(-_POLYNOMIAL_RANGE, _POLYNOMIAL_RANGE, 1001)
    return tuple(float(value) for value in np.polyfit(z, 1.0 / (1.0 + np.exp(-z)), 5)[::-1])


def _curve(z: Tensor, curve: str) -> Tensor:
    if curve == "sigmoid":
        return torch.sigmoid(z)
    if curve == "tanh":
        return torch.tanh(z)
    if curve == "linear":
        return z
    value = torch.zeros_like(z)
    for coefficient in reversed(_polynomial()):
        value = value * z + coefficient
    value = torch.where(z > _POLYNOMIAL_RANGE, 1.0, value)
    return torch.where(z < -_POLYNOMIAL_RANGE, 0.0, value)


def _references(refs: Tensor | Sequence[Sequence[float]], rows: int, device: torch.device) -> Tensor:
    table = refs if isinstance(refs, Tensor) else sets_of_numbers("refs", refs).to(device)
    if table.ndim != 2 or len(table) != rows:
        raise ValueError(f"refs has shape {tuple(table.shape)}: expected ({rows}, M), the references of each row")
    return table


def par(
    r: Tensor,
    refs: Tensor | Sequence[Sequence[float]],
    k: float = 1.0,
    max_ref: int | None = 10,
    *,
    curve: str = "sigmoid",
    offset: float = 0.0,
) -> Tensor:
    """Mean over the references of sigmoid(k (r - r_ref)).

    Args:
        r: (B,) float, raw scores; NaN stays NaN.
        refs: (B, M) float, scores of reference responses to the same prompt, padded with NaN; or B sequences.
        k: Steepness.
        max_ref: How many references of a row are used, the first ones; None = all.
        curve: "sigmoid", "tanh", "polynomial" (the sigmoid's fit of degree 5 on [-5, 5], 0 and 1 beyond), or "linear"
            (the mean difference itself).
        offset: Is taken off the difference first; 3 with the sigmoid grows slowly at the reference, which is the
            paper's negative control.

    Returns:
        (B,) float32 (float64 for float64 scores). Differentiable.

    Raises:
        ValueError: A scored row without references, wrong shapes, or an unknown curve.

    Example:
        >>> import torch
        >>> par(torch.tensor([2.0, -1.0]), [[0.0, 1.0, 3.0], [0.0, 1.0, 3.0]])
        tensor([0.6269, 0.1354])
    """
    if curve not in CURVES:
        raise ValueError(f"curve is {curve!r}: expected one of {CURVES}")
    if max_ref is not None and max_ref < 1:
        raise ValueError(f"max_ref is {max_ref}: expected at least 1, or None")
    table = _wide(_references(refs, len(r), r.device))
    valid = ~torch.isnan(table)
    if max_ref is not None:
        valid &= valid.cumsum(1) <= max_ref
    number = valid.sum(1)
    _refuse_bare(r, number)
    # Filled before the curve, so that a missing score has gradient 0 and not NaN.
    gap = torch.where(torch.isnan(r), 0.0, _wide(r))[:, None] - torch.where(valid, table, 0.0)
    value = torch.where(valid, _curve(k * (gap - offset), curve), 0.0).sum(1)
    return torch.where((number > 0) & ~torch.isnan(r), value / number.clamp(min=1), torch.nan)


def _refuse_bare(r: Tensor, number: Tensor) -> None:
    bare = (number == 0) & ~torch.isnan(r)
    if bool(bare.any()):
        row = int(bare.nonzero()[0])
        raise ValueError(f"refs of row {row} are empty: expected at least one reference score of its prompt")


def lsc(r: Tensor, r_ref: Tensor) -> Tensor:
    """Log-probability that a response is good, log sigmoid(r - r_ref): below 0, flat far above the reference.

    Args:
        r: Float tensor of any shape; NaN stays NaN.
        r_ref: The score of a response that is good with probability one half; broadcasts against `r`.

    Returns:
        Float32 (float64 for float64 scores), finite for finite input. Differentiable.

    Raises:
        ValueError: An infinite score.

    Example:
        >>> import torch
        >>> lsc(torch.tensor([-2.0, 0.0, 2.0, 5.0]), torch.tensor(1.0))
        tensor([-3.0486, -1.3133, -0.3133, -0.0181])
    """
    if bool(torch.isinf(r).any()) or bool(torch.isinf(r_ref).any()):
        raise ValueError("r or r_ref has infinite scores: expected finite numbers, or NaN for what was not scored")
    return torch.nn.functional.logsigmoid(_wide(r) - _wide(r_ref))


def combine_lsc(rewards: Tensor, refs: Tensor, weights: Tensor | Sequence[float] | None = None) -> Tensor:
    """Sum of `lsc` over properties: the log-probability of being good in all, if they are judged independently.

    Args:
        rewards: (K, B) float; a NaN makes its column NaN.
        refs: (K, B) float, or (K, 1).
        weights: (K,); None = 1 each, which is what the theory says.

    Returns:
        (B,) float; its exponential is the probability.

    Raises:
        ValueError: Wrong shapes, or an infinite score.

    Example:
        >>> import torch
        >>> combine_lsc(torch.tensor([[2.0, 4.0], [1.0, -1.0]]), torch.zeros(2, 2)).exp()
        tensor([0.6439, 0.2641])
    """
    if rewards.ndim != 2 or refs.ndim != 2 or len(refs) != len(rewards) or refs.shape[1] not in (1, rewards.shape[1]):
        raise ValueError(f"rewards {tuple(rewards.shape)}, refs {tuple(refs.shape)}: expected (K, B) and (K, B)")
    factors = [1.0] * len(rewards) if weights is None else [float(weight) for weight in weights]
    return combine(list(lsc(rewards, refs)), factors)


def good_probability(rewards: Tensor, refs: Tensor, weights: Tensor | Sequence[float] | None = None) -> Tensor:
    """Probability of being good in every property: exp of `combine_lsc`, with the same arguments."""
    return combine_lsc(rewards, refs, weights).exp()


@dataclass(frozen=True)
class PreferenceAsReward:
    """Replace the outcome by the mean probability of being preferred to the prompt's references; see `par`.

    The column `raw_outcome` keeps the scores.

    Attributes:
        k: Steepness.
        max_ref: How many references of a row are used; None = all.
        curve: "sigmoid" (PAR), "tanh", "polynomial" or "linear" (centred scores).
        offset: Is taken off the difference first.
        centred: False = the references count as 0: the curve of the score alone.
        ceiling: Scores are cut to it first; None = no ceiling.
        references: Name of the column that holds a number or several a row: the references' scores.
    """

    k: float = 1.0
    max_ref: int | None = 10
    curve: str = "sigmoid"
    offset: float = 0.0
    centred: bool = True
    ceiling: float | None = None
    references: str = "references"
    writes: ClassVar[tuple[str, ...]] = ("outcome", "raw_outcome")

    def __post_init__(self) -> None:
        if self.curve not in CURVES:
            raise ValueError(f"PreferenceAsReward.curve is {self.curve!r}: expected one of {CURVES}")
        if self.max_ref is not None and self.max_ref < 1:
            raise ValueError(f"PreferenceAsReward.max_ref is {self.max_ref}: expected at least 1, or None")

    @property
    def reads(self) -> tuple[str, ...]:
        """The outcome and the references."""
        return ("outcome", self.references) if self.centred else ("outcome",)

    def __call__(self, rollouts: Rollouts) -> Rollouts:
        """Return the rollouts with bounded outcomes."""
        score = rollouts.outcome if self.ceiling is None else rollouts.outcome.clamp(max=self.ceiling)
        if self.centred:
            refs = sets_of_numbers(self.references, rollouts.column(self.references)).to(rollouts.device)
        else:
            refs = torch.zeros(len(rollouts), 1, device=rollouts.device)
        value = par(score, refs, self.k, self.max_ref, curve=self.curve, offset=self.offset)
        return keep_raw(rollouts).replace(outcome=value)


@dataclass(frozen=True)
class LogSigmoidCentred:
    """Replace the outcome by the sum over properties of log sigmoid(score - reference); see `lsc`.

    The reference of a prompt is a quantile of its references' scores, or the score itself where there is one only. The
    column `raw_outcome` keeps the outcome before.

    Attributes:
        terms: Names of the properties' scores: "outcome" or columns.
        references: Names of the columns of their references' scores, a number or several a row.
        quantiles: Which quantile is the reference, one a property.
        weights: One a property; None = 1 each.
        method: "empirical" or "gaussian"; see `guerdon.ops.reference_quantile`.
        std_eps: For "gaussian".
    """

    terms: tuple[str, ...] = ("outcome",)
    references: tuple[str, ...] = ("references",)
    quantiles: tuple[float, ...] = (0.85,)
    weights: tuple[float, ...] | None = None
    method: str = "empirical"
    std_eps: float = 0.0
    writes: ClassVar[tuple[str, ...]] = ("outcome", "raw_outcome")

    def __post_init__(self) -> None:
        sizes = {len(self.terms), len(self.references), len(self.quantiles)}
        sizes |= set() if self.weights is None else {len(self.weights)}
        if len(sizes) != 1 or not self.terms:
            raise ValueError(
                f"LogSigmoidCentred has {len(self.terms)} terms, {len(self.references)} references, "
                f"{len(self.quantiles)} quantiles: expected equal numbers above 0"
            )
        if self.method not in METHODS:
            raise ValueError(f"LogSigmoidCentred.method is {self.method!r}: expected one of {METHODS}")
        if any(not 0.0 < q < 1.0 for q in self.quantiles):
            raise ValueError(f"LogSigmoidCentred.quantiles is {self.quantiles}: expected numbers in (0, 1)")

    @property
    def reads(self) -> tuple[str, ...]:
        """The scores and their references."""
        return (*self.terms, *self.references)

    def __call__(self, rollouts: Rollouts) -> Rollouts:
        """Return the rollouts with log-probabilities of being good as outcomes."""
        scores = [term(rollouts, name) for name in self.terms]
        references = []
        for score, name, q in zip(scores, self.references, self.quantiles, strict=True):
            table = sets_of_numbers(name, rollouts.column(name)).to(rollouts.device)
            _refuse_bare(score, (~torch.isnan(table)).sum(1))
            if table.shape[1]:
                references.append(reference_quantile(table, q, self.method, self.std_eps))
            else:
                references.append(torch.full_like(score, torch.nan))
        value = combine_lsc(torch.stack(scores), torch.stack(references), self.weights)
        return keep_raw(rollouts).replace(outcome=value)
