"""A pool of sandboxes."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from guerdon.score.sandbox.keeper import Keeper, KeeperDiedError, bubblewrap
from guerdon.score.sandbox.results import Limits, Result, TestResult

T = TypeVar("T")


class Sandbox:
    r"""Runs programs that nobody vouches for. Use it as a context manager; any thread may call it.

    Every program has a fresh process, an empty /tmp, a bare Python, and nothing else: no network, no files of this
    machine, no environment, no /proc, and no way to see another program or what its output is compared with. Sandboxes
    are kept running, so that a program costs a fork and not the start of an interpreter.

    Args:
        limits: What one program may use.
        workers: Sandboxes; so many programs run at once.
        unsafe: Run programs as plain processes with limits; every result is marked.

    Raises:
        SandboxUnavailableError: There is no bubblewrap here, and `unsafe` is not set.

    Example:
        >>> from guerdon.score.sandbox import Sandbox
        >>> with Sandbox(unsafe=True) as sandbox:
        ...     sandbox.run("print(int(input()) + 1)", stdin="3").stdout
        '4\n'
    """

    def __init__(self, limits: Limits | None = None, workers: int = 1, unsafe: bool = False) -> None:
        if workers < 1:
            raise ValueError(f"workers is {workers}: expected 1 or more")
        if not unsafe:
            bubblewrap()
        self.limits = limits or Limits()
        self.workers = workers
        self.unsafe = unsafe
        self._lock = threading.Lock()
        self._owner = -1
        self._free: queue.LifoQueue[Keeper] = queue.LifoQueue()
        self._all: list[Keeper] = []

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, program: str, stdin: str = "", limits: Limits | None = None) -> Result:
        """Run a program as a script.

        Args:
            program: Python.
            stdin: What it reads.
            limits: Others than the sandbox's.
        """
        allowed = limits or self.limits
        found = self._with_keeper(lambda keeper: keeper.run(program, stdin, allowed))
        return found if isinstance(found, Result) else Result("broken", reason=found, unsafe=self.unsafe)

    def test(self, program: str, test: str, entry: str | None = None, limits: Limits | None = None) -> TestResult:
        """Run a test against the functions of a program.

        The test runs in a sandbox of its own. Names that it does not define are those of the program; calls go there
        and come back as plain values (numbers, texts, lists, dicts, ...), which are compared on the test's side.

        Args:
            program: Python.
            test: Python that raises if the test is not passed.
            entry: Name of the function that `check` of the test is called with; None = the test calls by name.
            limits: Others than the sandbox's.
        """
        allowed = limits or self.limits
        found = self._with_keeper(lambda keeper: keeper.test(program, test, entry, allowed))
        if isinstance(found, TestResult):
            return found
        return TestResult(None, found, Result("broken", reason=found, unsafe=self.unsafe))

    def run_many(self, programs: Iterable[tuple[str, str]]) -> list[Result]:
        """Run programs (each with what it reads), as many at once as there are workers; in order."""
        with ThreadPoolExecutor(self.workers) as threads:
            return list(threads.map(lambda pair: self.run(*pair), programs))

    def _with_keeper(self, use: Callable[[Keeper], T]) -> T | str:
        """Use a free sandbox; if it dies, a second one. What is left then is the reason."""
        free = self._keepers()
        keeper = free.get()
        try:
            reason = ""
            for _ in range(2):
                try:
                    return use(keeper)
                except KeeperDiedError as error:
                    reason = str(error)
            return reason
        finally:
            free.put(keeper)

    def _keepers(self) -> queue.LifoQueue[Keeper]:
        with self._lock:
            if self._owner != os.getpid():
                # After a fork the sandboxes are the parent's.
                self._owner, self._free = os.getpid(), queue.LifoQueue()
                self._all = [Keeper(self.unsafe) for _ in range(self.workers)]
                for keeper in self._all:
                    self._free.put(keeper)
            return self._free

    def close(self) -> None:
        """End all sandboxes."""
        with self._lock:
            keepers, self._all = self._all, []
            if self._owner == os.getpid():
                for keeper in keepers:
                    keeper.end()
            self._owner = -1
