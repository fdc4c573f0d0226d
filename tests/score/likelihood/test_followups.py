"""Follow-ups: their likelihood in a rendered chat, the reward made of it, and the reward model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from guerdon import Rollouts
from guerdon.score.likelihood.followups import (
    FollowupReward,
    Polarity,
    followup_loglik,
    followup_scores,
    read_followups,
)
from guerdon.score.models.reward_model import ModelScore, RewardModel
from tests.score.tiny_models import causal, tokenizer

TEMPLATE = "{% for m in messages %}<{{ m['role'] }}>: {{ m['content'] }}|\n{% endfor %}"
FOLLOWUPS = {
    "clarity": Polarity(("I see.", "Very clear."), ("What?", "I am lost.")),
    "relevance": Polarity(("Just so.",), ("Not my question.", "Wrong topic.")),
}
DIALOGUE = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]
LOGLIK = torch.tensor([[-2.0, -2.4, -2.9, -3.1, -3.0, -2.5, -3.5]])
CATEGORY = torch.tensor([0, 0, 0, 0, 1, 1, 1])
POSITIVE = torch.tensor([True, True, False, False, True, False, False])


def chat_tokenizer() -> Any:
    found = tokenizer()
    found.chat_template = TEMPLATE
    return found


def reward(**settings: Any) -> FollowupReward:
    return FollowupReward(causal(), chat_tokenizer(), FOLLOWUPS, **settings)


def test_the_worked_example() -> None:
    total, by_category = followup_scores(LOGLIK, CATEGORY, POSITIVE)
    assert by_category[0].tolist() == pytest.approx([0.8, 0.0], abs=1e-6)
    assert float(total) == pytest.approx(0.4)
    assert float(followup_scores(LOGLIK, CATEGORY, POSITIVE, "pooled")[0]) == pytest.approx(0.533333, abs=1e-6)


def test_invariants_of_the_reward() -> None:
    value = followup_scores(LOGLIK, CATEGORY, POSITIVE)[0]
    assert torch.allclose(followup_scores(LOGLIK + 5.0, CATEGORY, POSITIVE)[0], value, atol=1e-5)
    assert torch.allclose(followup_scores(LOGLIK, CATEGORY, ~POSITIVE)[0], -value, atol=1e-6)
    twice = [torch.cat([x, x], -1) for x in (LOGLIK, CATEGORY, POSITIVE)]
    assert torch.allclose(followup_scores(*twice)[0], value, atol=1e-6)
    order = torch.tensor([4, 2, 6, 0, 5, 3, 1])
    moved = followup_scores(LOGLIK[:, order], 1 - CATEGORY[order], POSITIVE[order])[0]
    assert torch.allclose(moved, value, atol=1e-6)
    sides = [followup_scores(LOGLIK, CATEGORY, POSITIVE, polarity=side)[0] for side in ("positive", "negative")]
    assert torch.allclose(sides[0] + sides[1], value, atol=1e-6)


def test_errors_of_the_reward() -> None:
    with pytest.raises(ValueError, match="category 1 has no positive"):
        followup_scores(LOGLIK, CATEGORY, POSITIVE & (CATEGORY == 0))
    with pytest.raises(ValueError, match="not finite"):
        followup_scores(LOGLIK.log(), CATEGORY, POSITIVE)
    with pytest.raises(ValueError, match="expected \\(B, F\\)"):
        followup_scores(LOGLIK[0], CATEGORY, POSITIVE)
    with pytest.raises(ValueError, match="reduction is 'max'"):
        followup_scores(LOGLIK, CATEGORY, POSITIVE, "max")
    with pytest.raises(ValueError, match="negative is \\(\\)"):
        Polarity(("Yes.",), ())


def test_the_likelihood_of_the_very_tokens() -> None:
    model, tokens = causal(), chat_tokenizer()
    before, text = "<user>: 2+2?|\n<assistant>: 4|\n<user>:", " I see."
    ids = [tokens(part, add_special_tokens=False)["input_ids"] for part in (before, text)]
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids[0] + ids[1]])).logits[0]
    logp = torch.log_softmax(logits, -1)
    expected = sum(float(logp[len(ids[0]) + place - 1, token]) for place, token in enumerate(ids[1]))
    found = followup_loglik(model, tokens, DIALOGUE, "I see.", normalize="sum")
    assert found == pytest.approx(expected, abs=1e-4)
    mean = followup_loglik(model, tokens, DIALOGUE, "I see.")
    assert mean == pytest.approx(expected / len(ids[1]), abs=1e-5)
    assert mean < 0
    # The same words in the dialogue are not taken for the follow-up; the turn's end may look like them.
    told = [DIALOGUE[0], {"role": "assistant", "content": "I see."}]
    assert followup_loglik(model, tokens, told, "I see.") != pytest.approx(mean, abs=1e-4)
    assert followup_loglik(model, tokens, DIALOGUE, "|\n") < 0


def test_batches_and_single_dialogues_agree() -> None:
    dialogues = [DIALOGUE, [{"role": "user", "content": "a longer question?"}, {"role": "assistant", "content": ""}]]
    together = reward(batch_size=16)(dialogues)
    alone = torch.cat([reward(batch_size=1)([dialogue]) for dialogue in dialogues])
    assert torch.allclose(together, alone, atol=1e-4)
    assert float((together[0] - together[1]).abs()) > 1e-3
    logliks = [followup_loglik(causal(), chat_tokenizer(), dialogues[0], text) for text in reward().texts]
    assert reward().logliks(dialogues)[0].tolist() == pytest.approx(logliks, abs=1e-4)
    by_category = reward().by_category(dialogues)
    assert set(by_category) == set(FOLLOWUPS)
    assert torch.allclose(sum(by_category.values()) / 2, together, atol=1e-5)  # type: ignore[arg-type]


def test_what_the_model_is_shown() -> None:
    late = [{"role": "assistant", "content": "Hello."}, *DIALOGUE]
    assert torch.allclose(reward()([late]), reward()([DIALOGUE]))
    long = [{"role": "user", "content": "first"}, {"role": "assistant", "content": "yes"}, *DIALOGUE]
    switched = reward(roles="switched")
    assert torch.allclose(switched([long]), switched([DIALOGUE]))
    assert not torch.allclose(switched([DIALOGUE]), reward()([DIALOGUE]), atol=1e-3)
    # What is cut off is the oldest.
    cut = reward(max_length=40)
    other = [{"role": "user", "content": "another beginning of it all"}, *long[1:]]
    assert torch.allclose(cut([long]), cut([other]))
    with pytest.raises(ValueError, match="max_length is 3"):
        reward(max_length=3)([DIALOGUE])


def test_a_model_blind_to_the_context_gives_equal_rewards() -> None:
    model = causal()
    with torch.no_grad():
        model.lm_head.weight.zero_()
    blind = FollowupReward(model, chat_tokenizer(), FOLLOWUPS)
    found = blind([DIALOGUE, [DIALOGUE[0], {"role": "assistant", "content": "5"}]])
    assert float(found[0]) == float(found[1])


def test_as_a_stage() -> None:
    model: RewardModel = reward()
    rollouts = Rollouts(
        group=torch.zeros(2, dtype=torch.int64),
        mask=torch.ones(2, 1, dtype=torch.bool),
        columns={"prompt": ["2+2?", "2+2?"], "response": ["4", "5"]},
    )
    scored = ModelScore(model)(rollouts)
    assert scored.outcome is not None
    assert float(scored.outcome[0]) == pytest.approx(float(reward()([DIALOGUE])[0]), abs=1e-4)
    assert len(scored.columns["followup/clarity"]) == 2


def test_errors_of_the_model() -> None:
    with pytest.raises(ValueError, match="no chat template"):
        FollowupReward(causal(), tokenizer(), FOLLOWUPS)
    with pytest.raises(ValueError, match="followups is empty"):
        FollowupReward(causal(), chat_tokenizer(), {})
    with pytest.raises(ValueError, match="roles is 'both'"):
        reward(roles="both")
    with pytest.raises(ValueError, match="dialogue 0 is empty"):
        reward()([[]])
    with pytest.raises(ValueError, match="blank"):
        followup_loglik(causal(), chat_tokenizer(), DIALOGUE, "  ")


def test_the_published_followups() -> None:
    path = Path(os.environ.get("GUERDON_DATA", "../shared/data")) / "flr" / "followups.json"
    if not path.is_file():
        pytest.skip(f"{path} is not there: the published follow-ups are read from it")
    found = read_followups(path)
    assert len(found) == 6
    assert all(len(lists.positive) == len(lists.negative) == 10 for lists in found.values())
