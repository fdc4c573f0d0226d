"""The arm against joints added one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest

from guerdon.control.worlds.redundant_arm import RedundantArm


def slow_tip(genes: np.ndarray) -> tuple[float, float]:
    angle, x, y = 0.0, 0.0, 0.0
    for gene in genes:
        angle += gene * math.pi / 10
        x += math.cos(angle) / len(genes)
        y += math.sin(angle) / len(genes)
    return x, y


def test_tips_and_rewards_joint_by_joint() -> None:
    arm = RedundantArm()
    genomes = np.random.default_rng(0).uniform(-5, 5, (400, 20)) * np.linspace(0, 1, 400)[:, None]
    found = arm(genomes)
    rewarded = 0
    for genes, reward, tip in zip(genomes, found.reward, found.position, strict=True):
        assert tip == pytest.approx(slow_tip(genes))
        near = min(math.dist(tip, disc) for disc in arm.discs)
        assert reward == pytest.approx(math.exp(-genes.std()) if near <= 0.1 else 0.0)
        rewarded += reward > 0
    assert rewarded > 0
    assert np.linalg.norm(found.position, axis=1).max() <= 1 + 1e-12
    assert found.bd is not None
    assert np.array_equal(found.bd, found.position)


def test_the_reward_does_not_show_in_the_tip() -> None:
    """Two arms that end in the same place, one straighter."""
    arm = RedundantArm(joints=2, discs=((1.0, 0.0),), radius=0.1)
    straight, bent = arm(np.array([[0.0, 0.0]])), arm(np.array([[1.0, -2.0]]))
    assert straight.reward[0] == 1.0
    assert 0 < bent.reward[0] < 0.5
    assert np.abs(straight.position - bent.position).max() < 0.1


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected \(N, 20\)"):
        RedundantArm().tips(np.zeros((3, 5)))
    with pytest.raises(ValueError, match="at least one joint"):
        RedundantArm(joints=0)
