"""Comparing an answer with the reference answer: exactly where that is possible, by `math-verify` where it is not."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Literal

from guerdon.score.verdict import Verdict
from guerdon.score.verify.extract import boxes, last_boxed
from guerdon.score.verify.fast_path import decide
from guerdon.score.verify.guard import MAX_LENGTH, refusal
from guerdon.score.verify.kinds import Value
from guerdon.score.verify.latex import squeezed, tidy
from guerdon.score.verify.numbers import AbsurdNumberError, last_number, parse_number, without_delimiters
from guerdon.score.verify.reading import read
from guerdon.score.verify.symbolic import UnparsedError, equal_by_math_verify
from guerdon.score.verify.well_formed import problem

__all__ = ["KINDS", "Kind", "answers_match", "boxes", "choice_letter", "last_boxed", "last_number", "parse_number"]

Kind = Literal["math", "choice", "string", "number"]
KINDS = ("math", "choice", "string", "number")
"""What an answer can be compared as."""

_NAN = float("nan")
_WHOLE_NUMBER = re.compile(r"[-+]?[0-9]{1,18}")
_KNOWN_NUMERALS = frozenset("\u00b2\u00b3\u00bc\u00bd\u00be")  # as tidy spells them out
_LETTER = r"[(\[{]*([A-Za-z])[)\]}]*"
_CHOICE_ALONE = re.compile(rf"[\s*$\"'.:]*{_LETTER}[\s*$\"'.:,;]*")
_CHOICE_THEN_TEXT = re.compile(r"[\s*$\"']*(?:\(([A-Za-z])\)|\[([A-Za-z])\]|([A-Za-z])[).:])\s.*", re.DOTALL)
_CHOICE_SAID = re.compile(
    r"\b(?:answer|option|choice)\b(?:\s+is)?(?:\s+option)?\s*:?[\s*$\"']*(?:\(([A-Za-z])\)|([A-Z])(?![A-Za-z']))"
)
_WRAPPED = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|mathit|operatorname|mbox)\s*\{([^{}]*)\}")


def answers_match(prediction: str | None, gold: str, kind: Kind = "math") -> Verdict:
    r"""Compare an answer with the reference answer.

    * "math": the same value, words, set, tuple, interval, matrix or equation, read exactly where that is possible
      (see `fast_path.decide`), by `math-verify` where it is not. What is not one answer (see `well_formed.problem`) is
      wrong; what is too long or too expensive to compute (see `guard.refusal`) is undecided.
    * "number": equal values, exactly. A number too large to be computed with equals no other.
    * "choice": the same option letter; `B`, `(b)`, `B. Paris`, `the answer is B`.
    * "string": equal up to case, white space and a full stop at the end.

    No signals are used, so that it may be called from any thread. `math-verify` is given a second (see `deadline`); a
    process that can be killed is the place for hostile input.

    Args:
        prediction: The answer alone, as `last_boxed` or `last_number` find it; None = there is none.
        gold: The reference answer.
        kind: What the answers are.

    Returns:
        A verdict with reward 1.0 or 0.0, or NaN and the reason why it cannot be decided. `extracted` is the
        prediction without white space at its ends.

    Raises:
        ValueError: An unknown kind.

    Example:
        >>> answers_match("0.50", "\\frac{1}{2}").reward, answers_match("1,234", "1234", "number").reward
        (1.0, 1.0)
        >>> answers_match("12", "", "number").reason
        'the reference answer is empty'
    """
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}: expected one of {KINDS}")
    if not gold.strip():
        return Verdict(_NAN, prediction, "the reference answer is empty")
    if prediction is None or not prediction.strip():
        return Verdict(0.0, None, "there is no answer")
    longest = max(len(prediction), len(gold))
    if kind != "string" and longest > MAX_LENGTH:
        return Verdict(_NAN, prediction[:MAX_LENGTH], f"{longest} characters: expected at most {MAX_LENGTH}")
    compare = {"math": _math, "choice": _choice, "string": _string, "number": _number}[kind]
    reward, reason = compare(prediction.strip(), gold.strip())
    return Verdict(reward, prediction.strip(), reason)


def _equal(right: bool, gold: str) -> tuple[float, str]:
    return (1.0, "") if right else (0.0, f"is not {gold[:100]}")


# --- strings and choices ----------------------------------------------------------------------------------------


def _string(prediction: str, gold: str) -> tuple[float, str]:
    def normal(text: str) -> str:
        return " ".join(unicodedata.normalize("NFC", text).casefold().split()).removesuffix(".")

    return _equal(normal(prediction) == normal(gold), gold)


def _choice(prediction: str, gold: str) -> tuple[float, str]:
    reference, choice = choice_letter(gold), choice_letter(prediction)
    if reference is None:
        return _NAN, f"the reference answer {gold[:100]!r} is no option letter"
    if choice is None:
        return 0.0, "there is no single option letter"
    return _equal(choice == reference, gold)


def choice_letter(text: str) -> str | None:
    """The option letter that a text chooses, in upper case; None if it names none, or several.

    Example:
        >>> choice_letter("(b)"), choice_letter("The answer is C."), choice_letter("A or B")
        ('B', 'C', None)
    """
    text = _WRAPPED.sub(r"\1", without_delimiters(text))
    alone = _CHOICE_ALONE.fullmatch(text)
    if alone:
        return alone[1].upper()
    said = {(match[1] or match[2]).upper() for match in _CHOICE_SAID.finditer(text)}
    first = _CHOICE_THEN_TEXT.fullmatch(text)
    if first:
        said.add((first[1] or first[2] or first[3]).upper())
    # Further options named in brackets make the answer ambiguous, unless it is said which one is meant.
    if len(said) == 1 and not (first and _other_options(text, said)):
        return said.pop()
    return None


def _other_options(text: str, said: set[str]) -> bool:
    named = {match[1].upper() for match in re.finditer(r"\(([A-Za-z])\)|(?<![A-Za-z])(?:or|and)\s", text) if match[1]}
    return bool(named - said)


# --- numbers and mathematics ------------------------------------------------------------------------------------


def _number(prediction: str, gold: str) -> tuple[float, str]:
    try:
        reference = parse_number(gold)
    except AbsurdNumberError as error:
        return (1.0, "") if prediction == gold else (_NAN, f"the reference answer is {error}")
    if reference is None:
        return _NAN, f"the reference answer {gold[:100]!r} is no number"
    try:
        value = parse_number(prediction)
    except AbsurdNumberError as error:
        return 0.0, str(error)
    return (0.0, "is no number") if value is None else _equal(value == reference, gold)


def _math(prediction: str, gold: str) -> tuple[float, str]:
    if _WHOLE_NUMBER.fullmatch(prediction) and _WHOLE_NUMBER.fullmatch(gold):
        return _equal(int(prediction) == int(gold), gold)
    if prediction == gold or plain(prediction) == plain(gold):
        return 1.0, ""
    if _foreign_digits(prediction) and not _foreign_digits(gold):
        return 0.0, "has digits or numerals other than 0 to 9"
    absurd = _absurd(gold)
    if absurd:
        return _NAN, f"the reference answer is {absurd}"
    absurd = _absurd(prediction)
    if absurd:
        return (_NAN if parse_number(gold) is None else 0.0), absurd
    found = decide(prediction, gold)
    if found is not None:
        return _equal(found, gold)
    wrong = problem(prediction, gold)
    if wrong:
        return 0.0, wrong
    for what, text in (("the answer", prediction), ("the reference answer", gold)):
        refused = refusal(text)
        if refused:
            return _NAN, f"{what}: {refused}"
    return _symbolic(prediction, gold)


@lru_cache(maxsize=8192)
def _absurd(text: str) -> str:
    try:
        parse_number(text)
    except AbsurdNumberError as error:
        return str(error)
    return ""


def _symbolic(prediction: str, gold: str) -> tuple[float, str]:
    try:
        return _equal(equal_by_math_verify(prediction, gold, whole=isinstance(read(tidy(gold)), Value)), gold)
    except TimeoutError as error:
        return _NAN, f"math-verify: {error}"
    except UnparsedError as error:
        return _NAN, str(error)
    except Exception as error:
        return _NAN, f"math-verify: {type(error).__name__}: {error}"[:300]


def plain(text: str) -> str:
    """A spelling that is equal for texts that differ in style alone.

    Args:
        text: An answer.
    """
    return squeezed(tidy(text))


def _foreign_digits(text: str) -> bool:
    return not text.isascii() and any(
        character.isnumeric() and not character.isascii() for character in text if character not in _KNOWN_NUMERALS
    )
