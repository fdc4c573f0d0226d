"""The small model and its process reward model, made with few steps."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from guerdon.policies import TinySettings, WarmStart, load_policy
from guerdon.tasks import get_task

FEW = WarmStart(max_steps=3, mixed_steps=2, batch_size=8, demonstrations=32)
SMALL = TinySettings(layers=1, width=32, heads=2, feed_forward=64)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GUERDON_CACHE", str(tmp_path))
    return tmp_path


def test_tiny_is_made_once_and_the_same_for_a_seed(cache: Path) -> None:
    task = get_task("chain")
    made = [
        load_policy("tiny", task=task, seed=seed, architecture=SMALL, warm_start=FEW, progress=False)
        for seed in (0, 0, 1)
    ]
    assert made[0].path == made[1].path != made[2].path
    assert len([path for path in cache.iterdir() if path.is_dir()]) == 2
    text = task.problems("train", 1, 0)[0].prompt
    assert made[0].tokenizer.decode(made[0].tokenizer(text)["input_ids"]) == text
    assert made[0].tokenizer.padding_side == "left"


def test_tasks_without_demonstrations_are_refused(cache: Path) -> None:
    with pytest.raises(ValueError, match="learns from a task's demonstrations"):
        load_policy("tiny", task=get_task("reasoning-gym:chain_sum"))


def test_a_process_reward_model_learns_right_from_wrong(cache: Path) -> None:
    from guerdon.score.models.process import ProcessRewardModel
    from guerdon.train.process_model import StepTraining, area_under_curve, train_step_classifier

    task = get_task("chain", length=2, answer_classes=None)
    policy = load_policy("tiny", task=task, architecture=SMALL, warm_start=FEW, progress=False)
    # The first line repeats the first operand: easy to learn, and wrong in half of the responses.
    found = task.demonstrations(1200, 3, corruption=0.0, wrong=0.0)
    prompts = [str(d.problem.prompt) for d in found]
    responses = [str((int(p[0]) + (i % 2) * 3) % 10) + "\n" for i, p in enumerate(prompts)]
    labels = [task.step_labels(r, d.problem.columns) for r, d in zip(responses, found, strict=True)]
    settings = StepTraining(batch=32, epochs=20, learning_rate=3e-3)
    values = [[float(label) for label in row or []] for row in labels]
    classifier = train_step_classifier(
        policy.model, policy.tokenizer, prompts[:1000], responses[:1000], values[:1000], "\n", settings
    )
    scores = ProcessRewardModel(classifier, policy.tokenizer, "\n").probabilities(prompts[1000:], responses[1000:])
    assert scores.shape == (200, 1)
    truth = torch.tensor(values[1000:])[:, 0].double()
    assert area_under_curve(scores[:, 0].double(), truth) > 0.9
