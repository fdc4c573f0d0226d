"""Cuts against trying all of them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon import ops

FRAMES = torch.tensor([[0.0, 0], [0.2, 0], [1, 0], [1, 0.4], [1, 2], [1.2, 2], [1, 2.2]], dtype=torch.float64)


def best(frames: np.ndarray, n: int, min_size: int) -> tuple[tuple[int, ...], float]:
    found: tuple[tuple[int, ...], float] | None = None
    for cuts in itertools.combinations(range(1, len(frames)), n - 1):
        ends = (0, *cuts, len(frames))
        if any(b - a < min_size for a, b in itertools.pairwise(ends)):
            continue
        score = float(np.mean([frames[a:b].std(0).mean() for a, b in itertools.pairwise(ends)]))
        if found is None or score < found[1] - 1e-12:
            found = cuts, score
    assert found is not None
    return found


def test_the_worked_example() -> None:
    assert ops.segment_std(FRAMES) == pytest.approx(0.70863002)
    assert ops.segment(FRAMES, 1, 2) == ([], pytest.approx(0.70863002))
    assert ops.segment(FRAMES, 2, 2) == ([4], pytest.approx(0.20432214))
    assert ops.segment(FRAMES, 3, 2) == ([2, 4], pytest.approx(0.08142697))


@given(
    seed=st.integers(0, 10_000),
    frames=st.integers(1, 9),
    n=st.integers(1, 4),
    min_size=st.integers(1, 3),
    levels=st.booleans(),
)
def test_the_optimum_is_that_of_trying_all(seed: int, frames: int, n: int, min_size: int, levels: bool) -> None:
    generator = np.random.default_rng(seed)
    # Few levels make many cuts equally good: the earliest must be taken.
    shape = (frames, 3)
    features = generator.integers(0, 3, shape).astype(float) if levels else generator.normal(size=shape)
    if frames < n * min_size:
        with pytest.raises(ValueError, match="frames"):
            ops.segment(torch.tensor(features), n, min_size)
        return
    cuts, score = ops.segment(torch.tensor(features), n, min_size)
    expected, least = best(features, n, min_size)
    assert score == pytest.approx(least, abs=1e-7)
    assert tuple(cuts) == expected
    reverse = ops.segment(torch.tensor(features[::-1].copy()), n, min_size)[1]
    assert reverse == pytest.approx(score, abs=1e-7)


def test_levels_are_found_whatever_the_offset() -> None:
    level = torch.repeat_interleave(torch.tensor([3.0, 3.1, -7.0]), torch.tensor([4, 2, 5]))
    features = torch.stack([level, 2 * level + 1e4], 1)
    assert ops.segment(features, 3) == ([4, 6], 0.0)
    assert ops.segment(torch.cat([features, torch.ones(11, 200)], 1), 3) == ([4, 6], 0.0)
    assert ops.segment(features, 11)[1] == 0.0


def test_bad_features_are_named() -> None:
    for call, match in (
        (lambda: ops.segment(FRAMES, 0), "n is 0"),
        (lambda: ops.segment(FRAMES, 2, 0), "min_size is 0"),
        (lambda: ops.segment(FRAMES[:, :0], 1), "not empty"),
        (lambda: ops.segment(torch.tensor([[1.0], [float("nan")]]), 1), "frame 1"),
        (lambda: ops.segment_std(torch.zeros(3)), "frames, features"),
    ):
        with pytest.raises(ValueError, match=match):
            call()
