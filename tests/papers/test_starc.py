"""STARC: its claim on a few MDPs, and that the claim would fail where it should."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from guerdon.control.mdp import optimal, policy_return
from guerdon.control.random_mdps import random_reward, random_transitions
from guerdon.control.regret import optimal_regrets
from guerdon.papers import starc

SMALL = {"mdps": 6, "pairs": 3, "steps": 5}


def test_regrets_of_all_pairs_one_by_one() -> None:
    generator = np.random.default_rng(0)
    tau = random_transitions(6, 3, generator)
    rewards = [random_reward(6, 3, 0.9, generator, sparse_share=0.0) for _ in range(3)]
    start = np.full(6, 1 / 6)
    found = optimal_regrets(rewards, tau, 0.9, start)
    for row, true in enumerate(rewards):
        best, worst = (policy_return(true, tau, 0.9, optimal(sign * true, tau, 0.9).policy, start) for sign in (1, -1))
        for column, proxy in enumerate(rewards):
            reached = policy_return(true, tau, 0.9, optimal(proxy, tau, 0.9).policy, start)
            assert found[row, column] == pytest.approx((best - reached) / (best - worst), abs=1e-9)
    assert np.diag(found) == pytest.approx(0)


def test_arms_rank_as_they_should_on_a_few_mdps(tmp_path: Path) -> None:
    claim = starc.claim()
    shared = {**claim.shared, **SMALL}
    found = {name: starc.run_arm(dict(arm), shared, 0, tmp_path) for name, arm in claim.arms.items()}
    assert found["VAL"] == starc.run_arm(dict(claim.arms["VAL"]), shared, 0, tmp_path)
    for figures in found.values():
        assert set(figures) == set(claim.metrics)
        assert -1 <= figures["moved"] <= figures["correlation"] + 0.1 <= 1.1
    # Redistribution changes nothing for a STARC metric, and much for one that takes out shaping only.
    for name in ("VAL", "VAL, norm 1", "VAL, norm inf", "minimal"):
        assert found[name]["moved"] == pytest.approx(found[name]["correlation"], abs=1e-3)
    assert found["VAL potential"]["moved"] < found["VAL potential"]["correlation"]
    assert found["VAL"]["correlation"] > found["none"]["correlation"]


def test_the_arms_differ_in_one_thing_only() -> None:
    arms = starc.claim().arms
    assert {name: arm["norm"] for name, arm in arms.items() if "norm" not in name} == {
        name: "2" for name in arms if "norm" not in name
    }
    assert len({(arm["canon"], arm["norm"]) for arm in arms.values()}) == len(arms)
    shared = starc.claim().shared
    assert (shared["mdps"], shared["states"], shared["actions"], shared["pairs"], shared["steps"]) == (40, 16, 4, 6, 10)
