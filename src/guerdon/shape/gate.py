"""Rewards that count only where a more important one has passed.

One rule serves the bonus for thoughts of programs that pass their tests (arXiv 2508.05170), step critics that are shut
off by the outcome (arXiv 2508.10548), format gates (arXiv 2505.24871), and format, then answer, then cost
(arXiv 2506.09033).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from guerdon import ops
from guerdon.ops.edges import is_last
from guerdon.ops.schedule import Schedule, value_at
from guerdon.rollouts import Rollouts
from guerdon.terms import term

MODES = ("gated", "direct")


def gate(levels: Tensor, thresholds: Tensor, strict: bool = True, mode: str = "gated") -> Tensor:
    """Which levels are open: a level is, if every level before it has passed its threshold.

    Args:
        levels: (B, K) float, the most important level first; a NaN passes nothing.
        thresholds: (K - 1,) float, one for each level but the last.
        strict: Whether a level must lie above its threshold (True), or may equal it.
        mode: "gated", or "direct" = everything is open.

    Returns:
        (B, K) bool; the first level is always open, and a shut level shuts all after it.

    Raises:
        ValueError: No level, a wrong number of thresholds, a NaN threshold, or an unknown mode.

    Example:
        >>> import torch
        >>> gate(torch.tensor([[1.0, 0.0, 9.0]]), torch.tensor([0.5, 0.5])).tolist()
        [[True, True, False]]
    """
    if mode not in MODES:
        raise ValueError(f"mode is {mode!r}: expected one of {MODES}")
    if levels.ndim != 2 or levels.shape[1] < 1:
        raise ValueError(f"levels has shape {tuple(levels.shape)}: expected (B, K) with K of at least 1")
    limits = torch.as_tensor(thresholds, dtype=levels.dtype, device=levels.device)
    if limits.shape != (levels.shape[1] - 1,):
        raise ValueError(f"thresholds has shape {tuple(limits.shape)}: expected ({levels.shape[1] - 1},), K - 1")
    if bool(torch.isnan(limits).any()):
        raise ValueError(f"thresholds is {limits.tolist()}: expected numbers")
    first = torch.ones_like(levels[:, :1], dtype=torch.bool)
    if mode == "direct":
        return first.expand(levels.shape)
    passed = levels[:, :-1] > limits if strict else levels[:, :-1] >= limits
    return torch.cat([first, passed.long().cumprod(1) > 0], 1)


def gated_sum(
    levels: Tensor,
    thresholds: Tensor,
    weights: Tensor | None = None,
    *,
    strict: bool = True,
    mode: str = "gated",
    closed: float | None = None,
) -> Tensor:
    """Sum of level * weight over the open levels.

    Args:
        levels: (B, K) float, as for `gate`.
        thresholds: (K - 1,) float, as for `gate`.
        weights: (K,) float; None = 1 each.
        strict: As for `gate`.
        mode: As for `gate`.
        closed: What a row gets whose first level has not passed, instead of that level's own payoff; None = the payoff.

    Returns:
        (B,) of the dtype of `levels`. A level that is shut or of weight 0 does not count, scored or not; an open NaN
        level makes the sum NaN, as does a NaN first level.

    Example:
        >>> import torch
        >>> outcome_and_thought = torch.tensor([[1.0, 0.8], [0.0, 0.9]])
        >>> gated_sum(outcome_and_thought, torch.tensor([1.0]), strict=False).tolist()
        [1.7999999523162842, 0.0]
    """
    return _payoff(levels, gate(levels, thresholds, strict, mode), weights, closed)


def _payoff(levels: Tensor, is_open: Tensor, weights: Tensor | None, closed: float | None) -> Tensor:
    factor = levels.new_ones(levels.shape[1]) if weights is None else weights.to(levels)
    if factor.shape != (levels.shape[1],):
        raise ValueError(f"weights has shape {tuple(factor.shape)}: expected ({levels.shape[1]},), one a level")
    counted = is_open & (factor != 0)
    total = torch.where(counted, levels * factor, torch.zeros_like(levels)).sum(1)
    if closed is not None and levels.shape[1] > 1:
        total = torch.where(is_open[:, 1], total, torch.full_like(total, closed))
    return torch.where(torch.isnan(levels[:, 0]), torch.nan, total)


def turn_rewards(
    outcome: Tensor,
    critics: Tensor,
    exists: Tensor,
    weights: Tensor | None = None,
    delta: float = 0.0,
    mode: str = "gated",
    strict: bool = True,
) -> Tensor:
    """Critics of each turn, paid only if the outcome is above delta, and the outcome on the last turn.

    Args:
        outcome: (B,) float; NaN rows get NaN.
        critics: (B, S, C) float; a turn with a NaN critic of weight other than 0 is not scored where the gate is open.
        exists: (B, S) bool, the turns that are there.
        weights: (C,) float; None = 1 each.
        delta: Threshold of the outcome; at it the gate is shut.
        mode: "gated", or "direct" = always paid.
        strict: False opens the gate at `delta` too.

    Returns:
        (B, S) of the dtype of `critics`, NaN where no turn exists or it was not scored. The last turn always has the
        outcome; a NaN critic there adds nothing to it.

    Raises:
        ValueError: Wrong shapes or an unknown mode.

    Example:
        >>> import torch
        >>> critics = torch.tensor([[[0.1, 0.1], [0.1, 0.0], [0.1, 0.1]]], dtype=torch.float64)
        >>> turn_rewards(torch.tensor([1.0]), critics, torch.ones(1, 3, dtype=torch.bool)).tolist()
        [[0.2, 0.1, 1.2]]
    """
    if critics.ndim != 3 or critics.shape[:2] != exists.shape or len(outcome) != len(critics):
        raise ValueError(
            f"outcome {tuple(outcome.shape)}, critics {tuple(critics.shape)}, exists {tuple(exists.shape)}: "
            "expected (B,), (B, S, C) and (B, S)"
        )
    kinds = critics.shape[2]
    factor = critics.new_ones(kinds) if weights is None else weights.to(critics)
    if factor.shape != (kinds,):
        raise ValueError(f"weights has shape {tuple(factor.shape)}: expected ({kinds},), one a critic")
    paid = torch.where(factor != 0, critics * factor, torch.zeros_like(critics)).sum(2)
    levels = torch.stack([outcome.to(critics.dtype), outcome.to(critics.dtype)], 1)
    is_open = gate(levels, levels.new_tensor([delta]), strict, mode)[:, 1]
    value = torch.where(is_open[:, None], paid, torch.zeros_like(paid))
    last = is_last(exists)
    value = torch.where(last, torch.nan_to_num(value, nan=0.0) + outcome.to(value.dtype)[:, None], value)
    return torch.where(exists & ~torch.isnan(outcome)[:, None], value, torch.nan)


@dataclass(frozen=True)
class Gate:
    """Sum of rewards of which the later count only where those before have passed.

    The column `gates_open` holds how many levels of the row were open. Examples: thoughts count for right programs
    only, `Gate(("outcome", "thinking"), (1.0,), strict=False)`; a malformed response gets -1,
    `Gate(("format", "outcome"), (0.5,), weights=(0.0, 1.0), closed=-1.0)`; format, answer, cost,
    `Gate(("format", "outcome", "cheapness"), (0.5, 0.0), weights=(0.0, 0.4, 0.6), closed=-1.0)`.

    Attributes:
        levels: Names of the terms, the most important first: "outcome", "process", or columns of numbers.
        thresholds: One for each level but the last.
        weights: One number or `Schedule` a level; None = 1 each.
        strict: Whether a level must lie above its threshold, or may equal it.
        mode: "gated", or "direct" = all levels always count.
        closed: What a row gets whose first level has not passed; None = the first level's payoff.
        missing: What an unscored level counts as where it is open: "nan" makes the row unscored, "group_mean" takes the
            mean of the open rows of the group, a number is used as it is.
        aggregate: How process rewards become one number; see `guerdon.ops.aggregate`.
    """

    levels: tuple[str, ...] = ("outcome", "process")
    thresholds: tuple[float, ...] = (0.0,)
    weights: tuple[float | Schedule, ...] | None = None
    strict: bool = True
    mode: str = "gated"
    closed: float | None = None
    missing: str | float = "nan"
    aggregate: str = "mean"
    writes: ClassVar[tuple[str, ...]] = ("outcome", "gates_open")

    def __post_init__(self) -> None:
        names = len(self.levels)
        if names < 1 or len(self.thresholds) != names - 1:
            raise ValueError(f"Gate has {names} levels and thresholds {self.thresholds}: expected one less than levels")
        if self.weights is not None and len(self.weights) != names:
            raise ValueError(f"Gate.weights is {self.weights}: expected {names} numbers, one a level")
        if self.mode not in MODES:
            raise ValueError(f"Gate.mode is {self.mode!r}: expected one of {MODES}")
        if isinstance(self.missing, str) and self.missing not in ("nan", "group_mean"):
            raise ValueError(f"Gate.missing is {self.missing!r}: expected 'nan', 'group_mean' or a number")

    @property
    def reads(self) -> tuple[str, ...]:
        """The levels and the groups."""
        return (*self.levels, "group")

    def __call__(self, rollouts: Rollouts) -> Rollouts:
        """Return the rollouts with the gated sum as outcome."""
        values = [term(rollouts, name, self.aggregate) for name in self.levels]
        levels = torch.stack(values, 1)
        limits = levels.new_tensor(self.thresholds)
        filled = self._filled(levels, limits, rollouts.group)
        is_open = gate(filled, limits, self.strict, self.mode)
        weights = None
        if self.weights is not None:
            places = (rollouts.iteration, rollouts.progress)
            weights = levels.new_tensor([value_at(weight, *places) for weight in self.weights])
        total = _payoff(filled, is_open, weights, self.closed)
        return rollouts.replace(outcome=total).with_columns(gates_open=is_open.sum(1).tolist())

    def _filled(self, levels: Tensor, limits: Tensor, group: Tensor) -> Tensor:
        """The levels but the first with fills, level after level, since a filled one may open the next."""
        columns = [levels[:, 0]]
        for k in range(1, levels.shape[1] if self.missing != "nan" else 1):
            known = torch.stack([*columns, levels[:, k]], 1)
            is_open = gate(known, limits[:k], self.strict, self.mode)[:, k]
            if self.missing == "group_mean":
                fill = ops.mean(levels[:, k], group, is_open)
            else:
                fill = torch.full_like(levels[:, k], float(self.missing))
            columns.append(torch.where(torch.isnan(levels[:, k]) & is_open, fill, levels[:, k]))
        return levels if self.missing == "nan" else torch.stack(columns, 1)


@dataclass(frozen=True)
class GatedTurns:
    """Process rewards from the critics of each turn, shut off by the outcome; see `turn_rewards`.

    Attributes:
        critics: Name of the steps' extra (B, S, C).
        weights: One weight a critic; None = 1 each.
        delta: Threshold of the outcome.
        mode: "gated", or "direct" = critics always pay (the baseline that is farmed).
        strict: False opens the gate at `delta` too.
    """

    critics: str = "critics"
    weights: tuple[float, ...] | None = None
    delta: float = 0.0
    mode: str = "gated"
    strict: bool = True
    writes: ClassVar[tuple[str, ...]] = ("process", "gates_open")

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"GatedTurns.mode is {self.mode!r}: expected one of {MODES}")

    @property
    def reads(self) -> tuple[str, ...]:
        """The outcome, the steps and the critics."""
        return ("outcome", "step", f"steps/{self.critics}")

    def __call__(self, rollouts: Rollouts) -> Rollouts:
        """Return the rollouts with the turns' rewards as process rewards."""
        if self.critics not in rollouts.steps:
            raise ValueError(f"steps has no {self.critics!r}: there are {sorted(rollouts.steps)}")
        critics = rollouts.steps[self.critics].to(torch.float32)
        weights = None if self.weights is None else critics.new_tensor(self.weights)
        value = turn_rewards(
            rollouts.outcome, critics, rollouts.step_exists, weights, self.delta, self.mode, self.strict
        )
        levels = rollouts.outcome[:, None].expand(len(rollouts), 2)
        is_open = gate(levels, levels.new_tensor([self.delta]), self.strict, self.mode)
        return rollouts.replace(process=value).with_columns(gates_open=is_open.sum(1).tolist())
