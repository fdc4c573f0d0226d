"""Repetition inside of a response."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon.score.verify.repetition import Repetition, repetition_reward

texts = st.lists(st.sampled_from(["x", "y", "wait", "thus", "User:", "z"]), max_size=40).map(" ".join)


@given(text=texts, n=st.integers(1, 4), allowed=st.sampled_from([0.0, 0.3]))
def test_repetition(text: str, n: int, allowed: float) -> None:
    items = text.lower().split()
    grams = [tuple(items[i : i + n]) for i in range(len(items) - n + 1)]
    repeated = {gram for gram in grams if grams.count(gram) > 1}
    share = len(repeated) / len(grams) if grams else 0.0
    expected = 1 - max(0.0, share - allowed) / (1 - allowed)
    assert repetition_reward(text, n, allowed) == pytest.approx(expected)
    verdict = Repetition(n, allowed)(text, "", {})
    assert verdict.reward == pytest.approx(expected)


def test_repetition_refuses() -> None:
    for call in (lambda: Repetition(n=0), lambda: Repetition(allowed=1.0), lambda: Repetition(count="x")):
        with pytest.raises(ValueError):
            call()
