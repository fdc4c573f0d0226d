"""Functions along the tokens of responses: masked sums, whitening, KL estimators, log-probabilities, losses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from guerdon.ops import _memory, _whiten
from guerdon.ops._check import as_mask, expect_choice, expect_shape
from guerdon.ops._keys import dense_keys

REDUCTIONS = ("token", "sequence", "step", "constant", "class")


def masked_sum(x: Tensor, mask: Tensor, axis: int | None = None) -> Tensor:
    """Sum over the mask; values outside it, also NaN, count nothing.

    Args:
        x: Float tensor.
        mask: Bool tensor of the same shape.
        axis: Dimension that is summed over; None = all.
    """
    mask = as_mask("mask", mask, tuple(x.shape), "x")
    kept = torch.where(mask, x, torch.zeros_like(x))
    kept = kept if kept.dtype in (torch.float32, torch.float64) else kept.float()
    return (kept.sum() if axis is None else kept.sum(axis)).to(x.dtype)


def masked_mean(x: Tensor, mask: Tensor, axis: int | None = None) -> Tensor:
    """Mean over the mask; 0 where it is empty. Arguments as for `masked_sum`."""
    mask = as_mask("mask", mask, tuple(x.shape), "x")
    number = mask.sum() if axis is None else mask.sum(axis)
    return masked_sum(x, mask, axis) / number.clamp(min=1)


def over_tokens(x: Tensor, mask: Tensor) -> Tensor:
    """Give every masked-in token its row's value.

    Args:
        x: (B,) float.
        mask: (B, T) bool.

    Returns:
        (B, T) of the dtype of `x`, 0 outside the mask, also in rows of NaN. Differentiable.
    """
    expect_shape("x", x, tuple(mask.shape[:1]), "the rows of mask")
    mask = as_mask("mask", mask, tuple(mask.shape), "mask")
    if x.requires_grad or not x.is_floating_point() or not bool(torch.isfinite(x).all()):
        value = torch.where(torch.isnan(x), torch.zeros_like(x), x)[:, None]
        return torch.where(mask, value, torch.zeros_like(value))
    # Bytes become floating point several times faster than booleans.
    result = _memory.empty(mask.shape[0], mask.shape[1], x.dtype, x.device)
    return result.copy_(mask.contiguous().view(torch.int8)).mul_(x[:, None])


def running_mean(x: Tensor, mask: Tensor) -> Tensor:
    """(B, T): mean of the masked-in values up to and with each position; 0 before the first."""
    mask = as_mask("mask", mask, tuple(x.shape), "x")
    total = torch.where(mask, x, torch.zeros_like(x)).double().cumsum(1)
    return (total / mask.cumsum(1).clamp(min=1)).to(x.dtype)


def whiten(
    x: Tensor, mask: Tensor, eps: float = 1e-8, center_only: bool = False, ddof: int = 1, key: Tensor | None = None
) -> Tensor:
    """(x - mean) / sqrt(variance + eps) over the masked-in tokens of the whole batch, or of each key.

    Args:
        x: (B, T) float; NaN tokens take no part.
        mask: (B, T) bool.
        eps: Is added to the variance.
        center_only: Whether only the mean is taken off.
        ddof: Degrees of freedom taken off in the variance, 0 or 1.
        key: (B,) int64 groups of rows; None = one group.

    Returns:
        (B, T) of the dtype of `x`, 0 outside the mask and for NaN. Tokens without spread get 0.
    """
    expect_choice("ddof", ddof, (0, 1))
    mask = as_mask("mask", mask, tuple(x.shape), "x")
    rows = torch.zeros(len(x), dtype=torch.int64, device=x.device)
    if key is not None:
        expect_shape("key", key, (len(x),), "the rows of x")
        rows = dense_keys(key)[1]
    keys = int(rows.max()) + 1 if len(rows) else 0
    if _whiten.fits(x):
        return _whiten.whiten(x, mask, rows, keys, eps, center_only, ddof)
    mask = mask & ~torch.isnan(x)
    value = torch.where(mask, x, torch.zeros_like(x)).double()

    def total(per_row: Tensor) -> Tensor:
        return torch.zeros(keys, dtype=torch.float64, device=x.device).index_add(0, rows, per_row)[rows, None]

    number = total(mask.sum(1).double())
    centred = torch.where(mask, value - total(value.sum(1)) / number.clamp(min=1), 0.0)
    if center_only:
        return centred.to(x.dtype)
    variance = total((centred * centred).sum(1)) / (number - ddof).clamp(min=1)
    # Rounding in the mean of equal values must not be blown up to a spread.
    scale = total(value.abs().sum(1)) / number.clamp(min=1)
    flat = variance <= (scale * 1e-12) ** 2
    return torch.where(flat, 0.0, centred * torch.rsqrt(torch.where(flat, 1.0, variance + eps))).to(x.dtype)


def kl(logprobs: Tensor, ref_logprobs: Tensor, kind: str = "k3") -> Tensor:
    """Estimators of KL(policy || reference) from the tokens that the policy took.

    With d = ref - logp: "k1" = -d, "k2" = d^2 / 2, "k3" = exp(d) - d - 1.

    Args:
        logprobs: Log-probabilities under the policy.
        ref_logprobs: Log-probabilities under the reference, of the same shape.
        kind: "k1", "k2" or "k3".
    """
    expect_choice("kind", kind, ("k1", "k2", "k3"))
    expect_shape("ref_logprobs", ref_logprobs, tuple(logprobs.shape), "logprobs")
    difference = ref_logprobs - logprobs
    if kind == "k1":
        return -difference
    return difference.square() / 2 if kind == "k2" else torch.exp(difference) - difference - 1.0


def shift(x: Tensor, by: int = 1, fill: float = 0.0) -> Tensor:
    """Move values along dimension 1: to the right for positive `by`; what comes in is `fill`."""
    width = x.shape[1]
    by = max(-width, min(by, width))
    padding = torch.full((x.shape[0], abs(by), *x.shape[2:]), fill, dtype=x.dtype, device=x.device)
    return torch.cat([padding, x[:, : width - by]], 1) if by >= 0 else torch.cat([x[:, -by:], padding], 1)


def token_logprobs(logits: Tensor, ids: Tensor, temperature: float = 1.0, chunk: int = 128) -> Tensor:
    """Log-probabilities of tokens, in float32.

    Args:
        logits: (B, L, V); row t predicts token t of `ids`: the caller shifts.
        ids: (B, L) int64.
        temperature: Divides the logits.
        chunk: Positions at a time, to bound memory.

    Returns:
        (B, L) float32 (float64 for float64 logits). Differentiable; with gradient, chunks are recomputed.
    """
    expect_shape("ids", ids, tuple(logits.shape[:2]), "logits")

    def part(piece: Tensor, taken: Tensor) -> Tensor:
        scaled = _wide(piece) / temperature
        return torch.gather(scaled, 2, taken[..., None]).squeeze(2) - torch.logsumexp(scaled, 2)

    return _in_chunks(part, logits, ids, chunk)


def token_entropy(logits: Tensor, temperature: float = 1.0, chunk: int = 128) -> Tensor:
    """Entropy of each position's distribution, in nats and float32.

    Args:
        logits: (B, L, V).
        temperature: Divides the logits.
        chunk: Positions at a time, to bound memory.

    Returns:
        (B, L) float32 (float64 for float64 logits). Differentiable.
    """

    def part(piece: Tensor, _: Tensor) -> Tensor:
        scaled = _wide(piece) / temperature
        probability = torch.softmax(scaled, 2)
        weighted = torch.where(probability > 0, probability * scaled, torch.zeros_like(scaled))
        return torch.logsumexp(scaled, 2) - weighted.sum(2)

    return _in_chunks(part, logits, logits[..., 0], chunk)


def _wide(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _in_chunks(part: Callable[[Tensor, Tensor], Tensor], logits: Tensor, other: Tensor, chunk: int) -> Tensor:
    pieces = []
    for start in range(0, logits.shape[1], max(chunk, 1)):
        span = slice(start, start + chunk)
        given = (logits[:, span], other[:, span])
        if logits.requires_grad and logits.shape[1] > chunk:
            pieces.append(checkpoint(part, *given, use_reentrant=False))
        else:
            pieces.append(part(*given))
    return torch.cat(pieces, 1) if pieces else _wide(logits[..., 0])


def reduce_loss(
    x: Tensor,
    mask: Tensor,
    how: str,
    counts: float | Tensor | None = None,
    row_weight: Tensor | None = None,
    *,
    max_length: int | None = None,
    step: Tensor | None = None,
    label: Tensor | None = None,
) -> Tensor:
    """Bring per-token losses to one number.

    "token": sum / tokens. "sequence": mean over rows of the mean over each row's tokens (an empty row counts as a row
    of loss 0). "step": mean over all steps of the mean over each one's tokens. "constant": sum / (rows max_length).
    "class": mean over the classes of the token mean of each.

    Args:
        x: (B, T) float.
        mask: (B, T) bool.
        how: One of the five.
        counts: Number of tokens, rows, steps or rows ("constant") to divide by instead of this batch's own: the pieces
            of an accumulated step then add up. Not for "class".
        row_weight: (B,) float, multiplies the rows' losses, not what is divided by.
        max_length: For "constant".
        step: (B, T) int64, for "step".
        label: (B,) int64, for "class".

    Returns:
        0-dimensional tensor.
    """
    expect_choice("how", how, REDUCTIONS)
    mask = as_mask("mask", mask, tuple(x.shape), "x")
    if row_weight is not None:
        expect_shape("row_weight", row_weight, (len(x),), "the rows of x")
        x = x * row_weight[:, None]
    if how == "class":
        return _class_mean(x, mask, label, counts)
    if how == "step":
        return _step_mean(x, mask, step, counts)
    if how == "sequence":
        per_row = masked_sum(x, mask, 1) / mask.sum(1).clamp(min=1)
        return per_row.sum() / _at_least_one(len(x) if counts is None else counts)
    total = masked_sum(x, mask)
    if how == "token":
        return total / _at_least_one(mask.sum() if counts is None else counts)
    if max_length is None:
        raise ValueError("how is 'constant': expected max_length")
    return total / (_at_least_one(len(x) if counts is None else counts) * max_length)


def _at_least_one(number: float | Tensor) -> float | Tensor:
    return number.clamp(min=1) if isinstance(number, Tensor) else max(number, 1.0)


def _class_mean(x: Tensor, mask: Tensor, label: Tensor | None, counts: float | Tensor | None) -> Tensor:
    if label is None or counts is not None:
        raise ValueError("how is 'class': expected label, and no counts")
    expect_shape("label", label, (len(x),), "the rows of x")
    ids, dense = dense_keys(label)
    total = torch.zeros(len(ids), dtype=x.dtype, device=x.device).index_add(0, dense, masked_sum(x, mask, 1))
    number = torch.zeros(len(ids), dtype=x.dtype, device=x.device).index_add(0, dense, mask.sum(1).to(x.dtype))
    present = number > 0
    return (total / number.clamp(min=1))[present].mean() if bool(present.any()) else total.sum()


def _step_mean(x: Tensor, mask: Tensor, step: Tensor | None, counts: float | Tensor | None) -> Tensor:
    from guerdon.ops.step import exists, pool

    if step is None:
        raise ValueError("how is 'step': expected step")
    inside = torch.where(mask, step, -1)
    width = int(inside.max()) + 1 if inside.numel() else 0
    present = exists(inside, width)
    means = torch.where(present, pool(torch.where(mask, x, torch.zeros_like(x)), inside, width, "mean"), 0.0)
    return means.sum() / _at_least_one(present.sum() if counts is None else counts)


def ngram_repetition(tokens: Sequence[Hashable] | str, n: int, count: str = "distinct") -> float:
    """How much of a text is repeated n-grams.

    Args:
        tokens: Words or token ids; a text is split at white space.
        n: Length of the n-grams.
        count: What is counted of the n-grams that occur more than once: each "distinct" one once (arXiv 2505.22653), or
            all their "positions". Divided by the number of n-grams.

    Returns:
        A share in [0, 1]; 0 for texts of fewer than n tokens.
    """
    expect_choice("count", count, ("distinct", "positions"))
    if n < 1:
        raise ValueError(f"n is {n}: expected at least 1")
    items: Sequence[Hashable] = tokens.split() if isinstance(tokens, str) else tokens
    grams = [tuple(items[start : start + n]) for start in range(len(items) - n + 1)]
    if not grams:
        return 0.0
    repeated = [number for number in Counter(grams).values() if number > 1]
    return (len(repeated) if count == "distinct" else sum(repeated)) / len(grams)
