"""Noise put into rewards on purpose, and the repair of noisy ones by reasoning patterns (arXiv 2505.22653)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from guerdon import ops
from guerdon.rollouts import Rollouts
from guerdon.terms import flags, term

UNITS = ("question", "response")


def flip_rewards(
    r: Tensor, group_ids: Tensor, p: float, generator: torch.Generator, unit: str = "question"
) -> tuple[Tensor, Tensor]:
    """Turn r into 1 - r with probability p, for all responses to a question together, or one by one.

    Flips of single responses average out in a group's mean, those of questions do not.

    Args:
        r: (B,) float in {0, 1}; NaN rows stay NaN.
        group_ids: (B,) int64, the questions.
        p: Probability, in [0, 1].
        generator: Source of randomness, on the CPU; one number is drawn for each question in order of first appearance,
            or for each response.
        unit: "question" or "response".

    Returns:
        (B,) noisy rewards; and (number of questions,) or (B,) bool: what was flipped.

    Raises:
        ValueError: A reward other than 0, 1 or NaN, `p` out of range, or an unknown unit.
    """
    if unit not in UNITS:
        raise ValueError(f"unit is {unit!r}: expected one of {UNITS}")
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"p is {p}: expected a number in [0, 1]")
    wrong = ~torch.isnan(r) & (r != 0) & (r != 1)
    if bool(wrong.any()):
        row = int(wrong.nonzero()[0])
        raise ValueError(f"r in row {row} is {float(r[row])}: expected 0, 1 or NaN")
    ids, _ = ops.reduce(r, group_ids, "count")
    size = len(ids) if unit == "question" else len(r)
    coins = (torch.rand(size, generator=generator, dtype=torch.float64) < p).to(r.device)
    flipped = coins
    if unit == "question" and size:
        order = ids.argsort()
        flipped = coins[order][torch.searchsorted(ids[order], group_ids.contiguous())]
    return torch.where(flipped, 1.0 - r, r), coins


def calibrate_with_rpr(rm: Tensor, rpr: Tensor, valid: Tensor, tau: float = 0.5, alpha: float = 0.1) -> Tensor:
    """Lift low reward-model scores by a reasoning pattern reward: min(1, rm + alpha rpr) where rm is below tau.

    Args:
        rm: (B,) float in [0, 1]; NaN stays NaN.
        rpr: (B,) float in [0, 1]; a NaN adds nothing.
        valid: (B,) bool, well-formed; others get 0.
        tau: Scores from it on stay as they are.
        alpha: Weight of the pattern reward.

    Returns:
        (B,) of the dtype of `rm`.

    Raises:
        ValueError: Wrong shapes.

    Example:
        >>> import torch
        >>> rm, rpr = torch.tensor([0.1, 0.49, 0.5, 0.8, 0.3]), torch.tensor([0.6, 1.0, 1.0, 0.2, 0.9])
        >>> calibrate_with_rpr(rm, rpr, torch.tensor([True, True, True, True, False]))
        tensor([0.1600, 0.5900, 0.5000, 0.8000, 0.0000])
    """
    if rm.shape != rpr.shape or rm.shape != valid.shape:
        raise ValueError(f"rm {tuple(rm.shape)}, rpr {tuple(rpr.shape)}, valid {tuple(valid.shape)}: expected (B,)")
    bonus = alpha * torch.where(torch.isnan(rpr), torch.zeros_like(rpr), rpr).to(rm.dtype)
    lifted = torch.where(rm < tau, (rm + bonus).clamp(max=1.0), rm)
    return torch.where(valid > 0, lifted, torch.zeros_like(lifted))


def patterns_if_wrong(r: Tensor, rpr: Tensor, extracted: Tensor | None = None) -> Tensor:
    """1 for a right response, the reasoning pattern reward instead of 0 for a wrong one.

    Args:
        r: (B,) float in {0, 1}, perhaps noisy; NaN stays NaN.
        rpr: (B,) float.
        extracted: (B,) bool: an answer could be found; rows without get 0. None = all.

    Returns:
        (B,) of the dtype of `r`.
    """
    if r.shape != rpr.shape:
        raise ValueError(f"r {tuple(r.shape)}, rpr {tuple(rpr.shape)}: expected equal shapes")
    value = torch.where(r == 0, rpr.to(r.dtype), r)
    return value if extracted is None else torch.where(extracted | torch.isnan(r), value, torch.zeros_like(value))


@dataclass(frozen=True)
class NoisyReward:
    """Flip right and wrong of whole questions, to measure how much noise a method bears; see `flip_rewards`.

    The draws depend on the seed and the iteration alone, so a resumed run repeats them. Responses from which no answer
    could be extracted (the column `extracted`, where there is one, is None or empty) are never flipped. Columns:
    `true_outcome`, and `flipped` = whether the row's reward was changed.

    Attributes:
        p: Probability of a flip.
        unit: "question" or "response".
        seed: Seed of the draws.
    """

    p: float = 0.4
    unit: str = "question"
    seed: int = 0
    reads: ClassVar[tuple[str, ...]] = ("outcome", "group", "extracted")
    writes: ClassVar[tuple[str, ...]] = ("outcome", "true_outcome", "flipped")

    def __post_init__(self) -> None:
        empty = torch.zeros(0)
        flip_rewards(empty, empty.long(), self.p, torch.Generator(), self.unit)
        if self.seed < 0:
            raise ValueError(f"NoisyReward.seed is {self.seed}: expected 0 or more")

    def __call__(self, rollouts: Rollouts) -> Rollouts:
        """Return the rollouts with noisy outcomes."""
        # The hash keeps the draws of neighbouring seeds and iterations unrelated.
        mixed = np.random.SeedSequence((self.seed, rollouts.iteration)).generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(mixed[0]) >> 1)
        noisy, _ = flip_rewards(rollouts.outcome, rollouts.group, self.p, generator, self.unit)
        if "extracted" in rollouts.columns:
            found = [value is not None and value != "" for value in rollouts.column("extracted")]
            there = torch.tensor(found, dtype=torch.bool, device=rollouts.device)
            noisy = torch.where(there, noisy, rollouts.outcome)
        changed = (noisy != rollouts.outcome) & rollouts.scored
        columns = {"true_outcome": rollouts.outcome.tolist(), "flipped": changed.tolist()}
        return rollouts.replace(outcome=noisy).with_columns(**columns)


@dataclass(frozen=True)
class CalibrateWithPatterns:
    """Lift low outcomes of a noisy reward model by a reasoning pattern reward; see `calibrate_with_rpr`.

    Attributes:
        tau: Scores from it on stay as they are.
        alpha: Weight of the pattern reward.
        patterns: Name of the column of pattern rewards.
        format: Name of the column that says whether the response is well-formed.
    """

    tau: float = 0.5
    alpha: float = 0.1
    patterns: str = "reasoning_patterns"
    format: str = "format"
    writes: ClassVar[tuple[str, ...]] = ("outcome",)

    @property
    def reads(self) -> tuple[str, ...]:
        """The outcome, the pattern rewards and the format."""
        return ("outcome", self.patterns, self.format)

    def __call__(self, rollouts: Rollouts) -> Rollouts:
        """Return the rollouts with calibrated outcomes."""
        patterns, valid = term(rollouts, self.patterns), flags(rollouts, self.format)
        return rollouts.replace(outcome=calibrate_with_rpr(rollouts.outcome, patterns, valid, self.tau, self.alpha))


@dataclass(frozen=True)
class PatternsIfWrong:
    """Give wrong responses their reasoning pattern reward; see `patterns_if_wrong`.

    Attributes:
        patterns: Name of the column of pattern rewards.
    """

    patterns: str = "reasoning_patterns"
    writes: ClassVar[tuple[str, ...]] = ("outcome",)

    @property
    def reads(self) -> tuple[str, ...]:
        """The outcome, the pattern rewards, and whether an answer was found."""
        return ("outcome", self.patterns, "extracted")

    def __call__(self, rollouts: Rollouts) -> Rollouts:
        """Return the rollouts in which wrong outcomes are replaced."""
        extracted = None
        if "extracted" in rollouts.columns:
            found = [value is not None and value != "" for value in rollouts.column("extracted")]
            extracted = torch.tensor(found, dtype=torch.bool, device=rollouts.device)
        value = patterns_if_wrong(rollouts.outcome, term(rollouts, self.patterns), extracted)
        return rollouts.replace(outcome=value)
