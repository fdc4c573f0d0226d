"""Steps credited with the outcome and with the progress that a second policy sees in them (PAV, arXiv 2410.08146)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from guerdon import ops
from guerdon.rollouts import Rollouts
from guerdon.terms import term

BASELINES = ("none", "group_mean", "leave_one_out")


def _expect_probabilities(name: str, value: Tensor) -> None:
    wrong = (value < 0) | (value > 1)
    if bool(wrong.any()):
        raise ValueError(f"{name} has the value {float(value[wrong][0])}: expected probabilities in [0, 1], or NaN")


def effective_reward(q_base: Tensor, q_prover: Tensor, prover_start: Tensor, alpha: float) -> Tensor:
    """Value under the base policy plus alpha times the progress under the prover (arXiv 2410.08146, eq. 5).

    Args:
        q_base: (B, S) float in [0, 1], probability that the base policy succeeds from after the step; NaN = no step.
        q_prover: (B, S) float in [0, 1], the same for the prover.
        prover_start: (B,) float, the prover's value of the prompt.
        alpha: Weight of the progress.

    Returns:
        (B, S) of the dtype of `q_base`, NaN where either is.

    Raises:
        ValueError: A value outside [0, 1].
    """
    _expect_probabilities("q_base", q_base)
    _expect_probabilities("q_prover", q_prover)
    return q_base + alpha * ops.difference(q_prover, prover_start, "progress")


def progress_credit(
    outcome: Tensor, q_prover: Tensor, prover_start: Tensor, alpha: float, baseline: Tensor | None = None
) -> Tensor:
    """Outcome minus baseline plus alpha times the step's own progress, which is not summed over later steps.

    Args:
        outcome: (B,) float; NaN rows get 0.
        q_prover: (B, S) float in [0, 1], probability that the prover succeeds from after the step; NaN = no step.
        prover_start: (B,) float, the prover's value of the prompt.
        alpha: Weight of the progress.
        baseline: (B,) or (B, S) float; None = 0.

    Returns:
        (B, S) of the dtype of `q_prover`, NaN where it is.

    Raises:
        ValueError: A value outside [0, 1], or wrong shapes.

    Example:
        >>> import torch
        >>> q = torch.tensor([[0.25, 0.75]])
        >>> progress_credit(torch.tensor([1.0]), q, torch.tensor([0.5]), alpha=2.0).tolist()
        [[0.5, 2.0]]
    """
    _expect_probabilities("q_prover", q_prover)
    _expect_probabilities("prover_start", prover_start)
    if q_prover.ndim != 2 or outcome.shape != q_prover.shape[:1] or prover_start.shape != outcome.shape:
        shapes = tuple(outcome.shape), tuple(q_prover.shape), tuple(prover_start.shape)
        raise ValueError(f"outcome, q_prover, prover_start have the shapes {shapes}: expected (B,), (B, S), (B,)")
    whole = outcome.to(q_prover.dtype)[:, None]
    if baseline is not None:
        if baseline.shape not in (outcome.shape, q_prover.shape):
            allowed = f"{tuple(outcome.shape)} or {tuple(q_prover.shape)}"
            raise ValueError(f"baseline has shape {tuple(baseline.shape)}: expected {allowed}")
        whole = whole - (baseline if baseline.ndim == 2 else baseline[:, None]).to(q_prover.dtype)
    value = whole + alpha * ops.difference(q_prover, prover_start, "progress")
    value = torch.where(torch.isnan(outcome)[:, None], torch.zeros_like(value), value)
    return torch.where(torch.isnan(q_prover), torch.nan, value)


@dataclass(frozen=True)
class ProgressCredit:
    """Outcome minus a baseline, plus alpha times the progress of the token's step (PAV, arXiv 2410.08146).

    `process` holds the prover's probability of success from after each step, the column `start` that from the prompt.
    Policy tokens of no step, or of a step without value, get the outcome's part. Unscored rows get 0.

    Attributes:
        alpha: Weight of the progress; 0 = the outcome alone.
        baseline: "none", the "group_mean" of outcomes, or "leave_one_out" (0 for a group of one).
    """

    alpha: float = 5.0
    baseline: str = "group_mean"
    reads: ClassVar[tuple[str, ...]] = ("outcome", "process", "start", "step", "group", "mask")
    writes: ClassVar[tuple[str, ...]] = ("advantages",)

    def __post_init__(self) -> None:
        if self.baseline not in BASELINES:
            raise ValueError(f"ProgressCredit.baseline is {self.baseline!r}: expected one of {BASELINES}")
        if not self.alpha >= 0.0:
            raise ValueError(f"ProgressCredit.alpha is {self.alpha}: expected 0 or more")

    def __call__(self, rollouts: Rollouts) -> Tensor:
        """Return (B, T) advantages.

        Raises:
            ValueError: The column `start` is missing, or a value lies outside [0, 1].
        """
        start = term(rollouts, "start")
        center = {"none": "none", "group_mean": "mean", "leave_one_out": "loo"}[self.baseline]
        singleton = "raw" if center == "none" else "zero"
        centred = ops.normalize(rollouts.outcome, rollouts.group, center=center, scale="none", singleton=singleton)
        value = progress_credit(centred, rollouts.process, start, self.alpha)
        value = torch.where(torch.isnan(value), centred[:, None], value)
        placed = torch.where(rollouts.step >= 0, ops.spread(value, rollouts.step), centred[:, None])
        return torch.where(rollouts.mask & rollouts.scored[:, None], placed, 0.0).to(torch.float32)
