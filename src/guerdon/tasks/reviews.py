"""The reviews lab: products with reviews, candidate summaries of all qualities, and a hidden taste.

A product has a sentiment for each of some aspects; its reviews each speak of a few of them, mostly in that sense. A
candidate summary says some of the majority opinions, leaves others out, turns some round, invents, repeats itself and
rambles. What a summary is worth is a hidden weighting of the seven features of
`guerdon.score.verify.opinion_features`.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from guerdon.score.verify.opinion_features import (
    FEATURE_NAMES,
    Lexicon,
    LexiconScorer,
    Opinion,
    majority_opinions,
)
from guerdon.tasks.drawing import expect_probabilities, expect_range

ASPECTS = ("battery", "screen", "sound", "price", "delivery", "weight")
LEXICON = Lexicon(
    aspects={name: name for name in ASPECTS},
    positive=frozenset(("good", "great", "excellent", "fine", "pleasing")),
    negative=frozenset(("bad", "poor", "terrible", "weak", "annoying")),
)
_FILLER = (
    "I bought it last week.",
    "My cousin was here on Sunday.",
    "It came in a brown box.",
    "We will see how it goes.",
)


@dataclass(frozen=True)
class Product:
    """A product.

    Attributes:
        product_id: Its number.
        reviews: Texts of its reviews.
        opinions: What most of them say.
    """

    product_id: int
    reviews: tuple[str, ...]
    opinions: frozenset[Opinion]


@dataclass(frozen=True)
class Reviews:
    """Products, reviews and candidate summaries.

    Attributes:
        reviews: Reviews of a product.
        mentions: Least and greatest number of aspects in a review.
        dissent: Share of opinions in reviews that are the other way round.
        budget: Words that a summary may have.
    """

    reviews: int = 8
    mentions: tuple[int, int] = (2, 4)
    dissent: float = 0.2
    budget: int = 24
    scorer: LexiconScorer = field(init=False, repr=False)

    def __post_init__(self) -> None:
        expect_range("mentions", self.mentions, 1, len(ASPECTS))
        expect_probabilities(dissent=self.dissent)
        if self.reviews < 1:
            raise ValueError(f"reviews is {self.reviews}: expected at least 1")
        object.__setattr__(self, "scorer", LexiconScorer(LEXICON, self.budget))

    def products(self, n: int, seed: int) -> list[Product]:
        """Draw products with their reviews."""
        generator = random.Random(f"reviews/{seed}")
        found = []
        for index in range(n):
            sentiment = {aspect: generator.choice((-1, 1)) for aspect in ASPECTS}
            texts = []
            for _ in range(self.reviews):
                spoken = generator.sample(ASPECTS, generator.randint(*self.mentions))
                opinions = [
                    (aspect, sentiment[aspect] * (-1 if generator.random() < self.dissent else 1)) for aspect in spoken
                ]
                texts.append(" ".join(sentence(opinion, generator) for opinion in opinions))
            read = [LEXICON.opinions(text) for text in texts]
            found.append(Product(index, tuple(texts), frozenset(majority_opinions(read))))
        return found

    def summaries(self, product: Product, n: int, seed: int) -> list[str]:
        """Candidate summaries of all qualities."""
        generator = random.Random(f"summaries/{product.product_id}/{seed}")
        return [self._summary(product, generator) for _ in range(n)]

    def _summary(self, product: Product, generator: random.Random) -> str:
        omit, turn, invent, repeat, ramble = (generator.random() * most for most in (0.8, 0.5, 0.5, 0.5, 0.6))
        said = []
        for aspect, polarity in sorted(product.opinions):
            if generator.random() >= omit:
                said.append(sentence((aspect, -polarity if generator.random() < turn else polarity), generator))
        for aspect in sorted(set(ASPECTS) - {aspect for aspect, _ in product.opinions}):
            if generator.random() < invent:
                said.append(sentence((aspect, generator.choice((-1, 1))), generator))
        said += [text for text in said if generator.random() < repeat]
        said += [text for text in _FILLER if generator.random() < ramble]
        generator.shuffle(said)
        return " ".join(said)

    def features(self, product: Product, summaries: Sequence[str]) -> Tensor:
        """(K, 7) float32 features of summaries of a product."""
        return self.scorer.all_of(product.reviews, summaries)


def sentence(opinion: Opinion, generator: random.Random) -> str:
    """A sentence that says an opinion, in one of several ways."""
    aspect, polarity = opinion
    praised, blamed = sorted(LEXICON.positive), sorted(LEXICON.negative)
    word, opposite = (generator.choice(words) for words in ((praised, blamed) if polarity > 0 else (blamed, praised)))
    pattern = generator.choice(
        ("The {aspect} is {word}.", "It has a {word} {aspect}.", "The {aspect} is not {opposite}.")
    )
    return pattern.format(aspect=aspect, word=word, opposite=opposite)


def hidden_taste(seed: int) -> Tensor:
    """(7,) float64 weights of the features, of sum 1: some matter much, some hardly."""
    generator = torch.Generator().manual_seed(seed)
    weights = -torch.log(torch.rand(len(FEATURE_NAMES), dtype=torch.float64, generator=generator))
    return weights / weights.sum()


def word_counts(text: str, vocabulary: Sequence[str]) -> Tensor:
    """(V,) float32: how often each word of a vocabulary is in a text."""
    words = [word.strip(".,").lower() for word in text.split()]
    return torch.tensor([float(words.count(word)) for word in vocabulary])
