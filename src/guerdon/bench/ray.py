"""Scoring on a local Ray: two workers against one, and one worker against a process of the same kind without Ray."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from guerdon.bench.row import BenchRow, measure_pair
from guerdon.score.backends import Processes, cores
from guerdon.score.engine import Engine, Item
from guerdon.score.ray_backend import RayActors
from guerdon.score.verdict import Verdict

_ROUNDS = 2_000  # of hashing in one unit of work, which take about a millisecond


def work(response: str, target: str, row: Mapping[str, Any]) -> Verdict:
    """A verifier that takes as much processor time as the row's `units` say, whatever the response is."""
    digest = response.encode()
    for _ in range(int(row["units"]) * _ROUNDS):
        digest = hashlib.sha256(digest).digest()
    return Verdict(float(digest[0] % 2))


def rows(quick: bool = False) -> list[BenchRow]:
    """Measure; ratio = the peer's seconds over ours.

    Args:
        quick: Few rows and few runs.
    """
    import ray

    started = not ray.is_initialized()
    if started:
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        return _measured(quick)
    finally:
        if started:
            ray.shutdown()


def _measured(quick: bool) -> list[BenchRow]:
    found = []
    runs = 3 if quick else 7
    with (
        Engine(work, backend=RayActors(work, workers=1, cores=0)) as one,
        Engine(work, backend=RayActors(work, workers=2, cores=0)) as two,
        Engine(work, backend=Processes(work, workers=1)) as local,
    ):
        for name, units, count in (("1 unit of work a row", 1, 400), ("no work", 0, 4000)):
            batch = [
                Item(f"response {number}", "", {"units": units}) for number in range(count if quick else 5 * count)
            ]
            engines = ((two, "Ray, 2 workers", one, "Ray, 1 worker"), (one, "Ray, 1 worker", local, "1 process"))
            for ours, our_name, peer, peer_name in engines:
                row = measure_pair(
                    f"{name}: {our_name}",
                    (len(batch),),
                    lambda ours=ours, batch=batch: ours.score(batch),  # type: ignore[misc]
                    peer_name,
                    lambda peer=peer, batch=batch: peer.score(batch),  # type: ignore[misc]
                    runs=runs,
                )
                found.append(_with_throughput(row))
    return found


def _with_throughput(row: BenchRow) -> BenchRow:
    """The row with rows a second in its note."""
    count, theirs = row.shape[0], row.peer_seconds or float("nan")
    note = f"{count / row.seconds:,.0f} rows/s against {count / theirs:,.0f} on {cores()} cores"
    return BenchRow(row.name, row.shape, row.seconds, row.peer, row.peer_seconds, row.ratio, note)
