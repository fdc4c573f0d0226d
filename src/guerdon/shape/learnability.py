"""What a proposed task is worth: most where the solver rarely succeeds, nothing where it never or always does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from guerdon.rollouts import Rollouts
from guerdon.terms import term

MODES = ("one_minus", "inverse")


def learnability_reward(accuracy: Tensor, mode: str = "one_minus") -> Tensor:
    """1 - accuracy; "one_minus" gives 0 at accuracy 0, "inverse" leaves it at 1 there (arXiv 2505.03335).

    Args:
        accuracy: Float tensor of any shape, in [0, 1].
        mode: "one_minus" or "inverse".

    Returns:
        Like `accuracy`.

    Raises:
        ValueError: A value outside [0, 1] or NaN, or an unknown mode.

    Example:
        >>> import torch
        >>> learnability_reward(torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0])).tolist()
        [0.0, 0.75, 0.5, 0.25, 0.0]
    """
    if mode not in MODES:
        raise ValueError(f"mode is {mode!r}: expected one of {MODES}")
    wrong = ~((accuracy >= 0) & (accuracy <= 1))
    if bool(wrong.any()):
        raise ValueError(f"accuracy has {float(accuracy[wrong].flatten()[0])}: expected numbers in [0, 1]")
    value = 1.0 - accuracy
    return torch.where(accuracy == 0, torch.zeros_like(value), value) if mode == "one_minus" else value


@dataclass(frozen=True)
class Learnability:
    """Reward proposals by the accuracy of the solver; see `learnability_reward`.

    Attributes:
        mode: "one_minus" or "inverse".
        accuracy: Name of the column of accuracies; a row without one (None) is no proposal and keeps its outcome.
    """

    mode: str = "one_minus"
    accuracy: str = "solver_accuracy"
    writes: ClassVar[tuple[str, ...]] = ("outcome",)

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"Learnability.mode is {self.mode!r}: expected one of {MODES}")

    @property
    def reads(self) -> tuple[str, ...]:
        """The outcome and the accuracies."""
        return ("outcome", self.accuracy)

    def __call__(self, rollouts: Rollouts) -> Rollouts:
        """Return the rollouts with the proposals' outcomes replaced."""
        accuracy = term(rollouts, self.accuracy)
        proposal = ~torch.isnan(accuracy)
        outcome = rollouts.outcome.clone()
        outcome[proposal] = learnability_reward(accuracy[proposal], self.mode)
        return rollouts.replace(outcome=outcome)
