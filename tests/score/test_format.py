"""Forms of responses: blocks, boxes, word limits, regular expressions."""

from __future__ import annotations

import pickle

import pytest
import torch

from guerdon import Rollouts
from guerdon.score.verify.blocks import check_blocks
from guerdon.score.verify.format import FormatCheck, RegexMatch, WellFormed, check_format, regex_match

GOOD = "<think>6*7</think> <answer>\\boxed{42}</answer>"


@pytest.mark.parametrize(
    "text",
    [GOOD, "<think></think><answer>x</answer>", "x" + GOOD, GOOD + "x", GOOD + GOOD, "<answer>x</answer>", ""],
)
def test_plain_check_is_that_of_the_blocks(text: str) -> None:
    assert check_format(text) == check_blocks(text)


@pytest.mark.parametrize(
    ("text", "reward"),
    [
        (GOOD, 1.0),
        ("<think>\\boxed{6}</think><answer>\\boxed{42}</answer>", 0.0),
        ("<think>\\boxed{6}</think><answer>42</answer>", 0.0),
        ("<think>6</think><answer>42</answer>", 0.0),
        (GOOD + "\\boxed{1}", 0.0),
        (GOOD + " and so on", 0.0),
    ],
)
def test_one_box_in_the_answer(text: str, reward: float) -> None:
    assert check_format(text, one_box_in="answer").reward == reward


def test_word_limit() -> None:
    text = "<think>a b c</think><answer>x y</answer>"
    assert check_format(text, most_words={"answer": 2, "think": 3}).reward == 1.0
    assert check_format(text, most_words={"answer": 1}).reason == "<answer> has 2 words: expected at most 1"


def test_regex() -> None:
    assert regex_match("total: 12", r"(\d+)").extracted == "12"
    assert regex_match("a\nb", "a.b").reward == 1.0
    assert regex_match("abc", "b", "fullmatch").reward == 0.0
    assert regex_match("abc", "b", "forbid").reward == 0.0
    assert regex_match("abc", "z", "forbid").reward == 1.0
    with pytest.raises(ValueError, match="no regular expression"):
        RegexMatch("(")
    with pytest.raises(ValueError, match="mode"):
        RegexMatch("x", mode="match")
    verifier = pickle.loads(pickle.dumps(RegexMatch(r"\d+", "fullmatch", part="answer")))
    assert verifier("<answer> 42 </answer>", "", {}).reward == 1.0
    assert verifier("42", "", {}).reward == 0.0


def test_prompt_that_ends_with_the_tag() -> None:
    rest = GOOD.removeprefix("<think>")
    assert WellFormed()(rest).reward == 0.0
    assert WellFormed(starts_in="<think>")(rest).reward == 1.0
    with pytest.raises(ValueError, match="blocks"):
        WellFormed(blocks=("a", "a"))


def test_stage() -> None:
    rollouts = Rollouts(
        group=torch.tensor([0, 0]),
        mask=torch.ones(2, 1, dtype=torch.bool),
        columns={"response": [GOOD, "42"]},
    )
    stage = FormatCheck(column="form")
    scored = stage(rollouts)
    assert scored.columns["form"] == (1.0, 0.0)
    assert scored.columns["form_error"] == ("", "there is no <think>")
    assert stage.writes == ("form", "form_error")
    assert torch.isnan(scored.outcome).all()
