"""The scoring engine: verifiers over many rows, in workers that can be killed, each different row once.

A verifier is a pure function of (response, target, row). Rows go to a backend in chunks whose size follows the
verifier's speed. A row's clock starts when its work starts, never while it waits; a worker that is over the limit, or
dies, is replaced, and costs no row but the one that it was at.
"""

from __future__ import annotations

import asyncio
import math
import os
import sqlite3
import threading
import warnings
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from guerdon.rollouts import Rollouts
from guerdon.score.backends import Backend, InProcess, Processes
from guerdon.score.pace import Pace
from guerdon.score.report import Report, Tally
from guerdon.score.row_keys import RowKeys
from guerdon.score.verdict import Verdict
from guerdon.score.verdict_cache import VerdictCache
from guerdon.score.work import TIMEOUT, Outcome, Row, Verifier

BACKENDS = ("inprocess", "processes", "ray")
FROM_CACHE = "cache"
_RECENT = 65_536  # different rows whose verdicts a stream remembers


@dataclass(frozen=True)
class Item:
    """A row to score.

    Attributes:
        response: What the policy wrote.
        target: What the verifier compares it with.
        row: The row's columns. A verifier that declares which ones it reads is given these alone.
    """

    response: str
    target: str
    row: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Scored:
    """A row that was scored.

    Attributes:
        verdict: The verdict; its reward is NaN where none could be reached, with the reason.
        seconds: How long the verifier worked on it; 0 for a row that was not worked on again.
        worker: Where.
        cached: Whether the verdict is that of an equal row before, or from the cache on disk.
        failure: "" = the verifier gave the verdict; else why it could not: "failed", "memory", "timeout" or "died".
    """

    verdict: Verdict
    seconds: float
    worker: str
    cached: bool = False
    failure: str = ""


class Engine:
    """Scores rows with one verifier. Use it as a context manager; any thread may call it.

    Args:
        verifier: (response, target, row) -> Verdict, pure. Attributes that it may have: `name` and `version` (the
            cache on disk goes by them, and by its settings), `timeout` (seconds a row), `reads` (the columns that it
            uses: rows that differ in others are the same to it; without it, all columns count).
        backend: "inprocess", "processes", "ray", or a `Backend`.
        workers: Worker processes; None = one a core.
        timeout: Seconds that a row may take; None = what the verifier declares, or no limit.
        memory: Bytes that a worker may hold beyond what it starts with; None = no limit.
        cache: A SQLite file of verdicts, shared by any number of runs; None = none.
        on_timeout: Reward of a row over its limit: NaN, or a number in the open.
        on_error: Reward of a row whose verifier failed, or whose worker died: NaN, or a number.
        window: Rows that are read ahead of the one that is given back next.
        window_bytes: Bytes of rows that are read ahead.

    Raises:
        ValueError: An unknown backend, a limit that is not positive, a verifier that cannot be sent to a worker, or
            a cache for a verifier without `name` and `version`.
        RuntimeError: From `score` and `stream`: workers cannot start, or cannot load the verifier.

    Example:
        >>> from guerdon.score.verdict import Verdict
        >>> def same(response, target, row):
        ...     return Verdict(float(response == target))
        >>> with Engine(same) as engine:
        ...     [scored.verdict.reward for scored in engine.score([Item("4", "4"), Item("5", "4")])]
        [1.0, 0.0]
    """

    def __init__(
        self,
        verifier: Verifier,
        *,
        backend: str | Backend = "inprocess",
        workers: int | None = None,
        timeout: float | None = None,
        memory: int | None = None,
        cache: str | Path | None = None,
        on_timeout: float = math.nan,
        on_error: float = math.nan,
        window: int = 4096,
        window_bytes: int = 1 << 26,
    ) -> None:
        self.timeout = getattr(verifier, "timeout", None) if timeout is None else timeout
        given = {"workers": workers, "timeout": self.timeout, "memory": memory}
        for name, value in {**given, "window": window, "window_bytes": window_bytes}.items():
            if value is not None and not value > 0:
                raise ValueError(f"{name} is {value}: expected a positive number")
        for name, reward in (("on_timeout", on_timeout), ("on_error", on_error)):
            if math.isinf(reward):
                raise ValueError(f"{name} is {reward}: expected a finite number, or NaN")
        self.verifier = verifier
        self.on_timeout, self.on_error = on_timeout, on_error
        self.window, self.window_bytes = window, window_bytes
        self._keys = RowKeys(verifier, on_disk=cache is not None)
        self._cache = None if cache is None else VerdictCache(cache)
        self._backend = _backend(backend, verifier, workers, memory)
        self._pace = Pace()
        self._tally = Tally()
        self._threads: tuple[int, ThreadPoolExecutor] | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close(now=kind is not None)

    def close(self, now: bool = False) -> None:
        """Stop the workers and close the cache.

        Args:
            now: Do not wait for rows that are being scored.
        """
        self._backend.close(now)
        if self._cache is not None:
            self._cache.close()
        if self._threads is not None and self._threads[0] == os.getpid():
            self._threads[1].shutdown(wait=False, cancel_futures=True)

    @property
    def report(self) -> Report:
        """What was done so far."""
        return self._tally.report()

    def score(self, items: Sequence[Item]) -> list[Scored]:
        """Score rows; the result has their order."""
        return list(self.stream(items))

    async def ascore(self, items: Sequence[Item]) -> list[Scored]:
        """Score rows without blocking the event loop."""
        with self._lock:
            # The threads of a parent process are not there after a fork.
            if self._threads is None or self._threads[0] != os.getpid():
                self._threads = (os.getpid(), ThreadPoolExecutor(32, thread_name_prefix="guerdon-score"))
            threads = self._threads[1]
        return await asyncio.get_running_loop().run_in_executor(threads, self.score, items)

    def stream(self, items: Iterable[Item]) -> Iterator[Scored]:
        """Score rows lazily and in order; only so many are read ahead as the window holds.

        Args:
            items: Rows, any number of them.
        """
        return _Stream(self, iter(items)).run()

    def _finish(self, outcome: Outcome, cached: bool) -> Scored:
        """An outcome as it is given back: with the reward that a failure gets, and counted."""
        verdict = outcome.verdict
        instead = self.on_timeout if outcome.failure == TIMEOUT else self.on_error if outcome.failure else math.nan
        if not math.isnan(instead):
            verdict = replace(verdict, reward=instead)
        self._tally.given(verdict, outcome.failure, cached)
        return Scored(verdict, 0.0 if cached else outcome.seconds, outcome.worker, cached, outcome.failure)

    def _known(self, keys: Sequence[bytes]) -> dict[bytes, Verdict]:
        cache = self._cache
        try:
            return {} if cache is None else cache.get(keys)
        except sqlite3.Error as error:
            self._lose_cache(error)
            return {}

    def _keep(self, verdicts: Mapping[bytes, Verdict]) -> None:
        cache = self._cache
        try:
            if cache is not None:
                cache.put(verdicts)
        except sqlite3.Error as error:
            self._lose_cache(error)

    def _lose_cache(self, error: Exception) -> None:
        """A full disk costs time, not verdicts."""
        cache, self._cache = self._cache, None
        if cache is not None:
            warnings.warn(f"scoring goes on without its cache {cache.path}: {error}", RuntimeWarning, stacklevel=2)


class _Stream:
    """One pass over rows: a window of pending ones, those not yet sent, and what was decided lately."""

    def __init__(self, engine: Engine, items: Iterator[Item]) -> None:
        self.engine = engine
        self.items = items
        self.pending: deque[tuple[Future[Outcome], int, bool]] = deque()
        self.bytes = 0
        self.unsent: list[_Entry] = []
        self.known: OrderedDict[bytes, Future[Outcome]] = OrderedDict()
        self.problem: Exception | None = None

    def run(self) -> Iterator[Scored]:
        more = True
        while more or self.pending:
            while more and self._has_room():
                more = self._read()
            if not more or not self._has_room():
                self._send()
            while self.pending and (self.pending[0][0].done() or not (more and self._has_room())):
                yield self._next()
        if self.problem is not None:
            raise self.problem

    def _has_room(self) -> bool:
        within = len(self.pending) < self.engine.window and self.bytes < self.engine.window_bytes
        # Finished rows are given back before more are read.
        return within and not (self.pending and self.pending[0][0].done())

    def _read(self) -> bool:
        """Take the next row in; whether there was one."""
        try:
            item = next(self.items, None)
        except Exception as error:
            # The rows before it are given back first.
            self.problem, item = error, None
        if item is None:
            return False
        row = self.engine._keys.row(item.response, item.target, item.row)
        key, size = self.engine._keys.key(row)
        future = None if key is None else self.known.get(key)
        repeated = future is not None
        if future is None:
            future = Future()
            self.unsent.append((key, row, future))
            if key is not None:
                self._remember(key, future)
        self.bytes += size
        self.pending.append((future, size, repeated))
        if len(self.unsent) >= self.engine._pace.chunk():
            self._send()
        return True

    def _remember(self, key: bytes, future: Future[Outcome]) -> None:
        self.known[key] = future
        while len(self.known) > max(_RECENT, self.engine.window):
            self.known.popitem(last=False)

    def _send(self) -> None:
        entries, self.unsent = self.unsent, []
        if entries and self.engine._cache is not None:
            found = self.engine._known([key for key, _, _ in entries if key is not None])
            for key, _, future in entries:
                if key is not None and key in found:
                    future.set_result(Outcome(found[key], 0.0, FROM_CACHE))
            entries = [entry for entry in entries if entry[0] not in found]
        size = self.engine._pace.chunk()
        for start in range(0, len(entries), size):
            _Chunk(self.engine, entries[start : start + size]).send()

    def _next(self) -> Scored:
        future, size, repeated = self.pending.popleft()
        self.bytes -= size
        outcome = future.result()
        return self.engine._finish(outcome, repeated or outcome.worker == FROM_CACHE)


_Entry = tuple["bytes | None", Row, "Future[Outcome]"]


class _Chunk:
    """Rows that were sent together."""

    def __init__(self, engine: Engine, entries: Sequence[_Entry]) -> None:
        self.engine, self.entries = engine, entries

    def send(self) -> None:
        rows = [row for _, row, _ in self.entries]
        self.engine._backend.submit(rows, self.engine.timeout).add_done_callback(self._done)

    def _done(self, future: Future[list[Outcome]]) -> None:
        # Whatever goes wrong here, nobody may be left waiting.
        try:
            self._keep(future.result())
        except BaseException as error:
            for _, _, waiting in self.entries:
                if not waiting.done():
                    waiting.set_exception(error)

    def _keep(self, outcomes: Sequence[Outcome]) -> None:
        self.engine._pace.learn(outcomes)
        if self.engine._cache is not None:
            decided = {
                key: outcome.verdict
                for (key, _, _), outcome in zip(self.entries, outcomes, strict=True)
                if key is not None and not outcome.failure
            }
            self.engine._keep(decided)
        for (_, row, waiting), outcome in zip(self.entries, outcomes, strict=True):
            self.engine._tally.worked(outcome, row[0])
            waiting.set_result(outcome)


def _backend(backend: str | Backend, verifier: Verifier, workers: int | None, memory: int | None) -> Backend:
    if not isinstance(backend, str):
        return backend
    if backend == "inprocess":
        return InProcess(verifier)
    if backend == "processes":
        return Processes(verifier, workers, memory)
    if backend == "ray":
        from guerdon.score.ray_backend import RayActors

        return RayActors(verifier, workers, memory)
    raise ValueError(f"backend is {backend!r}: expected one of {BACKENDS}")


def score(rollouts: Rollouts, verifier: Verifier, *, backend: str | Backend = "inprocess", **options: Any) -> Rollouts:
    """Score rollouts.

    Args:
        rollouts: With the columns `response` and `target`.
        verifier: See `Engine`.
        backend: See `Engine`.
        **options: Of `Engine`.

    Returns:
        The rollouts with `outcome` and the columns `extracted`, `score_error` ("" = the verifier decided),
        `score_seconds`, `score_worker` and `score_cached`.

    Raises:
        ValueError: A column is missing, or an option does not fit.
    """
    with Engine(verifier, backend=backend, **options) as engine:
        return filled(rollouts, engine.score(items_of(rollouts)))


def items_of(rollouts: Rollouts) -> list[Item]:
    """The rows of rollouts as items; `row` maps the names of all columns to the row's values."""
    names = list(rollouts.columns)
    responses, targets = rollouts.column("response"), rollouts.column("target")
    rows = zip(*rollouts.columns.values(), strict=True)
    return [
        Item(response, target, dict(zip(names, row, strict=True)))
        for response, target, row in zip(responses, targets, rows, strict=True)
    ]


def filled(rollouts: Rollouts, scored: Sequence[Scored]) -> Rollouts:
    """Rollouts with what came of scoring them; see `score`."""
    rewards = [one.verdict.reward for one in scored]
    return rollouts.replace(outcome=torch.tensor(rewards, dtype=torch.float32, device=rollouts.device)).with_columns(
        extracted=[one.verdict.extracted for one in scored],
        score_error=[one.verdict.reason if one.failure or not one.verdict.decided else "" for one in scored],
        score_seconds=[one.seconds for one in scored],
        score_worker=[one.worker for one in scored],
        score_cached=[one.cached for one in scored],
    )
