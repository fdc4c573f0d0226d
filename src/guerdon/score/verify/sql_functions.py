"""Text functions of SQLite in linear time.

SQLite's own `instr`, `replace` and `trim` take the product of the lengths of their arguments, in one step that nothing
can interrupt: a query of a few kilobytes holds them up for minutes. Those of Python find the same in linear time
(the last digit of very large or small floats as text, and blobs in `replace`, may differ).
"""

from __future__ import annotations

import math
import sqlite3

from guerdon.score.verify.sql_results import Cell

MAX_TRIMMED = 1_000
"""Most different characters that one call of `trim` may take off."""

REFUSED = frozenset(("load_extension", "readfile", "writefile", "edit", "fts3_tokenizer", "sqlite_log", "json_patch"))
"""Functions that touch files, memory or the log, or take the square of the size of their arguments."""


def register(connection: sqlite3.Connection) -> None:
    """Put the functions of this module in the place of SQLite's."""
    connection.create_function("instr", 2, _instr, deterministic=True)
    connection.create_function("replace", 3, _replace, deterministic=True)
    for name, left, right in (("trim", True, True), ("ltrim", True, False), ("rtrim", False, True)):
        connection.create_function(name, 2, _Trim(left, right), deterministic=True)


def as_text(value: int | float | str | bytes) -> str:
    """A value as SQLite turns it into text.

    Example:
        >>> as_text(1.0), as_text(1e20), as_text(7)
        ('1.0', '1.0e+20', '7')
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.partition(b"\0")[0].decode("utf-8", "surrogateescape")
    if isinstance(value, int):
        return str(value)
    if math.isinf(value):
        return "Inf" if value > 0 else "-Inf"
    mantissa, mark, exponent = f"{value or 0.0:.15g}".partition("e")
    return (mantissa if "." in mantissa else mantissa + ".0") + mark + exponent


def _instr(text: Cell, part: Cell) -> int | None:
    if text is None or part is None:
        return None
    if isinstance(text, bytes) and isinstance(part, bytes):
        return text.find(part) + 1
    return as_text(text).find(as_text(part)) + 1


def _replace(text: Cell, old: Cell, new: Cell) -> Cell:
    if text is None or old is None:
        return None
    pattern = as_text(old)
    if not pattern:
        return text  # before it is looked at what would be put in, as SQLite does
    return None if new is None else as_text(text).replace(pattern, as_text(new))


class _Trim:
    def __init__(self, left: bool, right: bool) -> None:
        self.left, self.right = left, right

    def __call__(self, text: Cell, characters: Cell) -> str | None:
        if text is None or characters is None:
            return None
        chosen = "".join(dict.fromkeys(as_text(characters)))
        if len(chosen) > MAX_TRIMMED:
            raise ValueError(f"trim of {len(chosen)} different characters: expected at most {MAX_TRIMMED}")
        found = as_text(text)
        if not chosen:
            return found
        found = found.lstrip(chosen) if self.left else found
        return found.rstrip(chosen) if self.right else found
