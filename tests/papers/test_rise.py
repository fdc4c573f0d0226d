"""RISE: graded rewards, the questions about solutions, and both kinds in one batch."""

from __future__ import annotations

import pytest
import torch

from guerdon import Rollouts, ops
from guerdon.papers import rise
from guerdon.score.verify.boxed_grade import BoxedGrade, boxed_reward, verification_prompt, verification_truth


def test_grades() -> None:
    assert [boxed_reward(text, "12") for text in (r"\boxed{12.0}", r"\boxed{11}", "12")] == [1.0, -0.5, -1.0]
    truth = verification_truth(boxed_reward(r"\boxed{11}", "12"))
    assert truth == "-0.5"
    assert [boxed_reward(text, truth) for text in (r"\boxed{-0.5}", r"\boxed{1}", "bad")] == [1.0, -0.5, -1.0]
    assert boxed_reward(r"\boxed{-1}", verification_truth(boxed_reward("no box", "12"))) == 1.0
    assert boxed_reward(r"\boxed{1}", "1.0") == 1.0
    with pytest.raises(ValueError, match="reward is 0"):
        verification_truth(0.0)
    assert BoxedGrade()(r"first \boxed{12}, no: \boxed{13}", "12", {}).reward == -0.5


def test_only_the_grading_is_graded() -> None:
    """Boxes in the quoted response do not count: the verifier sees what the policy wrote, and no prompt."""
    (message,) = verification_prompt("2+2?", r"it is \boxed{5}")
    assert r"it is \boxed{5}" in message["content"]
    assert "2+2?" in message["content"]


def test_the_rows_that_are_asked() -> None:
    text = rise.ask({"prompt": "2+2?", "response": "4"}, -1.0)
    assert isinstance(text["prompt"], str)
    assert text["target"] == "-1.0"
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2+2?"}]
    asked = rise.ask({"prompt": chat, "response": "4"}, 1.0)
    assert [message["role"] for message in asked["prompt"]] == ["system", "user"]
    assert asked["prompt"][0] == chat[0]


def test_token_rewards_of_the_example() -> None:
    rollouts = Rollouts(
        group=[0],
        mask=torch.ones(1, 2, dtype=torch.bool),
        outcome=[-0.5],
        logprobs=[[-1.0, -1.0]],
        ref_logprobs=[[-2.0, -1.0]],
        tokens={"values": torch.zeros(1, 2)},
    )
    credit = rise.recipe().credit
    _, returns = credit.advantages_and_returns(rollouts)  # type: ignore[attr-defined]
    assert returns.tolist() == [pytest.approx([-0.51, -0.5])]


def test_returns_of_the_example() -> None:
    mask = torch.ones(1, 3, dtype=torch.bool)
    advantage, returns = ops.gae(torch.tensor([[0.0, 0.0, -0.5]]), torch.tensor([[0.1, 0.1, -0.2]]), mask, 1.0, 1.0)
    assert advantage.tolist() == [pytest.approx([-0.6, -0.6, -0.3])]
    assert returns.tolist() == [pytest.approx([-0.5] * 3)]


def test_both_kinds_are_whitened_together() -> None:
    rollouts = Rollouts(
        group=[0, 0, 1, 1],
        mask=torch.ones(4, 1, dtype=torch.bool),
        outcome=[1.0, -0.5, 1.0, -1.0],
        columns={"kind": ["solve", "solve", "verify", "verify"]},
    )
    advantages = rise.recipe(critic=False, kl_coef=0.0)(rollouts).advantages
    assert float(advantages.mean()) == pytest.approx(0.0, abs=1e-6)
    assert advantages[0].item() == pytest.approx(advantages[2].item())


def test_defaults() -> None:
    recipe = rise.recipe()
    assert recipe.rollout is not None
    assert (recipe.rollout.n, recipe.rollout.verifications) == (8, 128)  # type: ignore[attr-defined]
    assert "kl_coef=0.01" in str(recipe.credit)
    assert "SelfVerify" not in str(rise.recipe(verification_size=0))
