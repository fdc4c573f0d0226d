"""The critic's loss by hand, by finite differences, and on batches with unscored rows."""

from __future__ import annotations

import pytest
import torch

from guerdon.objective import ValueLoss, squared_value_error, value_loss
from tests.objective.batches import NAN, batch, gradient, pieces_of


def test_by_hand() -> None:
    values, old, returns = (torch.tensor([row]) for row in ([1.5, 0.0], [1.0, 0.2], [2.0, 1.0]))
    mask = torch.ones(1, 2, dtype=torch.bool)
    assert float(value_loss(values, returns, old, mask, clip=0.1)) == pytest.approx(0.4525)
    assert float(value_loss(values, returns, None, mask, clip=None)) == pytest.approx(0.5 * (0.25 + 1.0) / 2)
    assert float(value_loss(values, returns, old, mask, clip=0.1, counts=4)) == pytest.approx(0.4525 / 2)
    with pytest.raises(ValueError, match="expected old_values"):
        value_loss(values, returns, None, mask)


def test_nan_returns_and_masked_tokens_take_no_part() -> None:
    values = torch.tensor([[1.0, 5.0, 2.0], [3.0, NAN, 0.0]], requires_grad=True)
    returns = torch.tensor([[0.0, NAN, 1.0], [NAN, 0.0, 0.0]])
    mask = torch.tensor([[True, True, True], [True, False, False]])
    loss = value_loss(values, returns, values.detach(), mask)
    assert float(loss) == pytest.approx(0.5)
    assert gradient(loss, values).tolist() == [[0.5, 0.0, 0.5], [0.0, 0.0, 0.0]]
    assert float(value_loss(values, torch.full_like(returns, NAN), None, mask, clip=None)) == 0.0


def test_gradient_by_finite_differences() -> None:
    generator = torch.Generator().manual_seed(0)
    values, old, returns = (torch.randn(3, 4, generator=generator, dtype=torch.float64) for _ in range(3))
    mask = torch.rand(3, 4, generator=generator) < 0.7
    assert torch.autograd.gradcheck(
        lambda v: value_loss(v, returns, old, mask, clip=0.3), values.requires_grad_(), atol=1e-6
    )
    assert value_loss(values, returns, old, mask).dtype == torch.float64
    inside = squared_value_error(old + 0.1, returns, old, 0.2)
    torch.testing.assert_close(inside, 0.5 * (old + 0.1 - returns).square())


def test_the_stage() -> None:
    mask = torch.tensor([[True, True], [True, False], [True, True]])
    returns = torch.tensor([[1.0, 2.0], [0.0, 9.0], [5.0, 5.0]])
    made = batch(mask, outcome=[1.0, 0.0, NAN], tokens={"returns": returns, "values": torch.zeros(3, 2)})
    values = torch.tensor([[0.1, 0.5], [1.0, 7.0], [1.0, 1.0]], requires_grad=True)
    found = ValueLoss(clip=0.2, coefficient=0.5)(values, made)
    errors = [0.5 * 0.9**2, 0.5 * 1.8**2, 0.5 * 1.0]
    assert float(found.value) == pytest.approx(0.5 * sum(errors) / 5)
    assert found.metrics["value_clip_fraction"] == pytest.approx(2 / 3)
    parts = [
        ValueLoss(coefficient=0.5)(values[rows], piece).value
        for rows, piece in zip([[0], [1, 2]], pieces_of(made, [[0], [1, 2]]), strict=True)
    ]
    assert float(sum(parts)) == pytest.approx(float(found.value))
    with pytest.raises(ValueError, match="tokens has no 'returns'"):
        ValueLoss()(values, batch(mask))
    for options in ({"clip": 0.0}, {"coefficient": -1.0}, {"aggregation": "class"}):
        with pytest.raises(ValueError, match=f"ValueLoss.{next(iter(options))}"):
            ValueLoss(**options)  # type: ignore[arg-type]


def test_equals_verl() -> None:
    algos = pytest.importorskip("verl.trainer.ppo.core_algos", reason="verl is not installed (extra verl)")
    generator = torch.Generator().manual_seed(1)
    values, old, returns = (torch.randn(4, 7, generator=generator) for _ in range(3))
    mask = torch.arange(7)[None] < torch.tensor([[7], [3], [1], [5]])
    theirs, _ = algos.compute_value_loss(values, returns, old, mask, cliprange_value=0.3)
    torch.testing.assert_close(value_loss(values, returns, old, mask, clip=0.3), theirs)
