"""The stage that turns a verifier into outcome rewards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from guerdon.rollouts import Rollouts
from guerdon.score.verdict import Verdict

Verifier = Callable[[str, str, Mapping[str, Any]], Verdict]
"""(response, target, row) -> Verdict; `row` maps the names of the columns to the row's values."""


@dataclass(frozen=True)
class Verify:
    """Fill `outcome` by a verifier, one row at a time in this process.

    Equal (response, target) pairs of one group are verified once. An exception of the verifier makes the row NaN,
    with the exception as the reason, and never a reward.

    Attributes:
        verifier: (response, target, row) -> `Verdict`.
        on_error: What an undecided row gets: NaN, or a number in the open (0.0 for hostile input, say).
    """

    verifier: Verifier
    on_error: float = float("nan")
    reads: ClassVar[tuple[str, ...]] = ("response", "target")
    writes: ClassVar[tuple[str, ...]] = ("outcome", "extracted", "score_error")

    def __call__(self, rollouts: Rollouts) -> Rollouts:
        """Return the rollouts with `outcome` and the columns `extracted` and `score_error` ("" = none)."""
        responses, targets = rollouts.column("response"), rollouts.column("target")
        names = list(rollouts.columns)
        rows = list(zip(*rollouts.columns.values(), strict=True))
        known: dict[tuple[int, str, str], Verdict] = {}
        verdicts = []
        for group, response, target, row in zip(rollouts.group.tolist(), responses, targets, rows, strict=True):
            key = (group, response, repr(target))
            if key not in known:
                known[key] = decide(self.verifier, response, target, dict(zip(names, row, strict=True)))
            verdicts.append(known[key])
        rewards = [self.on_error if verdict.reward != verdict.reward else verdict.reward for verdict in verdicts]
        outcome = torch.tensor(rewards, dtype=torch.float32, device=rollouts.device)
        errors = [verdict.reason if verdict.reward != verdict.reward else "" for verdict in verdicts]
        return rollouts.replace(outcome=outcome).with_columns(
            extracted=[verdict.extracted for verdict in verdicts], score_error=errors
        )


def decide(verifier: Verifier, response: str, target: str, row: Mapping[str, Any]) -> Verdict:
    """Call a verifier; an exception becomes an undecided verdict that names it.

    Args:
        verifier: The verifier.
        response: What the policy wrote.
        target: What the verifier compares it with.
        row: The row's columns.
    """
    try:
        return verifier(response, target, row)
    except Exception as error:
        return Verdict(float("nan"), None, f"{type(error).__name__}: {error}")
