from __future__ import annotations

from pathlib import Path

import pytest
import torch

from guerdon.score.models.reward_model import RewardModel, from_pretrained
from guerdon.score.models.yes_no import YesNoModel, yes_no_logit, yes_no_score
from tests.score.tiny_models import causal, tokenizer

PROMPTS, RESPONSES = ["1+1=", "how many {x}"], ["2", "four {0}"]


def test_two_logits() -> None:
    assert yes_no_score(torch.tensor([[2.0, 0.5]]), [0], [1]).tolist() == pytest.approx([0.817574], abs=1e-6)


def test_spellings_are_added_up() -> None:
    logits = torch.randn(4, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    share = logits.softmax(1)
    yes, no = share[:, [1, 4]].sum(1), share[:, [0, 6]].sum(1)
    found = yes_no_score(logits, [1, 4, 1], [0, 6])
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, yes / (yes + no))
    torch.testing.assert_close(yes_no_score(logits + 50.0, [1, 4], [0, 6]), found)
    assert yes_no_score(logits.bfloat16(), [1], [0]).dtype == torch.float32


def test_what_is_wrong_is_named() -> None:
    logits = torch.zeros(1, 3)
    for yes, no in (([], [1]), ([0], []), ([0, 1], [1])):
        with pytest.raises(ValueError, match="different tokens"):
            yes_no_logit(logits, yes, no)
    with pytest.raises(ValueError, match="from 0 to 2"):
        yes_no_logit(logits, [0], [3])
    with pytest.raises(ValueError, match="response"):
        YesNoModel(causal(), tokenizer(), template="{prompt}")
    with pytest.raises(ValueError, match="the tokenizer begins"):
        YesNoModel(causal(), tokenizer(), yes=("ja",), no=("jamais",))


def test_the_question_is_read_at_its_end_and_braces_are_no_fields() -> None:
    model = YesNoModel(causal(), tokenizer())
    questions = model.questions(PROMPTS, RESPONSES)
    assert questions[1].startswith("how many {x}\n\nfour {0}\n\n")
    scores = model.score(PROMPTS, RESPONSES)
    for question, value in zip(questions, scores.outcome.tolist(), strict=True):
        logits = model.model(input_ids=torch.tensor([tokenizer()(question)["input_ids"]])).logits[:, -1]
        assert value == pytest.approx(float(yes_no_score(logits, model.yes_ids, model.no_ids)), abs=1e-5)
    assert isinstance(model, RewardModel)


def test_a_first_token_that_both_words_share_is_left_out() -> None:
    model = YesNoModel(causal(), tokenizer())
    # With characters for tokens " Yes" and " No" both begin with a space.
    assert [tokenizer().decode([token]) for token in model.yes_ids] == ["y", "Y"]
    assert [tokenizer().decode([token]) for token in model.no_ids] == ["n", "N"]


def test_what_cannot_be_scored_is_nan_with_a_reason() -> None:
    scores = YesNoModel(causal(), tokenizer(), max_length=60).score(["q", "q", "q"], ["a", "", "b" * 60])
    assert torch.isnan(scores.outcome).tolist() == [False, True, True]
    assert scores.reasons[1] == "the response is empty"
    assert "the model takes 60" in scores.reasons[2]


def test_a_saved_model_scores_the_same(tmp_path: Path) -> None:
    model = YesNoModel(causal(), tokenizer(), template="{prompt}|{response}?", batch_size=1)
    model.save_pretrained(tmp_path)
    again = from_pretrained(tmp_path)
    torch.testing.assert_close(again.score(PROMPTS, RESPONSES).outcome, model.score(PROMPTS, RESPONSES).outcome)
    assert "probability of yes" in (tmp_path / "README.md").read_text()
