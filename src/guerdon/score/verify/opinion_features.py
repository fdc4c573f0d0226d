"""Seven features of a summary of opinions, each in [0, 1] and higher = better (arXiv 2402.15473).

Reviews and summary are sets of (aspect, polarity). The opinion of most reviews on an aspect is what a summary should
say. A summary is judged against the reviews alone, never against a reference summary: the features have to serve for
freely sampled ones.

Where this differs from the paper: there a large language model gives the scores (see
`guerdon.score.models.feature_scorer.PromptedScorer`); these are exact definitions of this project, read from texts with
a lexicon.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from guerdon.ops import ngram_repetition

Opinion = tuple[str, int]
"""(aspect, polarity), polarity -1 or 1."""

FEATURE_NAMES = (
    "aspect_coverage",
    "opinion_faithfulness",
    "opinion_coverage",
    "conciseness",
    "relevance",
    "no_hallucination",
    "language_correctness",
)
"""The features, in their order."""

_SENTENCES = re.compile(r"[.!?;\n]+")
_CLAUSES = re.compile(r",|\bbut\b|\bwhile\b|\balthough\b", re.IGNORECASE)
_WORDS = re.compile(r"[\w'-]+")


def majority_opinions(reviews: Sequence[Sequence[Opinion] | set[Opinion]]) -> set[Opinion]:
    """For every aspect the polarity that more reviews assert; a tie keeps both.

    Args:
        reviews: The opinions of each review; one that comes twice in a review counts once.

    Raises:
        ValueError: A polarity is neither -1 nor 1.

    Example:
        >>> sorted(majority_opinions([[("battery", 1)], [("battery", 1), ("screen", -1)], [("battery", -1)]]))
        [('battery', 1), ('screen', -1)]
    """
    votes: dict[Opinion, int] = {}
    for review in reviews:
        for opinion in set(review):
            _expect_opinion(opinion)
            votes[opinion] = votes.get(opinion, 0) + 1
    return {
        (aspect, polarity)
        for (aspect, polarity), number in votes.items()
        if number >= votes.get((aspect, -polarity), 0)
    }


def opinion_features(
    reviews: Sequence[Sequence[Opinion] | set[Opinion]],
    summary: Sequence[Opinion] | set[Opinion],
    n_tokens: int,
    budget: int,
    *,
    sentences: Sequence[Sequence[str] | set[str]] | None = None,
    words: Sequence[str] | None = None,
) -> Tensor:
    """The features of a summary.

    With Maj the majority opinions, A_R their aspects, O_s the opinions of the summary and A_s theirs:
    aspect_coverage = |A_R and A_s| / |A_R|; opinion_faithfulness = |Maj and O_s| / |O_s|; opinion_coverage =
    |Maj and O_s| / |Maj|; conciseness = min(1, budget / n_tokens), 0 for an empty summary; relevance = share of the
    sentences that mention an aspect of A_R; no_hallucination = share of O_s whose aspect is in A_R;
    language_correctness = 1 - share of trigrams, by position, that come more than once. Where there is nothing to take
    a share of, it is 1.

    Args:
        reviews: The opinions of each review.
        summary: The opinions of the summary.
        n_tokens: Its length.
        budget: Length that a summary may have.
        sentences: The aspects that each sentence mentions; None = every opinion is a sentence of its own.
        words: The words of the summary, for the trigrams; None = none is repeated.

    Returns:
        (7,) float32 in the order of `FEATURE_NAMES`.

    Raises:
        ValueError: A negative length, a budget below 1, or a polarity that is neither -1 nor 1.

    Example:
        >>> reviews = [{("battery", 1), ("screen", 1)}, {("screen", -1)}, {("sound", 1), ("screen", -1)}]
        >>> opinion_features(reviews, {("battery", 1), ("screen", 1)}, 50, 40)[:4].tolist()
        [0.6666666865348816, 0.5, 0.3333333432674408, 0.800000011920929]
    """
    if n_tokens < 0 or budget < 1:
        raise ValueError(f"n_tokens is {n_tokens}, budget is {budget}: expected 0 or more, and at least 1")
    wanted, said = majority_opinions(reviews), set(summary)
    for opinion in said:
        _expect_opinion(opinion)
    known, mentioned = {aspect for aspect, _ in wanted}, {aspect for aspect, _ in said}
    spoken = [{aspect} for aspect, _ in sorted(said)] if sentences is None else [set(part) for part in sentences]
    values = {
        "aspect_coverage": _share(len(known & mentioned), len(known)),
        "opinion_faithfulness": _share(len(wanted & said), len(said)),
        "opinion_coverage": _share(len(wanted & said), len(wanted)),
        "conciseness": min(1.0, budget / n_tokens) if n_tokens else 0.0,
        "relevance": _share(sum(bool(part & known) for part in spoken), len(spoken)),
        "no_hallucination": _share(sum(aspect in known for aspect, _ in said), len(said)),
        "language_correctness": 1.0 - ngram_repetition(list(words or ()), 3, "positions"),
    }
    return torch.tensor([values[name] for name in FEATURE_NAMES])


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


def _expect_opinion(opinion: Opinion) -> None:
    if opinion[1] not in (-1, 1):
        raise ValueError(f"the polarity of {opinion!r} is {opinion[1]!r}: expected -1 or 1")


@dataclass(frozen=True, repr=False)
class Lexicon:
    """Words for aspects and opinions, in lower case.

    Attributes:
        aspects: Word -> the aspect that it names.
        positive: Words of praise.
        negative: Words of blame.
        negations: Words that turn the polarity of an opinion word that follows within `reach` words.
        reach: See there.
    """

    aspects: Mapping[str, str]
    positive: frozenset[str]
    negative: frozenset[str]
    negations: frozenset[str] = frozenset(("not", "no", "never", "isn't", "don't", "doesn't", "hardly", "without"))
    reach: int = 3

    def __repr__(self) -> str:
        # Sets have no fixed order, and a recipe that is printed has to look the same in every process.
        words = f"{len(self.positive)} positive, {len(self.negative)} negative words"
        return f"<Lexicon: {', '.join(sorted(set(self.aspects.values())))}; {words}>"

    def sentences(self, text: str) -> list[tuple[set[str], set[Opinion]]]:
        """The aspects and opinions of each sentence.

        Inside a clause an aspect gets the polarity of the nearest opinion word, of equally near ones the first; a
        clause without opinion words mentions its aspects only.
        """
        found = []
        for sentence in _SENTENCES.split(text):
            if not _WORDS.search(sentence):
                continue
            aspects: set[str] = set()
            opinions: set[Opinion] = set()
            for clause in _CLAUSES.split(sentence):
                words = [word.lower() for word in _WORDS.findall(clause)]
                polarity = self._polarities(words)
                for place, word in enumerate(words):
                    if word not in self.aspects:
                        continue
                    aspects.add(self.aspects[word])
                    if polarity:
                        nearest = min(polarity, key=lambda other: (abs(other - place), other))
                        opinions.add((self.aspects[word], polarity[nearest]))
            found.append((aspects, opinions))
        return found

    def opinions(self, text: str) -> set[Opinion]:
        """All opinions of a text."""
        return {opinion for _, opinions in self.sentences(text) for opinion in opinions}

    def _polarities(self, words: Sequence[str]) -> dict[int, int]:
        """Place of each opinion word -> its polarity."""
        found = {}
        for place, word in enumerate(words):
            if word in self.positive or word in self.negative:
                turned = any(other in self.negations for other in words[max(place - self.reach, 0) : place])
                found[place] = (1 if word in self.positive else -1) * (-1 if turned else 1)
        return found


@dataclass(frozen=True)
class LexiconScorer:
    """The features of a summary, read from texts with a lexicon.

    Attributes:
        lexicon: Words for aspects and opinions.
        budget: Words that a summary may have.
    """

    lexicon: Lexicon
    budget: int = 40
    names: tuple[str, ...] = field(default=FEATURE_NAMES, init=False, repr=False)

    def __call__(self, reviews: Sequence[str], summary: str) -> Tensor:
        """(7,) float32 features; see `opinion_features`."""
        return self.all_of(reviews, [summary])[0]

    def all_of(self, reviews: Sequence[str], summaries: Sequence[str]) -> Tensor:
        """(K, 7) float32 features of several summaries of the same reviews, which are read once."""
        read = [self.lexicon.opinions(review) for review in reviews]
        rows = [self._measured(read, summary) for summary in summaries]
        return torch.stack(rows) if rows else torch.zeros(0, len(self.names))

    def _measured(self, read: Sequence[set[Opinion]], summary: str) -> Tensor:
        words = [word.lower() for word in _WORDS.findall(summary)]
        sentences = self.lexicon.sentences(summary)
        return opinion_features(
            read,
            {opinion for _, opinions in sentences for opinion in opinions},
            len(words),
            self.budget,
            sentences=[aspects for aspects, _ in sentences],
            words=words,
        )
