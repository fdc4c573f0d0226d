"""From settings to a trained model: data, policy, trainer, run folder, figures before and after."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guerdon.batch import Batch
from guerdon.recipe import Recipe
from guerdon.tasks.task import Problem, Task, get_task
from guerdon.train import checkpoints
from guerdon.train.config import RunConfig
from guerdon.train.curves import draw_curves
from guerdon.train.evaluation import Evaluation, evaluate
from guerdon.train.runs import RunFolder, write_json

if TYPE_CHECKING:
    from guerdon.policies.warm_start import WarmStart


@dataclass(frozen=True)
class Experiment:
    """The parts of a run that do not depend on the recipe.

    Attributes:
        config: The settings.
        task: The task.
        model: The initial policy.
        tokenizer: Its tokenizer.
        model_path: Where the initial policy can be loaded from.
    """

    config: RunConfig
    task: Task
    model: Any
    tokenizer: Any
    model_path: str

    @staticmethod
    def load(config: RunConfig, *, warm_start: WarmStart | None = None) -> Experiment:
        """Load, or make, task and policy.

        Args:
            config: The settings.
            warm_start: How a "tiny" policy is warm-started; None = the usual way.
        """
        from guerdon.policies import load_policy

        task = get_task(config.task, **config.task_options)
        policy = load_policy(config.model, task=task, seed=config.seed, warm_start=warm_start)
        return Experiment(config, task, policy.model, policy.tokenizer, policy.path)

    def problems(self) -> list[Problem]:
        """The training problems."""
        return self.task.problems("train", self.config.train_problems, self.config.seed)

    def evaluate(self, model: Any, progress: Any = None) -> Evaluation:
        """Figures of a model on the held-out problems, at the temperature of the run."""
        problems = self.task.problems("test", self.config.evaluate, self.config.seed)
        return evaluate(
            model,
            self.tokenizer,
            self.task,
            problems,
            temperature=self.config.temperature,
            max_new_tokens=self.config.max_tokens,
            seed=self.config.seed,
            progress=progress,
        )

    def train(
        self, recipe: Recipe, path: str | os.PathLike[str], *, quiet: bool = False, console: Any = None
    ) -> dict[str, Any]:
        """Train, or go on training what is in the folder, and return the summary.

        Args:
            recipe: The method with its score stages.
            path: The run's folder.
            quiet: Whether nothing is drawn or printed.
            console: A rich console for progress; None = standard output.
        """
        folder = RunFolder(path)
        before = self._before(folder)
        trainer = self.trainer(recipe, folder, quiet=quiet, console=console)
        newest = folder.rewind() if trainer.accelerator.is_main_process else None
        trainer.accelerator.wait_for_everyone()
        newest = newest or checkpoints.latest(folder.checkpoints)
        started = time.perf_counter()
        trainer.train(resume_from_checkpoint=None if newest is None else str(newest))
        seconds = time.perf_counter() - started
        if not trainer.accelerator.is_main_process:
            return {}
        trainer.save_model(str(folder.final))
        return self._finish(trainer, folder, recipe, before, seconds)

    def _before(self, folder: RunFolder) -> dict[str, Any]:
        known = folder.path / "before.json"
        if known.is_file():
            figures: dict[str, Any] = json.loads(known.read_text())
            return figures
        figures = self.evaluate(self.model).as_dict() if self.config.evaluate else {}
        write_json(known, figures)
        return figures

    def _finish(
        self, trainer: Any, folder: RunFolder, recipe: Recipe, before: dict[str, Any], seconds: float
    ) -> dict[str, Any]:
        model = trainer.accelerator.unwrap_model(trainer.model)
        after = self.evaluate(model).as_dict() if self.config.evaluate else {}
        summary = {
            "method": self.config.method,
            "recipe": str(recipe),
            "task": self.config.task,
            "model": self.config.model,
            "steps": int(trainer.state.global_step),
            "seconds": seconds,
            "before": before,
            "after": after,
        }
        write_json(folder.summary, summary)
        draw_curves(folder.read_metrics(), f"{self.config.method} on {self.config.task}", folder.curves)
        return summary

    def trainer(self, recipe: Recipe, folder: RunFolder, *, quiet: bool = False, console: Any = None) -> Any:
        """Build the trainer of a run."""
        from transformers.trainer_callback import PrinterCallback, ProgressCallback

        from guerdon.train.callbacks import MetricsWriter, ProgressLine
        from guerdon.train.trainer import RecipeTrainer

        def store(iteration: int, batch: Batch) -> None:
            folder.write_batch(iteration, batch)

        callbacks: list[Any] = [MetricsWriter(folder)]
        if not quiet:
            callbacks.append(ProgressLine(console or _console(), self.config.method))
        trainer = RecipeTrainer(
            self.model,
            recipe,
            grpo_config(self.config, recipe, folder),
            dataset(self.problems()),
            processing_class=self.tokenizer,
            step_delimiter=self.task.step_delimiter,
            on_batch=store,
            callbacks=callbacks,
            peft_config=_lora(self.config),
        )
        for unwanted in (PrinterCallback, ProgressCallback):
            trainer.remove_callback(unwanted)
        return trainer


def _console() -> Any:
    from rich.console import Console

    return Console()


def _lora(config: RunConfig) -> Any:
    if not config.lora_rank:
        return None
    from peft import LoraConfig

    return LoraConfig(r=config.lora_rank, lora_alpha=2 * config.lora_rank, target_modules="all-linear")


def dataset(problems: Sequence[Problem]) -> Any:
    """Problems as a data set of TRL's: rows are made on the way out, so that no column is changed by Arrow."""
    from datasets import Dataset

    rows = [
        {**problem.columns, "prompt": problem.prompt, "target": problem.target, "prompt_id": problem.prompt_id}
        for problem in problems
    ]
    names = list({name: None for row in rows for name in row})

    def look_up(batch: dict[str, list[int]]) -> dict[str, list[Any]]:
        return {name: [rows[index].get(name) for index in batch["index"]] for name in names}

    return Dataset.from_dict({"index": list(range(len(rows)))}).with_transform(look_up)


def grpo_config(config: RunConfig, recipe: Recipe, folder: RunFolder) -> Any:
    """TRL's arguments for a run.

    Raises:
        ValueError: The batch cannot be divided as the settings ask.
    """
    from accelerate import PartialState
    from trl import GRPOConfig

    responses = recipe.rollout.n if recipe.rollout is not None else 8
    processes = PartialState().num_processes
    rows = config.prompts * responses
    if rows % processes:
        raise ValueError(f"{rows} responses a step do not divide among {processes} processes: change prompts")
    local = rows // processes
    micro = min(config.micro_batch or local, local)
    if local % micro:
        raise ValueError(f"micro_batch is {micro}: expected a divisor of the {local} responses of a process")
    return GRPOConfig(
        output_dir=str(folder.checkpoints),
        max_steps=config.steps,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=local // micro,
        num_generations=responses,
        max_completion_length=config.max_tokens,
        temperature=config.temperature,
        learning_rate=config.learning_rate,
        lr_scheduler_type="constant",
        seed=config.seed,
        data_seed=config.seed,
        save_strategy="steps" if config.save_every else "no",
        save_steps=config.save_every or config.steps,
        save_total_limit=config.keep_checkpoints,
        logging_steps=1,
        logging_nan_inf_filter=False,
        report_to=list(config.report_to) or "none",
        logging_dir=None,
        disable_tqdm=True,
        bf16=False,
        gradient_checkpointing=config.gradient_checkpointing,
        use_vllm=config.use_vllm,
        vllm_mode=config.vllm_mode,
        dataloader_pin_memory=False,
    )
