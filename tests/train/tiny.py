"""A very small model and trainers on it, for tests that compare runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.trainer_callback import PrinterCallback
from trl import GRPOConfig, GRPOTrainer

from guerdon import Recipe, Rollouts
from guerdon.credit import GroupNormalized
from guerdon.train.trainer import RecipeTrainer

ALPHABET = "0123456789+=\n"


def tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = {text: index for index, text in enumerate(["<pad>", "<eos>", "<unk>", *ALPHABET])}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    core.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>", padding_side="left"
    )


def model(folder: Path) -> LlamaForCausalLM:
    """The same model each time, saved so that a reference policy can be loaded."""
    path = folder / "model"
    if not path.exists():
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=len(ALPHABET) + 3,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=64,
            pad_token_id=0,
            eos_token_id=1,
            bos_token_id=None,
        )
        LlamaForCausalLM(config).save_pretrained(path)
        tokenizer().save_pretrained(path)
    return LlamaForCausalLM.from_pretrained(path)


def data(rows: int = 64) -> Dataset:
    return Dataset.from_dict(
        {
            "prompt": [f"{i % 10}+{i // 10}=" for i in range(rows)],
            "target": [str((i % 10 + i // 10) % 10) for i in range(rows)],
        }
    )


def reward(completions: Sequence[str], **_: Any) -> list[float]:
    """A reward with spread on what an untrained model writes."""
    return [text.count("1") / 3 + len(text) % 3 for text in completions]


@dataclass(frozen=True)
class CountOnes:
    """The same reward as a score stage."""

    def __call__(self, rollouts: Rollouts) -> Rollouts:
        return rollouts.replace(outcome=reward(rollouts.column("response")))


def arguments(folder: Path, **changes: Any) -> GRPOConfig:
    settings: dict[str, Any] = {
        "output_dir": str(folder / "out"),
        "max_steps": 3,
        "per_device_train_batch_size": 8,
        "num_generations": 4,
        "max_completion_length": 12,
        "learning_rate": 1e-2,
        "report_to": "none",
        "logging_steps": 1,
        "save_strategy": "no",
        "disable_tqdm": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "dataloader_pin_memory": False,
        "use_cpu": True,
        "seed": 3,
    }
    return GRPOConfig(**{**settings, **changes})


def trl_trainer(folder: Path, **changes: Any) -> GRPOTrainer:
    trainer = GRPOTrainer(
        model(folder), reward, arguments(folder, **changes), train_dataset=data(), processing_class=tokenizer()
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def recipe_trainer(folder: Path, recipe: Recipe | None = None, **changes: Any) -> RecipeTrainer:
    own = {
        name: changes.pop(name)
        for name in ("on_batch", "rollout_func", "step_delimiter", "peft_config")
        if name in changes
    }
    trainer = RecipeTrainer(
        model(folder),
        recipe or Recipe(score=CountOnes(), credit=GroupNormalized()),
        arguments(folder, **changes),
        data(),
        processing_class=tokenizer(),
        **own,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def losses(trainer: GRPOTrainer) -> list[float]:
    return [row["loss"] for row in trainer.state.log_history if "loss" in row]


def weights(trainer: GRPOTrainer) -> torch.Tensor:
    return torch.cat([value.detach().flatten() for value in trainer.model.state_dict().values()])
