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

Kind = Literal["math", "choice", "string", "number"]
KINDS = ("math", "choice", "string", "number")
"""What an answer can be compared as."""

MAX_EXPONENT = 400
"""Numbers of 10 to a larger power than this, either way, are not computed with."""

_NAN = float("nan")
_BOX = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])\s*")
_INTEGER_PART = r"(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)"
_DECIMAL = re.compile(rf"([+-]?)({_INTEGER_PART}(?:\.[0-9]*)?|\.[0-9]+)(?:[eE]([+-]?[0-9]+))?")
_POWER_OF_TEN = re.compile(r"(.*?)(?:\\times|\\cdot|\*|x)10\^\{?([+-]?[0-9]+)\}?", re.DOTALL)
_FRACTION = re.compile(r"([+-]?)\\[dt]?frac\s*(?:\{([^{}]*)\}|([0-9]))\s*(?:\{([^{}]*)\}|([0-9]))")
_WRITTEN_NUMBER = re.compile(rf"(?<![0-9.,])-?\$?(?:{_INTEGER_PART}(?:\.[0-9]+)?|\.[0-9]+)(?:/[0-9]+(?![0-9.]))?")
_CHOICE_ALONE = re.compile(r"[\s(\[{*$\"'.:]*([A-Za-z])[\s)\]}*$\"'.:,]*")
_CHOICE_FIRST = re.compile(r"[\s*$\"']*(?:\(([A-Za-z])\)|\[([A-Za-z])\]|([A-Za-z])[).:])(?!\s*[A-Za-z][).:])\s*\S.*", re.DOTALL)
_CHOICE_SAID = re.compile(
    r"\b(?:answer|option|choice)\b(?:\s+is)?\s*:?\s*[*$\"']*(?:\(([A-Za-z])\)|([A-Z])(?![A-Za-z]))", re.IGNORECASE
)
_WRAPPERS = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|mathit|operatorname|mbox)\s*\{([^{}]*)\}")
_SPACES = re.compile(r"\\[,;:! ]|\\quad|\\qquad|~")


def boxes(text: str) -> list[str]:
    """The contents of all complete LaTeX boxes that do not stand inside another one, in order.

    Braces are matched, escaped ones (`\\{`) do not count, and `\\boxed 7` takes one character or command.

    Example:
        >>> boxes("so \\\\boxed{\\\\frac{1}{2}} or \\\\fbox{3}, \\\\boxed{unfinished")
        ['\\\\frac{1}{2}', '3']
    """
    found: list[str] = []
    position = 0
    while match := _BOX.search(text, position):
        start = match.end()
        if text[start : start + 1] == "{":
            end = _closing_brace(text, start)
            if end is None:
                # Nothing closes this box, but a complete one may stand behind its start.
                position = start + 1
                continue
            found.append(text[start + 1 : end])
            position = end + 1
        else:
            bare = re.compile(r"\\[A-Za-z]+|[^\s\\{}]").match(text, start)
            if bare:
                found.append(bare[0])
            position = bare.end() if bare else start
            if position >= len(text):
                break
    return found


def _closing_brace(text: str, start: int) -> int | None:
    depth, position = 0, start
    while position < len(text):
        character = text[position]
        if character == "\\":
            position += 2
            continue
        depth += (character == "{") - (character == "}")
        if depth == 0:
            return position
        position += 1
    return None
