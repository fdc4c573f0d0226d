"""Rewards from features: the recipe from texts to loss, and the arms of the claim."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from guerdon import Rollouts
from guerdon.papers import domain_rm
from guerdon.score.models.feature_reward import FeatureReward
from guerdon.score.verify.opinion_features import FEATURE_NAMES
from guerdon.tasks.reviews import Reviews

REVIEWS = ("The battery is good.", "Great battery. The screen is weak.")


def rollouts() -> Rollouts:
    return Rollouts(
        group=torch.tensor([0, 0]),
        mask=torch.ones(2, 2, dtype=torch.bool),
        logprobs=torch.zeros(2, 2),
        ref_logprobs=torch.tensor([[0.0, 0.4], [0.0, 0.0]]),
        tokens={"values": torch.zeros(2, 2)},
        columns={
            "response": ["The battery is great. The screen is poor.", "The sound is good."],
            "reviews": [REVIEWS, REVIEWS],
        },
    )


def weighted() -> FeatureReward:
    """Faithfulness counts 2, inventing nothing 1."""
    reward = FeatureReward(FEATURE_NAMES, hidden=0)
    with torch.no_grad():
        reward.output.weight[0, FEATURE_NAMES.index("opinion_faithfulness")] = 2.0
        reward.output.weight[0, FEATURE_NAMES.index("no_hallucination")] = 1.0
    return reward


def test_rewards_and_group_advantages_by_hand() -> None:
    batch = domain_rm.recipe(reward=weighted(), group=True, eps=0.0)(rollouts())
    assert batch.rollouts.outcome.tolist() == [3.0, 0.0]
    half = 1 / math.sqrt(2)
    torch.testing.assert_close(batch.advantages, torch.tensor([[half, half], [-half, -half]]))
    mean = domain_rm.recipe(group=True)(rollouts())
    # Covered, faithful and so on against nothing but concise, correct and short.
    assert mean.rollouts.outcome.tolist() == [pytest.approx(1.0), pytest.approx(2 / 7)]


def test_the_kl_is_in_the_reward_of_ppo() -> None:
    recipe = domain_rm.recipe(reward=weighted(), lam=1.0)
    batch = recipe(rollouts())
    # Reward at the end, 0.05 times the log-ratio at every token: the policy is less sure than the reference.
    to_go = torch.tensor([[3.0 + 0.05 * 0.4, 3.0 + 0.05 * 0.4], [0.0, 0.0]])
    expected = (to_go - to_go.mean()) / to_go.std()
    torch.testing.assert_close(batch.advantages, expected, atol=1e-3, rtol=0)
    assert recipe.objective is not None
    loss = recipe.objective(torch.zeros(2, 2), batch)
    assert float(loss.value) == pytest.approx(-float(batch.advantages.mean()), abs=1e-6)


def test_defaults() -> None:
    recipe = domain_rm.recipe()
    assert "kl_coef=0.05" in str(recipe.credit)
    assert recipe.rollout is not None
    assert (recipe.rollout.n, domain_rm.recipe(group=True).rollout.n) == (1, 8)  # type: ignore[union-attr]
    assert recipe.score[0].reward is None  # type: ignore[attr-defined]
    assert FeatureReward(FEATURE_NAMES).hidden == 16


SHARED = {"test": 200, "products": 4, "candidates": 8, "pairs": 30, "kl": 0.5, "sharpness": 12.0}


def test_a_policy_is_better_with_a_reward_than_without(tmp_path: Path) -> None:
    lab = Reviews()
    arms = domain_rm.claim().arms
    assert lab.budget > 0
    found = {
        arm: domain_rm.policy_utility(dict(settings), SHARED, 1)
        for arm, settings in arms.items()
        if arm != "text, 19 times the pairs"
    }
    assert found["supervised"] == 0.0
    assert found["features"] > 0.1
    assert found == {arm: domain_rm.policy_utility(dict(arms[arm]), SHARED, 1) for arm in found}


def test_features_are_learnt_from_few_pairs() -> None:
    arms = domain_rm.claim().arms
    features = domain_rm.sample_efficiency(dict(arms["features"]), SHARED, 0)
    mean = domain_rm.sample_efficiency(dict(arms["naive mean"]), SHARED, 0)
    assert set(features) == {"accuracy_50", "accuracy_200", "accuracy_4000"}
    assert features["accuracy_200"] > 0.85
    assert len(set(mean.values())) == 1


def test_the_metrics_are_those_of_the_claim(tmp_path: Path) -> None:
    claim = domain_rm.claim()
    found = domain_rm.run_arm(dict(claim.arms["supervised"]), SHARED, 0, tmp_path)
    assert set(found) == set(claim.metrics)
