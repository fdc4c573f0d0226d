"""Choosing elements of groups: balanced numbers, pairs, weights, quotas."""

from __future__ import annotations

from typing import overload

import torch
from torch import Tensor

from guerdon.ops._check import expect_choice, expect_shape
from guerdon.ops._keys import dense_keys
from guerdon.ops.group import _total


@overload
def balanced_counts(n_positive: int, n_negative: int, keep: int, odd: str = ...) -> tuple[int, int]: ...


@overload
def balanced_counts(n_positive: Tensor, n_negative: Tensor, keep: Tensor, odd: str = ...) -> tuple[Tensor, Tensor]: ...


def balanced_counts(
    n_positive: int | Tensor, n_negative: int | Tensor, keep: int | Tensor, odd: str = "half_even"
) -> tuple[int | Tensor, int | Tensor]:
    """How many of each class to keep, as near to half and half as the class sizes allow.

    Args:
        n_positive: Members of the positive class; an int, or a tensor of any shape.
        n_negative: Members of the negative class.
        keep: How many to keep of both; more than there are = all.
        odd: Who gets the odd one: "half_even" = the number of dropped positive members is rounded half to even (the
            official code of arXiv 2509.03403), "positive" = the positive class.

    Returns:
        Kept positive and negative members, of the kind of the arguments; the product is the largest possible.

    Raises:
        ValueError: A negative number.

    Example:
        >>> balanced_counts(5, 3, 5)
        (3, 2)
        >>> balanced_counts(4, 4, 5)
        (2, 3)
    """
    expect_choice("odd", odd, ("half_even", "positive"))
    scalar = not isinstance(n_positive, Tensor)
    positive, negative, kept = (torch.as_tensor(value).double() for value in (n_positive, n_negative, keep))
    for name, value in (("n_positive", positive), ("n_negative", negative), ("keep", kept)):
        if bool((value < 0).any()):
            raise ValueError(f"{name} is {value.tolist()}: expected 0 or more")
    remove = (positive + negative - kept).clamp(min=0)
    half = (positive - negative + remove) / 2
    drop = torch.round(half) if odd == "half_even" else torch.floor(half)
    drop = torch.minimum(drop.clamp(min=0), remove)
    # A class cannot lose more than it has.
    drop = torch.minimum(torch.maximum(drop, remove - negative), positive)
    keep_positive, keep_negative = (positive - drop).long(), (negative - (remove - drop)).long()
    return (int(keep_positive), int(keep_negative)) if scalar else (keep_positive, keep_negative)


def balanced_keep_counts(n_positive: int, n_negative: int, n_remove: int) -> tuple[int, int]:
    """How many of each class stay when `n_remove` are dropped (PROF, arXiv 2509.03403).

    Args:
        n_positive: Members of the positive class.
        n_negative: Members of the negative class.
        n_remove: How many are dropped; all if there are not more.

    Raises:
        ValueError: A negative number.

    Example:
        >>> balanced_keep_counts(7, 1, 4)
        (3, 1)
    """
    for name, value in (("n_positive", n_positive), ("n_negative", n_negative), ("n_remove", n_remove)):
        if value < 0:
            raise ValueError(f"{name} is {value}: expected 0 or more")
    total = n_positive + n_negative
    return balanced_counts(n_positive, n_negative, total - n_remove if n_remove < total else 0)


def pair_indices(
    key: Tensor,
    score: Tensor,
    mode: str = "all",
    margin: float = 0.0,
    generator: torch.Generator | None = None,
    texts: tuple[str, ...] | None = None,
) -> Tensor:
    """Pairs (better row, worse row) inside the same key.

    Args:
        key: (N,) int64.
        score: (N,) float, or bool = positive; NaN rows take part in no pair.
        mode: "all" pairs, one "random" pair a key, the "extreme" pair (largest, smallest; lowest rows) of each key, or
            "one_to_one" = the better half against the worse half in order of score.
        margin: A pair needs a difference above it.
        generator: For "random".
        texts: Rows with equal texts make no pair.

    Returns:
        (P, 2) int64, in order of rows.
    """
    expect_choice("mode", mode, ("all", "random", "extreme", "one_to_one"))
    expect_shape("score", score, tuple(key.shape), "key")
    if mode == "random" and generator is None:
        raise ValueError("mode 'random' draws pairs: expected a generator")
    value = score.double()
    allowed = (key[:, None] == key) & (value[:, None] - value > margin)
    if texts is not None:
        numbers = {text: index for index, text in enumerate(dict.fromkeys(texts))}
        text_id = torch.tensor([numbers[text] for text in texts], device=key.device)
        allowed &= text_id[:, None] != text_id
    pairs = allowed.nonzero()
    if mode == "all" or not len(pairs):
        return pairs
    if mode == "random":
        order = torch.randperm(len(pairs), generator=generator).to(pairs.device)
        return _first_of_each(pairs[order], key)
    gap = value[pairs[:, 0]] - value[pairs[:, 1]]
    pairs = pairs[gap.argsort(descending=True, stable=True)]
    return _first_of_each(pairs, key) if mode == "extreme" else _matching(pairs, key)


def _first_of_each(pairs: Tensor, key: Tensor) -> Tensor:
    _, dense = dense_keys(key[pairs[:, 0]])
    place = torch.arange(len(pairs), device=pairs.device)
    first = torch.full((int(dense.max()) + 1,), len(pairs), device=pairs.device)
    chosen = pairs[first.scatter_reduce(0, dense, place, "amin")]
    return chosen[chosen[:, 0].argsort(stable=True)]


def _matching(pairs: Tensor, key: Tensor) -> Tensor:
    """Greedy disjoint pairs, the best with the worst first: one pair of every key a round."""
    chosen = []
    used = torch.zeros(len(key), dtype=torch.bool, device=key.device)
    while len(pairs):
        first = _first_of_each(pairs, key)
        chosen.append(first)
        used[first.reshape(-1)] = True
        pairs = pairs[~used[pairs].any(1)]
    found = torch.cat(chosen)
    return found[found[:, 0].argsort(stable=True)]


def class_weights(label: Tensor, key: Tensor) -> Tensor:
    """Weights that make both classes of a key count alike: size / (2 members of the class), 1 in pure keys.

    Args:
        label: (N,) bool or 0/1.
        key: (N,) int64.

    Returns:
        (N,) float32; float64 where the labels are.
    """
    expect_shape("key", key, tuple(label.shape), "label")
    positive = label.double()
    ids, dense = dense_keys(key)
    number = _total(torch.ones_like(positive), dense, len(ids))[dense]
    right = _total(positive, dense, len(ids))[dense]
    same = torch.where(positive > 0, right, number - right)
    weight = torch.where(same < number, number / (2 * same.clamp(min=1)), 1.0)
    return weight if label.dtype == torch.float64 else weight.float()


def allocate(n_groups: int, total: int, device: torch.device | str = "cpu") -> Tensor:
    """Divide a total among groups as evenly as possible; the first `total mod n_groups` get one more.

    Example:
        >>> allocate(3, 8).tolist()
        [3, 3, 2]
    """
    if n_groups < 1 or total < 0:
        raise ValueError(f"n_groups is {n_groups}, total is {total}: expected at least 1 and 0")
    whole, rest = divmod(total, n_groups)
    return whole + (torch.arange(n_groups, device=device) < rest).to(torch.int64)


def take(key: Tensor, quota: Tensor, generator: torch.Generator) -> Tensor:
    """Draw some elements of each key without replacement.

    Args:
        key: (N,) int64.
        quota: (K,) int64, how many of each key, in order of first appearance; more than there are = all.
        generator: Source of randomness.

    Returns:
        Sorted indices of the drawn elements.
    """
    from guerdon.ops.group import rank, reduce

    ids, _ = reduce(torch.ones(len(key), device=key.device), key, "count")
    expect_shape("quota", quota, tuple(ids.shape), "the distinct keys")
    noise = torch.rand(len(key), generator=generator, dtype=torch.float64).to(key.device)
    own = (key[:, None] == ids).long().argmax(1) if len(ids) else key
    return (rank(noise, key) < quota[own]).nonzero().squeeze(1)
