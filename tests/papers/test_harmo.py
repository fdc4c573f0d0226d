"""HARMO: the worked totals through the recipe."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from guerdon import Rollouts
from guerdon.papers import harmo
from guerdon.score.router import Router
from guerdon.score.verdict import Verdict
from guerdon.score.verify.stage import Verify


def test_the_worked_penalty() -> None:
    lengths = [200, 100, 30, 140, 400]
    rollouts = Rollouts(
        group=[0] * 5,
        mask=torch.ones(5, 1, dtype=torch.bool),
        outcome=[1.0, 1.0, 0.0, 0.0, 0.0],
        columns={"length": lengths},
    )
    for side, last in (("short", 0.0), ("both", -1.0)):
        found = harmo.recipe(p_max=1.0, tau=0.25, side=side, format_weight=0.0)(rollouts)
        expected = [1.0, 1.0, -0.733333, 0.0, last]
        assert found.rollouts.outcome.tolist() == pytest.approx(expected, abs=1e-5)
        mean = sum(expected) / 5
        assert found.advantages[:, 0].tolist() == pytest.approx([value - mean for value in expected], abs=1e-5)


def test_the_worked_total() -> None:
    rollouts = Rollouts(
        group=[0] * 4,
        mask=torch.ones(4, 1, dtype=torch.bool),
        outcome=[1.0, 0.0, 0.0, 1.0],
        columns={"length": [10, 0, 10, 10], "format": [1, 1, 0, 1]},
    )
    found = harmo.recipe()(rollouts)
    assert found.rollouts.outcome.tolist() == pytest.approx([1.5, 0.0, 0.0, 1.5])
    assert found.advantages[:, 0].tolist() == pytest.approx([0.75, -0.75, -0.75, 0.75])


def test_the_prompt_decides_who_judges() -> None:
    asked: list[str] = []

    def rule(response: str, target: str, row: Mapping[str, Any]) -> Verdict:
        asked.append("rule")
        return Verdict(float(response == target))

    def model(response: str, target: str, row: Mapping[str, Any]) -> Verdict:
        asked.append("model")
        return Verdict(0.8)

    rollouts = Rollouts(
        group=[0, 0, 1, 1],
        mask=torch.ones(4, 1, dtype=torch.bool),
        columns={
            "response": ["1", "2", "a", "b"],
            "target": ["1", "1", "", ""],
            "kind": ["checkable", "checkable", "open", "open"],
            "length": [5] * 4,
            "format": [1] * 4,
        },
    )
    router = Router({"checkable": Verify(rule), "open": Verify(model)})
    found = harmo.recipe((router,))(rollouts)
    assert found.scored is not None
    assert found.scored.outcome.tolist() == pytest.approx([1.0, 0.0, 0.8, 0.8])
    assert sorted(asked) == ["model"] * 2 + ["rule"] * 2


def test_an_arm_repeats_itself(tmp_path: Path) -> None:
    shared = {**harmo.claim().shared, "steps": 15}
    for arm in harmo.claim().arms.values():
        first = harmo.run_arm(dict(arm), shared, 1, tmp_path)
        assert first == harmo.run_arm(dict(arm), shared, 1, tmp_path)
