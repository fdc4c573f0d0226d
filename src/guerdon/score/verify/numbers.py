"""Numbers as models write them, read exactly."""

from __future__ import annotations

import re
from fractions import Fraction

MAX_EXPONENT = 400
"""Numbers of 10 to a larger power than this, either way, are not computed with."""

MAX_DIGITS = 1_000
"""Numbers that are written with more digits than this are not computed with."""

# Digits are spelt out: \d would take those of other scripts as well.
_INTEGER = r"(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)"
_DECIMAL = re.compile(rf"([+-]?)({_INTEGER}(?:\.[0-9]*)?|\.[0-9]+)(?:[eE]([+-]?[0-9]+))?")
_TIMES_POWER = re.compile(r"(.+?)(?:\\times|\\cdot|\*|×|x)10(?:\^|\*\*)(?:\{([+-]?[0-9]+)\}|([+-]?[0-9]+))")
_FRACTION = re.compile(r"([+-]?)\\frac(?:\{([^{}]*)\}|([0-9]))(?:\{([^{}]*)\}|([0-9]))")
_IN_TEXT = re.compile(rf"(?<![0-9A-Za-z.,])-?\s?\$?\s?(?:{_INTEGER}(?:\.[0-9]+)?|\.[0-9]+)(?:/[0-9]+)?")
_DECORATION = re.compile(r"\\[,;:!\s]|\\\(|\\\)|\\\[|\\\]|\\left|\\right|\\?%|\\?\$|\^\{?\\circ\}?|[\s$€£¥°{}]*$|^[\s€£¥]*")


class AbsurdNumberError(ValueError):
    """A number too large, too small or too long to be computed with."""


def parse_number(text: str) -> Fraction | None:
    """Read a number exactly.

    Integers, decimals, thousands commas (`1,234`), powers of ten (`1e3`, `1.2\\times10^{3}`), fractions (`3/4`,
    `\\frac{3}{4}`, `\\frac34`), with dollar and per cent signs and LaTeX spacing left out. Digits of other scripts,
    underscores, hexadecimal numbers, `inf` and `nan` are no numbers; nor is a division by zero.

    Args:
        text: The whole text must be the number.

    Returns:
        Its value, or None if it is no number.

    Raises:
        AbsurdNumberError: It is written with more than `MAX_DIGITS` characters, or a power of ten beyond
            `MAX_EXPONENT`.

    Example:
        >>> parse_number("$1,234.50"), parse_number("-\\\\frac{1}{2}"), parse_number("1_000")
        (Fraction(2469, 2), Fraction(-1, 2), None)
    """
    plain = _plain(text)
    if len(plain) > MAX_DIGITS:
        if re.fullmatch(r"[-+0-9.,eE/]+", plain):
            raise AbsurdNumberError(f"a number of {len(plain)} characters: expected at most {MAX_DIGITS}")
        return None
    fraction = _FRACTION.fullmatch(plain)
    if fraction:
        sign, top, bottom = fraction[1], fraction[2] or fraction[3], fraction[4] or fraction[5]
        value = _quotient(top or "", bottom or "")
        return None if value is None else -value if sign == "-" else value
    parts = plain.split("/")
    if len(parts) == 2:
        return _quotient(*parts)
    return _decimal(plain)


def _plain(text: str) -> str:
    text = text.strip().replace("\u2212", "-").replace("{,}", ",").replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac")
    text = re.sub(r"\\[,;:! ]|\\left|\\right|\\[()\[\]]|\\?\$|\\?%|\^\{?\\circ\}?|[€£¥°]", "", text)
    text = re.sub(r"\s*(\\times|\\cdot|[*×/^])\s*", r"\1", text).strip()
    text = re.sub(r"^([+-])\s+(?=[0-9.\\])", r"\1", text)
    # A full stop that ends a sentence, but not a comma: "1," is no number.
    return text[:-1] if re.fullmatch(r".*[0-9}]\.", text, re.DOTALL) else text


def _quotient(top: str, bottom: str) -> Fraction | None:
    numerator, denominator = _decimal(top.strip()), _decimal(bottom.strip())
    return numerator / denominator if numerator is not None and denominator else None


def _decimal(text: str) -> Fraction | None:
    power = _TIMES_POWER.fullmatch(text)
    exponent = (power[2] or power[3]) if power else "0"
    match = _DECIMAL.fullmatch(power[1] if power else text)
    if match is None:
        return None
    shift = _exponent(match[3] or "0") + _exponent(exponent)
    whole = match[2].replace(",", "")
    value = Fraction(whole if whole[-1] != "." else whole[:-1])
    if value and abs(shift) > MAX_EXPONENT:
        raise AbsurdNumberError(f"a power of ten beyond {MAX_EXPONENT}")
    value *= Fraction(10) ** shift if value else 1
    return -value if match[1] == "-" else value


def _exponent(text: str) -> int:
    digits = text.lstrip("+-").lstrip("0")
    # Python refuses to read integers of thousands of digits; what matters here is only that they are too many.
    size = int(digits or "0") if len(digits) <= 9 else 10**9
    return -size if text.startswith("-") else size


def last_number(text: str) -> str | None:
    """The last number that is written in a text, as it is written, without spaces and dollar signs.

    A minus counts as a sign if no number, letter or closing bracket stands before it (`5-3` holds 5 and 3). Full
    stops and commas that end a clause do not belong to a number.

    Example:
        >>> last_number("She sells 9 * 2 = $1,018. every day")
        '1,018'
        >>> last_number("no idea") is None
        True
    """
    found = None
    for match in _NUMBER_IN_TEXT.finditer(text):
        found = match
    return None if found is None else ("-" if found["minus"] else "") + found["number"]


_NUMBER_IN_TEXT = re.compile(
    rf"(?P<minus>(?<![0-9A-Za-z)\]}}.\-])[-\u2212]\s?\$?)?"
    rf"(?<![0-9])(?P<number>(?:{_INTEGER}(?![0-9])(?:\.[0-9]+)?|\.[0-9]+)(?:/[0-9]+)?)"
)
