"""Every stage with its defaults: seconds, passes over its input, and how the seconds grow with the tokens.

A *pass* is the time that a plain copy needs to move the bytes that the stage must move at least: those of the fields
that it declares to read, and of those that it writes. Objectives are timed forward and backward.
"""

from __future__ import annotations

import math
import resource
import statistics
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any

import torch
from torch import Tensor

from guerdon.bench.row import BenchRow, measure
from guerdon.bench.stage_inputs import Fields, batch, rollouts, without_last
from guerdon.credit import TurnDiscounted
from guerdon.rollouts import Rollouts
from guerdon.shelves import stages
from guerdon.stages import reads, writes

SHAPES = ((1024, 2048), (4096, 2048))
TOKENS = 2048
ROWS = (5, 49, 488, 4883, 48_828)
"""Responses of 2,048 tokens: 1e4 to 1e8 tokens."""
GROWTH_FROM = 1_000_000
"""The slope is fitted from so many tokens on: below, the cost of a call hides that of the tokens."""
MEMORY = 18 * 2**30
"""Address space of the process that measures one stage at one size."""
SHELVES = ("shape", "select", "credit", "objective")


def rows(quick: bool = False) -> list[BenchRow]:
    """Measure all stages that can be called on rollouts alone.

    Args:
        quick: Small sizes and few runs.
    """
    shapes, sizes, runs = (((64, 128),), (), 2) if quick else (SHAPES, ROWS, 5)
    growth = growths(sizes)
    found = []
    for shape in shapes:
        given = rollouts(*shape)
        second = seconds_per_byte(shape, runs)
        for shelf, kind in kinds():
            call = prepared(shelf, kind, given)
            if call is None:
                continue
            call()
            seconds = statistics.median(measure(call) for _ in range(runs))
            fields = Fields(given)
            moved = sum(fields.size(name) for name in {*reads(kind()), *written(shelf, kind)})
            note = f"{seconds / (moved * second):.2f} passes over {moved:,} bytes"
            if kind.__name__ in growth:
                power, most = growth[kind.__name__]
                note += f"; seconds grow as tokens to the power {power:.2f} up to {most:.0e} tokens"
            found.append(BenchRow(f"{shelf} {kind.__name__}", shape, seconds, note=note))
    return found


def kinds() -> Iterator[tuple[str, Any]]:
    """(shelf, stage class) of the stages that have defaults."""
    for shelf in SHELVES:
        for kind in stages(shelf):
            try:
                stage = kind()
            except (TypeError, ValueError):
                continue
            # A chain of nothing has nothing to measure.
            if shelf == "objective" or writes(stage):
                yield shelf, kind


def written(shelf: str, kind: Any) -> tuple[str, ...]:
    """What a stage writes; an objective writes a gradient as large as the log-probabilities that it reads."""
    return ("logprobs", "advantages") if shelf == "objective" else writes(kind())


def prepared(shelf: str, kind: Any, given: Rollouts) -> Callable[[], object] | None:
    """A call of the stage on the rollouts, or None if it needs more than they have."""
    if shelf != "objective":
        fitting = without_last(given) if kind is TurnDiscounted else given

        def call() -> object:
            return kind()(fitting)
    else:
        ready = batch(given)
        assert given.logprobs is not None
        logprobs = given.logprobs.clone().requires_grad_()

        def call() -> object:
            logprobs.grad = None
            stage = kind()
            prepare = getattr(stage, "prepare", None)
            loss = stage(logprobs, ready if prepare is None else prepare(ready))
            loss.value.backward()
            return logprobs.grad

    try:
        call()
    except (ValueError, TypeError, KeyError):
        return None
    return call


def seconds_per_byte(shape: tuple[int, int], runs: int) -> float:
    """Seconds that copying moves a byte in: reading and writing count one each."""
    source = torch.rand(shape)
    target: Tensor = torch.empty_like(source)
    target.copy_(source)
    return statistics.median(measure(lambda: target.copy_(source)) for _ in range(max(runs, 5))) / (8 * source.numel())


def growths(sizes: tuple[int, ...]) -> dict[str, tuple[float, int]]:
    """Stage name -> the slope of log seconds against log tokens, and the most tokens that fitted into memory."""
    found = {}
    for shelf, kind in kinds():
        points = []
        for size in sizes:
            if size * TOKENS >= GROWTH_FROM:
                seconds = alone(shelf, kind.__name__, size)
                points += [] if seconds is None else [(math.log(size * TOKENS), math.log(seconds))]
        if len(points) > 1:
            found[kind.__name__] = slope(points), round(math.exp(points[-1][0]))
    return found


def alone(shelf: str, name: str, size: int) -> float | None:
    """Seconds of a stage in a process of its own, so that one that needs too much memory ends nothing else."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        try:
            return pool.submit(_alone, shelf, name, size).result()
        except (BrokenProcessPool, RuntimeError, MemoryError):
            return None


def _alone(shelf: str, name: str, size: int) -> float | None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    kind = next(kind for place, kind in kinds() if (place, kind.__name__) == (shelf, name))
    extra = ("logprobs", "entropy") if shelf == "objective" else ()
    call = prepared(shelf, kind, rollouts(size, TOKENS, only={*reads(kind()), *extra}))
    return None if call is None else min(measure(call) for _ in range(2))


def slope(points: list[tuple[float, float]]) -> float:
    """The slope of the line of least squares."""
    x, y = (torch.tensor(column, dtype=torch.float64) for column in zip(*points, strict=True))
    centred = x - x.mean()
    return float((centred * (y - y.mean())).sum() / centred.square().sum())
