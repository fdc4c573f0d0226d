"""Reasoning patterns as the whole reward, at first or throughout (arXiv 2505.22653)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from guerdon.rollouts import Rollouts
from guerdon.shape.noise import PatternsIfWrong
from guerdon.shape.terms import keep_raw


def scripted_warmup(step: int, k: int | None, rpr: Tensor, correct: Tensor) -> Tensor:
    """The reasoning pattern reward in the first `k` iterations, the verifier's reward from then on.

    Args:
        step: Iterations so far, 0 or more.
        k: How many iterations the warm-up takes; None = the whole run.
        rpr: (B,) float; NaN = not scored, and stays so.
        correct: (B,) float; NaN = not scored, and stays so.

    Returns:
        (B,) one of the two rewards; the other is not looked at.

    Raises:
        ValueError: `step` or `k` is negative, or the shapes differ.

    Example:
        >>> import torch
        >>> rpr, correct = torch.tensor([0.5, 0.25]), torch.tensor([0.0, 1.0])
        >>> [scripted_warmup(step, 2, rpr, correct).tolist() for step in (0, 1, 2)]
        [[0.5, 0.25], [0.5, 0.25], [0.0, 1.0]]
    """
    if step < 0 or (k is not None and k < 0):
        raise ValueError(f"step is {step}, k is {k}: expected 0 or more")
    if rpr.shape != correct.shape:
        raise ValueError(f"rpr {tuple(rpr.shape)}, correct {tuple(correct.shape)}: expected equal shapes")
    return rpr if k is None or step < k else correct


@dataclass(frozen=True)
class PatternsOnly:
    """Replace the outcome by the reasoning pattern reward, without any check of the answer; see `scripted_warmup`.

    A response from which no answer could be extracted (the column `extracted`, where there is one, is None or empty)
    gets 0, and one whose patterns could not be scored NaN. The column `raw_outcome` keeps the verifier's reward: this
    reward can be gamed, and only the true one shows when to stop.

    Attributes:
        warm_up: So many iterations, and the outcome from then on; None = the whole run.
        patterns: Name of the column of pattern rewards.
    """

    warm_up: int | None = None
    patterns: str = "reasoning_patterns"
    writes: ClassVar[tuple[str, ...]] = ("outcome", "raw_outcome")

    def __post_init__(self) -> None:
        scripted_warmup(0, self.warm_up, torch.zeros(0), torch.zeros(0))

    @property
    def reads(self) -> tuple[str, ...]:
        """The outcome, the pattern rewards, and whether an answer was found."""
        return ("outcome", self.patterns, "extracted")

    def __call__(self, rollouts: Rollouts) -> Rollouts:
        """Return the rollouts with pattern rewards as outcomes, or with their own after the warm-up."""
        # A wrong response is one whose patterns decide, as long as it has an answer: count all as wrong.
        wrong = rollouts.replace(outcome=torch.zeros_like(rollouts.outcome))
        scored = PatternsIfWrong(self.patterns)(wrong).outcome
        outcome = scripted_warmup(rollouts.iteration, self.warm_up, scored, rollouts.outcome)
        return keep_raw(rollouts).replace(outcome=outcome)
