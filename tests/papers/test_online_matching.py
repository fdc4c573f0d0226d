"""Online matching: short runs of every arm."""

from __future__ import annotations

from pathlib import Path

from guerdon.papers import online_matching


def test_a_short_run_of_every_arm_repeats_itself() -> None:
    shared = {**online_matching.claim().shared, "vertices": 3, "p": 0.5, "offline": 3, "online": 12, "trials": 50}
    for arm in online_matching.claim().arms.values():
        first = online_matching.run_arm(dict(arm), shared, 1, Path())
        assert first == online_matching.run_arm(dict(arm), shared, 1, Path())
        assert 0.0 <= first["worst"] <= 1.3
