"""The stage that turns a verifier into outcome rewards."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch

from guerdon.rollouts import Rollouts
from guerdon.score.engine import Engine, filled, items_of
from guerdon.score.work import Verifier


@dataclass(frozen=True)
class Verify:
    """Fill `outcome` by a verifier.

    Rows that are equal in response, target and all columns that the verifier reads are verified once. A verifier that
    fails makes the row NaN, with the exception as the reason, and never a reward. With worker processes, or a cluster,
    a row that takes too long costs nothing but itself; see `guerdon.score.engine`.

    Attributes:
        verifier: (response, target, row) -> `Verdict`.
        on_error: What an undecided row gets: NaN, or a number in the open (0.0 for hostile input, say).
        backend: "inprocess", "processes" or "ray".
        workers: Worker processes; None = one a core.
        timeout: Seconds that a row may take; None = what the verifier declares. Not kept in this process.
        memory: Bytes that a worker process may hold beyond what it starts with; None = no limit.
        cache: A SQLite file of verdicts; None = none.
    """

    verifier: Verifier
    on_error: float = float("nan")
    backend: str = "inprocess"
    workers: int | None = None
    timeout: float | None = None
    memory: int | None = None
    cache: str | None = None
    reads: ClassVar[tuple[str, ...]] = ("response", "target")
    writes: ClassVar[tuple[str, ...]] = ("outcome", "extracted", "score_error")

    @cached_property
    def engine(self) -> Engine:
        """The engine, whose workers stay for the next batch."""
        return Engine(
            self.verifier,
            backend=self.backend,
            workers=self.workers,
            timeout=self.timeout,
            memory=self.memory,
            cache=self.cache,
        )

    def __getstate__(self) -> dict[str, Any]:
        # The workers belong to this process.
        return {name: value for name, value in vars(self).items() if name != "engine"}

    def __call__(self, rollouts: Rollouts) -> Rollouts:
        """Return the rollouts with `outcome` and the columns `extracted` and `score_error` ("" = none)."""
        found = filled(rollouts, self.engine.score(items_of(rollouts)))
        outcome = torch.where(torch.isnan(found.outcome), self.on_error, found.outcome)
        # What differs from run to run has no place among the stored responses; `engine.report` has it.
        dropped = ("score_seconds", "score_worker", "score_cached")
        columns = {name: values for name, values in found.columns.items() if name not in dropped}
        return found.replace(outcome=outcome, columns=columns)
