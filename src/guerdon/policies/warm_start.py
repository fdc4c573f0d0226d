"""Supervised warm start of a tiny policy on demonstrations, first sound ones, then a mixture with flaws."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from guerdon.policies.tiny import DemonstratedTask

_IGNORED = -100


@dataclass(frozen=True)
class WarmStart:
    """How a tiny policy is warm-started.

    It first learns from sound demonstrations until it can do the task, and then from a mixture of sound, flawed and
    wrong ones, whose shares it takes over: what it samples is then flawed to a stated degree, whatever the seed.

    Attributes:
        corruption: Share of the mixture that is flawed but right; None = the task's default.
        wrong: Share of the mixture that is wrong; None = the task's default.
        flaws: Corrupted values in a flawed or wrong demonstration; None = the task's default.
        enough: The first phase ends when the mean loss of ten batches falls below this (nats a token).
        max_steps: The first phase ends here at the latest.
        mixed_steps: Optimiser steps on the mixture.
        batch_size: Demonstrations in a step.
        learning_rate: Of AdamW; falls to nothing during the second phase.
        demonstrations: Number of sound demonstrations, gone through again and again.
    """

    corruption: float | None = 0.35
    wrong: float | None = 0.3
    flaws: int | None = 1
    enough: float = 0.03
    max_steps: int = 600
    mixed_steps: int = 60
    batch_size: int = 64
    learning_rate: float = 3e-3
    demonstrations: int = 8192

    def __post_init__(self) -> None:
        for name in ("max_steps", "mixed_steps"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}: expected 0 or more")
        for name in ("batch_size", "demonstrations"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: expected at least 1")

    def mixture(self) -> dict[str, Any]:
        """The shares that are not left to the task."""
        shares = {"corruption": self.corruption, "wrong": self.wrong, "flaws": self.flaws}
        return {name: value for name, value in shares.items() if value is not None}


def warm_start(
    model: Any, tokenizer: Any, task: DemonstratedTask, settings: WarmStart, seed: int, *, progress: bool = True
) -> dict[str, float]:
    """Train a model on a task's demonstrations, in place.

    Args:
        model: A causal language model of transformers.
        tokenizer: Its tokenizer.
        task: Where demonstrations come from.
        settings: How.
        seed: Of the demonstrations and their order.
        progress: Whether a progress bar is drawn on a terminal.

    Returns:
        `sound_steps`, `sound_loss`, `mixed_loss`: steps of the first phase, and the last losses of both.
    """
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.0, betas=(0.9, 0.95), weight_decay=0.01)
    generator = torch.Generator().manual_seed(seed)
    recent: deque[float] = deque(maxlen=10)
    sound = encode(tokenizer, task.demonstrations(settings.demonstrations, 2 * seed, corruption=0.0, wrong=0.0))
    mixed_count = settings.mixed_steps * settings.batch_size
    mixed = encode(tokenizer, task.demonstrations(mixed_count, 2 * seed + 1, **settings.mixture()))
    figures = {"sound_steps": 0.0, "sound_loss": float("nan"), "mixed_loss": float("nan")}
    model.train()
    with _bar(settings.max_steps + settings.mixed_steps, progress) as advance:
        for step, batch in zip(
            range(settings.max_steps), _batches(sound, settings.batch_size, generator), strict=False
        ):
            recent.append(_train_step(model, optimiser, batch, settings.learning_rate * min(1.0, (step + 1) / 20)))
            figures |= {"sound_steps": step + 1.0, "sound_loss": recent[-1]}
            advance(1)
            if len(recent) == recent.maxlen and sum(recent) / len(recent) < settings.enough:
                advance(settings.max_steps - step - 1)
                break
        for step, batch in zip(
            range(settings.mixed_steps), _batches(mixed, settings.batch_size, generator), strict=False
        ):
            rate = settings.learning_rate * (1.0 - step / settings.mixed_steps)
            figures["mixed_loss"] = _train_step(model, optimiser, batch, rate)
            advance(1)
    model.eval()
    return figures


def encode(tokenizer: Any, demonstrations: Sequence[Any]) -> tuple[Tensor, Tensor]:
    """Token ids and labels of demonstrations, each ended by the end-of-sequence token.

    Args:
        tokenizer: The tokenizer.
        demonstrations: With `.problem.prompt` and `.response`.

    Returns:
        Two (N, L) int64 tensors, padded on the right; labels are -100 on prompts and padding.
    """
    if not demonstrations:
        return torch.zeros(0, 0, dtype=torch.int64), torch.zeros(0, 0, dtype=torch.int64)
    prompts = tokenizer([item.problem.prompt for item in demonstrations])["input_ids"]
    responses = tokenizer([item.response + tokenizer.eos_token for item in demonstrations])["input_ids"]
    width = max(len(prompt) + len(response) for prompt, response in zip(prompts, responses, strict=True))
    ids = torch.full((len(demonstrations), width), tokenizer.pad_token_id)
    labels = torch.full_like(ids, _IGNORED)
    for row, (prompt, response) in enumerate(zip(prompts, responses, strict=True)):
        end = len(prompt) + len(response)
        ids[row, :end] = torch.tensor(prompt + response)
        labels[row, len(prompt) : end] = ids[row, len(prompt) : end]
    return ids, labels


def _batches(data: tuple[Tensor, Tensor], size: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    ids, labels = data
    while len(ids):
        for rows in torch.randperm(len(ids), generator=generator).split(size):  # type: ignore[no-untyped-call]
            yield ids[rows], labels[rows]


def _train_step(model: Any, optimiser: Any, batch: tuple[Tensor, Tensor], learning_rate: float) -> float:
    ids, labels = batch
    wanted = labels[:, 1:] != _IGNORED
    # Padding is on the right, where no real token of a causal model looks, so no attention mask is needed; and only
    # the tokens of responses go through the output layer.
    hidden = model.base_model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1][wanted]
    loss = torch.nn.functional.cross_entropy(model.get_output_embeddings()(hidden).float(), labels[:, 1:][wanted])
    for group in optimiser.param_groups:
        group["lr"] = learning_rate
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    return float(loss.detach())


@contextmanager
def _bar(total: int, progress: bool) -> Iterator[Callable[[int], None]]:
    """A progress bar on standard error, if that is a terminal; yields what advances it."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not (progress and console.is_terminal)) as bar:
        job = bar.add_task("warm start of the tiny policy", total=total)
        yield lambda count: bar.advance(job, count)
