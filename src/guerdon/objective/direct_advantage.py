"""Regression of the log-ratio of a step on its advantage (direct advantage policy optimisation, arXiv 2412.18279).

Not the other method of the same initials (decoupled clip and dynamic sampling).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from guerdon import ops
from guerdon.batch import Batch
from guerdon.objective import pieces
from guerdon.objective.clipped_surrogate import expect_logprobs
from guerdon.objective.implicit_cross_entropy import REFERENCE_FIELDS, reference_logprobs
from guerdon.objective.ratios import at_least_float32
from guerdon.stages import Loss

_BISECTIONS = 70
"""Halvings of the range of log lambda, 2000 wide: what is left is below the resolution of float64."""

_NEWTON_STEPS = 20


def step_logprob(logprobs: Tensor, mask: Tensor, span: tuple[int, int] | Tensor | None = None) -> Tensor:
    """Log-probability of a step: the sum over its tokens, never a mean.

    Args:
        logprobs: (B, T) float.
        mask: (B, T) bool.
        span: Half-open positions of the step: one pair for all rows, or (B, 2) int64; None = the whole row.

    Returns:
        (B,) at least float32. Differentiable.
    """
    wide = at_least_float32(logprobs)
    if span is None:
        return ops.masked_sum(wide, mask, 1)
    ends = torch.as_tensor(span, device=mask.device)
    if ends.shape not in ((2,), (len(mask), 2)):
        raise ValueError(f"span has shape {tuple(ends.shape)}: expected (2,) or ({len(mask)}, 2)")
    place = torch.arange(mask.shape[1], device=mask.device)
    inside = (place >= ends[..., :1]) & (place < ends[..., 1:])
    return ops.masked_sum(wide, mask & inside, 1)


def direct_advantage_loss(
    step_logprob: Tensor,
    ref_step_logprob: Tensor,
    advantage: Tensor,
    beta: float,
    *,
    weight: Tensor | None = None,
    counts: float | None = None,
) -> Tensor:
    """1/2 (A / beta - log(pi / ref))^2, the mean over state-action pairs (arXiv 2412.18279, eq. 11).

    Args:
        step_logprob: (N,) float (or any shape) with gradient, summed over the step's tokens.
        ref_step_logprob: (N,) float.
        advantage: (N,) float; NaN pairs take no part.
        beta: Strength of the KL that the optimum pays; positive.
        weight: (N,) float, multiplies the pairs' losses, not what is divided by.
        counts: Number of pairs to divide by instead of those here.

    Returns:
        0-dimensional tensor of at least float32.

    Raises:
        ValueError: `beta` is not positive, or shapes differ.

    Example:
        >>> import torch
        >>> logprob, ref = torch.tensor([-5.0, -7.5, -9.0]), torch.tensor([-6.0, -7.0, -6.0])
        >>> round(float(direct_advantage_loss(logprob, ref, torch.tensor([0.3, 0.0, -0.3]), 0.5)), 6)
        1.028333
    """
    if not beta > 0.0:
        raise ValueError(f"beta is {beta}: expected a positive number")
    for name, value in (("ref_step_logprob", ref_step_logprob), ("advantage", advantage)):
        if value.shape != step_logprob.shape:
            raise ValueError(f"{name} has shape {tuple(value.shape)}: expected {tuple(step_logprob.shape)}")
    known = ~torch.isnan(advantage)
    difference = torch.where(known, advantage / beta - (step_logprob - ref_step_logprob), 0.0)
    loss = 0.5 * difference.square()
    number = max(float(known.sum()) if counts is None else counts, 1.0)
    return ops.masked_sum(loss if weight is None else loss * weight, known) / number


def tabular_direct_advantage(ref: Tensor, advantage: Tensor, nu: Tensor, beta: float) -> Tensor:
    """The policy of one state that minimises the loss among all that sum to 1 (arXiv 2412.18279, theorem 3.2).

    u = log(pi / ref) solves u + lambda (ref / nu) exp(u) = A / beta, with the one lambda that normalises. This is not
    ref exp(A / beta) / Z, which it comes near only for large beta.

    Args:
        ref: (A,) float, the reference policy, positive.
        advantage: (A,) float, with mean 0 under `ref`.
        nu: (A,) float, the sampling weights of the actions, positive.
        beta: Positive.

    Returns:
        (A,) float64, summing to 1.

    Raises:
        ValueError: `beta` is not positive, a weight is not positive, or the advantages' mean under `ref` is below 0.

    Example:
        >>> import torch
        >>> ref, advantage = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.2, -0.1, -0.35])
        >>> tabular_direct_advantage(ref, advantage, torch.full((3,), 1 / 3), 0.25).round(decimals=6).tolist()
        [0.767827, 0.183988, 0.048184]
    """
    if not beta > 0.0:
        raise ValueError(f"beta is {beta}: expected a positive number")
    start, weight, target = ref.double(), nu.double(), advantage.double() / beta
    if not bool(((start > 0) & (weight > 0)).all()):
        raise ValueError(f"ref is {ref.tolist()}, nu is {nu.tolist()}: expected positive numbers")
    start = start / start.sum()
    if float((start * target).sum()) < -1e-6:
        raise ValueError(f"the advantages' mean under ref is {float((start * advantage.double()).sum())}: expected 0")
    pull = torch.log(start / weight)

    def mass(log_lambda: Tensor) -> Tensor:
        return (start * torch.exp(target - _omega(log_lambda + pull + target))).sum()

    low, high = torch.tensor(-1e3).double(), torch.tensor(1e3).double()
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        heavy = mass(middle) > 1.0
        low, high = torch.where(heavy, middle, low), torch.where(heavy, high, middle)
    policy = start * torch.exp(target - _omega((low + high) / 2 + pull + target))
    return policy / policy.sum()


def _omega(z: Tensor) -> Tensor:
    """Wright's omega function, w with w + log w = z, by Newton's method, which converges from either start."""
    w = torch.where(z > 1.0, z, torch.exp(z.clamp(max=1.0)))
    tiny = torch.finfo(w.dtype).tiny
    w = w.clamp(min=tiny)
    for _ in range(_NEWTON_STEPS):
        w = (w * (1.0 + z - torch.log(w)) / (1.0 + w)).clamp(min=tiny)
    return w


@dataclass(frozen=True)
class DirectAdvantage:
    """Regression of each step's log-ratio on its advantage (arXiv 2412.18279).

    A step of a row is one state-action pair; a row without steps is one pair. Its advantage is that of its first token.
    Pairs that were not scored (neither the row's outcome nor the step's process reward is known) take no part.

    Attributes:
        beta: Strength of the KL that the optimum pays; the advantages are divided by it.
        reference: What the log-ratio is taken against: the "reference" policy or the "behaviour" policy, which are one
            and the same in the paper.
    """

    beta: float = 0.01
    reference: str = "reference"
    writes: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        if not self.beta > 0.0:
            raise ValueError(f"DirectAdvantage.beta is {self.beta}: expected a positive number")
        if self.reference not in ("reference", "behaviour"):
            raise ValueError(f"DirectAdvantage.reference is {self.reference!r}: expected 'reference' or 'behaviour'")

    @property
    def reads(self) -> tuple[str, ...]:
        """What the objective reads."""
        return ("advantages", "outcome", "process", "step", "mask", *REFERENCE_FIELDS[self.reference])

    def prepare(self, batch: Batch) -> Batch:
        """Note in a whole batch how many pairs it has; see `guerdon.objective.pieces`."""
        return pieces.note(batch, "actions", float((~torch.isnan(_pairs(batch.training)[1])).sum()))

    def __call__(self, logprobs: Tensor, batch: Batch) -> Loss:
        """Return the loss of log-probabilities (B, T) on a batch of the same rows.

        Raises:
            ValueError: Shapes differ, or the reference's log-probabilities are missing.
        """
        mask = batch.rollouts.mask
        expect_logprobs(logprobs, mask)
        step, advantage = _pairs(batch)
        reference = reference_logprobs(batch, self.reference)
        assert reference is not None
        width = advantage.shape[1]
        policy, ref = (ops.pool(torch.where(mask, x, 0.0), step, width, "sum") for x in (logprobs, reference))
        known = ~torch.isnan(advantage)
        number = pieces.amount(batch, "actions", float(known.sum()))
        weight = batch.weights[:, None].expand(advantage.shape)
        loss = direct_advantage_loss(policy, ref, advantage, self.beta, weight=weight, counts=number)
        metrics = {
            "target_abs_mean": float(ops.masked_mean((advantage / self.beta).abs(), known)),
            "log_ratio_mean": float(ops.masked_mean(policy.detach() - ref, known)),
        }
        return Loss(loss, metrics)


def _pairs(batch: Batch) -> tuple[Tensor, Tensor]:
    """(B, T) the steps, and (B, S) the advantages, NaN where there is no scored pair."""
    rollouts = batch.rollouts
    whole = ~(rollouts.step >= 0).any(1, keepdim=True)
    step = torch.where(whole, rollouts.mask.long() - 1, rollouts.step)
    width = max(rollouts.n_steps, 1)
    advantage = ops.pool(batch.advantages, step, width, "first")
    process = torch.nn.functional.pad(rollouts.process, (0, width - rollouts.n_steps), value=torch.nan)
    scored = rollouts.scored[:, None] | ~torch.isnan(process)
    return step, torch.where(scored, advantage, torch.nan)
