"""What all verifiers have in common, and that the page of verifiers names them all."""

from __future__ import annotations

import dataclasses
import importlib
import pickle
import pkgutil
from pathlib import Path
from typing import Any

import pytest

import guerdon.score
import guerdon.score.verify
from guerdon.score.composite import GatedVerdict, WeightedVerdicts
from guerdon.score.judge import templates
from guerdon.score.router import Routes
from guerdon.score.verdict import Verdict
from guerdon.score.verify.format import RegexMatch
from guerdon.score.verify.length import Length
from guerdon.score.verify.ranking import LinkRanks

DOCS = Path(__file__).parents[2] / "docs" / "how-to"
OWN = (
    "choice", "embedding", "entities", "fill_in", "format", "json_schema", "length", "parts", "ranking",
    "reasoning_patterns", "repetition", "sql", "word_overlap",
)  # fmt: skip
NEEDS = {
    RegexMatch: ("x",),
    LinkRanks: (10,),
    WeightedVerdicts: ((Length(),), (1.0,)),
    GatedVerdict: (Length(), Length()),
    Routes: ({"a": Length()},),
}
ROW: dict[str, Any] = {
    "db": b"",
    "entities": ["x"],
    "gold": ["x"],
    "permutation": [0],
    "kind": "a",
}


def verifiers() -> list[type]:
    """All verifier classes of the modules that are listed."""
    modules = [importlib.import_module(f"guerdon.score.verify.{name}") for name in OWN]
    modules += [importlib.import_module(f"guerdon.score.{name}") for name in ("composite", "router")]
    found = [
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type) and value.__module__ == module.__name__ and isinstance(vars(value).get("name"), str)
    ]
    assert len(found) >= 20
    return found


def test_the_modules_are_there() -> None:
    there = {module.name for module in pkgutil.iter_modules(guerdon.score.verify.__path__)}
    assert set(OWN) <= there


@pytest.mark.parametrize("kind", verifiers(), ids=lambda kind: kind.__name__)
def test_contract(kind: type) -> None:
    verifier = kind(*NEEDS.get(kind, ()))
    assert dataclasses.is_dataclass(kind)
    with pytest.raises(dataclasses.FrozenInstanceError):
        verifier.timeout = 1.0
    copy = pickle.loads(pickle.dumps(verifier))
    assert repr(copy) == repr(verifier)
    assert verifier.name
    assert verifier.version
    assert verifier.timeout > 0
    assert all(isinstance(name, str) for name in verifier.reads)
    assert set(verifier.reads) <= ROW.keys()
    if "db" not in verifier.reads:
        verdict = verifier("<think>x</think><answer>1. x</answer>", "1", ROW)
        assert isinstance(verdict, Verdict)
        assert verdict.decided or verdict.reason
        # A hostile size is no reason to fail, or to take for ever.
        for text in ("a b ", "\n", "\t", "1. ", "1, ", "- ", "A and ", "[", "```\n", "/**/", "\\boxed{", "'"):
            assert isinstance(verifier(f"<answer>x{text * (300_000 // len(text))}x</answer>", "1", ROW), Verdict)
        assert isinstance(verifier("\x00\ud800", "1", ROW), Verdict)


def test_names_are_different() -> None:
    names = [kind.name for kind in verifiers()]  # type: ignore[attr-defined]
    assert len(set(names)) == len(names)


def test_the_pages_name_everything() -> None:
    page = (DOCS / "verifiers.md").read_text(encoding="utf-8")
    missing = [kind.__name__ for kind in verifiers() if f"[{kind.__module__}.{kind.__name__}]" not in page]
    assert not missing
    judge = (DOCS / "judge.md").read_text(encoding="utf-8")
    assert not [name for name in templates() if f"`{name}`" not in judge]
