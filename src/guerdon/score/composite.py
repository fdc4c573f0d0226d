"""Rewards made of several: a reward with penalties for wrong and malformed responses, sums and gates of verifiers.

Each says what becomes of a missing (NaN) term. Sums of whole columns, normalised in their groups or not, are
`guerdon.shape.Blend`; what is combined here are the verdicts on one response, so that it can run where verifiers run,
and a verifier behind a closed gate is never called.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from guerdon.rollouts import Rollouts
from guerdon.score.verdict import Verdict
from guerdon.score.work import Verifier, score_row

_NAN = float("nan")


def composite(reward: Tensor, well_formed: Tensor, wrong: float = -0.5, malformed: float = -1.0) -> Tensor:
    """The reward of a well-formed success, and fixed rewards of failures and of malformed responses.

    `malformed` where the form is wrong; else `wrong` where the reward is 0; else the reward. Absolute Zero
    (arXiv 2505.03335) gives this to all of its six kinds of rows; with rewards of 0 and 1 it is the boxed reward of
    RISE (arXiv 2505.13445): 1, -0.5, and -1 for a response without a box.

    Args:
        reward: (B,) float; NaN = not scored.
        well_formed: (B,) bool, or float in {0, 1} with NaN = not checked.
        wrong: Reward of a well-formed response with reward 0.
        malformed: Reward of a malformed response, whatever its reward is, NaN too.

    Returns:
        (B,) of the dtype of `reward`; NaN where a well-formed response was not scored, or the form not checked.

    Raises:
        ValueError: Shapes differ, or `well_formed` is neither 0, 1 nor NaN.

    Example:
        >>> import torch
        >>> composite(torch.tensor([0.75, 0.0, 0.9]), torch.tensor([True, True, False])).tolist()
        [0.75, -0.5, -1.0]
    """
    if reward.ndim != 1 or reward.shape != well_formed.shape:
        raise ValueError(f"reward {tuple(reward.shape)}, well_formed {tuple(well_formed.shape)}: expected (B,) twice")
    form = well_formed.to(reward.dtype)
    strange = ~torch.isnan(form) & (form != 0) & (form != 1)
    if bool(strange.any()):
        row = int(strange.nonzero()[0])
        raise ValueError(f"well_formed in row {row} is {float(form[row])}: expected 0, 1 or NaN")
    value = torch.where(reward == 0, torch.full_like(reward, wrong), reward)
    value = torch.where(form == 0, torch.full_like(reward, malformed), value)
    return torch.where(torch.isnan(form), form, value)


@dataclass(frozen=True)
class Composite:
    """Score stage: replace the outcome by `composite` of it and a column that says whether the form is right.

    Attributes:
        wrong: Outcome of a well-formed response whose outcome was 0.
        malformed: Outcome of a malformed response.
        form: Name of the column with 1 (or True) for well-formed, 0 for malformed, None or NaN for not checked.
    """

    wrong: float = -0.5
    malformed: float = -1.0
    form: str = "format"
    writes: ClassVar[tuple[str, ...]] = ("outcome",)

    @property
    def reads(self) -> tuple[str, ...]:
        """Fields and columns that are used."""
        return ("outcome", self.form)

    def __call__(self, rollouts: Rollouts) -> Rollouts:
        """Return the rollouts with the composite outcome."""
        values = [_NAN if value is None else float(value) for value in rollouts.column(self.form)]
        form = torch.tensor(values, dtype=torch.float32, device=rollouts.device)
        return rollouts.replace(outcome=composite(rollouts.outcome, form, self.wrong, self.malformed))


def weighted_sum(values: Sequence[float], weights: Sequence[float], missing: str | float = "nan") -> float:
    """Sum of weighted terms of one response.

    Args:
        values: The terms; NaN = missing.
        weights: One weight a term.
        missing: "nan" = the sum is missing as well; "rescale" = the weights of the others are scaled up to the sum
            of all, so that the sum stays on its scale; a number takes the place of the term.

    Returns:
        The sum. NaN if every term is missing and `missing` is no number. A term of weight 0 is never missed.

    Raises:
        ValueError: Numbers of terms and weights differ, a weight is not finite, "rescale" with a negative weight, or
            an unknown `missing`.

    Example:
        >>> weighted_sum([1.0, float("nan")], [0.8, 0.2]), weighted_sum([1.0, float("nan")], [0.8, 0.2], "rescale")
        (nan, 1.0)
    """
    _check_weights(len(values), weights, missing)
    terms = [(value, weight) for value, weight in zip(values, weights, strict=True) if weight]
    present = [(value, weight) for value, weight in terms if not math.isnan(value)]
    if len(present) < len(terms):
        if missing == "nan" or (missing == "rescale" and not present):
            return _NAN
        if missing == "rescale":
            whole, left = math.fsum(weight for _, weight in terms), math.fsum(weight for _, weight in present)
            return math.fsum(value * weight for value, weight in present) * whole / left
        return math.fsum((float(missing) if math.isnan(value) else value) * weight for value, weight in terms)
    return math.fsum(value * weight for value, weight in terms)


def _check_weights(terms: int, weights: Sequence[float], missing: str | float) -> None:
    if len(weights) != terms or not terms:
        raise ValueError(f"there are {terms} terms and {len(weights)} weights: expected equal numbers above 0")
    if not all(map(math.isfinite, weights)):
        raise ValueError(f"weights are {tuple(weights)}: expected finite numbers")
    if isinstance(missing, str) and missing not in ("nan", "rescale"):
        raise ValueError(f"missing is {missing!r}: expected 'nan', 'rescale' or a number")
    if missing == "rescale" and any(weight < 0 for weight in weights):
        raise ValueError(f"weights are {tuple(weights)}: expected none below 0 with missing='rescale'")


def verifier_timeout(verifiers: Sequence[object]) -> float:
    """Seconds that some verifiers may take one after the other: the sum of what they declare, 5 where they do not."""
    return math.fsum(float(getattr(verifier, "timeout", 5.0)) for verifier in verifiers)


def verifier_reads(verifiers: Sequence[object]) -> tuple[str, ...]:
    """The columns that some verifiers declare to use, each once."""
    return tuple(dict.fromkeys(name for verifier in verifiers for name in getattr(verifier, "reads", ())))


def verifier_version(own: str, verifiers: Sequence[object]) -> str:
    """A version that changes with any of some verifiers: their names, versions and fields."""
    return "; ".join([own, *(f"{getattr(verifier, 'version', '')}:{verifier!r}" for verifier in verifiers)])


@dataclass(frozen=True)
class WeightedVerdicts:
    """Verifier: the weighted sum of the rewards of several verifiers.

    An exception of a verifier is a missing term.

    Attributes:
        terms: The verifiers.
        weights: One weight a verifier; one of weight 0 is not called.
        missing: What a missing term does; see `weighted_sum`.
        extracted: Which term's extracted answer is reported.
    """

    terms: tuple[Verifier, ...]
    weights: tuple[float, ...]
    missing: str | float = "nan"
    extracted: int = 0
    name: ClassVar[str] = "weighted"

    def __post_init__(self) -> None:
        _check_weights(len(self.terms), self.weights, self.missing)
        if not 0 <= self.extracted < len(self.terms):
            raise ValueError(f"WeightedVerdicts.extracted is {self.extracted}: expected 0 to {len(self.terms) - 1}")

    @property
    def timeout(self) -> float:
        """Seconds that one row may take."""
        return verifier_timeout(self.terms)

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns of the row that are used."""
        return verifier_reads(self.terms)

    @property
    def version(self) -> str:
        """Changes with any of the terms."""
        return verifier_version("1", self.terms)

    def __call__(self, response: str, target: str, row: Mapping[str, Any]) -> Verdict:
        """Ask every verifier, and add."""
        verdicts = [
            score_row(term, (response, target, row), "").verdict if weight else Verdict(0.0)
            for term, weight in zip(self.terms, self.weights, strict=True)
        ]
        total = weighted_sum([verdict.reward for verdict in verdicts], self.weights, self.missing)
        named = zip(self.terms, verdicts, strict=True)
        reasons = [f"{_name(term)}: {verdict.reason}" for term, verdict in named if verdict.reason]
        return Verdict(total, verdicts[self.extracted].extracted, "; ".join(reasons))


@dataclass(frozen=True)
class GatedVerdict:
    """Verifier: the reward of one verifier where another one opens the gate, else a fixed reward.

    Behind a closed gate the verifier is not called: a costly judge is asked about right answers only, or a broken
    format ends the matter.

    Attributes:
        gate: The verifier that opens, where its reward is above `threshold`.
        then: The verifier behind the gate.
        threshold: See `gate`.
        closed: Reward behind a closed gate.
        undecided: Reward where the gate could not be decided; NaN keeps it undecided.
        add_gate: Whether the gate's own reward is added where it is open.
    """

    gate: Verifier
    then: Verifier
    threshold: float = 0.0
    closed: float = 0.0
    undecided: float = _NAN
    add_gate: bool = False
    name: ClassVar[str] = "gated"

    @property
    def timeout(self) -> float:
        """Seconds that one row may take."""
        return verifier_timeout((self.gate, self.then))

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns of the row that are used."""
        return verifier_reads((self.gate, self.then))

    @property
    def version(self) -> str:
        """Changes with either verifier."""
        return verifier_version("1", (self.gate, self.then))

    def __call__(self, response: str, target: str, row: Mapping[str, Any]) -> Verdict:
        """Ask the gate, and the verifier behind it if it opens."""
        first = score_row(self.gate, (response, target, row), "").verdict
        if not first.decided:
            return Verdict(self.undecided, first.extracted, f"{_name(self.gate)}: {first.reason}")
        if first.reward <= self.threshold:
            return Verdict(self.closed, first.extracted, f"{_name(self.gate)}: {first.reason or 'is closed'}")
        second = score_row(self.then, (response, target, row), "").verdict
        reward = second.reward + first.reward if self.add_gate else second.reward
        return Verdict(reward, second.extracted, second.reason)


def _name(verifier: object) -> str:
    return str(getattr(verifier, "name", None) or getattr(verifier, "__name__", type(verifier).__name__))
