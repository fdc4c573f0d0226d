"""Scoring on a Ray cluster.

Each actor hosts a worker process of the same kind as those of the `processes` backend, and feeds it from its own
machine. So limits are kept where the work is, to the row, and a worker is replaced in a fraction of a second; what is
left to this side is an actor that is lost together with its machine.
"""

from __future__ import annotations

import math
import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from guerdon.score.backends import pickled
from guerdon.score.feeders import Feeders
from guerdon.score.verdict import Verdict
from guerdon.score.work import DIED, Outcome, Row, Start, Verifier, reason
from guerdon.score.worker import START_SECONDS, Worker


class Actor:
    """What runs in an actor's process: a worker, and who feeds it.

    Args:
        verifier: The pickled verifier.
        memory: Bytes that the worker may hold beyond what it starts with; None = no limit.
    """

    def __init__(self, verifier: bytes, memory: int | None) -> None:
        path = tuple(os.path.abspath(entry) for entry in sys.path)
        self._worker = Worker(Start(verifier, path, memory=memory, place=f"{socket.gethostname()}, "))

    def ready(self) -> int:
        """Answer with the process number once the actor is there."""
        return os.getpid()

    def work(self, rows: Sequence[bytes | Outcome], limit: float | None) -> list[Outcome]:
        """Score packed rows; see `Worker.work`."""
        return self._worker.work(rows, limit)


class RayActors:
    """Actors on a Ray cluster, each fed by a thread of this process, one chunk at a time.

    Ray is started if it is not running. Ray's own pickling is used, so that verifiers which a script or a notebook
    defines will do; what they import must be installed on the cluster.

    Args:
        verifier: The verifier; it is pickled.
        workers: How many actors; None = one for each core of the cluster.
        memory: Bytes that a worker may hold beyond what it starts with; None = no limit.
        cores: Cores of the cluster that an actor asks for. Inside of a job that holds all of them, 0 takes none.

    Raises:
        ValueError: The verifier cannot be pickled.
    """

    def __init__(
        self, verifier: Verifier, workers: int | None = None, memory: int | None = None, cores: float = 1.0
    ) -> None:
        import ray

        if not ray.is_initialized():
            ray.init(include_dashboard=False, log_to_driver=False)
        self.workers = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
        body = pickled(verifier, ray.cloudpickle.dumps)
        make = ray.remote(num_cpus=cores, max_restarts=0)(Actor)
        self._feeders = Feeders([_RemoteSite(make, (body, memory)) for _ in range(self.workers)], "guerdon-ray")
        self._closed = False

    def submit(self, chunk: Sequence[Row], limit: float | None) -> Future[list[Outcome]]:
        """Queue a chunk for the next free actor."""
        if self._closed:
            raise RuntimeError("the engine was closed: it scores nothing any more")
        return self._feeders.put(chunk, limit)

    def close(self, now: bool = False) -> None:
        """End the actors, once they have done what was sent to them, or at once; Ray itself goes on."""
        self._closed = True
        self._feeders.close(now)


class _RemoteSite:
    """An actor, made when it is needed and again when it was lost."""

    def __init__(self, make: Any, arguments: tuple[Any, ...], patience: float = START_SECONDS) -> None:
        self._make = make
        self._arguments = arguments
        self._patience = patience
        self._actor: Any = None
        self._abandoned = False

    def prepare(self, needless: Callable[[], bool]) -> None:
        """Wait until the cluster has room for the actor.

        Raises:
            RuntimeError: It has none.
        """
        import ray

        self._actor = self._make.remote(*self._arguments)
        ready, until = self._actor.ready.remote(), time.monotonic() + self._patience
        while not ray.wait([ready], timeout=0.5)[0]:
            if time.monotonic() > until or needless() or self._abandoned:
                self.end()
                free = ray.available_resources().get("CPU", 0.0)
                raise RuntimeError(
                    f"the cluster started no actor in {self._patience:g} s; {free:g} of its cores are free: ask for "
                    "fewer workers, or for fewer cores of each (RayActors(..., cores=0))"
                )
        ray.get(ready)

    def work(self, rows: Sequence[bytes | Outcome], limit: float | None) -> list[Outcome]:
        """Score packed rows. If an actor is lost with them, once more; if they lose that one too, one by one."""
        how = ""
        for _ in range(2):
            found = self._try(rows, limit)
            if not isinstance(found, str):
                return found
            how = found
        if len(rows) == 1:
            return [Outcome(Verdict(math.nan, None, how), 0.0, "lost", DIED)]
        return [self.work([row], limit)[0] for row in rows]

    def _try(self, rows: Sequence[bytes | Outcome], limit: float | None) -> list[Outcome] | str:
        """The outcomes, or how the actor was lost."""
        import ray

        lost = ray.exceptions
        try:
            if self._actor is None:
                self.prepare(lambda: False)
            found: list[Outcome] = ray.get(self._actor.work.remote(list(rows), limit))
        except (lost.RayActorError, lost.WorkerCrashedError, lost.OutOfMemoryError) as error:
            self.end()
            if self._abandoned:
                raise RuntimeError("the engine was closed before this row was scored") from None
            return f"the actor was lost ({reason(error)})"
        return found

    def end(self) -> None:
        """Kill the actor; its worker ends with it."""
        import ray

        actor, self._actor = self._actor, None
        if actor is not None and ray.is_initialized():
            ray.kill(actor, no_restart=True)

    def abandon(self) -> None:
        """Kill the actor from another thread, for good."""
        import ray

        self._abandoned = True
        actor = self._actor
        if actor is not None and ray.is_initialized():
            ray.kill(actor, no_restart=True)
