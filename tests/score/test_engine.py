"""The scoring engine: right answers in order, whatever the verifiers do to their processes."""

from __future__ import annotations

import asyncio
import copy
import math
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from guerdon import Rollouts
from guerdon.score.engine import Engine, Item, Scored, score
from guerdon.score.verdict import Verdict
from guerdon.score.verify.stage import Verify
from tests.score import verifiers_for_tests as verifiers

BOTH = pytest.mark.parametrize("backend", ["inprocess", "processes"])


def rewards(scored: list[Scored]) -> list[float]:
    return [one.verdict.reward for one in scored]


def same(left: list[float], right: list[float]) -> bool:
    return len(left) == len(right) and all(a == b or (a != a and b != b) for a, b in zip(left, right, strict=True))


@BOTH
def test_order_is_kept_and_equal_rows_are_scored_once(backend: str) -> None:
    texts = [str(number % 7) for number in range(500)]
    with Engine(verifiers.brittle, backend=backend, workers=2) as engine:
        found = engine.score([Item(text, "3") for text in texts])
        assert rewards(found) == [float(text == "3") for text in texts]
        assert [one.verdict.extracted for one in found] == texts
        assert sum(not one.cached for one in found) == 7
        assert engine.report.rows == 500
        assert engine.report.worked == 7
        assert engine.report.undecided == 0
        assert all(one.seconds == 0.0 for one in found if one.cached)


@BOTH
def test_a_failing_row_is_undecided_and_touches_no_other(backend: str) -> None:
    items = [Item("fail" if number == 5 else f"{number}", "3") for number in range(12)]
    with Engine(verifiers.brittle, backend=backend, workers=2) as engine:
        found = engine.score(items)
        assert math.isnan(found[5].verdict.reward)
        assert found[5].verdict.reason == "ValueError: cannot read this"
        assert sum(rewards([*found[:5], *found[6:]])) == 1.0
        assert engine.report.reasons == {"ValueError: cannot read this": 1}
    with Engine(verifiers.brittle, backend=backend, workers=1, on_error=-1.0, on_timeout=-2.0) as engine:
        assert rewards(engine.score([items[5]])) == [-1.0]
        assert engine.score([items[5]])[0].verdict.reason == "ValueError: cannot read this"


def test_hostile_rows_cost_nothing_but_themselves() -> None:
    kinds = ["hang", "hang in C", "exit", "kill", "leave", "interrupt", "memory", "no verdict", "huge message", "loud"]
    texts = [text for kind in kinds for text in (kind, f"fine after {kind}")]
    with Engine(verifiers.hostile, backend="processes", workers=2, timeout=1.0, memory=1 << 28) as engine:
        found = dict(zip(texts, engine.score([Item(text, "") for text in texts]), strict=True))
    for kind in kinds:
        assert found[f"fine after {kind}"].verdict == Verdict(1.0, "fine"), kind
    assert found["loud"].verdict == Verdict(1.0, "loud")
    reasons = {kind: found[kind].verdict.reason for kind in kinds[:-1]}
    assert all(math.isnan(found[kind].verdict.reward) for kind in kinds[:-1])
    assert reasons["hang"] == reasons["hang in C"] == "took longer than 1 s"
    assert reasons["exit"] == "the worker ended with exit code 7"
    assert reasons["kill"] == "the worker was ended by signal 9"
    assert "SystemExit" in reasons["leave"]
    assert reasons["interrupt"] == "the worker was ended by signal 2"
    assert "MemoryError" in reasons["memory"]
    assert "gave NoneType: expected a Verdict" in reasons["no verdict"]
    assert len(reasons["huge message"]) <= 500
    assert engine.report.timeouts == 2
    assert engine.report.died == 3
    assert engine.report.slowest[0][1] in ("hang", "hang in C")


def test_the_clock_starts_with_the_work() -> None:
    # Thirty rows of 0.2 s wait for one worker much longer than the limit.
    with Engine(verifiers.slowly, backend="processes", workers=1, timeout=2.0) as engine:
        found = engine.score([Item(f"0.{20 + number}", "") for number in range(12)])
        assert rewards(found) == [1.0] * 12
        assert all(one.seconds >= 0.2 for one in found)


def test_a_slow_row_in_a_chunk_of_fast_ones_is_the_only_one_lost() -> None:
    with Engine(verifiers.slowly, backend="processes", workers=1, timeout=0.5) as engine:
        engine.score([Item(f"0.0000{number}", "") for number in range(200)])
        texts = [f"0.000{number}" for number in range(50)]
        texts[25] = "60"
        found = engine.score([Item(text, "") for text in texts])
        assert [number for number, one in enumerate(found) if math.isnan(one.verdict.reward)] == [25]
        assert found[25].seconds >= 0.5


def test_a_worker_killed_from_outside_costs_no_row() -> None:
    with Engine(verifiers.process_number, backend="processes", workers=1) as engine:
        first = engine.score([Item("a", "")])[0]
        os.kill(int(first.verdict.extracted or ""), signal.SIGKILL)
        second = engine.score([Item("b", "")])[0]
        assert second.verdict.reward == 1.0
        assert second.verdict.extracted != first.verdict.extracted


def test_rows_that_differ_in_what_is_read_are_not_the_same() -> None:
    items = [Item("x", "y", {"limit": 1, "id": 1}), Item("x", "y", {"limit": 2, "id": 2})]
    with Engine(verifiers.Reading(("limit",))) as engine:
        assert rewards(engine.score(items)) == [1.0, 2.0]
        assert rewards(engine.score([items[0], Item("x", "y", {"limit": 1, "id": 3})])) == [1.0, 1.0]
        assert engine.report.worked == 3
    with Engine(verifiers.Reading(())) as engine:
        # A verifier is given what it declares: a wrong declaration cannot end in a wrong reward.
        found = engine.score(items)
        assert [one.verdict.reason for one in found] == ["KeyError: 'limit'"] * 2
        assert [one.cached for one in found] == [False, True]
    with Engine(verifiers.brittle) as engine:
        found = engine.score([Item("x", "y", {"id": 1}), Item("x", "y", {"id": 1}), Item("x", "y", {"id": [2]})])
        assert [one.cached for one in found] == [False, True, False]
        # 4 and "4" are different reference answers.
        assert rewards(engine.score([Item("4", "4"), Item("4", 4)])) == [1.0, 0.0]  # type: ignore[arg-type]


def test_verdicts_are_kept_on_disk(tmp_path: Path) -> None:
    cache = tmp_path / "deep" / "verdicts.sqlite"
    items = [Item(text, "1", {"limit": 1.0}) for text in ("1", "2", "fail", "\ud800")]
    for turn in range(2):
        with Engine(verifiers.Reading(("limit",)), cache=cache) as engine:
            found = engine.score(items)
            assert same(rewards(found), [1.0, 1.0, math.nan, 1.0])
            # What failed, and what cannot be stored, is worked on again.
            assert [one.cached for one in found] == ([False] * 4 if turn == 0 else [True, True, False, False])
    other = verifiers.Reading(("limit",), version="2")
    with Engine(other, cache=cache) as engine:
        assert not any(one.cached for one in engine.score(items))
    with pytest.raises(ValueError, match="a cache needs a verifier with `name` and `version`"):
        Engine(verifiers.brittle, cache=cache)
    (tmp_path / "text").write_text("no database, but longer than a header is" * 10)
    with pytest.raises(ValueError, match="is no cache of verdicts"):
        Engine(other, cache=tmp_path / "text")


def test_several_threads_and_processes_share_a_cache(tmp_path: Path) -> None:
    cache = tmp_path / "verdicts.sqlite"
    code = (
        "import sys; from guerdon.score.engine import Engine, Item\n"
        "from tests.score.verifiers_for_tests import Reading\n"
        "with Engine(Reading(('limit',)), cache=sys.argv[1]) as engine:\n"
        "    engine.score([Item(str(number), '', {'limit': 1}) for number in range(300)])"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(cache)], cwd=Path(__file__).parents[2]) for _ in "ab"]
    assert [process.wait(60) for process in running] == [0, 0]
    with Engine(verifiers.Reading(("limit",)), cache=cache) as engine:
        found: list[list[Scored]] = []
        items = [Item(str(number), "", {"limit": 1}) for number in range(300)]
        threads = [threading.Thread(target=lambda: found.append(engine.score(items))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(found) == 4
    assert all(one.cached for part in found for one in part)


@BOTH
def test_memory_is_bounded_for_a_long_stream(backend: str) -> None:
    read = 0

    def rows() -> Iterator[Item]:
        nonlocal read
        for number in range(3000):
            read += 1
            yield Item(str(number), "")

    ahead = 0
    with Engine(verifiers.brittle, backend=backend, workers=2, window=64) as engine:
        for given, one in enumerate(engine.stream(rows())):
            assert one.verdict.extracted == str(given)
            ahead = max(ahead, read - given)
    assert read == 3000
    assert ahead <= 66
    with Engine(verifiers.brittle, backend=backend, workers=1, window_bytes=1000) as engine:
        read = ahead = 0
        for given, _ in enumerate(engine.stream(Item("x" * 400 + str(number), "") for number in range(20))):
            assert given < 20


def test_a_row_that_cannot_be_read_loses_none_before_it() -> None:
    def rows() -> Iterator[Item]:
        yield from (Item(str(number), "") for number in range(5))
        raise ValueError("line 5 is broken")

    with Engine(verifiers.brittle) as engine:
        stream = engine.stream(rows())
        assert [next(stream).verdict.extracted for _ in range(5)] == ["0", "1", "2", "3", "4"]
        with pytest.raises(ValueError, match="line 5 is broken"):
            next(stream)


def test_it_works_from_threads_and_from_an_event_loop() -> None:
    with Engine(verifiers.brittle, backend="processes", workers=2) as engine:

        async def ask() -> list[list[Scored]]:
            parts = [[Item(f"{part}-{row}", f"{part}-1") for row in range(30)] for part in range(8)]
            return list(await asyncio.gather(*(engine.ascore(part) for part in parts)))

        for found in asyncio.run(ask()):
            assert rewards(found) == [0.0, 1.0] + [0.0] * 28
    with pytest.raises(RuntimeError, match="was closed"):
        engine.score([Item("new", "")])


def scored_elsewhere(backend: str) -> list[float]:
    with Engine(verifiers.brittle, backend=backend, workers=1) as engine:
        return rewards(engine.score([Item("a", "a"), Item("b", "a")]))


def answer(pipe: Any) -> None:
    pipe.send(scored_elsewhere("processes"))


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_it_works_in_processes_of_every_kind(method: str) -> None:
    context: Any = multiprocessing.get_context(method)
    ours, theirs = context.Pipe()
    process = context.Process(target=answer, args=(theirs,))
    process.start()
    assert ours.poll(60)
    assert ours.recv() == [1.0, 0.0]
    process.join(30)
    assert process.exitcode == 0


def test_an_engine_that_was_forked_gets_workers_of_its_own() -> None:
    with Engine(verifiers.process_number, backend="processes", workers=1) as engine:
        ours = engine.score([Item("a", "")])[0].verdict.extracted
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.write(writing, (engine.score([Item("b", "")])[0].verdict.extracted or "").encode())
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        theirs = os.read(reading, 100).decode()
        assert theirs
        assert theirs != ours
        assert engine.score([Item("c", "")])[0].verdict.extracted == ours


def test_scripts_may_define_the_verifier_themselves(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from guerdon.score.engine import Engine, Item\n"
        "from guerdon.score.verdict import Verdict\n"
        "def same(response, target, row):\n"
        "    return Verdict(float(response == target))\n"
        "if __name__ == '__main__':\n"
        "    with Engine(same, backend='processes', workers=1) as engine:\n"
        "        print([one.verdict.reward for one in engine.score([Item('a', 'a'), Item('b', 'a')])])\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "[1.0, 0.0]\n", done.stderr


def test_workers_end_with_a_parent_that_is_killed() -> None:
    code = (
        "import time; from guerdon.score.engine import Engine, Item; from tests.score.verifiers_for_tests import *\n"
        "engine = Engine(process_number, backend='processes', workers=1)\n"
        "print(engine.score([Item('a', '')])[0].verdict.extracted, flush=True)\n"
        "time.sleep(60)"
    )
    root = Path(__file__).parents[2]
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=root)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    until = time.monotonic() + 20
    while Path(f"/proc/{worker}/cmdline").exists() and Path(f"/proc/{worker}/cmdline").read_bytes():
        assert time.monotonic() < until, "the worker goes on"
        time.sleep(0.05)


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="backend is 'threads': expected one of"):
        Engine(verifiers.brittle, backend="threads")
    with pytest.raises(ValueError, match="timeout is 0: expected a positive number"):
        Engine(verifiers.brittle, timeout=0)
    with pytest.raises(ValueError, match="cannot be sent to another process"):
        Engine(lambda response, target, row: Verdict(1.0), backend="processes")
    with Engine(verifiers.Unloadable(), backend="processes", workers=1) as engine, pytest.raises(RuntimeError) as error:
        engine.score([Item("a", "")])
    assert "could not load the verifier (RuntimeError: not here)" in str(error.value)


def test_rollouts_are_filled() -> None:
    rollouts = Rollouts(
        group=torch.tensor([0, 0, 1]),
        mask=torch.ones(3, 1, dtype=torch.bool),
        columns={"response": ["a", "fail", "b"], "target": ["a", "a", "a"]},
    )
    found = score(rollouts, verifiers.brittle)
    assert same(found.outcome.tolist(), [1.0, math.nan, 0.0])
    assert found.columns["score_error"] == ("", "ValueError: cannot read this", "")
    assert found.columns["extracted"] == ("a", None, "b")
    assert set(found.columns) >= {"score_seconds", "score_worker", "score_cached"}
    with pytest.raises(ValueError, match="columns has no 'target'"):
        score(rollouts.replace(columns={"response": ["a"] * 3}), verifiers.brittle)


@BOTH
def test_the_stage_keeps_its_workers(backend: str) -> None:
    stage = Verify(verifiers.process_number, backend=backend, workers=1)
    rollouts = Rollouts(
        group=torch.tensor([0, 0, 1]),
        mask=torch.ones(3, 1, dtype=torch.bool),
        columns={"response": ["a", "a", "a"], "target": ["a"] * 3},
    )
    first, second = stage(rollouts), stage(rollouts)
    assert first.outcome.tolist() == [1.0] * 3
    assert first.columns["extracted"] == second.columns["extracted"]
    assert (first.columns["extracted"][0] == str(os.getpid())) == (backend == "inprocess")
    again = pickle.loads(pickle.dumps(stage))
    assert repr(again) == repr(stage) == repr(copy.deepcopy(stage))
    assert "engine" not in vars(again)
    stage.engine.close()
