"""Majorities against counting by hand."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon import ops

NAN = float("nan")


def slow(votes: list[list[float]], size: int, tie: float | None) -> list[float] | None:
    kept = [row for row in votes if len(row) == size]
    if not kept:
        return None
    result = []
    for step in range(size):
        ranked = Counter(row[step] for row in kept).most_common()
        if len(ranked) > 1 and ranked[0][1] == ranked[1][1]:
            if tie is None:
                return None
            result.append(tie)
        else:
            result.append(ranked[0][0])
    return result


@given(
    votes=st.lists(st.lists(st.sampled_from([0.0, 1.0, -1.0]), min_size=1, max_size=4), max_size=7),
    size=st.integers(1, 4),
    tie=st.sampled_from([None, 0.0]),
    by_length=st.booleans(),
)
def test_majorities(votes: list[list[float]], size: int, tie: float | None, by_length: bool) -> None:
    fill = 0.0 if by_length else NAN
    padded = torch.tensor([row + [fill] * (4 - len(row)) for row in votes]).reshape(len(votes), 4)
    lengths = torch.tensor([len(row) for row in votes], dtype=torch.int64) if by_length else None
    found = ops.majority(padded, lengths, size, tie)
    expected = slow(votes, size, tie)
    assert (None if found is None else found.tolist()) == expected
    if len(votes) > 1:
        order = torch.randperm(len(votes), generator=torch.Generator().manual_seed(0))
        again = ops.majority(padded[order], None if lengths is None else lengths[order], size, tie)
        assert (None if again is None else again.tolist()) == expected


def test_verdicts_on_outcomes() -> None:
    verdicts = torch.tensor([True, True, False])
    found = ops.majority(verdicts[:, None], tie=None)
    assert found is not None
    assert found.tolist() == [1.0]
    assert ops.majority(verdicts[1:, None], tie=None) is None
    assert ops.majority(torch.zeros(0, 1), tie=None) is None
    alone = ops.majority(torch.tensor([[1, 0, 1]]))
    assert alone is not None
    assert alone.tolist() == [1, 0, 1]
    assert alone.dtype == torch.int64


def test_accuracy_rises_with_voters_as_the_binomial_says() -> None:
    generator = torch.Generator().manual_seed(0)
    for voters in (1, 5, 15):
        votes = (torch.rand(voters, 4000, generator=generator) < 0.7).float()
        found = ops.majority(votes)
        assert found is not None
        expected = sum(math.comb(voters, k) * 0.7**k * 0.3 ** (voters - k) for k in range(voters // 2 + 1, voters + 1))
        assert float(found.mean()) == pytest.approx(expected, abs=0.03)


def test_steps_that_nobody_voted_on_are_tied() -> None:
    votes = torch.tensor([[NAN, 1.0], [NAN, 1.0]])
    found = ops.majority(votes, tie=-1.0)
    assert found is not None
    assert found.tolist() == [-1.0, 1.0]
    assert ops.majority(votes, tie=None) is None
    for call in (lambda: ops.majority(votes[0]), lambda: ops.majority(votes, size=3)):
        with pytest.raises(ValueError, match="expected"):
            call()
