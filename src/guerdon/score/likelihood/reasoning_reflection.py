"""R3: how much a chain of thought raises the likelihood of a reference answer, at the tokens that reflect it.

Direct reasoning optimisation (arXiv 2506.13351, version 1). Where this departs from it: the paper does not publish the
weighting function; weights here are in proportion to the standard deviation over the group, from a threshold on, and
uniform where no token varies.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

MODES = ("std", "topk", "softmax")


def token_std(logp: Tensor) -> Tensor:
    """Standard deviation of each answer token's log-probability over the reasonings, the population's.

    Args:
        logp: (G, L) float.

    Returns:
        (L,) of at least float32.

    Raises:
        ValueError: Wrong shape, no reasoning, no token, or NaN.
    """
    value = _logprobs(logp)
    # Equal rows are to give exactly 0, whatever rounding does to their mean.
    same = (value == value[:1]).all(0)
    return torch.where(same, 0.0, value.std(0, correction=0))


def r3_weights(sigma: Tensor, delta: float = 0.0, mode: str = "std", k: int = 8, temperature: float = 1.0) -> Tensor:
    """Weights of answer tokens, which sum to 1.

    Args:
        sigma: (L,) float, from `token_std`, 0 or more.
        delta: Tokens with a smaller sigma get nothing.
        mode: "std" = in proportion to sigma; "topk" = the k largest, equally; "softmax" = of sigma over its
            largest value, among the tokens that vary.
        k: Tokens of "topk"; of equal ones the first.
        temperature: Of "softmax".

    Returns:
        (L,) of at least float32; 1 / L each if no token varies, or none reaches `delta`.

    Raises:
        ValueError: Wrong shape, no token, a sigma that is negative or not finite, or a parameter out of range.

    Example:
        >>> import torch
        >>> r3_weights(torch.tensor([0.0, 3.0, 0.0, 1.0])).tolist()
        [0.0, 0.75, 0.0, 0.25]
    """
    if mode not in MODES:
        raise ValueError(f"mode is {mode!r}: expected one of {MODES}")
    if sigma.ndim != 1 or not len(sigma) or not bool(torch.isfinite(sigma).all()) or bool((sigma < 0).any()):
        raise ValueError(f"sigma has shape {tuple(sigma.shape)}: expected (L,), L >= 1, finite and 0 or more")
    if not delta >= 0.0 or k < 1 or not temperature > 0.0:
        raise ValueError(f"delta is {delta}, k {k}, temperature {temperature}: expected >= 0, >= 1 and > 0")
    value = sigma.to(torch.promote_types(sigma.dtype, torch.float32))
    kept = (value >= delta) & (value > 0)
    if not bool(kept.any()):
        return torch.full_like(value, 1.0 / len(value))
    # Relative to the largest, so that weights do not depend on the scale.
    relative = value / value.max()
    if mode == "softmax":
        return torch.softmax(torch.where(kept, relative / temperature, -torch.inf), 0)
    if mode == "topk":
        order = torch.argsort(torch.where(kept, relative, -1.0), descending=True, stable=True)
        kept = kept & torch.zeros_like(kept).index_fill(0, order[:k], True)
        chosen = kept.to(value.dtype)
        return chosen / chosen.sum()
    chosen = torch.where(kept, relative, 0.0)
    return chosen / chosen.sum()


def r3(logp: Tensor, baseline: Tensor | None = None, weights: Tensor | None = None) -> Tensor:
    """Weighted gain in log-probability of the reference answer after each reasoning.

    Args:
        logp: (G, L) float, teacher-forced log-probabilities of the answer after each reasoning.
        baseline: (L,) or (G, L), the same after a masked reasoning; None = 0.
        weights: (L,) float; None = `r3_weights` of `token_std`.

    Returns:
        (G,) of at least float32, without gradient: it is a reward.

    Raises:
        ValueError: Shapes differ, no token, or NaN.

    Example:
        >>> import torch
        >>> r3(torch.tensor([[-0.2, -0.5], [-0.2, -2.5]]), torch.tensor([-0.2, -2.0])).tolist()
        [1.5, -0.5]
    """
    value = _logprobs(logp)
    weight = _weights(value, weights)
    if baseline is not None:
        if baseline.shape not in (value.shape, value.shape[1:]):
            raise ValueError(f"baseline has shape {tuple(baseline.shape)}: expected {tuple(value.shape)} or (L,)")
        if not bool(torch.isfinite(baseline).all()):
            raise ValueError("baseline is not finite: expected a log-probability of every token")
        value = value - baseline.detach()
    return value @ weight


def r3_propagated(logp: Tensor, key_idx: Tensor, gamma: float = 0.5, weights: Tensor | None = None) -> Tensor:
    """R3 without a masked pass: a doubtful key token also lowers the tokens after it, less with the distance.

    Each key token of probability p multiplies that of the token d places later by p + (1 - p)(1 - exp(-gamma d)).

    Args:
        logp: (G, L) float, teacher-forced log-probabilities of the answer.
        key_idx: (K,) int64, places of the key tokens, each once.
        gamma: How fast the influence fades, 0 or more.
        weights: (L,) float; None = `r3_weights` of `token_std`.

    Returns:
        (G,) of at least float32, without gradient.

    Raises:
        ValueError: Shapes differ, a place outside the answer or named twice, a negative gamma, or NaN.
    """
    value = _logprobs(logp)
    weight = _weights(value, weights)
    places = key_idx.to(value.device)
    if places.ndim != 1 or bool((places < 0).any()) or bool((places >= value.shape[1]).any()):
        raise ValueError(f"key_idx is {key_idx.tolist()}: expected places from 0 to {value.shape[1] - 1}")
    if len(set(places.tolist())) != len(places):
        raise ValueError(f"key_idx is {key_idx.tolist()}: expected each place once")
    if math.isnan(gamma) or gamma < 0.0:
        raise ValueError(f"gamma is {gamma}: expected 0 or more")
    distance = torch.arange(value.shape[1], device=value.device)[None, :] - places[:, None]
    fade = torch.exp(-gamma * distance.clamp(min=1).to(value.dtype))
    p = value[:, places].exp().clamp(max=1.0)[:, :, None]
    factor = torch.where(distance > 0, p + (1.0 - p) * (1.0 - fade), 1.0)
    return (value + torch.log(factor).sum(1)) @ weight


def _logprobs(logp: Tensor) -> Tensor:
    if logp.ndim != 2 or not logp.numel():
        raise ValueError(f"logp has shape {tuple(logp.shape)}: expected (G, L), G and L at least 1")
    if not bool(torch.isfinite(logp).all()):
        row = int((~torch.isfinite(logp)).any(1).nonzero()[0])
        raise ValueError(f"logp in row {row} is not finite: expected a log-probability of every token")
    return logp.detach().to(torch.promote_types(logp.dtype, torch.float32))


def _weights(value: Tensor, weights: Tensor | None) -> Tensor:
    if weights is None:
        return r3_weights(token_std(value))
    if weights.shape != value.shape[1:] or not bool(torch.isfinite(weights).all()):
        raise ValueError(f"weights has shape {tuple(weights.shape)}: expected ({value.shape[1]},), finite")
    return weights.detach().to(value)
