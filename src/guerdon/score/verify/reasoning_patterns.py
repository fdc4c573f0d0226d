"""Phrases of reasoning as a reward (RPR of "The Climb Carves Wisdom Deeper Than the Summit", arXiv 2505.22653).

The reward is easy to game, which is its paper's point: it counts phrases, not thoughts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, overload

import torch
from torch import Tensor

from guerdon.ops import ngram_repetition
from guerdon.score.verdict import Verdict

MATH_PATTERNS = (
    "i need to", "we need to", "wait", "alternatively", "let me check", "let me see", "let's focus on",
    "we know that", "we can observe ", "we can see ", "let me try", "let's try", "let us try", "first, ", "firstly, ",
    "next, ", "finally, ", "let us first", "let's first", "let me first", "try again", "still not", "not working",
    "not correct", "does not work", "doesn't work", "makes sence", "since we ", "because we ", "consequently",
    "as a result", "thus", "therefore", "hence", "so that", "thereby", "if we", "given there ", "for instance ",
    "for example ",
)  # fmt: skip
"""The 40 phrases of the official code for mathematics, one of them misspelt there."""

OPEN_PATTERNS = (
    *MATH_PATTERNS, "1. ", "2. ", "3. ", "4. ", "step 1 ", "step 2 ", "step 3. ", "step 4 ", "considering the",
    "i'll", "i will", "i would", "i should",
)  # fmt: skip
"""The phrases for open-ended questions; there `banned` is empty, and the thought and the answer are searched."""

BANNED = ("user: ",)
"""A policy that writes this invents a turn of its own."""


@overload
def reasoning_pattern_reward(  # type: ignore[overload-overlap]  # a text is a sequence of texts, too
    text: str,
    patterns: Sequence[str] = ...,
    cap: int = ...,
    n: int = ...,
    banned: Sequence[str] = ...,
) -> float: ...


@overload
def reasoning_pattern_reward(
    text: Sequence[str],
    patterns: Sequence[str] = ...,
    cap: int = ...,
    n: int = ...,
    banned: Sequence[str] = ...,
) -> Tensor: ...


def reasoning_pattern_reward(
    text: str | Sequence[str],
    patterns: Sequence[str] = MATH_PATTERNS,
    cap: int = 20,
    n: int = 20,
    banned: Sequence[str] = BANNED,
) -> float | Tensor:
    """How many phrases of reasoning a text holds, less what it repeats.

    max(0, min(1, phrases that occur / cap) - repetition - occurrences of banned texts). A phrase counts once, and
    inside of longer words as well; repetition is the number of different n-grams of words that come more than once,
    over the number of n-grams. Case is ignored.

    Args:
        text: A text, or B texts.
        patterns: The phrases.
        cap: So many phrases give the full reward.
        n: Length of the n-grams.
        banned: Each occurrence costs 1.

    Returns:
        A number in [0, 1], or (B,) float32 of them.

    Raises:
        ValueError: `cap` or `n` is below 1, or a phrase is empty.

    Example:
        >>> reasoning_pattern_reward("Let me check: 2 + 2 = 4. Therefore x = 2.", cap=4)
        0.5
    """
    if cap < 1:
        raise ValueError(f"cap is {cap}: expected at least 1")
    if not all(patterns) or not all(banned):
        raise ValueError("a phrase is empty: expected texts")
    if isinstance(text, str):
        return _reward(text.lower(), patterns, cap, n, banned)
    return torch.tensor([_reward(one.lower(), patterns, cap, n, banned) for one in text], dtype=torch.float32)


def _reward(text: str, patterns: Sequence[str], cap: int, n: int, banned: Sequence[str]) -> float:
    hits = sum(pattern.lower() in text for pattern in dict.fromkeys(patterns))
    invented = sum(text.count(phrase.lower()) for phrase in banned)
    return max(0.0, min(1.0, hits / cap) - ngram_repetition(text, n) - invented)


@dataclass(frozen=True)
class ReasoningPatterns:
    """Phrases of reasoning in a response; see `reasoning_pattern_reward`. The target is not looked at.

    Attributes:
        patterns: The phrases.
        cap: So many phrases give the full reward.
        n: Length of the n-grams of the repetition.
        banned: Each occurrence costs 1.
        after: Only what stands behind the first of these marks counts, if it is there; "" = everything.
        timeout: Seconds that one row may take.
    """

    patterns: tuple[str, ...] = MATH_PATTERNS
    cap: int = 20
    n: int = 20
    banned: tuple[str, ...] = BANNED
    after: str = ""
    timeout: float = 5.0
    name: ClassVar[str] = "reasoning-patterns"
    version: ClassVar[str] = "1"
    reads: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        reasoning_pattern_reward("", self.patterns, self.cap, self.n, self.banned)

    def __call__(self, response: str, target: str, row: Mapping[str, Any]) -> Verdict:
        """Count the phrases of a response."""
        _, mark, rest = response.partition(self.after) if self.after else ("", "", "")
        reward = reasoning_pattern_reward(rest if mark else response, self.patterns, self.cap, self.n, self.banned)
        return Verdict(reward, reason="" if reward else "no phrase of reasoning, or too much repetition")
