"""Rewards changed one by one: bounds, scale and offset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from guerdon.rollouts import Rollouts

TARGETS = ("outcome", "process")


def clip(reward: Tensor, low: float | None = None, high: float | None = None) -> Tensor:
    """Bound rewards; NaN stays NaN.

    Args:
        reward: Any shape, float.
        low: Lower bound, or None.
        high: Upper bound, or None.

    Raises:
        ValueError: Both bounds are missing, or `low` is above `high`.
    """
    if low is None and high is None:
        raise ValueError("clip got neither low nor high: expected at least one bound")
    if low is not None and high is not None and low > high:
        raise ValueError(f"low is {low} and high is {high}: expected low <= high")
    return reward.clamp(min=low, max=high)


def scale(reward: Tensor, factor: float = 1.0, offset: float = 0.0) -> Tensor:
    """Return factor * reward + offset; NaN stays NaN."""
    return reward * factor + offset


def _change(rollouts: Rollouts, target: str, changed: Tensor) -> Rollouts:
    return rollouts.replace(**{target: changed})


def _check_target(stage: str, target: str) -> None:
    if target not in TARGETS:
        raise ValueError(f"{stage}.target is {target!r}: expected one of {TARGETS}")


@dataclass(frozen=True)
class Clip:
    """Bound the outcome or process rewards to [low, high].

    Attributes:
        low: Lower bound, or None.
        high: Upper bound, or None.
        target: "outcome" or "process".
    """

    low: float | None = None
    high: float | None = None
    target: str = "outcome"
    reads: ClassVar[tuple[str, ...]] = TARGETS
    writes: ClassVar[tuple[str, ...]] = TARGETS

    def __post_init__(self) -> None:
        _check_target("Clip", self.target)
        clip(Tensor(), self.low, self.high)

    def __call__(self, rollouts: Rollouts) -> Rollouts:
        """Return the rollouts with bounded rewards."""
        return _change(rollouts, self.target, clip(getattr(rollouts, self.target), self.low, self.high))


@dataclass(frozen=True)
class Scale:
    """Multiply the outcome or process rewards by a factor and add an offset.

    Attributes:
        factor: Multiplies.
        offset: Is added after that.
        target: "outcome" or "process".
    """

    factor: float = 1.0
    offset: float = 0.0
    target: str = "outcome"
    reads: ClassVar[tuple[str, ...]] = TARGETS
    writes: ClassVar[tuple[str, ...]] = TARGETS

    def __post_init__(self) -> None:
        _check_target("Scale", self.target)

    def __call__(self, rollouts: Rollouts) -> Rollouts:
        """Return the rollouts with scaled rewards."""
        return _change(rollouts, self.target, scale(getattr(rollouts, self.target), self.factor, self.offset))
