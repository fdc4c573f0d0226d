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
def modules() -> dict[str, ModuleType]:
    """Slug -> module, in the order of the papers' numbers."""
    package = importlib.import_module("guerdon.papers")
    names = [entry.name for entry in pkgutil.iter_modules(package.__path__) if entry.name not in _NOT_PAPERS]
    found = [importlib.import_module(f"guerdon.papers.{name}") for name in names]
    return {module.PAPER.slug: module for module in sorted(found, key=lambda module: module.PAPER.number)}


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
