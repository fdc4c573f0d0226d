"""RL Tango: the worked group through the generator's recipe, and the verifier's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from guerdon import Rollouts
from guerdon.baselines import grpo
from guerdon.papers import rl_tango
from guerdon.train.alternate import turns

NAN = float("nan")


def rollouts() -> Rollouts:
    return Rollouts(
        group=[0, 0, 0],
        mask=[[True] * 4, [True] * 3 + [False], [True] * 2 + [False] * 2],
        step=[[0, 1, 2, 2], [0, 0, 1, -1], [0, -1, -1, -1]],
        process=[[1.0, 1.0, 1.0], [1.0, -1.0, NAN], [-1.0, NAN, NAN]],
        outcome=[1.0, 0.0, 0.0],
    )


def test_the_worked_group() -> None:
    found = rl_tango.recipe(eps=0.0)(rollouts()).advantages
    expected = [
        [1.204375, 1.149327, 1.094279, 1.094279],
        [-0.519615, -0.519615, -0.602188, 0.0],
        [-0.684760, -0.519615, 0.0, 0.0],
    ]
    torch.testing.assert_close(found, torch.tensor(expected), atol=1e-5, rtol=0)


def test_the_weight_of_the_steps_falls() -> None:
    given = rollouts()
    plain = grpo(n=5, eps=1e-6)(given).advantages
    torch.testing.assert_close(rl_tango.recipe(alpha=0.0)(given).advantages, plain)
    late = rl_tango.recipe()(given.replace(progress=1.0)).advantages
    torch.testing.assert_close(late, plain, atol=2e-3, rtol=0)
    quarter = rl_tango.recipe(total=200)(given.replace(iteration=50)).advantages
    constant = rl_tango.recipe(alpha=0.031623, alpha_end=0.031623)(given).advantages
    torch.testing.assert_close(quarter, constant, atol=1e-5, rtol=0)


def test_the_verifier() -> None:
    given = Rollouts(
        group=[0, 0, 1, 1],
        mask=torch.ones(4, 1, dtype=torch.bool),
        outcome=[1.0, 0.0, 1.0, 1.0],
        columns={"format": [1.0, 1.0, 0.5, 1.0], "truth": [True, True, False, False]},
    )
    recipe = rl_tango.verifier_recipe(eps=0.0)
    batch = recipe(given, learn=True)
    assert batch.rollouts.outcome.tolist() == pytest.approx([1.8, 0.8, 1.4, 1.8])
    assert batch.advantages[:, 0].tolist() == pytest.approx([0.707107, -0.707107, -0.707107, 0.707107], abs=1e-5)
    (state,) = recipe.state_dict().values()
    assert state["counts"] == (1.0, 1.0)


def test_the_verifier_leads_and_then_both_take_turns() -> None:
    order = turns("generator", "verifier", 200, lead=40)
    assert order[:41] == ["verifier"] * 40 + ["generator"]
    assert order.count("generator") == 200
    assert order.count("verifier") == 40 + 66


def test_an_arm_repeats_itself(tmp_path: Path) -> None:
    shared = {**rl_tango.claim().shared, "steps": 8, "warm_up": 3}
    for arm in rl_tango.claim().arms.values():
        first = rl_tango.run_arm(dict(arm), shared, 1, tmp_path)
        assert first == rl_tango.run_arm(dict(arm), shared, 1, tmp_path)
        assert set(first) == set(rl_tango.claim().metrics)
    frozen = rl_tango.run_arm({"alpha": 0.1, "frozen": True}, shared, 1, tmp_path)
    assert frozen["judging"] == pytest.approx(0.5)
    assert frozen["early_recall"] == pytest.approx(0.125)
