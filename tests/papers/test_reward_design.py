"""Reward design: its claim on a short training, and that its arms differ in what they say they do."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from guerdon.papers import reward_design

STORED = Path(__file__).parents[2] / "docs" / "claims" / "55-reward-design.json"
SMALL = {"size": 5, "rooms_episodes": 100, "right": 4, "left": 8, "horizon": 10, "chain_episodes": 400}


def test_figures_of_a_curve() -> None:
    curve = np.concatenate([np.zeros(50), np.ones(150)])
    found = reward_design.figures(curve, 0.73)
    assert found == {"area": 0.75, "time": 0.25, "solved": 1.0}
    assert reward_design.figures(0.7 * curve, 0.73) == {"area": pytest.approx(0.525), "time": 1.0, "solved": 0.0}


def test_every_arm_runs_and_again_the_same(tmp_path: Path) -> None:
    claim = reward_design.claim()
    shared = {**claim.shared, **SMALL}
    found = {name: reward_design.run_arm(dict(arm), shared, 0, tmp_path) for name, arm in claim.arms.items()}
    for figures in found.values():
        assert set(figures) == set(claim.metrics)
        assert 0 <= figures["area"] <= 1.5
        assert 0 <= figures["time"] <= 1
    assert len({figures["area"] for figures in found.values()}) == len(found)
    first = "chain, ExploRS"
    assert found[first] == reward_design.run_arm(dict(claim.arms[first]), shared, 0, tmp_path)
    assert found["rooms, PBRS"]["time"] <= found["rooms, original"]["time"]


def test_the_settings_are_the_papers() -> None:
    claim = reward_design.claim()
    assert claim.seeds >= 10
    assert (claim.shared["rmax"], claim.shared["budget"], claim.shared["horizons"]) == (10.0, 5, [1, 4, 8, 16, 32])
    chains = [arm for arm in claim.arms.values() if arm["world"] == "chain"]
    assert {(arm["scale"], arm["eta_phi"]) for arm in chains} == {(0.0, 0.0), (1.0, 0.0), (0.0, 0.01), (1.0, 0.01)}
    assert all(set(arm) == {"world", "scale", "eta_phi"} for arm in chains)


def test_the_stored_claim_is_this_one() -> None:
    stored = json.loads(STORED.read_text())
    claim = reward_design.claim()
    assert stored["statement"] == claim.statement
    assert set(stored["metrics"]) == set(claim.metrics)
