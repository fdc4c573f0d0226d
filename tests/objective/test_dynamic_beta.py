"""Betas that follow the margin."""

from __future__ import annotations

import pytest
import torch

from guerdon.objective import batch_beta, dynamic_beta, implicit_dpo, mm_dpo_loss
from tests.objective.batches import gradient


def test_dynamic_beta_by_hand() -> None:
    found = dynamic_beta(torch.tensor([0.0, 1.0, 2.0, 4.0, -1.0]), 0.1, 0.5, 0.5)
    assert found.tolist() == pytest.approx([0.1, 0.119673, 0.131606, 0.143233, 0.067564], abs=1e-6)
    assert dynamic_beta(torch.tensor([-2.2, -50.0]), 0.1, 0.5, 0.5).tolist() == pytest.approx([1e-3, 1e-3], abs=1e-4)


def test_negative_margins_may_count_as_none() -> None:
    found = dynamic_beta(torch.tensor([-1.0, 1.0]), 0.1, 0.5, 0.5, clip_negative=True)
    assert found.tolist() == pytest.approx([0.1, 0.119673], abs=1e-6)


def test_dynamic_beta_is_increasing_concave_and_bounded() -> None:
    delta = torch.linspace(0, 10, 50, dtype=torch.float64)
    beta = dynamic_beta(delta, 0.2, 0.7, 0.4)
    steps = beta.diff()
    assert (steps > 0).all()
    assert (steps.diff() < 0).all()
    assert float(beta.max()) < 0.2 * 1.7
    assert dynamic_beta(delta, 0.2, 0.0, 0.4).tolist() == pytest.approx([0.2] * 50)
    for options in ({"beta0": 0.0, "w": 1.0, "k": 1.0}, {"beta0": 1.0, "w": -1.0, "k": 1.0}):
        with pytest.raises(ValueError, match="expected"):
            dynamic_beta(delta, **options)


def test_mm_dpo_by_hand() -> None:
    logp_w, logp_l = torch.tensor([2.0, -1.0], requires_grad=True), torch.zeros(2)
    zero, delta = torch.zeros(2), torch.tensor([1.0, 3.0], requires_grad=True)
    loss, metrics = mm_dpo_loss(logp_w, logp_l, zero, zero, delta, sft_nll=torch.tensor(1.2), gamma=0.25)
    assert float(loss) == pytest.approx(0.972797, abs=1e-6)
    assert metrics["pair_accuracy"] == 0.5
    assert torch.autograd.grad(loss, delta, allow_unused=True)[0] is None
    plain, _ = mm_dpo_loss(logp_w, logp_l, zero, zero, zero, w=0.0)
    assert float(plain) == pytest.approx(float(implicit_dpo(0.1 * logp_w, zero)))
    assert (gradient(plain, logp_w) < 0).all()
    with pytest.raises(ValueError, match="expected sft_nll"):
        mm_dpo_loss(logp_w, logp_l, zero, zero, zero, gamma=0.1)
    with pytest.raises(ValueError, match="ref_l has shape"):
        mm_dpo_loss(logp_w, logp_l, zero, torch.zeros(3), zero)


def test_batch_beta_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    gaps = torch.tensor([0.5, 1.0, 1.5, 5.0], requires_grad=True)
    asked = []

    def draw(weights: torch.Tensor, number: int, generator: object = None) -> torch.Tensor:
        asked.append((weights, number))
        return torch.tensor([0, 1, 2])

    monkeypatch.setattr(torch, "multinomial", draw)
    found = batch_beta(gaps, 0.1, 0.1)
    assert float(found) == pytest.approx(0.09)
    assert not found.requires_grad
    weights, number = asked[0]
    assert weights.tolist() == pytest.approx([0.763380, 0.886920, 0.970446, 0.339596], abs=1e-6)
    assert number == 3


def test_batch_beta_of_small_batches_and_with_a_seed() -> None:
    assert float(batch_beta(torch.tensor([3.0]), 0.1, 0.5)) == pytest.approx(0.1)
    assert float(batch_beta(torch.zeros(0), 0.1, 0.5)) == pytest.approx(0.1)
    assert float(batch_beta(torch.full((4,), 2.0), 0.1, 0.5)) == pytest.approx(0.1)
    gaps = torch.randn(20, generator=torch.Generator().manual_seed(0))
    drawn = [float(batch_beta(gaps, 0.1, 0.5, generator=torch.Generator().manual_seed(seed))) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert float(batch_beta(gaps, 0.1, 0.5, keep=1.0)) == pytest.approx(0.1)
