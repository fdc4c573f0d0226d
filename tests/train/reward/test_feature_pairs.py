"""Fitting a reward model on features: gradient by hand, a known optimum, stopping, products."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import optimize

from guerdon.objective.reward_losses import bradley_terry
from guerdon.score.models.feature_reward import FeatureReward
from guerdon.train.reward.feature_pairs import _held_out, fit_bradley_terry


def linear(size: int) -> FeatureReward:
    return FeatureReward([f"f{index}" for index in range(size)], hidden=0)


def pairs(number: int, seed: int, noise: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    left, right = torch.randn(2, number, 3, generator=generator)
    utility = (left - right) @ torch.tensor([2.0, -1.0, 0.0])
    first = torch.rand(number, generator=generator) < torch.sigmoid(utility / noise)
    return torch.where(first[:, None], left, right), torch.where(first[:, None], right, left)


def test_the_gradient_by_hand() -> None:
    weight = torch.tensor([1.0, -1.0], dtype=torch.float64, requires_grad=True)
    win = torch.tensor([[0.9, 0.2], [0.4, 0.5]], dtype=torch.float64)
    lose = torch.tensor([[0.4, 0.4], [0.6, 0.5]], dtype=torch.float64)
    (gradient,) = torch.autograd.grad(bradley_terry(win @ weight, lose @ weight), weight)
    assert gradient.tolist() == pytest.approx([-0.027970, 0.033181], abs=1e-6)


def test_the_optimum_is_that_of_scipy() -> None:
    win, lose = pairs(300, 0)
    model = linear(3)
    found = fit_bradley_terry(model, win, lose, optimiser="lbfgs", penalty=1e-2, epochs=200)
    scale = torch.cat([win, lose]).std(0, correction=0).double().numpy()
    gap = (win - lose).double().numpy() / scale

    def objective(weight: np.ndarray) -> float:
        return float(np.logaddexp(0.0, -gap @ weight).mean() + 1e-2 * (weight**2).sum())

    reference = optimize.minimize(objective, np.zeros(3), tol=1e-12)
    assert model.output.weight[0].tolist() == pytest.approx(reference.x.tolist(), abs=2e-3)
    assert found.accuracy > 0.75
    assert found.loss < math.log(2)
    assert math.isnan(found.held_out_loss)


def test_adam_comes_to_the_same_ranking() -> None:
    win, lose = pairs(400, 1)
    model = linear(3)
    found = fit_bradley_terry(model, win, lose, learning_rate=1e-2, epochs=60, seed=1)
    slopes = list(model.weights.values())
    assert slopes[0] > 0.5 > 0.0 > slopes[1]
    assert abs(slopes[2]) < 0.3
    assert found.epochs == 60


def test_stopping_is_decided_on_other_products() -> None:
    win, lose = pairs(200, 2, noise=4.0)
    product = torch.arange(200) // 10
    model = FeatureReward(["a", "b", "c"], hidden=16, seed=0)
    found = fit_bradley_terry(
        model, win, lose, product=product, held_out=0.25, learning_rate=3e-2, epochs=100, patience=5, penalty=0.0
    )
    assert (found.pairs, found.epochs < 95) == (150, True)
    aside = _held_out(product, 0.25, torch.Generator().manual_seed(0))
    assert sorted(set(product[aside].tolist()) & set(product[~aside].tolist())) == []
    again = bradley_terry(model(win[aside]), model(lose[aside]))
    assert float(again) == pytest.approx(found.held_out_loss, abs=1e-6)


def test_equal_pairs_are_dropped_and_contradictory_ones_kept() -> None:
    win = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.5, 0.5]])
    lose = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.5, 0.5]])
    model = linear(2)
    found = fit_bradley_terry(model, win, lose, optimiser="lbfgs")
    assert (found.pairs, found.dropped) == (2, 1)
    assert found.loss == pytest.approx(math.log(2))
    assert model.output.weight.abs().max() < 1e-6


def test_a_fit_repeats_itself() -> None:
    win, lose = pairs(60, 3)
    first, second = (FeatureReward(["a", "b", "c"], hidden=4) for _ in range(2))
    for model in (first, second):
        fit_bradley_terry(model, win, lose, epochs=3, held_out=0.2)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_arguments_are_checked() -> None:
    model = linear(2)
    with pytest.raises(ValueError, match="expected \\(N, F\\) of both"):
        fit_bradley_terry(model, torch.zeros(3, 2), torch.zeros(2, 2))
    with pytest.raises(ValueError, match="have equal features"):
        fit_bradley_terry(model, torch.zeros(3, 2), torch.zeros(3, 2))
    with pytest.raises(ValueError, match="optimiser is 'sgd'"):
        fit_bradley_terry(model, torch.ones(3, 2), torch.zeros(3, 2), optimiser="sgd")
    with pytest.raises(ValueError, match="is NaN"):
        fit_bradley_terry(model, torch.full((3, 2), math.nan), torch.zeros(3, 2))
