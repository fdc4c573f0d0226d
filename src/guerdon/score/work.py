"""What a worker process does: score a chunk of rows, one after the other.

Run as a program it is a worker that is spoken to through its standard input and output.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pickle
import resource
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from guerdon.score.verdict import Verdict

Verifier = Callable[[str, str, Mapping[str, Any]], Verdict]
"""(response, target, row) -> Verdict."""

FAILED, TIMEOUT, DIED = "failed", "timeout", "died"
"""`Outcome.failure` of a row whose verifier raised, took too long, or ended its process."""

_LONGEST_REASON = 500


@dataclass(frozen=True)
class Outcome:
    """What became of one row.

    Attributes:
        verdict: The verdict.
        seconds: How long the verifier worked on it.
        worker: Which worker it was.
        failure: "" = the verifier decided; else why it could not: "failed", "timeout" or "died".
    """

    verdict: Verdict
    seconds: float
    worker: str
    failure: str = ""


@dataclass(frozen=True)
class Start:
    """What a worker is told first.

    Attributes:
        verifier: The pickled verifier.
        path: Where modules are looked for.
        main: The script that the verifier was defined in, or None if it stands in a module.
        memory: Bytes that the worker may hold more than it starts with; None = no limit.
    """

    verifier: bytes
    path: tuple[str, ...]
    main: str | None
    memory: int | None


def limit_memory(memory: int | None) -> None:
    """Let this process hold so many bytes more than it does now; None = any number.

    Private memory is limited, not address space: torch alone maps gigabytes that it never touches.
    """
    if memory is not None:
        limit = _private_bytes() + memory
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _private_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[5]) * resource.getpagesize()


def write_frame(file: Any, value: Any) -> None:
    """Write a value with its length in front to a binary file, buffered or not."""
    body = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    left = memoryview(len(body).to_bytes(8, "little") + body)
    while left:
        left = left[file.write(left) :]
    file.flush()


def read_frame(file: Any) -> Any:
    """Read a value that `write_frame` wrote.

    Raises:
        EOFError: The other side has gone.
    """
    return pickle.loads(_exactly(file, int.from_bytes(_exactly(file, 8), "little")))


def _exactly(file: Any, size: int) -> bytes:
    parts = []
    while size:
        part = file.read(size)
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def main() -> None:
    """Be a worker: read chunks of rows, write an outcome for each row as soon as it is there."""
    _die_with_parent()
    # Whatever the verifier prints must not get between the answers.
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    questions = sys.stdin.buffer
    try:
        verifier = _loaded(read_frame(questions))
    except EOFError:
        return
    except BaseException as error:
        write_frame(answers, reason(error))
        return
    write_frame(answers, None)
    worker = f"process {os.getpid()}"
    while True:
        try:
            chunk = read_frame(questions)
        except EOFError:
            return
        for row in chunk:
            write_frame(answers, score_row(verifier, row, worker))


def _loaded(told: Start) -> Verifier:
    sys.path[:] = told.path
    if told.main is not None:
        from multiprocessing.spawn import _fixup_main_from_path  # type: ignore[attr-defined]

        _fixup_main_from_path(told.main)
    verifier: Verifier = pickle.loads(told.verifier)
    limit_memory(told.memory)
    return verifier


def _die_with_parent() -> None:
    """A worker that hangs in foreign code would outlive a parent that was killed."""
    if sys.platform == "linux":
        set_death_signal = 1
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL)


def score_row(verifier: Verifier, row: tuple[str, str, Mapping[str, Any]], worker: str) -> Outcome:
    """Score one row; an exception makes it undecided, with the exception as the reason, and never a reward."""
    started = time.perf_counter()
    failure = ""
    try:
        verdict = _plain(verifier(*row))
    except Exception as error:
        failure = FAILED
        verdict = Verdict(float("nan"), None, reason(error))
    except (SystemExit, GeneratorExit) as error:
        failure = FAILED
        verdict = Verdict(float("nan"), None, f"the verifier tried to leave: {reason(error)}")
    return Outcome(verdict, time.perf_counter() - started, worker, failure)


def _plain(found: Any) -> Verdict:
    """The verdict with nothing in it that could fail on the way back."""
    if not isinstance(found, Verdict):
        raise TypeError(f"the verifier gave {type(found).__name__}: expected a Verdict")
    extracted = None if found.extracted is None else str(found.extracted)
    return Verdict(float(found.reward), extracted, str(found.reason))


def reason(error: BaseException) -> str:
    """An exception as the reason of a verdict: one line of bounded length."""
    try:
        text = str(error)
    except Exception:
        text = "its message cannot be read"
    line = " ".join(f"{type(error).__name__}: {text[: 2 * _LONGEST_REASON]}".split()).removesuffix(":")
    return line[:_LONGEST_REASON]


if __name__ == "__main__":
    # The classes of the frames belong to the module, not to the program.
    from guerdon.score.work import main as serve

    serve()
