"""The score stages that a run needs: the task's verifier, and process rewards where the recipe reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from guerdon.recipe import Recipe
from guerdon.rollouts import Rollouts
from guerdon.score.models.confidence import StepConfidence
from guerdon.score.verify.stage import Verify
from guerdon.stages import Score
from guerdon.tasks.task import Task
from guerdon.train.launch import Experiment


def reads_process(recipe: Recipe) -> bool:
    """Whether some stage other than a scorer reads process rewards."""
    stages = [stage for shelf, stage in recipe.stages() if shelf != "score"]
    terms = [getattr(stage, "terms", None) for stage in stages]
    # A blend reads only the terms that it names.
    return any(
        "process" in (term if term is not None else _reads(stage)) for stage, term in zip(stages, terms, strict=True)
    )


def _reads(stage: Any) -> tuple[str, ...]:
    if getattr(stage, "target", "process") != "process" or getattr(stage, "use_process", True) is False:
        return ()
    return tuple(getattr(stage, "reads", ()))


@dataclass(frozen=True)
class PlannedProcessRewards:
    """Stands for the process reward model of a run that is only planned."""

    label_noise: float
    reads: ClassVar[tuple[str, ...]] = ("prompt", "response", "step")
    writes: ClassVar[tuple[str, ...]] = ("process",)

    def __call__(self, rollouts: Rollouts) -> Rollouts:
        """Refuse: a plan scores nothing."""
        raise ValueError("a planned process reward model scores nothing: expected a run without --dry-run")


def scorers(recipe: Recipe, experiment: Experiment, *, console: Any = None) -> tuple[Score, ...]:
    """The score stages of a run: the verifier and, where the recipe reads process rewards, a learned model.

    Args:
        recipe: The method.
        experiment: Task, policy and settings.
        console: A rich console that is told how good the process reward model is; None = silence.

    Where the task has no oracle to learn from, the policy's confidence in each step stands in.
    """
    from guerdon.train.process_model import StepTraining, process_reward_model, quality

    verify = Verify(experiment.task.verify)
    if not reads_process(recipe):
        return (verify,)
    config, task = experiment.config, experiment.task
    if not has_oracle(task):
        if console is not None:
            console.print(f"the task {task.name} has no step labels: process rewards are the policy's own confidence")
        return (verify, StepConfidence())
    settings = StepTraining(label_noise=config.label_noise, max_tokens=config.max_tokens, seed=config.seed)
    parts = (experiment.model, experiment.tokenizer)
    model = process_reward_model(task, *parts, experiment.model_path, settings)
    if console is not None:
        figures = quality(model, task, *parts, settings)
        console.print(
            f"process reward model: step accuracy {figures['accuracy']:.3f}, AUC {figures['auc']:.3f} on held-out "
            f"responses ({figures['base_rate']:.0%} of their steps are right; {config.label_noise:.0%} of its training "
            "labels were wrong)",
            highlight=False,
        )
    return (verify, model)


def planned_scorers(recipe: Recipe, experiment: Experiment) -> tuple[Score, ...]:
    """What `scorers` would give, without training anything."""
    verify = Verify(experiment.task.verify)
    if not reads_process(recipe):
        return (verify,)
    if not has_oracle(experiment.task):
        return (verify, StepConfidence())
    return (verify, PlannedProcessRewards(experiment.config.label_noise))


def has_oracle(task: Task) -> bool:
    """Whether a task judges steps."""
    problem = task.problems("train", 1, 0)[0]
    row = {**problem.columns, "prompt": problem.prompt, "target": problem.target}
    return task.step_labels("", row) is not None
