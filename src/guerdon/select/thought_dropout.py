"""Demonstrations without their thoughts, so that not thinking is an option too (TON, arXiv 2505.16854)."""

from __future__ import annotations

import random
from collections.abc import Sequence

EMPTY_THOUGHT = "\n\n"
"""What stands between the tags of a dropped thought: two newlines."""


def thought_dropout(thought: str, p: float, rng: random.Random) -> str:
    """Replace a thought by an empty one, with probability p; the draw does not look at the thought.

    Args:
        thought: The thought.
        p: Probability in [0, 1]; 0 keeps every thought, 1 none.
        rng: Source of randomness; one number is drawn.

    Raises:
        ValueError: `p` outside [0, 1].
    """
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"p is {p}: expected a number in [0, 1]")
    return EMPTY_THOUGHT if rng.random() < p else thought


def build_sft(
    samples: Sequence[tuple[str, str]], p: float, rng: random.Random, tag: str = "answer", think: str = "think"
) -> list[str]:
    """Demonstrations in blocks, with the thoughts of some dropped; the answers are untouched.

    Args:
        samples: (thought, answer) of each demonstration.
        p: Probability that a thought is dropped.
        rng: Source of randomness; one number is drawn for each sample.
        tag: Name of the answer's tag.
        think: Name of the thought's tag.

    Raises:
        ValueError: `p` outside [0, 1].

    Example:
        >>> build_sft([("6 * 7", "42")], 0.0, random.Random(0))
        ['<think>6 * 7</think><answer>42</answer>']
    """
    return [
        f"<{think}>{thought_dropout(thought, p, rng)}</{think}><{tag}>{answer}</{tag}>" for thought, answer in samples
    ]
