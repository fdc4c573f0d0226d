"""Regression of log-ratios on advantages, and its exact solution in one state."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon.objective import DirectAdvantage, direct_advantage_loss, step_logprob, tabular_direct_advantage
from tests.objective.batches import NAN, batch, gradient, pieces_of

LOGPROB, REF = torch.tensor([-5.0, -7.5, -9.0]), torch.tensor([-6.0, -7.0, -6.0])
ADVANTAGE = torch.tensor([0.3, 0.0, -0.3])


def test_by_hand() -> None:
    logprob = LOGPROB.clone().requires_grad_()
    loss = direct_advantage_loss(logprob, REF, ADVANTAGE, 0.01)
    assert float(loss) == pytest.approx(261.7083, abs=1e-3)
    assert gradient(loss, logprob).tolist() == pytest.approx([-9.6667, -0.1667, 9.0], abs=1e-4)
    loss = direct_advantage_loss(logprob, REF, ADVANTAGE, 0.5)
    assert float(loss) == pytest.approx(1.028333, abs=1e-6)
    assert gradient(loss, logprob).tolist() == pytest.approx([0.133333, -0.166667, -0.8], abs=1e-5)


def test_at_the_reference_it_is_the_policy_gradient() -> None:
    logprob = REF.clone().requires_grad_()
    slope = gradient(direct_advantage_loss(logprob, REF, ADVANTAGE, 0.2), logprob)
    torch.testing.assert_close(slope, -ADVANTAGE / (0.2 * 3))
    assert float(direct_advantage_loss(REF + ADVANTAGE / 0.2, REF, ADVANTAGE, 0.2)) == pytest.approx(0.0, abs=1e-10)


def test_errors_and_missing_pairs() -> None:
    with pytest.raises(ValueError, match="beta is 0"):
        direct_advantage_loss(LOGPROB, REF, ADVANTAGE, 0.0)
    with pytest.raises(ValueError, match="advantage has shape"):
        direct_advantage_loss(LOGPROB, REF, ADVANTAGE[:2], 0.5)
    logprob = LOGPROB.clone().requires_grad_()
    loss = direct_advantage_loss(logprob, REF, torch.tensor([0.3, NAN, -0.3]), 0.5)
    assert gradient(loss, logprob)[1] == 0
    assert float(loss) == pytest.approx((0.5 * (0.6 - 1.0) ** 2 + 0.5 * (-0.6 + 3.0) ** 2) / 2)
    assert float(direct_advantage_loss(logprob[:0], REF[:0], ADVANTAGE[:0], 0.5)) == 0.0


def test_step_logprob() -> None:
    logprobs = torch.tensor([[-1.0, -2.0, -4.0, -8.0]] * 2)
    mask = torch.tensor([[True, True, True, True], [True, False, True, True]])
    assert step_logprob(logprobs, mask).tolist() == [-15.0, -13.0]
    assert step_logprob(logprobs, mask, (1, 3)).tolist() == [-6.0, -4.0]
    assert step_logprob(logprobs, mask, torch.tensor([[0, 1], [2, 4]])).tolist() == [-1.0, -12.0]
    with pytest.raises(ValueError, match="span has shape"):
        step_logprob(logprobs, mask, torch.zeros(3, 2))


def test_tabular_by_hand() -> None:
    ref, advantage = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.2, -0.1, -0.35])
    found = tabular_direct_advantage(ref, advantage, torch.full((3,), 1 / 3), 0.25)
    assert found.tolist() == pytest.approx([0.767827, 0.183988, 0.048184], abs=1e-6)
    improvement = float((found * advantage).sum() - 0.25 * (found * (found / ref).log()).sum())
    assert improvement == pytest.approx(0.075594, abs=1e-6)
    softmax = torch.softmax(ref.log() + advantage / 0.25, 0)
    assert softmax.tolist() == pytest.approx([0.816301, 0.147519, 0.036180], abs=1e-6)
    same = tabular_direct_advantage(ref, torch.zeros(3), torch.tensor([0.1, 0.2, 0.7]), 0.1)
    assert same.tolist() == pytest.approx(ref.tolist())
    assert tabular_direct_advantage(ref, advantage - (ref * advantage).sum(), ref, 1e4).tolist() == pytest.approx(
        ref.tolist(), abs=1e-4
    )
    with pytest.raises(ValueError, match="expected positive"):
        tabular_direct_advantage(ref, advantage, torch.tensor([1.0, 0.0, 1.0]), 0.25)
    with pytest.raises(ValueError, match="mean under ref"):
        tabular_direct_advantage(ref, -torch.ones(3), ref, 0.25)


@given(st.integers(0, 2**32 - 1), st.floats(0.02, 5.0))
def test_the_tabular_optimum(seed: int, beta: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    ref = torch.softmax(torch.randn(5, generator=generator, dtype=torch.float64), 0)
    nu = torch.softmax(torch.randn(5, generator=generator, dtype=torch.float64), 0)
    advantage = torch.randn(5, generator=generator, dtype=torch.float64)
    advantage = advantage - (ref * advantage).sum()
    found = tabular_direct_advantage(ref, advantage, nu, beta)
    assert float(found.sum()) == pytest.approx(1.0)
    assert float((found * advantage).sum() - beta * (found * (found / ref).log()).sum()) >= -1e-9

    def loss(policy: torch.Tensor) -> float:
        return float((nu * (advantage / beta - (policy / ref).log()).square()).sum()) / 2

    best = loss(found)
    for _ in range(5):
        other = torch.softmax(found.log() + 0.01 * torch.randn(5, generator=generator, dtype=torch.float64), 0)
        assert loss(other) >= best - 1e-9 * max(1.0, best)


def staged(**fields: object) -> tuple[torch.Tensor, object]:
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0]]).bool()
    step = torch.tensor([[0, 0, 1, -1], [0, 1, 1, -1], [-1, -1, -1, -1]])
    advantages = torch.tensor([[0.3, 0.3, -0.1, 0.0], [0.0, 0.2, 0.2, 0.0], [0.5, 0.5, 0.0, 0.0]])
    ref = torch.linspace(-2, -1, 12).reshape(3, 4)
    made = batch(mask, advantages, step=step, ref_logprobs=ref, **fields)  # type: ignore[arg-type]
    return torch.linspace(-1, -2, 12).reshape(3, 4).requires_grad_(), made


def test_the_stage_regresses_each_step() -> None:
    logprobs, made = staged(outcome=[1.0, 0.0, 1.0])
    found = DirectAdvantage(beta=0.5)(logprobs, made).value
    gap = logprobs - made.rollouts.ref_logprobs
    sums = torch.stack([gap[0, :2].sum(), gap[0, 2], gap[1, 0], gap[1, 1:3].sum(), gap[2, :2].sum()])
    expected = direct_advantage_loss(sums, torch.zeros(5), torch.tensor([0.3, -0.1, 0.0, 0.2, 0.5]), 0.5)
    torch.testing.assert_close(found, expected)
    cuts = [[0], [1, 2]]
    stage = DirectAdvantage(beta=0.5)
    parts = [
        stage(logprobs[rows], piece).value
        for rows, piece in zip(cuts, pieces_of(stage.prepare(made), cuts), strict=True)
    ]
    torch.testing.assert_close(torch.stack(parts).sum(), found)


def test_steps_that_were_not_scored_take_no_part() -> None:
    process = torch.tensor([[0.5, NAN], [NAN, NAN], [NAN, NAN]])
    logprobs, made = staged(process=process, outcome=[NAN, NAN, NAN])
    slope = gradient(DirectAdvantage(beta=0.5)(logprobs, made).value, logprobs)
    assert (slope[0, :2] != 0).all()
    assert (slope[0, 2:] == 0).all()
    assert (slope[1:] == 0).all()
    for options in ({"beta": 0.0}, {"reference": "none"}):
        with pytest.raises(ValueError, match=f"DirectAdvantage.{next(iter(options))}"):
            DirectAdvantage(**options)  # type: ignore[arg-type]
    empty = made[torch.zeros(3, dtype=torch.bool)]
    assert float(DirectAdvantage()(logprobs[:0], empty).value) == 0.0
