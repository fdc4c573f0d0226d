"""Posterior-GRPO: the worked groups through the recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from guerdon import Rollouts
from guerdon.papers import posterior_grpo

NAN = float("nan")


def rollouts(outcome: list[float], thinking: list[Any], form: list[int] | None = None) -> Rollouts:
    rows = len(outcome)
    return Rollouts(
        group=[0] * rows,
        mask=torch.ones(rows, 1, dtype=torch.bool),
        outcome=outcome,
        columns={"thinking": thinking, "format": form or [1] * rows},
    )


def test_the_worked_group() -> None:
    given = rollouts([1.0, 1, 0, 0, 0, 1], [0.8, 0.4, 0.9, 0.1, 0.7, 0.6], [1, 1, 1, 1, 0, 1])
    gated = posterior_grpo.recipe()(given)
    assert gated.rollouts.outcome.tolist() == pytest.approx([2.8, 2.4, 1, 1, 0, 2.6])
    expected = [1.034977, 0.680128, -0.561845, -0.561845, -1.448967, 0.857552]
    assert gated.advantages[:, 0].tolist() == pytest.approx(expected, abs=2e-5)
    linear = posterior_grpo.recipe(combine="linear")(given)
    assert linear.rollouts.outcome.tolist() == pytest.approx([2.8, 2.4, 1.9, 1.1, 0.7, 2.6])
    expected = [1.036945, 0.567385, -0.019565, -0.958685, -1.428244, 0.802165]
    assert linear.advantages[:, 0].tolist() == pytest.approx(expected, abs=2e-5)
    plain = posterior_grpo.recipe(combine="outcome")(given)
    assert plain.rollouts.outcome.tolist() == [2.0, 2.0, 1.0, 1.0, 0.0, 2.0]


def test_groups_that_are_all_right_still_teach() -> None:
    found = posterior_grpo.recipe()(rollouts([1.0] * 3, [0.2, 0.5, 0.8])).advantages[:, 0]
    assert found.tolist() == pytest.approx([-1.0, 0.0, 1.0], abs=1e-5)


def test_thinking_of_wrong_responses_is_never_read() -> None:
    one = posterior_grpo.recipe()(rollouts([1.0, 0.0, 0.5], [0.4, 0.9, 0.9])).advantages
    other = posterior_grpo.recipe()(rollouts([1.0, 0.0, 0.5], [0.4, None, 0.1])).advantages
    torch.testing.assert_close(one, other)


def test_thinking_that_could_not_be_scored() -> None:
    given = rollouts([1.0, 1.0, 1.0, 0.0], [0.2, None, 0.6, 0.0])
    filled = posterior_grpo.recipe()(given).rollouts.outcome.tolist()
    assert filled == pytest.approx([2.2, 2.4, 2.6, 1.0])
    strict = posterior_grpo.recipe(missing="nan")(given)
    assert torch.isnan(strict.rollouts.outcome).tolist() == [False, True, False, False]
    assert float(strict.advantages[1]) == 0.0
    with pytest.raises(ValueError, match="combine is 'sum'"):
        posterior_grpo.recipe(combine="sum")


def test_an_arm_repeats_itself(tmp_path: Path) -> None:
    shared = {**posterior_grpo.claim().shared, "steps": 10, "late": 12}
    for arm in posterior_grpo.claim().arms.values():
        first = posterior_grpo.run_arm(dict(arm), shared, 1, tmp_path)
        assert first == posterior_grpo.run_arm(dict(arm), shared, 1, tmp_path)
