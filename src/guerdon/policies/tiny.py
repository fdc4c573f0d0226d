"""A language model small enough to be trained from scratch while one waits."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch

from guerdon.policies.tokenizer import character_tokenizer
from guerdon.policies.warm_start import WarmStart, warm_start
from guerdon.score.models.cache import cached_folder

_RECIPE = 1  # part of the cache's key: to be raised whenever the way of making a tiny policy changes


@runtime_checkable
class DemonstratedTask(Protocol):
    """A task that a tiny policy can learn."""

    @property
    def alphabet(self) -> str:
        """Every character of prompts and demonstrations."""
        ...

    def demonstrations(self, n: int, seed: int, **shares: Any) -> Sequence[Any]:
        """Demonstrations with `.problem.prompt` and `.response`; without flaws if `corruption` and `wrong` are 0."""
        ...


@dataclass(frozen=True)
class TinySettings:
    """The shape of a tiny policy, a Llama.

    Attributes:
        layers: Number of layers.
        width: Size of a hidden state.
        heads: Attention heads in a layer.
        feed_forward: Inner size of the feed-forward parts.
        positions: Longest sequence.
        rope_theta: Base of the rotary positions; small, since sequences are short.
    """

    layers: int = 3
    width: int = 128
    heads: int = 4
    feed_forward: int = 352
    positions: int = 512
    rope_theta: float = 100.0


def tiny_model(settings: TinySettings, tokenizer: Any, seed: int) -> Any:
    """A `LlamaForCausalLM` with random weights; the global random state stays as it was.

    Args:
        settings: Its shape.
        tokenizer: Gives the size of the vocabulary and the special tokens.
        seed: Of the weights.
    """
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    special: dict[str, Any] = {
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": None,
    }
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=settings.width,
        intermediate_size=settings.feed_forward,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        num_key_value_heads=settings.heads,
        max_position_embeddings=settings.positions,
        rope_parameters={"rope_type": "default", "rope_theta": settings.rope_theta},
        tie_word_embeddings=False,
        initializer_range=0.08,
        **special,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    _rescale(model, settings.layers)
    model.generation_config = GenerationConfig(do_sample=True, temperature=1.0, top_k=0, top_p=1.0, **special)
    return model


def _rescale(model: Any, layers: int) -> None:
    # The usual initialisation (0.02 everywhere) suits widths of thousands; at this width, symbols that start far
    # apart and quiet residual branches make the same data learnt in a tenth of the steps.
    with torch.no_grad():
        model.get_input_embeddings().weight.mul_(0.5 / 0.08)
        for name, weight in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                weight.mul_((2 * layers) ** -0.5)


def tiny_policy(
    task: DemonstratedTask, settings: TinySettings, training: WarmStart, seed: int, *, progress: bool = True
) -> Path:
    """The folder of a warm-started tiny policy, from the cache or made now.

    Args:
        task: What it learns from.
        settings: Its shape.
        training: How it is trained.
        seed: Of weights and demonstrations.
        progress: Whether a progress bar is drawn on a terminal.
    """
    key = {
        "recipe": _RECIPE,
        "task": repr(task),
        "demonstrations": _fingerprint(task, training, seed),
        "architecture": asdict(settings),
        "training": asdict(training),
        "seed": seed,
    }

    def make(folder: Path) -> None:
        tokenizer = character_tokenizer(task.alphabet)
        model = tiny_model(settings, tokenizer, seed)
        warm_start(model, tokenizer, task, training, seed, progress=progress)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    return cached_folder("tiny", key, make)


def _fingerprint(task: DemonstratedTask, training: WarmStart, seed: int) -> str:
    """A hash of some demonstrations, so that a changed task is never served an old policy."""
    digest = hashlib.sha256(task.alphabet.encode())
    for item in task.demonstrations(64, seed, **training.mixture()):
        digest.update(f"{item.problem.prompt}\0{item.response}\0".encode())
    return digest.hexdigest()
