from __future__ import annotations

from pathlib import Path

import pytest
import torch

from guerdon.score.models.ensemble import Ensemble, average_weights, combine
from guerdon.score.models.reward_model import from_pretrained
from tests.score.test_scalar_head import PROMPTS, RESPONSES, model
from tests.score.tiny_models import decoder, encoder


def test_combinations_by_hand() -> None:
    scores = torch.tensor([[1.0, 2.0, float("nan")], [4.0, 2.0, 1.0], [1.0, 2.0, 1.0]])
    mean, std = combine(scores)
    worst, _ = combine(scores, "worst")
    careful, _ = combine(scores, "mean_minus_std", 2.0)
    torch.testing.assert_close(mean[:2], torch.tensor([2.0, 2.0]))
    torch.testing.assert_close(std[:2], torch.tensor([2.0**0.5, 0.0]))
    torch.testing.assert_close(worst[:2], torch.tensor([1.0, 2.0]))
    torch.testing.assert_close(careful[:2], torch.tensor([2.0 - 2.0 * 2.0**0.5, 2.0]))
    assert all(bool(torch.isnan(value[2])) for value in (mean, std, worst, careful))
    assert bool((worst[:2] <= mean[:2]).all())


@pytest.mark.parametrize("read", ["last_token", "step_ends"])
def test_members_are_combined_and_their_disagreement_is_kept(read: str) -> None:
    members = [model(read, decoder(seed)) for seed in range(3)]
    scores = Ensemble(members, "worst").score(PROMPTS, RESPONSES)
    name = "outcome" if read == "last_token" else "process"
    parts = torch.stack([getattr(member.score(PROMPTS, RESPONSES), name) for member in members])
    torch.testing.assert_close(getattr(scores, name), parts.amin(0), equal_nan=True)
    torch.testing.assert_close(torch.tensor(scores.columns["uncertainty"]), parts.std(0, correction=0), equal_nan=True)


def test_one_members_reason_is_kept() -> None:
    scores = Ensemble([model(), model(max_length=6)]).score(["1+1=", "1+1="], ["2", "too long"])
    assert torch.isnan(scores.outcome).tolist() == [False, True]
    assert "the model takes 6" in scores.reasons[1]


def test_models_of_different_kinds_are_refused() -> None:
    with pytest.raises(ValueError, match="models of one kind"):
        Ensemble([model(), model("step_ends")]).score(PROMPTS, RESPONSES)
    with pytest.raises(ValueError, match="at least one"):
        Ensemble([])
    with pytest.raises(ValueError, match="how is 'best'"):
        combine(torch.zeros(1, 1), "best")


def test_a_saved_ensemble_scores_the_same(tmp_path: Path) -> None:
    made = Ensemble([model(backbone=decoder(seed)) for seed in range(2)], "mean_minus_std", 0.5)
    made.save_pretrained(tmp_path)
    again = from_pretrained(tmp_path)
    torch.testing.assert_close(again.score(PROMPTS, RESPONSES).outcome, made.score(PROMPTS, RESPONSES).outcome)


def test_weights_are_averaged() -> None:
    first, second = (model(backbone=decoder(seed)) for seed in range(2))
    before = {name: value.clone() for name, value in first.state_dict().items()}
    made = average_weights([first, second], [3.0, 1.0])
    for name, value in made.state_dict().items():
        torch.testing.assert_close(value, 0.75 * before[name] + 0.25 * second.state_dict()[name])
        torch.testing.assert_close(first.state_dict()[name], before[name])
    same = average_weights([first, first])
    torch.testing.assert_close(same.score(PROMPTS, RESPONSES).outcome, first.score(PROMPTS, RESPONSES).outcome)
    with pytest.raises(ValueError, match="model 1 differs"):
        average_weights([first, model(backbone=encoder())])
    with pytest.raises(ValueError, match="positive sum"):
        average_weights([first], [0.0])
