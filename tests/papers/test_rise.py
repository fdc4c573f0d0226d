"""RISE: graded rewards, the questions about solutions, both kinds in one batch, and how gradings are measured."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Batch, Rollouts, ops
from guerdon.credit import GAE, ReinforcePlusPlus
from guerdon.objective import ClippedSurrogate
from guerdon.papers import rise
from guerdon.policies import warm_start
from guerdon.score.verdict import Verdict
from guerdon.score.verify.boxed_grade import BoxedGrade, boxed_reward, verification_prompt, verification_truth
from guerdon.score.verify.stage import Verify
from guerdon.search import Independent, SelfVerify
from guerdon.tasks.grading import Grading
from tests.train.tiny import recipe_trainer

SOLVE = [r"\boxed{12.0}", r"so \boxed{11}", "12", r"\boxed{12}"]
NAN = float("nan")


def solutions(responses: list[str], **fields: Any) -> Rollouts:
    """Responses to one question whose answer is 12."""
    count = len(responses)
    return Rollouts(
        group=[0] * count,
        mask=torch.ones(count, 1, dtype=torch.bool),
        columns={"prompt": ["What is 3 * 4?"] * count, "response": responses, "target": ["12"] * count},
        **fields,
    )


def test_the_defaults() -> None:
    recipe = rise.recipe()
    assert recipe.rollout == SelfVerify(rise.ask, 8, 128, 0)
    assert recipe.credit == GAE(1.0, 1.0, kl_coef=0.01)
    assert recipe.objective == ClippedSurrogate(0.2, 0.2, aggregation="dapo")
    assert not recipe.shape
    assert not recipe.select
    without = rise.recipe(critic=False, kl_coef=0.0, n=4)
    assert without.credit == ReinforcePlusPlus(1.0, 0.0)


def test_without_verification_it_is_ppo() -> None:
    plain = rise.recipe(verification_size=0)
    assert plain.rollout == Independent(8)
    assert (plain.credit, plain.objective) == (rise.recipe().credit, rise.recipe().objective)


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
    rollouts = solutions([r"\boxed{11}"] * 2)
    asked = rise.ask({name: values[0] for name, values in rollouts.columns.items()}, -0.5)
    gradings = Rollouts(
        group=[1, 1],
        mask=torch.ones(2, 1, dtype=torch.bool),
        columns={
            "prompt": [asked["prompt"]] * 2,
            "response": [r"\boxed{-0.5}", "it seems right"],
            "target": [asked["target"]] * 2,
        },
    )
    batch = rise.recipe((Verify(BoxedGrade()),), critic=False, kl_coef=0.0)(gradings)
    assert batch.scored is not None
    assert batch.scored.outcome.tolist() == [1.0, -1.0]


def test_the_rows_that_are_asked() -> None:
    text = rise.ask({"prompt": "2+2?", "response": "4"}, -1.0)
    assert isinstance(text["prompt"], str)
    assert text["target"] == "-1.0"
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2+2?"}]
    asked = rise.ask({"prompt": chat, "response": "4"}, 1.0)
    assert [message["role"] for message in asked["prompt"]] == ["system", "user"]
    assert asked["prompt"][0] == chat[0]


def test_from_solutions_to_gradings() -> None:
    """The first pass is scored, some of it is asked about, and the truth is what it has earned."""
    recipe = rise.recipe((Verify(BoxedGrade()),), verification_size=2, n=4, critic=False, kl_coef=0.0)
    scored = recipe.run_score(solutions(SOLVE), {})
    assert scored.outcome.tolist() == [1.0, -0.5, -1.0, 1.0]
    assert isinstance(recipe.rollout, SelfVerify)
    rows = recipe.rollout.follow_up(scored)
    assert len(rows) == 2
    texts = dict(zip(SOLVE, ["1.0", "-0.5", "-1.0", "1.0"], strict=True))
    for row in rows:
        (quoted,) = [text for text in SOLVE if f"<response>\n{text}\n</response>" in row["prompt"]]
        assert row["target"] == texts[quoted]
        assert row["kind"] == "verify"
    assert len({row["prompt_id"] for row in rows} | {0}) == 3


def test_a_solution_that_was_not_judged_is_not_graded() -> None:
    scored = solutions(SOLVE, outcome=[NAN, 1.0, NAN, -0.5])
    rollout = rise.recipe(verification_size=4, n=4).rollout
    assert isinstance(rollout, SelfVerify)
    assert sorted(row["target"] for row in rollout.follow_up(scored)) == ["-0.5", "1.0"]


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
    assert isinstance(credit, GAE)
    _, returns = credit.advantages_and_returns(rollouts)
    assert returns.tolist() == [pytest.approx([-0.51, -0.5])]


def test_returns_of_the_example() -> None:
    mask = torch.ones(1, 3, dtype=torch.bool)
    advantage, returns = ops.gae(torch.tensor([[0.0, 0.0, -0.5]]), torch.tensor([[0.1, 0.1, -0.2]]), mask, 1.0, 1.0)
    assert advantage.tolist() == [pytest.approx([-0.6, -0.6, -0.3])]
    assert returns.tolist() == [pytest.approx([-0.5] * 3)]


def test_the_loss_by_hand() -> None:
    """A solution of two tokens and a grading of one, with a critic; whitened together."""
    rollouts = Rollouts(
        group=[0, 1],
        mask=[[True, True], [True, False]],
        outcome=[1.0, -0.5],
        logprobs=[[-1.0, -1.0], [-1.0, 0.0]],
        ref_logprobs=[[-2.0, -1.0], [-1.0, 0.0]],
        tokens={"values": torch.tensor([[0.25, 0.5], [0.1, 0.0]])},
        columns={"kind": ["solve", "verify"]},
    )
    recipe = rise.recipe()
    batch = recipe(rollouts)
    # To go: 1 - 0.01 (-1 + 2) = 0.99, then 1; the grading -0.5. Less the values.
    raw = [0.99 - 0.25, 1.0 - 0.5, -0.5 - 0.1]
    mean = sum(raw) / 3
    spread = math.sqrt(sum((value - mean) ** 2 for value in raw) / 2)
    advantage = [(value - mean) / spread for value in raw]
    assert batch.advantages[batch.rollouts.mask].tolist() == pytest.approx(advantage, abs=1e-4)
    ratios = [math.exp(0.5), math.exp(-0.1), math.exp(-0.6)]
    gains = [
        min(ratio * value, min(max(ratio, 0.8), 1.2) * value) for ratio, value in zip(ratios, advantage, strict=True)
    ]
    assert recipe.objective is not None
    loss = recipe.objective(torch.tensor([[-0.5, -1.1], [-1.6, 0.0]]), batch).value
    assert float(loss) == pytest.approx(-sum(gains) / 3, abs=1e-4)


@given(outcome=st.lists(st.sampled_from([1.0, -0.5, -1.0]), min_size=2, max_size=10))
def test_both_kinds_are_whitened_together(outcome: list[float]) -> None:
    """Mean 0 and variance 1 over both; and an outcome is worth the same, whatever kind of response earned it."""
    rows = [*outcome, *outcome]
    kinds = ["solve"] * len(outcome) + ["verify"] * len(outcome)
    rollouts = Rollouts(
        group=[int(kind == "verify") for kind in kinds],
        mask=torch.ones(len(rows), 1, dtype=torch.bool),
        outcome=rows,
        columns={"kind": kinds},
    )
    advantages = rise.recipe(critic=False, kl_coef=0.0)(rollouts).advantages[:, 0]
    assert float(advantages.mean()) == pytest.approx(0.0, abs=1e-5)
    if len(set(outcome)) > 1:
        assert float(advantages.var(correction=1)) == pytest.approx(1.0, abs=1e-3)
    assert torch.equal(advantages[: len(outcome)], advantages[len(outcome) :])


# --- the claim ------------------------------------------------------------------------------------------------------


def test_grading_without_looking_gives_one_half() -> None:
    truth = [1.0] * 4 + [-0.5] * 8 + [-1.0] * 4
    for grade in (1.0, -0.5, -1.0):
        assert rise.grading_accuracy(truth, [grade] * 16)["verifying"] == 0.5
    by_turns = [(1.0, -0.5, -1.0, 1.0)[place % 4] for place in range(16)]
    assert rise.grading_accuracy(truth, by_turns)["verifying"] == 0.5
    # No grade at all is right for nothing.
    assert rise.grading_accuracy(truth, [None] * 16) == {"verifying": 0.0, "naming": 0.0}


def test_the_very_grade_counts_for_naming_alone() -> None:
    assert rise.grading_accuracy([1.0, -0.5], [1.0, -0.5]) == {"verifying": 1.0, "naming": 1.0}
    assert rise.grading_accuracy([1.0, -0.5], [1.0, -1.0]) == {"verifying": 1.0, "naming": 0.5}
    # Rare kinds count as much as frequent ones, and a kind that does not occur is left out.
    assert rise.grading_accuracy([1.0] * 9 + [-0.5], [1.0] * 10)["verifying"] == 0.5
    assert rise.grading_accuracy([-0.5, -1.0], [-0.5, 1.0]) == {"verifying": 0.5, "naming": 0.5}


def test_the_grade_that_a_grading_names() -> None:
    task = Grading()
    texts = ["=1.0", "=1", "=-0.5", "=-1.0", "=0.5", "-0.5", "", "=1\n=1"]
    assert [rise.named_grade(task, text) for text in texts] == [1.0, 1.0, -0.5, -1.0, None, None, None, None]


def test_an_arm_repeats_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One update of a policy that was hardly warm-started."""
    whole = warm_start.WarmStart

    def short(**settings: Any) -> warm_start.WarmStart:
        return whole(**{**settings, "max_steps": 2, "mixed_steps": 2, "demonstrations": 64})

    monkeypatch.setattr(warm_start, "WarmStart", short)
    monkeypatch.setenv("GUERDON_CACHE", str(tmp_path / "cache"))
    shared = {**rise.claim().shared, "steps": 1, "prompts": 4, "evaluate": 8}
    first = rise.run_arm({"size": 4}, shared, 1, tmp_path / "first")
    assert first == rise.run_arm({"size": 4}, shared, 1, tmp_path / "second")
    assert set(first) == set(rise.claim().metrics)
    assert all(0.0 <= value <= 1.0 for value in first.values())


def test_the_trainer_takes_it(tmp_path: Path) -> None:
    """Both kinds are scored by one verifier, and what a grading has to say is what its solution has earned."""
    seen: list[Batch] = []

    def grade(response: str, target: str, row: Mapping[str, Any]) -> Verdict:
        return Verdict(1.0 if response[:1] == target[:1] else -0.5 if response else -1.0)

    def asking(columns: Mapping[str, Any], outcome: float) -> dict[str, Any]:
        return {"prompt": f"{columns['prompt']}{columns['response']}=", "target": f"{outcome:.1f}"}

    recipe = rise.recipe((Verify(grade),), verification_size=2, asking=asking, n=4, critic=False, kl_coef=0.0)
    recipe_trainer(tmp_path, recipe, max_steps=2, on_batch=lambda _, batch: seen.append(batch)).train()
    assert len(seen) == 2
    for batch in seen:
        rollouts = batch.rollouts
        kinds = rollouts.column("kind")
        assert kinds.count("verify") == 8
        groups = {
            kind: {int(key) for key, own in zip(rollouts.group, kinds, strict=True) if own == kind} for kind in kinds
        }
        assert not groups["solve"] & groups["verify"]
        earned = {
            f"{prompt}{response}=": f"{value:.1f}"
            for prompt, response, value, kind in zip(
                rollouts.column("prompt"), rollouts.column("response"), rollouts.outcome.tolist(), kinds, strict=True
            )
            if kind == "solve"
        }
        for prompt, target, kind in zip(rollouts.column("prompt"), rollouts.column("target"), kinds, strict=True):
            assert kind == "solve" or target == earned[prompt]
        inside = batch.advantages[rollouts.mask]
        assert float(inside.mean()) == pytest.approx(0.0, abs=1e-4)
