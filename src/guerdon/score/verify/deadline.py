"""A time limit on a computation in this thread, without signals: it works in every thread.

A watching thread raises an exception in the thread that computes, at its next step of Python code. A single long
operation of C code is not interrupted; keep those short by other means, or compute in a process that can be killed.
"""

from __future__ import annotations

import ctypes
import os
import queue
import threading
import time
from collections.abc import Callable
from typing import TypeVar

_Result = TypeVar("_Result")
_PATIENCE = 5.0
_REPEAT = 0.05  # seconds; an exception may get lost in a destructor, so that it is raised again


class DeadlineExceeded(BaseException):
    """The time is up. Not an `Exception`, so that libraries which swallow those do not swallow it."""


class _Watch:
    """One computation under watch."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.started = time.monotonic()
        self.end = self.started + seconds  # when to look next
        self.thread = threading.get_ident()
        self.clock = time.pthread_getcpuclockid(self.thread) if hasattr(time, "pthread_getcpuclockid") else None
        self.worked = 0.0 if self.clock is None else time.clock_gettime(self.clock)
        self.active = True
        self.firing = False  # the watching thread is about to raise, or has just done so

    def left(self) -> float:
        """Seconds that it may still compute; not more than 0 = the time is up."""
        waited = time.monotonic() - self.started
        if self.clock is None or waited > _PATIENCE * self.seconds:
            return self.seconds - waited
        try:
            return self.seconds - (time.clock_gettime(self.clock) - self.worked)
        except OSError:  # the thread has ended
            return self.seconds


class _Watcher:
    """The thread that watches.

    The threads that compute share no lock with it: an exception could arrive right after one was taken, and it would
    never be given back. They put into a queue, which is one step, and read and write flags.
    """

    def __init__(self) -> None:
        self.incoming: queue.SimpleQueue[_Watch] = queue.SimpleQueue()
        self.starting = threading.Lock()
        self.thread: threading.Thread | None = None

    def start(self) -> None:
        if self.thread is None or not self.thread.is_alive():
            with self.starting:
                if self.thread is None or not self.thread.is_alive():
                    self.thread = threading.Thread(target=self.run, name="guerdon-deadline", daemon=True)
                    self.thread.start()

    def run(self) -> None:
        watches: list[_Watch] = []
        while True:
            wait = max(min(watch.end for watch in watches) - time.monotonic(), 0.0) if watches else None
            try:
                watches.append(self.incoming.get(timeout=wait))
            except queue.Empty:
                for watch in watches:
                    if watch.end <= time.monotonic():
                        left = watch.left()
                        watch.end = time.monotonic() + max(left, _REPEAT)
                        if left <= 0:
                            _fire(watch)
            watches = [watch for watch in watches if watch.active]


def _fire(watch: _Watch) -> None:
    watch.firing = True
    if watch.active:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(watch.thread), ctypes.py_object(DeadlineExceeded))
    watch.firing = False


_watcher = _Watcher()


def _after_fork() -> None:
    global _watcher
    _watcher = _Watcher()  # the child has no such thread


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def within(seconds: float, function: Callable[[], _Result]) -> _Result:
    """Call a function, and stop it when the time is up.

    Limits may be nested as far as the inner one is the shorter one.

    The time is that which this thread computes, so that a busy machine does not change the outcome; five times as much
    on the wall is too much anyhow. Where a thread's time cannot be told, it is that on the wall.

    Args:
        seconds: The limit; the clock starts now.
        function: What to call. It may be left at any of its steps.

    Returns:
        What the function returns.

    Raises:
        TimeoutError: The time was up before the function returned.

    Example:
        >>> within(1.0, lambda: 6 * 7)
        42
    """
    _watcher.start()
    watch = _Watch(seconds)
    try:
        try:
            _watcher.incoming.put(watch)
            return function()
        finally:
            _finish(watch)
    except DeadlineExceeded:
        raise TimeoutError(f"more than {seconds:g} s") from None


def _finish(watch: _Watch) -> None:
    """End a watch; when this returns, nothing will be raised for it any more."""
    while True:
        try:
            watch.active = False
            while watch.firing:
                time.sleep(0)
            for _ in range(64):  # one that is on its way arrives during these steps
                pass
            return
        except DeadlineExceeded:
            continue
