"""Cross-entropy of an implicit reward, which is a log-likelihood ratio of two language models, against outcomes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from guerdon.batch import Batch
from guerdon.objective.clipped_surrogate import expect_logprobs
from guerdon.objective.ratios import sequence_log_ratio
from guerdon.objective.reward_losses import soft_bce
from guerdon.stages import Loss

REFERENCES = ("reference", "behaviour", "none")


def implicit_ce(reward: Tensor, label: Tensor, soft_labels: bool = False) -> Tensor:
    """-[ l log sigmoid(r) + (1 - l) log(1 - sigmoid(r)) ], the mean over responses, without a bias term.

    arXiv 2412.01981 (§3) and, for a reward model that learns online, arXiv 2502.01456 (eq. 4).

    Args:
        reward: (B,) float, beta times the summed log-ratio; NaN rows (no tokens) take no part.
        label: (B,) float, 0 or 1; NaN rows (not scored) take no part.
        soft_labels: Whether labels between 0 and 1 are allowed: a share of passed tests, say.

    Returns:
        0-dimensional tensor of at least float32. Differentiable.

    Raises:
        ValueError: A label other than 0 and 1, or outside [0, 1] for soft labels.
    """
    label = label if label.is_floating_point() else label.to(reward.dtype)
    hard = torch.isnan(label) | (label == 0) | (label == 1)
    if not soft_labels and not bool(hard.all()):
        row = int((~hard).nonzero()[0])
        raise ValueError(f"label in row {row} is {float(label[row])}: expected 0 or 1")
    return soft_bce(reward, label)


@dataclass(frozen=True)
class ImplicitCrossEntropy:
    """Train a language model so that beta log(pi / reference) of a response tells right ones from wrong ones.

    The labels are the outcomes. Unscored rows take no part.

    Attributes:
        beta: Scale of the log-ratio.
        reference: What the log-ratio is taken against: the "reference" policy, the "behaviour" policy that sampled the
            responses, or "none".
        soft_labels: Whether outcomes between 0 and 1 are allowed.
    """

    beta: float = 0.05
    reference: str = "reference"
    soft_labels: bool = False
    writes: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        if not self.beta > 0.0:
            raise ValueError(f"ImplicitCrossEntropy.beta is {self.beta}: expected a positive number")
        if self.reference not in REFERENCES:
            raise ValueError(f"ImplicitCrossEntropy.reference is {self.reference!r}: expected one of {REFERENCES}")

    @property
    def reads(self) -> tuple[str, ...]:
        """What the objective reads."""
        return ("outcome", "mask", *REFERENCE_FIELDS[self.reference])

    def __call__(self, logprobs: Tensor, batch: Batch) -> Loss:
        """Return the loss of log-probabilities (B, T) on a batch of the same rows.

        Raises:
            ValueError: Shapes differ, the reference's log-probabilities are missing, or an outcome is no label.
        """
        rollouts = batch.rollouts
        expect_logprobs(logprobs, rollouts.mask)
        reward = self.beta * sequence_log_ratio(logprobs, reference_logprobs(batch, self.reference), rollouts.mask)
        label = rollouts.outcome.to(reward.dtype)
        usable = ~(torch.isnan(reward) | torch.isnan(label))
        # soft_bce is a mean; the pieces of a batch add up when the sum is divided by what the batch says.
        value = implicit_ce(reward, label, self.soft_labels) * usable.sum() / max(batch.divisors.sequences, 1.0)
        right = ((reward > 0) == (label > 0.5))[usable]
        accuracy = float(right.float().mean()) if right.numel() else float("nan")
        return Loss(value, {"implicit_accuracy": accuracy, "implicit_reward": _mean(reward.detach()[usable])})


REFERENCE_FIELDS = {"reference": ("ref_logprobs",), "behaviour": ("logprobs",), "none": ()}
"""What each kind of reference reads."""


def reference_logprobs(batch: Batch, reference: str) -> Tensor | None:
    """The (B, T) log-probabilities that a log-ratio is taken against.

    Args:
        batch: The batch.
        reference: "reference", "behaviour" or "none".

    Returns:
        A tensor, or None for "none".

    Raises:
        ValueError: The rollouts don't hold them.
    """
    if reference == "none":
        return None
    name = REFERENCE_FIELDS[reference][0]
    found: Tensor | None = getattr(batch.rollouts, name)
    if found is None:
        raise ValueError(f"reference is {reference!r}: expected {name} in the rollouts")
    return found


def _mean(x: Tensor) -> float:
    return float(x.mean()) if x.numel() else float("nan")
