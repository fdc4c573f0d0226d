"""Log-probabilities of spans of a text, and where the spans are.

A span is found by what was written before it, never by counting from the end: templates close turns with tokens of
their own.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from guerdon.ops._check import expect_shape
from guerdon.ops.token import token_logprobs


def span_logprobs(
    logits: Tensor, ids: Tensor, spans: Sequence[tuple[int, int]], temperature: float = 1.0, chunk: int = 128
) -> list[Tensor]:
    """Log-probabilities of the tokens of one span in each row; token t is read from row t - 1 of the logits.

    Args:
        logits: (B, L, V) float.
        ids: (B, L) int64.
        spans: B half-open (start, end), 1 <= start < end <= L: nothing predicts the first token of a row.
        temperature: Divides the logits.
        chunk: Tokens at a time, to bound memory.

    Returns:
        B tensors of the spans' lengths, float32 (float64 for float64 logits). Differentiable.

    Raises:
        ValueError: Wrong shapes, another number of spans than rows, or a span that is empty, starts at 0 or ends
            beyond L.

    Example:
        >>> import torch
        >>> logits = torch.log(torch.tensor([[[0.5, 0.25, 0.25], [0.125, 0.375, 0.5], [0.6, 0.3, 0.1], [1, 1, 2]]]))
        >>> span_logprobs(logits, torch.tensor([[0, 1, 2, 0]]), [(2, 4)])[0].exp()
        tensor([0.5000, 0.6000])
    """
    if logits.ndim != 3:
        raise ValueError(f"logits has shape {tuple(logits.shape)}: expected (B, L, V)")
    expect_shape("ids", ids, tuple(logits.shape[:2]), "logits")
    rows, width = ids.shape
    if len(spans) != rows:
        raise ValueError(f"spans has {len(spans)} entries: expected {rows}, one a row")
    for row, (start, end) in enumerate(spans):
        if not 1 <= start < end <= width:
            raise ValueError(f"spans in row {row} is ({start}, {end}): expected 1 <= start < end <= {width}")
    if not rows:
        return []
    sizes = [end - start for start, end in spans]
    owner = torch.repeat_interleave(torch.arange(rows), torch.tensor(sizes)).to(ids.device)
    place = torch.cat([torch.arange(start, end) for start, end in spans]).to(ids.device)
    taken = token_logprobs(logits[owner, place - 1][None], ids[owner, place][None], temperature, chunk)
    return list(torch.split(taken[0], sizes))


def appended_span(before: Sequence[int], after: Sequence[int]) -> tuple[int, int]:
    """Where the tokens are that a rendering has beyond a shorter one.

    Args:
        before: Token ids rendered without the span.
        after: Token ids rendered with it.

    Returns:
        Half-open (start, end) into `after`.

    Raises:
        ValueError: `after` does not begin with `before` (tokens merged at the border, or the template closes the turn
            before the span), or adds nothing.

    Example:
        >>> appended_span([5, 6], [5, 6, 7, 8])
        (2, 4)
    """
    shorter, longer = list(before), list(after)
    if longer[: len(shorter)] != shorter:
        place = next((i for i, (a, b) in enumerate(zip(shorter, longer)) if a != b), min(len(shorter), len(longer)))
        raise ValueError(f"after differs from before at token {place}: expected it to begin with before")
    if len(longer) == len(shorter):
        raise ValueError(f"after has no tokens beyond the {len(shorter)} of before: expected at least one")
    return len(shorter), len(longer)


def joined_spans(parts: Sequence[Sequence[int]]) -> tuple[list[int], list[tuple[int, int]]]:
    """Join token ids part after part, and say where each part went.

    Joining ids rather than texts keeps the tokens of a part as they are.

    Example:
        >>> joined_spans([[1, 2], [], [3]])
        ([1, 2, 3], [(0, 2), (2, 2), (2, 3)])
    """
    ids: list[int] = []
    spans = []
    for part in parts:
        spans.append((len(ids), len(ids) + len(part)))
        ids += part
    return ids, spans
