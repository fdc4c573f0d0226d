"""Features by asking a model, and the stage that makes rewards of features."""

from __future__ import annotations

import logging
import math

import pytest
import torch

from guerdon import Rollouts
from guerdon.score.models.feature_reward import FeatureReward
from guerdon.score.models.feature_scorer import FeatureScores, PromptedScorer
from guerdon.tasks.reviews import Reviews


class Replies:
    """Answers in turn, and keeps what it was asked."""

    def __init__(self, *replies: str) -> None:
        self.replies = list(replies)
        self.asked: list[str] = []

    def __call__(self, prompt: str) -> str:
        self.asked.append(prompt)
        return self.replies.pop(0)


PROMPTS = {"faithful": "Faithful? {source}\n---\n{response}", "short": "Short? {response}"}


def test_answers_are_brought_to_the_unit_interval() -> None:
    model = Replies("I say 5 of 5", "2")
    scorer = PromptedScorer(model, PROMPTS)
    assert scorer(["good {battery}", "bad"], "fine").tolist() == [1.0, pytest.approx(0.4)]
    assert scorer.names == ("faithful", "short")
    assert model.asked == ["Faithful? good {battery}\nbad\n---\nfine", "Short? fine"]
    assert (scorer.errors, scorer.given_up) == (0, 0)


def test_unreadable_answers_are_asked_again_then_counted(caplog: pytest.LogCaptureFixture) -> None:
    scorer = PromptedScorer(Replies("none", "4.5", "1", "7", "x", "-1"), PROMPTS, scale=(1, 5))
    with caplog.at_level(logging.WARNING):
        assert scorer([], "r").tolist() == [0.0, 0.5]
    assert (scorer.errors, scorer.given_up) == (5, 1)
    assert "no readable answer for the feature 'short'" in caplog.text
    strict = PromptedScorer(Replies("x", "3"), PROMPTS, retries=0, on_failure="nan")
    values = strict([], "r")
    assert math.isnan(values[0])
    assert float(values[1]) == pytest.approx(0.6)


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="a rising scale"):
        PromptedScorer(Replies(), PROMPTS, scale=(5, 5))
    with pytest.raises(ValueError, match="on_failure is 'zero'"):
        PromptedScorer(Replies(), PROMPTS, on_failure="zero")
    with pytest.raises(ValueError, match="prompt of 'a' has no"):
        PromptedScorer(Replies(), {"a": "?"})
    with pytest.raises(ValueError, match="the reward's features are"):
        FeatureScores(Reviews().scorer, FeatureReward(["a"]))


def rollouts(responses: list[str], reviews: object = ("The battery is good.", "Great battery.")) -> Rollouts:
    return Rollouts(
        group=torch.zeros(len(responses), dtype=torch.int64),
        mask=torch.ones(len(responses), 1, dtype=torch.bool),
        columns={"response": responses, "reviews": [reviews] * len(responses)},
    )


def test_the_mean_needs_no_preferences() -> None:
    scored = FeatureScores(Reviews().scorer)(rollouts(["The battery is great.", "The battery is bad."]))
    assert scored.outcome.tolist() == [1.0, pytest.approx(5 / 7)]
    assert scored.columns["feature/opinion_faithfulness"] == (1.0, 0.0)
    assert "score_error" not in scored.columns
    one_text = FeatureScores(Reviews().scorer)(rollouts(["The battery is great."], "The battery is good."))
    assert one_text.outcome.tolist() == [1.0]
    assert len(FeatureScores(Reviews().scorer)(rollouts([]))) == 0


def test_it_is_a_reward_model_too() -> None:
    stage = FeatureScores(Reviews().scorer)
    responses = ["The battery is great.", "The battery is bad."]
    found = stage.score(["The battery is good.\nGreat battery."] * 2, responses)
    assert found.tolist() == stage(rollouts(responses)).outcome.tolist()


def test_a_trained_reward() -> None:
    scorer = Reviews().scorer
    reward = FeatureReward(scorer.names, hidden=4, seed=1)
    stage = FeatureScores(scorer, reward)
    given = rollouts(["The battery is great.", "", "The battery is great."])
    scored = stage(given)
    expected = reward(stage.features(given.columns["reviews"], given.columns["response"])).detach()
    torch.testing.assert_close(scored.outcome, expected)


def test_a_feature_that_could_not_be_read_leaves_the_response_unscored() -> None:
    scorer = PromptedScorer(Replies("5", "?", "0", "5"), PROMPTS, retries=0, on_failure="nan")
    scored = FeatureScores(scorer)(rollouts(["a", "b", "a"]))
    assert math.isnan(scored.outcome[0])
    assert float(scored.outcome[1]) == 0.5
    # Equal responses are measured once.
    assert math.isnan(scored.outcome[2])
    assert scored.columns["score_error"] == ("no value of the feature 'short'", None, "no value of the feature 'short'")
