"""Quality-diversity for sparse rewards: every arm of the claim on a small budget."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from guerdon.control.search_methods import Settings
from guerdon.papers import qd_sparse


def test_defaults_are_the_papers() -> None:
    rule = Settings()
    assert (rule.population, rule.children, rule.k, rule.archived, rule.archive_choice) == (100, 2, 15, 5, "random")
    assert (rule.sigma, rule.bounds, rule.chunk, rule.emitter_size, rule.bootstrap) == (0.05, (-5.0, 5.0), 1000, 6, 5)


@pytest.mark.parametrize("name", list(qd_sparse.claim().arms))
def test_every_arm_runs(name: str, tmp_path: Path) -> None:
    claim = qd_sparse.claim()
    arm = {**claim.arms[name], "evaluations": 1_300}
    shared = {**claim.shared, "epochs": 1}
    found = qd_sparse.run_arm(arm, shared, 0, tmp_path)
    assert set(found) == set(claim.metrics)
    assert 0 < found["coverage"] < 1
    assert found["log_best"] == pytest.approx(math.log(max(found["best_reward"], 1e-3)))
    assert found == qd_sparse.run_arm(arm, shared, 0, tmp_path)


def test_arms_of_a_world_differ_in_the_method_only() -> None:
    arms = qd_sparse.claim().arms
    rooms = [{key: value for key, value in arm.items() if key != "method"} for arm in arms.values() if "world" in arm]
    assert len(rooms) == 6
    assert all(room == rooms[0] for room in rooms)
    assert len({(arm.get("world"), arm["method"], arm.get("sigma")) for arm in arms.values()}) == len(arms)


def test_serene_exploits_what_novelty_search_only_finds(tmp_path: Path) -> None:
    claim = qd_sparse.claim()
    shared = {**claim.shared, "evaluations": 12_000}
    found = [qd_sparse.run_arm({"method": method}, shared, 1, tmp_path) for method in ("serene", "ns")]
    assert found[0]["best_reward"] > found[1]["best_reward"]
