"""JSON in responses, and whether it fits a schema."""

from __future__ import annotations

import json
import math
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon.score.verify.json_schema import JsonSchema, check_schema, find_json, read_json

SCHEMA = {"type": "object", "properties": {"age": {"type": "integer", "minimum": 0}}, "required": ["age"]}
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(value=values)
def test_reads_what_json_writes(value: Any) -> None:
    assert read_json(json.dumps(value)) == value


@given(
    value=st.lists(values, min_size=1, max_size=3)
    | st.dictionaries(st.text(max_size=4), values, min_size=1, max_size=3)
)
def test_finds_a_value_in_prose(value: Any) -> None:
    text = json.dumps(value)
    assert find_json(f"I think [see above that it is\n{text}\n as you asked.") == value
    assert find_json(f"```json\n{text}\n```\nDone.") == value
    assert find_json(f'First {{"draft": 1}} and then {text}.') == value


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1, "a": 2}',
        "NaN",
        "[Infinity]",
        "{'a': 1}",
        "[1,]",
        "// x\n1",
        "",
        "[" * 100_000,
        "9" * 5000 + "x",
        "\x00",
    ],
)
def test_refuses_what_is_not_json(text: str) -> None:
    with pytest.raises(ValueError):
        read_json(text)


def test_huge_texts_are_read_in_time() -> None:
    for text in ("[" * 500_000, '{"a":' * 100_000, "]" * 500_000, '"' * 500_000, "9" * 900_000):
        with pytest.raises(ValueError):
            find_json(text)
    with pytest.raises(ValueError, match="at most"):
        find_json(" " * 1_000_001)


@pytest.mark.parametrize(
    ("response", "reward"),
    [
        ('{"age": 12}', 1.0),
        ('{"age": "12"}', 0.0),
        ('{"age": -1}', 0.0),
        ("{}", 0.0),
        ('Sure: {"age": 3}', 1.0),
        ("twelve", 0.0),
        ("", 0.0),
    ],
)
def test_verdicts(response: str, reward: float) -> None:
    verdict = pickle.loads(pickle.dumps(JsonSchema.of(SCHEMA)))(response, "", {})
    assert verdict.reward == reward
    assert bool(verdict.reason) == (reward == 0.0)


def test_strict_and_target_as_schema() -> None:
    assert JsonSchema.of(SCHEMA, strict=True)('Sure: {"age": 3}', "", {}).reward == 0.0
    assert JsonSchema()('{"age": 3}', json.dumps(SCHEMA), {}).reward == 1.0
    assert math.isnan(JsonSchema()('{"age": 3}', "no schema", {}).reward)
    assert math.isnan(JsonSchema()("1", '{"type": "nothing"}', {}).reward)


def test_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("urllib.request.urlopen", refuse)
    with pytest.raises(ValueError, match="leads nowhere"):
        check_schema(1, {"$ref": "http://127.0.0.1:9/schema.json"})
    assert check_schema(1, {"$ref": "#/$defs/n", "$defs": {"n": {"type": "integer"}}}) == []


def test_a_broken_schema_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="no JSON Schema"):
        JsonSchema('{"type": "nothing"}')


def test_a_schema_that_refers_to_itself_ends() -> None:
    loop = {"$ref": "#"}
    with pytest.raises(ValueError, match="nested too deeply"):
        check_schema(1, loop)
