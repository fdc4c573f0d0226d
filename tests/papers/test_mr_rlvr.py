"""MR-RLVR: the worked exercises, and which problems each stage asks."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from guerdon import Rollouts
from guerdon.papers import mr_rlvr
from guerdon.score.router import Router
from guerdon.score.verify.fill_in import FillIn, Reorder, reorder_reward
from guerdon.score.verify.stage import Verify
from guerdon.tasks.derivations import Derivations


def test_exercises_in_one_batch() -> None:
    """Fills and orders of the worked examples, each scored by its kind, groups of a kind compared with each other."""
    rollouts = Rollouts(
        group=[0, 0, 0, 1, 1, 1],
        mask=torch.ones(6, 1, dtype=torch.bool),
        columns={
            "response": ["1. 2b\n2. 10.0", "1. 2 b", "", "3 1 2", "3 2 1", "1 1 2"],
            "target": [""] * 6,
            "kind": ["mask"] * 3 + ["reorder"] * 3,
            "gold": [["2b", "10"]] * 6,
            "permutation": [[1, 2, 0]] * 6,
            "texts": [["x", "y", "z"]] * 6,
        },
    )
    router = Router({"mask": Verify(FillIn(part="response")), "reorder": Verify(Reorder(part="response"))})
    batch = mr_rlvr.recipe((router,), eps=0.0)(rollouts)
    assert batch.scored is not None
    assert batch.scored.outcome.tolist() == pytest.approx([1.0, 0.5, 0.0, 1.0, 1 / 3, 0.0])
    assert batch.advantages[:3, 0].tolist() == pytest.approx([1.0, 0.0, -1.0], abs=1e-6)


def test_mean_of_all_orders() -> None:
    for n in (2, 3, 4):
        every = list(itertools.permutations(range(n)))
        rewards = [reorder_reward([label + 1 for label in order], list(range(n))) for order in every]
        assert sum(rewards) / len(rewards) == pytest.approx(1 / n)
        assert not any(math.isclose(reward, (n - 1) / n) for reward in rewards)


def test_groups_without_spread_are_left_out() -> None:
    rollouts = Rollouts(group=[0, 0, 1, 1], mask=torch.ones(4, 1, dtype=torch.bool), outcome=[0.5, 0.5, 0.0, 1.0])
    assert mr_rlvr.recipe()(rollouts).rows.tolist() == [2, 3]


def test_what_each_stage_asks() -> None:
    task = Derivations(steps=(2, 3), modulus=10, operators="+-")
    solve = mr_rlvr.Asked(task, "solve").problems("train", 60, 0)
    mask = mr_rlvr.Asked(task, "mask").problems("train", 60, 0)
    assert len(solve) + len(mask) == 60
    assert all(problem.columns["kind"] == "solve" and problem.target for problem in solve)
    assert all(problem.columns["kind"] == "mask" for problem in mask)
    assert not {problem.prompt_id for problem in solve} & {problem.prompt_id for problem in mask}
    # An exercise is right when the hidden numbers are given back, without any look at an answer.
    first = mask[0]
    fills = "\n".join(f"{place}. {item}" for place, item in enumerate(first.columns["gold"], start=1))
    assert task.verify(fills, first.target, first.columns).reward == 1.0
    drawn = mr_rlvr.Asked(task, "mask", random_seed=3)
    row = {**first.columns, "prompt": first.prompt}
    assert drawn.verify(fills, "", row) == drawn.verify(fills, "", row)
    assert 0.0 <= drawn.verify(fills, "", row).reward < 1.0
    assert drawn.problems("test", 5, 0) == task.problems("test", 5, 0)
