"""Process rewards shifted by the outcome, so that no step of a failure is rewarded (arXiv 2509.25598)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from guerdon.ops.edges import is_last
from guerdon.rollouts import Rollouts

LAST = ("outcome", "shift")


def renorm(
    process: Tensor,
    outcome: Tensor,
    beta: float = 1.0,
    last_step: str = "outcome",
    missing: float | None = 0.0,
    *,
    exists: Tensor | None = None,
) -> Tensor:
    """Give every step p + r - beta, but the last the outcome r.

    With beta 1 and r in {0, 1} the steps of a success have rewards in [0, 1], those of a failure in [-1, 0].

    Args:
        process: (B, S) float in [0, 1], NaN = not judged.
        outcome: (B,) float; NaN rows get NaN.
        beta: The centre that is taken off.
        last_step: What the last step gets: the "outcome" in place of its own score, or the same "shift" as the others.
        missing: What an unjudged step counts as before the shift, so that it does not pay to be unjudged; None = it
            stays NaN.
        exists: (B, S) bool, the steps that are there, the answer among them; None = all.

    Returns:
        (B, S) of the dtype of `process`, NaN where no step exists.

    Raises:
        ValueError: A score outside [0, 1], wrong shapes, or an unknown choice.

    Example:
        >>> import torch
        >>> process = torch.tensor([[0.75, 1.0, float("nan")]] * 2)
        >>> renorm(process, torch.tensor([1.0, 0.0])).tolist()
        [[0.75, 1.0, 1.0], [-0.25, 0.0, 0.0]]
    """
    if last_step not in LAST:
        raise ValueError(f"last_step is {last_step!r}: expected one of {LAST}")
    there = torch.ones_like(process, dtype=torch.bool) if exists is None else exists
    if process.ndim != 2 or there.shape != process.shape or outcome.shape != process.shape[:1]:
        raise ValueError(
            f"process {tuple(process.shape)}, outcome {tuple(outcome.shape)}, exists {tuple(there.shape)}: "
            "expected (B, S), (B,) and (B, S)"
        )
    last = is_last(there)
    judged = there if last_step == "shift" else there & ~last
    wrong = judged & ((process < 0) | (process > 1))
    if bool(wrong.any()):
        row, step = (int(number) for number in wrong.nonzero()[0])
        raise ValueError(f"process in row {row}, step {step} is {float(process[row, step])}: expected [0, 1] or NaN")
    score = process if missing is None else torch.where(torch.isnan(process), missing, process)
    result = outcome.to(process.dtype)[:, None].expand(process.shape)
    shifted = score + (result - beta)
    value = torch.where(last, result, shifted) if last_step == "outcome" else shifted
    return torch.where(there, value, torch.nan)


@dataclass(frozen=True)
class OutcomeShift:
    """Shift process rewards by the outcome; the last step carries the outcome itself. See `renorm`.

    The outcome stays as it is: a credit that sums process rewards must not add it again.

    Attributes:
        beta: The centre that is taken off.
        last_step: "outcome" or "shift".
        missing: What an unjudged step counts as before the shift; None = it stays unscored.
    """

    beta: float = 1.0
    last_step: str = "outcome"
    missing: float | None = 0.0
    reads: ClassVar[tuple[str, ...]] = ("process", "outcome", "step")
    writes: ClassVar[tuple[str, ...]] = ("process",)

    def __post_init__(self) -> None:
        if self.last_step not in LAST:
            raise ValueError(f"OutcomeShift.last_step is {self.last_step!r}: expected one of {LAST}")

    def __call__(self, rollouts: Rollouts) -> Rollouts:
        """Return the rollouts with shifted process rewards."""
        shifted = renorm(
            rollouts.process,
            rollouts.outcome,
            self.beta,
            self.last_step,
            self.missing,
            exists=rollouts.step_exists,
        )
        return rollouts.replace(process=shifted)
