"""Whether a response has the form that was asked for: tagged blocks, boxes, word limits, regular expressions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar

from guerdon.rollouts import Rollouts
from guerdon.score.verdict import Verdict
from guerdon.score.verify.answers import boxes
from guerdon.score.verify.blocks import BLOCKS, check_blocks, find_blocks
from guerdon.score.verify.parts import answer_part

MODES = ("search", "fullmatch", "forbid")


def check_format(
    text: str,
    blocks: Sequence[str] = BLOCKS,
    *,
    exactly_once: bool = True,
    nothing_outside: bool = True,
    non_empty: bool = True,
    nothing_after: bool = True,
    one_box_in: str | None = None,
    most_words: Mapping[str, int] | None = None,
) -> Verdict:
    r"""Check blocks (see `guerdon.score.verify.blocks.check_blocks`), and what further papers ask of them.

    Args:
        text: The response.
        blocks: Names of the blocks, in the order in which they have to come.
        exactly_once: Whether a block may come once only.
        nothing_outside: Whether only white space may stand outside the blocks.
        non_empty: Whether every block must hold more than white space.
        nothing_after: Whether only white space may follow the last block.
        one_box_in: Name of the block that must hold a box, the only one of the whole text (SPARK,
            arXiv 2512.03244, against appended solutions); None = boxes do not matter.
        most_words: Name of a block -> most words in it.

    Returns:
        A verdict with reward 1.0 or 0.0, and the first violated rule as the reason.

    Example:
        >>> check_format("<think>6*7</think><answer>\\boxed{42}</answer>", one_box_in="answer").reward
        1.0
        >>> check_format("<think>\\boxed{6}</think><answer>\\boxed{42}</answer>", one_box_in="answer").reason
        'there are 2 boxes: expected one'
    """
    verdict = check_blocks(
        text,
        blocks,
        exactly_once=exactly_once,
        nothing_outside=nothing_outside,
        non_empty=non_empty,
        nothing_after=nothing_after,
    )
    problem = verdict.reason
    if not problem and one_box_in is not None:
        problem = _box_problem(text, one_box_in)
    for name, most in (most_words or {}).items():
        for block in find_blocks(text, (*blocks, name)) if not problem else ():
            if block.name == name.lower() and len(block.content.split()) > most:
                problem = f"<{name}> has {len(block.content.split())} words: expected at most {most}"
    return Verdict(0.0 if problem else 1.0, reason=problem)


def _box_problem(text: str, block: str) -> str:
    count = len(boxes(text))
    if count != 1:
        return f"there are {count} boxes: expected one"
    inside = sum(len(boxes(found.content)) for found in find_blocks(text, (block,)) if found.name == block.lower())
    return "" if inside == 1 else f"the box stands outside <{block}>"


def regex_match(text: str, pattern: str, mode: str = "search") -> Verdict:
    r"""Whether a text fits a regular expression (with DOTALL; other flags can be written into the pattern).

    The pattern is the user's; one that backtracks without end is stopped only by a process that can be killed.

    Args:
        text: The text.
        pattern: A regular expression of Python's `re`.
        mode: "search" = it occurs somewhere; "fullmatch" = it is the whole text; "forbid" = it does not occur.

    Returns:
        A verdict with reward 1.0 or 0.0; what was extracted is the first group that took part, or else the match.

    Raises:
        ValueError: An unknown mode, or no regular expression.

    Example:
        >>> regex_match("total: 12 eggs", r"total: (\d+)").extracted
        '12'
    """
    if mode not in MODES:
        raise ValueError(f"mode is {mode!r}: expected one of {MODES}")
    compiled = _compiled(pattern)
    match = compiled.fullmatch(text) if mode == "fullmatch" else compiled.search(text)
    if mode == "forbid":
        return Verdict(1.0) if match is None else Verdict(0.0, match[0], "holds what is forbidden")
    if match is None:
        return Verdict(0.0, reason="does not match the pattern")
    return Verdict(1.0, next((group for group in match.groups() if group is not None), match[0]))


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern, re.DOTALL)
    except re.error as error:
        raise ValueError(f"pattern {pattern!r} is no regular expression: {error}") from error


@dataclass(frozen=True)
class RegexMatch:
    """1 where the response fits a regular expression; the target is not looked at.

    Attributes:
        pattern: A regular expression.
        mode: "search", "fullmatch" or "forbid"; see `regex_match`.
        part: What of the response is looked at; see `guerdon.score.verify.parts.answer_part`.
        timeout: Seconds that one row may take.
    """

    pattern: str
    mode: str = "search"
    part: str = "response"
    timeout: float = 5.0
    name: ClassVar[str] = "regex"
    version: ClassVar[str] = "1"
    reads: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"RegexMatch.mode is {self.mode!r}: expected one of {MODES}")
        _compiled(self.pattern)

    def __call__(self, response: str, target: str, row: Mapping[str, Any]) -> Verdict:
        """Match a response."""
        found = answer_part(response, self.part)
        if found is None:
            return Verdict(0.0, reason="there is no answer")
        return regex_match(found, self.pattern, self.mode)


@dataclass(frozen=True)
class WellFormed:
    """1 where the response has the form that was asked for; see `check_format`. The target is not looked at.

    Attributes:
        blocks: Names of the blocks, in order.
        exactly_once: Whether a block may come once only.
        nothing_outside: Whether only white space may stand outside the blocks.
        non_empty: Whether every block must hold more than white space.
        nothing_after: Whether only white space may follow the last block.
        one_box_in: Name of the block that must hold the only box of the text, or None.
        most_words: Name of a block -> most words in it.
        starts_in: Text put in front of each response, such as "<think>", where the prompt ends with it.
        timeout: Seconds that one row may take.
    """

    blocks: tuple[str, ...] = BLOCKS
    exactly_once: bool = True
    nothing_outside: bool = True
    non_empty: bool = True
    nothing_after: bool = True
    one_box_in: str | None = None
    most_words: Mapping[str, int] = field(default_factory=dict)
    starts_in: str = ""
    timeout: float = 5.0
    name: ClassVar[str] = "format"
    version: ClassVar[str] = "1"
    reads: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        if not self.blocks or len(set(self.blocks)) != len(self.blocks):
            raise ValueError(f"WellFormed.blocks is {self.blocks}: expected one or more different names")

    def __call__(self, response: str, target: str = "", row: Mapping[str, Any] | None = None) -> Verdict:
        """Check one response."""
        return check_format(
            self.starts_in + response,
            self.blocks,
            exactly_once=self.exactly_once,
            nothing_outside=self.nothing_outside,
            non_empty=self.non_empty,
            nothing_after=self.nothing_after,
            one_box_in=self.one_box_in,
            most_words=self.most_words,
        )


@dataclass(frozen=True)
class FormatCheck:
    """Score stage: fill a column with 1.0 where a response has the right form, else 0.0.

    What a broken format costs is the recipe's choice: a gate, a bonus, or `guerdon.score.composite.Composite`.

    Attributes:
        check: A verifier that looks at the response alone, such as `WellFormed` or `RegexMatch`.
        column: The column that is filled; the violated rule goes to the column of that name with "_error".
    """

    check: WellFormed | RegexMatch = field(default_factory=WellFormed)
    column: str = "format"
    reads: ClassVar[tuple[str, ...]] = ("response",)

    @property
    def writes(self) -> tuple[str, ...]:
        """Columns that are filled."""
        return (self.column, f"{self.column}_error")

    def __call__(self, rollouts: Rollouts) -> Rollouts:
        """Return the rollouts with the two columns."""
        verdicts = [self.check(response, "", {}) for response in rollouts.column("response")]
        columns: dict[str, list[Any]] = {
            self.column: [verdict.reward for verdict in verdicts],
            f"{self.column}_error": [verdict.reason for verdict in verdicts],
        }
        return rollouts.with_columns(**columns)
