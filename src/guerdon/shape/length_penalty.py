"""Rewards that depend on the length of a response, against a yardstick.

Four yardsticks: the mean length of the group's right responses acts on its wrong ones (arXiv 2510.05283; the published
shape of that function was not available, this one has its ingredients); the z-score among the right responses acts on
right ones, in the groups that are solved best (arXiv 2505.18086); the length of a reference answer (arXiv 2506.13351);
a limit of tokens (the official code of arXiv 2502.18770).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from guerdon import ops
from guerdon.rollouts import Rollouts
from guerdon.shape.terms import keep_raw
from guerdon.terms import term

SIDES = ("short", "long", "both")
SELECTORS = ("top", "threshold")
YARDSTICKS = ("correct_mean", "correct_zscore", "reference", "limit")
_STRENGTH = {"correct_mean": 0.5, "correct_zscore": 0.2, "reference": 0.5, "limit": 0.01}


def _lengths(lengths: Tensor, like: Tensor, name: str = "lengths") -> Tensor:
    """Lengths as floats of the dtype of the rewards, at least float32."""
    if lengths.shape != like.shape or like.ndim != 1:
        raise ValueError(f"{name} {tuple(lengths.shape)}, rewards {tuple(like.shape)}: expected (B,) and (B,)")
    if bool((lengths < 0).any()):
        row = int((lengths < 0).nonzero()[0])
        raise ValueError(f"{name} in row {row} is {float(lengths[row])}: expected 0 or more")
    wide = lengths.dtype == torch.float64 or like.dtype == torch.float64
    return lengths.to(torch.float64 if wide else torch.float32)


def _right(correct: Tensor) -> tuple[Tensor, Tensor]:
    """((B,) bool right, (B,) bool scored) from bools, or numbers of which those above 0 are right."""
    scored = ~torch.isnan(correct) if correct.is_floating_point() else torch.ones_like(correct, dtype=torch.bool)
    return (correct > 0) & scored, scored


def group_length_penalty(
    lengths: Tensor, correct: Tensor, group_ids: Tensor, *, tau: float = 0.2, p_max: float = 0.5, side: str = "short"
) -> Tensor:
    """Penalty on wrong responses that are far from the mean length L of the right ones of their group.

    With x = length / L the distance d is 1 - x ("short"), x - 1 ("long") or |x - 1| ("both"), and the penalty
    -p_max clip((d - tau) / (1 - tau), 0, 1).

    Args:
        lengths: (B,) lengths in tokens, 0 or more.
        correct: (B,) bool, or numbers of which those above 0 are right; a NaN row takes no part and gets NaN.
        group_ids: (B,) int64.
        tau: Tolerance, in [0, 1).
        p_max: Largest penalty, 0 or more.
        side: "short", "long" or "both".

    Returns:
        (B,) float in [-p_max, 0]; 0 for right responses and in groups without any.

    Raises:
        ValueError: A parameter out of range, a negative length, wrong shapes.

    Example:
        >>> import torch
        >>> lengths, right = torch.tensor([200, 100, 30, 140, 400]), torch.tensor([True, True, False, False, False])
        >>> penalty = group_length_penalty(lengths, right, torch.zeros(5, dtype=torch.int64), tau=0.25, p_max=1.0)
        >>> [round(x, 6) + 0.0 for x in penalty.tolist()]
        [0.0, 0.0, -0.733333, 0.0, 0.0]
    """
    if not 0.0 <= tau < 1.0:
        raise ValueError(f"tau is {tau}: expected a number in [0, 1)")
    if not p_max >= 0.0:
        raise ValueError(f"p_max is {p_max}: expected 0 or more")
    if side not in SIDES:
        raise ValueError(f"side is {side!r}: expected one of {SIDES}")
    length = _lengths(lengths, correct)
    right, scored = _right(correct)
    usual = ops.mean(length, group_ids, right)
    x = torch.where(usual > 0, length / torch.where(usual > 0, usual, 1.0), torch.where(length > 0, torch.inf, 1.0))
    distance = {"short": 1.0 - x, "long": x - 1.0, "both": (x - 1.0).abs()}[side]
    penalty = -p_max * ((distance - tau) / (1.0 - tau)).clamp(0.0, 1.0)
    penalised = scored & ~right & ~torch.isnan(usual)
    return torch.where(scored, torch.where(penalised, penalty, 0.0), torch.nan)


def correctness_ratio(correct: Tensor, group_ids: Tensor) -> tuple[Tensor, Tensor]:
    """Share of right responses of each group, over those that could be scored.

    Args:
        correct: (B,) bool, or numbers of which those above 0 are right; NaN rows take no part.
        group_ids: (B,) int64.

    Returns:
        (N,) int64 ids in order of first appearance, and (N,) float shares; NaN for a group without scored rows.
    """
    right, scored = _right(correct)
    dtype = torch.float64 if correct.dtype == torch.float64 else torch.float32
    return ops.reduce(right.to(dtype), group_ids, "mean", scored)


def top_lambda_groups(ratio: Tensor, lam: float) -> Tensor:
    """The floor(lam N) groups of the highest ratio; earlier groups first among equals, never a ratio of 0.

    Args:
        ratio: (N,) float.
        lam: Share in [0, 1].

    Returns:
        (N,) bool.

    Raises:
        ValueError: `lam` outside [0, 1].
    """
    if not 0.0 <= lam <= 1.0:
        raise ValueError(f"lam is {lam}: expected a number in [0, 1]")
    return ops.top_fraction(ratio, lam) & (ratio > 0)


def length_penalty_reward(correct: Tensor, lengths: Tensor, group_ids: Tensor, alpha: float = 0.2) -> Tensor:
    """Reward right responses with 1 - alpha sigmoid(z), z = the length's z-score among the right ones of the group.

    The standard deviation is the population's.

    Args:
        correct: (B,) bool, or numbers in {0, 1}; a NaN row takes no part and gets NaN.
        lengths: (B,) lengths in tokens.
        group_ids: (B,) int64.
        alpha: Strength in [0, 1).

    Returns:
        (B,) float: in [1 - alpha, 1] for right responses, 0 for wrong ones; z is 0 where right lengths are equal.

    Raises:
        ValueError: `alpha` out of range, a negative length, wrong shapes.
    """
    if not 0.0 <= alpha < 1.0:
        raise ValueError(f"alpha is {alpha}: expected a number in [0, 1)")
    length = _lengths(lengths, correct)
    right, scored = _right(correct)
    z = ops.normalize(length, group_ids, ddof=0, eps=0.0, where=right)
    reward = torch.where(right, 1.0 - alpha * torch.sigmoid(z), torch.zeros_like(z))
    return torch.where(scored, reward, torch.nan)


def grpo_lambda_rewards(
    correct: Tensor,
    lengths: Tensor,
    group_ids: Tensor,
    lam: float = 0.2,
    alpha: float = 0.2,
    selector: str = "top",
    theta: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Right = 1, wrong = 0, with the length penalty in the best solved groups only.

    The choice is over all groups given: give it the whole batch, not a piece or one process's share.

    Args:
        correct: (B,) bool, or numbers in {0, 1}; NaN rows take no part and get NaN.
        lengths: (B,) lengths in tokens.
        group_ids: (B,) int64.
        lam: Share of the groups that is penalised, for "top".
        alpha: Strength in [0, 1).
        selector: "top" = the share `lam` with the highest ratio of right responses; "threshold" = all with a ratio of
            at least `theta`.
        theta: For "threshold".

    Returns:
        (B,) rewards, and (B,) bool: the row's group was chosen.

    Raises:
        ValueError: A parameter out of range, a negative length, wrong shapes.
    """
    if selector not in SELECTORS:
        raise ValueError(f"selector is {selector!r}: expected one of {SELECTORS}")
    if selector == "threshold" and theta is None:
        raise ValueError("selector is 'threshold': expected theta")
    ids, ratio = correctness_ratio(correct, group_ids)
    chosen = top_lambda_groups(ratio, lam) if theta is None or selector == "top" else (ratio >= theta) & (ratio > 0)
    order = ids.argsort()
    place = torch.searchsorted(ids[order], group_ids.contiguous())
    penalised = chosen[order][place] if len(ids) else torch.zeros_like(group_ids, dtype=torch.bool)
    short = length_penalty_reward(correct, lengths, group_ids, alpha)
    plain = length_penalty_reward(correct, lengths, group_ids, 0.0)
    return torch.where(penalised, short, plain), penalised


def length_reward(n_ref: Tensor, n_gen: Tensor, beta: float = 0.5) -> Tensor:
    """1 - beta |n_ref - n_gen| / n_ref: 1 at the reference's length, not bounded below.

    Args:
        n_ref: (B,) lengths of the references, above 0; NaN gives NaN.
        n_gen: (B,) lengths of the answers.
        beta: Strength.

    Returns:
        (B,) float32 (float64 for float64 input).

    Raises:
        ValueError: A reference of length 0 or less, wrong shapes.

    Example:
        >>> import torch
        >>> round(length_reward(torch.tensor([40]), torch.tensor([58])).item(), 6)
        0.775
    """
    made = _lengths(n_gen, n_ref, "n_gen")
    wanted = n_ref.to(made.dtype)
    if bool((wanted <= 0).any()):
        row = int((wanted <= 0).nonzero()[0])
        raise ValueError(f"n_ref in row {row} is {float(wanted[row])}: expected a length above 0")
    return 1.0 - beta * (wanted - made).abs() / wanted


def length_penalised(r: Tensor, lengths: Tensor, limit: float = 300, per_token: float = 0.01) -> Tensor:
    """Take off `per_token` for every token beyond the limit.

    Args:
        r: (B,) float; NaN stays NaN.
        lengths: (B,) lengths in tokens.
        limit: Tokens that cost nothing.
        per_token: Cost of a token beyond.

    Returns:
        (B,) of the dtype of `r`.

    Example:
        >>> import torch
        >>> [round(x, 2) for x in length_penalised(torch.full((3,), 3.0), torch.tensor([300, 301, 512])).tolist()]
        [3.0, 2.99, 0.88]
    """
    over = (_lengths(lengths, r) - limit).clamp(min=0)
    return (r - per_token * over).to(r.dtype)


@dataclass(frozen=True)
class LengthPenalty:
    """Make the outcome depend on the length of the response.

    Columns: `length_penalty` is what was added to the outcome; `length_penalised`, with "correct_zscore", whether the
    row's group was chosen; `raw_outcome` the outcome before.

    Attributes:
        yardstick: "correct_mean": wrong responses lose, by `group_length_penalty`; "correct_zscore": right ones
            are scaled by `grpo_lambda_rewards`; "reference": `length_reward` is added; "limit": `length_penalised`.
        strength: Largest penalty, alpha, beta or cost of a token. None = 0.5, 0.2, 0.5 or 0.01.
        side: "short", "long" or "both", for "correct_mean".
        tolerance: Relative distance that costs nothing, for "correct_mean".
        fraction: Share of the groups that is penalised, for "correct_zscore".
        threshold: Instead of `fraction`: groups with at least this share of right responses.
        limit: Tokens that cost nothing, for "limit".
        right_from: Outcome from which a response counts as right.
        length: Name of the term that is the length; "length" = policy tokens, unless there is such a column.
        reference: Name of the column of the references' lengths, for "reference".
    """

    yardstick: str = "correct_mean"
    strength: float | None = None
    side: str = "short"
    tolerance: float = 0.2
    fraction: float = 0.2
    threshold: float | None = None
    limit: float = 300
    right_from: float = 0.5
    length: str = "length"
    reference: str = "reference_length"
    writes: ClassVar[tuple[str, ...]] = ("outcome", "length_penalty", "length_penalised", "raw_outcome")

    def __post_init__(self) -> None:
        if self.yardstick not in YARDSTICKS:
            raise ValueError(f"LengthPenalty.yardstick is {self.yardstick!r}: expected one of {YARDSTICKS}")
        empty = torch.zeros(0)
        self._penalised(empty, empty, empty.long(), empty)

    @property
    def reads(self) -> tuple[str, ...]:
        """The outcome, the lengths and what they are compared with."""
        compared = (self.reference,) if self.yardstick == "reference" else ("group",)
        return ("outcome", self.length, *compared)

    def _penalised(
        self, outcome: Tensor, length: Tensor, group: Tensor, reference: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """(changed outcomes, rows whose group was chosen or None)."""
        strength = _STRENGTH[self.yardstick] if self.strength is None else self.strength
        right = torch.where(torch.isnan(outcome), torch.nan, (outcome >= self.right_from).to(outcome.dtype))
        if self.yardstick == "correct_mean":
            penalty = group_length_penalty(length, right, group, tau=self.tolerance, p_max=strength, side=self.side)
            return outcome + penalty, None
        if self.yardstick == "correct_zscore":
            selector = "top" if self.threshold is None else "threshold"
            factor, chosen = grpo_lambda_rewards(
                right, length, group, self.fraction, strength, selector, self.threshold
            )
            return torch.where(right == 1, outcome * factor, outcome), chosen
        if self.yardstick == "reference":
            assert reference is not None
            return outcome + length_reward(reference, length, strength), None
        return length_penalised(outcome, length, self.limit, strength), None

    def __call__(self, rollouts: Rollouts) -> Rollouts:
        """Return the rollouts with the outcome changed by length."""
        reference = term(rollouts, self.reference) if self.yardstick == "reference" else None
        length = term(rollouts, self.length)
        changed, chosen = self._penalised(rollouts.outcome, length, rollouts.group, reference)
        added = changed - rollouts.outcome
        result = keep_raw(rollouts).replace(outcome=changed).with_columns(length_penalty=added.tolist())
        return result if chosen is None else result.with_columns(length_penalised=chosen.tolist())
