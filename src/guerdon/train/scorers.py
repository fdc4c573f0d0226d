"""The score stages that a run needs: the task's verifier, and process rewards where the recipe reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from guerdon.recipe import Recipe
from guerdon.rollouts import Rollouts
from guerdon.score.verify.stage import Verify
from guerdon.stages import Score
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


def planned_scorers(recipe: Recipe, experiment: Experiment) -> tuple[Score, ...]:
    """What `scorers` would give, without training anything."""
    verify = Verify(experiment.task.verify)
    return (verify, PlannedProcessRewards(experiment.config.label_noise)) if reads_process(recipe) else (verify,)
