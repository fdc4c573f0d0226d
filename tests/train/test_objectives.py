"""Every objective in the trainer: the pieces of a batch add up to the whole, and references are there when needed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainerCallback

from guerdon import Recipe, Rollouts, objective
from guerdon.credit import GroupNormalized
from tests.train.test_trainer import _fixed_rollouts
from tests.train.tiny import recipe_trainer


@dataclass(frozen=True)
class Parity:
    """1 for responses of an odd number of characters."""

    def __call__(self, rollouts: Rollouts) -> Rollouts:
        return rollouts.replace(outcome=[float(len(text) % 2) for text in rollouts.column("response")])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("objectives")


def gradient(folder: Path, chosen: Any, pieces: int) -> torch.Tensor:
    found: list[torch.Tensor] = []

    class Grab(TrainerCallback):  # type: ignore[misc]
        def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            found.append(torch.cat([p.grad.flatten().clone() for p in kwargs["model"].parameters()]))

    trainer = recipe_trainer(
        folder,
        Recipe(score=Parity(), credit=GroupNormalized(), objective=chosen),
        rollout_func=_fixed_rollouts,
        per_device_train_batch_size=16 // pieces,
        gradient_accumulation_steps=pieces,
        max_steps=1,
        max_grad_norm=0.0,
        learning_rate=0.0,
    )
    trainer.add_callback(Grab())
    trainer.train()
    return found[0]


@pytest.mark.parametrize(
    "chosen",
    [
        objective.ClippedSurrogate(aggregation="grpo"),
        objective.ClippedSurrogate(aggregation="dapo", kl_coef=0.1),
        objective.ImplicitActorCritic(),
        objective.OutcomeReweighted(),
        objective.DirectAdvantage(),
        objective.WeightedLikelihood(),
        objective.Preference(),
        objective.Preference(kind="kto"),
        objective.ImplicitCrossEntropy(),
        objective.Reinforce(),
    ],
    ids=repr,
)
def test_pieces_add_up_to_the_whole(chosen: Any, folder: Path) -> None:
    whole = gradient(folder, chosen, 1)
    assert float(whole.abs().max()) > 1e-6
    for pieces in (2, 4):
        torch.testing.assert_close(gradient(folder, chosen, pieces), whole, atol=2e-6, rtol=2e-3)


def test_a_group_cut_between_processes_is_refused(folder: Path) -> None:
    trainer = recipe_trainer(folder, Recipe(score=Parity(), credit=GroupNormalized(), objective=objective.Preference()))
    trainer._training_batch = object()  # type: ignore[assignment]
    with pytest.raises(ValueError, match="Preference needs whole groups, but a process has 6 responses and a group 4"):
        trainer._by_group([0], torch.zeros(6, dtype=torch.int64))
