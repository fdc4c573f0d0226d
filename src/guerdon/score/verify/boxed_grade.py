"""A graded verdict on the last box of a response: right, wrong, or no box at all (arXiv 2505.13445)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from guerdon.score.verdict import Verdict
from guerdon.score.verify.answers import answers_match
from guerdon.score.verify.extract import last_boxed

RIGHT, WRONG, ABSENT = 1.0, -0.5, -1.0
GRADES = (RIGHT, WRONG, ABSENT)


@dataclass(frozen=True)
class BoxedGrade:
    r"""1 if the last box of a response is the target as mathematics, -0.5 if it is not, -1 without a box.

    The same verdict serves for solutions and for gradings of solutions, whose target is the grade as text.

    Attributes:
        timeout: Seconds that one row may take, for those who run it in a process that can be killed.

    Example:
        >>> grade = BoxedGrade()
        >>> [grade(text, "12", {}).reward for text in ("\\boxed{12.0}", "\\boxed{11}", "12")]
        [1.0, -0.5, -1.0]
    """

    timeout: float = 5.0
    name: ClassVar[str] = "boxed-grade"
    version: ClassVar[str] = "1"
    reads: ClassVar[tuple[str, ...]] = ()

    def __call__(self, response: str, target: str, row: Mapping[str, Any]) -> Verdict:
        """Grade a response; NaN if it cannot be decided whether the answers are equal."""
        box = last_boxed(response)
        if box is None:
            return Verdict(ABSENT, None, "there is no box")
        verdict = answers_match(box, target, "math")
        if math.isnan(verdict.reward):
            return verdict
        right = verdict.reward == 1.0
        return Verdict(RIGHT if right else WRONG, verdict.extracted, "" if right else verdict.reason)


def boxed_reward(text: str, truth: str) -> float:
    """What `BoxedGrade` gives: 1, -0.5, -1, or NaN.

    Args:
        text: What the policy wrote.
        truth: The reference answer.
    """
    return BoxedGrade()(text, truth, {}).reward


def verification_truth(reward: float) -> str:
    """The reference answer of the question what a response is worth: its grade with one decimal.

    Raises:
        ValueError: The reward is no grade.

    Example:
        >>> verification_truth(-0.5)
        '-0.5'
    """
    if reward not in GRADES:
        raise ValueError(f"reward is {reward}: expected one of {GRADES}")
    return f"{reward:.1f}"


def verification_prompt(question: str, response: str) -> list[dict[str, str]]:
    """Chat messages that ask for the grade of a response.

    Args:
        question: What was asked.
        response: What was answered; it may hold boxes, since only the last one of the grading counts.
    """
    content = (
        "Grade a response to a question.\n\n"
        f"<question>\n{question}\n</question>\n\n<response>\n{response}\n</response>\n\n"
        "Its grade is \\boxed{-1} if the response has no final answer in a box, \\boxed{1} if the final answer in its "
        "last box is right, and \\boxed{-0.5} if it is wrong. Say briefly why, and end with the grade in a box."
    )
    return [{"role": "user", "content": content}]
