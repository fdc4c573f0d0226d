"""What must not be given to a computer algebra system, since it might never come back."""

from __future__ import annotations

import re

MAX_LENGTH = 2_000
"""Longest text, in characters, that is parsed as mathematics."""

MAX_POWER = 1_000
"""Largest numeric exponent, and largest product of nested ones."""

_MAX_DEPTH = 40
_ENDLESS = re.compile(r"\\(?:sum|prod|i*int|oint|lim)(?![A-Za-z])|!!|\)\s*!|\}\s*!")
_FACTORIAL = re.compile(r"([0-9]+)\s*!")
_CHOOSE = re.compile(r"\\[dt]?binom|\\choose")
_NUMBER = re.compile(r"[0-9]+")


def refusal(text: str) -> str:
    """Why a text should not be parsed and computed as mathematics; "" if it may be.

    Refused are long texts, deep nesting, powers of powers and large exponents, large factorials and binomials, sums,
    products, integrals and limits. This is a sieve, not a proof: hostile input belongs into a process that can be
    killed.

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
    if any(_large(digits, 170) for digits in _FACTORIAL.findall(text)):
        return "a factorial is too large"
    if _CHOOSE.search(text) and any(_large(digits, 10_000) for digits in _NUMBER.findall(text)):
        return "a binomial coefficient is too large"
    return "an exponent is too large" if _exponent_bound(text) > MAX_POWER else ""


def _large(digits: str, limit: int) -> bool:
    digits = digits.lstrip("0")
    return len(digits) > 9 or int(digits or "0") > limit


def _depth(text: str) -> int:
    depth = deepest = 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        deepest = max(deepest, depth)
    return deepest


def _exponent_bound(text: str) -> int:
    """An upper bound on how far powers can be stacked up: the largest exponent, where exponents that stand inside
    one another, or apply to a bracket, multiply."""
    exponents = [_group_after(text, match.end()) for match in re.finditer(r"\^|\*\*", text)]
    largest, on_brackets = 1, 1
    for match, exponent in zip(re.finditer(r"\^|\*\*", text), exponents, strict=True):
        size = _size(exponent)
        largest = max(largest, size)
        if text[: match.start()].rstrip()[-1:] in (")", "}", "]"):
            on_brackets = min(on_brackets * size, 10**12)
    return max(largest, on_brackets)


def _size(exponent: str) -> int:
    """A bound on the value of an exponent: the product of its numbers; very large if it holds a power itself."""
    size = 1
    for digits in _NUMBER.findall(exponent):
        size *= 10**12 if _large(digits, 10**6) else max(int(digits), 1)
        size = min(size, 10**12)
    nested = re.search(r"[0-9)}\]]\s*(?:\^|\*\*)", exponent)
    return 10**12 if nested and size > 8 else size


def _group_after(text: str, position: int) -> str:
    """What a power sign at `position` takes as its exponent: a bracket with its content, or one token; stacked
    powers (`^9^9`) count as one exponent."""
    match = re.compile(r"\s*[-+]?\s*").match(text, position)
    start = match.end() if match else position
    if text[start : start + 1] in ("{", "(", "["):
        end, depth = start, 0
        while end < len(text):
            depth += (text[end] in "([{") - (text[end] in ")]}")
            end += 1
            if depth == 0:
                break
    else:
        token = re.compile(r"\\[A-Za-z]+|[0-9.]+|.?", re.DOTALL).match(text, start)
        end = token.end() if token else start
    following = re.compile(r"\s*(?:\^|\*\*)").match(text, end)
    return text[start:end] + (following[0] + _group_after(text, following.end()) if following else "")
