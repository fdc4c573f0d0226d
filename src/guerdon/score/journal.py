"""Rows of JSON Lines and Parquet files, read one by one, and scored rows that survive a crash."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from guerdon.storage import atomic_write

STANDARD = "-"
"""Stands for standard input or output."""

_CHUNK = 5_000
Row = dict[str, Any]


def read_rows(source: str) -> Iterator[Row]:
    """The rows of a file, lazily.

    Args:
        source: A path ending in `.jsonl`, `.ndjson`, `.json` (one object a line) or `.parquet`; "-" = JSON Lines from
            standard input.

    Raises:
        ValueError: The file is missing or of another kind, or a line is no JSON object.
    """
    if source == STANDARD:
        yield from _json_lines(sys.stdin, "standard input")
        return
    path = Path(source)
    if not path.is_file():
        raise ValueError(f"{source}: expected a file, or - for standard input")
    if path.suffix == ".parquet":
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(_CHUNK):
                yield from batch.to_pylist()
    elif path.suffix in (".jsonl", ".ndjson", ".json"):
        with path.open(encoding="utf-8") as lines:
            yield from _json_lines(lines, source)
    else:
        raise ValueError(f"{source}: expected a name that ends in .jsonl or .parquet")


def _json_lines(lines: TextIO, name: str) -> Iterator[Row]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{name}, line {number}: {error}: expected one JSON object a line") from error
        if not isinstance(row, dict):
            raise ValueError(f"{name}, line {number} is a {type(row).__name__}: expected a JSON object")
        yield row


def field(row: Mapping[str, Any], name: str, number: int) -> Any:
    """A field of a row; dots lead into objects and lists, as in `choices.0.text`.

    Raises:
        ValueError: There is no such field; the message names the row and the fields that it has.
    """
    if name in row:
        return row[name]
    value: Any = row
    for part in name.split("."):
        try:
            value = value[int(part)] if isinstance(value, list) else value[part]
        except (KeyError, IndexError, TypeError, ValueError):
            raise ValueError(f"row {number} has no field {name!r}: there are {sorted(row)}") from None
    return value


def text(value: Any, name: str, number: int) -> str:
    """A response or reference answer as text: itself, a number, or the content of the last of some chat messages.

    Raises:
        ValueError: It is something else.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, list) and value and isinstance(value[-1], dict) and isinstance(value[-1].get("content"), str):
        content: str = value[-1]["content"]
        return content
    raise ValueError(f"{name} in row {number} is a {type(value).__name__}: expected text, a number or chat messages")


class Journal:
    """Rows that are on disk before anybody uses them: a file beside the output, which takes its place at the end.

    Args:
        output: A path ending in `.jsonl` or `.parquet`.
        about: Settings; a journal of other settings is not gone on with.

    Raises:
        ValueError: The output exists, or has another ending, or a journal of other settings is there.
    """

    def __init__(self, output: Path, about: Mapping[str, Any]) -> None:
        if output.suffix not in (".jsonl", ".ndjson", ".json", ".parquet"):
            raise ValueError(f"{output}: expected a name that ends in .jsonl or .parquet")
        if output.exists():
            raise ValueError(f"{output} exists: remove it, or choose another name")
        self.output = output
        self.path = output.with_name(f"{output.name}.part")
        self.done = self._recover(json.loads(json.dumps(dict(about))))
        self._file = self.path.open("a", encoding="utf-8")

    def _recover(self, about: Mapping[str, Any]) -> int:
        """Rows of an earlier run that can be kept; what was half written when it died is cut off."""
        lines, end = 0, 0
        if self.path.exists():
            with self.path.open("r+b") as file:
                for number, line in enumerate(file):
                    if number == 0 and line.endswith(b"\n") and json.loads(line) != about:
                        raise ValueError(f"{self.path} is of a run with other settings: remove it to start over")
                    if line.endswith(b"\n"):
                        lines, end = lines + 1, end + len(line)
                file.truncate(end)
        if lines:
            return lines - 1
        self.output.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(about) + "\n", encoding="utf-8")
        return 0

    def append(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write rows and wait until they are on disk."""
        self._file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        self._file.flush()
        os.fsync(self._file.fileno())

    def rows(self) -> Iterator[Row]:
        """All rows so far."""
        with self.path.open(encoding="utf-8") as lines:
            next(lines)
            for line in lines:
                yield json.loads(line)

    def close(self) -> None:
        """Close the file; the rows stay for a later run."""
        self._file.close()

    def finish(self) -> None:
        """Turn the journal into the output."""
        self.close()
        atomic_write(self.output, self._write_parquet if self.output.suffix == ".parquet" else self._write_lines)
        self.path.unlink()

    def _write_lines(self, file: BinaryIO) -> None:
        for row in self.rows():
            file.write(f"{json.dumps(row, ensure_ascii=False)}\n".encode())

    def _write_parquet(self, file: BinaryIO) -> None:
        try:
            tables = (pa.Table.from_pylist(chunk) for chunk in _chunks(self.rows()))
            schema = pa.unify_schemas([table.schema for table in tables], promote_options="permissive")
            with pq.ParquetWriter(file, schema) as writer:
                for chunk in _chunks(self.rows()):
                    writer.write_table(pa.Table.from_pylist(chunk, schema=schema))
        except pa.ArrowException as error:
            raise ValueError(f"the rows do not fit one Parquet schema ({error}): write .jsonl instead") from error


def _chunks(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while chunk := list(islice(rows, _CHUNK)):
        # pyarrow takes the fields of a table from its first row alone.
        chunk[0] = {**dict.fromkeys(name for row in chunk for name in row), **chunk[0]}
        yield chunk
