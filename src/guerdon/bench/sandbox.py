"""Programs a second in the sandbox, against one interpreter a program."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from guerdon.bench.row import BenchRow, measure_pair
from guerdon.score.sandbox import Limits, Sandbox
from guerdon.score.sandbox.keeper import command

PROGRAM = "print(sum(range(10)))"
TEST = "assert f(1) == 2"
FUNCTION = "def f(x): return x + 1"


def rows(quick: bool = False) -> list[BenchRow]:
    """Measure batches of small programs.

    Args:
        quick: Few programs and runs.
    """
    count, runs = (20, 3) if quick else (60, 7)
    found = []
    for workers in (1, 2):
        with Sandbox(Limits(wall=5.0), workers=workers) as sandbox:
            ours = _batch(lambda sandbox=sandbox: sandbox.run(PROGRAM), count, workers)  # type: ignore[misc]
            tests = _batch(lambda sandbox=sandbox: sandbox.test(FUNCTION, TEST), count, workers)  # type: ignore[misc]
            plain = _batch(_interpreter, count, workers)
            boxed = _batch(_bubblewrap, count, workers)
            shape = (count, workers)
            found += [
                measure_pair("scripts", shape, ours, "python -I a program, no sandbox", plain, runs),
                measure_pair("scripts", shape, ours, "bwrap and python a program", boxed, runs),
                measure_pair("function tests, two trees", shape, tests, "python -I a program, no sandbox", plain, runs),
            ]
    return found


def _batch(one: Callable[[], object], count: int, workers: int) -> Callable[[], object]:
    def run() -> None:
        with ThreadPoolExecutor(workers) as threads:
            list(threads.map(lambda _: one(), range(count)))

    return run


def _interpreter() -> object:
    return subprocess.run([sys.executable, "-I", "-c", PROGRAM], capture_output=True, check=True)


def _bubblewrap() -> object:
    words = command()
    start = words[: words.index("-I")]
    return subprocess.run([*start, "-I", "-c", PROGRAM], capture_output=True, check=True)
