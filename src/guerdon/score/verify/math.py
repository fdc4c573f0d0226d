"""The verifier of mathematical answers: finds the final answer in a response and compares it with the reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from typing import Any, ClassVar

from guerdon.score.verdict import Verdict
from guerdon.score.verify.answers import answers_match
from guerdon.score.verify.extract import BOXES, RULES, Boxes, Rule, boxes, final_answer
from guerdon.score.verify.guard import MAX_LENGTH

_MOST_BOXES = 8
_CODE_VERSION = "1"


@dataclass(frozen=True)
class MathAnswer:
    r"""1.0 where the final answer of a response is the reference answer, 0.0 where it is not, NaN where that is open.

    It works in any thread and process. Answers that computer algebra might never finish with are undecided (NaN and
    the reason); what is sure to be wrong is 0.

    Attributes:
        order: The rules by which the answer is looked for, the first one first; see `extract.final_answer`.
        several_boxes: Which of several boxes counts: "last", "first", "all_equal" (each must be right) or "refuse".
        after_thinking: Whether only the text after `</think>` counts, where there are such tags.
        timeout: Seconds that one row may take, for those who run it in a process that can be killed.

    Raises:
        ValueError: An unknown rule or policy, no rule at all, or a timeout that is not positive.

    Example:
        >>> verifier = MathAnswer()
        >>> verifier("so it is \\boxed{\\frac{1}{2}}", "0.5", {}).reward
        1.0
        >>> verifier("I cannot tell", "0.5", {})
        Verdict(reward=0.0, extracted=None, reason='there is no answer')
    """

    order: tuple[Rule, ...] = RULES
    several_boxes: Boxes = "last"
    after_thinking: bool = True
    timeout: float = 5.0
    name: ClassVar[str] = "math"
    reads: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "order", tuple(self.order))
        if not self.order or not set(self.order) <= set(RULES):
            raise ValueError(f"order is {self.order!r}: expected one or more of {RULES}")
        if self.several_boxes not in BOXES:
            raise ValueError(f"several_boxes is {self.several_boxes!r}: expected one of {BOXES}")
        if not self.timeout > 0:
            raise ValueError(f"timeout is {self.timeout!r}: expected seconds greater than 0")

    @property
    def version(self) -> str:
        """What the verdicts depend on: this code, the settings, and the version of `math-verify`."""
        settings = f"{'+'.join(self.order)}/{self.several_boxes}/{self.after_thinking}"
        return f"{_CODE_VERSION}/{settings}/math-verify {_math_verify_version()}"

    def __call__(self, response: str, target: str, row: Mapping[str, Any]) -> Verdict:
        """Score a response.

        Args:
            response: What the policy wrote.
            target: The reference answer, alone; a box around it and a number's type do not matter.
            row: Not used.
        """
        found = final_answer(response, self.order, self.several_boxes, self.after_thinking)
        if not found.answers:
            return Verdict(0.0, None, found.reason)
        gold = _reference(target)
        if len(found.answers) > _MOST_BOXES:
            return Verdict(0.0, found.answers[-1][:MAX_LENGTH], f"{len(found.answers)} different boxes")
        verdicts = [answers_match(answer, gold) for answer in found.answers]
        # Of several boxes one that is wrong decides, then one that is undecided.
        return min(verdicts, key=lambda verdict: 0.5 if verdict.reward != verdict.reward else verdict.reward)


def _reference(target: object) -> str:
    """The reference answer as text: 27.0 of a table is 27, and a box is opened."""
    if isinstance(target, float) and target.is_integer():
        return str(int(target))
    text = str(target)
    inside = boxes(text) if "box" in text else []
    return inside[0] if len(inside) == 1 else text


@lru_cache(maxsize=1)
def _math_verify_version() -> str:
    try:
        return metadata.version("math-verify")
    except metadata.PackageNotFoundError:
        return "missing"
