"""Where rows are scored: in this process, or in worker processes that can be killed."""

from __future__ import annotations

import os
import pickle
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Protocol

from guerdon.score.feeders import CLOSED, Feeders
from guerdon.score.work import Outcome, Row, Start, Verifier, reason, score_row
from guerdon.score.worker import Worker


class Backend(Protocol):
    """Scores chunks of rows."""

    workers: int

    def submit(self, chunk: Sequence[Row], limit: float | None) -> Future[list[Outcome]]:
        """Begin with a chunk.

        Args:
            chunk: Rows.
            limit: Seconds that each row may take, counted from when its work begins; None = any.

        Returns:
            A future of one outcome a row, in order.
        """
        ...

    def close(self, now: bool = False) -> None:
        """Stop all workers.

        Args:
            now: Do not wait for what was submitted: its futures fail.
        """
        ...


class InProcess:
    """Rows are scored by the calling thread. Nothing can be interrupted, so limits are not kept.

    Args:
        verifier: The verifier.
    """

    workers = 1

    def __init__(self, verifier: Verifier) -> None:
        self.verifier = verifier

    def submit(self, chunk: Sequence[Row], limit: float | None) -> Future[list[Outcome]]:
        """Score a chunk now."""
        future: Future[list[Outcome]] = Future()
        worker = f"thread {threading.current_thread().name}"
        future.set_result([score_row(self.verifier, row, worker) for row in chunk])
        return future

    def close(self, now: bool = False) -> None:
        """Nothing to stop."""


def pickled(verifier: Verifier, dumps: Callable[[Any], bytes] = pickle.dumps) -> bytes:
    """The verifier as bytes for another process.

    Args:
        verifier: The verifier.
        dumps: What pickles it.

    Raises:
        ValueError: It cannot be pickled.
    """
    try:
        return dumps(verifier)
    except Exception as error:
        raise ValueError(
            f"the verifier cannot be sent to another process ({reason(error)}): expected a function or class at the "
            "top of a module, with fields that can be pickled; or use backend='inprocess'"
        ) from error


class Processes:
    """Worker processes; one that is over its limit is killed and replaced.

    Workers are programs of their own, neither forks of this process, whose threads a fork would break, nor importers
    of its script, so they may be used from any thread, and in scripts without a guard, as long as the verifier stands
    in a module. They start with the first chunk and stay.

    Args:
        verifier: The verifier; it is pickled.
        workers: How many; None = one a core that this process may use.
        memory: Bytes that a worker may hold beyond what it starts with; None = no limit.

    Raises:
        ValueError: The verifier cannot be pickled, or cannot be found by another process.
    """

    def __init__(self, verifier: Verifier, workers: int | None = None, memory: int | None = None) -> None:
        self.workers = workers or cores()
        body = pickled(verifier)
        script, module = _main_of(verifier) if b"__main__" in body else (None, None)
        path = tuple(os.path.abspath(entry) for entry in sys.path)
        self._start = Start(body, path, script, module, memory)
        self._lock = threading.Lock()
        self._feeders: Feeders | None = None
        self._owner = os.getpid()
        self._closed = False

    def submit(self, chunk: Sequence[Row], limit: float | None) -> Future[list[Outcome]]:
        """Queue a chunk for the next free worker."""
        if os.getpid() != self._owner:
            # After a fork the feeding threads are gone, the workers are the parent's, and the lock may be held.
            self._owner, self._feeders, self._lock = os.getpid(), None, threading.Lock()
        with self._lock:
            if self._closed:
                raise RuntimeError(CLOSED)
            if self._feeders is None:
                self._feeders = Feeders([Worker(self._start) for _ in range(self.workers)], "guerdon-feed")
            return self._feeders.put(chunk, limit)

    def close(self, now: bool = False) -> None:
        """End all workers, once they have done what was sent to them, or at once."""
        if os.getpid() != self._owner:
            self._closed = True
            return
        with self._lock:
            self._closed = True
            feeders, self._feeders = self._feeders, None
        if feeders is not None:
            feeders.close(now)


def cores() -> int:
    """How many cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def _main_of(verifier: Verifier) -> tuple[str | None, str | None]:
    """The script that runs, and its name as a module if it was run by `python -m`."""
    main = sys.modules["__main__"]
    spec, script = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    if script is None and "__main__" in (getattr(verifier, "__module__", ""), type(verifier).__module__):
        raise ValueError(
            "the verifier was defined in a notebook, a console or a command: another process cannot find it there; "
            "put it into a module and import it, or use backend='inprocess'"
        )
    module = getattr(spec, "name", None)
    return None if script is None else os.path.abspath(script), module
