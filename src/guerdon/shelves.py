"""The shelves, and the stages that stand on them."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
from collections.abc import Iterator
from typing import Any

SHELVES = {
    "rollout": ("guerdon.search",),
    "score": (
        "guerdon.score.verify.stage",
        "guerdon.score.verify.format",
        "guerdon.score.models.process",
        "guerdon.score.models.confidence",
        "guerdon.score.models.dimensions",
        "guerdon.score.models.feature_scorer",
        "guerdon.score.composite",
        "guerdon.score.router",
        "guerdon.score.judge",
    ),
    "shape": ("guerdon.shape",),
    "select": ("guerdon.select",),
    "credit": ("guerdon.credit",),
    "objective": ("guerdon.objective",),
}
"""Shelf -> modules whose stages stand on it."""

_ARXIV = re.compile(r"\b\d{4}\.\d{4,5}\b")


def stages(shelf: str) -> Iterator[type]:
    """The stage classes of a shelf, in order of name."""
    found: dict[str, type] = {}
    for name in SHELVES[shelf]:
        module = importlib.import_module(name)
        for entry in getattr(module, "__all__", vars(module)):
            kind = getattr(module, entry)
            if inspect.isclass(kind) and kind.__module__.startswith(name.rpartition(".")[0]) and _is_stage(kind):
                found[entry] = kind
    yield from (found[name] for name in sorted(found))


def _is_stage(kind: type) -> bool:
    if kind.__name__.startswith("_"):
        return False
    if kind.__module__.startswith("guerdon.search"):
        return hasattr(kind, "keep") and dataclasses.is_dataclass(kind)
    return callable(getattr(kind, "__call__", None)) and "writes" in dir(kind)  # noqa: B004


def describe(kind: type) -> dict[str, Any]:
    """Name, module, fields with defaults, sources (arXiv) and the first sentence of a stage's documentation."""
    own = inspect.getdoc(kind) or ""
    sources = _ARXIV.findall(own) or _ARXIV.findall(inspect.getmodule(kind).__doc__ or "")  # type: ignore[union-attr]
    return {
        "name": kind.__name__,
        "module": kind.__module__,
        "fields": {name: default for name, default in _fields(kind) if not name.startswith("_")},
        "arxiv": list(dict.fromkeys(sources)),
        "meaning": " ".join(own.split("\n\n")[0].split()),
    }


def _fields(kind: type) -> Iterator[tuple[str, str]]:
    for name, parameter in inspect.signature(kind).parameters.items():
        given = parameter.default
        yield name, "" if given is inspect.Parameter.empty else repr(given)
