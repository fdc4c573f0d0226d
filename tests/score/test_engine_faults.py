"""Faults of verifiers, rows and workers: each costs the row that it belongs to, and no other."""

from __future__ import annotations

import gc
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from guerdon import Rollouts
from guerdon.score.backends import Processes
from guerdon.score.engine import Engine, Item, Scored, score
from guerdon.score.verdict import Verdict
from guerdon.score.verify.stage import Verify
from tests.score import verifiers_for_tests as verifiers
from tests.score.faulty_verifiers import Unreadable, faulty

BOTH = pytest.mark.parametrize("backend", ["inprocess", "processes"])
ROOT = Path(__file__).parents[2]


def processes(**options: Any) -> Engine:
    """An engine with one worker."""
    return Engine(faulty, backend="processes", workers=1, **options)


def missing(scored: list[Scored]) -> list[int]:
    """The rows without a reward."""
    return [row for row, one in enumerate(scored) if not one.verdict.decided]


def warm(engine: Engine) -> None:
    """Let the engine learn that rows are fast, so that it sends many together."""
    engine.score([Item(f"row {number}", "") for number in range(300)])


def wait_for(happened: Callable[[], bool]) -> None:
    """Wait until something has happened."""
    until = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < until
        time.sleep(0.01)


def runs(process: int) -> bool:
    """Whether a process is there, and no corpse."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def numbers(told: Path) -> list[int]:
    """The process numbers that were written to a file."""
    return [int(line) for line in told.read_text().split()] if told.exists() else []


@BOTH
def test_verdicts_that_are_none(backend: str) -> None:
    kinds = ["unusual", "odd message", "large reward", "infinite", "no number"]
    texts = [text for kind in kinds for text in (kind, f"after {kind}")]
    with Engine(faulty, backend=backend, workers=1) as engine:
        found = dict(zip(texts, engine.score([Item(text, "") for text in texts]), strict=True))
        assert [found[text].verdict.reward for text in texts if text not in kinds] == [1.0] * len(kinds)
        assert found["unusual"].verdict.reason == "Unusual: x"
        assert "its message cannot be read" in found["odd message"].verdict.reason
        assert "float32" in found["large reward"].verdict.reason
        assert "finite number" in found["infinite"].verdict.reason
        assert all(math.isnan(found[kind].verdict.reward) and found[kind].failure == "failed" for kind in kinds)
        assert engine.report.undecided == len(kinds)


def test_a_reward_that_is_too_large_does_not_spoil_its_batch() -> None:
    columns = {"response": ["large reward", "a"], "target": ["", ""]}
    rollouts = Rollouts(group=torch.tensor([0, 0]), mask=torch.ones(2, 1, dtype=torch.bool), columns=columns)
    assert torch.isnan(Verify(faulty)(rollouts).outcome).tolist() == [True, False]


def test_verdicts_come_back_whatever_is_in_them() -> None:
    with processes() as engine:
        found = engine.score([Item("odd text", ""), Item("large answer", ""), Item("x" * 20_000_000, "")])
    assert [one.verdict.extracted for one in found] == ["a", "x" * 5_000_000, "20000000"]


def test_a_failure_among_many_is_that_of_its_row() -> None:
    texts = [f"row {number}" for number in range(100)]
    for row, deed in ((0, "orphan"), (3, "unusual"), (50, "silent"), (51, "silent:2"), (77, "bomb"), (99, "orphan:2")):
        texts[row] = deed
    with processes(memory=1 << 28) as engine:
        warm(engine)
        found = engine.score([Item(text, "") for text in texts])
    assert missing(found) == [0, 3, 50, 51, 77, 99]
    assert [found[row].failure for row in (0, 3, 50, 77)] == ["died", "failed", "died", "memory"]


def test_what_rows_leave_behind_does_not_fill_the_workers() -> None:
    with processes(memory=200 << 20) as engine:
        found = engine.score([Item(f"leak:{number}", "") for number in range(12)])
    assert missing(found) == []
    assert len({one.worker for one in found}) >= 3


def test_rows_that_are_too_large_together_are_not_so_alone() -> None:
    with processes(memory=64 << 20) as engine:
        warm(engine)
        found = engine.score([Item(f"{number}" * 500_000, "") for number in range(100, 150)])
        assert missing(found) == []
        assert missing(engine.score([Item("x" * (100 << 20), ""), Item("x", "")])) == [0]


def test_rows_that_cannot_be_sent() -> None:
    items = [Item("a", "", {"x": lambda: 0}), Item("b", "", {"x": Unreadable()}), Item("c", "", {"x": 0})]
    with processes() as engine:
        warm(engine)
        found = engine.score(items)
    assert missing(found) == [0, 1]
    assert "cannot be sent to a worker" in found[0].verdict.reason
    assert found[1].verdict.reason == "the row cannot be read by a worker (RuntimeError: cannot be read)"
    with Engine(faulty) as engine:
        assert missing(engine.score(items)) == []


def test_children_of_workers_do_not_hold_anybody_up() -> None:
    # No limit: only the end of the worker itself tells.
    with processes() as engine:
        found = engine.score([Item("orphan", ""), Item("a", "")])
    assert found[0].verdict.reason == "the worker ended with exit code 3"
    assert missing(found) == [0]


def test_children_of_workers_do_not_answer() -> None:
    with processes() as engine:
        warm(engine)
        texts = [f"two voices:{number}" for number in range(20)]
        found = engine.score([Item(text, "") for text in texts])
        assert [one.verdict.extracted for one in found] == ["parent"] * 20
        assert missing(engine.score([Item(str(number), "") for number in range(1000, 1050)])) == []


def test_what_a_worker_has_started_ends_with_it(tmp_path: Path) -> None:
    told = tmp_path / "helper"
    with processes(timeout=1.0) as engine:
        assert engine.score([Item("helper", str(told))])[0].failure == "timeout"
    wait_for(lambda: not runs(int(told.read_text())))


def test_limits_are_kept_within_half_a_second() -> None:
    texts = [f"row {number}" for number in range(60)]
    texts[20], texts[40] = "pow", "forever"
    with processes(timeout=0.7) as engine:
        warm(engine)
        found = engine.score([Item(text, "/dev/null") for text in texts])
    assert missing(found) == [20, 40]
    assert all(0.7 <= found[row].seconds <= 1.2 for row in (20, 40))


def test_a_worker_that_is_killed_at_work_is_replaced_once(tmp_path: Path) -> None:
    found: list[Scored] = []
    told = tmp_path / "told"

    def in_background(engine: Engine, deed: str) -> threading.Thread:
        thread = threading.Thread(target=lambda: found.extend(engine.score([Item(deed, str(told)), Item("a", "")])))
        thread.start()
        return thread

    with processes() as engine:
        thread = in_background(engine, "begin")
        wait_for(lambda: len(numbers(told)) == 1)
        os.kill(numbers(told)[0], signal.SIGKILL)
        thread.join()
        assert missing(found) == []
        assert found[0].verdict.extracted == str(numbers(told)[1])
        found.clear()
        told.unlink()
        thread = in_background(engine, "forever")
        for attempt in range(2):
            wait_for(lambda attempt=attempt: len(numbers(told)) == attempt + 1)  # type: ignore[misc]
            os.kill(numbers(told)[attempt], signal.SIGKILL)
        thread.join()
        assert missing(found) == [0]
        assert found[0].verdict.reason == "the worker was ended by signal 9"
        assert (found[0].failure, found[0].worker) == ("died", f"process {numbers(told)[1]}")


def test_a_worker_that_is_stopped_is_over_its_limit() -> None:
    with Engine(verifiers.process_number, backend="processes", workers=1, timeout=1.0) as engine:
        number = int(engine.score([Item("a", "")])[0].verdict.extracted or "")
        os.kill(number, signal.SIGSTOP)
        assert [one.failure for one in engine.score([Item("b", ""), Item("c", "")])] == ["timeout", ""]
        assert not runs(number)


def test_four_threads_at_once_with_faults_of_their_own() -> None:
    found: dict[int, list[int]] = {}
    deeds = ["unusual", "silent", "forever", "orphan"]

    def ask(part: int) -> None:
        texts = [deeds[part] if row == 10 * part + 5 else f"{part} {row}" for row in range(60)]
        found[part] = missing(engine.score([Item(text, "/dev/null") for text in texts]))

    with Engine(faulty, backend="processes", workers=2, timeout=1.0) as engine:
        threads = [threading.Thread(target=ask, args=(part,)) for part in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == {part: [10 * part + 5] for part in range(4)}


def test_an_exception_of_the_caller_does_not_wait_for_rows_without_an_end(tmp_path: Path) -> None:
    told = tmp_path / "told"
    outcome: list[BaseException] = []

    def ask(engine: Engine) -> None:
        try:
            engine.score([Item(f"forever:{number}", str(told)) for number in range(3)])
        except RuntimeError as error:
            outcome.append(error)

    engine = processes().__enter__()
    thread = threading.Thread(target=ask, args=(engine,))
    thread.start()
    wait_for(lambda: len(numbers(told)) == 1)
    engine.__exit__(KeyError, KeyError(), None)
    thread.join(20)
    assert not thread.is_alive()
    assert "the engine was closed" in str(outcome[0])
    wait_for(lambda: not runs(numbers(told)[0]))


def test_engines_that_are_forgotten_leave_nothing_behind() -> None:
    before = set(threading.enumerate())
    engine = Engine(verifiers.process_number, backend="processes", workers=2)
    worker = int(engine.score([Item("a", "")])[0].verdict.extracted or "")
    assert runs(worker)
    del engine
    gc.collect()
    wait_for(lambda: not runs(worker))
    wait_for(lambda: not [one for one in set(threading.enumerate()) - before if "guerdon" in one.name])


def test_an_interrupt_in_this_process_is_for_the_caller() -> None:
    with Engine(verifiers.hostile) as engine, pytest.raises(KeyboardInterrupt):
        engine.score([Item("interrupt", "")])


def test_failures_may_have_a_reward_in_the_open_and_keep_their_reason() -> None:
    columns = {"response": ["forever", "silent", "a"], "target": ["/dev/null"] * 3}
    rollouts = Rollouts(group=[0, 0, 0], mask=[[1]] * 3, columns=columns)  # type: ignore[arg-type]
    found = score(rollouts, faulty, backend="processes", workers=1, timeout=0.5, on_timeout=0.0, on_error=-1.0)
    assert found.outcome.tolist() == [0.0, -1.0, 1.0]
    assert [bool(reason) for reason in found.columns["score_error"]] == [True, True, False]
    with pytest.raises(ValueError, match="on_error is inf: expected a finite number"):
        Engine(faulty, on_error=math.inf)


def test_arrays_in_columns_are_told_apart() -> None:
    def total(response: str, target: str, row: Any) -> Verdict:
        return Verdict(float(row["a"].sum()))

    plain, changed = np.zeros(5000), np.zeros(5000)
    changed[2500] = 7
    with Engine(total) as engine:
        found = engine.score([Item("x", "y", {"a": array}) for array in (plain, changed, plain.copy())])
    assert [one.verdict.reward for one in found] == [0.0, 7.0, 0.0]
    assert [one.cached for one in found] == [False, False, True]


def test_columns_that_cannot_be_read_are_not_shared(tmp_path: Path) -> None:
    items = [Item("x", "y", {"limit": 1.0, "a": (lambda: 0)}) for _ in range(2)]
    with Engine(verifiers.brittle) as engine:
        assert [one.cached for one in engine.score(items)] == [False, False]
    with Engine(verifiers.Reading(("limit", "a")), cache=tmp_path / "verdicts.sqlite") as engine:
        assert [one.cached for one in engine.score(items) + engine.score(items)] == [False] * 4


def test_verifiers_of_a_command_are_refused_and_those_of_a_module_that_runs_are_not(tmp_path: Path) -> None:
    code = (
        "from guerdon.score.engine import Engine, Item\n"
        "from guerdon.score.verdict import Verdict\n"
        "def same(response, target, row):\n"
        "    return Verdict(float(response == target))\n"
        "if __name__ == '__main__':\n"
        "    with Engine(same, backend='processes', workers=1) as engine:\n"
        "        print(engine.score([Item('a', 'a')])[0].verdict.reward)\n"
    )
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("")
    (tmp_path / "package" / "other.py").write_text("x = 1\n")
    (tmp_path / "package" / "script.py").write_text(f"from . import other\n{code}")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)

    done = run("-m", "package.script")
    assert done.stdout == "1.0\n", done.stderr
    assert "put it into a module" in run("-c", code).stderr


def test_workers_that_cannot_start_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with processes() as engine, pytest.raises(RuntimeError, match=r"a worker could not start \(.*exit code 1\)"):
        engine.score([Item("a", "")])


def test_backends_may_be_shared_by_hand() -> None:
    backend = Processes(faulty, workers=1)
    with Engine(faulty, backend=backend) as engine:
        assert missing(engine.score([Item("a", "")])) == []
    with pytest.raises(RuntimeError, match="the engine was closed"):
        backend.submit([("a", "", {})], None)


@pytest.mark.slow
def test_memory_stays_what_it_is_over_a_million_rows() -> None:
    code = (
        "from guerdon.score.engine import Engine, Item\n"
        "from tests.score.verifiers_for_tests import brittle\n"
        "def held():\n"
        "    return int(open('/proc/self/statm').read().split()[1]) * 4096\n"
        "rows = (Item(f'response {number}' * 10, '') for number in range(1_000_000))\n"
        "with Engine(brittle) as engine:\n"
        "    for given, _ in enumerate(engine.stream(rows)):\n"
        "        if given == 200_000:\n"
        "            early = held()\n"
        "    print(held() - early)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert int(done.stdout) < 20 << 20
