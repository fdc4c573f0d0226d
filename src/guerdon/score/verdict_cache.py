"""Verdicts on disk, so that what was decided once is never computed again."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from guerdon.score.verdict import Verdict

_MOST_NAMES = 500  # of one query
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
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._local = threading.local()
        self._all: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        try:
            with self._connection() as connection:
                connection.execute(_SCHEMA)
        except sqlite3.DatabaseError as error:
            raise ValueError(f"{path} is no cache of verdicts ({error})") from error

    def _connection(self) -> sqlite3.Connection:
        process, connection = getattr(self._local, "connection", (None, None))
        # A connection must not be carried over a fork.
        if connection is None or process != os.getpid():
            connection = sqlite3.connect(self.path, timeout=60.0, check_same_thread=False)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            self._local.connection = (os.getpid(), connection)
            with self._lock:
                self._all.append(connection)
        return connection  # type: ignore[no-any-return]

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Verdict]:
        """The verdicts that are known of some keys."""
        found: dict[bytes, Verdict] = {}
        for start in range(0, len(keys), _MOST_NAMES):
            part = keys[start : start + _MOST_NAMES]
            places = ",".join("?" * len(part))
            query = f"SELECT key, reward, extracted, reason FROM verdicts WHERE key IN ({places})"
            for key, reward, extracted, reason in self._connection().execute(query, part):
                # SQLite keeps a NaN as NULL.
                found[key] = Verdict(float("nan") if reward is None else reward, extracted, reason)
        return found

    def put(self, verdicts: Mapping[bytes, Verdict]) -> None:
        """Keep verdicts; a key that is known already is written over."""
        rows = [
            (key, verdict.reward, verdict.extracted, verdict.reason)
            for key, verdict in verdicts.items()
            if _is_storable(verdict)
        ]
        with self._connection() as connection:
            connection.executemany("INSERT OR REPLACE INTO verdicts VALUES (?, ?, ?, ?)", rows)

    def __len__(self) -> int:
        return int(self._connection().execute("SELECT COUNT(*) FROM verdicts").fetchone()[0])

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            connections, self._all = self._all, []
        for connection in connections:
            connection.close()
        self._local = threading.local()


def _is_storable(verdict: Verdict) -> bool:
    """Half a surrogate pair, which a model's broken output can hold, is no text to SQLite."""
    try:
        f"{verdict.extracted}{verdict.reason}".encode()
    except UnicodeEncodeError:
        return False
    return True
