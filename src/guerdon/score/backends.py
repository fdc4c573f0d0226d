"""Where rows are scored: in this process, or in worker processes that can be killed."""

from __future__ import annotations

import math
import os
import pickle
import queue
import select
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Protocol

from guerdon.score.verdict import Verdict
from guerdon.score.work import DIED, TIMEOUT, Outcome, Start, Verifier, read_frame, reason, score_row, write_frame

Row = tuple[str, str, Mapping[str, Any]]
"""(response, target, columns)."""

START_SECONDS = 300.0
"""A worker that is not ready after so long has failed: importing a verifier's libraries takes seconds."""


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

    def close(self) -> None:
        """Stop all workers."""
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

    def close(self) -> None:
        """Nothing to stop."""


def pickled(verifier: Verifier) -> bytes:
    """The verifier as bytes for another process.

    Raises:
        ValueError: It cannot be pickled.
    """
    try:
        return pickle.dumps(verifier)
    except Exception as error:
        raise ValueError(
            f"the verifier cannot be sent to another process ({reason(error)}): expected a function or class at the "
            "top of a module, with fields that can be pickled; or use backend='inprocess'"
        ) from error


def timed_out(limit: float) -> Outcome:
    """The outcome of a row that was over its limit."""
    return Outcome(Verdict(math.nan, None, f"took longer than {limit:g} s"), limit, "killed", TIMEOUT)


def died(how: str) -> Outcome:
    """The outcome of a row whose worker ended twice."""
    return Outcome(Verdict(math.nan, None, how), 0.0, "died", DIED)


class Processes:
    """Worker processes; one that is over its limit is killed and replaced.

    Each worker is fed by a thread of this process. The worker answers every row at once, so the thread knows which row
    it is at and when that began: exactly this row is over its limit, or killed the worker. Workers are programs of
    their own, neither forks of this process nor importers of its script, so they may be used from any thread, and in
    scripts without a guard, as long as the verifier stands in a module.

    Args:
        verifier: The verifier; it is pickled.
        workers: How many; None = one a core that this process may use.
        memory: Bytes that a worker may hold beyond what it starts with; None = no limit.

    Raises:
        ValueError: The verifier cannot be pickled.
    """

    def __init__(self, verifier: Verifier, workers: int | None = None, memory: int | None = None) -> None:
        self.workers = workers or len(os.sched_getaffinity(0))
        body = pickled(verifier)
        script = getattr(sys.modules["__main__"], "__file__", None) if b"__main__" in body else None
        path = tuple(os.path.abspath(entry) for entry in sys.path)
        self._start = Start(body, path, None if script is None else os.path.abspath(script), memory)
        self._jobs: queue.SimpleQueue[tuple[Sequence[Row], float | None, Future[list[Outcome]]] | None]
        self._jobs = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._owner = os.getpid()
        self._closed = False

    def submit(self, chunk: Sequence[Row], limit: float | None) -> Future[list[Outcome]]:
        """Queue a chunk for the next free worker."""
        future: Future[list[Outcome]] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError("the engine was closed: it scores nothing any more")
            if os.getpid() != self._owner:
                # After a fork the feeding threads are gone, and the workers are the parent's.
                self._owner, self._threads, self._jobs = os.getpid(), [], queue.SimpleQueue()
            if not self._threads:
                self._threads = [
                    threading.Thread(target=self._feed, args=(self._jobs,), name=f"guerdon-feed-{number}", daemon=True)
                    for number in range(self.workers)
                ]
                for thread in self._threads:
                    thread.start()
        self._jobs.put((chunk, limit, future))
        return future

    def _feed(self, jobs: Any) -> None:
        worker = _Worker(self._start)
        try:
            while (job := jobs.get()) is not None:
                chunk, limit, future = job
                try:
                    future.set_result(worker.work(chunk, limit))
                except BaseException as error:
                    worker.end()
                    future.set_exception(error)
        finally:
            worker.end()

    def close(self) -> None:
        """End all workers, once they have done what was sent to them."""
        with self._lock:
            self._closed = True
            threads, self._threads = self._threads, []
        if os.getpid() != self._owner:
            return
        for _ in threads:
            self._jobs.put(None)
        for thread in threads:
            thread.join()


class _Worker:
    """A worker process, started when it is needed and again when it was killed."""

    def __init__(self, start: Start) -> None:
        self._start = start
        self._process: subprocess.Popen[bytes] | None = None

    def work(self, chunk: Sequence[Row], limit: float | None) -> list[Outcome]:
        """Score a chunk, whatever happens to the process on the way."""
        outcomes: list[Outcome] = []
        retried = -1
        while len(outcomes) < len(chunk):
            try:
                self._ask(chunk[len(outcomes) :], limit, outcomes)
            except TimeoutError:
                self.end()
                outcomes.append(timed_out(limit or 0.0))
            except (EOFError, OSError, pickle.UnpicklingError):
                how = self.end(patience=1.0)
                # It may have been killed for what another process did; once is an accident, twice is this row.
                if retried == len(outcomes):
                    outcomes.append(died(how))
                else:
                    retried = len(outcomes)
        return outcomes

    def _ask(self, rows: Sequence[Row], limit: float | None, outcomes: list[Outcome]) -> None:
        process = self._running()
        assert process.stdin is not None
        write_frame(process.stdin, list(rows))
        for _ in rows:
            outcomes.append(self._answer(process, limit))

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            # -c finds the package where this process found it, before the worker is told the whole path.
            self._process = subprocess.Popen(
                [sys.executable, "-c", f"import sys; sys.path[:] = {list(self._start.path)!r}; {_PROGRAM}"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                # With a buffer of our own, an answer could wait in it while the pipe looks empty.
                bufsize=0,
                # An interrupt from the keyboard is for this process, which ends its workers in order.
                start_new_session=True,
            )
            assert self._process.stdin is not None
            write_frame(self._process.stdin, self._start)
            problem = self._answer(self._process, START_SECONDS)
            if problem is not None:
                self.end()
                raise RuntimeError(f"a worker could not load the verifier ({problem})")
        return self._process

    @staticmethod
    def _answer(process: subprocess.Popen[bytes], limit: float | None) -> Any:
        assert process.stdout is not None
        if limit is not None and not _is_readable(process.stdout, limit):
            raise TimeoutError
        return read_frame(process.stdout)

    def end(self, patience: float = 0.0) -> str:
        """Kill the process, after some patience with one that is ending by itself; how it ended."""
        process, self._process = self._process, None
        if process is None:
            return "the worker could not start"
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
        code = process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        return f"the worker was ended by signal {-code}" if code < 0 else f"the worker ended with exit code {code}"


_PROGRAM = "from guerdon.score.work import main; main()"


def _is_readable(pipe: Any, limit: float) -> bool:
    until = time.monotonic() + limit
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    while (left := until - time.monotonic()) > 0:
        if poll.poll(left * 1000):
            return True
    return False
