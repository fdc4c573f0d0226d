"""MR-RLVR: the worked exercises, both stages through the recipe, and which problems each stage asks."""

from __future__ import annotations

import itertools
import math
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Batch, Rollouts, ops
from guerdon.credit import GroupNormalized
from guerdon.objective import ClippedSurrogate
from guerdon.papers import mr_rlvr
from guerdon.policies import warm_start
from guerdon.score.router import Router
from guerdon.score.verify.fill_in import FillIn, Reorder, fill_reward, parse_fills, reorder_reward
from guerdon.score.verify.math import MathAnswer
from guerdon.score.verify.stage import Verify
from guerdon.search import Independent
from guerdon.select import DropZeroSpread
from guerdon.select.masked_samples import make_mask_sample, make_reorder_sample, split_steps
from guerdon.tasks.derivations import Derivations
from tests.train.tiny import CountOnes, recipe_trainer

EXERCISES = Router({"mask": Verify(FillIn(part="response")), "reorder": Verify(Reorder(part="response"))})
SOLUTION = "Let n = 14 and m = 9.\nThen n + m = 23.\nDoubled it is 46.\nOf this 6 is taken away.\nWhat is left is 40."


def asked(responses: list[str], kinds: list[str], **columns: list[Any]) -> Rollouts:
    """Three responses to each exercise."""
    return Rollouts(
        group=[place // 3 for place in range(len(responses))],
        mask=torch.ones(len(responses), 1, dtype=torch.bool),
        columns={"response": responses, "target": [""] * len(responses), "kind": kinds, **columns},
    )


def test_the_defaults() -> None:
    recipe = mr_rlvr.recipe()
    assert recipe.select == (DropZeroSpread(),)
    assert recipe.credit == GroupNormalized(scale="group", eps=1e-6)
    assert recipe.objective == ClippedSurrogate(0.2, 0.2, kl_coef=0.001, kl="k3", aggregation="dapo")
    assert recipe.rollout == Independent(8)
    assert not recipe.shape


def test_exercises_in_one_batch() -> None:
    """Fills and orders of the worked examples, each scored by its kind, groups of a kind compared with each other."""
    rollouts = asked(
        ["1. 2b\n2. 10.0", "1. 2 b", "", "3 1 2", "3 2 1", "1 1 2"],
        ["mask"] * 3 + ["reorder"] * 3,
        gold=[["2b", "10"]] * 6,
        permutation=[[1, 2, 0]] * 6,
        texts=[["x", "y", "z"]] * 6,
    )
    batch = mr_rlvr.recipe((EXERCISES,), eps=0.0)(rollouts)
    assert batch.scored is not None
    assert batch.scored.outcome.tolist() == pytest.approx([1.0, 0.5, 0.0, 1.0, 1 / 3, 0.0])
    assert batch.advantages[:3, 0].tolist() == pytest.approx([1.0, 0.0, -1.0], abs=1e-6)
    rewards = [1.0, 1 / 3, 0.0]
    mean = sum(rewards) / 3
    spread = math.sqrt(sum((value - mean) ** 2 for value in rewards) / 2)
    assert batch.advantages[3:, 0].tolist() == pytest.approx([(value - mean) / spread for value in rewards], abs=1e-6)


def test_the_direction_of_an_order() -> None:
    """With three steps a rotation and its inverse differ, and only one of them is right."""
    assert reorder_reward([3, 1, 2], [1, 2, 0]) == 1.0
    assert reorder_reward([2, 3, 1], [1, 2, 0]) == 0.0
    assert reorder_reward([1, 2, 3], [1, 2, 0]) == 0.0


@given(order=st.permutations(range(5)))
def test_the_inverse_order_is_right(order: list[int]) -> None:
    labels = [order.index(step) + 1 for step in range(5)]
    assert reorder_reward(labels, order) == 1.0


def test_mean_of_all_orders() -> None:
    for n in (2, 3, 4):
        every = list(itertools.permutations(range(n)))
        rewards = [reorder_reward([label + 1 for label in order], list(range(n))) for order in every]
        assert sum(rewards) / len(rewards) == pytest.approx(1 / n)
        assert not any(math.isclose(reward, (n - 1) / n) for reward in rewards)


@given(gold=st.lists(st.sampled_from(["7", "12", "x"]), min_size=1, max_size=5), seed=st.integers(0, 1000))
def test_each_right_fill_adds_its_share(gold: list[str], seed: int) -> None:
    given_items: list[str | None] = [None] * len(gold)
    places = list(range(len(gold)))
    random.Random(seed).shuffle(places)
    for number, place in enumerate(places, start=1):
        given_items[place] = gold[place]
        assert fill_reward(given_items, gold) == pytest.approx(number / len(gold))


def test_exercises_of_a_written_solution_are_solved_by_what_was_taken_away() -> None:
    """From the text of a solution to the advantage: hide, shuffle, answer, score."""
    steps = split_steps(SOLUTION)
    mask = make_mask_sample("What is left?", steps, random.Random(3), share=0.5)
    reorder = make_reorder_sample("What is left?", steps, random.Random(3))
    assert mask is not None
    assert reorder is not None
    assert "40" not in mask.gold
    fills = [f"{place}. {item}" for place, item in enumerate(mask.gold, start=1)]
    labels = [reorder.permutation.index(step) + 1 for step in range(len(steps))]
    responses = ["\n".join(fills), "\n".join(fills[1:]), "no idea", " ".join(map(str, labels)), "", "1 2"]
    rollouts = asked(
        responses,
        ["mask"] * 3 + ["reorder"] * 3,
        gold=[list(mask.gold)] * 6,
        permutation=[list(reorder.permutation)] * 6,
    )
    batch = mr_rlvr.recipe((EXERCISES,))(rollouts)
    assert batch.scored is not None
    count = len(mask.gold)
    assert batch.scored.outcome.tolist() == pytest.approx([1.0, (count - 1) / count, 0.0, 1.0, 0.0, 0.0])
    assert batch.advantages[:, 0].sign().tolist()[3:] == [1.0, -1.0, -1.0]


def test_the_second_stage_reads_answers_alone() -> None:
    """The same rows, scored by their answers: what was hidden does not matter, and neither do steps."""
    rollouts = Rollouts(
        group=[0, 0, 0],
        mask=torch.ones(3, 1, dtype=torch.bool),
        columns={"response": [r"\boxed{40}", r"46 - 6 is \boxed{40}", r"\boxed{52}"], "target": ["40"] * 3},
    )
    recipe = mr_rlvr.recipe((Verify(MathAnswer()),))
    batch = recipe(rollouts)
    assert batch.scored is not None
    assert batch.scored.outcome.tolist() == [1.0, 1.0, 0.0]
    marked = recipe(rollouts.with_columns(gold=[["1"]] * 3, kind=["mask"] * 3))
    assert torch.equal(marked.advantages, batch.advantages)


def test_the_loss_by_hand() -> None:
    rollouts = Rollouts(
        group=[0, 0],
        mask=[[True, True], [True, False]],
        outcome=[1.0, 0.5],
        logprobs=[[-1.0, -1.0], [-1.0, 0.0]],
        ref_logprobs=[[-1.2, -1.0], [-0.9, 0.0]],
    )
    recipe = mr_rlvr.recipe(eps=0.0)
    batch = recipe(rollouts)
    advantage = 0.25 / math.sqrt(0.125)
    assert batch.advantages.tolist() == [pytest.approx([advantage] * 2), pytest.approx([-advantage, 0.0])]
    ratios = [math.exp(0.5), math.exp(-0.1), math.exp(-0.6)]
    gains = [min(ratios[0], 1.2) * advantage, ratios[1] * advantage, -max(ratios[2], 0.8) * advantage]
    gaps = [-1.2 + 0.5, -1.0 + 1.1, -0.9 + 1.6]
    divergence = [math.exp(gap) - gap - 1.0 for gap in gaps]
    expected = sum(0.001 * far - gain for far, gain in zip(divergence, gains, strict=True)) / 3
    assert recipe.objective is not None
    loss = recipe.objective(torch.tensor([[-0.5, -1.1], [-1.6, 0.0]]), batch).value
    assert float(loss) == pytest.approx(expected, abs=1e-6)


def test_groups_without_spread_are_left_out() -> None:
    rollouts = Rollouts(group=[0, 0, 1, 1], mask=torch.ones(4, 1, dtype=torch.bool), outcome=[0.5, 0.5, 0.0, 1.0])
    assert mr_rlvr.recipe()(rollouts).rows.tolist() == [2, 3]


def test_what_cannot_be_scored_takes_no_part() -> None:
    """An exercise without a hidden piece has no reward, and is no failure."""
    rollouts = asked(["1. 7", "1. 8", "1. 7"], ["mask"] * 3, gold=[["7"], ["7"], []])
    batch = mr_rlvr.recipe((EXERCISES,))(rollouts)
    assert batch.scored is not None
    assert batch.scored.outcome.tolist() == pytest.approx([1.0, 0.0, math.nan], nan_ok=True)
    without = mr_rlvr.recipe()(Rollouts(group=[0, 0], mask=torch.ones(2, 1, dtype=torch.bool), outcome=[1.0, 0.0]))
    kept = [place for place, row in enumerate(batch.rows.tolist()) if row < 2]
    torch.testing.assert_close(batch.advantages[kept], without.advantages)


def test_pass_at_k() -> None:
    assert float(ops.pass_at_k(64, torch.tensor([8]), 5)) == pytest.approx(0.499008, abs=1e-6)
    every = [float(ops.pass_at_k(8, torch.tensor([3]), k)) for k in range(1, 9)]
    assert every == sorted(every)
    assert every[0] == pytest.approx(3 / 8)


# --- the claim ------------------------------------------------------------------------------------------------------


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
    assert parse_fills(fills, len(first.columns["gold"])) == first.columns["gold"]
    drawn = mr_rlvr.Asked(task, "mask", random_seed=3)
    row = {**first.columns, "prompt": first.prompt}
    assert drawn.verify(fills, "", row) == drawn.verify(fills, "", row)
    assert 0.0 <= drawn.verify(fills, "", row).reward < 1.0
    assert drawn.problems("test", 5, 0) == task.problems("test", 5, 0)


def test_an_arm_repeats_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One update a stage of a policy that was hardly warm-started."""
    whole = warm_start.WarmStart

    def short(**settings: Any) -> warm_start.WarmStart:
        return whole(**{**settings, "max_steps": 2, "mixed_steps": 2, "demonstrations": 64})

    monkeypatch.setattr(warm_start, "WarmStart", short)
    monkeypatch.setenv("GUERDON_CACHE", str(tmp_path / "cache"))
    shared = {**mr_rlvr.claim().shared, "first_steps": 1, "steps": 1, "prompts": 4, "evaluate": 2}
    settings = dict(mr_rlvr.claim().arms["random reward"])
    first = mr_rlvr.run_arm(settings, shared, 1, tmp_path / "first")
    assert first == mr_rlvr.run_arm(settings, shared, 1, tmp_path / "second")
    assert set(first) == set(mr_rlvr.claim().metrics)
    assert 0.0 <= first["pass_1"] <= first["pass_8"] <= 1.0
    assert 0.0 < first["exercise"] < 1.0


def test_the_trainer_takes_it(tmp_path: Path) -> None:
    seen: list[Batch] = []
    recipe = mr_rlvr.recipe((CountOnes(),), n=4)
    recipe_trainer(tmp_path, recipe, max_steps=2, on_batch=lambda _, batch: seen.append(batch)).train()
    assert len(seen) == 2
    for batch in seen:
        assert batch.scored is not None
        spread = ops.std(batch.scored.outcome, batch.scored.group) > 0
        assert batch.rows.tolist() == spread.nonzero().squeeze(1).tolist()
