"""The verifier of mathematical answers against `math-verify`, called row by row, on batches like those of training.

Nothing is carried over from run to run: the caches of guerdon's reader are emptied before each run of ours.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import random
import re
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from guerdon.bench.row import BenchRow, measure
from guerdon.score.verify.math import MathAnswer

GROUP = 16
_MODULES = ("answers", "expressions", "identity", "latex", "reading", "symbolic", "units")
_NUMBER = re.compile(r"(?<![\^_0-9.])(?<!\^\{)(?<!_\{)(?:[0-9]+(?:,(?:\\! ?)?[0-9]{3})*(?:\.[0-9]+)?|\.[0-9]+)")
_SHORT_FRACTION = re.compile(r"\\frac ?([0-9])(?: ?([0-9]))?")
_SOLVED_BY = ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification")

Row = tuple[str, str]
"""Response and reference answer."""


def rows(quick: bool = False) -> list[BenchRow]:
    """Measure all batches; ratio = the peer's seconds over ours.

    Args:
        quick: Small batches and few runs.
    """
    groups, runs = (8, 1) if quick else (64, 5)
    data = data_folder()
    found = []
    for name, batch in [
        *_batches(data, groups),
        ("functions, left to math-verify, no two equal", left_open(groups // 8)),
    ]:
        found += _compared(name, batch, runs)
    return found


def data_folder() -> Path | None:
    """`GUERDON_DATA`, or `../shared/data` seen from here; None if neither has the files that are read."""
    for folder in (os.environ.get("GUERDON_DATA"), "../shared/data"):
        if folder and (Path(folder) / "math_cot_100" / "math_cot_100.jsonl").is_file():
            return Path(folder)
    return None


def _batches(data: Path | None, groups: int) -> list[tuple[str, list[Row]]]:
    if data is None:
        return [
            ("generated word problems, groups of 16", generated(groups, equal=True)),
            ("generated word problems, no two answers equal", generated(groups, equal=False)),
        ]
    return [
        ("GSM8K, real responses, groups of 16", gsm8k(data, groups)),
        ("MATH, real responses, groups of 16", math_responses(data, groups)),
        ("MATH-500 answers, no two equal", all_different(data, groups)),
    ]


# --- batches ----------------------------------------------------------------------------------------------------


def gsm8k(data: Path, groups: int) -> list[Row]:
    """Real solutions of four models, four times each; no two responses are the same text, many answers are.

    Args:
        data: Where `gsm8k/example_model_solutions.jsonl` is.
        groups: How many problems.
    """
    batch = []
    for problem in _lines(data / "gsm8k" / "example_model_solutions.jsonl", groups):
        gold = problem["ground_truth"].rsplit("A:", 1)[-1].strip()
        solutions = [problem[model]["solution"] for model in _SOLVED_BY]
        batch += [(f"Attempt {attempt}.\n{solutions[attempt % 4]}", gold) for attempt in range(GROUP)]
    return batch


def math_responses(data: Path, groups: int) -> list[Row]:
    """Eight real responses to problems of MATH, twice each; no two are the same text.

    Args:
        data: Where `math_cot_100/math_cot_100.jsonl` is.
        groups: How many problems.
    """
    batch = []
    for problem in _lines(data / "math_cot_100" / "math_cot_100.jsonl", groups):
        for attempt in range(GROUP):
            batch.append((f"Attempt {attempt}.\n{problem['code'][attempt % 8]}", str(problem["gt"])))
    return batch


def all_different(data: Path, groups: int) -> list[Row]:
    """The worst case: answers of the same form as the reference answer, no two of them equal, none of them right.

    Args:
        data: Where `math500/test.jsonl` is.
        groups: How many reference answers.
    """
    golds = sorted({str(problem["answer"]) for problem in _lines(data / "math500" / "test.jsonl", 500)})
    golds = [gold for gold in golds if _with_number(gold, 1) != _with_number(gold, 2)]
    random.Random(0).shuffle(golds)
    batch, number = [], 10_000
    for gold in golds[:groups]:
        for _ in range(GROUP):
            number += 1
            batch.append((f"So we find that the answer is $\\boxed{{{_with_number(gold, number)}}}$.", gold))
    return batch


def _with_number(gold: str, number: int) -> str:
    """The answer with another number in it, not as an exponent or a base."""
    gold = _SHORT_FRACTION.sub(lambda match: f"\\frac{{{match[1]}}}" + (f"{{{match[2]}}}" if match[2] else ""), gold)
    return _NUMBER.sub(str(number), gold, count=1)


def left_open(groups: int) -> list[Row]:
    """Answers that the fast path does not decide, no two equal: nothing is to be gained here.

    Args:
        groups: How many reference answers.
    """
    forms = (
        r"\sin {}x",
        r"\log_2 ({}x)",
        "|x-{}|",
        r"e^{{{}x}}",
        r"\cos^2 x + {}",
        r"\ln {}x",
        r"x - \tan {}",
        "f({}x)",
    )
    batch, number = [], 100
    for group in range(groups):
        form = forms[group % len(forms)]
        gold = form.format(group + 2)
        for _ in range(GROUP):
            number += 1
            batch.append((f"So we find that the answer is $\\boxed{{{form.format(number)}}}$.", gold))
    return batch


def generated(groups: int, equal: bool) -> list[Row]:
    """Responses to word problems, where no data are at hand.

    Args:
        groups: How many problems.
        equal: Whether many answers of a group are equal, as in training; else no two are.
    """
    draw = random.Random(0)
    batch = []
    for group in range(groups):
        gold = draw.randrange(2, 5_000)
        for attempt in range(GROUP):
            wrong = gold + draw.randrange(1, 4) if equal else 10_000 + GROUP * group + attempt
            answer = gold if equal and draw.random() < 0.6 else wrong
            steps = "\n".join(f"Step {step}: {answer - step} + {step} = {answer}" for step in range(1, 5))
            batch.append((f"Attempt {attempt}.\n{steps}\nThe answer is {answer}.", str(gold)))
    return batch


def _lines(path: Path, count: int) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line, _ in zip(lines, range(count), strict=False)]


# --- measuring --------------------------------------------------------------------------------------------------


def _compared(name: str, batch: list[Row], runs: int) -> list[BenchRow]:
    shape = (len(batch) // GROUP, GROUP)
    ours = partial(_ours, batch)
    peer = _peer(batch)
    ours()
    if peer is None:
        seconds = statistics.median(_fresh(ours) for _ in range(runs))
        return [BenchRow(name, shape, seconds, note="math-verify is not installed")]
    theirs = peer()
    mine = ours()
    same = sum(a == b for a, b in zip(mine, theirs, strict=True))
    times = [(_fresh(ours), measure(peer)) for _ in range(runs)]
    seconds, peer_seconds = (statistics.median(column) for column in zip(*times, strict=True))
    note = f"one core; equal verdicts: {same} of {len(batch)}"
    peer_name = "math-verify row by row"
    found = [BenchRow(name, shape, seconds, peer_name, peer_seconds, peer_seconds / seconds, note)]
    on_two = _on_two_cores(batch, runs)
    if on_two is not None:
        note = "two worker processes of the engine, started before; equal rows once"
        found.append(BenchRow(f"{name}: engine", shape, on_two, peer_name, peer_seconds, peer_seconds / on_two, note))
    return found


def _ours(batch: list[Row]) -> list[float]:
    verifier = MathAnswer()
    return [verifier(response, gold, {}).reward for response, gold in batch]


def _fresh(function: Callable[[], object]) -> float:
    _forget()
    return measure(function)


def _forget() -> None:
    """Empty the caches of guerdon's reader, so that no run profits from the one before."""
    for name in _MODULES:
        for value in vars(importlib.import_module(f"guerdon.score.verify.{name}")).values():
            clear = getattr(value, "cache_clear", None)
            if clear is not None:
                clear()


def _peer(batch: list[Row]) -> Callable[[], list[float]] | None:
    try:
        import math_verify
    except ImportError:
        return None
    logging.getLogger("math_verify").setLevel(logging.CRITICAL)

    def row_by_row() -> list[float]:
        return [
            float(math_verify.verify(math_verify.parse(f"${gold}$"), math_verify.parse(response)))
            for response, gold in batch
        ]

    return row_by_row


def _on_two_cores(batch: list[Row], runs: int) -> float | None:
    """Seconds of the engine with two workers; None where two cores are not to be had.

    Its workers keep what they have read, so that each run gets texts that no run before had.
    """
    if len(os.sched_getaffinity(0)) < 2:
        return None
    from guerdon.score.engine import Engine, Item

    with Engine(MathAnswer(), backend="processes", workers=2) as engine:
        engine.score([Item(response, gold) for response, gold in batch])  # starts the workers
        times = []
        for run in range(runs):
            items = [Item(f"Run {run}. {response}", gold) for response, gold in batch]
            times.append(measure(partial(engine.score, items)))
    return statistics.median(times)
