"""Entities named in thoughts."""

from __future__ import annotations

import math
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon.score.verify.entities import EntityMatch, entity_match, extract_thoughts

phrases = st.lists(st.text("abA ", min_size=1, max_size=4), min_size=1, max_size=8)


def test_example() -> None:
    thoughts = ["The actor is Leonardo", "He starred in Titanic"]
    assert entity_match(thoughts, ["Leonardo DiCaprio", "Titanic"]) == ({"Titanic"}, 0.5)


@given(thoughts=st.lists(st.text("abA ", max_size=25), max_size=4), entities=phrases)
def test_matchers_equal_the_slow_search(thoughts: list[str], entities: list[str]) -> None:
    expected = {entity for entity in entities for thought in thoughts if entity in thought}
    for matcher in ("exact", "aho"):
        found, rate = entity_match(thoughts, entities, matcher)
        assert found == expected
        assert rate == len(expected) / len(set(entities))
    folded, _ = entity_match([thought.upper() for thought in thoughts], entities, "casefold")
    assert folded == {entity for entity in entities for thought in thoughts if entity.lower() in thought.lower()}


def test_a_phrase_over_two_thoughts_and_another_case_do_not_count() -> None:
    assert entity_match(["New", "York"], ["New York"])[1] == 0.0
    assert entity_match(["new york"], ["New York"])[1] == 0.0


@pytest.mark.parametrize("entities", [[], ["a", ""]])
def test_refuses(entities: list[str]) -> None:
    with pytest.raises(ValueError, match="entities"):
        entity_match(["a"], entities)
    with pytest.raises(ValueError, match="matcher"):
        entity_match(["a"], ["a"], "fuzzy")


def test_thoughts() -> None:
    text = "<think> a </think><tool>b</tool><think>c<think>d</think>e</think><answer>f</answer><think>g"
    assert extract_thoughts(text) == ["a", "c", "d", "g"]
    assert extract_thoughts("[[x]] y", "[[", "]]") == ["x"]
    assert extract_thoughts("no thought") == []
    with pytest.raises(ValueError, match="empty"):
        extract_thoughts("x", "")


def test_only_thoughts_of_the_policy_count() -> None:
    verifier = pickle.loads(pickle.dumps(EntityMatch()))
    row = {"entities": ["Rome", "Paris"]}
    assert verifier("<think>Rome</think><answer>Paris</answer>", "", row).reward == 0.5
    chat = EntityMatch(messages="messages")
    row["messages"] = [  # type: ignore[assignment]
        {"role": "user", "content": "<think>Paris</think>"},
        {"role": "assistant", "content": "<think>Rome</think>"},
        {"role": "tool", "content": "<think>Paris</think>"},
        {"role": "assistant", "content": None},
    ]
    assert chat("<think>Paris</think>", "", row).reward == 0.5
    assert chat.reads == ("entities", "messages")


def test_rows_without_entities_are_undecided() -> None:
    assert math.isnan(EntityMatch()("x", "", {"entities": []}).reward)
    with pytest.raises(ValueError, match="no column"):
        EntityMatch()("x", "", {})
