"""Cloning of right and policy gradient on wrong responses."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from guerdon.objective import OutcomeReweighted, oreal_loss
from tests.objective.batches import NAN, batch, gradient, pieces_of, random_batch

POLICY = torch.tensor([[0.5, 0.8, 0.9, 0.4], [0.6, 0.3, 0.5, 1.0]], dtype=torch.float64).log()
REFERENCE = torch.tensor([[0.4, 0.8, 0.6, 0.5], [0.5, 0.5, 0.5, 1.0]], dtype=torch.float64).log()
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]]).bool()
REWARD, ADVANTAGE = torch.tensor([1.0, -1.0]), torch.tensor([1.714286, -0.571429], dtype=torch.float64)
W_PLUS = torch.tensor([[0.761594, 0.635149, 0.321513, 0.30271], [0, 0, 0, 0]], dtype=torch.float64)
W_MINUS = torch.tensor([[0, 0, 0, 0], [0.462117, 0.761594, 0.321513, 0]], dtype=torch.float64)


def test_by_hand() -> None:
    found = oreal_loss(POLICY, REFERENCE, MASK, REWARD, ADVANTAGE, W_PLUS, W_MINUS)
    assert float(found.value) == pytest.approx(0.567957, abs=2e-6)
    assert found.metrics["positive"] == pytest.approx(0.420373, abs=2e-6)
    assert found.metrics["negative"] == pytest.approx(0.147164, abs=2e-6)
    assert found.metrics["kl"] == pytest.approx(0.000419, abs=2e-6)


def test_the_negative_part_has_a_constant_value_and_the_policy_gradient() -> None:
    logprobs = POLICY.clone().requires_grad_()
    wrong = torch.tensor([-1.0, -1.0])
    loss = oreal_loss(logprobs, None, MASK, wrong, -ADVANTAGE.abs(), W_PLUS, W_MINUS, kl_coef=0.0).value
    plain = 0.5 * (ADVANTAGE.abs()[:, None] * W_MINUS * logprobs)[MASK].sum() / MASK.sum()
    torch.testing.assert_close(gradient(loss, logprobs), gradient(plain, logprobs))
    assert float(loss) == pytest.approx(float(0.5 * (ADVANTAGE.abs()[:, None] * W_MINUS)[MASK].sum() / MASK.sum()))


def test_without_weights_it_is_reinforce_per_class() -> None:
    logprobs = POLICY.clone().requires_grad_()
    loss = oreal_loss(
        logprobs, None, MASK, REWARD, ADVANTAGE, negative_factor=1.0, kl_coef=0.0, counts=(7.0, 7.0)
    ).value
    policy_gradient = -(ADVANTAGE[:, None] * logprobs)[MASK].sum() / 7
    torch.testing.assert_close(gradient(loss, logprobs), gradient(policy_gradient, logprobs))
    unscaled = oreal_loss(logprobs, None, MASK, REWARD, ADVANTAGE, kl_coef=0.0, scale_positive=False)
    assert unscaled.metrics["positive"] == pytest.approx(float(-POLICY[0].mean()))


def test_gradient_by_finite_differences() -> None:
    right = torch.tensor([1.0, 1.0])

    def loss(x: Tensor) -> Tensor:
        return oreal_loss(x, REFERENCE, MASK, right, ADVANTAGE, W_PLUS, W_MINUS, kl_coef=0.3).value

    assert torch.autograd.gradcheck(loss, POLICY.clone().requires_grad_())


def test_unscored_rows_feel_nothing() -> None:
    logprobs = POLICY.float().requires_grad_()
    reward, advantage = torch.tensor([1.0, NAN]), torch.tensor([1.0, NAN])
    loss = oreal_loss(logprobs, REFERENCE.float(), MASK, reward, advantage).value
    alone = oreal_loss(logprobs[:1], REFERENCE[:1].float(), MASK[:1], reward[:1], advantage[:1]).value
    torch.testing.assert_close(loss, alone)
    assert (gradient(loss, logprobs)[1] == 0).all()
    with pytest.raises(ValueError, match="expected ref_logprobs"):
        oreal_loss(logprobs, None, MASK, reward, advantage)


def test_pieces_add_up() -> None:
    logprobs, made = random_batch(6)
    stage = OutcomeReweighted(kl_coef=0.2)
    whole = stage(logprobs, made)
    weighted = made.advantages * made.weights[:, None]
    expected = oreal_loss(
        logprobs, made.rollouts.ref_logprobs, made.rollouts.mask, made.rollouts.outcome, weighted, kl_coef=0.2
    )
    torch.testing.assert_close(whole.value, expected.value)
    cuts = [[0, 1, 4], [2], [3, 5, 6, 7]]
    prepared = stage.prepare(made)
    parts = [stage(logprobs[rows], piece).value for rows, piece in zip(cuts, pieces_of(prepared, cuts), strict=True)]
    torch.testing.assert_close(torch.stack(parts).sum(), whole.value)


def test_one_class_alone_and_errors() -> None:
    logprobs, made = random_batch()
    only = batch(made.rollouts.mask, made.advantages, outcome=torch.ones(8), ref_logprobs=made.rollouts.ref_logprobs)
    found = OutcomeReweighted()(logprobs, only)
    expected = oreal_loss(logprobs, made.rollouts.ref_logprobs, only.rollouts.mask, torch.ones(8), only.advantages)
    torch.testing.assert_close(found.value, expected.value)
    assert found.metrics["negative"] == 0.0
    for options in ({"kl_coef": -1.0}, {"kl": "k5"}, {"positive_factor": -1.0}):
        with pytest.raises(ValueError, match=f"OutcomeReweighted.{next(iter(options))}"):
            OutcomeReweighted(**options)  # type: ignore[arg-type]
