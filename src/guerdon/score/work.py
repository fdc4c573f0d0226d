"""What a worker process does: score a chunk of rows, one after the other.

Run as a program it is a worker that is spoken to through its standard input and output.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pickle
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from guerdon.score.verdict import Verdict

Verifier = Callable[[str, str, Mapping[str, Any]], Verdict]
"""(response, target, row) -> Verdict; `row` maps the names of the columns to the row's values."""

Row = tuple[str, str, Mapping[str, Any]]
"""(response, target, columns)."""

FAILED, OUT_OF_MEMORY, TIMEOUT, DIED = "failed", "memory", "timeout", "died"
"""`Outcome.failure` of a row whose verifier raised, wanted too much memory, took too long, or ended its process."""

_LONGEST_REASON = 500
_LARGEST_REWARD = 3.4e38
"""Rewards are kept as float32."""


@dataclass(frozen=True)
class Outcome:
    """What became of one row.

    Attributes:
        verdict: The verdict.
        seconds: How long the verifier worked on it.
        worker: Which worker it was.
        failure: "" = the verifier decided; else why it could not: "failed", "memory", "timeout" or "died".
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
        main_module: The name under which that script was run by `python -m`, or None.
        memory: Bytes that the worker may hold more than it starts with; None = no limit.
        place: What comes before the process number in the worker's name: a host, say.
    """

    verifier: bytes
    path: tuple[str, ...]
    main: str | None = None
    main_module: str | None = None
    memory: int | None = None
    place: str = ""


def limit_memory(memory: int | None) -> None:
    """Let this process hold so many bytes more than it does now; None = any number.

    Private memory is limited, not address space: torch alone maps gigabytes that it never touches.
    """
    if memory is not None:
        import resource

        limit = _private_bytes() + memory
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _private_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[5]) * os.sysconf("SC_PAGESIZE")


HEAD = 8
"""Bytes of a frame that say how many follow."""


def framed(value: Any) -> bytes:
    """A value as bytes, with their number in front."""
    body = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    return len(body).to_bytes(HEAD, "little") + body


def write_frame(file: Any, value: Any) -> None:
    """Write a value with its length in front to a binary file, buffered or not."""
    left = memoryview(framed(value))
    while left:
        left = left[file.write(left) :]
    file.flush()


def read_frame(file: Any) -> Any:
    """Read a value that `write_frame` wrote.

    Raises:
        EOFError: The other side has gone.
    """
    return pickle.loads(_exactly(file, int.from_bytes(_exactly(file, HEAD), "little")))


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
        verifier, worker = _loaded(read_frame(questions))
    except EOFError:
        return
    except BaseException as error:
        write_frame(answers, reason(error))
        return
    write_frame(answers, None)
    process = os.getpid()
    while True:
        try:
            chunk = read_frame(questions)
        except EOFError:
            return
        for body in chunk:
            outcome = _score_pickled(verifier, body, worker)
            if os.getpid() != process:
                # The verifier forked, and this is the child: two voices would answer for each row.
                os._exit(0)
            write_frame(answers, outcome)
            if outcome.failure == OUT_OF_MEMORY:
                # What earlier rows left behind may have filled it; the next worker starts with nothing.
                return


def _loaded(told: Start) -> tuple[Verifier, str]:
    sys.path[:] = told.path
    # As `multiprocessing` does it, so that what a script defines can be loaded without running it as the script.
    if told.main_module is not None:
        from multiprocessing.spawn import _fixup_main_from_name  # type: ignore[attr-defined]

        _fixup_main_from_name(told.main_module)
    elif told.main is not None:
        from multiprocessing.spawn import _fixup_main_from_path  # type: ignore[attr-defined]

        _fixup_main_from_path(told.main)
    verifier: Verifier = pickle.loads(told.verifier)
    limit_memory(told.memory)
    return verifier, f"{told.place}process {os.getpid()}"


def pack(row: Row) -> bytes | Outcome:
    """A row as bytes, or its outcome if it cannot be pickled."""
    try:
        return pickle.dumps(row, protocol=pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        why = f"the row cannot be sent to a worker ({reason(error)})"
        return Outcome(Verdict(float("nan"), None, why), 0.0, "not sent", FAILED)


def _score_pickled(verifier: Verifier, body: bytes, worker: str) -> Outcome:
    try:
        row = pickle.loads(body)
    except MemoryError as error:
        return Outcome(Verdict(float("nan"), None, reason(error)), 0.0, worker, OUT_OF_MEMORY)
    except Exception as error:
        why = f"the row cannot be read by a worker ({reason(error)})"
        return Outcome(Verdict(float("nan"), None, why), 0.0, worker, FAILED)
    return score_row(verifier, row, worker)


def _die_with_parent() -> None:
    """A worker that hangs in foreign code would outlive a parent that was killed."""
    if sys.platform == "linux":
        set_death_signal = 1  # PR_SET_PDEATHSIG
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL)


def score_row(verifier: Verifier, row: Row, worker: str) -> Outcome:
    """Score one row; an exception makes it undecided, with the exception as the reason, and never a reward.

    Raises:
        KeyboardInterrupt: Somebody wants all of it to end.
    """
    started = time.perf_counter()
    failure = ""
    try:
        verdict = _plain(verifier(*row))
    except KeyboardInterrupt:
        raise
    except MemoryError as error:
        failure = OUT_OF_MEMORY
        verdict = Verdict(float("nan"), None, reason(error))
    except (SystemExit, GeneratorExit) as error:
        failure = FAILED
        verdict = Verdict(float("nan"), None, f"the verifier tried to leave: {reason(error)}")
    except BaseException as error:
        failure = FAILED
        verdict = Verdict(float("nan"), None, reason(error))
    return Outcome(verdict, time.perf_counter() - started, worker, failure)


def _plain(found: Any) -> Verdict:
    """The verdict with nothing in it that could fail on the way back."""
    if not isinstance(found, Verdict):
        raise TypeError(f"the verifier gave {type(found).__name__}: expected a Verdict")
    extracted = None if found.extracted is None else str(found.extracted)
    reward = float(found.reward)
    if abs(reward) > _LARGEST_REWARD:
        raise ValueError(f"the verifier gave the reward {reward}: expected one that float32 can hold")
    return Verdict(reward, extracted, str(found.reason))


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
