"""Likelihood weighted by reward."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon.objective import WeightedLikelihood, importance_diagnostics, thought_clone_loss, weighted_likelihood
from tests.objective.batches import NAN, batch, gradient, pieces_of, random_batch

LOGP = torch.tensor([[-0.2, -0.3, -0.1], [-1.0, -1.0, -9.0], [-0.4, -0.4, -0.4]])
MASK = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 1, 1]]).bool()
REWARD = torch.tensor([1.0, 0.0, 1.0])


def test_by_hand() -> None:
    assert float(weighted_likelihood(LOGP, MASK, REWARD)) == pytest.approx(0.6)
    assert float(weighted_likelihood(LOGP, MASK, REWARD, "mean_tokens")) == pytest.approx((0.2 + 0.4) / 3)
    assert float(weighted_likelihood(LOGP, MASK, REWARD, "token")) == pytest.approx(1.8 / 8)
    assert float(weighted_likelihood(LOGP, MASK, REWARD, counts=6.0)) == pytest.approx(0.3)
    assert float(weighted_likelihood(LOGP[:0], MASK[:0], REWARD[:0])) == 0.0
    with pytest.raises(ValueError, match="reduce is 'mean'"):
        weighted_likelihood(LOGP, MASK, REWARD, "mean")
    with pytest.raises(ValueError, match="token_logp has shape"):
        weighted_likelihood(LOGP[:, :2], MASK, REWARD)


def test_zero_rewards_give_zero_gradient_and_unscored_rows_take_no_part() -> None:
    logp = LOGP.clone().requires_grad_()
    loss = weighted_likelihood(logp, MASK, torch.tensor([1.0, 0.0, NAN]))
    assert float(loss) == pytest.approx(0.6 / 2)
    assert gradient(loss, logp).tolist() == [[-0.5] * 3, [0.0] * 3, [0.0] * 3]


def test_importance_diagnostics_by_hand() -> None:
    pi, mu = torch.tensor([0.2, 0.3, 0.1]).log(), torch.tensor([0.25, 0.24, 0.1]).log()
    found = importance_diagnostics(pi, mu, torch.tensor([1.0, 1.0, 0.0]))
    assert found == pytest.approx({"g_is": 0.683333, "g_1": 0.666667, "delta": 0.25}, abs=1e-6)
    assert importance_diagnostics(pi, mu, torch.full((3,), NAN)) == {"g_is": 0.0, "g_1": 0.0, "delta": 0.0}


@given(st.lists(st.tuples(st.floats(-3, 3), st.floats(-3, 3), st.floats(0, 1)), min_size=1, max_size=8))
def test_the_bias_is_bounded(rows: list[tuple[float, float, float]]) -> None:
    pi, mu, reward = torch.tensor(rows, dtype=torch.float64).T
    found = importance_diagnostics(pi, mu, reward)
    assert abs(found["g_is"] - found["g_1"]) <= found["delta"] + 1e-9


def test_thought_cloning() -> None:
    logits = torch.tensor([[[0.0, 1.0, 2.0], [1.0, 0.0, 0.0], [0.0, 0.0, 3.0]]], requires_grad=True)
    # Row t is scored against label t.
    loss = thought_clone_loss(logits, torch.tensor([[0, 2, -100]]))
    assert float(loss) == pytest.approx(1.9795, abs=1e-4)
    assert float(thought_clone_loss(logits, torch.tensor([[0, 2, 1]]))) == pytest.approx(2.3513, abs=1e-4)
    assert (gradient(loss, logits)[0, 2] == 0).all()
    nothing = thought_clone_loss(logits, torch.full((1, 3), -100))
    assert float(nothing) == 0.0
    assert (gradient(nothing, logits) == 0).all()
    # Shifted by the caller: the label of position t + 1 at row t.
    assert float(thought_clone_loss(logits[:, :1], torch.tensor([[2]]))) == pytest.approx(0.4076, abs=1e-4)


@pytest.mark.parametrize("reduce", ["sum_tokens", "mean_tokens", "token"])
@pytest.mark.parametrize("weight", ["outcome", "one"])
def test_the_stage(reduce: str, weight: str) -> None:
    logprobs, made = random_batch(9)
    stage = WeightedLikelihood(reduce, weight)
    whole = stage(logprobs, made).value
    reward = (made.rollouts.outcome if weight == "outcome" else torch.ones(8)) * made.weights
    torch.testing.assert_close(whole, weighted_likelihood(logprobs, made.rollouts.mask, reward, reduce))
    cuts = [[0, 1, 4], [2], [3, 5, 6, 7]]
    parts = [stage(logprobs[rows], piece).value for rows, piece in zip(cuts, pieces_of(made, cuts), strict=True)]
    torch.testing.assert_close(torch.stack(parts).sum(), whole)


def test_the_stage_leaves_unscored_rows_out() -> None:
    logprobs = LOGP.clone().requires_grad_()
    made = batch(MASK, outcome=[1.0, NAN, 0.5])
    assert (gradient(WeightedLikelihood()(logprobs, made).value, logprobs)[1] == 0).all()
    for options in ({"reduce": "mean"}, {"weight": "advantage"}):
        with pytest.raises(ValueError, match=f"WeightedLikelihood.{next(iter(options))}"):
            WeightedLikelihood(**options)
