"""A small process reward model, trained on a policy's own samples with step labels of stated quality."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from guerdon.score.models.cache import cached_folder
from guerdon.score.models.process import ProcessRewardModel, StepClassifier, StepInputs, step_inputs
from guerdon.tasks.task import Task
from guerdon.train.evaluation import sample_responses

FORMAT = 1


@dataclass(frozen=True)
class StepTraining:
    """How the model is trained.

    Attributes:
        responses: Sampled responses to training problems.
        held_out: Sampled responses that quality is measured on, with clean labels.
        label_noise: Share of the training labels that are wrong.
        batch: Responses a step.
        learning_rate: Largest learning rate of AdamW.
        epochs: Passes over the responses.
        max_tokens: Longest response.
        seed: Of samples, noise and order.
    """

    responses: int = 4096
    held_out: int = 512
    label_noise: float = 0.15
    batch: int = 64
    learning_rate: float = 1e-3
    epochs: int = 2
    max_tokens: int = 32
    seed: int = 0


def labelled_samples(
    task: Task, model: Any, tokenizer: Any, split: Any, count: int, noise: float, settings: StepTraining
) -> tuple[list[str], list[str], list[list[float]]]:
    """Responses sampled from a policy, with the oracle's step labels, a share of them flipped.

    Returns:
        Prompts, responses and labels (1 = the step is right) of every step.
    """
    problems = task.problems(split, count, settings.seed)
    prompts = [str(problem.prompt) for problem in problems]
    responses, _ = sample_responses(
        model, tokenizer, prompts, temperature=1.0, max_new_tokens=settings.max_tokens, seed=settings.seed
    )
    generator = random.Random(f"label-noise/{settings.seed}")
    labels = []
    for problem, response in zip(problems, responses, strict=True):
        oracle = task.step_labels(response, {**problem.columns, "prompt": problem.prompt, "target": problem.target})
        if oracle is None:
            raise ValueError(f"the task {task.name} has no oracle for steps: give a process reward model another way")
        labels.append([float(label != (generator.random() < noise)) for label in oracle])
    return prompts, responses, labels


def train_step_classifier(
    policy: Any,
    tokenizer: Any,
    prompts: Sequence[str],
    responses: Sequence[str],
    labels: Sequence[Sequence[float]],
    delimiter: str,
    settings: StepTraining,
    report: Callable[[int, int, float], None] | None = None,
) -> StepClassifier:
    """Train a classifier of steps that starts from a policy's weights.

    Args:
        policy: A causal LM of transformers; its backbone is copied.
        tokenizer: Its tokenizer.
        prompts: Texts before the responses.
        responses: Texts that are split into steps.
        labels: For each response the label of every step, 0 to 1.
        delimiter: Text that ends a step.
        settings: Batch, learning rate, epochs, seed.
        report: Called after each step with (step, steps, loss).
    """
    classifier = StepClassifier(_backbone(policy), policy.config.hidden_size)
    inputs = step_inputs(tokenizer, prompts, responses, delimiter)
    target = torch.tensor([labels[row][index] for row, index in zip(inputs.row, inputs.index, strict=True)])
    count = len(prompts) // settings.batch * settings.epochs
    optimiser = torch.optim.AdamW(classifier.parameters(), lr=settings.learning_rate, weight_decay=0.01)
    rate = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda at: min((at + 1) / 10, 1.0) * max(0.05, 1 - at / count))
    generator = torch.Generator().manual_seed(settings.seed)
    done = 0
    classifier.train()
    for _ in range(settings.epochs):
        order = torch.randperm(len(prompts), generator=generator)
        for start in range(0, len(prompts) - settings.batch + 1, settings.batch):
            rows = order[start : start + settings.batch]
            loss = _step_loss(classifier, inputs, target, rows)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(classifier.parameters(), 1.0)
            optimiser.step()
            rate.step()
            done += 1
            if report is not None:
                report(done, count, float(loss))
    return classifier.eval()


def _backbone(policy: Any) -> Any:
    """A copy of the policy's transformer without its head."""
    return copy.deepcopy(policy.model)


def _step_loss(
    classifier: StepClassifier, inputs: StepInputs, target: torch.Tensor, rows: torch.Tensor
) -> torch.Tensor:
    place = torch.full((len(inputs.ids),), -1, dtype=torch.int64)
    place[rows] = torch.arange(len(rows))
    chosen = place[inputs.row] >= 0
    logits = classifier(inputs.ids[rows], inputs.attention[rows])
    taken = logits[place[inputs.row[chosen]], inputs.position[chosen]]
    return torch.nn.functional.binary_cross_entropy_with_logits(taken, target[chosen])


def process_reward_model(
    task: Task,
    policy: Any,
    tokenizer: Any,
    policy_path: str,
    settings: StepTraining,
    report: Callable[[int, int, float], None] | None = None,
) -> ProcessRewardModel:
    """The trained model of a task and initial policy, from the cache or made now.

    Args:
        task: A task with an oracle for steps.
        policy: The initial policy, one of guerdon's small ones.
        tokenizer: Its tokenizer.
        policy_path: Where it was loaded from; part of what the cache goes by.
        settings: How to train.
        report: Called during training with (step, steps, loss).

    Raises:
        ValueError: The task has no oracle for steps.
    """
    about = {
        "format": FORMAT,
        "torch": torch.__version__,
        "task": repr(task),
        "policy": policy_path,
        **asdict(settings),
    }

    def make(folder: Path) -> None:
        prompts, responses, labels = labelled_samples(
            task, policy, tokenizer, "train", settings.responses, settings.label_noise, settings
        )
        model = train_step_classifier(
            policy, tokenizer, prompts, responses, labels, task.step_delimiter, settings, report
        )
        torch.save(model.state_dict(), folder / "classifier.pt")

    folder = cached_folder("process-reward-model", about, make)
    classifier = StepClassifier(build_like(policy), policy.config.hidden_size)
    classifier.load_state_dict(torch.load(folder / "classifier.pt", weights_only=True))
    return ProcessRewardModel(classifier, tokenizer, task.step_delimiter)


def build_like(policy: Any) -> Any:
    """An empty backbone of a policy's shape."""
    return type(policy.model)(policy.config)


def quality(
    model: ProcessRewardModel, task: Task, policy: Any, tokenizer: Any, settings: StepTraining
) -> dict[str, float]:
    """Accuracy and area under the ROC curve of step scores against the oracle, on held-out problems.

    Returns:
        `accuracy`, `auc`, `base_rate` (share of right steps) and `steps` (how many).
    """
    prompts, responses, labels = labelled_samples(task, policy, tokenizer, "test", settings.held_out, 0.0, settings)
    scores = model.probabilities(prompts, responses)
    flat = [(float(scores[row, index]), label) for row, found in enumerate(labels) for index, label in enumerate(found)]
    value = torch.tensor([score for score, _ in flat], dtype=torch.float64)
    label = torch.tensor([label for _, label in flat], dtype=torch.float64)
    return {
        "accuracy": float(((value > 0.5).double() == label).double().mean()),
        "auc": area_under_curve(value, label),
        "base_rate": float(label.mean()),
        "steps": float(len(flat)),
    }


def area_under_curve(score: torch.Tensor, label: torch.Tensor) -> float:
    """Probability that a right step scores above a wrong one, ties counting half.

    Args:
        score: (N,) float.
        label: (N,) of 0 and 1.

    Returns:
        NaN if one class is empty.
    """
    from guerdon import ops

    right, wrong = float(label.sum()), float((1 - label).sum())
    if not right or not wrong:
        return float("nan")
    rank = ops.rank(score, torch.zeros(len(score), dtype=torch.int64), ties="average") + 1.0
    return (float(rank[label > 0].sum()) - right * (right + 1) / 2) / (right * wrong)
