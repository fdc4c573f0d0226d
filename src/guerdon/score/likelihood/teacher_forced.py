"""Log-probabilities of given continuations of given contexts, for every score that is a likelihood of something.

What several sequences begin with is run through the model once and its keys and values are shared: the long context
of many continuations, or the question before many reasonings.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from guerdon import ops

Ids = Sequence[int]


@dataclass(frozen=True, eq=False)
class TeacherForced:
    """What a model says of K continuations of each of N contexts.

    Attributes:
        logprobs: (N, K, L) float32 (float64 for a float64 model); NaN = no such token or continuation.
        ranks: (N, K, L) int64 place of the token in the predicted distribution, 1 = the likeliest; 0 = no such token.
    """

    logprobs: Tensor
    ranks: Tensor

    def mean(self) -> Tensor:
        """(N, K): mean log-probability of the tokens; NaN = no such continuation."""
        return torch.nanmean(self.logprobs, 2)

    def sum(self) -> Tensor:
        """(N, K): log-probability of the whole continuation; NaN = no such continuation."""
        there = ~torch.isnan(self.logprobs)
        total = torch.where(there, self.logprobs, 0.0).sum(2)
        return torch.where(there.any(2), total, torch.nan)


def teacher_forced_logprobs(
    model: Any,
    contexts: Sequence[Ids],
    continuations: Sequence[Sequence[Ids]],
    *,
    packed: bool = True,
    batch_size: int = 32,
    temperature: float = 1.0,
) -> TeacherForced:
    """Score the tokens of continuations that somebody else wrote, without gradient, in eval mode.

    Ids are joined, never texts, so that no tokens merge at the border.

    Args:
        model: A causal language model of transformers.
        contexts: N sequences of token ids, none of them empty.
        continuations: For each context its continuations, as token ids, none of them empty; their numbers may differ.
        packed: Run shared beginnings once; otherwise each sequence is run whole and alone, which is slow and simple.
        batch_size: Sequences at a time, where packed.
        temperature: Divides the logits.

    Returns:
        Log-probabilities and ranks, on the model's device.

    Raises:
        ValueError: An empty context or continuation, unequal numbers, a model without a cache that can be shared
            (where packed), or a log-probability that is not finite.

    Example:
        >>> from transformers import GPT2Config, GPT2LMHeadModel
        >>> model = GPT2LMHeadModel(GPT2Config(vocab_size=9, n_embd=8, n_layer=1, n_head=1, n_positions=16))
        >>> teacher_forced_logprobs(model, [[1, 2, 3]], [[[4], [5, 6]]]).logprobs.shape
        torch.Size([1, 2, 2])
    """
    _check(contexts, continuations, batch_size)
    pairs = [(row, index) for row, given in enumerate(continuations) for index in range(len(given))]
    width = max((len(ids) for given in continuations for ids in given), default=0)
    shape = (len(contexts), max(map(len, continuations), default=0), width)
    dtype = torch.promote_types(next(model.parameters()).dtype, torch.float32)
    logprobs = torch.full(shape, torch.nan, dtype=dtype, device=model.device)
    ranks = torch.zeros(shape, dtype=torch.int64, device=model.device)
    with torch.no_grad(), _evaluating(model):
        for members, shared in _plan(contexts, continuations, pairs) if packed else [([pair], 0) for pair in pairs]:
            prefix = _Prefix(model, list(contexts[members[0][0]][:shared]))
            for start in range(0, len(members), batch_size):
                part = members[start : start + batch_size]
                tails = [[*contexts[row][shared:], *continuations[row][index]] for row, index in part]
                sizes = [len(continuations[row][index]) for row, index in part]
                for (row, index), (taken, places) in zip(part, prefix.score(tails, sizes, temperature), strict=True):
                    if not bool(torch.isfinite(taken).all()):
                        raise ValueError(f"context {row}, continuation {index}: a log-probability is not finite")
                    logprobs[row, index, : len(taken)] = taken
                    ranks[row, index, : len(taken)] = places
    return TeacherForced(logprobs, ranks)


class _Prefix:
    """What sequences begin with, run once; its keys and values are repeated for each of them."""

    def __init__(self, model: Any, ids: list[int]) -> None:
        self.model, self.length, self.cache = model, len(ids), None
        if not ids:
            return
        # Nothing is read from the prefix but its keys and values: its logits would be the largest tensor of all.
        few = {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(model.forward).parameters else {}
        output = model(input_ids=torch.tensor([ids], device=model.device), use_cache=True, **few)
        self.cache = getattr(output, "past_key_values", None)
        if not hasattr(self.cache, "batch_repeat_interleave"):
            raise ValueError(f"{type(model).__name__} has no cache that can be repeated: expected packed=False")

    def score(self, tails: list[list[int]], sizes: list[int], temperature: float) -> list[tuple[Tensor, Tensor]]:
        """Log-probabilities and ranks of the last `sizes` tokens of each tail."""
        width, device = max(map(len, tails)), self.model.device
        ids = torch.tensor([tail + [0] * (width - len(tail)) for tail in tails], device=device)
        lengths = torch.tensor([[len(tail)] for tail in tails], device=device)
        real = torch.arange(width, device=device) < lengths
        given: dict[str, Any] = {"use_cache": False}
        if self.cache is not None:
            cache: Any = copy.deepcopy(self.cache)  # a forward pass appends to the cache that it is given
            cache.batch_repeat_interleave(len(tails))
            given = {"past_key_values": cache, "use_cache": True}
        seen = torch.ones(len(tails), self.length, dtype=torch.bool, device=device)
        logits = self.model(
            input_ids=ids,
            attention_mask=torch.cat([seen, real], 1).long(),
            position_ids=torch.arange(self.length, self.length + width, device=device).expand(len(tails), -1),
            **given,
        ).logits
        spans = [(len(tail) - size, len(tail)) for tail, size in zip(tails, sizes, strict=True)]
        taken = ops.span_logprobs(logits, ids, spans, temperature)
        places = [
            _ranks(logits[row, start - 1 : end - 1], ids[row, start:end]) for row, (start, end) in enumerate(spans)
        ]
        return list(zip(taken, places, strict=True))


def _ranks(logits: Tensor, ids: Tensor) -> Tensor:
    own = logits.gather(1, ids[:, None])
    return 1 + (logits > own).sum(1)


def _plan(
    contexts: Sequence[Ids], continuations: Sequence[Sequence[Ids]], pairs: list[tuple[int, int]]
) -> list[tuple[list[tuple[int, int]], int]]:
    """Sequences that share a beginning, and how much of it: each context alone or all together, whichever is less."""
    if not pairs:
        return []
    # One token of the context stays with the tail: it predicts the first token of the continuation.
    apart = [
        ([(row, index) for index in range(len(given))], len(contexts[row]) - 1)
        for row, given in enumerate(continuations)
        if given
    ]
    used = [contexts[members[0][0]] for members, _ in apart]
    common = min(_common(used), min(map(len, used)) - 1)
    each = sum(shared + len(members) for members, shared in apart)
    together = common + sum(len(contexts[row]) - common for row, _ in pairs)
    return [(pairs, common)] if together < each else apart


def _common(sequences: Sequence[Ids]) -> int:
    """Length of what all begin with."""
    first, last = min(sequences, key=list), max(sequences, key=list)
    shorter = min(len(first), len(last))
    return next((place for place in range(shorter) if first[place] != last[place]), shorter)


def _check(contexts: Sequence[Ids], continuations: Sequence[Sequence[Ids]], batch_size: int) -> None:
    if len(contexts) != len(continuations):
        raise ValueError(f"continuations are for {len(continuations)} contexts: expected {len(contexts)}")
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}: expected 1 or more")
    for row, (context, given) in enumerate(zip(contexts, continuations, strict=True)):
        if not len(context):
            raise ValueError(f"context {row} is empty: expected a token that predicts the continuation's first")
        for index, ids in enumerate(given):
            if not len(ids):
                raise ValueError(f"continuation {index} of context {row} is empty: expected tokens")


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
