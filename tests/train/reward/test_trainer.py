from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from guerdon.score.models.reward_model import from_pretrained
from guerdon.score.models.scalar_head import ScalarHeadModel
from guerdon.score.models.yes_no import YesNoModel
from guerdon.train.reward.trainer import RewardTraining, collate, reward_loss, train_reward_model
from tests.score.tiny_models import causal, decoder, tokenizer

PAIRS = [{"prompt": f"{n}", "chosen": "good", "rejected": "bad"} for n in range(8)]
LABELLED = [{"prompt": f"{n}", "response": text, "label": text == "good"} for n in range(4) for text in ("good", "bad")]
STEPS = [{"prompt": f"{n}", "steps": ["a\n", "x\n", "b"], "labels": [1.0, 0.0, None]} for n in range(8)]


def scalar(read: str = "last_token", **settings: Any) -> ScalarHeadModel:
    return ScalarHeadModel(decoder(), read, tokenizer(), **settings)


def fast(**changes: Any) -> RewardTraining:
    return RewardTraining(**{"epochs": 4, "batch": 4, "learning_rate": 1e-2, **changes})


def test_steps_without_label_take_no_part() -> None:
    model = scalar("step_ends")
    with torch.no_grad():
        model.head.bias.fill_(2.0)
    rows = [*STEPS[:1], {"prompt": "p", "steps": ["a"], "labels": [0.25]}]
    loss = reward_loss(model, collate(model, rows, "cross_entropy"), fast())
    wanted = torch.nn.functional.binary_cross_entropy_with_logits(torch.full((3,), 2.0), torch.tensor([1.0, 0.0, 0.25]))
    torch.testing.assert_close(loss, wanted)
    squared = reward_loss(model, collate(model, rows, "mse"), fast(loss="mse"))
    torch.testing.assert_close(squared, torch.tensor((1.0 + 4.0 + 1.75**2) / 3))


def test_pairs_by_hand() -> None:
    model = scalar()
    with torch.no_grad():
        model.head.weight.normal_(generator=torch.Generator().manual_seed(0))
    win, lose = (model.score(["1", "2"], [text] * 2).outcome for text in ("good", "bad"))
    loss = reward_loss(model, collate(model, PAIRS[1:3], "bradley_terry"), fast(loss="bradley_terry", center=0.1))
    wanted = -torch.nn.functional.logsigmoid(win - lose).mean() + 0.1 * (win + lose).square().mean()
    torch.testing.assert_close(loss, wanted, atol=1e-5, rtol=1e-4)


def test_pairs_are_learnt_and_the_model_is_saved(tmp_path: Path) -> None:
    model = scalar()
    log = train_reward_model(model, PAIRS, tmp_path, fast(loss="bradley_terry", epochs=12), PAIRS[:4])
    assert log[0]["loss"] == pytest.approx(0.693147, abs=1e-4)
    assert min(row["eval_loss"] for row in log if "eval_loss" in row) < 0.2
    again = from_pretrained(tmp_path)
    win, lose = (again.score(["3"], [text]).outcome for text in ("good", "bad"))
    assert float(win) > float(lose) + 1.0


def test_labels_of_responses_are_learnt_by_a_yes_no_model_with_lora(tmp_path: Path) -> None:
    model = YesNoModel(causal(), tokenizer(), template="{prompt}{response}?")
    before = {name: value.clone() for name, value in model.model.state_dict().items()}
    train_reward_model(model, LABELLED, tmp_path, fast(lora_rank=4, epochs=6))
    # LoRA is merged: the names are those of the plain model, and the embeddings were not trained.
    assert model.model.state_dict().keys() == before.keys()
    assert torch.equal(model.model.state_dict()["model.embed_tokens.weight"], before["model.embed_tokens.weight"])
    scores = from_pretrained(tmp_path).score(["1", "1"], ["good", "bad"]).outcome
    assert float(scores[0]) > 0.6 > 0.4 > float(scores[1])


def test_labels_of_steps_are_learnt(tmp_path: Path) -> None:
    model = scalar("step_ends", link="sigmoid")
    train_reward_model(model, STEPS, tmp_path, fast(epochs=20))
    process = model.score(["9"], [["a\n", "x\n"]]).process
    assert float(process[0, 0]) > 0.7 > 0.3 > float(process[0, 1])


def test_training_goes_on_from_a_checkpoint(tmp_path: Path) -> None:
    whole = scalar()
    train_reward_model(whole, LABELLED, tmp_path / "whole", fast(epochs=2))
    checkpoints = sorted((tmp_path / "whole" / "checkpoints").glob("checkpoint-*"))
    assert [path.name for path in checkpoints] == ["checkpoint-2", "checkpoint-4"]
    # Killed after the first epoch: only the first checkpoint is there.
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "checkpoints").mkdir()
    checkpoints[0].rename(tmp_path / "cut" / "checkpoints" / "checkpoint-2")
    resumed = scalar()
    train_reward_model(resumed, LABELLED, tmp_path / "cut", fast(epochs=2, resume=True))
    for left, right in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(left, right)


def test_training_stops_early_and_keeps_the_best(tmp_path: Path) -> None:
    wrong = [{**row, "label": 1 - row["label"]} for row in LABELLED]
    model = scalar()
    log = train_reward_model(model, LABELLED, tmp_path, fast(epochs=20, patience=2), wrong)
    losses = [row["eval_loss"] for row in log if "eval_loss" in row]
    assert len(losses) < 20
    final = float(reward_loss(model, collate(model, wrong, "cross_entropy"), fast()))
    assert final == pytest.approx(min(losses), abs=1e-4)


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    for changes in ({"loss": "hinge"}, {"epochs": 0}, {"patience": -1}):
        with pytest.raises(ValueError, match="expected"):
            RewardTraining(**changes)
    with pytest.raises(ValueError, match="no 'chosen'"):
        collate(scalar(), LABELLED, "bradley_terry")
    with pytest.raises(ValueError, match="1 entries for 3 steps"):
        collate(scalar("step_ends"), [{**STEPS[0], "labels": [1.0]}], "cross_entropy")
    with pytest.raises(ValueError, match="0 held out"):
        train_reward_model(scalar(), PAIRS, tmp_path, fast(patience=1))
    with pytest.raises(ValueError, match="expected one output"):
        train_reward_model(scalar(aspects=("a", "b")), PAIRS, tmp_path, fast())
