"""Execution accuracy of SQL on SQLite (GradeSQL, arXiv 2509.01308): does a query give the rows that the gold one gives?

A query is run on a read-only connection that may do nothing but read, within limits of time, memory, rows and sizes.
SQLite looks at the clock between the steps of a query only, so functions that can take long in one step are replaced
or refused (see `guerdon.score.verify.sql_functions`).

Departures from the paper: time-outs are told apart from errors, and both say why; numbers are compared with a
tolerance; how text and numbers, duplicates and empty results count is a parameter.
"""

from __future__ import annotations

import os
import re
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

from guerdon.score.verdict import Verdict
from guerdon.score.verify import sql_functions
from guerdon.score.verify.parts import answer_part
from guerdon.score.verify.sql_results import Cell, rows_equal

Database = str | os.PathLike[str] | bytes
"""A file of SQLite, or the bytes of one (see `database_image`)."""

MEMORY_LIMIT = 256 * 2**20
"""Bytes that SQLite may use in this process, all connections together, once a query was run. It is SQLite's own hard
heap limit, which cannot be raised again."""

_NAN = float("nan")
_RESULT_BYTES = 64 * 2**20
_SQL_CHARACTERS = 20_000
_PATTERN_CHARACTERS = 1_000
_CHECK_EVERY = 1_000_000  # instructions; the watchdog is what normally ends a query, this is behind it
_ALLOWED = frozenset((sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE))
_FENCE = re.compile(r"```[ \t]*(?P<language>[A-Za-z0-9+#-]*)[ \t]*\r?\n(?P<body>.*?)```", re.DOTALL)
_QUERY_START = re.compile(r"(?:\s|--[^\n]*\n|/\*(?:[^*]|\*(?!/))*+\*/|\()*+(?:select|with|values)\b", re.IGNORECASE)
_TOKEN = re.compile(
    r"""--[^\n]*|/\*.*?(?:\*/|\Z)|'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]|[A-Za-z_][\w$]*|[()]""",
    re.DOTALL,
)


@dataclass(frozen=True)
class Result:
    """What a query gave.

    Attributes:
        rows: The rows, in the order in which they came; empty if there is an error.
        ordered: Whether the query itself orders its rows (a top-level ORDER BY).
        error: Why there are no rows; "" if the query ran.
        timed_out: Whether the error is the time limit.
    """

    rows: tuple[tuple[Cell, ...], ...] = ()
    ordered: bool = False
    error: str = ""
    timed_out: bool = False


def execution_result(
    db: Database,
    sql: str,
    timeout: float = 5.0,
    max_rows: int = 10_000,
    *,
    max_value_bytes: int = 100_000,
    memory_limit: int = MEMORY_LIMIT,
) -> Result:
    """Run one reading query.

    Works in any thread. Refused are several statements, everything that writes, PRAGMA, ATTACH, and functions that
    touch files. The clock starts with the call.

    Args:
        db: Path of the database, which is opened read-only and as it lies on the disk; or its bytes.
        sql: The query.
        timeout: Seconds.
        max_rows: A result of more rows is an error.
        max_value_bytes: Largest text or blob, also in between.
        memory_limit: See `MEMORY_LIMIT`; the smallest limit that was ever given counts.

    Returns:
        The rows, or the error; an exception is never raised for what is wrong with the query.

    Raises:
        FileNotFoundError: There is no such database.
        ValueError: It cannot be opened as one, or a limit is not positive.

    Example:
        >>> db = database_image("create table t (x); insert into t values (3), (1), (2);")
        >>> execution_result(db, "select x from t order by x").rows
        ((1,), (2,), (3,))
        >>> execution_result(db, "drop table t").error
        'not authorized'
    """
    for name, limit in (("timeout", timeout), ("max_rows", max_rows), ("max_value_bytes", max_value_bytes)):
        if not limit > 0:
            raise ValueError(f"{name} is {limit}: expected a positive number")
    start = time.monotonic()
    if "\0" in sql or len(sql) > _SQL_CHARACTERS:
        return Result(error=f"{len(sql)} characters, or a NUL among them: expected at most {_SQL_CHARACTERS}")
    ordered = has_top_level_order(sql)
    with closing(_open(db)) as connection:
        _restrict(connection, max_value_bytes, memory_limit)
        with _watched(connection, start + timeout) as expired:
            try:
                rows = _fetch(connection, sql, max_rows)
            except (sqlite3.Error, sqlite3.Warning, OverflowError, UnicodeError) as error:
                if expired():
                    return Result(error=f"took more than {timeout:g} seconds", timed_out=True)
                return Result(error=str(error)[:300] or type(error).__name__)
            except MemoryError:
                return Result(error="used more memory than is allowed")
    return Result(rows, ordered) if isinstance(rows, tuple) else Result(error=rows)


def _fetch(connection: sqlite3.Connection, sql: str, max_rows: int) -> tuple[tuple[Cell, ...], ...] | str:
    """The rows, or why there are none."""
    cursor = connection.execute(sql)
    if cursor.description is None:
        return "is no query"
    rows: list[tuple[Cell, ...]] = []
    size = 0
    for row in cursor:
        rows.append(row)
        size += sum(map(sys.getsizeof, row))
        if len(rows) > max_rows:
            return f"gives more than {max_rows} rows"
        if size > _RESULT_BYTES:
            return f"gives more than {_RESULT_BYTES} bytes"
    return tuple(rows)


def _open(db: Database) -> sqlite3.Connection:
    if isinstance(db, bytes):
        connection = sqlite3.connect(":memory:", check_same_thread=True)
        connection.deserialize(db)
    else:
        path = Path(db)
        if not path.is_file():
            raise FileNotFoundError(f"there is no database {path}")
        log = path.with_name(path.name + "-wal")
        if log.is_file() and log.stat().st_size:
            raise ValueError(f"{path} has a write-ahead log that was not taken over: expected a finished database")
        # Immutable: nothing is locked or written beside it, whatever the journal mode of the file is.
        connection = sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro&immutable=1", uri=True)
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error as error:
        connection.close()
        raise ValueError(f"the database cannot be read: {error}") from error
    return connection


def _restrict(connection: sqlite3.Connection, max_value_bytes: int, memory_limit: int) -> None:
    connection.execute(f"PRAGMA hard_heap_limit = {int(memory_limit)}")
    connection.execute("PRAGMA temp_store = MEMORY")  # so that the limit holds for what would go to the disk as well
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, max_value_bytes)
    connection.setlimit(sqlite3.SQLITE_LIMIT_SQL_LENGTH, 4 * _SQL_CHARACTERS)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, _PATTERN_CHARACTERS)
    connection.setlimit(sqlite3.SQLITE_LIMIT_EXPR_DEPTH, 200)
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    # Text that is not UTF-8 is data like any other.
    connection.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
    sql_functions.register(connection)
    connection.set_authorizer(_authorize)


def _authorize(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    if action == sqlite3.SQLITE_FUNCTION:
        allowed = (second or "").lower() not in sql_functions.REFUSED
    else:
        allowed = action in _ALLOWED
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY


@contextmanager
def _watched(connection: sqlite3.Connection, deadline: float) -> Iterator[Any]:
    """Interrupt the connection at the deadline; yields a function that says whether it has passed."""

    def expired() -> bool:
        return time.monotonic() >= deadline

    # A progress handler alone would take the interpreter's lock every few instructions, which slows queries down
    # many times over while other threads compute; and it is not called inside a row that takes long.
    timer = threading.Timer(max(deadline - time.monotonic(), 0.0), connection.interrupt)
    timer.daemon = True
    connection.set_progress_handler(lambda: int(expired()), _CHECK_EVERY)
    timer.start()
    try:
        yield expired
    finally:
        timer.cancel()
        timer.join()  # the connection is closed next, and must not be interrupted then


def database_image(script: str) -> bytes:
    """The bytes of a database that a script of SQL statements makes.

    Args:
        script: Trusted statements such as CREATE TABLE and INSERT.

    Raises:
        sqlite3.Error: The script fails.
    """
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(script)
        connection.commit()
        return connection.serialize()


def has_top_level_order(sql: str) -> bool:
    """Whether a query orders its own rows: an ORDER BY outside all brackets, texts and comments.

    Example:
        >>> has_top_level_order("select x from t order by x")
        True
        >>> has_top_level_order("select * from (select x from t order by x limit 3) -- order by x")
        False
    """
    depth, before = 0, ""
    for match in _TOKEN.finditer(sql):
        token = match[0].lower()
        if token.startswith(("--", "/*")):
            continue
        depth += (token == "(") - (token == ")")
        if depth == 0 and token == "by" and before == "order":
            return True
        before = token
    return False


def extract_sql(response: str) -> str | None:
    r"""The query that a response gives: its last fenced block of SQL, else all of it if it begins like a query.

    Example:
        >>> extract_sql("I need the names.\n```sql\nSELECT name FROM people;\n```")
        'SELECT name FROM people;'
    """
    fenced = [match for match in _FENCE.finditer(response) if match["language"].lower() in ("", "sql", "sqlite")]
    if fenced:
        return fenced[-1]["body"].strip()
    return response.strip() if _QUERY_START.match(response) else None


def results_equal(
    a: Result | Sequence[Sequence[Cell]],
    b: Result | Sequence[Sequence[Cell]],
    ordered: bool,
    *,
    tolerance: float = 1e-6,
    coerce: bool = False,
    duplicates: bool = True,
) -> bool:
    """Whether two results are the same rows; see `guerdon.score.verify.sql_results.rows_equal`.

    A result with an error equals none.

    Example:
        >>> results_equal([(1, None), (2.0, "x")], [(2, "x"), (1, None)], ordered=False)
        True
    """
    sides = []
    for side in (a, b):
        if isinstance(side, Result):
            if side.error:
                return False
            side = side.rows
        sides.append(side)
    return rows_equal(sides[0], sides[1], ordered, tolerance=tolerance, coerce=coerce, duplicates=duplicates)


@dataclass(frozen=True)
class SqlExecution:
    """1 where the query of the response gives the rows that the target query gives, else 0.

    The order of the rows counts only where the target query has an ORDER BY of its own; columns are compared by
    position, their names do not count. A target query that fails makes the row NaN, a response's query that fails or
    takes too long gets 0, with the reason.

    Attributes:
        database: Name of the column with the database: a path (see `folder`), or the bytes of one.
        folder: Folder of the databases; "{}" in `pattern` is the value of the column. "" = the column holds paths.
        pattern: Where in `folder` a database lies.
        part: What of the response holds the query: "response" = its last fenced block or else all of it; the name of
            a tag or "boxed" as in `guerdon.score.verify.parts.answer_part`.
        timeout: Seconds that one query may take.
        max_rows: A result of more rows is refused.
        max_value_bytes: Largest text or blob of a query.
        tolerance: Numbers this near to each other are equal, relative and absolute.
        coerce: Whether a text that is a number equals the number.
        duplicates: Whether it counts how often a row comes; False = results are compared as sets of rows.
        on_timeout: Reward of a query that takes too long.
        on_both_empty: Reward where both results are empty, which says little.
    """

    database: str = "db"
    folder: str = ""
    pattern: str = "{}.sqlite"
    part: str = "response"
    timeout: float = 5.0
    max_rows: int = 10_000
    max_value_bytes: int = 100_000
    tolerance: float = 1e-6
    coerce: bool = False
    duplicates: bool = True
    on_timeout: float = 0.0
    on_both_empty: float = 1.0
    name: ClassVar[str] = "sql"
    version: ClassVar[str] = "1"

    def __post_init__(self) -> None:
        for name in ("timeout", "max_rows", "max_value_bytes"):
            if not getattr(self, name) > 0:
                raise ValueError(f"SqlExecution.{name} is {getattr(self, name)}: expected a positive number")
        if not self.tolerance >= 0:
            raise ValueError(f"SqlExecution.tolerance is {self.tolerance}: expected 0 or more")

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns of the row that are used."""
        return (self.database,)

    def __call__(self, response: str, target: str, row: Mapping[str, Any]) -> Verdict:
        """Run the query of a response and the target query, and compare their rows."""
        if self.database not in row:
            raise ValueError(f"the row has no column {self.database!r}: there are {sorted(row)}")
        db = self._located(row[self.database])
        gold = _gold_result(
            db,  # type: ignore[arg-type]  # a path is hashable, whatever its type says
            _stamp(db),
            target,
            self.timeout,
            self.max_rows,
            self.max_value_bytes,
        )
        if gold.error:
            return Verdict(_NAN, reason=f"the target query: {gold.error}")
        found = answer_part(response, self.part)
        sql = extract_sql(found) if found else None
        if not sql:
            return Verdict(0.0, reason="there is no query")
        result = execution_result(db, sql, self.timeout, self.max_rows, max_value_bytes=self.max_value_bytes)
        if result.error:
            return Verdict(self.on_timeout if result.timed_out else 0.0, sql, result.error)
        if not result.rows and not gold.rows:
            return Verdict(self.on_both_empty, sql, "both results are empty")
        equal = results_equal(
            result,
            gold,
            gold.ordered,
            tolerance=self.tolerance,
            coerce=self.coerce,
            duplicates=self.duplicates,
        )
        return Verdict(1.0, sql) if equal else Verdict(0.0, sql, _difference(result, gold))

    def _located(self, value: Database) -> Database:
        if isinstance(value, bytes) or not self.folder:
            return value
        return os.path.join(self.folder, self.pattern.format(value))


def _difference(result: Result, gold: Result) -> str:
    widths = [len(rows[0]) if rows else 0 for rows in (result.rows, gold.rows)]
    if all(widths) and widths[0] != widths[1]:
        return f"{widths[0]} columns: expected {widths[1]}"
    if len(result.rows) != len(gold.rows):
        return f"{len(result.rows)} rows: expected {len(gold.rows)}"
    return "other rows" + (", or in another order" if gold.ordered else "")


def _stamp(db: Database) -> tuple[int, int]:
    """What changes when a database file does, so that stored results are not those of an older one."""
    if isinstance(db, bytes) or not os.path.exists(db):
        return 0, 0
    status = os.stat(db)
    return status.st_mtime_ns, status.st_size


@lru_cache(maxsize=256)
def _gold_result(
    db: Database, stamp: tuple[int, int], sql: str, timeout: float, max_rows: int, max_value_bytes: int
) -> Result:
    # A whole group of responses is compared with the same target query.
    return execution_result(db, sql, timeout, max_rows, max_value_bytes=max_value_bytes)
