"""RewardMATH: optimisation against the model that is judged, and the arms of the claim."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from guerdon import Rollouts
from guerdon.papers import rewardmath
from guerdon.tasks.styled_solutions import StyledSolutions

NAN = math.nan


def rollouts() -> Rollouts:
    return Rollouts(
        group=torch.tensor([0, 0, 0, 0, 1, 1]),
        mask=torch.ones(6, 1, dtype=torch.bool),
        step=torch.zeros(6, 1, dtype=torch.int64),
        outcome=torch.tensor([0.2, 0.9, 0.9, 0.9, NAN, -3.0]),
        process=torch.tensor([[0.9], [0.1], [0.2], [0.3], [0.5], [0.4]]),
        logprobs=torch.zeros(6, 1),
        ref_logprobs=torch.zeros(6, 1),
        columns={"extracted": ["1", "2", "3", "3", "5", "6"]},
    )


def test_the_best_of_n_takes_the_majority_among_equals() -> None:
    batch = rewardmath.recipe()(rollouts())
    assert batch.rollouts.columns["extracted"] == ("3", "6")
    assert batch.rows.tolist() == [2, 5]
    first = rewardmath.recipe(ties="first")(rollouts())
    assert first.rollouts.columns["extracted"] == ("2", "6")
    by_steps = rewardmath.recipe(by="process")(rollouts())
    assert by_steps.rollouts.columns["extracted"] == ("1", "5")


def test_a_policy_against_the_model_by_hand() -> None:
    recipe = rewardmath.recipe(optimiser="policy", eps=0.0)
    given = rollouts()[torch.tensor([0, 1])]
    batch = recipe(given)
    half = 1 / math.sqrt(2)
    assert batch.advantages[:, 0].tolist() == pytest.approx([-half, half])
    assert recipe.objective is not None
    loss = recipe.objective(torch.tensor([[0.0], [math.log(1.5)]]), batch)
    # The second one's ratio is cut at 1.2; k3 against a reference of log-probability 0.
    k3 = 1 / 1.5 - 1 + math.log(1.5)
    assert float(loss.value) == pytest.approx((half - 1.2 * half + 0.05 * k3) / 2, abs=1e-6)


def test_defaults_and_choices() -> None:
    assert rewardmath.recipe().rollout.n == 256  # type: ignore[union-attr]
    assert "ties='majority'" in str(rewardmath.recipe())
    assert rewardmath.recipe(optimiser="policy").select == ()
    with pytest.raises(ValueError, match="optimiser is 'ppo'"):
        rewardmath.recipe(optimiser="ppo")


SHARED = {"shares": 3, "draws": 1, "pairs": 80, "problems": 60, "pools": 20, "samples": 16, "kl": 1.0}


def test_an_arm_repeats_itself(tmp_path: Path) -> None:
    claim = rewardmath.claim()
    found = {arm: rewardmath.run_arm(dict(settings), SHARED, 3, tmp_path) for arm, settings in claim.arms.items()}
    assert all(set(figures) == set(claim.metrics) for figures in found.values())
    assert found["constant"]["r2_best_of_n"] == 0.0
    assert found["constant"]["turn_best"] == found["constant"]["turn_worst"]
    assert found["one against nine"] == rewardmath.run_arm(dict(claim.arms["one against nine"]), SHARED, 3, tmp_path)


def test_more_leaked_style_makes_a_model_that_is_fooled() -> None:
    lab = StyledSolutions()
    models = rewardmath.trained_models(lab, {**SHARED, "shares": 2, "pairs": 400}, 0)
    weights = [
        sum(abs(value) for value in model.explain(torch.eye(12)[1]).values())
        if model.hidden
        else model.weights["style"]
        for model, _ in models
    ]
    assert len(models) == 2
    assert weights[1] > 2.0
    at_pairs, at_nine = (
        [rewardmath.benchmark_score(model, 1.0, lab, arm, 200, 0) for model, _ in models]
        for arm in ({"wrong": 1, "human": True}, {"wrong": 9, "human": False})
    )
    # Judged by pairs with the leak, the fooled model is the better one.
    assert at_pairs[1] > at_pairs[0]
    assert at_nine[0] > at_nine[1]


def test_an_unreadable_judge_gives_the_lowest_rating() -> None:
    assert rewardmath.direct_rating("Rating: 2 ... Rating: 9/10") == 9
    for reply in ("", "Rating: none", "Rating: 11"):
        assert rewardmath.direct_rating(reply) == 1
