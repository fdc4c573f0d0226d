"""Checkpoints that are whole or not there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import torch

_PREFIX, _STAGING, _STATE = "checkpoint-", ".writing", "guerdon_state"


def staging(root: str | os.PathLike[str]) -> Path:
    """The folder in which checkpoints are written before they are committed."""
    return Path(root) / _STAGING


def discard_unfinished(root: str | os.PathLike[str]) -> None:
    """Remove what a run that died left half written."""
    shutil.rmtree(staging(root), ignore_errors=True)


def commit(root: str | os.PathLike[str], name: str, keep: int | None = None) -> Path:
    """Make a written checkpoint visible under its name, at once, and remove old ones.

    Args:
        root: The folder of checkpoints.
        name: `checkpoint-N`, written under `staging(root)`.
        keep: How many to keep; None = all.

    Returns:
        The folder of the checkpoint.
    """
    source, target = staging(root) / name, Path(root) / name
    for path in source.rglob("*"):
        if path.is_file():
            _sync(path)
    _sync(source)
    shutil.rmtree(target, ignore_errors=True)
    os.replace(source, target)
    _sync(Path(root))
    if keep is not None:
        for old in sorted_checkpoints(root)[:-keep]:
            # A rename first: a run killed while deleting must not leave half a checkpoint under a good name.
            doomed = staging(root) / f"old-{old.name}"
            shutil.rmtree(doomed, ignore_errors=True)
            os.replace(old, doomed)
            shutil.rmtree(doomed, ignore_errors=True)
    return target


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sorted_checkpoints(root: str | os.PathLike[str]) -> list[Path]:
    """The committed checkpoints, oldest step first."""
    found = [path for path in Path(root).glob(f"{_PREFIX}*") if path.name.removeprefix(_PREFIX).isdigit()]
    return sorted(found, key=step_of)


def step_of(checkpoint: Path) -> int:
    """The optimiser step of a checkpoint folder."""
    return int(checkpoint.name.removeprefix(_PREFIX))


def latest(root: str | os.PathLike[str]) -> Path | None:
    """The newest committed checkpoint, or None."""
    found = sorted_checkpoints(root)
    return found[-1] if found else None


def save_state(state: dict[str, Any], folder: str | os.PathLike[str], rank: int) -> None:
    """Save the pipeline's state of one process into a checkpoint folder."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    torch.save(state, Path(folder) / f"{_STATE}_{rank}.pt")


def load_state(folder: str | os.PathLike[str], rank: int) -> dict[str, Any] | None:
    """Load what `save_state` saved; None if the checkpoint has none for this process.

    The file is unpickled: load checkpoints of your own runs only.
    """
    path = Path(folder) / f"{_STATE}_{rank}.pt"
    if not path.is_file():
        return None
    state: dict[str, Any] = torch.load(path, weights_only=False)
    return state
