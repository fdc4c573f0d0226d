from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from guerdon.objective.preference import implicit_kto, kto_reference_point
from guerdon.score.models.implicit import ImplicitModel
from guerdon.score.models.reward_model import from_pretrained
from guerdon.score.models.yes_no import YesNoModel
from guerdon.train.reward.trainer import RewardTraining, collate, reward_loss, train_reward_model
from tests.score.tiny_models import causal, tokenizer
from tests.train.reward.test_trainer import LABELLED, PAIRS, fast


def implicit(seed: int | None = None, beta: float = 0.5) -> ImplicitModel:
    return ImplicitModel(causal(), tokenizer(), "copy" if seed is None else causal(seed), beta=beta)


@pytest.mark.parametrize(
    ("loss", "start"),
    [("cross_entropy", math.log(2)), ("bradley_terry", math.log(2)), ("nca", 2 * math.log(2)), ("kto", 0.5)],
)
def test_a_model_that_is_its_reference_knows_nothing_and_then_learns(tmp_path: Path, loss: str, start: float) -> None:
    model = implicit()
    rows = PAIRS if loss in ("bradley_terry", "nca") else LABELLED
    log = train_reward_model(model, rows, tmp_path, fast(loss=loss, epochs=6))
    assert log[0]["loss"] == pytest.approx(start, abs=1e-4)
    right, wrong = model.score(["3", "3"], ["good", "bad"]).outcome.tolist()
    assert right > wrong + 0.5
    again = from_pretrained(tmp_path).score(["3"], ["good"]).outcome
    assert float(again[0]) == pytest.approx(right, abs=1e-5)


def test_the_reference_stays_as_it_was(tmp_path: Path) -> None:
    model = implicit()
    before = {name: value.clone() for name, value in model.reference.state_dict().items()}
    train_reward_model(model, LABELLED, tmp_path, fast(epochs=1))
    assert all(torch.equal(value, before[name]) for name, value in model.reference.state_dict().items())
    assert not torch.equal(model.model.lm_head.weight, before["lm_head.weight"])


def test_pairs_are_dpo_on_summed_log_ratios() -> None:
    model = implicit(1, beta=0.1)
    win, lose = (model.score(["1", "2"], [text] * 2).outcome for text in ("good", "bad"))
    loss = reward_loss(model, collate(model, PAIRS[1:3], "bradley_terry"), fast(loss="bradley_terry"))
    torch.testing.assert_close(loss, -torch.nn.functional.logsigmoid(win - lose).mean(), atol=1e-5, rtol=1e-4)


def test_the_reference_point_of_kto_is_of_mismatched_pairs() -> None:
    model = implicit(1)
    rows = [{"prompt": "1", "response": "good", "label": 1}, {"prompt": "22", "response": "bad", "label": 0}]
    own = model.score(["1", "22"], ["good", "bad"]).outcome
    mismatched = model.score(["22", "1"], ["good", "bad"]).outcome
    wanted = implicit_kto(own, torch.tensor([1.0, 0.0]), kto_reference_point(mismatched, 1.0))
    loss = reward_loss(model, collate(model, rows, "kto"), fast(loss="kto"))
    torch.testing.assert_close(loss, wanted, atol=1e-5, rtol=1e-4)


def test_steps_are_judged_from_outcomes_alone(tmp_path: Path) -> None:
    """Each response has one of two first and one of two second steps; it is right if both are."""
    rows = [
        {"prompt": f"{n}:", "response": f"{first}\n{second}", "label": float(first == "a" and second == "c")}
        for n in range(6)
        for first in "ab"
        for second in "cd"
    ]
    model = implicit()
    train_reward_model(model, rows, tmp_path, RewardTraining(epochs=12, batch=8, learning_rate=1e-2))
    process = model.score(["7:"] * 3, ["a\nc", "b\nc", "a\nd"]).process
    assert float(process[1, 0]) < float(process[0, 0])
    assert float(process[2, 1]) < float(process[0, 1])


def test_a_loss_of_log_ratios_wants_an_implicit_model(tmp_path: Path) -> None:
    model = YesNoModel(causal(), tokenizer(), template="{prompt}{response}?")
    with pytest.raises(ValueError, match="implicit model"):
        train_reward_model(model, LABELLED, tmp_path, fast(loss="kto"))
