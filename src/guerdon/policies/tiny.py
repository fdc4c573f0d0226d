"""A from-scratch causal language model of about 0.5 M parameters, warm-started on partly flawed demonstrations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from guerdon.caching import cached
from guerdon.policies.tokens import character_tokenizer

if TYPE_CHECKING:
    from guerdon.tasks.chain import Chain

FORMAT = 1
"""Changes when the same settings give another model."""


@dataclass(frozen=True)
class WarmStart:
    """How the model is made.

    Attributes:
        layers: Transformer layers.
        width: Hidden size.
        steps: Optimiser steps on sound demonstrations.
        flawed_steps: Optimiser steps on partly flawed ones after that.
        batch: Demonstrations a step.
        learning_rate: Largest learning rate of AdamW.
        corruption: Share of the later demonstrations that are flawed but right.
        wrong: Share of the later demonstrations that are wrong.
        seed: Of weights and demonstrations.
    """

    layers: int = 3
    width: int = 128
    steps: int = 150
    flawed_steps: int = 60
    batch: int = 64
    learning_rate: float = 3e-3
    corruption: float = 0.35
    wrong: float = 0.3
    seed: int = 0


def build_model(vocabulary: int, settings: WarmStart) -> Any:
    """An untrained Llama with an initialisation that learns modular sums within a hundred steps.

    Wide initial weights, small residual outputs and a short rotary base were measured to shorten the plateau before
    the model finds out which operand belongs to which line.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=settings.width,
        intermediate_size=11 * settings.width // 4,
        num_hidden_layers=settings.layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=256,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
        tie_word_embeddings=False,
        initializer_range=0.08,
        rope_parameters={"rope_type": "default", "rope_theta": 100.0},
    )
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        model = LlamaForCausalLM(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                parameter.mul_(0.4)
            if "embed_tokens" in name:
                parameter.mul_(0.5 / 0.08)
    return model


def encode(tokenizer: Any, prompts: Sequence[str], responses: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Token ids and labels of demonstrations, padded on the right.

    Returns:
        (N, L) int64 ids, 0 where padded, and (N, L) labels, -100 on prompts and padding.
    """
    heads = tokenizer(list(prompts))["input_ids"]
    tails = tokenizer(list(responses))["input_ids"]
    rows = [head + tail + [tokenizer.eos_token_id] for head, tail in zip(heads, tails, strict=True)]
    width = max(len(row) for row in rows)
    ids = torch.zeros(len(rows), width, dtype=torch.int64)
    labels = torch.full((len(rows), width), -100, dtype=torch.int64)
    for index, (head, row) in enumerate(zip(heads, rows, strict=True)):
        ids[index, : len(row)] = torch.tensor(row)
        labels[index, len(head) : len(row)] = ids[index, len(head) : len(row)]
    return ids, labels


def fit(
    model: Any,
    ids: Tensor,
    labels: Tensor,
    settings: WarmStart,
    report: Callable[[int, int, float], None] | None = None,
) -> None:
    """Train on demonstrations in order, one pass.

    Args:
        model: A causal LM with `model` and `lm_head`.
        ids: (N, L) from `encode`.
        labels: (N, L) from `encode`.
        settings: Batch and learning rate.
        report: Called after each step with (step, steps, loss).
    """
    total = len(ids) // settings.batch
    optimiser = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, betas=(0.9, 0.95), weight_decay=0.01)
    rate = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda at: min((at + 1) / 20, 1.0) * max(0.05, 1 - at / total))
    model.train()
    for step in range(total):
        part = slice(step * settings.batch, (step + 1) * settings.batch)
        counted = labels[part, 1:] != -100
        hidden = model.model(input_ids=ids[part], use_cache=False).last_hidden_state[:, :-1][counted]
        loss = torch.nn.functional.cross_entropy(model.lm_head(hidden), labels[part, 1:][counted])
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        rate.step()
        if report is not None:
            report(step + 1, total, float(loss))


def warm_start(
    task: Chain, settings: WarmStart, report: Callable[[int, int, float], None] | None = None
) -> tuple[Any, Any]:
    """Make and train the model; (model, tokenizer)."""
    tokenizer = character_tokenizer(task.alphabet)
    sound = task.demonstrations(settings.steps * settings.batch, settings.seed, corruption=0.0, wrong=0.0)
    flawed = task.demonstrations(
        settings.flawed_steps * settings.batch,
        settings.seed + 1,
        corruption=settings.corruption,
        wrong=settings.wrong,
    )
    everything = [*sound, *flawed]
    prompts = [str(demonstration.problem.prompt) for demonstration in everything]
    ids, labels = encode(tokenizer, prompts, [demonstration.response for demonstration in everything])
    model = build_model(len(tokenizer), settings)
    fit(model, ids, labels, settings, report)
    model.eval()
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    return model, tokenizer


def tiny_policy(task: Chain, settings: WarmStart, report: Callable[[int, int, float], None] | None = None) -> Path:
    """The folder of the warm-started model for a task, made on the first call."""
    about = {"format": FORMAT, "torch": torch.__version__, "task": repr(task), **asdict(settings)}

    def make(folder: Path) -> None:
        model, tokenizer = warm_start(task, settings, report)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    return cached("tiny", about, make)
