"""What must not be given to a computer algebra system, since it might never come back."""

from __future__ import annotations

import math
import re

MAX_LENGTH = 2_000
"""Longest text, in characters, that is compared as anything but a string."""

MAX_POWER = 1_000
"""Largest numeric exponent, and largest product of exponents that apply to brackets."""

MAX_TERMS = 500
"""Most terms that an expression may have when its brackets are multiplied out."""

_MAX_DEPTH = 8  # the 600 reference answers of MATH that this was tried on nest 2 deep at most
_MAX_FUNCTIONS = 6
_OPEN, _CLOSE = "([{", ")]}"
_ENDLESS = re.compile(r"\\(?:sum|prod|i*int|oint|lim)(?![A-Za-z])|!!|[)}\]]\s*!")
_FACTORIAL = re.compile(r"([0-9]+)\s*!")
_FACTORIAL_ABOVE = re.compile(r"(?:\^|\*\*)\s*(?:[-+]?\s*[A-Za-z0-9]+\s*!|[({][^!(){}]{0,200}!)")
_CHOOSE = re.compile(r"\\[dt]?binom|\\choose")
_FUNCTION = re.compile(r"(?:sin|cos|tan|cot|sec|csc|log|ln|exp|sinh|cosh|tanh)(?![A-Za-z])")
_NUMBER = re.compile(r"[0-9]+")
_POWER = re.compile(r"\s*(?:\^|\*\*)")
_PIECE = re.compile(r"\\[A-Za-z]+|\\.|[-+]|[(\[{]|\*\*|\^|.", re.DOTALL)
_EXPONENT = re.compile(r"\s*[-+]?\s*(?:([(\[{])|\\[A-Za-z]+|[0-9.]+|\S?)")
_ENORMOUS = 10**12


def refusal(text: str) -> str:
    """Why a text should not be parsed and computed as mathematics; "" if it may be.

    Refused are long texts, deep nesting, powers of powers and large exponents, brackets that would multiply out to
    very many terms, large factorials and those in exponents, large binomials, many functions, sums, products, integrals
    and limits. This is a sieve, not a proof: hostile input belongs into a process that can be killed.

    Args:
        text: An answer, of any length; the time is linear in it, or quadratic in up to `MAX_LENGTH` characters.

    Example:
        >>> refusal("2^{10}"), refusal("9^{9^{9^9}}")
        ('', 'an exponent is too large')
    """
    if len(text) > MAX_LENGTH:
        return f"{len(text)} characters: expected at most {MAX_LENGTH}"
    if _depth(text) > _MAX_DEPTH:
        return "brackets are nested too deeply"
    if _ENDLESS.search(text):
        return "a sum, product, integral, limit or repeated factorial"
    if _FACTORIAL_ABOVE.search(text):
        return "a factorial in an exponent"
    if any(_value(digits) > 170 for digits in _FACTORIAL.findall(text)):
        return "a factorial is too large"
    if _CHOOSE.search(text) and any(_value(digits) > 10_000 for digits in _NUMBER.findall(text)):
        return "a binomial coefficient is too large"
    if len(_FUNCTION.findall(text)) > _MAX_FUNCTIONS:
        return "too many functions"
    if _power_bound(text) > MAX_POWER:
        return "an exponent is too large"
    return "multiplied out, it has too many terms" if _terms(text) > MAX_TERMS else ""


def _value(digits: str) -> int:
    digits = digits.lstrip("0")
    return int(digits or "0") if len(digits) <= 12 else _ENORMOUS


def _depth(text: str) -> int:
    depth = deepest = 0
    for character in text:
        depth += (character in _OPEN) - (character in _CLOSE)
        deepest = max(deepest, depth)
    return deepest


def _power_bound(text: str) -> int:
    """A bound on the largest exponent; the exponents that apply to closed brackets are multiplied."""
    largest = on_brackets = 1
    for match in _POWER.finditer(text):
        size = _size(text[match.end() : _exponent_end(text, match.end())])
        largest = max(largest, size)
        if text[: match.start()].rstrip()[-1:] in tuple(_CLOSE):
            on_brackets = min(on_brackets * size, _ENORMOUS)
    return max(largest, on_brackets)


def _size(exponent: str) -> int:
    """A bound on the value of an exponent: the product of its numbers, without bound if it holds a power of them."""
    if _POWER.search(exponent) and _NUMBER.search(exponent):
        return _ENORMOUS
    size = 1
    for digits in _NUMBER.findall(exponent):
        size = min(size * max(_value(digits), 1), _ENORMOUS)
    return size


def _exponent_end(text: str, position: int) -> int:
    """Where the exponent ends that starts at `position`: a bracket or a token, and any powers stacked on it."""
    while True:
        token = _EXPONENT.match(text, position)
        assert token is not None  # every part of it is optional
        position = _closing(text, token.start(1)) if token[1] else token.end()
        further = _POWER.match(text, position)
        if further is None:
            return position
        position = further.end()


def _closing(text: str, start: int) -> int:
    """The position behind the bracket that closes the one at `start`; the end of the text if none does."""
    depth = 0
    for position in range(start, len(text)):
        depth += (text[position] in _OPEN) - (text[position] in _CLOSE)
        if depth == 0:
            return position + 1
    return len(text)


def _terms(text: str) -> int:
    """A bound on the number of terms when all brackets with letters in them are multiplied out.

    A power n of a bracket of k terms has (n + k - 1 choose k - 1) of them.
    """
    total, product, position = 0, 1, 0
    while position < len(text):
        piece = _PIECE.match(text, position)
        assert piece is not None  # it takes any character
        position = piece.end()
        if piece[0] in ("+", "-"):
            total, product = total + product, 1
        elif piece[0] in ("^", "**"):
            position = _exponent_end(text, position)
        elif piece[0] in _OPEN:
            start, position = piece.start(), _closing(text, piece.start())
            end = position
            power = _POWER.match(text, end)
            if power:
                position = _exponent_end(text, power.end())
            exponent = _size(text[power.end() : position]) if power else 1
            product = min(product * _bracket_terms(text[start + 1 : end - 1], exponent), _ENORMOUS)
    return min(total + product, _ENORMOUS)


def _bracket_terms(inside: str, exponent: int) -> int:
    if not re.search(r"[A-Za-z]", re.sub(r"\\[A-Za-z]+", "", inside)):
        return 1
    terms = _terms(inside)
    return terms if exponent == 1 else math.comb(min(exponent, MAX_POWER) + terms - 1, min(terms, 10**4) - 1) or 1
