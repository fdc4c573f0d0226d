"""Loading a policy by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

TINY, SMOLLM2 = "tiny", "smollm2-135m"


@dataclass(frozen=True)
class LoadedPolicy:
    """A causal language model with its tokenizer.

    Attributes:
        model: The model, in float32.
        tokenizer: Its tokenizer, padding on the left.
        path: Folder or Hub id that it can be loaded from again.
    """

    model: Any
    tokenizer: Any
    path: str


def load_policy(
    name: str, *, task: Any = None, seed: int = 0, report: Callable[[int, int, float], None] | None = None
) -> LoadedPolicy:
    """Load a policy, making it first where it is one of guerdon's own.

    Args:
        name: "tiny" (warm-started for the task and cached), "smollm2-135m", a Hub id or a path.
        task: The task, for "tiny".
        seed: Of the warm start, for "tiny".
        report: Called during a warm start with (step, steps, loss).

    Raises:
        ValueError: "tiny" is asked for a task without demonstrations.
        RuntimeError: "smollm2-135m" without its packages.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = name
    if name == TINY:
        from guerdon.policies.tiny import WarmStart, tiny_policy

        if not hasattr(task, "demonstrations"):
            known = getattr(task, "name", task)
            raise ValueError(f"model 'tiny' is warm-started on demonstrations, and the task {known} has none")
        path = str(tiny_policy(task, WarmStart(seed=seed), report))
    elif name == SMOLLM2:
        from guerdon.policies.smollm2 import smollm2

        path = str(smollm2())
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(path, padding_side="left")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return LoadedPolicy(model, tokenizer, path)
