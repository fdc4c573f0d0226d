"""A small process reward model, trained on a policy's own samples with step labels of stated quality."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch

from guerdon.score.models.cache import cached_folder
from guerdon.score.models.process import ProcessRewardModel, StepClassifier, StepInputs, step_inputs
from guerdon.tasks.task import Problem, Task
from guerdon.train.evaluation import sample_responses

FORMAT = 2


@runtime_checkable
class Practising(Protocol):
    """A task that writes responses with many wrong steps."""

    def practice(self, n: int, seed: int) -> list[tuple[Problem, str]]:
        """Problems with responses to them."""
        ...


@dataclass(frozen=True)
class StepTraining:
    """How the model is trained.

    Attributes:
        practice: Responses with an invalid line in two, for tasks that can write them (`Task.practice`). A policy's own
            samples hold too few wrong steps to learn the check from.
        responses: Sampled responses to training problems.
        held_out: Sampled responses that quality is measured on, with clean labels.
        label_noise: Share of the training labels that are wrong.
        batch: Responses a step.
        learning_rate: Largest learning rate of AdamW.
        epochs: Passes over the responses.
        max_tokens: Longest response.
        seed: Of samples, noise and order.
    """

    practice: int = 4096
    responses: int = 2048
    held_out: int = 512
    label_noise: float = 0.15
    batch: int = 64
    learning_rate: float = 5e-4
    epochs: int = 1
    max_tokens: int = 32
    seed: int = 0


def labelled_samples(
    task: Task, model: Any, tokenizer: Any, split: Any, count: int, noise: float, settings: StepTraining
) -> tuple[list[str], list[str], list[list[float]]]:
    """Responses sampled from a policy, with the oracle's step labels, a share of them flipped.

    Returns:
        Prompts, responses and labels (1 = the step is right) of every step.

    Raises:
        ValueError: The task has no oracle for steps.
    """
    problems = task.problems(split, count, settings.seed)
    prompts = [str(problem.prompt) for problem in problems]
    responses, _ = sample_responses(
        model, tokenizer, prompts, temperature=1.0, max_new_tokens=settings.max_tokens, seed=settings.seed
    )
    return prompts, responses, _labels(task, problems, responses, noise, f"label-noise/{settings.seed}")


def practice_samples(task: Task, settings: StepTraining) -> tuple[list[str], list[str], list[list[float]]]:
    """The task's own responses with many wrong lines, labelled as `labelled_samples` does; none if it writes none."""
    if not isinstance(task, Practising):
        return [], [], []
    written = task.practice(settings.practice, settings.seed)
    problems, responses = [problem for problem, _ in written], [response for _, response in written]
    labels = _labels(task, problems, responses, settings.label_noise, f"practice-noise/{settings.seed}")
    return [str(problem.prompt) for problem in problems], responses, labels


def _labels(
    task: Task, problems: Sequence[Problem], responses: Sequence[str], noise: float, seed: str
) -> list[list[float]]:
    generator = random.Random(seed)
    labels = []
    for problem, response in zip(problems, responses, strict=True):
        oracle = task.step_labels(response, {**problem.columns, "prompt": problem.prompt, "target": problem.target})
        if oracle is None:
            raise ValueError(f"the task {task.name} has no oracle for steps: give a process reward model another way")
        labels.append([float(label != (generator.random() < noise)) for label in oracle])
    return labels


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
    classifier = _copy(policy)
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
                report(done, count, float(loss.detach()))
    return classifier.eval()


def _copy(policy: Any) -> StepClassifier:
    """A step classifier with copies of the policy's transformer and head."""
    parts = (copy.deepcopy(policy.model), copy.deepcopy(policy.get_output_embeddings()))
    return StepClassifier(*parts, policy.config.hidden_size)


def _step_loss(
    classifier: StepClassifier, inputs: StepInputs, target: torch.Tensor, rows: torch.Tensor
) -> torch.Tensor:
    logits = classifier(inputs.take(rows))
    return torch.nn.functional.binary_cross_entropy_with_logits(logits, target[inputs.steps_of(rows)])


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
        sampled = labelled_samples(task, policy, tokenizer, "train", settings.responses, settings.label_noise, settings)
        extra = practice_samples(task, settings)
        prompts, responses, labels = sampled[0] + extra[0], sampled[1] + extra[1], sampled[2] + extra[2]
        model = train_step_classifier(
            policy, tokenizer, prompts, responses, labels, task.step_delimiter, settings, report
        )
        torch.save(model.state_dict(), folder / "classifier.pt")

    folder = cached_folder("process-reward-model", about, make)
    classifier = _copy(policy)
    classifier.load_state_dict(torch.load(folder / "classifier.pt", weights_only=True))
    return ProcessRewardModel(classifier, tokenizer, task.step_delimiter)


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
