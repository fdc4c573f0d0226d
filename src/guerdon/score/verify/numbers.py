"""Numbers as models write them, read exactly."""

from __future__ import annotations

import re
from collections import deque
from fractions import Fraction

MAX_EXPONENT = 400
"""Numbers with a larger power of ten than this, either way, are not computed with."""

MAX_DIGITS = 1_000
"""Numbers that are written with more characters than this are not computed with."""

# Digits are spelt out: \d would take those of other scripts as well.
_INTEGER = r"(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)"
_DECIMAL = re.compile(rf"([+-]?)({_INTEGER}(?:\.[0-9]*)?|\.[0-9]+)(?:[eE]([+-]?[0-9]+))?")
_TIMES_POWER = re.compile(r"(.+?)(?:\\times|\\cdot|\*|×|x)10(?:\^|\*\*)(?:\{([+-]?[0-9]+)\}|([+-]?[0-9]+))")
_FRACTION = re.compile(r"([+-]?)\\frac(?:\{([^{}]*)\}|([0-9]))(?:\{([^{}]*)\}|([0-9]))")
_CURRENCY = re.compile(r"^([+-]?)\s*(?:\\?\$|[€£¥])\s*(?=[-+.0-9])")
_TRAILING = re.compile(r"\s*(?:\\?%|\\?\$|[€£¥°]|\^\{?\\circ\}?)$")
_IN_TEXT = re.compile(rf"(?<![0-9])(?:{_INTEGER}(?![0-9])(?:\.[0-9]+)?|\.[0-9]+)(?:/[0-9]+)?")
_DELIMITERS = (("\\(", "\\)"), ("\\[", "\\]"), ("$$", "$$"), ("$", "$"))


class AbsurdNumberError(ValueError):
    """A number too large, too small or too long to be computed with."""


def parse_number(text: str) -> Fraction | None:
    r"""Read a number exactly.

    Integers, decimals, thousands commas (`1,234`), powers of ten (`1e3`, `1.2\times10^{3}`) and fractions (`3/4`,
    `\frac{3}{4}`, `\frac34`), with a currency sign before it, a per cent or degree sign after it, between dollars or
    LaTeX brackets. Digits of other scripts, underscores, hexadecimal numbers, `inf` and `nan` are no numbers; nor is
    a division by zero.

    Args:
        text: The whole text must be the number.

    Returns:
        Its value, or None if it is no number.

    Raises:
        AbsurdNumberError: It is written with more than `MAX_DIGITS` characters, or has a power of ten beyond
            `MAX_EXPONENT`.

    Example:
        >>> parse_number("$1,234.50"), parse_number("-\\frac{1}{2}"), parse_number("1_000")
        (Fraction(2469, 2), Fraction(-1, 2), None)
    """
    plain = _plain(text)
    if len(plain) > MAX_DIGITS:
        if re.fullmatch(r"[-+]?[0-9.,]+(?:[eE][-+]?[0-9]+)?(?:/[0-9.,]+)?", plain):
            raise AbsurdNumberError(f"a number of {len(plain)} characters: expected at most {MAX_DIGITS}")
        return None
    fraction = _FRACTION.fullmatch(plain)
    if fraction:
        value = _quotient(fraction[2] or fraction[3] or "", fraction[4] or fraction[5] or "")
        return -value if value is not None and fraction[1] == "-" else value
    top, slash, bottom = plain.partition("/")
    return _quotient(top, bottom) if slash else _decimal(plain)


def without_delimiters(text: str) -> str:
    """A text without white space and without the dollars or LaTeX brackets of mathematics at its ends.

    Example:
        >>> without_delimiters(" $x+1$ ")
        'x+1'
    """
    text = text.strip()
    for left, right in _DELIMITERS:
        if len(text) >= len(left + right) and text.startswith(left) and text.endswith(right):
            inside = text[len(left) : -len(right)]
            if left not in inside:
                return without_delimiters(inside)
    return text


def _plain(text: str) -> str:
    text = without_delimiters(text).replace("\u2212", "-").replace("{,}", ",")
    text = re.sub(r"\\[dt]frac(?![A-Za-z])", r"\\frac", text)
    text = re.sub(r"\\[!,]", "", text)
    text = re.sub(r"\s*(\\times|\\cdot|\\frac|[*×/^{}])\s*", r"\1", text).strip()
    # The full stop of a sentence; a comma there is not forgiven.
    text = text[:-1] if re.search(r"[0-9}%$]\.$", text) else text
    text = _CURRENCY.sub(r"\1", _TRAILING.sub("", text))
    return text.removesuffix(".") if re.search(r"[0-9]\.$", text) else text


def _quotient(top: str, bottom: str) -> Fraction | None:
    numerator, denominator = _decimal(top.strip()), _decimal(bottom.strip())
    return numerator / denominator if numerator is not None and denominator else None


def _decimal(text: str) -> Fraction | None:
    power = _TIMES_POWER.fullmatch(text)
    match = _DECIMAL.fullmatch(power[1] if power else text)
    if match is None:
        return None
    value = Fraction(match[2].replace(",", "").removesuffix("."))
    shift = _exponent(match[3]) + (_exponent(power[2] or power[3]) if power else 0)
    if value and abs(shift) > MAX_EXPONENT:
        raise AbsurdNumberError(f"a power of ten beyond {MAX_EXPONENT}")
    if value:
        value *= Fraction(10) ** shift
    return -value if match[1] == "-" else value


def _exponent(text: str | None) -> int:
    digits = (text or "").lstrip("+-").lstrip("0")
    # Python does not read integers of many thousand digits, and all that matters here is that they are too large.
    size = int(digits or "0") if len(digits) <= 9 else 10**9
    return -size if (text or "").startswith("-") else size


def last_number(text: str) -> str | None:
    """The last number in a text, as it is written there, with its sign.

    A minus right before a number (or before its dollar sign) is a sign unless a number or a closing bracket stands
    before the minus. Full stops and commas that end a clause do not belong to a number.

    Example:
        >>> last_number("She sells 9 * 2 = $1,018. every day"), last_number("10 - 3"), last_number("it is -3")
        ('1,018', '3', '-3')
    """
    match = next(iter(deque(_IN_TEXT.finditer(text), maxlen=1)), None)
    if match is None:
        return None
    before = text[: match.start()].removesuffix("$").removesuffix("\\")
    if not before.endswith(("-", "\u2212")):
        return match[0]
    operand = re.search(r"(?:[0-9)\]}]\s*|[A-Za-z])$", before[:-1])
    return match[0] if operand else "-" + match[0]
