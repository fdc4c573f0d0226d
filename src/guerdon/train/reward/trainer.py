"""Training reward models on transformers.Trainer: from pairs, from labels of responses, from labels of steps.

The kind of row decides what is learnt from it:

* `prompt`, `chosen`, `rejected` (and `tie`, if some pairs are ties): Bradley-Terry, which is DPO for an implicit model;
  for that one NCA as well;
* `prompt`, `response`, `label` in [0, 1]: cross-entropy, or squared error; KTO for an implicit model;
* `prompt`, `steps`, `labels` (hard or soft, None = masked): the same on every labelled step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from guerdon.objective.preference import implicit_kto, implicit_nca, kto_reference_point
from guerdon.objective.reward_losses import bradley_terry, mse, soft_bce
from guerdon.score.models.implicit import ImplicitModel
from guerdon.score.models.scalar_head import ScalarHeadModel
from guerdon.score.models.yes_no import YesNoModel

LOSSES = ("bradley_terry", "cross_entropy", "mse", "nca", "kto")
PAIRED = ("bradley_terry", "nca")
IMPLICIT = ("nca", "kto")
"""Losses for rewards that are log-ratios only."""

Row = Mapping[str, Any]
Trained = ScalarHeadModel | YesNoModel | ImplicitModel


@dataclass(frozen=True)
class RewardTraining:
    """How a reward model is trained.

    Attributes:
        loss: "bradley_terry" or "nca" on pairs, "cross_entropy", "mse" or "kto" on labels.
        epochs: Passes over the rows.
        batch: Rows a step.
        learning_rate: The largest one, of AdamW; it falls linearly.
        warmup: Optimiser steps in which it rises.
        weight_decay: Of AdamW.
        center: Weight of the centring of Bradley-Terry scores.
        evaluate_every: Optimiser steps between evaluations, which save as well; 0 = at the end of each epoch.
        patience: Evaluations without a lower loss after which training stops; 0 = it never stops early.
        lora_rank: Rank of LoRA on all linear layers of the transformer, merged at the end; 0 = all weights are trained.
        resume: Whether to go on from the last checkpoint in the folder.
        seed: Of the order of rows, and of LoRA's weights.

    Raises:
        ValueError: A setting is out of range.
    """

    loss: str = "cross_entropy"
    epochs: float = 1.0
    batch: int = 16
    learning_rate: float = 1e-5
    warmup: int = 0
    weight_decay: float = 0.0
    center: float = 0.0
    evaluate_every: int = 0
    patience: int = 0
    lora_rank: int = 0
    resume: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise ValueError(f"loss is {self.loss!r}: expected one of {LOSSES}")
        if not (self.epochs > 0 and self.batch >= 1 and self.learning_rate > 0):
            raise ValueError(
                f"epochs is {self.epochs}, batch {self.batch}, learning_rate {self.learning_rate}: expected above 0"
            )
        for name in ("evaluate_every", "patience", "lora_rank", "warmup"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}: expected 0 or more")


def collate(model: Trained, rows: Sequence[Row], loss: str) -> dict[str, Tensor]:
    """The inputs of a model and the targets of some rows.

    Returns:
        What the model's `encode` gives, and `target` or, for pairs, `tie`.

    Raises:
        ValueError: A row lacks a field, or has not one label a step.
    """
    prompts = [_field(row, "prompt") for row in rows]
    if loss in PAIRED:
        texts = [_field(row, name) for name in ("chosen", "rejected") for row in rows]
        tie = torch.tensor([bool(row.get("tie", False)) for row in rows])
        return {**_encode(model, prompts * 2, texts), "tie": tie}
    if not isinstance(model, ScalarHeadModel) or model.settings.read != "step_ends":
        responses = [_field(row, "response") for row in rows]
        target = torch.tensor([_number(_field(row, "label")) for row in rows])
        if loss == "kto":
            # The reference point is the log-ratio of responses after prompts that are not theirs.
            prompts, responses = prompts + prompts[1:] + prompts[:1], responses * 2
        return {**_encode(model, prompts, responses), "target": target}
    encoded = _encode(model, prompts, [_field(row, "steps") for row in rows])
    target = torch.full(encoded["ends"].shape, torch.nan)
    for at, row in enumerate(rows):
        labels = [_number(label) for label in _field(row, "labels")]
        if len(labels) != len(row["steps"]):
            raise ValueError(f"labels has {len(labels)} entries for {len(row['steps'])} steps: expected one a step")
        target[at, : len(labels)] = torch.tensor(labels)
    return {**encoded, "target": target}


def reward_loss(model: nn.Module, inputs: Mapping[str, Tensor], settings: RewardTraining) -> Tensor:
    """The loss of a batch that `collate` gave; steps without label, and those that give no token, take no part."""
    given = {name: value for name, value in inputs.items() if name not in ("target", "tie")}
    logits = model(**given)
    if settings.loss == "kto":
        own, mismatched = logits.chunk(2)
        return implicit_kto(own, inputs["target"], kto_reference_point(mismatched, 1.0))
    if settings.loss in PAIRED:
        win, lose = logits.chunk(2)
        if settings.loss == "nca":
            return implicit_nca(win, lose)
        return bradley_terry(win, lose, inputs["tie"], settings.center)
    return (soft_bce if settings.loss == "cross_entropy" else mse)(logits, inputs["target"])


def train_reward_model(
    model: Trained,
    rows: Sequence[Row],
    folder: Path,
    settings: RewardTraining,
    held_out: Sequence[Row] = (),
) -> list[dict[str, float]]:
    """Train a reward model in place, and save it into `folder`; checkpoints are in its subfolder "checkpoints".

    Args:
        model: Its tokenizer is used to encode the rows.
        rows: What it learns from.
        folder: Where it goes.
        settings: How it is trained.
        held_out: Rows that it is evaluated on during training; with some, the best weights are kept.

    Returns:
        The log: losses and learning rates, and `eval_loss` of evaluations.

    Raises:
        ValueError: No rows, patience without held-out rows, a model that reads one value a token, or has aspects, or a
            loss that is not the model's.
    """
    from transformers import EarlyStoppingCallback, Trainer, TrainingArguments
    from transformers.trainer_callback import PrinterCallback

    if not rows or (settings.patience and not held_out):
        raise ValueError(f"{len(rows)} rows, {len(held_out)} held out: expected some of each that is needed")
    if isinstance(model, ScalarHeadModel) and (model.settings.read == "every_token" or len(model.settings.aspects) > 1):
        raise ValueError(f"the model is {model.settings}: expected one output, read at the last token or ends of steps")
    if settings.loss in IMPLICIT and not isinstance(model, ImplicitModel):
        raise ValueError(f"loss is {settings.loss!r}: expected an implicit model for it, not {type(model).__name__}")
    trained = _with_lora(model, settings)

    class RewardModelTrainer(Trainer):  # type: ignore[misc]
        """The loss is ours, the rest is transformers'."""

        def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **_: Any) -> Any:
            loss = reward_loss(model, inputs, settings)
            return (loss, {}) if return_outputs else loss

        def prediction_step(self, model: Any, inputs: Any, *_: Any, **__: Any) -> Any:
            with torch.no_grad():
                return reward_loss(model, self._prepare_inputs(inputs), settings), None, None

    strategy = "no" if not held_out else "steps" if settings.evaluate_every else "epoch"
    arguments = TrainingArguments(
        output_dir=str(folder / "checkpoints"),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch,
        per_device_eval_batch_size=settings.batch,
        learning_rate=settings.learning_rate,
        warmup_steps=settings.warmup,
        weight_decay=settings.weight_decay,
        eval_strategy=strategy,
        save_strategy="steps" if settings.evaluate_every else "epoch",
        eval_steps=settings.evaluate_every or None,
        save_steps=settings.evaluate_every or 500,
        save_total_limit=2,
        load_best_model_at_end=bool(held_out),
        metric_for_best_model="eval_loss" if held_out else None,
        greater_is_better=False if held_out else None,
        prediction_loss_only=True,
        remove_unused_columns=False,
        logging_steps=1,
        report_to="none",
        disable_tqdm=True,
        seed=settings.seed,
        dataloader_pin_memory=torch.cuda.is_available(),
    )
    trainer = RewardModelTrainer(
        model=trained,
        args=arguments,
        train_dataset=list(rows),
        eval_dataset=list(held_out) if held_out else None,
        data_collator=lambda batch: collate(model, batch, settings.loss),
        callbacks=[EarlyStoppingCallback(settings.patience)] if settings.patience else [],
    )
    trainer.remove_callback(PrinterCallback)
    checkpoints = list((folder / "checkpoints").glob("checkpoint-*"))
    trainer.train(resume_from_checkpoint=bool(settings.resume and checkpoints))
    _merge_lora(model, settings)
    model.eval()
    model.save_pretrained(folder)
    return [dict(entry) for entry in trainer.state.log_history]


def _part(model: Trained) -> str:
    return "backbone" if isinstance(model, ScalarHeadModel) else "model"


def _with_lora(model: Trained, settings: RewardTraining) -> nn.Module:
    if settings.lora_rank:
        from peft import LoraConfig, get_peft_model

        config = LoraConfig(r=settings.lora_rank, lora_alpha=2 * settings.lora_rank, target_modules="all-linear")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            setattr(model, _part(model), get_peft_model(getattr(model, _part(model)), config))
    return model


def _merge_lora(model: Trained, settings: RewardTraining) -> None:
    if settings.lora_rank:
        setattr(model, _part(model), getattr(model, _part(model)).merge_and_unload())


def _encode(model: Trained, prompts: Sequence[str], texts: Sequence[Any]) -> dict[str, Tensor]:
    if isinstance(model, YesNoModel):
        return model.encode(model.questions(prompts, texts))
    return model.encode(prompts, texts)


def _field(row: Row, name: str) -> Any:
    if name not in row:
        raise ValueError(f"a row has no {name!r}, only {sorted(row)}: expected it for this model and loss")
    return row[name]


def _number(label: float | None) -> float:
    return float("nan") if label is None else float(label)
