"""The engine on a local Ray of two cores: the same verdicts as elsewhere, whoever is killed."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ray = pytest.importorskip("ray", reason="ray is not installed (extra ray)")

from guerdon.score.engine import Engine, Item, Scored  # noqa: E402
from guerdon.score.ray_backend import RayActors, _RemoteSite  # noqa: E402
from guerdon.score.verdict import Verdict  # noqa: E402
from guerdon.score.work import Outcome  # noqa: E402
from tests.score import verifiers_for_tests as verifiers  # noqa: E402
from tests.score.faulty_verifiers import Unreadable, faulty  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """Two cores."""
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def missing(scored: list[Scored]) -> list[int]:
    """The rows without a reward."""
    return [row for row, one in enumerate(scored) if not one.verdict.decided]


def wait_for(happened: Callable[[], bool]) -> None:
    """Wait until something has happened."""
    until = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < until
        time.sleep(0.02)


def parent_of(process: int) -> int:
    """The process that started another: the actor of a worker."""
    return int(Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[1])


def test_every_fault_costs_its_row_alone() -> None:
    texts = [f"row {number}" for number in range(120)]
    faults = {4: "unusual", 30: "silent", 31: "orphan", 60: "forever", 61: "pow", 80: "bomb", 119: "silent:2"}
    for row, deed in faults.items():
        texts[row] = deed
    items: list[Any] = [Item(text, "/dev/null") for text in texts]
    items[90] = Item("a", "", {"x": Unreadable()})
    with Engine(faulty, backend="ray", workers=2, timeout=1.0, memory=1 << 28) as engine:
        engine.score([Item(f"first {number}", "") for number in range(300)])
        found = engine.score(items)
        assert engine.report.timeouts == 2
    assert missing(found) == sorted([*faults, 90])
    assert [found[row].failure for row in (4, 30, 31, 60, 61, 80)] == [
        "failed", "died", "died", "timeout", "timeout", "memory",
    ]  # fmt: skip
    assert all(1.0 <= found[row].seconds <= 1.5 for row in (60, 61))
    assert found[0].worker.endswith(f"process {found[0].worker.split()[-1]}")
    assert len({one.worker for one in found}) > 2


def test_a_worker_and_an_actor_that_are_killed_at_work_are_replaced(tmp_path: Path) -> None:
    for victim in ("worker", "actor"):
        told = tmp_path / victim
        found: list[Scored] = []
        with Engine(faulty, backend="ray", workers=2) as engine:
            items = [Item("begin", str(told)), *(Item(f"{number}", "") for number in range(20))]
            thread = threading.Thread(target=lambda: found.extend(engine.score(items)))  # noqa: B023
            thread.start()
            wait_for(lambda: told.exists() and told.read_text().endswith("\n"))  # noqa: B023
            worker = int(told.read_text().split()[0])
            os.kill(worker if victim == "worker" else parent_of(worker), signal.SIGKILL)
            thread.join()
        assert missing(found) == []
        assert len(told.read_text().split()) == 2
        assert found[0].verdict.extracted == told.read_text().split()[1]
        wait_for(lambda: not Path(f"/proc/{worker}").exists())  # noqa: B023


def test_rows_that_lose_every_actor_are_undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[int] = []

    def lose(rows: Any, limit: Any) -> Any:
        tries.append(len(rows))
        if len(rows) > 1 or rows == [b"bad"]:
            return "the actor was lost (test)"
        return [Outcome(Verdict(1.0), 0.0, "test")]

    site = _RemoteSite(None, ())
    monkeypatch.setattr(site, "_try", lose)
    done = site.work([b"a", b"bad", b"c"], None)
    assert tries == [3, 3, 1, 1, 1, 1]
    assert [one.failure for one in done] == ["", "died", ""]
    assert done[1].verdict.reason == "the actor was lost (test)"


def test_verifiers_of_a_script_will_do_and_order_is_kept() -> None:
    def local(response: str, target: str, row: Any) -> Verdict:
        return Verdict(float(response == target), response)

    items = [Item(str(number % 50), "7") for number in range(500)]
    with Engine(local, backend="ray", workers=2) as engine:
        found = engine.score(items)
        assert engine.report.worked == 50
    assert [one.verdict.extracted for one in found] == [item.response for item in items]
    assert sum(one.verdict.reward for one in found) == 10


def test_a_verifier_that_cannot_be_loaded_is_an_error() -> None:
    with (
        Engine(verifiers.Unloadable(), backend="ray", workers=1) as engine,
        pytest.raises(RuntimeError, match=r"could not load the verifier \(RuntimeError: not here\)"),
    ):
        engine.score([Item("a", "")])


def test_more_actors_than_cores_hold_nobody_up() -> None:
    with Engine(verifiers.brittle, backend="ray", workers=4) as engine:
        assert missing(engine.score([Item(f"{number}", "") for number in range(50)])) == []
    with Engine(verifiers.brittle, backend=RayActors(verifiers.brittle, workers=4, cores=0)) as engine:
        assert missing(engine.score([Item(f"{number}", "") for number in range(50)])) == []


def test_a_full_cluster_is_an_error_that_says_what_to_do() -> None:
    from guerdon.score.feeders import Feeders
    from guerdon.score.ray_backend import Actor

    make = ray.remote(num_cpus=64)(Actor)
    feeders = Feeders([_RemoteSite(make, (b"", None), patience=1.0)], "test")
    waiting = feeders.put([("a", "", {})], None)
    with pytest.raises(RuntimeError, match=r"started no actor in 1 s; .* cores=0"):
        waiting.result(60)
    with pytest.raises(RuntimeError, match="started no actor"):
        feeders.put([("a", "", {})], None)
    feeders.close(now=False)


def test_it_works_inside_of_an_actor() -> None:
    class Trainer:
        def score(self, backend: str) -> list[float]:
            given = RayActors(verifiers.brittle, workers=1, cores=0) if backend == "ray" else backend
            with Engine(verifiers.brittle, backend=given, workers=1) as engine:
                return [one.verdict.reward for one in engine.score([Item("a", "a"), Item("b", "a")])]

        async def ascore(self) -> list[float]:
            with Engine(verifiers.brittle, backend="processes", workers=1) as engine:
                return [one.verdict.reward for one in await engine.ascore([Item("a", "a"), Item("b", "a")])]

    for cores in (1, 2):
        trainer = ray.remote(num_cpus=cores)(Trainer).remote()
        found = [ray.get(trainer.score.remote(backend)) for backend in ("inprocess", "processes", "ray")]
        assert found == [[1.0, 0.0]] * 3
        assert ray.get(trainer.ascore.remote()) == [1.0, 0.0]
        ray.kill(trainer)
