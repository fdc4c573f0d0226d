"""Fixed curves that rewards are passed through: a logarithmic boost, weaker negatives, squashing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from guerdon import ops
from guerdon.rollouts import Rollouts
from guerdon.shape.elementwise import TARGETS

SQUASHES = (None, "tanh", "sigmoid")


def log_boost(x: Tensor, a: float = 10.0) -> Tensor:
    """ln(1 + a x) / ln(1 + a): keeps 0 and 1 and lifts what lies between, rare successes most (arXiv 2511.10279).

    Args:
        x: Float tensor of values of 0 or more, meant for [0, 1]; NaN stays NaN.
        a: Strength, above 0.

    Returns:
        Like `x`. Differentiable.

    Raises:
        ValueError: A negative value, or `a` not above 0.

    Example:
        >>> import torch
        >>> log_boost(torch.tensor([0.0, 0.5, 1.0]))
        tensor([0.0000, 0.7472, 1.0000])
    """
    if not a > 0:
        raise ValueError(f"a is {a}: expected a number above 0")
    if bool((x < 0).any()):
        raise ValueError(f"x has {float(x[x < 0].flatten()[0])}: expected numbers of 0 or more, or NaN")
    return torch.log1p(a * x) / math.log1p(a)


def reshape_negatives(outcome: Tensor, group: Tensor) -> Tensor:
    """Right = 1, wrong = -(1 - p), p the share of right responses of the group (arXiv 2502.06781).

    This is not the advantage of a leave-one-out baseline, which weighs wrong against right the other way round in p.

    Args:
        outcome: (B,) float in {0, 1}; NaN rows take no part and stay NaN.
        group: (B,) int64.

    Returns:
        (B,) of the dtype of `outcome`.

    Raises:
        ValueError: Another outcome.

    Example:
        >>> import torch
        >>> reshape_negatives(torch.tensor([1.0, 0.0, 0.0, 0.0]), torch.zeros(4, dtype=torch.int64)).tolist()
        [1.0, -0.75, -0.75, -0.75]
    """
    wrong = ~torch.isnan(outcome) & (outcome != 0) & (outcome != 1)
    if bool(wrong.any()):
        row = int(wrong.nonzero()[0])
        raise ValueError(f"outcome in row {row} is {float(outcome[row])}: expected 0, 1 or NaN")
    share = ops.mean(outcome, group)
    return torch.where(outcome == 0, share - 1.0, outcome)


def squash(x: Tensor, kind: str | None = "tanh") -> Tensor:
    """Bound values by tanh or the sigmoid; None leaves them as they are. NaN stays NaN.

    Raises:
        ValueError: An unknown kind.
    """
    if kind not in SQUASHES:
        raise ValueError(f"kind is {kind!r}: expected one of {SQUASHES}")
    if kind is None:
        return x
    return torch.tanh(x) if kind == "tanh" else torch.sigmoid(x)


def _check(stage: str, target: str) -> None:
    if target not in TARGETS:
        raise ValueError(f"{stage}.target is {target!r}: expected one of {TARGETS}")


@dataclass(frozen=True)
class LogBoost:
    """Lift small outcomes or process rewards; see `log_boost`.

    Attributes:
        a: Strength, above 0.
        target: "outcome" or "process".
    """

    a: float = 10.0
    target: str = "outcome"
    reads: ClassVar[tuple[str, ...]] = TARGETS
    writes: ClassVar[tuple[str, ...]] = TARGETS

    def __post_init__(self) -> None:
        _check("LogBoost", self.target)
        if not self.a > 0:
            raise ValueError(f"LogBoost.a is {self.a}: expected a number above 0")

    def __call__(self, rollouts: Rollouts) -> Rollouts:
        """Return the rollouts with lifted rewards."""
        return rollouts.replace(**{self.target: log_boost(getattr(rollouts, self.target), self.a)})


@dataclass(frozen=True)
class ReshapeNegatives:
    """Turn outcomes 0 and 1 into -(1 - pass rate of the group) and 1; see `reshape_negatives`."""

    reads: ClassVar[tuple[str, ...]] = ("outcome", "group")
    writes: ClassVar[tuple[str, ...]] = ("outcome",)

    def __call__(self, rollouts: Rollouts) -> Rollouts:
        """Return the rollouts with reshaped outcomes."""
        return rollouts.replace(outcome=reshape_negatives(rollouts.outcome, rollouts.group))


@dataclass(frozen=True)
class Squash:
    """Bound outcomes or process rewards by a curve; see `squash`.

    Attributes:
        kind: "tanh" or "sigmoid".
        target: "outcome" or "process".
    """

    kind: str = "tanh"
    target: str = "outcome"
    reads: ClassVar[tuple[str, ...]] = TARGETS
    writes: ClassVar[tuple[str, ...]] = TARGETS

    def __post_init__(self) -> None:
        _check("Squash", self.target)
        if self.kind not in SQUASHES[1:]:
            raise ValueError(f"Squash.kind is {self.kind!r}: expected one of {SQUASHES[1:]}")

    def __call__(self, rollouts: Rollouts) -> Rollouts:
        """Return the rollouts with bounded rewards."""
        return rollouts.replace(**{self.target: squash(getattr(rollouts, self.target), self.kind)})
