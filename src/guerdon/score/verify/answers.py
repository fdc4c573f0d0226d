"""Is an answer right: boxes and final numbers found in a response, compared exactly where that is possible.

Numbers, decimals, fractions and percentages are compared as exact fractions; everything else of kind "math" goes to
the math-verify library, whose time limits are switched off because they work in a main thread only; instead what is
parsed is bounded in length.
"""

from __future__ import annotations

import re
from fractions import Fraction

from guerdon.score.verdict import Verdict

KINDS = ("math", "choice", "string", "number")
LONGEST = 2_000
"""Characters of an answer that are looked at; a longer one is undecided."""

LARGEST_EXPONENT = 4_000
_BOX = re.compile(r"\\f?box(?:ed)?\s*\{")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,6})?")
_GROUPED = re.compile(r"[+-]?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?")
_LATEX_FRACTION = re.compile(r"([+-]?)\\[dt]?frac\{([+-]?[0-9]+)\}\{([+-]?[0-9]+)\}")
_IN_TEXT = re.compile(r"[+-]?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?")
_CHOICE = re.compile(r"(?<![A-Za-z])([A-Za-z])(?![A-Za-z])")
NAN = float("nan")


def boxes(text: str) -> list[str]:
    r"""The contents of all `\boxed{...}` and `\fbox{...}`, with braces balanced, in order.

    Example:
        >>> boxes(r"so \\boxed{\\frac{1}{2}} or \\boxed{3}")
        ['\\\\frac{1}{2}', '3']
    """
    found = []
    for match in _BOX.finditer(text):
        depth, position = 1, match.end()
        while position < len(text) and depth:
            if text[position] in "{}" and text[position - 1] != "\\":
                depth += 1 if text[position] == "{" else -1
            position += 1
        if not depth:
            found.append(text[match.end() : position - 1].strip())
    return found


def last_boxed(text: str) -> str | None:
    """The content of the last complete box, or None."""
    found = boxes(text)
    return found[-1] if found else None


def last_number(text: str) -> str | None:
    """The last number of a text without its thousands separators, or None."""
    found = _IN_TEXT.findall(text[-100_000:])
    return found[-1].replace(",", "") if found else None


def as_fraction(text: str) -> Fraction | None:
    """The exact value of a plain number, decimal, fraction or percentage; None if the text is something else.

    Example:
        >>> as_fraction("1,234.50"), as_fraction("-3/6"), as_fraction("two")
        (Fraction(2469, 2), Fraction(-1, 2), None)
    """
    value = text.strip().strip("$").replace("\\$", "").replace("\\!", "").replace("−", "-").strip()
    if not value.isascii() or len(value) > LONGEST:
        return None
    hundredth = value.endswith("%")
    value = value.removesuffix("%").removesuffix("\\").strip().rstrip(".")
    result = _plain_fraction(value.replace(" ", ""))
    return result / 100 if result is not None and hundredth else result


def _plain_fraction(value: str) -> Fraction | None:
    if _GROUPED.fullmatch(value):
        value = value.replace(",", "")
    latex = _LATEX_FRACTION.fullmatch(value)
    if latex:
        sign, top, bottom = latex.groups()
        return None if int(bottom) == 0 else (-1 if sign == "-" else 1) * Fraction(int(top), int(bottom))
    top, slash, bottom = value.partition("/")
    if slash and re.fullmatch(r"[+-]?[0-9]+", top) and re.fullmatch(r"[0-9]+", bottom):
        return None if int(bottom) == 0 else Fraction(int(top), int(bottom))
    if not _NUMBER.fullmatch(value):
        return None
    exponent = re.search(r"[eE]([+-]?[0-9]+)", value)
    if exponent and abs(int(exponent.group(1))) > LARGEST_EXPONENT:
        return None
    return Fraction(value)


def answers_match(prediction: str, gold: str, kind: str = "math") -> Verdict:
    """Compare an extracted answer with the reference.

    Args:
        prediction: The answer, already extracted.
        gold: The reference.
        kind: "number" = equal exact values; "math" = equal values, else equivalent by math-verify; "choice" = the same
            letter; "string" = the same words, ignoring case and white space.

    Returns:
        Reward 1 or 0; NaN with a reason if that could not be decided: an empty reference, or an answer too long.

    Raises:
        ValueError: Unknown kind.

    Example:
        >>> answers_match("0.50", "1/2").reward, answers_match("(B)", "B", "choice").reward
        (1.0, 1.0)
    """
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}: expected one of {KINDS}")
    if not gold.strip():
        return Verdict(NAN, prediction, "the reference answer is empty")
    if len(gold) > LONGEST:
        return Verdict(NAN, prediction, f"the reference answer has {len(gold)} characters: expected up to {LONGEST}")
    if len(prediction) > LONGEST:
        return Verdict(NAN, prediction[:80], f"the answer has {len(prediction)} characters: expected up to {LONGEST}")
    if not prediction.strip():
        return Verdict(0.0, prediction, "the answer is empty")
    if kind == "choice":
        return _equal(_letter(prediction), _letter(gold), prediction, gold)
    if kind == "string" or _words(prediction) == _words(gold):
        return _equal(_words(prediction), _words(gold), prediction, gold)
    left, right = as_fraction(prediction), as_fraction(gold)
    if left is not None and right is not None:
        return _equal(left, right, prediction, gold)
    if kind == "number":
        if right is None:
            return Verdict(NAN, prediction, f"the reference {gold!r} is no number")
        return Verdict(0.0, prediction, "the answer is no number")
    return _by_library(prediction, gold)


def _equal(left: object, right: object, prediction: str, gold: str) -> Verdict:
    return Verdict(1.0, prediction) if left == right else Verdict(0.0, prediction, f"{prediction!r} is not {gold!r}")


def _letter(text: str) -> str:
    found = _CHOICE.search(text)
    return found.group(1).upper() if found else text.strip().upper()


def _words(text: str) -> str:
    return " ".join(text.split()).casefold()


def _by_library(prediction: str, gold: str) -> Verdict:
    from math_verify import parse, verify

    if re.search(r"(?:\^|\*\*)\s*\{?\s*[0-9]{4,}|[0-9]{400,}|!{3,}", prediction):
        return Verdict(NAN, prediction, "the answer holds a number too large to be worked out")
    try:
        reference = parse(f"${gold}$", parsing_timeout=None)
        answer = parse(f"${prediction}$", parsing_timeout=None)
        right = bool(verify(reference, answer, timeout_seconds=None))
    except Exception as error:
        return Verdict(NAN, prediction, f"math-verify: {type(error).__name__}: {error}")
    if not reference:
        return Verdict(NAN, prediction, f"the reference {gold!r} could not be parsed")
    return Verdict(float(right), prediction, "" if right else f"{prediction!r} is not {gold!r}")
