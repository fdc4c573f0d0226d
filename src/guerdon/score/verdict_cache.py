"""Verdicts on disk, so that what was decided once is never computed again."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from guerdon.score.verdict import Verdict

_MOST_NAMES = 500  # of one query
_PATIENCE = 60.0  # seconds that another process may write
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS verdicts (key BLOB PRIMARY KEY, reward REAL, extracted TEXT, reason TEXT NOT NULL)"
)


class VerdictCache:
    """A SQLite file of verdicts by key; several threads and processes may use it at once.

    Args:
        path: The file; folders are made.

    Raises:
        ValueError: The file is there, and no such cache.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        self._owner = os.getpid()
        self._connection: sqlite3.Connection | None = None
        self._of_parents: list[sqlite3.Connection | None] = []
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._lock:
                self._opened()
        except (sqlite3.DatabaseError, OSError) as error:
            raise ValueError(f"{path} is no cache of verdicts ({error})") from error

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            # One connection for all threads, one at a time: they wait for the one file anyway.
            connection = sqlite3.connect(self.path, timeout=_PATIENCE, check_same_thread=False)
            try:
                _prepare(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _mine(self) -> threading.Lock:
        """The lock, in this process."""
        if os.getpid() != self._owner:
            # A connection must not be carried over a fork, nor be closed on the other side, which would take the
            # parent's locks away; and the lock may be held by a thread that does not exist here.
            self._of_parents.append(self._connection)
            self._owner, self._connection, self._lock = os.getpid(), None, threading.Lock()
        return self._lock

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Verdict]:
        """The verdicts that are known of some keys.

        Raises:
            sqlite3.Error: The file cannot be read.
        """
        found: dict[bytes, Verdict] = {}
        with self._mine():
            connection = self._opened()
            for start in range(0, len(keys), _MOST_NAMES):
                part = keys[start : start + _MOST_NAMES]
                places = ",".join("?" * len(part))
                query = f"SELECT key, reward, extracted, reason FROM verdicts WHERE key IN ({places})"
                for key, reward, extracted, reason in connection.execute(query, part):
                    # SQLite keeps a NaN as NULL.
                    found[key] = Verdict(float("nan") if reward is None else reward, extracted, reason)
        return found

    def put(self, verdicts: Mapping[bytes, Verdict]) -> None:
        """Keep verdicts; a key that is known already is written over.

        Raises:
            sqlite3.Error: The file cannot be written.
        """
        rows = [
            (key, verdict.reward, verdict.extracted, verdict.reason)
            for key, verdict in verdicts.items()
            if _is_storable(verdict)
        ]
        if rows:
            with self._mine(), self._opened() as transaction:
                transaction.executemany("INSERT OR REPLACE INTO verdicts VALUES (?, ?, ?, ?)", rows)

    def __len__(self) -> int:
        with self._mine():
            return int(self._opened().execute("SELECT COUNT(*) FROM verdicts").fetchone()[0])

    def close(self) -> None:
        """Close the file; using the cache again opens it again."""
        with self._mine():
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()


def _prepare(connection: sqlite3.Connection) -> None:
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            # Two that open a new file at once may both be refused by the change to WAL, without being made to wait.
            with closing(connection.execute("PRAGMA journal_mode=WAL")):
                pass
            connection.execute("PRAGMA synchronous=NORMAL")
            with connection:
                connection.execute(_SCHEMA)
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.01)


def _is_storable(verdict: Verdict) -> bool:
    """Half a surrogate pair, which a model's broken output can hold, is no text to SQLite."""
    try:
        f"{verdict.extracted}{verdict.reason}".encode()
    except UnicodeEncodeError:
        return False
    return True
