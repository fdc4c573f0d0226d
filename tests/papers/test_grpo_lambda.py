"""GRPO-lambda: the worked batch, and what the settings mean."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from guerdon import Batch, Rollouts
from guerdon.baselines import grpo
from guerdon.papers import grpo_lambda
from tests.train.tiny import losses, recipe_trainer

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


def test_the_loss_by_hand() -> None:
    """The worked batch with one group penalised, and a policy that has moved on two responses of another."""
    recipe = grpo_lambda.recipe(lam=0.34)
    found = recipe(batch().replace(logprobs=torch.zeros(12, 1)))
    ratio = torch.ones(12, 1)
    ratio[0], ratio[2] = 1.5, 1.5
    assert recipe.objective is not None
    loss = recipe.objective(ratio.log(), found)
    # The advantages of a group add up to 0. The right response gains up to the clip, the wrong one loses it all.
    expected = (-0.2 * 0.577349 + 0.5 * 1.732047) / 12
    assert float(loss.value) == pytest.approx(expected, abs=1e-5)


def test_no_strength_weakens_the_penalty_in_a_group_of_right_responses() -> None:
    """Division by the standard deviation brings any penalty to full size: only choosing fewer groups helps."""
    weak, strong = (grpo_lambda.recipe(lam=0.34, alpha=alpha, eps=0.0)(batch()).advantages for alpha in (0.01, 0.9))
    torch.testing.assert_close(weak[4:8], strong[4:8], atol=1e-3, rtol=0)
    assert float(grpo_lambda.recipe(lam=0.0)(batch()).advantages[4:8].abs().sum()) == 0.0


def test_degenerate_groups() -> None:
    """One right response has the advantages of 0 and 1; a group without any has none and is never chosen."""
    some = [1.0, 0.0, 0.0, 0.0] + [0.0] * 4 + [float("nan")] * 4
    found = grpo_lambda.recipe(lam=1.0)(batch(some))
    plain = grpo_lambda.recipe(lam=0.0)(batch(some))
    assert float(found.rollouts.outcome[0]) == pytest.approx(0.9)
    torch.testing.assert_close(found.advantages, plain.advantages, atol=1e-4, rtol=0)
    assert float(found.advantages[4:].abs().sum()) == 0.0
    assert [bool(value) for value in found.rollouts.column("length_penalised")] == [True] * 4 + [False] * 8


def test_a_threshold_instead_of_a_share() -> None:
    for threshold, groups in ((0.75, 2), (0.76, 1), (0.1, 3)):
        chosen = grpo_lambda.recipe(threshold=threshold)(batch()).rollouts.column("length_penalised")
        assert sum(bool(value) for value in chosen) == 4 * groups


def test_the_choice_is_over_the_whole_batch() -> None:
    """Piece by piece the share would be taken of one group each time, which is none."""
    whole = grpo_lambda.recipe(lam=0.34)(batch()).rollouts.column("length_penalised")
    pieces = [grpo_lambda.recipe(lam=0.34)(batch()[start : start + 4]) for start in (0, 4, 8)]
    assert sum(bool(value) for value in whole) == 4
    assert not any(bool(value) for piece in pieces for value in piece.rollouts.column("length_penalised"))


def test_defaults() -> None:
    recipe = grpo_lambda.recipe()
    assert "strength=0.2" in str(recipe)
    assert "fraction=0.2, threshold=None" in str(recipe)
    assert "ddof=0, eps=1e-06" in str(recipe.credit)
    with pytest.raises(ValueError, match=r"lam is 1\.5"):
        grpo_lambda.recipe(lam=1.5)
    with pytest.raises(ValueError, match=r"alpha is 1\.0"):
        grpo_lambda.recipe(alpha=1.0)


@dataclass(frozen=True)
class ShortEnough:
    """Right = fewer than nine characters, which an untrained model often writes and often does not."""

    def __call__(self, rollouts: Rollouts) -> Rollouts:
        return rollouts.replace(outcome=[float(len(text) < 9) for text in rollouts.column("response")])


def test_the_trainer_takes_the_recipe(tmp_path: Path) -> None:
    batches: list[Batch] = []
    recipe = grpo_lambda.recipe(ShortEnough(), lam=0.5, n=4)
    trainer = recipe_trainer(tmp_path, recipe, on_batch=lambda _, found: batches.append(found))
    trainer.train()
    assert len(batches) == 3
    assert all(math.isfinite(value) for value in losses(trainer))
    penalised = [torch.tensor(found.rollouts.column("length_penalised")) for found in batches]
    # Eight rows are two groups, and half of them is one, unless nothing is right in either.
    assert all(int(rows.sum()) in (0, 4) for rows in penalised)
    assert any(int(rows.sum()) == 4 for rows in penalised)


def test_an_arm_repeats_itself(tmp_path: Path) -> None:
    shared = {**grpo_lambda.claim().shared, "steps": 30}
    first = grpo_lambda.run_arm({"lam": 0.2}, shared, 0, tmp_path)
    assert first == grpo_lambda.run_arm({"lam": 0.2}, shared, 0, tmp_path)
    assert set(first) == set(grpo_lambda.claim().metrics)
