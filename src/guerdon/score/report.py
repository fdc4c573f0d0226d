"""What an engine has done: counts, reasons, and the rows that took longest."""

from __future__ import annotations

import heapq
import math
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from guerdon.score.verdict import Verdict
from guerdon.score.work import DIED, TIMEOUT, Outcome

SLOWEST_KEPT = 10
_MOST_REASONS = 1000  # different ones that are counted apart
_SHOWN = 80  # characters of a slow response


@dataclass(frozen=True)
class Report:
    """What an engine has done so far.

    Attributes:
        rows: Rows scored.
        worked: Rows that a verifier worked on; the others were equal to one of them, or in the cache.
        cached: Rows that no verifier worked on: equal to one before, or in the cache on disk.
        undecided: Rows without a reward.
        reasons: Reason -> rows, of the undecided.
        timeouts: Rows over their limit.
        died: Rows whose worker died with them.
        seconds: Seconds that verifiers worked.
        slowest: (seconds, beginning of the response), the slowest first.
    """

    rows: int
    worked: int
    cached: int
    undecided: int
    reasons: Mapping[str, int]
    timeouts: int
    died: int
    seconds: float
    slowest: tuple[tuple[float, str], ...]

    def __str__(self) -> str:
        lines = [
            f"{self.rows} rows, {self.worked} worked on in {self.seconds:.2f} s, {self.undecided} undecided "
            f"({self.timeouts} over their limit, {self.died} with their worker)"
        ]
        lines += [f"  {count:6d}  {reason}" for reason, count in Counter(dict(self.reasons)).most_common(8)]
        lines += [f"  {seconds:.2f} s  {response!r}" for seconds, response in self.slowest]
        return "\n".join(lines)


class Tally:
    """Counts that any thread may add to."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows = self._worked = self._cached = self._undecided = 0
        self._failures: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._seconds = 0.0
        self._slowest: list[tuple[float, str]] = []

    def worked(self, outcome: Outcome, response: object) -> None:
        """Count a row that was worked on."""
        with self._lock:
            self._worked += 1
            self._seconds += outcome.seconds
            if len(self._slowest) < SLOWEST_KEPT:
                heapq.heappush(self._slowest, (outcome.seconds, str(response)[:_SHOWN]))
            elif outcome.seconds > self._slowest[0][0]:
                heapq.heapreplace(self._slowest, (outcome.seconds, str(response)[:_SHOWN]))

    def given(self, verdict: Verdict, failure: str, cached: bool) -> None:
        """Count a row that was given back."""
        with self._lock:
            self._rows += 1
            self._cached += cached
            self._failures[failure] += 1
            if math.isnan(verdict.reward):
                self._undecided += 1
                # So many different reasons are no reasons any more: memory must stay bounded.
                reason = verdict.reason[:100]
                known = reason in self._reasons or len(self._reasons) < _MOST_REASONS
                self._reasons[reason if known else "other"] += 1

    def report(self) -> Report:
        """The counts as a value."""
        with self._lock:
            return Report(
                rows=self._rows,
                worked=self._worked,
                cached=self._cached,
                undecided=self._undecided,
                reasons=dict(self._reasons),
                timeouts=self._failures[TIMEOUT],
                died=self._failures[DIED],
                seconds=self._seconds,
                slowest=tuple(sorted(self._slowest, reverse=True)),
            )
