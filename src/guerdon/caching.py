"""Folders that are made once and kept: whole, or not there."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def cache_folder() -> Path:
    """Where models are kept: GUERDON_CACHE, or ~/.cache/guerdon."""
    return Path(os.environ.get("GUERDON_CACHE", Path.home() / ".cache" / "guerdon"))


def cached(kind: str, settings: Mapping[str, Any], make: Callable[[Path], None]) -> Path:
    """Return the folder of something made from settings, making it if it is not there.

    Args:
        kind: Begins the folder's name.
        settings: JSON values; everything that decides the content.
        make: Fills an empty folder. It is moved to its place only once it is filled, so that a process that dies
            leaves nothing half made, and of two processes at a time one wins.

    Returns:
        The filled folder.
    """
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
    target = cache_folder() / f"{kind}-{digest}"
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{kind}-"))
    try:
        make(work)
        (work / "settings.json").write_text(json.dumps(settings, indent=2, sort_keys=True))
        os.chmod(work, 0o755)
        try:
            os.replace(work, target)
        except OSError:
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return target
