"""Advantages of verifications, balanced between right and wrong solutions by running counts (arXiv 2505.15034)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from guerdon import ops
from guerdon.credit.outcome import over_tokens
from guerdon.rollouts import Rollouts
from guerdon.terms import term


@dataclass
class ClassBalance:
    """Weights of two classes that go with 1 / sqrt(count), from exponentially averaged counts.

    Their mean over all rows, each weighing its class's weight, is 1. A class that was never seen weighs 1, as does the
    other one then.

    Attributes:
        decay: Of the counts, in [0, 1); the first batch counts in full.
        counts: Averaged counts of right and wrong ones, or None before the first batch.

    Example:
        >>> balance = ClassBalance()
        >>> balance.update(16, 64)
        >>> [round(weight, 6) for weight in balance.weights()]
        [1.666667, 0.833333]
    """

    decay: float = 0.8
    counts: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.decay < 1.0:
            raise ValueError(f"decay is {self.decay}: expected a number in [0, 1)")

    def update(self, n_pos: float, n_neg: float) -> None:
        """Take in the counts of a batch.

        Raises:
            ValueError: A count is negative.
        """
        if min(n_pos, n_neg) < 0:
            raise ValueError(f"counts are {n_pos} and {n_neg}: expected 0 or more")
        if n_pos == n_neg == 0:
            return
        before = self.counts
        keep = 0.0 if before is None else self.decay
        old = before or (0.0, 0.0)
        self.counts = (keep * old[0] + (1 - keep) * n_pos, keep * old[1] + (1 - keep) * n_neg)

    def weights(self) -> tuple[float, float]:
        """The weights of right and of wrong ones."""
        if self.counts is None or min(self.counts) <= 0:
            return 1.0, 1.0
        plus, minus = (math.sqrt(count) for count in self.counts)
        scale = (plus * plus + minus * minus) / (plus + minus)
        return scale / plus, scale / minus


def verifier_advantages(
    rewards: Tensor, truth: Tensor, s_plus: float, s_minus: float, ddof: int = 1, eps: float = 1e-6
) -> Tensor:
    """Advantages of M verifications of each of P solutions.

    Args:
        rewards: (P, M) float; NaN takes no part and gets 0.
        truth: (P,) bool, whether the solution is right.
        s_plus: Weight of right solutions.
        s_minus: Weight of wrong ones.
        ddof: Of the standard deviation.
        eps: Is added to it.

    Returns:
        (P, M) float.

    Raises:
        ValueError: Wrong shapes.
    """
    if rewards.ndim != 2 or truth.shape != rewards.shape[:1]:
        raise ValueError(f"rewards {tuple(rewards.shape)}, truth {tuple(truth.shape)}: expected (P, M) and (P,)")
    key = torch.arange(len(rewards), device=rewards.device).repeat_interleave(rewards.shape[1])
    normal = ops.normalize(rewards.flatten(), key, ddof=ddof, eps=eps).reshape(rewards.shape)
    return normal * torch.where(truth.bool(), s_plus, s_minus).to(rewards.dtype)[:, None]


@dataclass(frozen=True)
class ClassBalanced:
    """GRPO's advantage of each verification, times the weight of its solution's class (RL Tango, arXiv 2505.15034).

    The verifications of a solution are a group. While most solutions are wrong, a verifier that calls everything wrong
    is nearly always rewarded; the weights take that gain away. Counts are those of the groups, and are updated after a
    batch was used.

    Attributes:
        truth: Name of a column: whether the verified solution is right.
        decay: Of the counts.
        ddof: Of the standard deviation.
        eps: Is added to it.
        update_order: "score_first": a batch is weighted by the counts before it; "never" = the counts stay.
    """

    truth: str = "truth"
    decay: float = 0.8
    ddof: int = 1
    eps: float = 1e-6
    update_order: str = "score_first"
    _balance: ClassBalance = field(default_factory=ClassBalance, init=False, repr=False, compare=False)
    writes: ClassVar[tuple[str, ...]] = ("advantages",)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_balance", ClassBalance(self.decay))

    @property
    def reads(self) -> tuple[str, ...]:
        """What is read."""
        return ("outcome", "group", "mask", self.truth)

    def __call__(self, rollouts: Rollouts) -> Tensor:
        """Return (B, T) advantages."""
        plus, minus = self._balance.weights()
        right = term(rollouts, self.truth) > 0.5
        normal = ops.normalize(rollouts.outcome, rollouts.group, ddof=self.ddof, eps=self.eps)
        return over_tokens(normal * torch.where(right, plus, minus).to(normal.dtype), rollouts.mask)

    def update(self, rollouts: Rollouts) -> Mapping[str, float]:
        """Count the solutions of a batch, and return the weights from now on."""
        right = term(rollouts, self.truth) > 0.5
        plus, minus = (len(torch.unique(rollouts.group[chosen])) for chosen in (right, ~right))
        self._balance.update(plus, minus)
        weights = self._balance.weights()
        return {"right": float(plus), "wrong": float(minus), "weight_right": weights[0], "weight_wrong": weights[1]}

    def state_dict(self) -> dict[str, Any]:
        """The counts."""
        return {"counts": self._balance.counts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up a state that `state_dict` gave."""
        counts = state["counts"]
        self._balance.counts = None if counts is None else (float(counts[0]), float(counts[1]))
