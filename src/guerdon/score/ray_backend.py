"""Scoring on a Ray cluster: actors that are killed and replaced when a row takes too long."""

from __future__ import annotations

import os
import pickle
import queue
import socket
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from guerdon.score.backends import Row, died, pickled, timed_out
from guerdon.score.work import Outcome, Verifier, limit_memory, reason, score_row

_Job = tuple[Sequence[Row], "float | None", "Future[list[Outcome]]"]


class Actor:
    """What runs in an actor's process: one chunk at a time."""

    def __init__(self, verifier: bytes, memory: int | None) -> None:
        self.verifier: Verifier = pickle.loads(verifier)
        limit_memory(memory)

    def ready(self) -> bool:
        """Answer once the actor is there, so that a limit does not count its start."""
        return True

    def work(self, chunk: Sequence[Row]) -> list[Outcome]:
        """Score a chunk."""
        worker = f"{socket.gethostname()}, process {os.getpid()}"
        return [score_row(self.verifier, row, worker) for row in chunk]


class RayActors:
    """One actor a worker, each fed by a thread of this process, one chunk at a time.

    Ray is started if it is not running. An actor asks for one core of the cluster.

    Args:
        verifier: The verifier; it is pickled.
        workers: How many actors; None = one for each core of the cluster.
        memory: Bytes that an actor may hold beyond what it starts with; None = no limit.

    Raises:
        ValueError: The verifier cannot be pickled.
    """

    def __init__(self, verifier: Verifier, workers: int | None = None, memory: int | None = None) -> None:
        import ray

        if not ray.is_initialized():
            ray.init(include_dashboard=False, log_to_driver=False)
        self._arguments = (pickled(verifier), memory)
        self._kind: Any = ray.remote(num_cpus=1, max_restarts=0)(Actor)
        self.workers = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
        self._jobs: queue.Queue[_Job | None] = queue.Queue()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._feed, name=f"guerdon-ray-{number}", daemon=True)
            for number in range(self.workers)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, chunk: Sequence[Row], limit: float | None) -> Future[list[Outcome]]:
        """Queue a chunk for the next free actor."""
        future: Future[list[Outcome]] = Future()
        if self._closed:
            raise RuntimeError("the engine was closed: it scores nothing any more")
        self._jobs.put((chunk, limit, future))
        return future

    def _feed(self) -> None:
        actor = _Replaceable(self._new)
        while (job := self._jobs.get()) is not None:
            chunk, limit, future = job
            try:
                future.set_result(actor.work(chunk, limit))
            except BaseException as error:
                future.set_exception(error)
        actor.end()

    def _new(self) -> Any:
        import ray

        actor = self._kind.remote(*self._arguments)
        ray.get(actor.ready.remote())
        return actor

    def close(self) -> None:
        """End the actors; Ray itself goes on."""
        self._closed = True
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join(timeout=10.0)


class _Replaceable:
    """An actor, made when it is needed and again when it was killed."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._actor: Any = None

    def work(self, chunk: Sequence[Row], limit: float | None) -> list[Outcome]:
        """Score a chunk; if it takes longer than one row may, or kills the actor, its rows one by one."""
        outcomes = self._try(chunk, limit)
        if isinstance(outcomes, list) and not any(_is_over(outcome, limit) for outcome in outcomes):
            return outcomes
        return [self._alone(row, limit) for row in chunk]

    def _alone(self, row: Row, limit: float | None) -> Outcome:
        found: list[Outcome] | str = ""
        # An actor may have been killed for what another process did; once is an accident, twice is this row.
        for _ in range(2):
            found = self._try([row], limit)
            if not isinstance(found, str):
                return found[0]
            if not found:
                return timed_out(limit or 0.0)
        return died(str(found))

    def _try(self, chunk: Sequence[Row], limit: float | None) -> list[Outcome] | str:
        """The outcomes; or "" if the actor was too slow, or how it died. It is ended in both cases."""
        import ray

        try:
            if self._actor is None:
                self._actor = self._make()
            found: list[Outcome] = ray.get(self._actor.work.remote(list(chunk)), timeout=limit)
        except ray.exceptions.GetTimeoutError:
            self.end()
            return ""
        except ray.exceptions.RayActorError as error:
            self.end()
            return f"the actor ended ({reason(error)})"
        return found

    def end(self) -> None:
        """Kill the actor."""
        import ray

        actor, self._actor = self._actor, None
        if actor is not None and ray.is_initialized():
            ray.kill(actor, no_restart=True)


def _is_over(outcome: Outcome, limit: float | None) -> bool:
    return limit is not None and outcome.seconds > limit
