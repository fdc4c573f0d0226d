"""Exact match, word F1, ROUGE, BLEU and word error rate against slow or published counterparts."""

from __future__ import annotations

import itertools
import math
import pickle
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon.score.verify.word_overlap import (
    MAX_CHARACTERS,
    Bleu,
    ExactMatch,
    Rouge,
    WordErrorRate,
    WordF1,
    bleu,
    exact_match,
    normalize_answer,
    rouge,
    wer,
    word_f1,
)

words = st.lists(st.sampled_from(["a", "b", "c", "the", "Dd", "e."]), max_size=8).map(" ".join)


@pytest.mark.parametrize(
    ("prediction", "golds", "expected"),
    [
        ("the Grand National race", ["Grand National"], 0.8),
        ("Marie Sklodowska Curie", "Marie Curie", 0.8),
        ("nothing here", ["Grand National"], 0.0),
        ("", ["x"], 0.0),
        ("x", ["the"], 0.0),
        ("x y", ["z", "y x"], 1.0),
    ],
)
def test_word_f1_examples(prediction: str, golds: list[str], expected: float) -> None:
    assert word_f1(prediction, golds) == pytest.approx(expected, abs=0)


def test_bags_and_guard() -> None:
    assert word_f1("x x", "x") == pytest.approx(2 / 3)
    assert word_f1("x x", "x", "set") == 1.0
    assert word_f1("yes it is", "yes") == 0.5
    assert word_f1("yes it is", "yes", yes_no_guard=True) == 0.0
    assert word_f1("Yes.", "yes", yes_no_guard=True) == 1.0
    with pytest.raises(ValueError, match="bag"):
        word_f1("x", "x", "list")
    with pytest.raises(ValueError, match="golds"):
        word_f1("x", [])


@given(prediction=words, gold=words, bag=st.sampled_from(["multiset", "set"]))
def test_word_f1_equals_the_slow_count(prediction: str, gold: str, bag: str) -> None:
    left, right = normalize_answer(prediction).split(), normalize_answer(gold).split()
    if bag == "set":
        left, right = list(set(left)), list(set(right))
    remaining, common = list(right), 0
    for word in left:
        if word in remaining:
            remaining.remove(word)
            common += 1
    expected = 2 * common / (len(left) + len(right)) if common else 0.0
    assert word_f1(prediction, gold, bag) == pytest.approx(expected)
    assert word_f1(prediction, gold, bag) == pytest.approx(word_f1(gold, prediction, bag))
    if left:
        assert (word_f1(prediction, gold, bag) == 1.0) == (Counter(left) == Counter(right))


def test_exact_match() -> None:
    assert exact_match("The Beatles!", "beatles") == 1.0
    assert exact_match("Schindler’s List", ["Schindler's List"]) == 1.0
    assert exact_match("John Lennon", ["Beatles", "Lennon"]) == 0.0


def slow_distance(left: list[str], right: list[str]) -> int:
    table = [[0] * (len(right) + 1) for _ in range(len(left) + 1)]
    for i, j in itertools.product(range(len(left) + 1), range(len(right) + 1)):
        if i == 0 or j == 0:
            table[i][j] = i + j
        else:
            change = table[i - 1][j - 1] + (left[i - 1] != right[j - 1])
            table[i][j] = min(change, table[i - 1][j] + 1, table[i][j - 1] + 1)
    return table[-1][-1]


@given(
    prediction=st.lists(st.sampled_from("abcd"), max_size=80),
    reference=st.lists(st.sampled_from("abcd"), min_size=1, max_size=80),
)
def test_wer_equals_the_table(prediction: list[str], reference: list[str]) -> None:
    expected = slow_distance(prediction, reference) / len(reference)
    assert wer(" ".join(prediction), " ".join(reference)) == pytest.approx(expected)


def test_wer_needs_a_reference_and_takes_long_texts() -> None:
    with pytest.raises(ValueError, match="no words"):
        wer("x", " ")
    assert wer("", "a b") == 1.0
    assert wer("x " * 20_000, "y " * 20_000) == 1.0


def test_rouge_is_the_packages() -> None:
    from rouge_score.rouge_scorer import RougeScorer

    gold, text = "the cat sat on the mat today", "a cat sat quietly on the mat"
    figures = RougeScorer(["rouge1", "rouge2", "rougeL"]).score(gold, text)
    assert rouge(text, gold) == pytest.approx(sum(value.fmeasure for value in figures.values()) / 3)
    assert rouge(text, gold, ("rouge2",), "precision") == pytest.approx(figures["rouge2"].precision)
    assert rouge(text, ["nothing alike", gold]) == rouge(text, gold)
    assert rouge(gold, gold) == 1.0
    with pytest.raises(ValueError, match="measure"):
        rouge(text, gold, measure="f1")


def test_bleu_is_the_packages() -> None:
    import sacrebleu

    golds, text = ["the cat sat on the mat today", "a cat was on the mat"], "the cat sat quietly on the mat"
    assert bleu(text, golds) == pytest.approx(sacrebleu.sentence_bleu(text, golds).score / 100)
    assert bleu(golds[0], golds) == pytest.approx(1.0)
    assert bleu("zzz", golds) < 0.05


@pytest.mark.parametrize("verifier", [ExactMatch(), WordF1(), Rouge(), Bleu(), WordErrorRate()])
def test_verifiers(verifier: ExactMatch) -> None:
    verifier = pickle.loads(pickle.dumps(verifier))
    assert verifier("three blind mice run", "three blind mice run", {}).reward == pytest.approx(1.0)
    assert verifier("zzz", "three blind mice run", {}).reward < 0.4
    assert math.isnan(verifier("x", " ", {}).reward)
    assert verifier(" ", "x", {}).reward == 0.0
    assert math.isnan(verifier("x" * (MAX_CHARACTERS + 1), "x", {}).reward)
    assert verifier.timeout > 0
    assert verifier.version
    assert verifier.reads == ()


def test_parts_and_aliases() -> None:
    verifier = ExactMatch(part="answer", aliases="aliases")
    row = {"aliases": ["New York", "Big Apple"]}
    assert verifier.reads == ("aliases",)
    assert verifier("<think>Boston</think><answer>the big apple</answer>", "NYC", row).reward == 1.0
    assert verifier("Big Apple", "NYC", row).reason == "there is no answer"
    assert verifier("<answer>NYC</answer>", "NYC", {"aliases": None}).reward == 1.0
    assert verifier("<answer>b</answer>", ["a", "b"], {"aliases": "c"}).reward == 1.0  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no column 'aliases'"):
        verifier("x", "x", {})
    with pytest.raises(ValueError, match="expected text"):
        verifier("<answer>x</answer>", "x", {"aliases": [3]})


def test_references_that_are_articles_are_no_blank_cheque() -> None:
    assert ExactMatch()("an", "The", {}).reward == 0.0
    assert ExactMatch()("the", "The", {}).reward == 1.0
    assert ExactMatch(aliases="more")("!", "x", {"more": ["the"]}).reward == 0.0
