"""The trainer equals TRL's, drops rows exactly, learns, and runs on LoRA."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from guerdon import Batch, Recipe, Rollouts, Selection
from guerdon.credit import GroupNormalized, LeaveOneOut
from guerdon.objective import ClippedSurrogate
from guerdon.search import Oversample
from tests.train.tiny import CountOnes, losses, recipe_trainer, reward, trl_trainer, weights

SETTINGS: dict[str, dict[str, Any]] = {
    "one piece": {},
    "accumulated": {"gradient_accumulation_steps": 2},
    "off policy": {"gradient_accumulation_steps": 2, "steps_per_generation": 4, "epsilon_high": 0.3},
    "reused": {"gradient_accumulation_steps": 2, "num_iterations": 2},
    "kl": {"beta": 0.05},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trainer")


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("aggregation", ["grpo", "bnpo", "dr_grpo", "dapo"])
def test_plain_recipe_equals_trl(aggregation: str, setting: str, folder: Path) -> None:
    options = SETTINGS[setting]
    theirs = trl_trainer(folder, loss_type=aggregation, **options)
    theirs.train()
    plain = recipe_trainer(folder, loss_type=aggregation, **options)
    plain.train()
    objective = ClippedSurrogate(
        aggregation=aggregation,
        clip_high=options.get("epsilon_high", 0.2),
        kl_coef=options.get("beta", 0.0),
        kl_weighted=True,
    )
    own = recipe_trainer(folder, Recipe(score=CountOnes(), credit=GroupNormalized(), objective=objective), **options)
    own.train()
    for ours in (plain, own):
        assert losses(ours) == pytest.approx(losses(theirs), abs=2e-6)
        torch.testing.assert_close(weights(ours), weights(theirs), atol=2e-5, rtol=0)
    rewards = [[row["reward"] for row in t.state.log_history if "reward" in row] for t in (plain, theirs)]
    assert rewards[0] == pytest.approx(rewards[1])


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
@pytest.mark.parametrize("ratio", ["token", "sequence"])
def test_scales_and_ratios_equal_trl(scale: str, ratio: str, folder: Path) -> None:
    options = {"steps_per_generation": 2, "gradient_accumulation_steps": 1, "importance_sampling_level": ratio}
    theirs = trl_trainer(folder, scale_rewards=scale, loss_type="grpo", **options)
    theirs.train()
    recipe = Recipe(
        score=CountOnes(),
        credit=GroupNormalized(scale=scale),
        objective=ClippedSurrogate(ratio=ratio, aggregation="grpo"),
    )
    ours = recipe_trainer(folder, recipe, **options)
    ours.train()
    assert losses(ours) == pytest.approx(losses(theirs), abs=2e-6)
    torch.testing.assert_close(weights(ours), weights(theirs), atol=2e-5, rtol=0)


def test_dual_clip_equals_trl_delta(folder: Path) -> None:
    options = {"steps_per_generation": 4, "gradient_accumulation_steps": 1, "learning_rate": 5e-2}
    theirs = trl_trainer(folder, delta=1.3, loss_type="grpo", **options)
    theirs.train()
    recipe = Recipe(score=CountOnes(), credit=GroupNormalized(), objective=ClippedSurrogate(dual_clip=1.3))
    ours = recipe_trainer(folder, recipe, **options)
    ours.train()
    assert losses(ours) == pytest.approx(losses(theirs), abs=2e-6)
    torch.testing.assert_close(weights(ours), weights(theirs), atol=5e-5, rtol=0)


class KeepRows:
    """Keeps the rows whose place in the batch a pattern marks."""

    def __init__(self, pattern: list[bool]) -> None:
        self.pattern = pattern

    def __call__(self, rollouts: Rollouts) -> Selection:
        repeated = (self.pattern * len(rollouts))[: len(rollouts)]
        return Selection.keep(torch.tensor(repeated), "dropped by place")


def _fixed_rollouts(prompts: list[str], trainer: Any) -> dict[str, Any]:
    """Responses that depend on the prompt and its place alone, so that runs can be compared."""
    tokenizer = trainer.processing_class
    texts = [f"{(len(p) * 7 + i * 3) % 10}{i % 10}1"[: 1 + i % 3] for i, p in enumerate(prompts)]
    ids = [[*tokenizer(text)["input_ids"], tokenizer.eos_token_id] for text in texts]
    prompt_ids = [tokenizer(prompt)["input_ids"] for prompt in prompts]
    return {"prompt_ids": prompt_ids, "completion_ids": ids, "logprobs": [[0.0] * len(row) for row in ids]}


def _gradient_by_hand(trainer: Any, rollouts: Rollouts, advantages: torch.Tensor, ids: list[list[int]]) -> torch.Tensor:
    """The gradient of the token mean of -A log p on the given rows, computed row by row."""
    model = trainer.model
    model.zero_grad()
    tokenizer = trainer.processing_class
    total = torch.zeros(())
    count = 0
    for row, response in enumerate(ids):
        prompt = tokenizer(rollouts.columns["prompt"][row])["input_ids"]
        logits = model(input_ids=torch.tensor([prompt + response])).logits[0, len(prompt) - 1 : -1]
        taken = torch.log_softmax(logits, -1).gather(1, torch.tensor(response)[:, None]).squeeze(1)
        total = total - (advantages[row, : len(response)] * taken).sum()
        count += len(response)
    (total / count).backward()
    return torch.cat([parameter.grad.flatten().clone() for parameter in model.parameters()])


@pytest.mark.parametrize("pattern", [[True, False, True, False], [True, True, False, False, False, True, True, True]])
@pytest.mark.parametrize("pieces", [1, 2, 4])
@pytest.mark.parametrize("with_objective", [True, False])
def test_gradients_are_those_of_the_kept_rows(
    pattern: list[bool], pieces: int, with_objective: bool, folder: Path
) -> None:
    batches: list[Batch] = []
    gradients: list[torch.Tensor] = []
    recipe = Recipe(
        score=CountOnes(),
        select=(KeepRows(pattern),),
        credit=GroupNormalized(),
        objective=ClippedSurrogate(aggregation="dapo") if with_objective else None,
    )
    trainer = recipe_trainer(
        folder,
        recipe,
        loss_type="dapo",
        rollout_func=_fixed_rollouts,
        per_device_train_batch_size=16 // pieces,
        gradient_accumulation_steps=pieces,
        max_steps=1,
        max_grad_norm=0.0,
        learning_rate=0.0,
        on_batch=lambda _, batch: batches.append(batch),
    )
    from transformers import TrainerCallback

    class Grab(TrainerCallback):  # type: ignore[misc]
        def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            gradients.append(torch.cat([p.grad.flatten().clone() for p in kwargs["model"].parameters()]))

    trainer.add_callback(Grab())
    trainer.train()
    kept = batches[0]
    assert len(kept) == sum((pattern * 16)[:16])
    ids = [row[: int(length)].tolist() for row, length in zip(kept.rollouts.tokens["ids"], kept.rollouts.lengths)]
    expected = _gradient_by_hand(trainer, kept.rollouts, kept.advantages, ids)
    torch.testing.assert_close(gradients[0], expected, atol=1e-6, rtol=1e-4)


def test_statistics_are_taken_over_the_kept_rows(folder: Path) -> None:
    batches: list[Batch] = []
    recipe = Recipe(score=CountOnes(), select=(KeepRows([True, True, False, False]),), credit=LeaveOneOut())
    recipe_trainer(folder, recipe, max_steps=1, on_batch=lambda _, batch: batches.append(batch)).train()
    batch = batches[0]
    rewards = reward(batch.rollouts.columns["response"])
    for row in range(0, len(batch), 2):
        assert float(batch.advantages[row, 0]) == pytest.approx(rewards[row] - rewards[row + 1], abs=1e-6)


class NothingKept:
    def __call__(self, rollouts: Rollouts) -> Selection:
        return Selection.keep(torch.zeros(len(rollouts), dtype=torch.bool), "all dropped")


@pytest.mark.parametrize("objective", [None, ClippedSurrogate(aggregation="grpo")])
def test_a_batch_of_which_nothing_is_kept_changes_nothing(objective: Any, folder: Path) -> None:
    recipe = Recipe(score=CountOnes(), select=(NothingKept(),), credit=GroupNormalized(), objective=objective)
    trainer = recipe_trainer(folder, recipe, gradient_accumulation_steps=2, weight_decay=0.0)
    before = weights(trainer).clone()
    trainer.train()
    assert torch.equal(weights(trainer), before)


class RunningMean:
    """A scorer that learns: the reward is what it would be, minus a running mean."""

    update_order = "score_first"

    def __init__(self) -> None:
        self.mean, self.updates = 0.0, 0

    def __call__(self, rollouts: Rollouts) -> Rollouts:
        raw = torch.tensor(reward(rollouts.column("response")))
        return rollouts.replace(outcome=raw - self.mean).with_columns(raw=raw.tolist())

    def update(self, rollouts: Rollouts) -> dict[str, float]:
        self.updates += 1
        self.mean += (sum(rollouts.column("raw")) / len(rollouts) - self.mean) / self.updates
        return {"mean": self.mean}

    def state_dict(self) -> dict[str, Any]:
        return {"mean": self.mean, "updates": self.updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.mean, self.updates = state["mean"], state["updates"]


def test_a_learning_stage_is_updated_once_a_step_and_is_in_the_checkpoint(tmp_path: Path) -> None:
    scorer = RunningMean()
    trainer = recipe_trainer(
        tmp_path, Recipe(score=scorer, credit=GroupNormalized()), save_strategy="steps", save_steps=2, max_steps=4
    )
    trainer.train()
    assert scorer.updates == 4
    assert trainer.state.log_history[0]["update/RunningMean/mean"] is not None
    again = RunningMean()
    resumed = recipe_trainer(tmp_path, Recipe(score=again, credit=GroupNormalized()), save_strategy="no", max_steps=4)
    resumed.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-2"))
    assert again.state_dict() == scorer.state_dict()
    assert torch.equal(weights(resumed), weights(trainer))


@pytest.mark.parametrize("options", [{}, {"steps_per_generation": 4}, {"num_iterations": 3}], ids=str)
def test_resuming_gives_the_same_weights_bit_for_bit(options: dict[str, Any], tmp_path: Path) -> None:
    recipe = Recipe(
        score=CountOnes(),
        select=(KeepRows([True, True, True, False]),),
        credit=GroupNormalized(),
        objective=ClippedSurrogate(kl_coef=0.01),
    )
    whole = recipe_trainer(tmp_path, recipe, max_steps=6, save_strategy="steps", save_steps=1, **options)
    whole.train()
    for step in (1, 3):
        resumed = recipe_trainer(tmp_path, recipe, max_steps=6, save_strategy="no", **options)
        resumed.train(resume_from_checkpoint=str(tmp_path / "out" / f"checkpoint-{step}"))
        assert torch.equal(weights(resumed), weights(whole))
        assert losses(resumed) == losses(whole)


def test_lora_trains_the_adapter_alone(tmp_path: Path) -> None:
    from peft import LoraConfig

    trainer = recipe_trainer(tmp_path, peft_config=LoraConfig(r=4, target_modules=["q_proj", "v_proj"]))
    before = {name: value.clone() for name, value in trainer.model.named_parameters()}
    trainer.train()
    changed = {name for name, value in trainer.model.named_parameters() if not torch.equal(value, before[name])}
    assert changed
    assert all("lora_" in name for name in changed)


def test_contradictions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="num_generations is 4 but Oversample samples 8"):
        recipe_trainer(tmp_path, Recipe(credit=GroupNormalized(), rollout=Oversample(8, 4)))
    with pytest.raises(ValueError, match=r"beta is 0\.1 but the objective"):
        recipe_trainer(tmp_path, Recipe(credit=GroupNormalized(), objective=ClippedSurrogate()), beta=0.1)
    with pytest.raises(ValueError, match="entropy_coef is TRL's own loss"):
        recipe_trainer(tmp_path, Recipe(credit=GroupNormalized(), objective=ClippedSurrogate()), entropy_coef=0.1)
