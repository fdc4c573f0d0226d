"""Thought dropout: its rate, and that it looks at nothing."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon.select import build_sft, thought_dropout


def test_dropout_rate_and_untouched_answers() -> None:
    samples = [(f"thought {i}", f"answer {i}") for i in range(2000)]
    texts = build_sft(samples, 0.3, random.Random(7))
    dropped = sum("<think>\n\n</think>" in text for text in texts)
    assert abs(dropped - 600) < 4 * (2000 * 0.3 * 0.7) ** 0.5
    for i, text in enumerate(texts):
        assert text.endswith(f"<answer>answer {i}</answer>")
    assert build_sft(samples[:1], 0.0, random.Random(0), tag="action") == [
        "<think>thought 0</think><action>answer 0</action>"
    ]


@given(st.text(), st.text(), st.integers(0, 1000), st.floats(0.0, 1.0))
def test_the_draw_does_not_look_at_the_thought(first: str, second: str, seed: int, p: float) -> None:
    kept = thought_dropout(first, p, random.Random(seed)) == first
    if first != "\n\n" and second != "\n\n":
        assert (thought_dropout(second, p, random.Random(seed)) == second) == kept
    assert thought_dropout(first, 0.0, random.Random(seed)) == first
    assert thought_dropout(first, 1.0, random.Random(seed)) == "\n\n"


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
def test_probability_out_of_range(p: float) -> None:
    with pytest.raises(ValueError, match="expected a number in"):
        thought_dropout("a", p, random.Random(0))
