"""Rewards that must all hold at once: the signed geometric mean (KRC, arXiv 2305.15801), and shapes of distances.

A weighted sum lets one component buy off another. The geometric mean is 0 as soon as one component is, and the sign
rule makes it negative as soon as one is, however many are: two wrongs never give a positive reward.

Where this departs from the paper: the text gives a plus only where all components are above 0, the official code, and
this, where none is below; the two differ only where the result is 0 anyway.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from guerdon.rollouts import Rollouts
from guerdon.terms import term


def krc(components: Tensor) -> Tensor:
    """Signed geometric mean: (prod |r_i|)^(1/n), with a plus if no component is below 0, else with a minus.

    Args:
        components: (..., n) float, n >= 1, usually in [-1, 1].

    Returns:
        (...) float. Its size lies between the smallest and the largest size of the components.

    Raises:
        ValueError: No component, or one that is not finite.

    Example:
        >>> krc(torch.tensor([[0.9, 0.4], [-0.9, -0.4], [0.0, 0.9]])).tolist()
        [0.6000000238418579, -0.6000000238418579, 0.0]
    """
    if components.ndim < 1 or components.shape[-1] < 1:
        raise ValueError(f"components have shape {tuple(components.shape)}: expected (..., n) with n >= 1")
    values = components if components.is_floating_point() else components.to(torch.get_default_dtype())
    bad = ~torch.isfinite(values)
    if bad.any():
        place = [int(index) for index in bad.nonzero()[0]]
        raise ValueError(f"components{place} is {float(values[tuple(place)])}: expected a finite number")
    working = values if values.dtype == torch.float64 else values.float()
    # The product of the roots, as the root of the product would be 0 for many small components.
    size = working.abs().pow(1.0 / working.shape[-1]).prod(-1)
    return torch.where((working >= 0).all(-1), size, -size).to(values.dtype)


def distance_shape(d: Tensor, scale: float, dispersion: float = 1.0, density: float = 1.0) -> Tensor:
    """A reward for being near: exp(-d / (2 scale dispersion))^(1 / density), 1 at distance 0.

    Args:
        d: (...) float, distances in the unit of `scale`.
        scale: Above 0, what counts as far.
        dispersion: Above 0; larger reaches wider.
        density: Above 0; larger is flatter and higher.

    Returns:
        (...) float.

    Raises:
        ValueError: `scale`, `dispersion` or `density` is not above 0.
    """
    _expect_positive(scale=scale, dispersion=dispersion, density=density)
    return torch.exp(-0.5 * d / (scale * dispersion)).pow(1.0 / density)


def signed_distance_shape(d: Tensor, scale: float, dispersion: float = 1.0, density: float = 1.0) -> Tensor:
    """A reward from 1 for near to -1 for far: s = 2 exp(-d / (2 scale dispersion)) - 1, as sign(s) |s|^(1 / density).

    Args and errors are those of `distance_shape`.
    """
    _expect_positive(scale=scale, dispersion=dispersion, density=density)
    centred = 2.0 * torch.exp(-0.5 * d / (scale * dispersion)) - 1.0
    return centred.sign() * centred.abs().pow(1.0 / density)


@dataclass(frozen=True)
class GeometricAnd:
    """The outcome becomes the signed geometric mean of several scores: format and correctness and brevity, say.

    A row with any score missing (NaN) has no outcome. Components are best in [-1, 1] or [0, 1].

    Attributes:
        terms: "outcome", "process", "length" or names of columns.
        aggregate: How process rewards become one number a row; see `guerdon.ops.aggregate`.

    Example:
        >>> mask = torch.ones(2, 1, dtype=torch.bool)
        >>> rollouts = Rollouts(group=[0, 0], mask=mask, outcome=[1.0, 1.0], columns={"format": [0.25, 0.0]})
        >>> GeometricAnd(("outcome", "format"))(rollouts).outcome.tolist()
        [0.5, 0.0]
    """

    terms: tuple[str, ...] = ("outcome", "process")
    aggregate: str = "mean"
    writes: ClassVar[tuple[str, ...]] = ("outcome",)

    def __post_init__(self) -> None:
        if not self.terms:
            raise ValueError("GeometricAnd.terms is empty: expected at least one")

    @property
    def reads(self) -> tuple[str, ...]:
        """The terms."""
        return self.terms

    def __call__(self, rollouts: Rollouts) -> Rollouts:
        """Return the rollouts with the combined outcome, and each term under `and/<name>`."""
        values = torch.stack([term(rollouts, name, self.aggregate) for name in self.terms], dim=-1)
        scored = ~torch.isnan(values).any(-1)
        combined = torch.full_like(values[:, 0], torch.nan)
        combined[scored] = krc(values[scored])
        parts = {f"and/{name}": values[:, place].tolist() for place, name in enumerate(self.terms)}
        return rollouts.replace(outcome=combined).with_columns(**parts)


def _expect_positive(**numbers: float) -> None:
    for name, value in numbers.items():
        if not value > 0:
            raise ValueError(f"{name} is {value}: expected a number above 0")
