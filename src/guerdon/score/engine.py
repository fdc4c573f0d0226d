"""The scoring engine: verifiers over many rows, in workers that can be killed, each different row once.

A verifier is a pure function of (response, target, row). Rows go to a backend in chunks whose size follows the
verifier's speed. A row's clock starts when its work starts, never while it waits; a worker that is over the limit, or
dies, is replaced, and costs no row but the one that it was at.
"""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import json
import math
import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from guerdon.rollouts import Rollouts
from guerdon.score.backends import Backend, InProcess, Processes
from guerdon.score.verdict import Verdict
from guerdon.score.verdict_cache import VerdictCache
from guerdon.score.work import DIED, TIMEOUT, Outcome, Verifier

BACKENDS = ("inprocess", "processes", "ray")
FROM_CACHE = "cache"
CHUNK_SECONDS = 0.05
"""A chunk should take so long: much longer than sending it, and short enough to share the last ones fairly."""

LARGEST_CHUNK = 256
SLOWEST_KEPT = 10
_RECENT = 65_536  # different rows whose verdicts a stream remembers


@dataclass(frozen=True)
class Item:
    """A row to score.

    Attributes:
        response: What the policy wrote.
        target: What the verifier compares it with.
        row: The row's columns.
        share: Rows with equal response, target and `share` are scored once; None = the columns that the verifier
            declares to read (its attribute `reads`), or all of them if it declares nothing.
    """

    response: str
    target: str
    row: Mapping[str, Any] = field(default_factory=dict)
    share: str | None = None


@dataclass(frozen=True)
class Scored:
    """A row that was scored.

    Attributes:
        verdict: The verdict; its reward is NaN where none could be reached, with the reason.
        seconds: How long the verifier worked on it; 0 for a row that was not worked on again.
        worker: Where.
        cached: Whether the verdict is that of an equal row before, or from the cache on disk.
    """

    verdict: Verdict
    seconds: float
    worker: str
    cached: bool = False


@dataclass(frozen=True)
class Report:
    """What an engine has done so far.

    Attributes:
        rows: Rows scored.
        worked: Rows that a verifier worked on; the others were equal to one of them, or in the cache.
        undecided: Rows without a reward.
        reasons: Reason -> rows, of the undecided.
        timeouts: Rows over their limit.
        died: Rows whose worker died with them.
        seconds: Seconds that verifiers worked.
        slowest: (seconds, beginning of the response), the slowest first.
    """

    rows: int
    worked: int
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


class Engine:
    """Scores rows with one verifier. Use it as a context manager; any thread may call it.

    Args:
        verifier: (response, target, row) -> Verdict, pure. Attributes that it may have: `name` and `version` (the
            cache on disk goes by them), `timeout` (seconds a row), `reads` (columns that it uses).
        backend: "inprocess", "processes", "ray", or a `Backend`.
        workers: Worker processes; None = one a core.
        timeout: Seconds that a row may take; None = what the verifier declares, or no limit.
        memory: Bytes that a worker may hold beyond what it starts with; None = no limit.
        cache: A SQLite file of verdicts, shared by any number of runs; None = none.
        on_timeout: Reward of a row over its limit: NaN, or a number in the open.
        on_error: Reward of a row whose verifier failed, or whose worker died: NaN, or a number.
        window: Rows that are read ahead of the one that is given back next.
        window_bytes: Characters of text that are read ahead.

    Raises:
        ValueError: An unknown backend, a limit that is not positive, a verifier that cannot be sent to a worker, or
            a cache for a verifier without `name` and `version`.

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
        for name, value in (("workers", workers), ("timeout", timeout), ("memory", memory), ("window", window)):
            if value is not None and not value > 0:
                raise ValueError(f"{name} is {value}: expected a positive number")
        self.verifier = verifier
        self.timeout = getattr(verifier, "timeout", None) if timeout is None else timeout
        self.on_timeout, self.on_error = on_timeout, on_error
        self.window, self.window_bytes = window, window_bytes
        self._identity = _identity(verifier, needed=cache is not None)
        self._backend = _backend(backend, verifier, workers, memory)
        self._cache = None if cache is None else VerdictCache(cache)
        self._reads = getattr(verifier, "reads", None)
        self._pace = _Pace()
        self._tally = _Tally()
        self._threads: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the workers and close the cache."""
        self._backend.close()
        if self._cache is not None:
            self._cache.close()
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

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
            if self._threads is None:
                self._threads = ThreadPoolExecutor(32, thread_name_prefix="guerdon-score")
        return await asyncio.get_running_loop().run_in_executor(self._threads, self.score, items)

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
        scored = Scored(verdict, 0.0 if cached else outcome.seconds, outcome.worker, cached)
        self._tally.given(scored, outcome.failure)
        return scored

    def key(self, item: Item) -> bytes:
        """What decides the verdict on a row: verifier, response, target and columns that are read."""
        if item.share is not None:
            columns = item.share
        elif self._reads is None:
            columns = _fingerprint(item.row)
        else:
            columns = _fingerprint({name: item.row.get(name) for name in self._reads})
        digest = hashlib.blake2b(self._identity, digest_size=20)
        for part in (item.response, item.target, columns):
            raw = _text(part).encode("utf-8", "surrogatepass")
            digest.update(len(raw).to_bytes(8, "little"))
            digest.update(raw)
        return digest.digest()


class _Stream:
    """One pass over rows: a window of pending ones, those not yet sent, and what was decided lately."""

    def __init__(self, engine: Engine, items: Iterator[Item]) -> None:
        self.engine = engine
        self.items = items
        self.pending: deque[tuple[Future[Outcome], int, bool]] = deque()
        self.characters = 0
        self.unsent: list[tuple[bytes, Item, Future[Outcome]]] = []
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
        within = len(self.pending) < self.engine.window and self.characters < self.engine.window_bytes
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
        key = self.engine.key(item)
        future = self.known.get(key)
        repeated = future is not None
        if future is None:
            future = Future()
            self.unsent.append((key, item, future))
            self._remember(key, future)
        size = len(_text(item.response)) + len(_text(item.target))
        self.characters += size
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
            found = self.engine._cache.get([key for key, _, _ in entries])
            for key, _, future in entries:
                if key in found:
                    future.set_result(Outcome(found[key], 0.0, FROM_CACHE))
            entries = [entry for entry in entries if entry[0] not in found]
        size = self.engine._pace.chunk()
        for start in range(0, len(entries), size):
            _Chunk(self.engine, entries[start : start + size]).send()

    def _next(self) -> Scored:
        future, size, repeated = self.pending.popleft()
        self.characters -= size
        outcome = future.result()
        return self.engine._finish(outcome, repeated or outcome.worker == FROM_CACHE)


class _Chunk:
    """Rows that were sent together."""

    def __init__(self, engine: Engine, entries: Sequence[tuple[bytes, Item, Future[Outcome]]]) -> None:
        self.engine, self.entries = engine, entries

    def send(self) -> None:
        rows = [(item.response, item.target, item.row) for _, item, _ in self.entries]
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
                if not outcome.failure
            }
            self.engine._cache.put(decided)
        for (_, item, waiting), outcome in zip(self.entries, outcomes, strict=True):
            self.engine._tally.worked(outcome, item.response)
            waiting.set_result(outcome)


class _Pace:
    """How many rows make a chunk: as many as take `CHUNK_SECONDS`, by a running mean of seconds a row."""

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


class _Tally:
    """Counts of an engine."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows = self._worked = self._undecided = 0
        self._failures: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._seconds = 0.0
        self._slowest: list[tuple[float, str]] = []

    def worked(self, outcome: Outcome, response: str) -> None:
        """Count a row that was worked on."""
        with self._lock:
            self._worked += 1
            self._seconds += outcome.seconds
            entry = (outcome.seconds, _text(response)[:80])
            if len(self._slowest) < SLOWEST_KEPT:
                heapq.heappush(self._slowest, entry)
            else:
                heapq.heappushpop(self._slowest, entry)

    def given(self, scored: Scored, failure: str) -> None:
        """Count a row that was given back."""
        with self._lock:
            self._rows += 1
            self._failures[failure] += 1
            if math.isnan(scored.verdict.reward):
                self._undecided += 1
                # So many different reasons are no reasons any more: memory must stay bounded.
                reason = scored.verdict.reason[:100]
                self._reasons[reason if reason in self._reasons or len(self._reasons) < 1000 else "other"] += 1

    def report(self) -> Report:
        """The counts as a value."""
        with self._lock:
            return Report(
                self._rows,
                self._worked,
                self._undecided,
                dict(self._reasons),
                self._failures[TIMEOUT],
                self._failures[DIED],
                self._seconds,
                tuple(sorted(self._slowest, reverse=True)),
            )


def _identity(verifier: Verifier, needed: bool) -> bytes:
    name, version = getattr(verifier, "name", None), getattr(verifier, "version", None)
    if needed and (not name or not version):
        raise ValueError(
            f"a cache needs a verifier with `name` and `version`: {verifier!r} has name {name!r}, version {version!r}"
        )
    return json.dumps([name, version, repr(verifier) if needed else ""]).encode()


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


def _text(value: Any) -> str:
    # Reference answers may be numbers; 4 and "4" are not the same row.
    return value if isinstance(value, str) else f"{type(value).__name__} {value!r}"


def _fingerprint(columns: Mapping[str, Any]) -> str:
    if not columns:
        return ""
    return json.dumps(columns, sort_keys=True, default=repr)


def score(rollouts: Rollouts, verifier: Verifier, *, backend: str | Backend = "inprocess", **options: Any) -> Rollouts:
    """Score rollouts.

    Args:
        rollouts: With the columns `response` and `target`.
        verifier: See `Engine`.
        backend: See `Engine`.
        **options: Of `Engine`.

    Returns:
        The rollouts with `outcome` and the columns `extracted`, `score_error` ("" = decided), `score_seconds`,
        `score_worker` and `score_cached`.

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
        score_error=[one.verdict.reason if math.isnan(one.verdict.reward) else "" for one in scored],
        score_seconds=[one.seconds for one in scored],
        score_worker=[one.worker for one in scored],
        score_cached=[one.cached for one in scored],
    )
