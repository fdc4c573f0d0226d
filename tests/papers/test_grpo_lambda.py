"""GRPO-lambda: the worked batch, and what the settings mean."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from guerdon import Rollouts
from guerdon.baselines import grpo
from guerdon.papers import grpo_lambda

CORRECT = [1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 1.0, 0.0, 0.0]
LENGTHS = [100, 200, 50, 300, 80, 80, 160, 240, 10, 500, 20, 20]
GROUP = [0] * 4 + [1] * 4 + [2] * 4


def batch(outcome: list[float] = CORRECT) -> Rollouts:
    mask = torch.ones(len(outcome), 1, dtype=torch.bool)
    return Rollouts(group=GROUP, mask=mask, outcome=outcome, columns={"length": LENGTHS})


def test_the_worked_batch() -> None:
    one = grpo_lambda.recipe(lam=0.34)(batch())
    expected = [1, 1, 0, 1, 0.942376, 0.942376, 0.885038, 0.836260, 0, 1, 0, 0]
    assert one.rollouts.outcome.tolist() == pytest.approx(expected, abs=1e-6)
    two = grpo_lambda.recipe(lam=0.67)(batch())
    assert two.rollouts.outcome.tolist()[:4] == pytest.approx([0.954579, 0.9, 0, 0.845421], abs=1e-6)
    advantages = [0.713907, 0.574538, -1.723615, 0.435169, 0.921294, 0.921294, -0.371436, -1.471152]
    advantages += [-0.577349, 1.732047, -0.577349, -0.577349]
    assert two.advantages[:, 0].tolist() == pytest.approx(advantages, abs=2e-5)
    assert [bool(value) for value in two.rollouts.column("length_penalised")] == [True] * 8 + [False] * 4


def test_the_order_of_prompts_does_not_matter() -> None:
    order = torch.tensor([8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3])
    ours = grpo_lambda.recipe(lam=0.34)(batch()).advantages[order]
    torch.testing.assert_close(grpo_lambda.recipe(lam=0.34)(batch()[order]).advantages, ours)


def test_without_penalty_it_is_grpo() -> None:
    plain = grpo(n=8, eps=1e-6).replace(credit=grpo_lambda.recipe().credit)(batch()).advantages
    for off in (grpo_lambda.recipe(lam=0.0), grpo_lambda.recipe(alpha=0.0)):
        torch.testing.assert_close(off(batch()).advantages, plain)


def test_unscored_responses_take_no_part() -> None:
    some = [float("nan") if row == 3 else value for row, value in enumerate(CORRECT)]
    found = grpo_lambda.recipe(lam=1.0)(batch(some))
    assert found.advantages[3].tolist() == [0.0]
    assert found.rollouts.outcome[:2].tolist() == pytest.approx([1 - 0.2 * 0.268941, 1 - 0.2 * 0.731059], abs=1e-5)


def test_an_arm_repeats_itself(tmp_path: Path) -> None:
    shared = {**grpo_lambda.claim().shared, "steps": 30}
    first = grpo_lambda.run_arm({"lam": 0.2}, shared, 0, tmp_path)
    assert first == grpo_lambda.run_arm({"lam": 0.2}, shared, 0, tmp_path)
    assert set(first) == set(grpo_lambda.claim().metrics)
