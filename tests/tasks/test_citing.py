"""The citing lab: exact expectations are those of its samples, and weights carry over to more hops."""

from __future__ import annotations

import pytest
import torch

from guerdon.tasks.citing import FEATURES, CitingLab
from guerdon.tasks.hopworld import HopWorld, read_response
from guerdon.tasks.tabular import train_exactly

WEIGHTS = torch.tensor([1.5, 1.5, 1.5, 1.5, 0.7, 0.0, 1.0, 0.7, 2.0, 0.4], dtype=torch.float64)


def lab(hops: int = 2, n: int = 20) -> CitingLab:
    return CitingLab.draw(HopWorld(50), n, hops, 6, WEIGHTS, seed=0)


@pytest.mark.parametrize("hops", [1, 2, 3])
def test_expectations_are_those_of_samples(hops: int) -> None:
    made = lab(hops)
    logits = made.logits(made.parameters())
    exact = made.expected(logits)
    sampled = made.sample(logits, 20, 400, torch.Generator().manual_seed(0))
    right = sampled.outcome.double()
    sound = torch.tensor(sampled.columns["sound"]) & (right > 0)
    assert float(right.mean()) == pytest.approx(float(exact["gold"]), abs=0.02)
    assert float(sound.double().mean()) == pytest.approx(float(exact["sound"]), abs=0.02)
    assert float(exact["sound_when_right"]) == pytest.approx(float(exact["sound"] / exact["gold"]))


def test_samples_are_written_as_they_were_taken() -> None:
    made = lab()
    rollouts = made.sample(made.logits(made.parameters()), 20, 3, torch.Generator().manual_seed(1))
    assert rollouts.n_tokens == rollouts.n_steps == 3
    assert rollouts.tokens["part"].tolist() == [[1, 1, 2]] * 60
    for row, (text, index) in enumerate(zip(rollouts.columns["response"], rollouts.columns["prompt_id"], strict=True)):
        read = read_response(text)
        assert read is not None
        question, context = made.questions[index], made.contexts[index]
        taken = rollouts.tokens["action"][row].tolist()
        assert read == (tuple(context[action] for action in taken[:2]), question.values[taken[2]])
        assert float(rollouts.outcome[row]) == float(read[1] == question.answer)
        assert rollouts.columns["sound"][row] == question.follows(read[0])
        assert rollouts.columns["question"][row] == str(question)
    assert rollouts.logprobs is not None
    assert bool((rollouts.logprobs < 0).all())


def test_without_weights_everything_is_chance() -> None:
    made = lab()
    exact = made.expected(made.logits({"weights": torch.zeros(len(FEATURES))}))
    assert float(exact["gold"]) == pytest.approx(0.25)
    assert float(exact["sound"]) == pytest.approx(1 / 6**2 / 4)


def test_accuracy_is_set_by_the_scale() -> None:
    made = lab().with_accuracy(0.45)
    assert float(made.expected(made.logits(made.parameters()))["gold"]) == pytest.approx(0.45, abs=1e-6)
    assert bool(((made.initial == 0) | (made.initial / WEIGHTS > 0)).all())
    with pytest.raises(ValueError, match=r"accuracy is 0\.1"):
        lab().with_accuracy(0.1)


def test_what_is_learnt_on_two_hops_helps_on_three() -> None:
    made, far = lab(2, 40).with_accuracy(0.45), lab(3, 40)
    learnt = train_exactly(made, "sound", 60, learning_rate=2.0).parameters
    before = far.expected(far.logits(made.parameters()))["sound"]
    assert float(far.expected(far.logits(learnt))["sound"]) > float(before) + 0.2
