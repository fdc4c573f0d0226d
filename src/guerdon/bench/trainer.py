"""A step of the trainer against TRL's, and the update when half of the rows are kept."""

from __future__ import annotations

import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guerdon import Recipe, Rollouts
from guerdon.bench.row import BenchRow, measure
from guerdon.credit import GroupNormalized
from guerdon.objective import ClippedSurrogate
from guerdon.search import Independent
from guerdon.select import ConsistencyFilter

PEER = "TRL 1.16 GRPOTrainer"


def length_reward(completions: list[str], **_: Any) -> list[float]:
    """A cheap reward with spread: 1 for responses with an even number of characters."""
    return [float(len(text) % 2 == 0) for text in completions]


@dataclass(frozen=True)
class LengthReward:
    """The same as a score stage, with a process reward for every step."""

    def __call__(self, rollouts: Rollouts) -> Rollouts:
        """Return the rollouts with outcome and process rewards."""
        outcome = length_reward(list(rollouts.column("response")))
        process = rollouts.step_exists.float() * 0.5
        return rollouts.replace(outcome=outcome, process=process.masked_fill(~rollouts.step_exists, float("nan")))


def filtered(n_remove: int) -> Recipe:
    """PROF's filter on GRPO, dropping so many of 8 responses."""
    return Recipe(
        score=(LengthReward(),),
        select=(ConsistencyFilter(n_remove),),
        credit=GroupNormalized(eps=1e-6),
        objective=ClippedSurrogate(aggregation="dapo"),
        rollout=Independent(8),
    )


def rows(quick: bool = False) -> list[BenchRow]:
    """Measure steps and updates.

    Args:
        quick: A smaller batch and few runs.
    """
    from guerdon.policies import load_policy
    from guerdon.tasks import get_task

    task = get_task("chain")
    policy = load_policy("tiny", task=task)
    prompts, runs = (2, 3) if quick else (16, 9)
    with tempfile.TemporaryDirectory() as folder:
        make = _Maker(
            policy, [str(problem.prompt) for problem in task.problems("train", 512, 0)], prompts, Path(folder)
        )
        peer, plain = make.trl(), make.recipe(Recipe(score=(LengthReward(),), credit=GroupNormalized()))
        half = make.recipe(filtered(4))
        whole = make.recipe(filtered(0))
        shape = (prompts * 8, 32)
        steps = [_interleaved([plain, peer], runs, generate=True), _interleaved([half, whole], runs, generate=False)]
    (ours, theirs), (kept_half, kept_all) = steps
    return [
        BenchRow("plain GRPO step", shape, ours, PEER, theirs, theirs / ours, f"ours / TRL's = {ours / theirs:.3f}"),
        BenchRow(
            "PROF, update with half kept",
            shape,
            kept_half,
            "the same with all kept",
            kept_all,
            kept_all / kept_half,
            f"half / all = {kept_half / kept_all:.3f}",
        ),
    ]


class _Maker:
    def __init__(self, policy: Any, prompts: list[str], per_step: int, folder: Path) -> None:
        from datasets import Dataset

        self.policy, self.per_step, self.folder = policy, per_step, folder
        self.data = Dataset.from_dict({"prompt": prompts})

    def _given(self) -> dict[str, Any]:
        from transformers import AutoModelForCausalLM
        from trl import GRPOConfig

        arguments = GRPOConfig(
            output_dir=str(self.folder),
            max_steps=1000,
            per_device_train_batch_size=self.per_step * 8,
            num_generations=8,
            max_completion_length=32,
            learning_rate=0.0,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
            bf16=False,
            gradient_checkpointing=False,
            dataloader_pin_memory=False,
        )
        model = AutoModelForCausalLM.from_pretrained(self.policy.path)
        return {
            "model": model,
            "args": arguments,
            "train_dataset": self.data,
            "processing_class": self.policy.tokenizer,
        }

    def trl(self) -> Any:
        from trl import GRPOTrainer

        return self._ready(GRPOTrainer(reward_funcs=length_reward, **self._given()))

    def recipe(self, recipe: Recipe) -> Any:
        from guerdon.train.trainer import RecipeTrainer

        return self._ready(RecipeTrainer(recipe=recipe, step_delimiter="\n", **self._given()))

    @staticmethod
    def _ready(trainer: Any) -> Any:
        trainer.create_optimizer()
        trainer.current_gradient_accumulation_steps = 1
        trainer.model.train()
        trainer.batches = iter(trainer.get_train_dataloader())
        return trainer


def _interleaved(trainers: list[Any], runs: int, *, generate: bool) -> list[float]:
    """Median seconds of a step (with generation) or of an update alone, in turns."""
    times: list[list[float]] = [[] for _ in trainers]
    for turn in range(runs + 1):
        for trainer, found in zip(trainers, times, strict=True):
            batch = next(trainer.batches)
            inputs = None if generate else trainer._prepare_inputs(batch)
            seconds = measure(lambda t=trainer, b=batch, i=inputs: _step(t, b, i))  # type: ignore[misc]
            trainer._step += 1
            if turn:
                found.append(seconds)
    return [statistics.median(found) for found in times]


def _step(trainer: Any, batch: Any, inputs: Any) -> None:
    prepared = trainer._prepare_inputs(batch) if inputs is None else inputs
    loss = trainer.compute_loss(trainer.model, prepared)
    loss.backward()
    trainer.optimizer.step()
    trainer.optimizer.zero_grad()
