"""HopWorld: entities, relations, and questions that are answered by following one to three facts.

Some relations lead from entity to entity, some to one of a few values. A question follows relations from an entity and
ends with one that leads to a value, so a quarter of unrelated facts has the right answer by chance:

    question   boss of friend of Rumo: colour?
    facts      Rumo friend Tasi. Tasi boss Kelo. Kelo colour red. Bado colour blue. ...
    response   <think>Rumo friend Tasi. Tasi boss Kelo. Kelo colour red.</think><answer>red</answer>

The world is a table; `lookup` is what an environment that is searched stands on, `context` what a prompt holds.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from guerdon.score.verify.blocks import extract_blocks

LINKS = ("friend", "boss", "neighbour", "teacher")
"""Relations that lead to an entity."""

VALUES = {"colour": ("red", "blue", "green", "black"), "town": ("Arvo", "Belm", "Corin", "Dasse")}
"""Relations that lead to a value, and their values."""

_TRIES = 1_000
"""Draws for one question or fact, before it is said that there is none."""

_CONSONANTS, _VOWELS = "bdfgklmnprstvz", "aeiou"


class Fact(NamedTuple):
    """An entity, a relation, and where it leads."""

    head: str
    relation: str
    tail: str

    def __str__(self) -> str:
        """As a sentence."""
        return f"{self.head} {self.relation} {self.tail}."


@dataclass(frozen=True)
class Question:
    """A question of some hops.

    Attributes:
        start: The entity that it starts from.
        relations: What is followed, in order; the last leads to a value.
        chain: The facts that answer it, in order.
    """

    start: str
    relations: tuple[str, ...]
    chain: tuple[Fact, ...]

    @property
    def answer(self) -> str:
        """The right answer."""
        return self.chain[-1].tail

    @property
    def values(self) -> tuple[str, ...]:
        """All possible answers."""
        return VALUES[self.relations[-1]]

    def __str__(self) -> str:
        """As a text."""
        *links, last = self.relations
        path = "".join(f"{relation} of " for relation in reversed(links))
        return f"{path}{self.start}: {last}?"

    def follows(self, cited: Sequence[Fact]) -> bool:
        """Whether citations are the facts that answer the question, in order."""
        return tuple(cited) == self.chain


@dataclass(frozen=True)
class HopWorld:
    """The facts of a world, and questions about them.

    Attributes:
        entities: How many entities there are, 4 to 4,900.
        seed: Of the facts.

    Raises:
        ValueError: A number is out of range.

    Example:
        >>> world = HopWorld(entities=20)
        >>> question = world.questions(1, hops=2, seed=0)[0]
        >>> world.lookup(question.start, question.relations[0]) == question.chain[0].tail
        True
    """

    entities: int = 200
    seed: int = 0
    names: tuple[str, ...] = field(init=False, repr=False)
    _facts: dict[tuple[str, str], str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        syllables = ["".join(pair) for pair in itertools.product(_CONSONANTS, _VOWELS)]
        if not 4 <= self.entities <= len(syllables) ** 2:
            raise ValueError(f"entities is {self.entities}: expected 4 to {len(syllables) ** 2}")
        generator = random.Random(f"hopworld/{self.seed}")
        chosen = generator.sample(range(len(syllables) ** 2), self.entities)
        names = tuple(
            (syllables[index // len(syllables)] + syllables[index % len(syllables)]).capitalize() for index in chosen
        )
        facts: dict[tuple[str, str], str] = {}
        for name in names:
            for relation in LINKS:
                # Nobody is related to himself, so that a path goes on.
                facts[name, relation] = generator.choice([other for other in names if other != name])
            for relation, values in VALUES.items():
                facts[name, relation] = generator.choice(values)
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "_facts", facts)

    @property
    def relations(self) -> tuple[str, ...]:
        """All relations."""
        return (*LINKS, *VALUES)

    def lookup(self, entity: str, relation: str) -> str | None:
        """Where a relation leads from an entity; None if there is no such entity or relation."""
        return self._facts.get((entity, relation))

    def fact(self, entity: str, relation: str) -> Fact:
        """The fact of an entity and a relation.

        Raises:
            ValueError: There is no such entity or relation.
        """
        tail = self.lookup(entity, relation)
        if tail is None:
            raise ValueError(
                f"there is no fact {entity!r} {relation!r}: expected an entity and a relation of the world"
            )
        return Fact(entity, relation, tail)

    def follow(self, start: str, relations: Sequence[str]) -> Question:
        """The question that follows relations from an entity.

        Raises:
            ValueError: No relation, one that leads to a value before the last, or a last one that leads to none.
        """
        if not relations or relations[-1] not in VALUES or any(relation in VALUES for relation in relations[:-1]):
            raise ValueError(
                f"relations are {tuple(relations)}: expected {LINKS}, and one of {tuple(VALUES)} at the end"
            )
        chain: list[Fact] = []
        at = start
        for relation in relations:
            chain.append(self.fact(at, relation))
            at = chain[-1].tail
        return Question(start, tuple(relations), tuple(chain))

    def questions(self, n: int, hops: int, seed: int) -> list[Question]:
        """Draw questions whose path visits no entity twice.

        Args:
            n: How many.
            hops: Facts that answer one, at least 1.
            seed: Of the draw.

        Raises:
            ValueError: `hops` is below 1, or the world is too small for such paths.
        """
        if hops < 1:
            raise ValueError(f"hops is {hops}: expected at least 1")
        generator = random.Random(f"hopworld/questions/{self.seed}/{hops}/{seed}")
        return [self._question(hops, generator) for _ in range(n)]

    def _question(self, hops: int, generator: random.Random) -> Question:
        for _ in range(_TRIES):
            relations = [generator.choice(LINKS) for _ in range(hops - 1)] + [generator.choice(tuple(VALUES))]
            question = self.follow(generator.choice(self.names), relations)
            if len({fact.head for fact in question.chain}) == hops:
                return question
        raise ValueError(f"hops is {hops}: expected fewer in a world of {self.entities} entities")

    def context(self, question: Question, facts: int, generator: random.Random) -> tuple[Fact, ...]:
        """Facts to be put before a question: its chain and distractors, shuffled.

        Distractors speak of the question's relations and of other entities, of the question's entities and other
        relations, or of what the first distractors lead to; so neither a relation nor an entity alone finds the chain.

        Args:
            question: A question of this world.
            facts: How many facts in all.
            generator: Source of randomness.

        Raises:
            ValueError: Fewer facts than the chain has, or more than the world has to offer.
        """
        if facts < len(question.chain):
            raise ValueError(f"facts is {facts}: expected at least the {len(question.chain)} of the chain")
        chosen = list(question.chain)
        visited = [fact.head for fact in question.chain]
        wanders = generator.choice(self.names)
        for _ in range(_TRIES * facts):
            if len(chosen) == facts:
                break
            kind = generator.random()
            if kind < 0.4:
                fact = self.fact(generator.choice(self.names), generator.choice(question.relations))
            elif kind < 0.7:
                fact = self.fact(generator.choice(visited), generator.choice(self.relations))
            else:
                fact = self.fact(wanders, generator.choice(question.relations))
                wanders = fact.tail if fact.tail in self.names else generator.choice(self.names)
            if fact not in chosen:
                chosen.append(fact)
        if len(chosen) < facts:
            raise ValueError(f"facts is {facts}: expected fewer in a world of {self.entities} entities")
        generator.shuffle(chosen)
        return tuple(chosen)


def prompt(question: Question, context: Sequence[Fact]) -> str:
    """The facts, then the question."""
    return " ".join(str(fact) for fact in context) + f"\n{question}\n"


def response(cited: Sequence[Fact], answer: str) -> str:
    """A response that cites facts and then answers."""
    return f"<think>{' '.join(str(fact) for fact in cited)}</think><answer>{answer}</answer>"


def read_response(text: str) -> tuple[tuple[Fact, ...], str] | None:
    """The citations and the answer of a response; None if it has another form.

    Example:
        >>> read_response("<think>Rumo friend Tasi.</think><answer>red</answer>")
        ((Fact(head='Rumo', relation='friend', tail='Tasi'),), 'red')
    """
    blocks = extract_blocks(text)
    if len(blocks.get("think", ())) != 1 or len(blocks.get("answer", ())) != 1:
        return None
    sentences = [part.split() for part in blocks["think"][0].split(".") if part.strip()]
    if any(len(words) != 3 for words in sentences):
        return None
    return tuple(Fact(*words) for words in sentences), blocks["answer"][0].strip()
