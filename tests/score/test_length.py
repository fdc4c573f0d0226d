"""Lengths of responses."""

from __future__ import annotations

import math
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon.score.verify.length import Length, length_reward, measure_length


@given(length=st.integers(0, 50), least=st.integers(0, 20), more=st.integers(0, 20), slope=st.floats(0, 2))
def test_length_reward(length: int, least: int, more: int, slope: float) -> None:
    most = least + more
    value = length_reward(length, least, most, slope)
    assert 0.0 <= value <= 1.0
    if least <= length <= most:
        assert value == 1.0
    elif slope == 0.0:
        assert value == 0.0
    if length >= most:
        assert length_reward(length + 1, least, most, slope) <= value


def test_lengths() -> None:
    text = "One two.  Three!\n\nFour? 3.5 is one."
    assert [measure_length(text, unit) for unit in ("words", "lines", "sentences")] == [7, 2, 4]
    assert measure_length("ab c", "characters") == 4
    assert length_reward(8, least=10, slope=0.5) == pytest.approx(0.6)
    verifier = pickle.loads(pickle.dumps(Length(2, 3, part="answer")))
    assert verifier("<answer>a b</answer>", "", {}).reward == 1.0
    assert verifier("<answer>a b c d</answer>", "", {}).reason == "4 words: expected 2 to 3"
    assert verifier("a b", "", {}).reward == 0.0
    tokens = Length(most=10, unit="length")
    assert tokens.reads == ("length",)
    assert tokens("ignored", "", {"length": 11}).reward == 0.0
    assert Length()("", "", {}).reward == 1.0
    for call in (lambda: Length(3, 2), lambda: measure_length("x", "pages"), lambda: Length(most=math.nan)):
        with pytest.raises(ValueError):
            call()
