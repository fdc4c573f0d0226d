"""Process rewards that cannot be farmed: clipped from above, and telescoping (arXiv 2410.15115).

Where a step lies between others but was not scored, the difference reaches over it to the next scored step, so that
every scored step keeps its own score as its return.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from guerdon import ops
from guerdon.ops.distribution import reference_quantile
from guerdon.ops.edges import is_last
from guerdon.rollouts import Rollouts
from guerdon.shape.elementwise import clip

MODES = ("none", "clip", "delta", "clip+delta")
KEPT = "process_before_refinement"


def delta(process: Tensor, exists: Tensor | None = None) -> Tensor:
    """x_k - x_(k+1); the last step but one keeps its x, the last gets 0.

    The undiscounted return from a step is then the step's own score, however many steps follow.

    Args:
        process: (B, S) or (S,) float; NaN = no such step, or not scored.
        exists: Bool of the same shape: the steps that are there, scored or not; None = those that are scored. It
            matters where the last step was not scored: it is the last all the same, and its score is not needed.

    Returns:
        Like `process`, NaN where it is NaN.

    Example:
        >>> import torch
        >>> [round(x, 6) for x in delta(torch.tensor([0.9, 0.8, 0.3, 0.95, 0.6])).tolist()]
        [0.1, 0.5, -0.65, 0.95, 0.0]
    """
    if process.ndim == 1:
        return delta(process[None], None if exists is None else exists[None])[0]
    if exists is None:
        return ops.difference(process, direction="delta")
    if exists.shape != process.shape:
        raise ValueError(f"exists has shape {tuple(exists.shape)}: expected {tuple(process.shape)}, like process")
    missing = torch.isnan(process) | ~exists
    scored = torch.where(missing, torch.nan, process)
    # The last step's score is never used, so a missing one may stand as 0.
    stand_in = torch.where(missing & is_last(exists), 0.0, scored)
    return torch.where(missing, torch.nan, ops.difference(stand_in, direction="delta"))


def refine_process(process: Tensor, mode: str = "clip+delta", eta: float = 0.0, exists: Tensor | None = None) -> Tensor:
    """Refine process rewards: "clip" = min(p - eta, 0); "delta" = `delta`; "clip+delta" = clip, then delta.

    In the other order the returns would not be bounded. With eta at or above every score, clipping is a price on each
    step; at or below every score it gives 0.

    Args:
        process: (B, S) or (S,) float; NaN = no such step, or not scored.
        mode: "none", "clip", "delta" or "clip+delta".
        eta: The score above which a step costs nothing.
        exists: Bool of the same shape; see `delta`.

    Returns:
        Like `process`, NaN where it is NaN or no step exists.

    Raises:
        ValueError: An unknown mode, or shapes differ.

    Example:
        >>> import torch
        >>> [round(x, 6) for x in refine_process(torch.tensor([0.9, 0.8, 0.3, 0.95, 0.6]), eta=0.85).tolist()]
        [0.05, 0.5, -0.55, 0.0, 0.0]
    """
    if mode not in MODES:
        raise ValueError(f"mode is {mode!r}: expected one of {MODES}")
    if exists is not None and exists.shape != process.shape:
        raise ValueError(f"exists has shape {tuple(exists.shape)}: expected {tuple(process.shape)}, like process")
    value = process if exists is None else torch.where(exists, process, torch.nan)
    if mode.startswith("clip"):
        value = clip(value - eta, high=0.0)
    return delta(value, exists) if mode.endswith("delta") else value


@dataclass(frozen=True)
class Delta:
    """Replace process rewards by their telescoping differences; see `delta`."""

    reads: ClassVar[tuple[str, ...]] = ("process", "step")
    writes: ClassVar[tuple[str, ...]] = ("process",)

    def __call__(self, rollouts: Rollouts) -> Rollouts:
        """Return the rollouts with changed process rewards."""
        return rollouts.replace(process=delta(rollouts.process, _exists(rollouts)))


def _exists(rollouts: Rollouts) -> Tensor:
    """The existing steps; rows whose tokens name no step may hold process rewards all the same."""
    there = rollouts.step_exists
    return there | ~torch.isnan(rollouts.process)


@dataclass(frozen=True)
class RefineProcess:
    """Clip process rewards and make them telescope; see `refine_process`.

    Without an `eta` it is a quantile of the scores of the first batch, and stays that for the rest of the run.

    Attributes:
        mode: "none", "clip", "delta" or "clip+delta".
        eta: The score above which a step costs nothing; None = from the first batch.
        quantile: Which quantile of the first batch; most steps should end up at 0.
        scale: Multiplies the refined rewards, the coefficient alpha of the process reward.
        update_order: "update_first": the first batch is refined by its own quantile; "never": `eta` must be given.
    """

    mode: str = "clip+delta"
    eta: float | None = None
    quantile: float = 0.3
    scale: float = 1.0
    update_order: str = "update_first"
    _found: dict[str, float] = field(default_factory=dict, init=False, repr=False, compare=False)
    reads: ClassVar[tuple[str, ...]] = ("process", "step")
    writes: ClassVar[tuple[str, ...]] = ("process",)

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"RefineProcess.mode is {self.mode!r}: expected one of {MODES}")
        if not 0.0 < self.quantile < 1.0:
            raise ValueError(f"RefineProcess.quantile is {self.quantile}: expected a number in (0, 1)")
        if self.update_order not in ("update_first", "never") or (self.update_order == "never" and self.eta is None):
            raise ValueError(
                f"RefineProcess.update_order is {self.update_order!r} with eta {self.eta}: "
                "expected 'update_first', or 'never' with an eta"
            )

    def _eta(self, process: Tensor) -> float:
        if self.eta is not None or not self.mode.startswith("clip"):
            return self.eta or 0.0
        if "eta" in self._found:
            return self._found["eta"]
        scored = process[~torch.isnan(process)]
        return float(reference_quantile(scored, self.quantile)) if len(scored) else 0.0

    def __call__(self, rollouts: Rollouts) -> Rollouts:
        """Return the rollouts with refined process rewards; the raw ones stay in the steps' extras."""
        refined = refine_process(rollouts.process, self.mode, self._eta(rollouts.process), _exists(rollouts))
        return rollouts.replace(process=self.scale * refined).with_steps(**{KEPT: rollouts.process})

    def update(self, rollouts: Rollouts) -> Mapping[str, float]:
        """Fix `eta` by the first batch that this stage has refined and that has scored steps."""
        if KEPT not in rollouts.steps:
            raise ValueError(f"RefineProcess.update: steps has no {KEPT!r}: expected rollouts that it has refined")
        process = rollouts.steps[KEPT]
        if "eta" not in self._found and not bool(torch.isnan(process).all()):
            self._found["eta"] = self._eta(process)
        return {"eta": self._eta(process)}

    def state_dict(self) -> dict[str, Any]:
        """Return the threshold, if it was found."""
        return dict(self._found)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up a state that `state_dict` gave."""
        self._found.clear()
        self._found.update({name: float(value) for name, value in state.items()})
