"""The packed scorer of continuations against the naive one, which runs every sequence whole and alone."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch

from guerdon.bench.row import BenchRow, measure_pair
from guerdon.score.likelihood.teacher_forced import Ids, teacher_forced_logprobs

VOCABULARY, COUNT, OWN = 512, 8, 16


def rows(quick: bool = False) -> list[BenchRow]:
    """Measure both on a small Llama with random weights; ratio = the naive scorer's seconds over ours.

    Args:
        quick: A shorter prefix and few runs.
    """
    prefix, runs = (256, 1) if quick else (1024, 5)
    model, draw = small_model(), random.Random(0)
    context, question = _ids(draw, prefix), _ids(draw, prefix)
    follow = [_ids(draw, OWN) for _ in range(COUNT)]
    reasonings = [question + _ids(draw, 2 * OWN) for _ in range(COUNT)]
    return [
        _compared("8 continuations of a long prefix", model, [context], [follow], runs),
        _compared("one answer after 8 reasonings on a long question", model, reasonings, [[follow[0]]] * COUNT, runs),
    ]


def small_model() -> Any:
    """A Llama of 4 layers and random weights; the global random state stays as it was."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=256,
        intermediate_size=688,
        num_hidden_layers=4,
        num_attention_heads=8,
        max_position_embeddings=2048,
        initializer_range=0.1,  # with the usual 0.02 all tokens are about equally likely, and nothing is compared
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return LlamaForCausalLM(config).eval()


def _ids(draw: random.Random, length: int) -> list[int]:
    return [draw.randrange(VOCABULARY) for _ in range(length)]


def _compared(
    name: str, model: Any, contexts: Sequence[Ids], continuations: Sequence[Sequence[Ids]], runs: int
) -> BenchRow:
    ours = partial(teacher_forced_logprobs, model, contexts, continuations)
    naive = partial(teacher_forced_logprobs, model, contexts, continuations, packed=False)
    apart = float((ours().logprobs - naive().logprobs).abs().max())
    shape = (COUNT, len(contexts[0]), OWN)
    return measure_pair(name, shape, ours, "one by one", naive, runs, f"largest difference {apart:.1e}")
