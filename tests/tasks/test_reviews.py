"""The reviews lab: what is written can be read again, and candidates differ in every feature."""

from __future__ import annotations

import random

import pytest
import torch

from guerdon.score.verify.opinion_features import FEATURE_NAMES, majority_opinions
from guerdon.tasks.reviews import ASPECTS, LEXICON, Reviews, hidden_taste, sentence, word_counts

LAB = Reviews()


def test_every_sentence_is_read_as_it_was_meant() -> None:
    generator = random.Random(0)
    for _ in range(200):
        opinion = (generator.choice(ASPECTS), generator.choice((-1, 1)))
        assert LEXICON.opinions(sentence(opinion, generator)) == {opinion}


def test_products_repeat_themselves() -> None:
    products = LAB.products(5, 3)
    assert products == LAB.products(5, 3)
    assert products != LAB.products(5, 4)
    for product in products:
        assert len(product.reviews) == 8
        assert product.opinions == majority_opinions([LEXICON.opinions(text) for text in product.reviews])
    assert LAB.summaries(products[0], 4, 0) == LAB.summaries(products[0], 4, 0)


def test_candidates_differ_in_every_feature() -> None:
    product = LAB.products(1, 0)[0]
    features = LAB.features(product, LAB.summaries(product, 200, 0))
    assert features.shape == (200, 7)
    # A product whose reviews speak of all aspects leaves nothing to invent.
    varying = dict(zip(FEATURE_NAMES, (features.std(0) > 0.02).tolist(), strict=True))
    assert all(varying[name] for name in FEATURE_NAMES if name != "no_hallucination")
    few = Reviews(reviews=1, mentions=(1, 1))
    narrow = few.products(1, 0)[0]
    assert float(few.features(narrow, few.summaries(narrow, 50, 0))[:, 5].std()) > 0.1


def test_the_taste_is_a_weighting() -> None:
    taste = hidden_taste(1)
    assert float(taste.sum()) == pytest.approx(1.0)
    assert bool((taste > 0).all())
    assert not torch.equal(taste, hidden_taste(2))
    assert word_counts("Good battery. good", ("good", "battery", "sound")).tolist() == [2.0, 1.0, 0.0]


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="reviews is 0"):
        Reviews(reviews=0)
    with pytest.raises(ValueError, match="mentions is"):
        Reviews(mentions=(3, 9))
    with pytest.raises(ValueError, match="dissent is 2"):
        Reviews(dissent=2.0)
