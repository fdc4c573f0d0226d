"""Time limits that need no signals."""

from __future__ import annotations

import gc
import multiprocessing
import threading
import time

import pytest

from guerdon.score.verify.deadline import within


def swallowing() -> None:
    """Computes for ever, and swallows every exception on the way."""
    while True:
        try:
            sum(range(50))
        except Exception:
            continue


def test_a_result_comes_back_and_so_does_an_exception() -> None:
    assert within(10.0, lambda: 6 * 7) == 42
    with pytest.raises(ZeroDivisionError):
        within(10.0, lambda: 1 / 0)


def test_an_endless_computation_is_stopped() -> None:
    with pytest.raises(TimeoutError, match=r"more than 0\.05 s"):
        within(0.05, swallowing)


def test_nothing_is_raised_after_the_end() -> None:
    def about(seconds: float) -> int:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            pass
        return 1

    finished = late = 0
    for attempt in range(300):
        try:
            finished += within(0.002, lambda attempt=attempt: about(0.0035 * attempt / 300))  # type: ignore[misc]
        except TimeoutError:
            late += 1
        for _ in range(100):  # an exception on its way would arrive here
            pass
    gc.collect()
    assert finished + late == 300
    assert finished > 0
    assert late > 0


def test_threads_are_stopped_one_by_one() -> None:
    found: dict[int, str] = {}

    def work(number: int) -> None:
        try:
            within(0.05, swallowing if number % 2 else lambda: None)
            found[number] = "done"
        except TimeoutError:
            found[number] = "stopped"

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: "stopped" if number % 2 else "done" for number in range(6)}


def test_an_inner_limit_leaves_the_outer_one_in_force() -> None:
    def outer() -> None:
        with pytest.raises(TimeoutError):
            within(0.02, swallowing)
        swallowing()

    with pytest.raises(TimeoutError, match=r"more than 0\.1 s"):
        within(0.1, outer)


def stopped_in_child(queue: multiprocessing.Queue[bool]) -> None:
    try:
        within(0.05, swallowing)
    except TimeoutError:
        queue.put(True)


def test_it_works_in_a_forked_process() -> None:
    within(1.0, lambda: None)  # the watching thread is there already, and is not in the child
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=stopped_in_child, args=(queue,))
    child.start()
    assert queue.get(timeout=30) is True
    child.join(30)
    assert child.exitcode == 0
