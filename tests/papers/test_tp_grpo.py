"""TP-GRPO: the worked responses through the recipe."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from guerdon import Rollouts
from guerdon.papers import tp_grpo

NAN = float("nan")
RIGHT = [1.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0]
WRONG = [1.0, 0.0, 0.0, 1.0]


def rollouts() -> Rollouts:
    rows = [RIGHT, WRONG, *[[1.0]] * 6]
    process = torch.full((8, 7), NAN)
    for row, values in enumerate(rows):
        process[row, : len(values)] = torch.tensor(values)
    step = torch.tensor([[place if place < len(values) else -1 for place in range(7)] for values in rows])
    return Rollouts(
        group=[0] * 8,
        mask=step >= 0,
        step=step,
        process=process,
        outcome=[1.0, -1.0, 1.0, -1.0, -1.0, -1.0, -1.0, -1.0],
    )


def test_the_worked_responses() -> None:
    batch = tp_grpo.recipe()(rollouts())
    right, low = 1.62001, 1.37001
    assert batch.advantages[0].tolist() == pytest.approx([right, right, low, low, right, low, right], abs=1e-4)
    assert batch.advantages[1, :4].tolist() == pytest.approx([-0.540003, 0.0, 0.0, -0.540003], abs=1e-4)
    # Responses of one thought carry no process reward, and are not trained on.
    assert batch.trained.tolist() == [True, True] + [False] * 6
    assert bool(tp_grpo.recipe(only_process=False)(rollouts()).trained.all())


def test_chains_are_runs() -> None:
    labels = tp_grpo.chains(50, 3)
    assert torch.equal(labels, tp_grpo.chains(50, 3))
    for row in labels.tolist():
        length = row.index(-1) if -1 in row else len(row)
        assert 10 <= length <= 60
        assert row[length - 1] == 1
        runs, place = [], 0
        while place < length - 1:
            end = place
            while end < length - 1 and row[end] == row[place]:
                end += 1
            runs.append(end - place)
            place = end
        assert max(runs) <= 7


def test_information_of_known_tables() -> None:
    label = torch.tensor([0, 0, 1, 1])
    assert tp_grpo.information(torch.tensor([0.5, 0.5, 0.7, 0.7]), label) == pytest.approx(1.0)
    assert tp_grpo.information(torch.tensor([0.5, 0.7, 0.5, 0.7]), label) == pytest.approx(0.0)
    skewed = torch.tensor([0, 1, 1, 1])
    entropy = -(0.25 * math.log2(0.25) + 0.75 * math.log2(0.75))
    assert tp_grpo.information(skewed.float(), skewed) == pytest.approx(entropy)


def test_an_arm_repeats_itself(tmp_path: Path) -> None:
    shared = {**tp_grpo.claim().shared, "chains": 50}
    for arm in tp_grpo.claim().arms.values():
        first = tp_grpo.run_arm(dict(arm), shared, 1, tmp_path)
        assert first == tp_grpo.run_arm(dict(arm), shared, 1, tmp_path)
