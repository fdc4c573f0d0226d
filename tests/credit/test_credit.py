"""Credit stages by hand, against TRL's and verl's formulas, and on degenerate input."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given

from guerdon import Rollouts
from guerdon.credit import GAE, GroupNormalized, LeaveOneOut, ReinforcePlusPlus, StepNormalized
from tests.strategies import NAN, rollouts

ALL = [GroupNormalized(), GroupNormalized(scale="batch"), GroupNormalized(scale="none"), LeaveOneOut(singleton="zero")]
ALL += [StepNormalized(), StepNormalized(accumulate=False, scale="none"), ReinforcePlusPlus(gamma=0.9)]


def two_groups(outcome: list[float]) -> Rollouts:
    return Rollouts(group=[0, 0, 1, 1], mask=torch.ones(4, 2, dtype=torch.bool), outcome=outcome)


def test_group_normalized_and_leave_one_out_by_hand() -> None:
    value = two_groups([1.0, 0.0, 1.0, NAN])
    assert GroupNormalized(eps=0.0)(value)[:, 0].tolist() == pytest.approx([0.5**0.5, -(0.5**0.5), 0.0, 0.0])
    assert GroupNormalized(singleton="raw")(value)[2].tolist() == [1.0, 1.0]
    assert LeaveOneOut(singleton="zero")(value)[:, 0].tolist() == [1.0, -1.0, 0.0, 0.0]
    with pytest.raises(ValueError, match="one valid element only, in row 2"):
        LeaveOneOut()(value)


@pytest.mark.parametrize("stage", ALL, ids=repr)
@given(value=rollouts(binary=True))
def test_advantages_are_finite_zero_outside_the_mask_and_for_unscored_rows(stage: object, value: Rollouts) -> None:
    advantages = stage(value)  # type: ignore[operator]
    assert advantages.shape == value.mask.shape
    assert advantages.dtype == torch.float32
    assert torch.isfinite(advantages).all()
    assert not (advantages[~value.mask] != 0).any()
    if not isinstance(stage, StepNormalized):
        assert not (advantages[~value.scored] != 0).any()


def test_step_normalized_is_reward_to_go_of_normalised_steps() -> None:
    value = Rollouts(
        group=[0, 0],
        mask=[[1, 1, 1, 1], [1, 1, 0, 0]],
        step=[[0, 0, 1, -1], [0, 1, -1, -1]],
        process=[[1.0, 0.0], [0.0, 1.0]],
    )
    unit = 0.5 / (1 / 3) ** 0.5
    result = StepNormalized(eps=0.0)(value)
    assert result[0].tolist() == pytest.approx([0.0, 0.0, -unit, 0.0], abs=1e-6)
    assert result[1].tolist() == pytest.approx([0.0, unit, 0.0, 0.0], abs=1e-6)
    own = StepNormalized(eps=0.0, accumulate=False)(value)
    assert own[0].tolist() == pytest.approx([unit, unit, -unit, 0.0], abs=1e-6)


def test_gae_needs_values_and_gives_returns() -> None:
    value = two_groups([1.0, 0.0, 1.0, NAN])
    with pytest.raises(ValueError, match='tokens has no "values"'):
        GAE()(value)
    value = value.with_tokens(values=torch.full((4, 2), 0.5))
    advantages, returns = GAE(gamma=0.9, lam=0.5, whiten=False).advantages_and_returns(value)
    last, first = 1.0 - 0.5, 0.9 * 0.5 - 0.5 + 0.9 * 0.5 * (1.0 - 0.5)
    assert advantages[0].tolist() == pytest.approx([first, last])
    assert returns[0].tolist() == pytest.approx([first + 0.5, last + 0.5])
    assert advantages[3].tolist() == [0.0, 0.0]
    assert float(GAE()(value)[value.scored].mean()) == pytest.approx(0.0, abs=1e-6)


def test_reinforce_plus_plus_places_the_outcome_at_the_end() -> None:
    value = two_groups([1.0, 0.0, 3.0, NAN])
    returns = torch.tensor([0.5, 1.0, 0.0, 0.0, 1.5, 3.0])
    expected = (returns - returns.mean()) / torch.sqrt(returns.var() + 1e-8)
    assert ReinforcePlusPlus(gamma=0.5)(value)[:3].flatten().tolist() == pytest.approx(expected.tolist(), abs=1e-5)


def test_kl_in_the_reward() -> None:
    value = two_groups([1.0, 0.0, 3.0, 1.0])
    with pytest.raises(ValueError, match="expected logprobs and ref_logprobs"):
        ReinforcePlusPlus(kl_coef=0.1)(value)
    value = value.replace(logprobs=torch.zeros(4, 2), ref_logprobs=-torch.ones(4, 2))
    from guerdon.credit import token_rewards

    assert token_rewards(value, 0.1)[0].tolist() == pytest.approx([-0.1, 0.9])


class TestVerl:
    """Equality with verl's own functions, where it is installed."""

    @staticmethod
    def algos():  # type: ignore[no-untyped-def]
        return pytest.importorskip("verl.trainer.ppo.core_algos", reason="verl is not installed (extra verl)")

    def test_gae(self) -> None:
        algos = self.algos()
        rewards, values = torch.randn(6, 20), torch.randn(6, 20)
        mask = torch.arange(20)[None] < torch.randint(1, 21, (6, 1))
        theirs, their_returns = algos.compute_gae_advantage_return(rewards * mask, values, mask.float(), 0.97, 0.9)
        from guerdon import ops

        advantages, returns = ops.gae(rewards, values, mask, 0.97, 0.9)
        torch.testing.assert_close(returns, their_returns * mask, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(ops.whiten(advantages, mask), theirs * mask, atol=1e-4, rtol=1e-4)
