"""Cutting a sequence of feature vectors into steps of little variation."""

from __future__ import annotations

import torch
from torch import Tensor

_FEATURES_AT_ONCE = 64
"""Features whose (T, T) deviations are held at the same time."""


def segment_std(features: Tensor) -> float:
    """Mean over the features of their standard deviation over the frames (population form).

    Args:
        features: (T, D) float, T above 0.
    """
    _check(features)
    return float(features.double().std(0, correction=0).mean())


def segment(features: Tensor, n: int, min_size: int = 1) -> tuple[list[int], float]:
    """Cut into n segments so that the mean of the segments' deviations is smallest (arXiv 1612.06699, §3.1).

    The mean is over segments, not weighted by their length. The optimum is exact, by dynamic programming over
    (segments left, first frame) in O(n T^2); of equally good cuts the earliest are taken.

    Args:
        features: (T, D) float, one row a frame.
        n: Number of segments.
        min_size: Smallest number of frames of a segment.

    Returns:
        n - 1 cuts, each the first frame of a segment, increasing; and the mean deviation of the segments.

    Raises:
        ValueError: Fewer frames than n min_size, n or `min_size` below 1, or features that are not finite.

    Example:
        >>> import torch
        >>> segment(torch.tensor([[0.0], [0.0], [5.0], [5.0], [5.0]]), 2)
        ([2], 0.0)
    """
    _check(features)
    frames = len(features)
    if n < 1 or min_size < 1:
        raise ValueError(f"n is {n} and min_size is {min_size}: expected at least 1")
    if frames < n * min_size:
        raise ValueError(f"features has {frames} frames: expected at least {n * min_size} for {n} segments")
    cost = _deviations(features.double(), min_size)
    best = cost[:, frames]
    choices = []
    for _ in range(n - 1):
        # total[s, i]: the first segment is [s, i), the rest from i on is as good as it can be.
        total = cost + best[None]
        smallest = total.amin(1)
        # Sums in another order differ in the last digits; the earliest of equal cuts is taken.
        near = total <= smallest[:, None] + 1e-12 * (1.0 + smallest[:, None].abs())
        choices.append(near.long().argmax(1))
        best = smallest
    cuts: list[int] = []
    for choice in reversed(choices):
        cuts.append(int(choice[cuts[-1] if cuts else 0]))
    return cuts, float(best[0]) / n


def _check(features: Tensor) -> None:
    if features.ndim != 2 or not features.numel():
        raise ValueError(f"features has shape {tuple(features.shape)}: expected (frames, features), not empty")
    if not bool(torch.isfinite(features).all()):
        frame = int((~torch.isfinite(features)).any(1).nonzero()[0])
        raise ValueError(f"features in frame {frame} are not finite: expected finite numbers")


def _deviations(features: Tensor, min_size: int) -> Tensor:
    """(T + 1, T + 1): mean deviation of the frames [i, j); infinity for segments that are too short."""
    frames, width = features.shape
    place = torch.arange(frames + 1, device=features.device)
    size = place[None] - place[:, None]
    total = torch.zeros(frames + 1, frames + 1, dtype=torch.float64, device=features.device)
    for start in range(0, width, _FEATURES_AT_ONCE):
        total += _summed(features[:, start : start + _FEATURES_AT_ONCE], size, place)
    return torch.where(size >= min_size, total / width, torch.inf)


def _summed(part: Tensor, size: Tensor, place: Tensor) -> Tensor:
    """(T + 1, T + 1): the deviations of a few features, added."""
    centred = part - part.mean(0)
    zero = torch.zeros_like(centred[:1])
    first = torch.cat([zero, centred.cumsum(0)])
    second = torch.cat([zero, centred.square().cumsum(0)])
    number = size.clamp(min=1)[..., None]
    mean = (first[None] - first[:, None]) / number
    variance = ((second[None] - second[:, None]) / number - mean.square()).clamp(min=0)
    # The frame at which a run of equal values began: what lies in one run has no deviation, whatever rounding says.
    changed = torch.cat([torch.ones_like(centred[:1], dtype=torch.bool), part[1:] != part[:-1]])
    began = torch.where(changed, place[:-1, None], 0).cummax(0).values
    began = torch.cat([torch.zeros_like(began[:1]), began])
    constant = began[None] <= place[:, None, None]
    return torch.where(constant, 0.0, variance).sqrt().sum(-1)
