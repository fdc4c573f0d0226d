"""PACS: the loss of the worked groups through the recipe, and its gradient on the behaviour policy."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from guerdon import Rollouts
from guerdon.papers import pacs

SCORES = [0.6, -0.2, 0.1, -0.3]


def rollouts(outcome: list[float]) -> Rollouts:
    rows = len(outcome)
    return Rollouts(
        group=[0] * rows,
        mask=torch.ones(rows, 2, dtype=torch.bool),
        outcome=outcome,
        logprobs=torch.full((rows, 2), -1.0),
    )


def loss(outcome: list[float], scores: list[float]) -> tuple[float, list[float]]:
    recipe = pacs.recipe()
    batch = recipe(rollouts(outcome))
    assert recipe.objective is not None
    logprobs = (batch.rollouts.logprobs + torch.tensor(scores)[:, None] / 2).requires_grad_()  # type: ignore[operator]
    value = recipe.objective(logprobs, batch).value
    value.backward()
    assert logprobs.grad is not None
    return float(value), logprobs.grad[:, 0].tolist()


def test_the_worked_groups() -> None:
    value, gradient = loss([1.0, 0.0, 1.0, 0.0], SCORES)
    assert value == pytest.approx(0.519929, abs=1e-5)
    assert gradient == pytest.approx([-0.107741, 0.139557, -0.160699, 0.128882], abs=1e-5)
    value, gradient = loss([1.0, 0.0, 0.0, 0.0], SCORES)
    assert value == pytest.approx(0.48848, abs=1e-5)
    assert gradient == pytest.approx([-0.235537, 0.073534, 0.095585, 0.066418], abs=1e-5)


def test_on_the_behaviour_policy_it_is_leave_one_out() -> None:
    value, gradient = loss([1.0, 0.0, 1.0, 0.0], [0.0] * 4)
    assert value == pytest.approx(math.log(2), abs=1e-6)
    advantages = pacs.recipe()(rollouts([1.0, 0.0, 1.0, 0.0])).advantages[:, 0]
    assert gradient == pytest.approx((-advantages / 4).tolist(), abs=1e-6)
    assert loss([1.0] * 4, [0.0] * 4)[1] == pytest.approx([0.0] * 4, abs=1e-7)


def test_an_arm_repeats_itself(tmp_path: Path) -> None:
    shared = {**pacs.claim().shared, "batches": 4, "rates": [4.0, 16.0]}
    for arm in pacs.claim().arms.values():
        first = pacs.run_arm(dict(arm), shared, 1, tmp_path)
        assert first == pacs.run_arm(dict(arm), shared, 1, tmp_path)
        assert set(first) == set(pacs.claim().metrics)
