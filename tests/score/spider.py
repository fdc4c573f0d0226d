"""The databases of Spider's dev set, from a MySQL dump to SQLite."""

from __future__ import annotations

import re
from collections.abc import Iterator

from guerdon.score.verify.sql import database_image

_TEXT = re.compile(r"'((?:[^'\\]|\\.|'')*)'", re.DOTALL)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "0": "\0"}


def databases(dump: str) -> dict[str, bytes]:
    """Name -> image of each database of the dump."""
    found: dict[str, list[str]] = {}
    current: list[str] = []
    for statement in _statements(dump):
        use = re.match(r"USE `(\w+)`", statement)
        if use:
            current = found.setdefault(use[1], [])
        elif statement.startswith("CREATE TABLE"):
            current.append(_table(statement))
        elif statement.startswith("INSERT INTO"):
            current.append(_TEXT.sub(_literal, statement) + ";")
    return {name: database_image("\n".join(script)) for name, script in found.items()}


def _statements(dump: str) -> Iterator[str]:
    plain = re.sub(r"^--.*\n|^/\*!.*\*/;\n", "", dump, flags=re.MULTILINE)
    for match in re.finditer(r"(?:[^;']|'(?:[^'\\]|\\.|'')*')+", plain):
        yield match[0].strip()


def _table(statement: str) -> str:
    name = re.match(r"CREATE TABLE `(\w+)`", statement)
    assert name is not None
    columns = []
    for line in statement.splitlines()[1:-1]:
        column = re.match(r"\s*`([^`]+)` ([a-z]+)", line)
        if column:
            # MySQL compares text without regard to case.
            text = "COLLATE NOCASE" if column[2] in ("text", "varchar", "char") else ""
            columns.append(f"`{column[1]}` {column[2]} {text}")
    return f"CREATE TABLE `{name[1]}` ({', '.join(columns)});"


def _literal(match: re.Match[str]) -> str:
    value = re.sub(
        r"\\(.)", lambda escape: _ESCAPES.get(escape[1], escape[1]), match[1].replace("''", "'"), flags=re.DOTALL
    )
    return "'" + value.replace("'", "''") + "'"
