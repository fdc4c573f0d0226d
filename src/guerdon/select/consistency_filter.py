"""Selection by the agreement of a process reward model with the outcome (PROF, arXiv 2509.03403)."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from guerdon import ops
from guerdon.rollouts import Rollouts
from guerdon.selection import Selection

MODES = ("both", "correct", "incorrect", "joint", "ratio", "random")
AGGREGATES = ("mean", "min", "sum")
LOW_CORRECT, HIGH_INCORRECT = "low-consistency correct", "high-process incorrect"
RANDOM_CORRECT, RANDOM_INCORRECT, UNSCORED = "random correct", "random incorrect", "unscored"


def process_consistency(
    process: Tensor,
    outcome: Tensor,
    penalty: float = 10.0,
    min_steps: int = 2,
    max_steps: int = 30,
    centre: float | None = None,
    aggregate: str = "mean",
    penalise: str = "both",
) -> Tensor:
    """How far the process rewards agree with the outcome, high = they agree, in both classes.

    With o = 2 outcome - 1 and m the centre, c = 2 o (aggregate(process) - m) - penalty [S < min_steps or
    S > max_steps], as in the official code. With `penalise="paper"` the penalty stands inside the bracket that o
    multiplies, so that an incorrect response of too few or too many steps gains by it.

    Args:
        process: (B, S) float, probability that a step is right; NaN = no such step, or not scored. Values outside
            [0, 1] are warned of.
        outcome: (B,) in {0, 1}, or NaN for a row that could not be scored.
        penalty: What a row with an unusual number of scored steps loses.
        min_steps: The smallest usual number.
        max_steps: The largest usual number.
        centre: m; None = the mean over all scored steps of the batch. It never changes an order inside a class.
        aggregate: "mean", "min" or "sum" over the scored steps.
        penalise: "both" classes lose the penalty (official code), or as in the "paper".

    Returns:
        (B,) float; a row without any scored step has 0 before the penalty, an unscored row NaN.

    Raises:
        ValueError: An outcome other than 0, 1 or NaN, wrong shapes, or an unknown choice.

    Example:
        >>> import torch
        >>> process = torch.tensor([[0.9, 0.9, 0.9], [0.9, 0.4, float("nan")]])
        >>> process_consistency(process, torch.tensor([1.0, 0.0]), centre=0.5).tolist()
        [0.7999999523162842, -0.2999999523162842]
    """
    if process.ndim != 2 or outcome.shape != process.shape[:1]:
        raise ValueError(f"process {tuple(process.shape)}, outcome {tuple(outcome.shape)}: expected (B, S) and (B,)")
    if aggregate not in AGGREGATES:
        raise ValueError(f"aggregate is {aggregate!r}: expected one of {AGGREGATES}")
    if penalise not in ("both", "paper"):
        raise ValueError(f"penalise is {penalise!r}: expected 'both' or 'paper'")
    _check_binary(outcome)
    scored = ~torch.isnan(process)
    if bool(((process < 0) | (process > 1)).any()):
        warnings.warn("process has values outside [0, 1]: expected probabilities of right steps", stacklevel=2)
    count = scored.sum(1)
    if centre is None:
        centre = float(process[scored].double().mean()) if bool(scored.any()) else 0.0
    base = 2.0 * (ops.aggregate(process, aggregate) - centre)
    base = torch.where(count > 0, base, torch.zeros_like(base))
    unusual = penalty * ((count < min_steps) | (count > max_steps)).to(base.dtype)
    sign = 2.0 * outcome.to(base.dtype) - 1.0
    return sign * (base - unusual) if penalise == "paper" else sign * base - unusual


def _check_binary(outcome: Tensor) -> None:
    wrong = ~torch.isnan(outcome) & (outcome != 0) & (outcome != 1)
    if bool(wrong.any()):
        row = int(wrong.nonzero()[0])
        raise ValueError(f"outcome in row {row} is {float(outcome[row])}: expected 0, 1 or NaN")


def consistency_filter(
    score: Tensor,
    outcome: Tensor,
    group: Tensor,
    n_remove: int,
    mode: str = "both",
    generator: torch.Generator | None = None,
) -> tuple[Tensor, tuple[str, ...]]:
    """Drop `n_remove` rows of every group: the lowest scores, in numbers that balance correct against incorrect.

    Unscored rows belong to no class: they are dropped besides, and are not counted in the size of the group.
    Ties drop the lower row first.

    Args:
        score: (B,) float, the consistency of each row; NaN allowed for unscored rows only.
        outcome: (B,) in {0, 1} or NaN.
        group: (B,) int64.
        n_remove: Rows to drop of a group; all of them if the group is not larger.
        mode: "both": each class by score. "correct": correct rows by score, incorrect ones at random (the paper's
            PROF-POS). "incorrect": the other way round. "joint": one ranking over both classes. "ratio": each class
            by score, dropping each in proportion to its size. "random": each class at random.
        generator: Source of randomness; needed by "correct", "incorrect" and "random".

    Returns:
        (B,) bool of kept rows, and for each row the reason why it was dropped ("" for kept ones).

    Raises:
        ValueError: An unknown mode, a negative `n_remove`, a missing generator, a NaN score of a scored row.
    """
    if mode not in MODES:
        raise ValueError(f"mode is {mode!r}: expected one of {MODES}")
    if n_remove < 0:
        raise ValueError(f"n_remove is {n_remove}: expected 0 or more")
    if mode in ("correct", "incorrect", "random") and generator is None:
        raise ValueError(f"mode {mode!r} drops rows at random: expected a generator")
    _check_binary(outcome)
    valid = ~torch.isnan(outcome)
    if bool((valid & torch.isnan(score)).any()):
        row = int((valid & torch.isnan(score)).nonzero()[0])
        raise ValueError(f"score in row {row} is NaN though its outcome was scored: expected a number")
    correct = valid & (outcome == 1)
    quota = _drop_quota(correct, valid, group, n_remove, mode)
    rank = _rank_in_class(score, correct, valid, group, mode, generator)
    kept = valid & (rank >= quota)
    return kept, _reasons(kept, correct, valid, mode)


def _drop_quota(correct: Tensor, valid: Tensor, group: Tensor, n_remove: int, mode: str) -> Tensor:
    """(B,) int64: how many rows of this row's ranking list are dropped."""
    n_correct = ops.sum(correct.double(), group)
    n_valid = ops.sum(valid.double(), group)
    remove = n_valid.clamp(max=n_remove)
    if mode == "joint":
        return remove.long()
    if mode == "ratio":
        # torch.round is half to even, like the official balancing.
        drop_correct = torch.round(remove * n_correct / n_valid.clamp(min=1.0))
    else:
        keep_correct, _ = ops.balanced_counts(n_correct, n_valid - n_correct, n_valid - remove)
        drop_correct = n_correct - keep_correct
    return torch.where(correct, drop_correct, remove - drop_correct).long()


def _rank_in_class(
    score: Tensor, correct: Tensor, valid: Tensor, group: Tensor, mode: str, generator: torch.Generator | None
) -> Tensor:
    """(B,) int64: position of the row, from 0 = dropped first, in its ranking list."""
    value = score.double()
    if generator is not None and mode in ("correct", "incorrect", "random"):
        noise = torch.rand(len(score), generator=generator, dtype=torch.float64).to(score.device)
        at_random = {"correct": ~correct, "incorrect": correct, "random": torch.ones_like(correct)}[mode]
        value = torch.where(at_random, noise, value)
    value = torch.where(valid, value, torch.nan)
    _, dense = torch.unique(group, return_inverse=True)
    key = dense if mode == "joint" else 2 * dense + correct.long()
    return ops.rank(value, key, descending=False, ties="first")


def _reasons(kept: Tensor, correct: Tensor, valid: Tensor, mode: str) -> tuple[str, ...]:
    for_correct = RANDOM_CORRECT if mode in ("incorrect", "random") else LOW_CORRECT
    for_incorrect = RANDOM_INCORRECT if mode in ("correct", "random") else HIGH_INCORRECT
    rows = zip(kept.tolist(), correct.tolist(), valid.tolist(), strict=True)
    return tuple(
        "" if keep else UNSCORED if not scored else for_correct if right else for_incorrect
        for keep, right, scored in rows
    )


@dataclass(frozen=True)
class ConsistencyFilter:
    """Keep the responses on which the process reward model and the verifier agree (PROF).

    Attributes:
        n_remove: Rows to drop of every group.
        mode: Which classes are ranked by consistency; see `consistency_filter`.
        aggregate: How process rewards become one number a row: "mean", "min" or "sum".
        penalty: What a row with an unusual number of steps loses.
        min_steps: The smallest usual number of steps.
        max_steps: The largest usual number of steps.
        penalise: Where the penalty stands; see `process_consistency`.
        rank_by: "consistency", or "steps" to rank by the number of scored steps (an ablation).
        threshold: Rows with an outcome above it are correct.
        seed: With the iteration, seeds the random modes.
    """

    n_remove: int = 4
    mode: str = "both"
    aggregate: str = "mean"
    penalty: float = 10.0
    min_steps: int = 2
    max_steps: int = 30
    penalise: str = "both"
    rank_by: str = "consistency"
    threshold: float = 0.5
    seed: int = 0
    reads: ClassVar[tuple[str, ...]] = ("outcome", "process", "group")
    writes: ClassVar[tuple[str, ...]] = ("kept",)

    def __post_init__(self) -> None:
        if self.n_remove < 0:
            raise ValueError(f"ConsistencyFilter.n_remove is {self.n_remove}: expected 0 or more")
        choices = {"mode": MODES, "aggregate": AGGREGATES, "penalise": ("both", "paper")}
        for name, allowed in {**choices, "rank_by": ("consistency", "steps")}.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"ConsistencyFilter.{name} is {getattr(self, name)!r}: expected one of {allowed}")

    def __call__(self, rollouts: Rollouts) -> Selection:
        """Return the selection with the reason for every dropped row."""
        outcome = torch.where(rollouts.scored, (rollouts.outcome > self.threshold).float(), torch.nan)
        steps = (~torch.isnan(rollouts.process)).sum(1)
        score = steps.float() if self.rank_by == "steps" else self._consistency(rollouts.process, outcome)
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + rollouts.iteration)
        kept, reason = consistency_filter(score, outcome, rollouts.group, self.n_remove, self.mode, generator)
        metrics = filter_metrics(rollouts.process, outcome, score, kept)
        unusual = (steps < self.min_steps) | (steps > self.max_steps)
        metrics["penalised"] = float(unusual.float().mean()) if len(rollouts) else 0.0
        return Selection(kept, reason=reason, metrics=metrics)

    def _consistency(self, process: Tensor, outcome: Tensor) -> Tensor:
        return process_consistency(
            process,
            outcome,
            penalty=self.penalty,
            min_steps=self.min_steps,
            max_steps=self.max_steps,
            aggregate=self.aggregate,
            penalise=self.penalise,
        )


def filter_metrics(process: Tensor, outcome: Tensor, score: Tensor, kept: Tensor) -> dict[str, float]:
    """What a filter did: share kept, mean score a class, and the process reward gap between the classes.

    Args:
        process: (B, S) float with NaN.
        outcome: (B,) in {0, 1} or NaN.
        score: (B,) float.
        kept: (B,) bool.
    """
    level = ops.aggregate(process, "mean")

    def mean(values: Tensor, where: Tensor) -> float:
        chosen = values[where & ~torch.isnan(values)]
        return float(chosen.mean()) if chosen.numel() else float("nan")

    def gap(where: Tensor) -> float:
        return mean(level, where & (outcome == 1)) - mean(level, where & (outcome == 0))

    everything = torch.ones_like(kept)
    steps = (~torch.isnan(process)).sum(1).float()
    return {
        "kept_fraction": float(kept.float().mean()) if len(kept) else 0.0,
        "score_correct": mean(score, outcome == 1),
        "score_incorrect": mean(score, outcome == 0),
        "process_gap_before": gap(everything),
        "process_gap_after": gap(kept),
        "mean_steps": mean(steps, everything),
    }
