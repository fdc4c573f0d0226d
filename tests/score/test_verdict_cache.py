"""Verdicts on disk: found again by what they depend on, by any process, and dispensable."""

from __future__ import annotations

import functools
import math
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from guerdon import Rollouts
from guerdon.score.engine import Engine, Item
from guerdon.score.verdict import Verdict
from guerdon.score.verdict_cache import VerdictCache
from guerdon.score.verify.stage import Verify
from tests.score import verifiers_for_tests as verifiers
from tests.score.faulty_verifiers import faulty

ROOT = Path(__file__).parents[2]
ITEMS = [Item(text, "1", {"limit": 1.0}) for text in "abc"]


def cached(verifier: Any, path: Path, items: list[Item] | None = None, **options: Any) -> list[bool]:
    """Which rows came from the cache."""
    with Engine(verifier, cache=path, **options) as engine:
        return [one.cached for one in engine.score(ITEMS if items is None else items)]


class Plain:
    """A verifier whose `repr` says where it lies."""

    name, version = "plain", "1"

    def __init__(self, weight: float) -> None:
        self.weight = weight

    def __call__(self, response: str, target: str, row: Mapping[str, Any]) -> Verdict:
        """Give the weight."""
        return Verdict(self.weight)


def with_name(response: str, target: str, row: Mapping[str, Any]) -> Verdict:
    """Give 1."""
    return Verdict(1.0)


with_name.name, with_name.version = "with name", "1"  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Unsettled:
    """Has a setting that cannot be read."""

    setting: Any = field(default_factory=lambda: lambda: 0)
    name: ClassVar[str] = "unsettled"
    version: ClassVar[str] = "1"

    def __call__(self, response: str, target: str, row: Mapping[str, Any]) -> Verdict:
        """Give 1."""
        return Verdict(1.0)


def test_verdicts_come_back_as_they_were(tmp_path: Path) -> None:
    kept = {
        b"a": Verdict(0.25, "x\x00y", "because\nof this"),
        b"b": Verdict(math.nan, None, "cannot tell"),
        b"c": Verdict(-1e-30),
    }
    with_half = Verdict(1.0, "\ud800")
    first = VerdictCache(tmp_path / "a" / "b.sqlite")
    first.put({**kept, b"d": with_half})
    first.close()
    cache = VerdictCache(str(tmp_path / "a" / "b.sqlite"))
    found = cache.get([*kept, b"d", b"e"])
    assert found.keys() == kept.keys()
    assert repr(found) == repr({key: kept[key] for key in found})
    assert len(cache) == 3
    cache.put({b"a": Verdict(1.0)})
    assert cache.get([b"a"]) == {b"a": Verdict(1.0)}
    many = {number.to_bytes(4, "big"): Verdict(float(number)) for number in range(2000)}
    cache.put(many)
    assert cache.get(list(many)) == many
    assert cache.get([]) == {}


def test_settings_of_the_verifier_count(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.sqlite"
    for verifier in (Plain(1.0), Plain(0.5), with_name, functools.partial(Plain(2.0))):
        if isinstance(verifier, functools.partial):
            verifier.name, verifier.version = "partial", "1"  # type: ignore[attr-defined]
        assert cached(verifier, path) == [False] * 3
        assert cached(verifier, path) == [True] * 3
    assert cached(Plain(0.5), path) == [True] * 3
    with pytest.raises(ValueError, match="a cache needs a verifier whose settings can be read"):
        Engine(Unsettled(), cache=path)


def test_failures_are_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.sqlite"
    verifier = functools.partial(faulty)
    verifier.name, verifier.version = "faulty", "1"  # type: ignore[attr-defined]
    items = [Item(text, "/dev/null") for text in ("forever", "silent", "unusual", "bomb", "a")]
    for turn in range(2):
        with Engine(verifier, cache=path, backend="processes", workers=1, timeout=0.5, on_error=0.0) as engine:
            found = engine.score(items)
        assert [one.failure for one in found] == ["timeout", "died", "failed", "memory", ""]
        assert [one.cached for one in found] == [False] * 4 + [turn == 1]


def test_the_stage_goes_by_contents_not_by_groups(tmp_path: Path) -> None:
    stage = Verify(verifiers.Reading(("limit",)), cache=str(tmp_path / "verdicts.sqlite"))

    def scored(group: int, limit: float) -> tuple[float, float]:
        columns = {"response": ["a"], "target": ["t"], "limit": [limit]}
        found = stage(Rollouts(group=torch.tensor([group]), mask=torch.ones(1, 1, dtype=torch.bool), columns=columns))
        return float(found.outcome), stage.engine.report.worked

    assert scored(0, 1.0) == (1.0, 1)
    assert scored(0, 2.0) == (2.0, 2)
    assert scored(7, 1.0) == (1.0, 2)
    stage.engine.close()


def test_a_full_disk_costs_no_verdict(tmp_path: Path) -> None:
    with Engine(Plain(1.0), cache=tmp_path / "verdicts.sqlite") as engine:
        assert engine._cache is not None
        engine._cache._opened().execute("PRAGMA max_page_count = 3")
        items = [Item("x" * 5000 + str(number), "") for number in range(200)]
        with pytest.warns(RuntimeWarning, match="goes on without its cache .* full"):
            # Of the reasons of a verdict only `extracted` takes room here.
            engine._keep({bytes([number]): Verdict(1.0, "x" * 5000) for number in range(100)})
        assert [one.verdict.reward for one in engine.score(items)] == [1.0] * 200


def test_a_broken_file_costs_no_verdict(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.sqlite"
    with Engine(Plain(1.0), cache=path) as engine:
        with sqlite3.connect(path) as other:
            other.execute("DROP TABLE verdicts")
        other.close()
        with pytest.warns(RuntimeWarning, match="no such table"):
            assert [one.verdict.reward for one in engine.score(ITEMS)] == [1.0] * 3
    (tmp_path / "folder").mkdir()
    for bad in (tmp_path / "folder", path / "below"):
        with pytest.raises(ValueError, match="is no cache of verdicts"):
            VerdictCache(bad)


def test_many_open_a_new_file_at_once(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from guerdon.score.verdict import Verdict\n"
        "from guerdon.score.verdict_cache import VerdictCache\n"
        "print(flush=True); sys.stdin.readline()\n"
        "for number in range(20):\n"
        "    cache = VerdictCache(f'{sys.argv[1]}/{number}.sqlite')\n"
        "    cache.put({sys.argv[2].encode(): Verdict(1.0)})\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": ROOT}
    running = [subprocess.Popen([*command, str(number)], **pipes) for number in range(4)]
    for process in running:
        assert process.stdout is not None
        process.stdout.readline()
    for process in running:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in running:
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert [len(VerdictCache(tmp_path / f"{number}.sqlite")) for number in range(20)] == [4] * 20


def test_threads_write_at_once(tmp_path: Path) -> None:
    cache = VerdictCache(tmp_path / "verdicts.sqlite")

    def write(part: int) -> None:
        for number in range(50):
            cache.put({bytes([part, number]): Verdict(float(part))})
            assert cache.get([bytes([part, number])])

    threads = [threading.Thread(target=write, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(cache) == 200


def test_it_may_be_used_on_both_sides_of_a_fork(tmp_path: Path) -> None:
    cache = VerdictCache(tmp_path / "verdicts.sqlite")
    cache.put({b"before": Verdict(1.0)})
    child = os.fork()
    if child == 0:
        code = 1
        try:
            cache.put({b"child": Verdict(1.0)})
            cache.close()
            code = 0
        finally:
            os._exit(code)
    cache.put({b"parent": Verdict(1.0)})
    assert os.waitpid(child, 0)[1] == 0
    assert set(cache.get([b"before", b"child", b"parent"])) == {b"before", b"child", b"parent"}
