"""Losses of reward models: worked examples, invariants, TRL's own loss."""

from __future__ import annotations

import math
from collections import defaultdict

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon.objective import bradley_terry, centring, critique_rm_loss, mse, soft_bce, token_reward_loss
from tests.objective.batches import NAN, gradient

scores = st.lists(st.tuples(st.floats(-20, 20), st.floats(-20, 20)), min_size=1, max_size=6)


def test_bradley_terry_by_hand() -> None:
    win, lose = torch.tensor([1.2, 0.3]), torch.tensor([0.2, 0.5])
    assert float(bradley_terry(win, lose)) == pytest.approx(0.5557, abs=5e-5)
    assert float(bradley_terry(torch.tensor([0.9, 0.5]), torch.tensor([0.4, 0.7]))) == pytest.approx(0.6361079)
    one, two = torch.tensor([0.5]), torch.tensor([-0.5])
    found = [float(bradley_terry(one, two, target=target)) for target in (1.0, 0.0, 0.5)]
    assert found == pytest.approx([0.313262, 1.313262, 0.813262], abs=1e-6)


def test_linear_model_gradient_by_hand() -> None:
    better, worse = torch.tensor([[0.9, 0.2], [0.4, 0.5]]), torch.tensor([[0.4, 0.4], [0.6, 0.5]])
    weight = torch.tensor([1.0, -1.0], requires_grad=True)
    found = gradient(bradley_terry(better @ weight, worse @ weight), weight)
    assert found.tolist() == pytest.approx([-0.027970, 0.033181], abs=1e-6)


@given(scores)
def test_bradley_terry_against_a_loop(pairs: list[tuple[float, float]]) -> None:
    win, lose = torch.tensor(pairs, dtype=torch.float64).T
    expected = sum(math.log1p(math.exp(-(a - b))) for a, b in pairs) / len(pairs)
    assert float(bradley_terry(win, lose)) == pytest.approx(expected)
    assert float(bradley_terry(win + 3.0, lose + 3.0)) == pytest.approx(expected, abs=1e-9)
    gap = float((win - lose).mean())
    assert float(bradley_terry(win, lose)) - float(bradley_terry(lose, win)) == pytest.approx(-gap, abs=1e-9)
    assert float(bradley_terry(lose, win, target=0.0)) == pytest.approx(expected)
    tied = torch.ones(len(pairs), dtype=torch.bool)
    assert float(bradley_terry(win, lose, tied)) == pytest.approx(float((win - lose).square().mean()))


def test_pairs_that_cannot_be_scored() -> None:
    win = torch.tensor([1.0, NAN, 2.0], requires_grad=True)
    loss = bradley_terry(win, torch.tensor([0.0, 0.0, NAN]))
    assert float(loss) == pytest.approx(math.log1p(math.exp(-1.0)))
    assert gradient(loss, win)[1:].tolist() == [0.0, 0.0]
    empty = torch.zeros(0, requires_grad=True)
    none = bradley_terry(empty, torch.zeros(0), torch.zeros(0, dtype=torch.bool), center=0.1)
    assert float(none) == 0.0
    none.backward()
    with pytest.raises(ValueError, match="lose has shape"):
        bradley_terry(win, torch.zeros(2))
    with pytest.raises(ValueError, match="expected numbers in"):
        bradley_terry(win, win, target=1.5)


def test_tie_target_has_no_gradient_at_equal_scores() -> None:
    win = torch.tensor([0.7], requires_grad=True)
    assert gradient(bradley_terry(win, torch.tensor([0.7]), target=0.5), win).tolist() == [0.0]
    assert gradient(bradley_terry(win, torch.tensor([0.8]), target=0.5), win).abs() > 0


def test_bradley_terry_equals_trl() -> None:
    """TRL writes its loss inside the trainer, so its class is called on a stand-in for the trainer."""
    pytest.importorskip("trl", reason="trl is not installed (extra train)")
    from types import SimpleNamespace

    from trl import RewardTrainer

    logits = torch.tensor([[1.0], [0.2], [-0.5], [0.4], [0.7], [-0.1]])
    for margin in (None, torch.tensor([0.3, 0.0, 0.5])):
        trainer = SimpleNamespace(
            model=SimpleNamespace(training=False),
            args=SimpleNamespace(center_rewards_coefficient=0.01),
            accelerator=SimpleNamespace(gather_for_metrics=lambda x: x, gather=lambda x: x),
            aux_loss_enabled=False,
            _total_train_tokens=0,
            _metrics=defaultdict(lambda: defaultdict(list)),
        )
        inputs = {"input_ids": torch.ones(6, 2), "attention_mask": torch.ones(6, 2)}
        if margin is not None:
            inputs["margin"] = margin
        model = lambda **_: SimpleNamespace(logits=logits)  # noqa: E731
        theirs = RewardTrainer.compute_loss(trainer, model, inputs)
        ours = bradley_terry(logits[:3, 0], logits[3:, 0], center=0.01, margin=0.0 if margin is None else margin)
        torch.testing.assert_close(ours, theirs)


def test_critique_loss_by_hand() -> None:
    win, lose = torch.tensor([1.0, 0.0]), torch.tensor([-0.5, 0.4])
    tie, none = torch.tensor([False, True]), torch.tensor([False, True])
    nll_w, nll_l = torch.tensor([0.8, 0.6]), torch.tensor([0.7, 0.9])
    loss, metrics = critique_rm_loss(win, lose, nll_w, nll_l, tie, none)
    assert float(loss) == pytest.approx(1.113463, abs=1e-6)
    assert metrics["accuracy"] == 1.0
    plain, _ = critique_rm_loss(win, lose, nll_w, nll_l, critique_weight=0.0, center=0.0)
    assert float(plain) == pytest.approx(float(bradley_terry(win, lose)))
    critiques, _ = critique_rm_loss(win, lose, nll_w, nll_l, score_weight=0.0, center=0.0)
    assert float(critiques) == pytest.approx((0.8 + 0.6 + 0.7 + 0.9) / 2)
    assert float(centring(win, lose)) == pytest.approx((0.25 + 0.16) / 2)


def test_soft_bce_and_mse() -> None:
    logit = torch.logit(torch.tensor([0.6, 0.1, 0.9]))
    assert float(soft_bce(logit, torch.tensor([0.75, 0.0, 1.0]))) == pytest.approx(0.274304, abs=1e-6)
    assert float(soft_bce(torch.tensor([1e4, -1e4]), torch.tensor([1.0, 0.0]))) == 0.0
    known = soft_bce(torch.tensor([0.3, NAN, 5.0]), torch.tensor([0.5, 1.0, NAN]))
    assert float(known) == pytest.approx(math.log1p(math.exp(0.3)) - 0.15)
    with pytest.raises(ValueError, match="expected numbers in"):
        soft_bce(logit, torch.tensor([0.5, 2.0, 0.0]))
    assert float(mse(torch.tensor([1.0, 2.0]), torch.tensor([NAN, 0.5]))) == pytest.approx(2.25)
    assert float(mse(torch.zeros(0), torch.zeros(0))) == 0.0
    with pytest.raises(ValueError, match="target has shape"):
        mse(torch.zeros(2), torch.zeros(3))


def test_gradients_by_finite_differences() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(5, generator=generator, dtype=torch.float64, requires_grad=True) for _ in range(2))
    tie = torch.tensor([False, True, False, False, True])
    goal = torch.rand(5, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x, y: bradley_terry(x, y, tie, 0.1, goal, margin=0.2), (a, b))
    assert torch.autograd.gradcheck(lambda x: soft_bce(x, goal), a)
    assert torch.autograd.gradcheck(lambda x: mse(x, goal), a)


def test_token_reward_loss() -> None:
    score = torch.tensor([[2.0, 1.0, -1.0, 0.5], [-1.0, -3.0, 2.0, -2.0], [9.0, 9.0, 9.0, 9.0], [1.0, 1.0, 1.0, 1.0]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 1, 1], [0, 0, 0, 0]]).bool()
    reward = torch.tensor([1.0, -1.0, NAN, 1.0])
    assert float(token_reward_loss(score, mask, reward)) == pytest.approx(0.421535, abs=1e-6)
    with pytest.raises(ValueError, match="reward has shape"):
        token_reward_loss(score, mask, reward[:2])
