"""One measurement: our seconds and a peer's, interleaved."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class BenchRow:
    """A measurement.

    Attributes:
        name: What is computed.
        shape: Size of the input.
        seconds: Our median.
        peer: What it is compared with; "" = nothing.
        peer_seconds: The peer's median.
        ratio: The peer's seconds over ours.
        note: Anything else.
    """

    name: str
    shape: tuple[int, ...]
    seconds: float
    peer: str = ""
    peer_seconds: float | None = None
    ratio: float | None = None
    note: str = ""


def measure(function: Callable[[], object]) -> float:
    """Seconds of one call."""
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def measure_pair(
    name: str,
    shape: tuple[int, ...],
    ours: Callable[[], object],
    peer_name: str,
    peer: Callable[[], object] | None,
    runs: int = 7,
    note: str = "",
) -> BenchRow:
    """Run both in turns, after one run of each to warm up, and take medians.

    Args:
        name: What is computed.
        shape: Size of the input.
        ours: Our call.
        peer_name: Who the peer is.
        peer: The peer's call; None = it is not installed.
        runs: Runs of each.
        note: Anything else.
    """
    ours()
    if peer is None:
        own = [measure(ours) for _ in range(runs)]
        return BenchRow(name, shape, statistics.median(own), note=f"{peer_name} is not installed")
    peer()
    times = [(measure(ours), measure(peer)) for _ in range(runs)]
    mine, theirs = (statistics.median(column) for column in zip(*times, strict=True))
    return BenchRow(name, shape, mine, peer_name, theirs, theirs / mine, note)
