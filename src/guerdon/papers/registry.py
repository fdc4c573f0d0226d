"""The papers that guerdon holds: one module each, found by looking at this folder."""

from __future__ import annotations

import importlib
import json
import pkgutil
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from guerdon.overrides import nearest
from guerdon.papers.paper import Paper

_NOT_PAPERS = frozenset(("paper", "registry"))


@cache
def _found() -> tuple[dict[str, ModuleType], dict[str, str]]:
    package = importlib.import_module("guerdon.papers")
    loaded: list[ModuleType] = []
    missing: dict[str, str] = {}
    for entry in pkgutil.iter_modules(package.__path__):
        if entry.name in _NOT_PAPERS:
            continue
        try:
            loaded.append(importlib.import_module(f"guerdon.papers.{entry.name}"))
        except ModuleNotFoundError as error:
            # A module of our own that is not there is a defect, not an extra that was not installed.
            if (error.name or "").split(".")[0] == "guerdon":
                raise
            missing[entry.name] = error.name or str(error)
    return {module.PAPER.slug: module for module in sorted(loaded, key=lambda module: module.PAPER.number)}, missing


def modules() -> dict[str, ModuleType]:
    """Slug -> module, in the order of the papers' numbers."""
    return _found()[0]


def unavailable() -> dict[str, str]:
    """Module name -> the package that it needs and that is not installed."""
    return _found()[1]


def all_papers() -> list[Paper]:
    """All papers, by number."""
    return [module.PAPER for module in modules().values()]


def paper_module(slug: str) -> ModuleType:
    """The module of a paper.

    Raises:
        ValueError: There is no such paper; the message suggests the nearest.
    """
    if slug not in modules():
        raise ValueError(f"no paper {slug!r}; {nearest(slug, modules())}")
    return modules()[slug]


def claim_file(paper: Paper, folder: Path) -> Path:
    """Where the result of a paper's claim is stored."""
    return folder / f"{paper.number:02d}-{paper.slug}.json"


def claim_verdict(paper: Paper, folder: Path) -> str | None:
    """The verdict of a paper's claim as it was last measured, or None."""
    path = claim_file(paper, folder)
    if not path.is_file():
        return None
    result: dict[str, Any] = json.loads(path.read_text())
    return str(result["verdict"])
