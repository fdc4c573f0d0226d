"""Threads between an engine and the places where its rows are scored: one queue, one thread a place."""

from __future__ import annotations

import queue
import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Protocol

from guerdon.score.work import Outcome, Row, pack

CLOSED = "the engine was closed: it scores nothing any more"
_Job = tuple[Sequence[Row], "float | None", "Future[list[Outcome]]"]


class Site(Protocol):
    """A place where one chunk is scored at a time, with whatever runs there."""

    def prepare(self, needless: Callable[[], bool]) -> None:
        """Be ready for the first chunk, however long that takes; nothing is handed out to a site that is not.

        Args:
            needless: Whether nobody waits for this site any more.
        """
        ...

    def work(self, rows: Sequence[bytes | Outcome], limit: float | None) -> list[Outcome]:
        """Score packed rows; those that could not be packed are passed on."""
        ...

    def end(self) -> Any:
        """Stop what runs there; the next chunk starts it again."""
        ...

    def abandon(self) -> None:
        """Stop it for good, from another thread, whatever it is doing."""
        ...


class Feeders:
    """Threads that feed one site each from one queue.

    A thread per site keeps the clocks: it waits for its site alone, so it sees at once when a row is done. The threads
    know only the queue, so that they end with the owner, be it closed or forgotten.

    Args:
        sites: The sites.
        name: The beginning of the threads' names.
    """

    def __init__(self, sites: Sequence[Site], name: str) -> None:
        self._sites = sites
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._state = _State(len(sites))
        self._threads = [
            threading.Thread(target=_feed, args=(site, self._jobs, self._state), name=f"{name}-{number}", daemon=True)
            for number, site in enumerate(sites)
        ]
        self._dismiss = weakref.finalize(self, _dismiss, self._jobs, self._state, len(sites))
        self._dismiss.atexit = False
        for thread in self._threads:
            thread.start()

    def put(self, chunk: Sequence[Row], limit: float | None) -> Future[list[Outcome]]:
        """Queue a chunk for the next free site.

        Raises:
            RuntimeError: There is no site left, or `close` was called.
        """
        future: Future[list[Outcome]] = Future()
        with self._state.lock:
            if self._state.problem or self._state.closed:
                raise RuntimeError(self._state.problem or CLOSED)
            self._state.asked = True
            self._jobs.put((chunk, limit, future))
        return future

    def close(self, now: bool) -> None:
        """End the threads, once all chunks are done, or at once."""
        with self._state.lock:
            self._state.closed = True
            if now:
                _fail(self._jobs, CLOSED)
        self._dismiss()
        for thread in self._threads:
            while thread.is_alive():
                if now:
                    for site in self._sites:
                        site.abandon()
                thread.join(0.2 if now else None)


class _State:
    """What the threads of some sites have in common."""

    def __init__(self, sites: int) -> None:
        self.lock = threading.Lock()
        self.sites = sites
        self.ready = 0
        self.asked = False
        self.closed = False
        self.problem = ""

    def needless(self) -> bool:
        """Whether a site that is not ready yet need not become so."""
        return self.closed and (self.ready > 0 or not self.asked)


def _feed(site: Site, jobs: queue.SimpleQueue[_Job | None], state: _State) -> None:
    try:
        try:
            site.prepare(state.needless)
        except Exception as error:
            _lose(jobs, state, str(error))
            return
        with state.lock:
            state.ready += 1
        while (job := jobs.get()) is not None:
            _do(site, *job)
            # While this waits for the next one, nothing of this one, nor the engine behind it, may be held.
            del job
    finally:
        site.end()


def _lose(jobs: queue.SimpleQueue[_Job | None], state: _State, why: str) -> None:
    """One site less. If there is none left, nobody may be left waiting."""
    with state.lock:
        state.sites -= 1
        if not state.sites:
            state.problem = why
            _fail(jobs, why)


def _do(site: Site, chunk: Sequence[Row], limit: float | None, future: Future[list[Outcome]]) -> None:
    try:
        future.set_result(site.work([pack(row) for row in chunk], limit))
    except BaseException as error:
        site.end()
        future.set_exception(error)


def _dismiss(jobs: queue.SimpleQueue[_Job | None], state: _State, threads: int) -> None:
    state.closed = True
    for _ in range(threads):
        jobs.put(None)


def _fail(jobs: queue.SimpleQueue[_Job | None], why: str) -> None:
    """Fail all jobs that nobody has begun with."""
    while True:
        try:
            job = jobs.get_nowait()
        except queue.Empty:
            return
        if job is not None:
            job[2].set_exception(RuntimeError(why))
