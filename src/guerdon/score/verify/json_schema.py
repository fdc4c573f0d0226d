"""Whether a response is JSON of a given form (JSON Schema, by the package `jsonschema`)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

from guerdon.score.verdict import Verdict
from guerdon.score.verify.parts import answer_part

MAX_CHARACTERS = 1_000_000
"""Longer texts are not read as JSON."""

_NAN = float("nan")
_FENCE = re.compile(r"```[ \t]*(?:json[c5]?)?[ \t]*\r?\n(.*?)```", re.DOTALL | re.IGNORECASE)


def read_json(text: str) -> Any:
    """Read JSON strictly: no second value for one name, no NaN or infinity, no comments.

    Args:
        text: The whole text must be one value.

    Raises:
        ValueError: It is not; the message says where.

    Example:
        >>> read_json('{"a": [1, 2]}')
        {'a': [1, 2]}
    """
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"{len(text)} characters: expected at most {MAX_CHARACTERS}")
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except RecursionError as error:
        raise ValueError("is nested too deeply") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("has one name twice in an object")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def find_json(text: str) -> Any:
    """The JSON value of a text: the text itself, its last fenced block, or its last object or list.

    Args:
        text: A response.

    Raises:
        ValueError: There is none.

    Example:
        >>> find_json('Here it is: {"name": "Ada"} as you asked.')
        {'name': 'Ada'}
    """
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"{len(text)} characters: expected at most {MAX_CHARACTERS}")
    fenced = _FENCE.findall(text)
    try:
        return read_json(fenced[-1] if fenced else text)
    except ValueError as error:
        found = None if fenced else _last_value(text)
        if found is None:
            raise ValueError(f"holds no JSON: {error}"[:300]) from error
        return read_json(found)


def _last_value(text: str) -> str | None:
    """The last outermost object or list, by its brackets; those inside of texts do not count."""
    spans: list[tuple[int, int]] = []
    stack: list[tuple[str, int]] = []
    in_text = escaped = False
    for position, character in enumerate(text):
        if in_text:
            in_text = escaped or character != '"'
            escaped = character == "\\" and not escaped
        elif character == '"' and stack:
            in_text = True
        elif character in "{[":
            stack.append((character, position))
        elif character in "}]" and stack:
            opening, start = stack.pop()
            if (opening == "{") == (character == "}"):
                spans.append((start, position + 1))
            else:
                stack.clear()
    # A bracket of the prose may stay open, so what is outermost is known only at the end.
    outermost, reached = None, 0
    for start, end in sorted(spans):
        if start >= reached:
            outermost, reached = (start, end), end
    return text[slice(*outermost)] if outermost else None


def check_schema(value: Any, schema: Mapping[str, Any] | bool | str) -> list[str]:
    """Where a value violates a JSON Schema.

    References are resolved inside the schema only: nothing is fetched.

    Args:
        value: A JSON value, as `read_json` gives it.
        schema: The schema, or its JSON text.

    Returns:
        One line for each violation: the place in the value and what is wrong; empty if there is none.

    Raises:
        ValueError: It is no schema, or a reference in it leads nowhere.

    Example:
        >>> check_schema({"age": "12"}, {"properties": {"age": {"type": "integer"}}})
        ["$.age: '12' is not of type 'integer'"]
    """
    validator = _validator(schema if isinstance(schema, str) else json.dumps(schema, sort_keys=True))
    try:
        found = sorted(validator.iter_errors(value), key=lambda error: [str(part) for part in error.absolute_path])
    except RecursionError as error:
        raise ValueError("the schema or the value is nested too deeply") from error
    except Exception as error:
        if "Unresolvable" in type(error).__name__ or "Unresolvable" in repr(error):
            raise ValueError(f"a reference of the schema leads nowhere: {error}"[:300]) from error
        raise
    return [f"{error.json_path}: {error.message}"[:300] for error in found]


@lru_cache(maxsize=256)
def _validator(text: str) -> Any:
    import jsonschema  # type: ignore[import-untyped]
    import referencing

    try:
        schema = read_json(text)
        kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
        kind.check_schema(schema)
    except (ValueError, jsonschema.SchemaError) as error:
        raise ValueError(f"is no JSON Schema: {getattr(error, 'message', error)}"[:300]) from error
    # A registry of one's own keeps jsonschema from fetching what a reference names.
    return kind(schema, registry=referencing.Registry())


@dataclass(frozen=True)
class JsonSchema:
    """1 where the response is JSON that fits a schema, else 0 with the first violation as the reason.

    Attributes:
        schema: JSON text of the schema; "" = the target is the schema.
        part: What of the response is read; see `guerdon.score.verify.parts.answer_part`.
        strict: Whether the part must be JSON as a whole; otherwise see `find_json`.
        timeout: Seconds that one row may take.
    """

    schema: str = ""
    part: str = "response"
    strict: bool = False
    timeout: float = 5.0
    name: ClassVar[str] = "json-schema"
    version: ClassVar[str] = "1"
    reads: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        if self.schema:
            _validator(self.schema)

    @classmethod
    def of(cls, schema: Mapping[str, Any], **options: Any) -> JsonSchema:
        """A verifier from a schema that is a mapping; `options` are the other fields."""
        return cls(json.dumps(schema, sort_keys=True), **options)

    def __call__(self, response: str, target: str, row: Mapping[str, Any]) -> Verdict:
        """Check a response."""
        found = answer_part(response, self.part)
        if not found:
            return Verdict(0.0, reason="there is no answer")
        try:
            value = read_json(found) if self.strict else find_json(found)
        except ValueError as error:
            return Verdict(0.0, found[:200], str(error))
        try:
            violations = check_schema(value, self.schema or target)
        except ValueError as error:
            return Verdict(_NAN, found[:200], str(error))
        return Verdict(0.0 if violations else 1.0, found[:200], violations[0] if violations else "")
