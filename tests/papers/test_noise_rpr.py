"""Noisy rewards and reasoning patterns, from scores to advantages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from guerdon import Rollouts
from guerdon.papers import noise_rpr


def rollouts(outcome: list[float], **columns: Any) -> Rollouts:
    rows = len(outcome)
    return Rollouts(
        group=[row // 4 for row in range(rows)],
        mask=torch.ones(rows, 2, dtype=torch.bool),
        outcome=outcome,
        columns=columns,
    )


def test_a_flipped_group_has_the_negated_advantages() -> None:
    given = rollouts([1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0])
    plain = noise_rpr.recipe(p=0.0, critic=False)(given)
    noisy = noise_rpr.recipe(p=1.0, critic=False)(given)
    torch.testing.assert_close(noisy.advantages, -plain.advantages)
    assert noisy.rollouts.column("true_outcome") == tuple(given.outcome.tolist())
    seen = set()
    for seed in range(20):
        mixed = noise_rpr.recipe(p=0.5, critic=False, seed=seed)(given)
        flips = [bool(value) for value in mixed.rollouts.column("flipped")]
        assert flips[:4] in ([True] * 4, [False] * 4)
        seen.add((flips[0], flips[4]))
    assert len(seen) == 4


def test_what_patterns_are_for() -> None:
    given = rollouts([1.0, 0.0, 0.0, 1.0], reasoning_patterns=[0.2, 0.4, None, 0.6], extracted=["1", "2", "", "3"])
    wrong = noise_rpr.recipe(p=0.0, patterns="if_wrong", critic=False)(given)
    assert wrong.rollouts.outcome.tolist() == pytest.approx([1.0, 0.4, 0.0, 1.0])
    only = noise_rpr.recipe(p=0.0, patterns="only", critic=False)(given)
    assert only.rollouts.outcome.tolist() == pytest.approx([0.2, 0.4, 0.0, 0.6])
    warm = noise_rpr.recipe(p=0.0, patterns="only", warm_up=3, critic=False)
    assert warm(given.replace(iteration=2)).rollouts.outcome.tolist() == pytest.approx([0.2, 0.4, 0.0, 0.6])
    assert warm(given.replace(iteration=3)).rollouts.outcome.tolist() == [1.0, 0.0, 0.0, 1.0]
    scores = rollouts([0.1, 0.49, 0.5, 0.3], reasoning_patterns=[0.6, 1.0, 1.0, 0.9], format=[1, 1, 1, 0])
    lifted = noise_rpr.recipe(p=0.0, patterns="calibrate", critic=False)(scores)
    assert lifted.rollouts.outcome.tolist() == pytest.approx([0.16, 0.59, 0.5, 0.0])


def test_defaults() -> None:
    shown = str(noise_rpr.recipe())
    assert "Independent(n=4)" in shown
    assert "GAE(gamma=1.0, lam=1.0" in shown
    assert "clip_low=0.2, clip_high=0.2" in shown
    with pytest.raises(ValueError, match="patterns is 'all'"):
        noise_rpr.recipe(patterns="all")
    with pytest.raises(ValueError, match="expected patterns 'only'"):
        noise_rpr.recipe(warm_up=3)


def test_an_arm_repeats_itself(tmp_path: Path) -> None:
    shared = {**noise_rpr.claim().shared, "steps": 20, "early": 10}
    first = noise_rpr.run_arm({"p": 0.4}, shared, 3, tmp_path)
    assert first == noise_rpr.run_arm({"p": 0.4}, shared, 3, tmp_path)
    assert first != noise_rpr.run_arm({"p": 0.4}, shared, 4, tmp_path)
    assert noise_rpr.run_arm({"p": 0.0}, shared, 3, tmp_path)["accuracy"] > 0.125
