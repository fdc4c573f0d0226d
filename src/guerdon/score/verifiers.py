"""Verifiers by name, for the command line and the scoring service."""

from __future__ import annotations

import dataclasses
import importlib
import typing
from collections.abc import Mapping
from typing import Any

from guerdon.overrides import nearest, parse_value
from guerdon.score.work import Verifier

_HERE = "guerdon.score.verify"
NAMED = {
    "math": f"{_HERE}.math:MathAnswer",
    "code": f"{_HERE}.code:CodeTests",
    "sql": f"{_HERE}.sql:SqlExecution",
    "choice": f"{_HERE}.choice:Choice",
    "exact-match": f"{_HERE}.word_overlap:ExactMatch",
    "word-f1": f"{_HERE}.word_overlap:WordF1",
    "rouge": f"{_HERE}.word_overlap:Rouge",
    "bleu": f"{_HERE}.word_overlap:Bleu",
    "word-error-rate": f"{_HERE}.word_overlap:WordErrorRate",
    "regex": f"{_HERE}.format:RegexMatch",
    "format": f"{_HERE}.format:WellFormed",
    "json-schema": f"{_HERE}.json_schema:JsonSchema",
    "entities": f"{_HERE}.entities:EntityMatch",
    "ranking": f"{_HERE}.ranking:Ranking",
    "set-f1": f"{_HERE}.ranking:SetF1",
    "link-ranks": f"{_HERE}.ranking:LinkRanks",
    "fill-in": f"{_HERE}.fill_in:FillIn",
    "reorder": f"{_HERE}.fill_in:Reorder",
    "reasoning-patterns": f"{_HERE}.reasoning_patterns:ReasoningPatterns",
    "length": f"{_HERE}.length:Length",
    "repetition": f"{_HERE}.repetition:Repetition",
}
"""Name -> where the class is."""


def verifier_names() -> list[str]:
    """The names that `get_verifier` knows."""
    return sorted(NAMED)


def get_verifier(name: str, options: Mapping[str, Any] | None = None) -> Verifier:
    """A verifier by name.

    Args:
        name: One of `verifier_names()`, or "package.module:attribute" for one of your own: a class, which is called
            with the options, or a function (response, target, row) -> Verdict, which takes none.
        options: Fields of the verifier. Text is turned into the type of the field.

    Raises:
        ValueError: The name, or an option, is unknown, or a value does not fit.

    Example:
        >>> get_verifier("word-f1")("the cat", "a cat", {}).reward
        1.0
    """
    if ":" not in name and name not in NAMED:
        raise ValueError(f"there is no verifier {name!r}; {nearest(name, NAMED)}")
    try:
        found = attribute_at(NAMED.get(name, name))
    except (ImportError, AttributeError) as error:
        if name in NAMED and isinstance(error, ImportError):
            raise
        raise ValueError(f"verifier {name!r}: {error}") from error
    return _built(name, found, dict(options or {}))


def attribute_at(path: str) -> Any:
    """What "package.module:attribute" names; the attribute may have dots.

    Raises:
        ImportError: There is no such module.
        AttributeError: It has no such attribute.
    """
    module, _, attribute = path.partition(":")
    found: Any = importlib.import_module(module)
    for part in attribute.split("."):
        found = getattr(found, part)
    return found


def _built(name: str, found: Any, options: dict[str, Any]) -> Verifier:
    if not isinstance(found, type):
        if options:
            raise ValueError(f"verifier {name!r} is a function: it takes no options, got {sorted(options)}")
        if not callable(found):
            raise ValueError(f"verifier {name!r} is a {type(found).__name__}: expected a class or a function")
        verifier: Verifier = found
        return verifier
    known = _fields(found)
    for option, value in options.items():
        if known is not None and option not in known:
            raise ValueError(f"verifier {name!r} has no option {option!r}; {nearest(option, known)}")
        if known is not None and isinstance(value, str) and known[option] is not str:
            options[option] = parse_value(value, known[option], f"{name}.{option}")
    try:
        built: Verifier = found(**options)
    except TypeError as error:
        raise ValueError(f"verifier {name!r}: {error}") from error
    return built


def _fields(kind: type) -> dict[str, Any] | None:
    if not dataclasses.is_dataclass(kind):
        return None
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind) if field.init}
