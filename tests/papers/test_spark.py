"""SPARK: the worked designs through the recipe, and the labels of votes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from guerdon import Rollouts, ops
from guerdon.papers import spark

NAN = float("nan")
A = 0.866025


def rollouts(form: list[int] | None = None) -> Rollouts:
    step = torch.tensor([[0, 0, 1, 1, -1], [0, 0, 1, 1, -1], [0, 0, 1, 1, -1], [0, 0, 1, 1, -1]])
    mask = step >= 0
    mask[0, 4] = True
    return Rollouts(
        group=[0] * 4,
        mask=mask,
        step=step,
        process=[[1.0, 1.0], [1.0, 0.0], [1.0, 0.0], [0.0, 0.0]],
        outcome=[1.0, 1.0, 0.0, 0.0],
        columns={"format": form or [1] * 4},
    )


def test_the_worked_designs() -> None:
    selective = spark.recipe(eps=0.0)(rollouts()).advantages
    expected = [[A] * 5, [A, A, 0, 0, 0], [0, 0, -A, -A, 0], [-A] * 4 + [0]]
    torch.testing.assert_close(selective, torch.tensor(expected), atol=1e-5, rtol=0)
    spread = spark.recipe(design="global", eps=1e-6)(rollouts()).advantages
    expected = [
        [0.879903] * 4 + [0.692820],
        [0.879903] * 2 + [0.505737] * 2 + [0],
        [-0.505737] * 2 + [-0.879903] * 2 + [0],
        [-0.879903] * 4 + [0],
    ]
    torch.testing.assert_close(spread, torch.tensor(expected), atol=1e-4, rtol=0)
    plain = spark.recipe(design="process", eps=0.0)(rollouts()).advantages
    assert plain[:, 0].tolist() == pytest.approx([A, A, -A, -A], abs=1e-5)


def test_the_share_of_right_steps() -> None:
    one = Rollouts(
        group=[0, 0, 0],
        mask=torch.ones(3, 4, dtype=torch.bool),
        step=[[0, 1, 2, 3]] * 3,
        process=[[1.0, 1.0, 0.0, 1.0]] * 3,
        outcome=[1.0, 0.0, 1.0],
        columns={"format": [1, 1, 0]},
    )
    found = spark.recipe(design="augmented")(one).rollouts.outcome.tolist()
    assert found == pytest.approx([0.9, 0.3, 0.0])
    open_door = spark.recipe(design="augmented", guarded=False)(one).rollouts.outcome.tolist()
    assert open_door == pytest.approx([0.9, 0.3, 0.9])
    with pytest.raises(ValueError, match="design is 'orm'"):
        spark.recipe(design="orm")


@pytest.mark.parametrize("design", spark.DESIGNS)
def test_a_malformed_response_gets_nothing(design: str) -> None:
    outcome = spark.recipe(design=design)(rollouts([0, 1, 1, 1])).rollouts.outcome.tolist()
    assert outcome[0] == 0.0
    assert outcome[1] > 0.0


def test_f1_of_the_first_wrong_step() -> None:
    gold = torch.tensor([1, 2, -1, -1, -1])
    assert ops.processbench_f1(torch.tensor([1, 3, -1, -1, 2]), gold) == pytest.approx(0.571429, abs=1e-6)
    assert ops.processbench_f1(gold, gold) == 1.0
    assert ops.processbench_f1(torch.full((5,), -1), gold) == 0.0
    for one_kind in (torch.tensor([1, 2]), torch.tensor([-1, -1])):
        with pytest.raises(ValueError, match="expected both kinds"):
            ops.processbench_f1(one_kind, one_kind)


def test_an_arm_repeats_itself(tmp_path: Path) -> None:
    shared = {**spark.claim().shared, "solutions": 60}
    for arm in spark.claim().arms.values():
        first = spark.run_arm(dict(arm), shared, 1, tmp_path)
        assert first == spark.run_arm(dict(arm), shared, 1, tmp_path)
    quiet = {**shared, "step_flip": 0.0, "verdict_flip": 0.0, "shared_flip": 0.0}
    assert spark.run_arm({"label": "single"}, quiet, 0, tmp_path) == {"f1": 1.0, "steps": 1.0}
