"""Which rows are the same to a verifier."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from guerdon.score.fingerprint import FingerprintError, fingerprint
from guerdon.score.work import Row, Verifier


class RowKeys:
    """Keys of rows: equal keys mean equal verdicts.

    Args:
        verifier: Its attribute `reads` names the columns that it uses; without it, all columns count.
        on_disk: The keys are to tell verifiers apart as well, by `name`, `version` and settings.

    Raises:
        ValueError: A verifier, on disk, without name or version, or with settings that cannot be read.
    """

    def __init__(self, verifier: Verifier, on_disk: bool) -> None:
        self._identity = _identity(verifier) if on_disk else b""
        reads = getattr(verifier, "reads", None)
        self._reads: tuple[str, ...] | None = None if reads is None else tuple(reads)

    def row(self, response: str, target: str, columns: Mapping[str, Any]) -> Row:
        """What the verifier is given: the columns that it reads alone, so that no others can make a difference."""
        if self._reads is not None:
            columns = {name: columns[name] for name in self._reads if name in columns}
        return response, target, columns

    def key(self, row: Row) -> tuple[bytes | None, int]:
        """The key, and how many bytes it was made of.

        None in place of the key: what a row contains cannot be told, so it is the same as no other.
        """
        response, target, columns = row
        # Batches carry both as columns as well.
        same = [name for name in ("response", "target") if _is_same(name, columns, response, target)]
        rest = {name: value for name, value in columns.items() if name not in same}
        try:
            written = fingerprint(response, target, same, rest)
        except FingerprintError:
            return None, len(str(response)) + len(str(target))
        return hashlib.blake2b(self._identity + written, digest_size=20).digest(), len(written)


def _identity(verifier: Verifier) -> bytes:
    name, version = getattr(verifier, "name", None), getattr(verifier, "version", None)
    if not name or not version:
        raise ValueError(
            f"a cache needs a verifier with `name` and `version`: {verifier!r} has name {name!r}, version {version!r}"
        )
    try:
        return fingerprint(name, version, verifier)
    except FingerprintError as error:
        raise ValueError(f"a cache needs a verifier whose settings can be read: {error}") from error


def _is_same(name: str, columns: Mapping[str, Any], response: Any, target: Any) -> bool:
    """Whether a column says what is known already."""
    known, value = response if name == "response" else target, columns.get(name)
    return type(value) is str and type(known) is str and value == known
