"""How many rows are sent to a worker at once."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence

from guerdon.score.work import Outcome

CHUNK_SECONDS = 0.05
"""A chunk should take so long: much longer than sending it, and short enough to share the last ones fairly."""

LARGEST_CHUNK = 256


class Pace:
    """As many rows as take `CHUNK_SECONDS`, by a running mean of seconds a row; 1 until something is known."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds: float | None = None

    def chunk(self) -> int:
        """Rows of the next chunk."""
        with self._lock:
            if self._seconds is None:
                return 1
            return max(1, min(LARGEST_CHUNK, int(CHUNK_SECONDS / max(self._seconds, 1e-7))))

    def learn(self, outcomes: Sequence[Outcome]) -> None:
        """Take in how long rows took."""
        if not outcomes:
            return
        latest = math.fsum(outcome.seconds for outcome in outcomes) / len(outcomes)
        with self._lock:
            weight = min(0.5, 0.05 * len(outcomes))
            self._seconds = latest if self._seconds is None else (1 - weight) * self._seconds + weight * latest
