"""How much a response repeats itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from guerdon.ops import ngram_repetition
from guerdon.score.verdict import Verdict
from guerdon.score.verify.parts import answer_part

COUNTS = ("distinct", "positions")


def repetition_reward(text: str, n: int = 3, allowed: float = 0.0, count: str = "distinct") -> float:
    """1 for a text without repeated n-grams, 0 for one of nothing else.

    With p the share of repeated n-grams (`guerdon.ops.ngram_repetition`): 1 up to p = `allowed`, then falling
    linearly to 0 at p = 1. A text of fewer than n words repeats nothing.

    Args:
        text: The text; words are separated by white space, and case is ignored.
        n: Length of the n-grams.
        allowed: Share of repeated n-grams that costs nothing, in [0, 1).
        count: "distinct" or "positions"; see `guerdon.ops.ngram_repetition`.

    Raises:
        ValueError: n below 1, `allowed` outside of [0, 1), or an unknown count.

    Example:
        >>> repetition_reward("x y z x y z x y", n=3), repetition_reward("all words here differ", n=3)
        (0.5, 1.0)
    """
    if not 0 <= allowed < 1:
        raise ValueError(f"allowed is {allowed}: expected a share in [0, 1)")
    share = ngram_repetition(text.lower(), n, count)
    return 1.0 - max(0.0, share - allowed) / (1.0 - allowed)


@dataclass(frozen=True)
class Repetition:
    """1 for a response that does not repeat itself, down to 0; see `repetition_reward`.

    As a penalty, blend it with weight w: 1 - repetition is w less w times what is repeated.

    Attributes:
        n: Length of the n-grams, in words.
        allowed: Share of repeated n-grams that costs nothing.
        count: "distinct" or "positions".
        part: What of the response is looked at; see `guerdon.score.verify.parts.answer_part`.
        timeout: Seconds that one row may take.
    """

    n: int = 3
    allowed: float = 0.0
    count: str = "distinct"
    part: str = "response"
    timeout: float = 5.0
    name: ClassVar[str] = "repetition"
    version: ClassVar[str] = "1"
    reads: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        repetition_reward("", self.n, self.allowed, self.count)

    def __call__(self, response: str, target: str, row: Mapping[str, Any]) -> Verdict:
        """Look for repetitions in a response."""
        found = answer_part(response, self.part)
        if found is None:
            return Verdict(0.0, reason="there is no answer")
        reward = repetition_reward(found, self.n, self.allowed, self.count)
        return Verdict(reward, reason="" if reward else f"nothing but repeated {self.n}-grams")
