"""Trained models kept on disk, found again by a hash of everything that they depend on.

An entry is a folder. It is made under a temporary name and renamed when it is complete, so a reader sees the whole of
it or nothing, and a process that is killed leaves nothing that counts. A lock keeps two processes from making the
same entry at once.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

SETTINGS_FILE = "settings.json"
"""In every entry: the settings that its key was made of."""


def cache_folder() -> Path:
    """Where models are kept: the environment variable GUERDON_CACHE, or ~/.cache/guerdon."""
    given = os.environ.get("GUERDON_CACHE")
    return Path(given).expanduser() if given else Path.home() / ".cache" / "guerdon"


def content_key(settings: Mapping[str, Any]) -> str:
    """A hash of settings, whatever the order of their names.

    Args:
        settings: JSON values.

    Raises:
        TypeError: Something in the settings is no JSON value.

    Example:
        >>> content_key({"a": 1, "b": [2]}) == content_key({"b": [2], "a": 1})
        True
    """
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def cached_folder(
    kind: str, settings: Mapping[str, Any], make: Callable[[Path], None], *, folder: Path | None = None
) -> Path:
    """Return the cache entry for these settings, making it first if it is not there.

    Args:
        kind: What it is; begins the entry's name.
        settings: Everything that the content depends on; JSON values.
        make: Writes the content into the empty folder that it is given. If it raises, nothing is kept.
        folder: The cache; None = `cache_folder()`.

    Returns:
        The entry's folder.

    Raises:
        OSError: The cache cannot be written.
    """
    from filelock import FileLock

    root = cache_folder() if folder is None else folder
    entry = root / f"{kind}-{content_key(settings)}"
    if entry.is_dir():
        return entry
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(str(entry) + ".lock"):
        if not entry.is_dir():
            _make(entry, settings, make)
    return entry


def _make(entry: Path, settings: Mapping[str, Any], make: Callable[[Path], None]) -> None:
    # The lock is held, so whatever unfinished folder there is was left by a process that was killed.
    for left in entry.parent.glob(f".{entry.name}.*"):
        shutil.rmtree(left, ignore_errors=True)
    unfinished = Path(tempfile.mkdtemp(dir=entry.parent, prefix=f".{entry.name}."))
    try:
        make(unfinished)
        (unfinished / SETTINGS_FILE).write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")
        unfinished.chmod(0o755)
        os.replace(unfinished, entry)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
