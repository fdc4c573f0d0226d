"""Multiple choice: an option letter, several of them, or the text of an option."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from guerdon.score.verdict import Verdict
from guerdon.score.verify.answers import choice_letter
from guerdon.score.verify.guard import MAX_LENGTH
from guerdon.score.verify.parts import answer_part
from guerdon.score.verify.word_overlap import normalize_answer

_NAN = float("nan")
_LETTERS_ALONE = re.compile(r"[A-Z]{2,}")
_SEPARATOR = re.compile(r"[,;/&]|\band\b")


def choice_letters(text: str) -> frozenset[str] | None:
    """All option letters that an answer to a question with several right options names.

    Args:
        text: Letters separated by commas, semicolons, slashes, "&" or "and", each in a form that
            `guerdon.score.verify.answers.choice_letter` reads; or capital letters in a row ("ACD").

    Returns:
        The letters in upper case, or None if some part names no letter, or one letter comes twice.

    Example:
        >>> sorted(choice_letters("(a), C and D")), choice_letters("none of them")
        (['A', 'C', 'D'], None)
    """
    body = text.strip().rstrip(".")
    parts = (
        list(body)
        if _LETTERS_ALONE.fullmatch(body)
        else [part for part in map(str.strip, _SEPARATOR.split(body)) if part]
    )
    found = [choice_letter(part) for part in parts]
    if not found or None in found or len(set(found)) != len(found):
        return None
    return frozenset(letter for letter in found if letter)


@dataclass(frozen=True)
class Choice:
    """1 where the response names the right option, or all right options and no other; in any order.

    Where the answer names no option letter, the text of exactly one option counts as naming it. Of a long answer the
    last `MAX_LENGTH` characters are read.

    Attributes:
        part: What of the response is compared; see `guerdon.score.verify.parts.answer_part`.
        options: Name of the column with the texts of the options, A first, or None.
        timeout: Seconds that one row may take.
    """

    part: str = "response"
    options: str | None = None
    timeout: float = 5.0
    name: ClassVar[str] = "choice"
    version: ClassVar[str] = "1"

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns of the row that are used."""
        return () if self.options is None else (self.options,)

    def __call__(self, response: str, target: str, row: Mapping[str, Any]) -> Verdict:
        """Compare the options that a response and the target name."""
        options = _options(row, self.options)
        gold = _named(target, options)
        if gold is None:
            return Verdict(_NAN, reason=f"the reference answer {target[:100]!r} names no option")
        answer = answer_part(response, self.part)
        if not answer:
            return Verdict(0.0, reason="there is no answer")
        answer = answer[-MAX_LENGTH:].strip()
        chosen = _named(answer, options) if len(gold) == 1 else _several(answer, options)
        if chosen is None:
            return Verdict(0.0, answer[:200], "names no option, or more than one")
        named = ", ".join(sorted(chosen))
        return Verdict(1.0, named) if chosen == gold else Verdict(0.0, named, f"is not {', '.join(sorted(gold))}")


def _options(row: Mapping[str, Any], column: str | None) -> Sequence[str]:
    if column is None:
        return ()
    if column not in row:
        raise ValueError(f"the row has no column {column!r}: there are {sorted(row)}")
    return list(row[column])


def _named(text: str, options: Sequence[str]) -> frozenset[str] | None:
    letter = choice_letter(text)
    if letter is not None:
        return frozenset(letter)
    return _several(text, options)


def _several(text: str, options: Sequence[str]) -> frozenset[str] | None:
    letters = choice_letters(text)
    if letters is not None:
        return letters
    wanted = normalize_answer(text)
    same = [index for index, option in enumerate(options) if wanted and normalize_answer(option) == wanted]
    return frozenset(chr(ord("A") + same[0])) if len(same) == 1 else None
