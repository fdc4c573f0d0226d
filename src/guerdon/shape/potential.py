"""Potential-based shaping: hints that never change which policy is the best (Ng, Harada and Russell, 1999).

F = gamma phi(s') - phi(s). Summed with the discount along a response it leaves only the potentials of the start and of
the end, whatever lies between.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from guerdon import ops
from guerdon.ops.edges import is_last
from guerdon.rollouts import Rollouts
from guerdon.terms import flags, numbers


def shaping(
    phi_next: Tensor,
    phi: Tensor,
    gamma: float,
    negative_slope: float = 1.0,
    terminal_zero: Tensor | None = None,
) -> Tensor:
    """The shaping gamma phi(s') - phi(s), element by element.

    Args:
        phi_next: Potentials of the states that steps lead to, any shape; NaN stays NaN.
        phi: Potentials of the states that they start from, of a shape that fits.
        gamma: Discount in [0, 1], that of the objective.
        negative_slope: Negative results are multiplied by it. Only at 1 the best policy cannot change.
        terminal_zero: Bool, where s' ends the episode: its potential counts as 0, which the theorem needs where
            episodes end. None = nowhere.

    Returns:
        The shaping rewards; differentiable.

    Raises:
        ValueError: `gamma` is not in [0, 1], or the slope is negative or not finite.

    Example:
        >>> import torch
        >>> shaping(torch.tensor([2.0, 0.5]), torch.tensor([1.0, 2.0]), 0.9, negative_slope=0.5).tolist()
        [0.7999999523162842, -0.7749999761581421]
    """
    if not 0.0 <= gamma <= 1.0:
        raise ValueError(f"gamma is {gamma}: expected a number in [0, 1]")
    if not 0.0 <= negative_slope < float("inf"):
        raise ValueError(f"negative_slope is {negative_slope}: expected a finite number of at least 0")
    after = phi_next if terminal_zero is None else torch.where(terminal_zero, torch.zeros_like(phi_next), phi_next)
    value = gamma * after - phi
    return value if negative_slope == 1.0 else torch.where(value < 0, negative_slope * value, value)


@dataclass(frozen=True)
class Potential:
    """Add potential-based shaping to the process rewards.

    The potential of the state after each step is a per-step number of the rollouts; that of the prompt is the column
    `start`, or 0. Steps without a potential are stepped over, and get no shaping.

    Attributes:
        potential: Name in `steps`; "process" = the process rewards themselves are potentials, and are replaced.
        gamma: Discount of the objective.
        weight: What the shaping is multiplied by.
        negative_slope: See `shaping`.
        terminal_zero: The last step of a response that was not truncated ends the episode; its potential counts as 0.
        start: Name of the column with the potential of the prompt; where there is no such column it is 0.
    """

    potential: str = "process"
    gamma: float = 1.0
    weight: float = 1.0
    negative_slope: float = 1.0
    terminal_zero: bool = False
    start: str = "start"
    writes: ClassVar[tuple[str, ...]] = ("process",)

    def __post_init__(self) -> None:
        shaping(torch.zeros(1), torch.zeros(1), self.gamma, self.negative_slope)

    @property
    def reads(self) -> tuple[str, ...]:
        """The potentials."""
        return ("process", *(() if self.potential == "process" else (f"steps/{self.potential}",)))

    def __call__(self, rollouts: Rollouts) -> Rollouts:
        """Return the rollouts with shaped process rewards.

        Raises:
            ValueError: There is no such per-step number.
        """
        phi = rollouts.process if self.potential == "process" else self._named(rollouts)
        start = None
        if self.start in rollouts.columns:
            start = numbers(self.start, rollouts.columns[self.start]).to(phi)
        before = phi - ops.difference(phi, start)
        ends = None
        if self.terminal_zero:
            ends = is_last(~torch.isnan(phi))
            if "truncated" in rollouts.columns:
                ends = ends & ~flags(rollouts, "truncated")[:, None]
        added = self.weight * shaping(phi, before, self.gamma, self.negative_slope, ends)
        if self.potential == "process":
            return rollouts.replace(process=added)
        # A step that was not scored is still not scored.
        return rollouts.replace(process=rollouts.process + torch.nan_to_num(added, nan=0.0))

    def _named(self, rollouts: Rollouts) -> Tensor:
        if self.potential not in rollouts.steps:
            raise ValueError(f"steps has no {self.potential!r}: expected one of {sorted(rollouts.steps)} or 'process'")
        return rollouts.steps[self.potential].to(rollouts.process.dtype)
