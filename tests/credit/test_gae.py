"""Estimation along the response: turns with ends and bonuses, targets, step rewards, and joint whitening."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Rollouts, ops
from guerdon.credit import GAE, gae_returns, process_on_tokens, token_rewards
from tests.strategies import NAN, rollouts

REWARDS = torch.tensor([0.0, 0.0, -1.0], dtype=torch.float64)
VALUES = torch.tensor([2.0, 1.0, 3.0], dtype=torch.float64)
CONTINUES = torch.tensor([1, 1, 0])
FORMAT = torch.tensor([5.0, 0.0, 5.0], dtype=torch.float64)


def test_returns_of_a_stream_of_turns() -> None:
    found = gae_returns(REWARDS, VALUES, 7.0, CONTINUES, FORMAT, 0.9, 0.95)
    assert found.tolist() == pytest.approx([4.4294, -0.72, 4.0], abs=5e-5)
    plain = gae_returns(REWARDS, VALUES, 7.0, CONTINUES, None, 0.9, 0.95)
    torch.testing.assert_close(found - FORMAT, plain)


@given(st.integers(0, 2**31), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_stream_equals_a_loop(seed: int, gamma: float, lam: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    rewards, values = (torch.randn(8, generator=generator, dtype=torch.float64) for _ in range(2))
    goes_on = torch.rand(8, generator=generator) < 0.7
    found = gae_returns(rewards, values, 0.3, goes_on, None, gamma, lam)
    later, running = 0.3, 0.0
    for t in reversed(range(8)):
        on = float(goes_on[t])
        delta = float(rewards[t]) + gamma * later * on - float(values[t])
        running = delta + gamma * lam * on * running
        later = float(values[t])
        assert float(found[t]) == pytest.approx(running + later, abs=1e-9)


def turns() -> Rollouts:
    return Rollouts(
        group=[0, 0],
        mask=[[1, 1, 0, 1, 1], [1, 1, 1, 1, 1]],
        step=[[0, 0, -1, 1, 2], [0, 1, 1, -1, -1]],
        outcome=[-1.0, NAN],
        process=[[0.0, 0.0, NAN], [1.0, 1.0, NAN]],
        steps={
            "values": torch.tensor([[2.0, 1.0, 3.0], [0.0, 0.0, 0.0]]),
            "format": torch.tensor([[1, 0, 1], [1, 1, 1]]),
            "done": torch.tensor([[0, 0, 1], [0, 1, 0]]),
        },
        columns={"bootstrap": [7.0, 0.0]},
    )


def test_turns_of_a_row() -> None:
    stage = GAE(gamma=0.9, lam=0.95, level="turn", format_bonus=5.0, whiten=False)
    advantages, returns = stage.advantages_and_returns(turns())
    assert returns[0].tolist() == pytest.approx([4.4294, 4.4294, 0.0, -0.72, 4.0], abs=5e-5)
    assert advantages[0].tolist() == pytest.approx([2.4294, 2.4294, 0.0, -1.72, 1.0], abs=5e-5)
    assert not advantages[1].any()
    white = GAE(gamma=0.9, lam=0.95, level="turn", format_bonus=5.0, whiten_eps=1e-5)(turns())
    assert white[0].tolist() == pytest.approx([0.8822, 0.8822, 0.0, -1.0863, 0.2041], abs=5e-5)
    assert stage.reads == ("outcome", "process", "step", "mask", "steps/values", "steps/format")


def test_a_bonus_stays_in_its_own_turn() -> None:
    value = turns()
    stage = GAE(gamma=0.9, lam=0.95, level="turn", format_bonus=5.0, whiten=False)
    more = value.with_steps(format=torch.tensor([[1, 0, 0], [1, 1, 1]]))
    change = (stage(value) - stage(more))[0]
    assert change.tolist() == pytest.approx([0.0, 0.0, 0.0, 0.0, 5.0], abs=1e-5)


def test_token_rewards_of_steps_and_kl() -> None:
    value = Rollouts(
        group=[0],
        mask=[[1, 1, 1, 1, 1]],
        step=[[0, 0, 1, 2, 2]],
        outcome=[1.0],
        process=[[0.0, 4 / 6, 1.0]],
        tokens={"values": torch.full((1, 5), 0.5)},
    )
    assert process_on_tokens(value)[0].tolist() == pytest.approx([0.0, 0.0, 4 / 6, 0.0, 1.0])
    stepped = value.replace(step=[[0, 0, 1, 1, 2]], process=[[4 / 6, 1.0, NAN]])
    advantages, returns = GAE(lam=0.95, use_process=True, whiten=False).advantages_and_returns(stepped)
    assert advantages[0].tolist() == pytest.approx([1.897961, 1.997854, 1.401250, 1.475000, 0.5], abs=1e-5)
    assert returns[0].tolist() == pytest.approx([2.397961, 2.497854, 1.901250, 1.975000, 1.0], abs=1e-5)
    penal = Rollouts(group=[0], mask=[[1, 1]], outcome=[-0.5], logprobs=[[-1.0, -1.0]], ref_logprobs=[[-2.0, -1.0]])
    assert token_rewards(penal, 0.01)[0].tolist() == pytest.approx([-0.01, -0.5])
    k2 = token_rewards(penal, 0.01, "k2")
    assert k2[0].tolist() == pytest.approx([-0.005, -0.5])


def test_kl_kind_reaches_the_rewards() -> None:
    value = Rollouts(
        group=[0],
        mask=[[1, 1]],
        outcome=[0.0],
        logprobs=[[-1.0, -1.0]],
        ref_logprobs=[[-2.0, -1.0]],
        tokens={"values": torch.zeros(1, 2)},
    )
    for kind, size in (("k1", 1.0), ("k2", 0.5), ("k3", float(torch.exp(torch.tensor(-1.0))))):
        found = GAE(kl_coef=0.1, kl_kind=kind, whiten=False)(value)
        assert float(found[0, 0]) == pytest.approx(-0.1 * size)


def test_plain_reward_to_go_as_target() -> None:
    value = Rollouts(group=[0], mask=[[1, 1, 1]], outcome=[2.0], tokens={"values": torch.tensor([[0.1, 0.2, 0.3]])})
    stage = GAE(gamma=0.5, lam=0.3, whiten=False, targets="reward_to_go")
    advantages, returns = stage.advantages_and_returns(value)
    assert returns[0].tolist() == pytest.approx([0.5, 1.0, 2.0])
    torch.testing.assert_close(advantages, GAE(gamma=0.5, lam=0.3, whiten=False)(value))


def test_episode_ends_and_bootstrap_on_tokens() -> None:
    value = Rollouts(
        group=[0],
        mask=[[1, 1, 1]],
        outcome=[0.0],
        tokens={"values": torch.tensor([[1.0, 1.0, 1.0]]), "done": torch.tensor([[0, 1, 0]])},
        columns={"bootstrap": [9.0]},
    )
    found = GAE(whiten=False, gamma=0.5)(value)
    assert found[0].tolist() == pytest.approx([-1.0, -1.0, 3.5])


def test_whitening_is_joint_and_after_the_returns() -> None:
    value = Rollouts(
        group=[0, 1, 2],
        mask=torch.ones(3, 2, dtype=torch.bool),
        outcome=[1.0, 0.0, NAN],
        tokens={"values": torch.tensor([[0.5, 0.5], [0.5, 0.1], [3.0, 3.0]])},
    )
    advantages, returns = GAE().advantages_and_returns(value)
    plain, same = GAE(whiten=False).advantages_and_returns(value)
    assert returns.equal(same)
    usable = value.mask & value.scored[:, None]
    torch.testing.assert_close(advantages, ops.whiten(plain, usable))
    torch.testing.assert_close((plain + value.tokens["values"])[:2], returns[:2])


def test_refusals() -> None:
    for options in ({"level": "step"}, {"targets": "mc"}, {"format_bonus": 1.0}, {"level": "turn", "kl_coef": 0.1}):
        with pytest.raises(ValueError, match=r"GAE\."):
            GAE(**options)  # type: ignore[arg-type]
    value = turns()
    with pytest.raises(ValueError, match='steps has no "values"'):
        GAE(level="turn")(value.replace(steps={}))
    with pytest.raises(ValueError, match='steps has no "format"'):
        GAE(level="turn", format_bonus=1.0)(value.replace(steps={"values": value.steps["values"]}))
    with pytest.raises(ValueError, match="expected the same"):
        gae_returns(REWARDS, VALUES, 0.0, CONTINUES[:2], None, 1.0, 1.0)


@pytest.mark.parametrize("level", ["token", "turn"])
@given(value=rollouts(binary=True))
def test_the_stage_on_anything(level: str, value: Rollouts) -> None:
    value = value.replace(
        tokens={"values": torch.randn(value.mask.shape)}, steps={"values": torch.randn(value.process.shape)}
    )
    advantages, returns = GAE(0.9, 0.9, level=level).advantages_and_returns(value)
    for found in (advantages, returns):
        assert torch.isfinite(found).all()
        assert found.dtype == torch.float32
        assert not (found[~value.mask] != 0).any()
        assert not (found[~value.scored] != 0).any()
