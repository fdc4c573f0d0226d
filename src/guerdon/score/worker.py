"""One worker process, seen from the process that feeds it: started, asked, watched, killed and replaced."""

from __future__ import annotations

import contextlib
import math
import os
import pickle
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from guerdon.score.verdict import Verdict
from guerdon.score.work import DIED, HEAD, OUT_OF_MEMORY, TIMEOUT, Outcome, Start, framed

START_SECONDS = 300.0
"""A worker that is not ready after so long has failed: importing a verifier's libraries takes seconds."""

_STARTS = 3  # a worker that was killed while it started, by an accident, is started again
_PART = 1 << 20  # bytes of rows that are sent together
_READ = 1 << 16
_PROGRAM = "from guerdon.score.work import main; main()"


class Worker:
    """A worker process, started when it is needed and again when it was killed. For one thread at a time.

    The process answers each row as soon as it is scored, so it is known which row it is at and when that began: exactly
    this row is over its limit, or ended the process.

    Args:
        start: What the process is told first.
    """

    def __init__(self, start: Start) -> None:
        self._start = start
        self._process: subprocess.Popen[bytes] | None = None
        self._life: int | None = None  # a descriptor that becomes readable when the process ends
        self._buffer = bytearray()
        self._answered = 0  # rows of this process
        self._began = 0.0  # when the row began that it is at
        self._abandoned = False

    def prepare(self, needless: Callable[[], bool]) -> None:
        """Nothing: the process starts with the first row."""

    def work(self, rows: Sequence[bytes | Outcome], limit: float | None) -> list[Outcome]:
        """Score packed rows, whatever happens to the process on the way.

        Args:
            rows: Rows from `guerdon.score.work.pack`; those that could not be packed are passed on.
            limit: Seconds that each row may take, counted from when its work begins; None = any.

        Returns:
            One outcome a row, in order.

        Raises:
            RuntimeError: The process cannot start, or cannot load the verifier, or `abandon` was called.
        """
        outcomes: list[Outcome] = []
        suspect = -1  # the row that is asked for again, alone
        while (at := len(outcomes)) < len(rows):
            row = rows[at]
            if isinstance(row, Outcome):
                outcomes.append(row)
                continue
            try:
                full = self._ask([row] if at == suspect else _part(rows, at), limit, outcomes)
            except TimeoutError:
                why, seconds = f"took longer than {limit or 0.0:g} s", self._elapsed()
                outcomes.append(Outcome(Verdict(math.nan, None, why), seconds, self.name, TIMEOUT))
                self.end()
                continue
            except (EOFError, OSError, pickle.UnpicklingError):
                name, seconds, how = self.name, self._elapsed(), self.end(patience=1.0)
                if self._abandoned:
                    raise RuntimeError("the engine was closed before this row was scored") from None
                failed = Outcome(Verdict(math.nan, None, how), seconds, name, DIED)
            else:
                if full is None:
                    continue
                failed, alone = full, self._answered == 0
                self.end(patience=1.0)
                if alone:
                    suspect = len(outcomes)
            # It may have been killed for what another process did, or filled by the rows before: once is an accident,
            # twice is this row.
            if suspect == len(outcomes):
                outcomes.append(failed)
            else:
                suspect = len(outcomes)
        return outcomes

    def _ask(self, rows: Sequence[bytes], limit: float | None, outcomes: list[Outcome]) -> Outcome | None:
        """Append outcomes as they come; return the one of a row for which memory did not suffice."""
        self._run()
        self._began = time.monotonic()
        self._write(list(rows), START_SECONDS)
        for _ in rows:
            self._began = time.monotonic()
            outcome: Outcome = self._read(limit)
            if outcome.failure == OUT_OF_MEMORY:
                return outcome
            outcomes.append(outcome)
            self._answered += 1
        return None

    def _elapsed(self) -> float:
        return time.monotonic() - self._began

    @property
    def name(self) -> str:
        """What the process calls itself in its outcomes."""
        return f"{self._start.place}process {self._process.pid if self._process else 'none'}"

    def _run(self) -> None:
        """Start the process if there is none."""
        if self._process is not None:
            return
        how = ""
        for _ in range(_STARTS):
            if self._abandoned:
                break
            try:
                self._spawn()
                self._write(self._start, START_SECONDS)
                problem = self._read(START_SECONDS)
            except TimeoutError:
                self.end()
                raise RuntimeError(f"a worker was not ready after {START_SECONDS:g} s") from None
            except (EOFError, OSError, pickle.UnpicklingError) as error:
                how = self.end(patience=1.0) if self._process else str(error)
                continue
            if problem is not None:
                self.end()
                raise RuntimeError(f"a worker could not load the verifier ({problem})")
            return
        raise RuntimeError(f"a worker could not start ({how})" if how else "the engine was closed")

    def _spawn(self) -> None:
        # -c finds the package where this process found it, before the worker is told the whole path.
        command = f"import sys; sys.path[:] = {list(self._start.path)!r}; {_PROGRAM}"
        self._process = subprocess.Popen(
            [sys.executable, "-c", command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            # A group of its own: an interrupt from the keyboard is for this process, which ends its workers in order,
            # and what a worker has started ends with it.
            start_new_session=True,
        )
        assert self._process.stdin is not None
        os.set_blocking(self._process.stdin.fileno(), False)
        self._life, self._answered = None, 0
        self._buffer.clear()
        with contextlib.suppress(AttributeError, OSError):
            # Elsewhere than on Linux the pipes alone tell that it has ended.
            self._life = os.pidfd_open(self._process.pid)

    def _write(self, value: Any, limit: float) -> None:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        pipe, until = process.stdin.fileno(), time.monotonic() + limit
        left = memoryview(framed(value))
        while left:
            try:
                left = left[os.write(pipe, left) :]
            except BlockingIOError:
                # A process that does not read is as good as dead.
                if not self._wait(pipe, select.POLLOUT, until):
                    raise EOFError from None

    def _read(self, limit: float | None) -> Any:
        """The next value that the process answers.

        Raises:
            TimeoutError: It took longer than the limit.
            EOFError: The process has ended.
        """
        process = self._process
        assert process is not None
        assert process.stdout is not None
        pipe, until = process.stdout.fileno(), None if limit is None else time.monotonic() + limit
        while (body := self._frame()) is None:
            if not self._wait(pipe, select.POLLIN, until):
                raise TimeoutError
            more = os.read(pipe, _READ)
            if not more:
                raise EOFError
            self._buffer += more
        return pickle.loads(body)

    def _frame(self) -> bytes | None:
        """The body of the first frame of the buffer, taken out, if it is complete."""
        buffer = self._buffer
        if len(buffer) < HEAD:
            return None
        end = HEAD + int.from_bytes(buffer[:HEAD], "little")
        if len(buffer) < end:
            return None
        body = bytes(buffer[HEAD:end])
        del buffer[:end]
        return body

    def _wait(self, pipe: int, event: int, until: float | None) -> bool:
        """Wait for the pipe; False = it took too long.

        Raises:
            EOFError: The process has ended, though something that it has started may hold the pipe open.
        """
        poll = select.poll()
        poll.register(pipe, event)
        if self._life is not None:
            poll.register(self._life, select.POLLIN)
        while True:
            left = None if until is None else max(0.0, until - time.monotonic())
            ready = {descriptor for descriptor, _ in poll.poll(None if left is None else math.ceil(left * 1000))}
            if pipe in ready:
                return True
            if ready:
                raise EOFError
            if until is not None and time.monotonic() >= until:
                return False

    def end(self, patience: float = 0.0) -> str:
        """Kill the process and what it has started, after some patience with one that is ending; how it ended."""
        process, self._process = self._process, None
        life, self._life = self._life, None
        if process is None:
            return "there was no worker"
        if patience and life is not None:
            poll = select.poll()
            poll.register(life, select.POLLIN)
            poll.poll(patience * 1000)
        elif patience:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(patience)
        if process.returncode is None:
            # Not yet waited for, so the number is still that of its group.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
        code = process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        if life is not None:
            os.close(life)
        return f"the worker was ended by signal {-code}" if code < 0 else f"the worker ended with exit code {code}"

    def abandon(self) -> None:
        """Kill the process from another thread than the one that works with it, which then gives up."""
        self._abandoned = True
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)


def _part(rows: Sequence[bytes | Outcome], at: int) -> list[bytes]:
    """The rows from there on that are sent together."""
    part: list[bytes] = []
    size = 0
    for row in rows[at:]:
        if isinstance(row, Outcome) or (part and size + len(row) > _PART):
            break
        part.append(row)
        size += len(row)
    return part
