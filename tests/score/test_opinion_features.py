"""Features of opinion summaries: the worked example, bounds and directions, and reading texts."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon.score.verify.opinion_features import (
    FEATURE_NAMES,
    Lexicon,
    LexiconScorer,
    Opinion,
    majority_opinions,
    opinion_features,
)

REVIEWS = [
    [("battery", 1), ("screen", 1)],
    [("battery", 1), ("screen", -1)],
    [("battery", -1), ("sound", 1)],
    [("screen", -1)],
]
SUMMARY = [("battery", 1), ("screen", 1), ("weight", -1)]

opinion = st.tuples(st.sampled_from(["a", "b", "c", "d", "e"]), st.sampled_from([-1, 1]))
opinions = st.lists(opinion, max_size=5)
reviews = st.lists(opinions, max_size=5)


def named(values: torch.Tensor) -> dict[str, float]:
    assert values.shape == (7,)
    return dict(zip(FEATURE_NAMES, values.tolist(), strict=True))


def test_the_worked_example() -> None:
    assert majority_opinions(REVIEWS) == {("battery", 1), ("screen", -1), ("sound", 1)}
    found = named(opinion_features(REVIEWS, SUMMARY, 50, 40))
    assert found["aspect_coverage"] == pytest.approx(2 / 3)
    assert found["opinion_coverage"] == pytest.approx(1 / 3)
    assert found["opinion_faithfulness"] == pytest.approx(1 / 3)
    assert found["no_hallucination"] == pytest.approx(2 / 3)
    assert found["conciseness"] == pytest.approx(0.8)


def test_a_tie_keeps_both_and_a_review_votes_once() -> None:
    assert majority_opinions([[("a", 1), ("a", 1), ("a", -1)]]) == {("a", 1), ("a", -1)}
    assert majority_opinions([[("a", 1), ("a", 1)], [("a", -1)], [("a", -1)]]) == {("a", -1)}
    assert majority_opinions([]) == set()


def test_an_empty_summary_is_faithful_and_covers_nothing() -> None:
    found = named(opinion_features(REVIEWS, [], 0, 40, sentences=[], words=[]))
    assert found == {
        "aspect_coverage": 0.0,
        "opinion_faithfulness": 1.0,
        "opinion_coverage": 0.0,
        "conciseness": 0.0,
        "relevance": 1.0,
        "no_hallucination": 1.0,
        "language_correctness": 1.0,
    }


def test_sentences_and_words() -> None:
    found = named(
        opinion_features(REVIEWS, SUMMARY, 8, 40, sentences=[["battery"], [], ["weight"]], words=list("abcabcde"))
    )
    assert found["relevance"] == pytest.approx(1 / 3)
    # Of the six trigrams abc stands at two places.
    assert found["language_correctness"] == pytest.approx(1 - 2 / 6)


@given(reviews, opinions, st.integers(0, 80))
def test_bounds_and_orders(texts: list[list[Opinion]], summary: list[Opinion], length: int) -> None:
    values = opinion_features(texts, summary, length, 40)
    assert bool(((values >= 0) & (values <= 1)).all())
    assert torch.equal(values, opinion_features(texts[::-1], summary[::-1], length, 40))
    assert torch.equal(values, opinion_features([text + text for text in texts], summary, length, 40))
    before = named(values)
    for right in majority_opinions(texts) - set(summary):
        after = named(opinion_features(texts, [*summary, right], length, 40))
        assert after["opinion_coverage"] > before["opinion_coverage"]
        assert after["aspect_coverage"] >= before["aspect_coverage"]
    if before["no_hallucination"] == 1.0:
        invented = named(opinion_features(texts, [*summary, ("unseen", 1)], length, 40))
        assert invented["no_hallucination"] < 1.0


LEXICON = Lexicon(
    aspects={"battery": "battery", "screen": "screen", "display": "screen", "sound": "sound"},
    positive=frozenset(("good", "great")),
    negative=frozenset(("bad", "poor")),
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The battery is good.", {("battery", 1)}),
        ("The battery is not good.", {("battery", -1)}),
        ("A great display, but the sound is poor!", {("screen", 1), ("sound", -1)}),
        ("Not a bad screen", {("screen", 1)}),
        ("It has a battery.", set()),
        ("Good battery; bad battery", {("battery", 1), ("battery", -1)}),
        ("", set()),
    ],
)
def test_opinions_of_texts(text: str, expected: set[Opinion]) -> None:
    assert LEXICON.opinions(text) == expected


def test_a_scorer_looks_the_same_in_every_process() -> None:
    shown = "<Lexicon: battery, screen, sound; 2 positive, 2 negative words>"
    assert repr(LexiconScorer(LEXICON)) == f"LexiconScorer(lexicon={shown}, budget=40)"


def test_a_scorer_of_texts() -> None:
    scorer = LexiconScorer(LEXICON, budget=8)
    texts = ["The battery is good. The screen is bad.", "Great battery!", "The display is poor"]
    whole = named(scorer(texts, "The battery is great. The display is bad."))
    assert whole == dict.fromkeys(FEATURE_NAMES, 1.0)
    rambling = named(scorer(texts, "I like it a lot. The battery is great. The sound is bad. The sound is bad."))
    assert rambling["relevance"] == pytest.approx(1 / 4)
    assert rambling["no_hallucination"] == 0.5
    assert rambling["conciseness"] == pytest.approx(8 / 17)
    assert rambling["language_correctness"] < 1.0
    assert named(scorer(texts, ""))["conciseness"] == 0.0


def test_arguments_are_checked() -> None:
    with pytest.raises(ValueError, match="expected -1 or 1"):
        majority_opinions([[("a", 0)]])
    with pytest.raises(ValueError, match="expected -1 or 1"):
        opinion_features(REVIEWS, [("a", 2)], 1, 40)
    with pytest.raises(ValueError, match="budget is 0"):
        opinion_features(REVIEWS, SUMMARY, 1, 0)
