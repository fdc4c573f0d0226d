"""Phrases of reasoning."""

from __future__ import annotations

import pickle
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon.score.verify.reasoning_patterns import (
    MATH_PATTERNS,
    OPEN_PATTERNS,
    ReasoningPatterns,
    reasoning_pattern_reward,
)

SHORT_LIST = ("wait", "therefore", "let me check", "we know that", "if we")
TEXT = "We know that x = 2. Let me check: 2 + 2 = 4. Therefore x = 2."
texts = st.lists(st.sampled_from(["x", "y", "wait", "thus", "User:", "z"]), max_size=40).map(" ".join)


def test_pattern_examples() -> None:
    assert reasoning_pattern_reward(TEXT, SHORT_LIST) == pytest.approx(0.15)
    assert reasoning_pattern_reward(TEXT, SHORT_LIST, cap=4) == pytest.approx(0.75)
    assert reasoning_pattern_reward(TEXT + " Wait user: hi", SHORT_LIST, cap=4) == 0.0
    rewards = reasoning_pattern_reward([TEXT, ""], SHORT_LIST)
    assert rewards.dtype == torch.float32
    assert rewards.tolist() == pytest.approx([0.15, 0.0])
    assert len(MATH_PATTERNS) == 40
    assert len(set(OPEN_PATTERNS)) == 53
    assert reasoning_pattern_reward("hence inside whence", ("hence",), cap=1) == 1.0


@given(text=texts, cap=st.integers(1, 5), n=st.integers(1, 4))
def test_patterns_equal_the_slow_count(text: str, cap: int, n: int) -> None:
    lowered = text.lower()
    grams = [tuple(lowered.split()[i : i + n]) for i in range(len(lowered.split()) - n + 1)]
    repeated = sum(number > 1 for number in Counter(grams).values()) / len(grams) if grams else 0.0
    hits = sum(pattern in lowered for pattern in MATH_PATTERNS)
    expected = max(0.0, min(1.0, hits / cap) - repeated - lowered.count("user: "))
    assert reasoning_pattern_reward(text, cap=cap, n=n) == pytest.approx(expected)
    assert reasoning_pattern_reward(text.upper(), cap=cap, n=n) == pytest.approx(expected)


def test_pattern_verifier() -> None:
    verifier = pickle.loads(pickle.dumps(ReasoningPatterns(cap=1, after="<think>")))
    assert verifier("wait <think> x", "", {}).reward == 0.0
    assert verifier("x <think> wait", "", {}).reward == 1.0
    assert verifier("wait", "", {}).reward == 1.0
    for call in (
        lambda: ReasoningPatterns(cap=0),
        lambda: ReasoningPatterns(patterns=("",)),
        lambda: ReasoningPatterns(n=0),
    ):
        with pytest.raises(ValueError):
            call()
