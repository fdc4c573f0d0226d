"""Everything that decides a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from guerdon.overrides import nearest


@dataclass(frozen=True)
class RunConfig:
    """The settings of a training run; stored in its folder, and enough to resume it.

    Attributes:
        method: A paper's slug or a baseline's name.
        settings: `shelf.field=value` overrides of the method's stages.
        task: Name of the task.
        task_options: Options of the task.
        model: "tiny", "smollm2-135m", a Hub id or a path.
        steps: Optimiser steps.
        prompts: Prompts for each step.
        micro_batch: Responses in one forward and backward pass; 0 = all of a process's rows.
        learning_rate: Of AdamW, constant.
        temperature: Of the sampling.
        max_tokens: Longest response, in tokens.
        seed: Of everything: data, sampling, initial weights.
        label_noise: Share of wrong labels that the process reward model is trained on.
        evaluate: Held-out problems for the figures before and after.
        train_problems: Training problems; drawn without repetition until they are used up.
        save_every: Optimiser steps between checkpoints; 0 = none, so that an interrupted run
            starts over.
        keep_checkpoints: How many checkpoints are kept.
        lora_rank: Rank of LoRA adapters; 0 = all weights are trained.
        use_vllm: Whether TRL samples with vLLM (needs a GPU).
        vllm_mode: "colocate" or "server".
        gradient_checkpointing: Whether activations are recomputed to save memory.
        report_to: Trackers that TRL writes to, "tensorboard" or "trackio" among them.
    """

    method: str = "prof"
    settings: tuple[str, ...] = ()
    task: str = "chain"
    task_options: Mapping[str, Any] = field(default_factory=dict)
    model: str = "tiny"
    steps: int = 120
    prompts: int = 16
    micro_batch: int = 0
    learning_rate: float = 2e-4
    temperature: float = 1.0
    max_tokens: int = 32
    seed: int = 0
    label_noise: float = 0.15
    evaluate: int = 512
    train_problems: int = 4096
    save_every: int = 40
    keep_checkpoints: int = 2
    lora_rank: int = 0
    use_vllm: bool = False
    vllm_mode: str = "colocate"
    gradient_checkpointing: bool = False
    report_to: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("steps", "prompts", "max_tokens", "train_problems", "keep_checkpoints"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: expected at least 1")
        for name in ("micro_batch", "evaluate", "save_every", "lora_rank", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}: expected 0 or more")
        if not self.temperature > 0.0:
            raise ValueError(f"temperature is {self.temperature}: expected a positive number")
        if not self.learning_rate >= 0.0:
            raise ValueError(f"learning_rate is {self.learning_rate}: expected 0 or more")
        if not 0.0 <= self.label_noise <= 0.5:
            raise ValueError(f"label_noise is {self.label_noise}: expected a share from 0 to 0.5")
        if self.vllm_mode not in ("colocate", "server"):
            raise ValueError(f"vllm_mode is {self.vllm_mode!r}: expected 'colocate' or 'server'")

    def as_dict(self) -> dict[str, Any]:
        """The settings as JSON values."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> RunConfig:
        """Read settings that `as_dict` gave.

        Raises:
            ValueError: A name is unknown.
        """
        names = {entry.name for entry in dataclasses.fields(RunConfig)}
        for name in values:
            if name not in names:
                raise ValueError(f"the run's configuration has {name!r}; {nearest(name, names)}")
        changed: dict[str, Any] = {}
        for name, value in values.items():
            changed[name] = tuple(value) if isinstance(value, list) else value
        return RunConfig(**changed)
