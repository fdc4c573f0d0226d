"""Comparing an answer with the reference answer: exactly where that is possible, by `math-verify` where it is not."""

from __future__ import annotations

import logging
import re
import unicodedata
from fractions import Fraction
from functools import lru_cache
from typing import Any, Literal

from guerdon.score.verdict import Verdict
from guerdon.score.verify.guard import MAX_LENGTH, refusal
from guerdon.score.verify.numbers import AbsurdNumberError, last_number, parse_number, without_delimiters

__all__ = ["KINDS", "Kind", "answers_match", "boxes", "choice_letter", "last_boxed", "last_number", "parse_number"]

Kind = Literal["math", "choice", "string", "number"]
KINDS = ("math", "choice", "string", "number")
"""What an answer can be compared as."""

_NAN = float("nan")
_BOX = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])\s*")
_BRACE_OR_BOX = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])\s*\{|\\.|[{}]", re.DOTALL)
_BARE_BOX = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])\s*(\\[A-Za-z]+|[^\s{}\\])")
_LETTER = r"[(\[{]*([A-Za-z])[)\]}]*"
_CHOICE_ALONE = re.compile(rf"[\s*$\"'.:]*{_LETTER}[\s*$\"'.:,;]*")
_CHOICE_THEN_TEXT = re.compile(r"[\s*$\"']*(?:\(([A-Za-z])\)|\[([A-Za-z])\]|([A-Za-z])[).:])\s.*", re.DOTALL)
_CHOICE_SAID = re.compile(
    r"\b(?:answer|option|choice)\b(?:\s+is)?(?:\s+option)?\s*:?[\s*$\"']*(?:\(([A-Za-z])\)|([A-Z])(?![A-Za-z']))"
)
_WRAPPED = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|mathit|operatorname|mbox)\s*\{([^{}]*)\}")


def boxes(text: str) -> list[str]:
    r"""The contents of all complete LaTeX boxes that do not stand inside another complete one, in order.

    Braces are matched; escaped ones (`\{`) do not count; `\boxed 7` holds one character or command.

    Args:
        text: Any text; the time is linear in its length.

    Example:
        >>> boxes("so \\boxed{\\frac{1}{2}} or \\fbox{3}, \\boxed{unfinished")
        ['\\frac{1}{2}', '3']
    """
    spans = [(match.start(), match.start(1), match.end(1)) for match in _BARE_BOX.finditer(text)]
    open_braces: list[tuple[int, int] | None] = []  # for each open brace: start of the box and of its content
    for token in _BRACE_OR_BOX.finditer(text):
        if token[0] == "{":
            open_braces.append(None)
        elif token[0] == "}":
            box = open_braces.pop() if open_braces else None
            if box is not None:
                spans.append((*box, token.start()))
        elif token[0].endswith("{") and _BOX.match(token[0]):
            open_braces.append((token.start(), token.end()))
    found, reached = [], 0
    for outer, start, end in sorted(spans):
        if outer >= reached:
            found.append(text[start:end])
            reached = end
    return found


def last_boxed(text: str) -> str | None:
    r"""The content of the last complete `\boxed{...}` (or `\fbox{...}`) of a text; None if there is none.

    Example:
        >>> last_boxed("first \\boxed{1}, then \\boxed{\\frac{1}{2}}.")
        '\\frac{1}{2}'
    """
    found = boxes(text)
    return found[-1] if found else None


def answers_match(prediction: str | None, gold: str, kind: Kind = "math") -> Verdict:
    r"""Compare an answer with the reference answer.

    * "math": equal texts up to spacing and LaTeX style, or equal numbers, or the same mathematics by `math-verify`.
      What is too long or too expensive to compute (see `guard.refusal`) is undecided, not wrong.
    * "number": equal values, exactly. A number too large to be computed with equals no other.
    * "choice": the same option letter; `B`, `(b)`, `B. Paris`, `the answer is B`.
    * "string": equal up to case, white space and a full stop at the end.

    Nothing here is interrupted by a timer, so it may be called from any thread; a process that can be killed is the
    place for hostile input.

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
    if _plain_latex(prediction) == _plain_latex(gold):
        return 1.0, ""
    if _foreign_digits(prediction) and not _foreign_digits(gold):
        return 0.0, "has digits or numerals other than 0 to 9"
    try:
        reference = parse_number(gold)
    except AbsurdNumberError as error:
        return _NAN, f"the reference answer is {error}"
    try:
        value = parse_number(prediction)
    except AbsurdNumberError as error:
        return (_NAN if reference is None else 0.0), str(error)
    if value is not None and reference is not None and (value == reference or _both_integers(value, reference)):
        return _equal(value == reference, gold)
    if _ambiguous(prediction):
        return 0.0, "holds more than one formula"
    for what, text in (("the answer", prediction), ("the reference answer", gold)):
        problem = refusal(text)
        if problem:
            return _NAN, f"{what}: {problem}"
    try:
        return _by_math_verify(prediction, gold)
    except Exception as error:
        return _NAN, f"math-verify: {type(error).__name__}: {error}"[:300]


def _both_integers(left: Fraction, right: Fraction) -> bool:
    return left.denominator == right.denominator == 1


def _ambiguous(prediction: str) -> bool:
    """Whether there is a formula between dollars and something to compute outside it, or several such formulas."""
    body = re.sub(r"\\\$", "", without_delimiters(prediction))
    parts = re.split(r"\$+", body)
    outside, formulas = parts[::2], parts[1::2]
    return len(formulas) > 1 or (bool(formulas) and any(re.search(r"[0-9\\]", part) for part in outside))


def _foreign_digits(text: str) -> bool:
    return any(character.isnumeric() and not character.isascii() for character in text)


def _plain_latex(text: str) -> str:
    """A spelling that is equal for texts that differ in style alone."""
    text = without_delimiters(text).removesuffix(".")
    text = re.sub(r"\\[dt]frac(?![A-Za-z])", r"\\frac", text)
    text = re.sub(r"\\(?:left|right)(?![A-Za-z])|\\[,;:!]|\\(?:quad|qquad)(?![A-Za-z])", "", text)
    text = _WRAPPED.sub(r"\1", text).replace("\\%", "%").replace("\\$", "$").replace("\u2212", "-")
    # White space between two digits or letters separates them; anywhere else it is style.
    return re.sub(r"(?<![0-9A-Za-z])\s+|\s+(?![0-9A-Za-z])", "", text.strip())


def _by_math_verify(prediction: str, gold: str) -> tuple[float, str]:
    import math_verify

    reference = _parsed(gold)
    if not reference:
        return _NAN, f"the reference answer {gold[:100]!r} cannot be parsed"
    answer = _parsed(prediction)
    if not answer:
        return 0.0, "cannot be parsed as mathematics"
    # Its own timeouts are off: they use SIGALRM, which fails in every thread but the main one.
    right = math_verify.verify(list(reference), list(answer), timeout_seconds=None, raise_on_error=True)
    return _equal(bool(right), gold)


@lru_cache(maxsize=4096)
def _parsed(text: str) -> tuple[Any, ...]:
    import math_verify

    _silence_timeout_warning()
    body = without_delimiters(text)
    marked = body if "$" in body else f"${body}$"
    return tuple(math_verify.parse(marked, parsing_timeout=None, raise_on_error=True))


@lru_cache(maxsize=1)
def _silence_timeout_warning() -> None:
    # math-verify warns that its timeouts are off; that is on purpose here.
    for name in ("math_verify.parser", "math_verify.grader"):
        logging.getLogger(name).addFilter(lambda record: "Timeout is disabled" not in record.getMessage())
