"""Rewards on the scale of everything, or of the last, that the run has seen.

Statistics take in a batch before it is transformed by them. A stage must be pure, so `__call__` works on a copy of the
statistics and `update` makes the change; under several processes every process sees the same gathered batch, and so
keeps the same statistics.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from guerdon.ops.running import RunningMoments, RunningWindow
from guerdon.rollouts import Rollouts
from guerdon.shape.elementwise import clip
from guerdon.shape.log_boost import SQUASHES, squash
from guerdon.shape.terms import keep_raw
from guerdon.terms import term

MODES = ("meanstd", "clip", "minmax", "percentile")


class RunningReward:
    """Transform rewards by statistics of everything seen so far; calling it takes the batch in first.

    "meanstd": (r - mean) / (std + eps), std 0 counts as 1. "clip": r bounded to [mean - std, mean + std]. "minmax":
    (r - min) / (max - min), 0 while they are equal (arXiv 2502.18770). "percentile": place between two percentiles of
    a window (arXiv 2506.09033); there the order of rows matters.

    Args:
        mode: One of the four.
        moments: The statistics, for all but "percentile"; None = population statistics from nothing.
        window: The window, for "percentile"; None = 1000 values, 5 % and 95 %.
        eps: Is added to the standard deviation of "meanstd".

    Example:
        >>> import torch
        >>> running = RunningReward("minmax")
        >>> running(torch.tensor([1.0, 3.0])).tolist(), running(torch.tensor([5.0, 2.0])).tolist()
        ([0.0, 1.0], [1.0, 0.25])
    """

    def __init__(
        self,
        mode: str = "meanstd",
        moments: RunningMoments | None = None,
        window: RunningWindow | None = None,
        eps: float = 0.0,
    ) -> None:
        if mode not in MODES:
            raise ValueError(f"mode is {mode!r}: expected one of {MODES}")
        self.mode, self.eps = mode, eps
        self.moments = RunningMoments() if moments is None else moments
        self.window = RunningWindow() if window is None else window

    def __call__(self, r: Tensor) -> Tensor:
        """Take in a batch (B,) and transform it; NaN stays NaN and is not taken in. Dtype and device are kept."""
        if self.mode == "percentile":
            return self.window.update(r)
        self.moments.update(r)
        return self.transform(r)

    def peek(self, r: Tensor) -> Tensor:
        """Transform a batch as a call would, without taking it in."""
        return self.copy()(r)

    def transform(self, r: Tensor) -> Tensor:
        """Transform a batch by what was seen before; before anything was seen it stays as it is (0.5 in a window)."""
        if self.mode == "percentile":
            return self.window.peek(r)
        seen = self.moments
        if seen.empty:
            return r
        if self.mode == "clip":
            return clip(r, seen.mean - seen.std, seen.mean + seen.std)
        if self.mode == "minmax":
            # Start values have no extremes of their own.
            width = seen.largest - seen.smallest
            known = 0.0 < width < float("inf")
            return (r - seen.smallest) / width if known else torch.where(torch.isnan(r), r, torch.zeros_like(r))
        divisor = seen.std + self.eps
        return (r - seen.mean) / (divisor if seen.std > 0.0 else 1.0)

    def copy(self) -> RunningReward:
        """One that can be called without changing this one."""
        result = copy.copy(self)
        result.moments, result.window = copy.copy(self.moments), self.window.copy()
        return result

    def state_dict(self) -> dict[str, Any]:
        """Return everything that is needed to go on after a restart."""
        used = self.window if self.mode == "percentile" else self.moments
        return {"mode": self.mode, **used.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up a state that `state_dict` gave.

        Raises:
            ValueError: The state is of another mode.
        """
        if state["mode"] != self.mode:
            raise ValueError(f"the state is of mode {state['mode']!r}: this one has {self.mode!r}")
        used = self.window if self.mode == "percentile" else self.moments
        used.load_state_dict(state)


@dataclass(frozen=True)
class Running:
    """Put the outcome, or a column, on the scale of what the run has seen; see `RunningReward`.

    The column `before_running` keeps what was transformed; two such stages in one recipe need two names.

    Attributes:
        mode: "meanstd", "clip", "minmax" or "percentile".
        target: "outcome", or the name of a column of numbers, which is replaced.
        eps: Is added to the standard deviation of "meanstd".
        batch_ddof: Degrees of freedom taken off in the variance of each batch.
        decay: None = every value weighs the same; a number in (0, 1) = an exponential average over batches.
        prior: Weight, mean and variance that the statistics start from.
        window: Values that the window of "percentile" holds.
        percentiles: Lower and upper percentile.
        transform: "none", "sqrt" or "log", applied to what enters the window.
        invert: 1 - the result of "percentile": a low cost is a high reward.
        squash: "tanh" or "sigmoid" at the end, or None.
        zero_up_to: Results at or below it become 0, as in the ranking reward of arXiv 2410.23022; None = none.
        keep: Name of the column that keeps what was transformed.
        update_order: "update_first": a batch is transformed by statistics that include it; "score_first": by those of
            the batches before; "never": statistics do not change.
    """

    mode: str = "meanstd"
    target: str = "outcome"
    eps: float = 0.0
    batch_ddof: int = 0
    decay: float | None = None
    prior: tuple[float, float, float] = (0.0, 0.0, 0.0)
    window: int = 1000
    percentiles: tuple[float, float] = (0.05, 0.95)
    transform: str = "none"
    invert: bool = False
    squash: str | None = None
    zero_up_to: float | None = None
    keep: str = "before_running"
    update_order: str = "update_first"
    _seen: RunningReward = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"Running.mode is {self.mode!r}: expected one of {MODES}")
        if self.squash not in SQUASHES:
            raise ValueError(f"Running.squash is {self.squash!r}: expected one of {SQUASHES}")
        if self.update_order not in ("update_first", "score_first", "never"):
            raise ValueError(
                f"Running.update_order is {self.update_order!r}: expected 'update_first', 'score_first' or 'never'"
            )
        count, mean, variance = self.prior
        moments = RunningMoments(self.batch_ddof, self.decay, count=count, mean=mean, variance=variance)
        window = RunningWindow(self.window, self.percentiles, self.transform)
        object.__setattr__(self, "_seen", RunningReward(self.mode, moments, window, self.eps))

    @property
    def reads(self) -> tuple[str, ...]:
        """What is transformed."""
        return (self.target,)

    @property
    def writes(self) -> tuple[str, ...]:
        """What is transformed, and the column that keeps it."""
        return (self.target, self.keep)

    def __call__(self, rollouts: Rollouts) -> Rollouts:
        """Return the rollouts with transformed rewards; the statistics do not change."""
        if self.keep in rollouts.columns:
            raise ValueError(f"columns has {self.keep!r} already: give each Running stage a `keep` of its own")
        before = term(rollouts, self.target)
        value = self._seen.peek(before) if self.update_order == "update_first" else self._seen.transform(before)
        value = 1.0 - value if self.invert else value
        value = squash(value, self.squash)
        if self.zero_up_to is not None:
            value = torch.where(value <= self.zero_up_to, torch.zeros_like(value), value)
        kept = rollouts.with_columns(**{self.keep: before.tolist()})
        if self.target == "outcome":
            return keep_raw(kept).replace(outcome=value)
        return kept.with_columns(**{self.target: value.tolist()})

    def update(self, rollouts: Rollouts) -> Mapping[str, float]:
        """Take in the rewards of rollouts that this stage has transformed, as they were before.

        Raises:
            ValueError: The rollouts have not passed this stage.
        """
        if self.keep not in rollouts.columns:
            raise ValueError(f"Running.update: no column {self.keep!r}: expected rollouts that it has transformed")
        if self.update_order != "never":
            self._seen(term(rollouts, self.keep))
        if self.mode == "percentile":
            low, high = self._seen.window.bounds()
            return {"low": low, "high": high, "window": float(len(self._seen.window))}
        moments = self._seen.moments
        return {"mean": moments.mean, "std": moments.std, "count": moments.count}

    def state_dict(self) -> dict[str, Any]:
        """Return everything that is needed to go on after a restart."""
        return self._seen.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up a state that `state_dict` gave."""
        self._seen.load_state_dict(state)
