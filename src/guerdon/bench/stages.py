"""Every stage with its defaults: seconds, passes over its input, and how the seconds grow with the tokens.

A *pass* is the time that a plain copy needs to move the bytes that the stage must move at least: those of the fields
that it declares to read, and of those that it writes. Objectives are timed forward and backward.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator
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
            if kind in growth:
                note += f"; seconds grow as tokens to the power {growth[kind]:.2f}"
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


def growths(sizes: tuple[int, ...]) -> dict[Any, float]:
    """Stage class -> the slope of log seconds against log tokens."""
    points: dict[Any, list[tuple[float, float]]] = {}
    for size in sizes:
        tokens = size * TOKENS
        if tokens < GROWTH_FROM:
            continue
        given = rollouts(size, TOKENS)
        for shelf, kind in kinds():
            call = prepared(shelf, kind, given)
            if call is not None:
                points.setdefault(kind, []).append((math.log(tokens), math.log(measure(call))))
    return {kind: slope(found) for kind, found in points.items() if len(found) > 1}


def slope(points: list[tuple[float, float]]) -> float:
    """The slope of the line of least squares."""
    x, y = (torch.tensor(column, dtype=torch.float64) for column in zip(*points, strict=True))
    centred = x - x.mean()
    return float((centred * (y - y.mean())).sum() / centred.square().sum())
