"""OC-GFN: the rewards of the claim, and short runs of its arms."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from guerdon.papers import oc_gfn


def test_the_rewards_are_what_they_are_called() -> None:
    corners, ring, spiky = (reward.exp().reshape(8, 8) for reward in oc_gfn.rewards(8, 0))
    assert sorted(set(corners.flatten().tolist())) == pytest.approx([0.02, 2.02])
    assert int((corners > 1).sum()) == 16
    assert float(ring[3, 3]) < 0.02 < float(ring[3, 0])
    assert float(spiky.max() / spiky.min()) > 50
    assert torch.equal(oc_gfn.rewards(8, 0)[2], oc_gfn.rewards(8, 0)[2])


def test_a_short_run_of_every_arm_repeats_itself() -> None:
    shared = {"size": 3, "steps": 20, "adapt": 10, "batch": 4, "rate": 0.01}
    for arm in oc_gfn.claim().arms.values():
        first = oc_gfn.run_arm(dict(arm), shared, 1, Path())
        assert first == oc_gfn.run_arm(dict(arm), shared, 1, Path())
        assert 0.0 <= first["sum"] <= 2.0
