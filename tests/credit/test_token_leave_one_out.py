"""PRIME's credit: the worked group, a loop over the partners, and its invariants."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from guerdon import Rollouts, ops
from guerdon.credit import LeaveOneOut, TokenLeaveOneOut, prime_returns, token_leave_one_out
from tests.strategies import NAN, rollouts

REWARDS = torch.tensor(
    [[0.4, 0.2, -0.1, 0.3], [0.1, -0.3, NAN, NAN], [-0.2, -0.4, 0.1, NAN], [0.0, 0.2, 0.2, 0.1]], dtype=torch.float64
)
MASK = ~torch.isnan(REWARDS)
SCALED = REWARDS / (0.8 + 1e-6)
GROUP = torch.zeros(4, dtype=torch.int64)
OUTCOME = torch.tensor([1.0, 0.0, 0.0, 1.0], dtype=torch.float64)


def approx(values: list[float]) -> object:
    return pytest.approx(values, abs=2e-6)


def test_the_worked_group() -> None:
    paper = token_leave_one_out(SCALED, MASK, GROUP)
    assert paper[0].tolist() == approx([0.559027, 0.309027, -0.065972, 0.434027])
    released = token_leave_one_out(SCALED, MASK, GROUP, "released")
    assert released[0].tolist() == approx([0.64236, 0.309027, -0.190972, 0.475694])
    outcome = ops.normalize(OUTCOME, GROUP, center="loo", scale="none")
    assert outcome.tolist() == approx([2 / 3, -2 / 3, -2 / 3, 2 / 3])
    returns = prime_returns(paper, outcome, MASK)
    assert returns[0].tolist() == approx([1.902776, 1.343749, 1.034722, 1.100694])
    assert returns[1].tolist() == approx([-1.048611, -1.107638, 0.0, 0.0])
    assert returns[2].tolist() == approx([-1.572916, -1.229166, -0.635417, 0.0])
    assert returns[3].tolist() == approx([1.402777, 1.374999, 1.097222, 0.819444])
    white = ops.whiten(returns, MASK)
    assert white[0].tolist() == approx([1.250992, 0.802111, 0.553971, 0.606945])
    assert white[2].tolist() == approx([-1.53988, -1.26386, -0.787098, 0.0])
    torch.testing.assert_close(returns[:, :-1][MASK[:, 1:]] - returns[:, 1:][MASK[:, 1:]], paper[:, :-1][MASK[:, 1:]])


def test_the_stage_composes_the_same() -> None:
    value = Rollouts(group=GROUP, mask=MASK, outcome=OUTCOME, tokens={"rewards": SCALED.float()})
    assert TokenLeaveOneOut()(value)[2].tolist() == pytest.approx([-1.53988, -1.26386, -0.787098, 0.0], abs=1e-5)
    nothing = value.with_tokens(rewards=torch.zeros(4, 4))
    torch.testing.assert_close(TokenLeaveOneOut(whiten=False)(nothing), LeaveOneOut()(nothing))
    with pytest.raises(ValueError, match="tokens has no 'other'"):
        TokenLeaveOneOut(rewards="other")(value)
    alone = value[[0]]
    with pytest.raises(ValueError, match="one valid element only"):
        TokenLeaveOneOut()(alone)
    assert not TokenLeaveOneOut(singleton="zero")(alone).any()


def loop(rewards: Tensor, mask: Tensor, group: Tensor, variant: str) -> Tensor:
    result = torch.zeros_like(rewards)
    for row in range(len(rewards)):
        mates = [j for j in range(len(rewards)) if group[j] == group[row] and mask[j].any()]
        if not mask[row].any():
            continue
        mean = {j: float(rewards[j][mask[j]].mean()) for j in mates}
        size = len(mates)
        others = sum(mean[j] for j in mates if j != row) / (size - 1)
        for t in mask[row].nonzero().flatten().tolist():
            value = float(rewards[row, t])
            if variant == "paper":
                result[row, t] = value - others
            else:
                result[row, t] = size / (size - 1) * value - sum(mean.values()) / (size - 1)
    return result


@given(st.integers(0, 2**31), st.sampled_from(["paper", "released"]))
def test_centring_equals_a_loop(seed: int, variant: str) -> None:
    generator = torch.Generator().manual_seed(seed)
    rewards = torch.randn(7, 5, generator=generator, dtype=torch.float64)
    mask = torch.rand(7, 5, generator=generator) < 0.6
    mask[:4, 0] = True  # two rows at least in both groups
    group = torch.tensor([3, 3, -1, -1, 3, -1, 3])
    rewards[~mask] = NAN
    found = token_leave_one_out(rewards, mask, group, variant)
    torch.testing.assert_close(found, loop(torch.nan_to_num(rewards), mask, group, variant))
    if variant == "paper":
        torch.testing.assert_close(token_leave_one_out(rewards + 5.0, mask, group), found)
        means = torch.stack([found[row][mask[row]].mean() for row in range(7) if mask[row].any()])
        kept = group[mask.any(1)]
        assert float(means[kept == 3].sum()) == pytest.approx(0.0, abs=1e-9)


def test_one_token_responses_agree_in_both_variants() -> None:
    rewards, mask = torch.tensor([[1.0], [2.0], [6.0]]), torch.ones(3, 1, dtype=torch.bool)
    paper, released = (token_leave_one_out(rewards, mask, GROUP[:3], variant) for variant in ("paper", "released"))
    torch.testing.assert_close(paper, released)


@pytest.mark.parametrize("gamma", [0.0, -0.1, 1.5])
def test_gamma_out_of_range(gamma: float) -> None:
    with pytest.raises(ValueError, match="gamma"):
        prime_returns(SCALED, OUTCOME, MASK, gamma)
    with pytest.raises(ValueError, match="gamma"):
        TokenLeaveOneOut(gamma=gamma)


@given(value=rollouts(binary=True))
def test_the_stage_on_anything(value: Rollouts) -> None:
    value = value.with_tokens(rewards=torch.ones(value.mask.shape).cumsum(1))
    found = TokenLeaveOneOut(singleton="zero")(value)
    assert torch.isfinite(found).all()
    assert not (found[~value.mask] != 0).any()
    assert not (found[~value.scored] != 0).any()
