"""LSC: the worked responses through the recipe, and what the sum of two properties prefers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from guerdon import Rollouts
from guerdon.papers import lsc


def test_the_worked_responses() -> None:
    rollouts = Rollouts(
        group=[0, 0, 0, 0],
        mask=torch.ones(4, 1, dtype=torch.bool),
        outcome=[-2.0, 0.0, 2.0, 5.0],
        columns={"references": [1.0] * 4},
    )
    batch = lsc.recipe(critic=False)(rollouts)
    expected = [-3.048587, -1.313262, -0.313262, -0.018150]
    assert batch.rollouts.outcome.tolist() == pytest.approx(expected, abs=1e-5)
    mean = sum(expected) / 4
    assert batch.advantages[:, 0].tolist() == pytest.approx([value - mean for value in expected], abs=1e-5)
    assert batch.rollouts.column("raw_outcome") == (-2.0, 0.0, 2.0, 5.0)


def test_the_balanced_response_wins() -> None:
    rollouts = Rollouts(
        group=[0, 0],
        mask=torch.ones(2, 1, dtype=torch.bool),
        columns={"a": [2.0, 4.0], "b": [1.0, -1.0], "ra": [0.0, 0.0], "rb": [0.0, 0.0]},
    )
    settings = {"terms": ("a", "b"), "references": ("ra", "rb"), "quantiles": (0.85, 0.85)}
    found = lsc.recipe(critic=False, **settings)(rollouts)  # type: ignore[arg-type]
    assert found.rollouts.outcome.tolist() == pytest.approx([-0.440190, -1.331412], abs=1e-5)
    raw = lsc.recipe(critic=False, transform="sum", **settings)(rollouts)  # type: ignore[arg-type]
    assert raw.rollouts.outcome.tolist() == [3.0, 3.0]
    assert raw.advantages.abs().sum() == 0.0


def test_a_constant_of_the_prompt_changes_nothing() -> None:
    def utility(shift: float) -> list[float]:
        rollouts = Rollouts(
            group=[0, 0],
            mask=torch.ones(2, 1, dtype=torch.bool),
            outcome=[0.5 + shift, 2.0 + shift],
            columns={"references": [[value + shift for value in (-1.0, 0.0, 0.5, 2.0, 3.0)]] * 2},
        )
        shaped: list[float] = lsc.recipe().shape[0](rollouts).outcome.tolist()
        return shaped

    assert utility(7.0) == pytest.approx(utility(0.0), abs=1e-5)
    assert utility(0.0)[1] == pytest.approx(float(torch.nn.functional.logsigmoid(torch.tensor(2.0 - 2.4))), abs=1e-5)


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="transform is 'mean'"):
        lsc.recipe(transform="mean")


def test_an_arm_repeats_itself(tmp_path: Path) -> None:
    shared = {"candidates": 500, "references": 16}
    for arm in ("sum", "lsc"):
        first = lsc.run_arm({"transform": arm}, shared, 0, tmp_path)
        assert first == lsc.run_arm({"transform": arm}, shared, 0, tmp_path)
        assert first["both_1"] < first["both_2"] < first["both_3"]
