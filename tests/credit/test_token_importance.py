"""Token weights: the worked rows, the two thresholds, the top share, and loops."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Rollouts
from guerdon.credit import LeaveOneOut, TokenImportance, token_importance
from tests.strategies import NAN, rollouts

SCORE = torch.tensor([[2.0, 1.0, -1.0, 0.5], [-1.0, -3.0, 2.0, -2.0]], dtype=torch.float64)
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]]).bool()


def test_the_worked_rows() -> None:
    plus, minus = token_importance(SCORE, MASK)
    assert plus[0].tolist() == pytest.approx([0.761594, 0.635149, 0.321513, 0.302710], abs=1e-6)
    assert plus[1].tolist() == [0.0] * 4
    assert minus[0].tolist() == [0.0] * 4
    assert minus[1].tolist() == pytest.approx([0.462117, 0.761594, 0.321513, 0.0], abs=1e-6)
    swapped = token_importance(-SCORE, MASK)
    torch.testing.assert_close(swapped, (minus, plus))


@given(st.integers(0, 2**31), st.floats(0.0, 0.9), st.sampled_from([0.25, 0.5, 1.0]))
def test_equal_to_a_loop(seed: int, tau: float, ratio: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    score = torch.randn(4, 7, generator=generator, dtype=torch.float64)
    mask = torch.rand(4, 7, generator=generator) < 0.7
    score[torch.rand(4, 7, generator=generator) < 0.1] = NAN
    plus, minus = token_importance(score, mask, tau, tau)
    top_plus, top_minus = token_importance(score, mask, mode="topk", ratio=ratio)
    for row in range(4):
        total, p = 0.0, {}
        for t in range(7):
            if mask[row, t] and not math.isnan(score[row, t]):
                total += float(score[row, t])
                p[t] = 1.0 / (1.0 + math.exp(-total / (len(p) + 1)))
        keep = max(1, int(ratio * len(p) + 1e-9))
        for sign, clipped, top in ((1, plus, top_plus), (-1, minus, top_minus)):
            q = {t: value if sign == 1 else 1.0 - value for t, value in p.items()}
            chosen = sorted(q, key=lambda t: (-q[t], t))[:keep]
            low, high = min((q[t] for t in chosen), default=0.0), max((q[t] for t in chosen), default=0.0)
            for t in range(7):
                expected = min(max((q[t] - tau) / (1.0 - tau), 0.0), 1.0) if t in q else 0.0
                assert float(clipped[row, t]) == pytest.approx(expected, abs=1e-9)
                if t not in chosen:
                    expected = 0.0
                else:
                    expected = 1.0 if high == low else (q[t] - low) / (high - low)
                assert float(top[row, t]) == pytest.approx(expected, abs=1e-6)


def test_equal_scores_weigh_one_in_the_top() -> None:
    plus, minus = token_importance(torch.zeros(1, 4), torch.ones(1, 4).bool(), mode="topk", ratio=1.0)
    assert plus.tolist() == minus.tolist() == [[1.0] * 4]


def test_no_gradient_and_dtype() -> None:
    score = SCORE.float().requires_grad_()
    plus, minus = token_importance(score, MASK)
    assert not plus.requires_grad
    assert plus.dtype == minus.dtype == torch.float32
    assert token_importance(torch.zeros(0, 3), torch.zeros(0, 3).bool())[0].shape == (0, 3)


def test_the_stage_weighs_by_the_sign_of_the_advantage() -> None:
    value = Rollouts(group=[0, 0], mask=MASK, outcome=[1.0, -1.0], tokens={"scores": SCORE})
    found = TokenImportance()(value)
    assert found[0].tolist() == pytest.approx([2 * w for w in (0.761594, 0.635149, 0.321513, 0.302710)], abs=1e-5)
    assert found[1].tolist() == pytest.approx([-2 * w for w in (0.462117, 0.761594, 0.321513, 0.0)], abs=1e-5)
    sure = value.with_tokens(scores=torch.where(torch.tensor([[True], [False]]), 99.0, -99.0).expand(2, 4))
    torch.testing.assert_close(TokenImportance()(sure), LeaveOneOut()(sure))


def test_refusals() -> None:
    with pytest.raises(ValueError, match="positive_threshold is 1"):
        token_importance(SCORE, MASK, 1.0)
    with pytest.raises(ValueError, match="mode is 'best'"):
        token_importance(SCORE, MASK, mode="best")
    with pytest.raises(ValueError, match="ratio is 0"):
        token_importance(SCORE, MASK, ratio=0.0)
    with pytest.raises(ValueError, match="expected the same"):
        token_importance(SCORE, MASK[:, :2])
    for options in ({"estimator": "ppo"}, {"negative_threshold": 1.0}, {"mode": "best"}, {"ratio": 0.0}):
        with pytest.raises(ValueError, match="TokenImportance"):
            TokenImportance(**options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="tokens has no 'scores'"):
        TokenImportance()(Rollouts(group=[0], mask=[[1]], outcome=[1.0]))


@pytest.mark.parametrize("mode", ["threshold", "topk"])
@given(value=rollouts(binary=True))
def test_the_stage_on_anything(mode: str, value: Rollouts) -> None:
    value = value.with_tokens(scores=torch.randn(value.mask.shape))
    found = TokenImportance(mode=mode, estimator="grpo")(value)
    assert torch.isfinite(found).all()
    assert not (found[~value.mask] != 0).any()
    assert not (found[~value.scored] != 0).any()
