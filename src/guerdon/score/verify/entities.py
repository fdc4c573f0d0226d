"""Entities that an agent names in its thoughts (E-GRPO, arXiv 2510.24694)."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

from guerdon.score.verdict import Verdict

MATCHERS = ("exact", "casefold", "aho")

_NAN = float("nan")


def extract_thoughts(rollout_text: str, open: str = "<think>", close: str = "</think>") -> list[str]:
    """The texts between an opening and the next closing mark, in order, stripped.

    A thought that is not closed ends where the next one opens, or with the text. Give this what the policy wrote
    alone: marks in the output of a tool would be taken for thoughts.

    Args:
        rollout_text: What the policy wrote.
        open: The opening mark.
        close: The closing mark.

    Raises:
        ValueError: A mark is empty.

    Example:
        >>> extract_thoughts("<think>a</think> call <think> b</think><answer>c</answer>")
        ['a', 'b']
    """
    if not open or not close:
        raise ValueError(f"open is {open!r}, close is {close!r}: expected two texts that are not empty")
    return [part.split(close, 1)[0].strip() for part in rollout_text.split(open)[1:]]


def entity_match(
    thoughts: Sequence[str], entities: Sequence[str], matcher: str = "exact"
) -> tuple[frozenset[str], float]:
    """Which entities occur, as a whole phrase, in some thought.

    Args:
        thoughts: Texts; a phrase that begins in one and ends in the next does not count.
        entities: Phrases; one that comes twice counts once.
        matcher: "exact" = as it is spelt; "casefold" = ignoring case; "aho" = as "exact", found in one pass over the
            text by an automaton (Aho and Corasick 1975), for very many entities.

    Returns:
        The entities that were found, and their share of all.

    Raises:
        ValueError: There are no entities, one is empty, or an unknown matcher.

    Example:
        >>> entity_match(["The actor is Leonardo", "He starred in Titanic"], ["Leonardo DiCaprio", "Titanic"])
        (frozenset({'Titanic'}), 0.5)
    """
    if matcher not in MATCHERS:
        raise ValueError(f"matcher is {matcher!r}: expected one of {MATCHERS}")
    wanted = tuple(dict.fromkeys(entities))
    if not wanted or not all(wanted):
        raise ValueError(f"entities are {list(entities)[:5]}: expected at least one, and none empty")
    if matcher == "aho":
        automaton = _automaton(wanted)
        found = frozenset().union(*(automaton.find(thought) for thought in thoughts))
    elif matcher == "casefold":
        folded = [thought.casefold() for thought in thoughts]
        found = frozenset(entity for entity in wanted if any(entity.casefold() in thought for thought in folded))
    else:
        found = frozenset(entity for entity in wanted if any(entity in thought for thought in thoughts))
    return found, len(found) / len(wanted)


class _Automaton:
    """Finds all of many phrases in one pass over a text."""

    def __init__(self, phrases: Sequence[str]) -> None:
        self.next: list[dict[str, int]] = [{}]
        self.phrase: list[str | None] = [None]
        for phrase in phrases:
            state = 0
            for character in phrase:
                if character not in self.next[state]:
                    self.next[state][character] = len(self.next)
                    self.next.append({})
                    self.phrase.append(None)
                state = self.next[state][character]
            self.phrase[state] = phrase
        self.back = [0] * len(self.next)  # the longest other suffix that is a beginning of a phrase
        self.shorter = [0] * len(self.next)  # the longest such suffix that is a phrase
        queue = deque(self.next[0].values())
        while queue:
            state = queue.popleft()
            for character, child in self.next[state].items():
                self.back[child] = self._step(self.back[state], character) if state else 0
                queue.append(child)
            suffix = self.back[state]
            self.shorter[state] = suffix if self.phrase[suffix] is not None else self.shorter[suffix]

    def _step(self, state: int, character: str) -> int:
        while state and character not in self.next[state]:
            state = self.back[state]
        return self.next[state].get(character, 0)

    def find(self, text: str) -> frozenset[str]:
        found: set[str] = set()
        state = 0
        for character in text:
            state = self._step(state, character)
            ending = state if self.phrase[state] is not None else self.shorter[state]
            while ending:
                phrase = self.phrase[ending]
                assert phrase is not None
                if phrase in found:
                    break  # its own suffixes were found with it
                found.add(phrase)
                ending = self.shorter[ending]
        return frozenset(found)


@lru_cache(maxsize=64)
def _automaton(phrases: tuple[str, ...]) -> _Automaton:
    return _Automaton(phrases)


@dataclass(frozen=True)
class EntityMatch:
    """The share of a question's entities that the thoughts of a response name, in [0, 1].

    This is the raw rate: E-GRPO divides it by the largest of the group and pays it to wrong answers only.

    Attributes:
        entities: Name of the column with the entities, a list of texts.
        messages: Name of the column with the chat messages, of which those of the assistant are searched; None = the
            response is what the policy wrote.
        matcher: "exact", "casefold" or "aho"; see `entity_match`.
        open: Mark that opens a thought.
        close: Mark that closes it.
        timeout: Seconds that one row may take.
    """

    entities: str = "entities"
    messages: str | None = None
    matcher: str = "exact"
    open: str = "<think>"
    close: str = "</think>"
    timeout: float = 5.0
    name: ClassVar[str] = "entities"
    version: ClassVar[str] = "1"

    def __post_init__(self) -> None:
        if self.matcher not in MATCHERS:
            raise ValueError(f"EntityMatch.matcher is {self.matcher!r}: expected one of {MATCHERS}")

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns of the row that are used."""
        return (self.entities,) if self.messages is None else (self.entities, self.messages)

    def __call__(self, response: str, target: str, row: Mapping[str, Any]) -> Verdict:
        """Search the thoughts of a response."""
        for column in self.reads:
            if column not in row:
                raise ValueError(f"the row has no column {column!r}: there are {sorted(row)}")
        entities = row[self.entities]
        if not entities or not all(entities):
            return Verdict(_NAN, reason=f"column {self.entities!r} has no entities, or an empty one")
        texts = [response]
        if self.messages is not None:
            texts = [
                message["content"]
                for message in row[self.messages]
                if message.get("role") == "assistant" and isinstance(message.get("content"), str)
            ]
        thoughts = [thought for text in texts for thought in extract_thoughts(text, self.open, self.close)]
        found, rate = entity_match(thoughts, entities, self.matcher)
        return Verdict(rate, "; ".join(sorted(found)), "" if rate else "names none of the entities")
