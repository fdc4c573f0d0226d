"""How different a behaviour is: novelty, path signatures as descriptors of behaviours, and coverage.

Novelty is the mean distance to the nearest known behaviours (arXiv 2203.01027, chapter on novelty search). Signatures
describe a whole path without choosing a moment of it: displacement, and the signed areas it sweeps.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from guerdon.control.mdp import Array

DROPS = ("always", "self")
_PAIRS_AT_ONCE = 2_000_000
_TREE_DIMENSIONS = 15


def novelty(bd: ArrayLike, reference: ArrayLike, k: int = 15, drop_first: str = "always") -> Array:
    """Mean distance of every behaviour to its nearest neighbours among known ones.

    The distances of a behaviour to all of the reference are sorted, the first is dropped, and the next `k` (or as many
    as there are) are averaged.

    Args:
        bd: (N, D) behaviour descriptors.
        reference: (R, D) known behaviours, usually with `bd` among them.
        k: How many neighbours are averaged.
        drop_first: "always": the nearest is dropped, also where it is not the behaviour itself, as the official code of
            arXiv 2203.01027 does; "self": only where its distance is 0.

    Returns:
        (N,) float64. Distances are exact: a k-d tree, or all pairs block by block in many dimensions.

    Raises:
        ValueError: Shapes that do not match, a value that is not finite, k < 1, an unknown `drop_first`, or a behaviour
            that has no neighbour left, as with a single reference point.

    Example:
        >>> novelty([[0, 0], [1, 0]], [[0, 0], [1, 0], [0, 2], [3, 4]], k=2)
        array([1.5       , 1.61803399])
    """
    points, known = _matrix("bd", bd), _matrix("reference", reference)
    if points.shape[1] != known.shape[1]:
        raise ValueError(f"bd has {points.shape[1]} dimensions and reference {known.shape[1]}: expected equal numbers")
    if k < 1 or drop_first not in DROPS:
        raise ValueError(f"k is {k}, drop_first {drop_first!r}: expected k >= 1 and one of {DROPS}")
    if not len(points):
        return np.zeros(0)
    if not len(known):
        raise ValueError("reference is empty: expected at least one point beside the nearest of each behaviour")
    nearest = _nearest(points, known, min(k + 1, len(known)))
    dropped = np.ones(len(points), dtype=bool) if drop_first == "always" else nearest[:, 0] == 0
    if len(known) == 1 and dropped.any():
        raise ValueError(
            f"reference has one point: expected another beside the nearest of bd in row {dropped.argmax()}"
        )
    without_first = nearest[:, 1:].sum(1) / max(nearest.shape[1] - 1, 1)
    with_first = nearest[:, :k].mean(1)
    found: Array = np.where(dropped, without_first, with_first)
    return found


def signature(path: ArrayLike, order: int = 2) -> Array:
    """The signature of a path of straight segments, to the second order.

    S_i is the displacement; S_ij = sum over segments of (X_i - X_i(start)) d_j + d_i d_j / 2.

    Args:
        path: (..., T, d) points, T >= 2.
        order: 1 or 2.

    Returns:
        (..., d) float64 for order 1, (..., d + d * d) for order 2, S_ij at d + i * d + j.

    Raises:
        ValueError: Fewer than two points, a value that is not finite, or another order.

    Example:
        >>> signature([[0, 0], [1, 1], [3, 1], [3, 2]])
        array([3. , 2. , 4.5, 3.5, 2.5, 2. ])
    """
    points = _path(path)
    if order not in (1, 2):
        raise ValueError(f"order is {order}: expected 1 or 2")
    moves = np.diff(points, axis=-2)
    first: Array = points[..., -1, :] - points[..., 0, :]
    if order == 1:
        return first
    middles = points[..., :-1, :] - points[..., :1, :] + moves / 2
    second = np.swapaxes(middles, -1, -2) @ moves
    return np.concatenate((first, second.reshape(*first.shape[:-1], -1)), axis=-1)


def log_signature(path: ArrayLike) -> Array:
    """The displacement of a path and the signed area that it sweeps in each plane: the log-signature of order 2.

    Args:
        path: (..., T, d) points, T >= 2.

    Returns:
        (..., d + d (d - 1) / 2) float64: S_i, then (S_ij - S_ji) / 2 for i < j, row by row.

    Raises:
        ValueError: As `signature`.

    Example:
        >>> log_signature([[0, 0], [1, 1], [3, 1], [3, 2]])
        array([3. , 2. , 0.5])
    """
    terms = signature(path)
    d = _path(path).shape[-1]
    second = terms[..., d:].reshape(*terms.shape[:-1], d, d)
    areas = (second - np.swapaxes(second, -1, -2)) / 2
    rows, columns = np.triu_indices(d, 1)
    return np.concatenate((terms[..., :d], areas[..., rows, columns]), axis=-1)


def add_time(path: ArrayLike, length: float, max_length: float) -> Array:
    """Attach a clock as the last channel: it runs evenly from 0 to length / max_length.

    Args:
        path: (..., T, d) points, T >= 2.
        length: Duration of this path.
        max_length: The longest duration, above 0.

    Returns:
        (..., T, d + 1) float64.

    Raises:
        ValueError: As `signature`, or durations out of range.
    """
    points = _path(path)
    if not 0 <= length <= max_length or max_length <= 0:
        raise ValueError(f"length {length}, max_length {max_length}: expected 0 <= length <= max_length, above 0")
    clock = np.linspace(0.0, length, points.shape[-2]) / max_length
    return np.concatenate((points, np.broadcast_to(clock[:, None], (*points.shape[:-1], 1))), axis=-1)


def coverage(points: ArrayLike, low: ArrayLike, high: ArrayLike, bins: int | Sequence[int]) -> float:
    """Share of the cells of a grid that hold at least one point.

    Args:
        points: (N, D) points.
        low: (D,) lower corner of the grid, or one number.
        high: (D,) upper corner, which belongs to the last cell.
        bins: Cells along each dimension, one number or D.

    Raises:
        ValueError: A point outside the grid or not finite, or a grid without cells.

    Example:
        >>> coverage([[0.1, 0.1], [0.2, 0.3], [0.9, 0.9]], 0, 1, 2)
        0.5
    """
    values = _matrix("points", points)
    size = values.shape[1]
    lower, upper = (np.broadcast_to(np.asarray(edge, dtype=np.float64), (size,)) for edge in (low, high))
    cells = np.broadcast_to(np.asarray(bins, dtype=np.int64), (size,))
    if (cells < 1).any() or not (lower < upper).all():
        raise ValueError(f"low {lower}, high {upper}, bins {cells}: expected low < high and at least one cell")
    outside = ((values < lower) | (values > upper)).any(1)
    if outside.any():
        row = int(np.argmax(outside))
        raise ValueError(f"points in row {row} is {values[row]}: expected it between {lower} and {upper}")
    place = np.minimum(((values - lower) / (upper - lower) * cells).astype(np.int64), cells - 1)
    return len(np.unique(place, axis=0)) / float(np.prod(cells)) if len(values) else 0.0


def _nearest(points: Array, known: Array, taken: int) -> Array:
    """(N, taken) smallest distances, sorted."""
    if len(points) * len(known) <= _PAIRS_AT_ONCE // 10 or known.shape[1] > _TREE_DIMENSIONS:
        rows = max(_PAIRS_AT_ONCE // len(known), 1)
        blocks = (cdist(points[start : start + rows], known) for start in range(0, len(points), rows))
        return np.concatenate([np.sort(np.partition(block, taken - 1)[:, :taken]) for block in blocks])
    found, _ = cKDTree(known).query(points, k=list(range(1, taken + 1)))
    return np.asarray(found, dtype=np.float64)


def _matrix(name: str, value: ArrayLike) -> Array:
    array = np.asarray(value, dtype=np.float64)
    if array.ndim != 2:
        raise ValueError(f"{name} has shape {array.shape}: expected 2 dimensions")
    _expect_finite(name, array)
    return array


def _path(value: ArrayLike) -> Array:
    array = np.asarray(value, dtype=np.float64)
    if array.ndim < 2 or array.shape[-2] < 2:
        raise ValueError(f"path has shape {array.shape}: expected (..., T, d) with at least 2 points")
    _expect_finite("path", array)
    return array


def _expect_finite(name: str, array: Array) -> None:
    bad = ~np.isfinite(array)
    if bad.any():
        place = tuple(int(index[0]) for index in np.nonzero(bad))
        raise ValueError(f"{name}{list(place)} is {array[place]}: expected a finite number")
