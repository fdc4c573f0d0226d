"""Expressivity: the best Markov reward, what is learnt from it, and the claim on few learners."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from guerdon.control.formalisms import MarkovReward
from guerdon.control.worlds.xor_chain import xor_chain, xor_machine, xor_policy
from guerdon.papers import expressivity

SMALL = {"learners": 60, "episodes": 300, "environments": 1, "policies": 5}


@pytest.mark.parametrize("gamma", [0.5, 0.9])
def test_no_markov_reward_is_nearer_than_a_constant(gamma: float) -> None:
    """The mean of the task over all policies is all that is left of it."""
    env, machine = xor_chain(gamma), xor_machine(gamma)
    best = MarkovReward(expressivity.best_markov_reward(gamma), gamma)
    grid = [xor_policy(first, second) for first in np.linspace(0, 1, 11) for second in np.linspace(0, 1, 11)]
    target = np.array([machine.value(env, pi) for pi in grid])
    values = np.array([best.value(env, pi) for pi in grid])
    np.testing.assert_allclose(values, gamma / 2, atol=1e-9)
    generator = np.random.default_rng(0)
    for _ in range(50):
        reward = best.reward + 0.1 * generator.standard_normal((3, 2)) * [[1], [1], [0]]
        other = np.array([MarkovReward(reward, gamma).value(env, pi) for pi in grid])
        assert ((other - target) ** 2).sum() >= ((values - target) ** 2).sum()


def test_what_is_learnt_from_each_reward() -> None:
    shared = {**expressivity.claim().shared, "learners": 400}
    found = {kind: expressivity.learn(kind, shared, 77) for kind in ("least squares", "machine", "machine, unseen")}
    assert found["machine"] == 1.0
    assert found["least squares"] == pytest.approx(0.5, abs=0.12)
    # Without the machine's state the second choice can follow only what the first has settled on.
    assert found["least squares"] < found["machine, unseen"] < 1.0
    with pytest.raises(ValueError, match="reward is 'best'"):
        expressivity.learn("best", dict(shared), 0)


def test_an_arm_repeats_itself(tmp_path: Path) -> None:
    claim = expressivity.claim()
    shared = {**claim.shared, **SMALL}
    for arm in claim.arms.values():
        first = expressivity.run_arm(dict(arm), shared, 0, tmp_path)
        assert first == expressivity.run_arm(dict(arm), shared, 0, tmp_path)
        assert set(first) == set(claim.metrics)
        assert first["cells"] == 121
        assert 0 <= first["success"] <= 1
