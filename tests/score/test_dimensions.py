"""Confidence, relevance, coherence: worked example, invariants, and what is missing."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Rollouts
from guerdon.score.models.dimensions import (
    COLUMNS,
    COMPLETE,
    Dimensions,
    RerankerLinks,
    coherence,
    confidence,
    dimension_reports,
    relevance,
    relevances,
    word_coverage,
)


def test_the_worked_confidence() -> None:
    logp = torch.tensor([[-0.2, -0.4, -0.6, -0.05, -0.15]], dtype=torch.float64)
    think = torch.tensor([[True, True, True, False, False]])
    found = confidence(logp, think, ~think)
    assert found.tolist() == pytest.approx([-0.6])
    assert found.dtype == torch.float64
    assert confidence(logp.half(), think, ~think).dtype == torch.float32


logprobs = st.lists(st.floats(-5, 0), min_size=1, max_size=6)


@given(logprobs, logprobs, st.integers(0, 5))
def test_against_a_loop(reasoning: list[float], answer: list[float], gap: int) -> None:
    # Tokens that are in neither part do not count.
    row = torch.tensor([[*reasoning, *[-9.0] * gap, *answer]], dtype=torch.float64)
    think, reply = torch.zeros(2, 1, row.shape[1], dtype=torch.bool)
    think[0, : len(reasoning)] = True
    reply[0, row.shape[1] - len(answer) :] = True
    found = float(confidence(row, think, reply))
    assert found == pytest.approx(sum(reasoning) / len(reasoning) + sum(answer))
    assert found <= 0.0
    # Repeating the reasoning changes nothing, repeating the answer doubles its cost.
    again = confidence(row.repeat(1, 2), think.repeat(1, 2), torch.cat([reply, torch.zeros_like(reply)], 1))
    assert float(again) == pytest.approx(found)
    surprised = row.clone()
    surprised[0, 0] -= 1.0
    assert float(confidence(surprised, think, reply)) < found


def test_an_empty_part_counts_nothing() -> None:
    logp = torch.tensor([[-1.0, -2.0]])
    none = torch.zeros(1, 2, dtype=torch.bool)
    assert confidence(logp, none, ~none).tolist() == [-3.0]
    assert confidence(logp, ~none, none).tolist() == [-1.5]
    assert confidence(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.bool), torch.zeros(0, 3).bool()).tolist() == []


def test_masks_are_checked() -> None:
    both = torch.ones(2, 3, dtype=torch.bool)
    with pytest.raises(ValueError, match="overlap in row 0"):
        confidence(torch.zeros(2, 3), both, both)
    with pytest.raises(ValueError, match="answer_mask has shape"):
        confidence(torch.zeros(2, 3), both, both[:, :2])


def test_links_are_added() -> None:
    table = {("q", "r"): 0.9, ("r", "a"): 0.5, ("d1", "r"): 0.2, ("d2", "r"): 0.4}

    def scorer(premises: Sequence[str], hypotheses: Sequence[str]) -> list[float]:
        return [table[pair] for pair in zip(premises, hypotheses, strict=True)]

    plain = relevance(scorer, "q", "r", "a")
    assert (plain.question, plain.documents, plain.answer, plain.total) == (0.9, None, 0.5, pytest.approx(1.4))
    with_documents = relevance(scorer, "q", "r", "a", ["d1", "d2"])
    assert with_documents.documents == pytest.approx(0.3)
    assert with_documents.total == pytest.approx(1.7)
    many = relevances(scorer, ["q", "q"], ["r", "r"], ["a", "a"], [None, ["d2"]])
    assert [score.total for score in many] == pytest.approx([1.4, 1.8])
    assert relevances(scorer, [], [], [], []) == []
    with pytest.raises(ValueError, match="expected \\[0, 1\\]"):
        relevance(lambda premises, hypotheses: [2.0] * len(premises), "q", "r", "a")
    with pytest.raises(ValueError, match="expected 2, one a link"):
        relevance(lambda premises, hypotheses: [0.5], "q", "r", "a")


def test_word_coverage() -> None:
    assert word_coverage(["Ada leads", "a b", ""], ["ada", "b c d", "x"]) == [1.0, 0.5, 0.0]


class LongIsGood:
    def score(self, prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
        return [float(len(text) - len(prompt)) for prompt, text in zip(prompts, responses, strict=True)]


def test_coherence_asks_the_reward_model() -> None:
    assert coherence(LongIsGood(), "q", "long") == 3.0
    assert coherence(LongIsGood().score, "q", "long", ["d", "e"]) == -1.0
    with pytest.raises(ValueError, match="scores of shape"):
        coherence(lambda prompts, responses: [1.0, 2.0], "q", "r")


def rollouts() -> Rollouts:
    return Rollouts(
        group=torch.zeros(3, dtype=torch.int64),
        mask=torch.tensor([[True, True, True], [True, True, True], [True, True, False]]),
        logprobs=torch.tensor([[-0.5, -0.3, -0.1], [-1.0, -1.0, -1.0], [-2.0, -2.0, 0.0]]),
        tokens={"part": torch.tensor([[1, 1, 2], [1, 2, 2], [1, 1, 0]])},
        columns={
            "prompt": ["who leads", "who leads", "who leads"],
            "response": [
                "<think>Ada leads</think><answer>Ada</answer>",
                "<think>nobody</think><answer>Bo</answer>",
                "<think>Ada and",
            ],
            "facts": [["Ada leads"], [], ["x"]],
        },
    )


def test_the_stage() -> None:
    scored = Dimensions(word_coverage, LongIsGood())(rollouts())
    assert scored.columns["dimension/confidence"] == pytest.approx((-0.5, -3.0, -2.0))
    assert scored.columns["dimension/relevance"][:2] == (pytest.approx(0.5 + 1.0), 0.0)
    assert scored.columns["dimension/coherence"][:2] == (0.0, -3.0)
    assert scored.columns[COMPLETE] == (True, True, False)
    assert math.isnan(scored.columns["dimension/relevance"][2])
    assert bool(torch.isnan(scored.outcome).all())
    reports = dimension_reports(scored)
    assert str(reports[0]) == "confidence -0.500, relevance 1.500, coherence 0.000"
    assert str(reports[2]).endswith("incomplete")
    with_documents = Dimensions(word_coverage, LongIsGood(), documents="facts")(rollouts())
    assert with_documents.columns["dimension/relevance"][:2] == (pytest.approx(2.5), 0.0)
    assert math.isnan(with_documents.columns["relevance/documents"][1])
    assert set(COLUMNS) <= set(with_documents.columns)


def test_what_is_missing_is_named() -> None:
    given = rollouts()
    with pytest.raises(ValueError, match="logprobs or tokens"):
        Dimensions(word_coverage, LongIsGood())(given.replace(logprobs=None))
    with pytest.raises(ValueError, match="logprobs or tokens"):
        Dimensions(word_coverage, LongIsGood())(given.replace(tokens={}))


def test_a_cross_encoder_scores_links() -> None:
    transformers = pytest.importorskip("transformers")
    from guerdon.policies.tokenizer import character_tokenizer

    tokenizer = character_tokenizer("abcdefgh ")
    # Positions count from the left.
    tokenizer.padding_side = "right"
    for labels in (1, 2, 3):
        config = transformers.BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=16,
            num_labels=labels,
            pad_token_id=tokenizer.pad_token_id,
        )
        torch.manual_seed(0)
        links = RerankerLinks(transformers.BertForSequenceClassification(config), tokenizer, "a ", batch_size=2)
        if labels == 3:
            with pytest.raises(ValueError, match="the model has 3 labels"):
                links(["a"], ["b"])
            continue
        found = links(["abc", "a", "hh"], ["d", "efgh", "a b"])
        assert found.shape == (3,)
        assert bool(((found > 0) & (found < 1)).all())
        # In one batch or in several, padded or not.
        alone = torch.cat([links([one], [other]) for one, other in (("abc", "d"), ("a", "efgh"), ("hh", "a b"))])
        torch.testing.assert_close(found, alone, atol=1e-5, rtol=0)
        assert links([], []).shape == (0,)
