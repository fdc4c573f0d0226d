"""PPO: its losses by hand, its advantages, and that it learns."""

from __future__ import annotations

import pytest
import torch

from guerdon.control.auxiliary_heads import StateReconstructionHead
from guerdon.control.car_ball_task import CarBallTask
from guerdon.control.ppo import ActorCritic, PPOSettings, Rollout, Transition, collect, minibatch_losses, update
from guerdon.control.worlds.car_ball import ACTIONS, OBJECT_FEATURES, OBJECTS, OWN_FEATURES, CarBall


class Signs:
    """The right action is the sign of the first feature; an episode is three steps long, or ends by a right answer."""

    def __init__(self, fields: int, timeout: bool = True) -> None:
        self.generator = torch.Generator().manual_seed(0)
        self.fields, self.timeout = fields, timeout
        self.clock = torch.zeros(fields, dtype=torch.int64)
        self.seen = self.draw()

    def draw(self) -> torch.Tensor:
        return torch.randn(self.fields, 3, generator=self.generator)

    def observe(self) -> torch.Tensor:
        return self.seen

    def act(self, actions: torch.Tensor) -> Transition:
        right = (actions == 1) == (self.seen[:, 0] > 0)
        self.clock += 1
        done = self.clock == 3
        self.clock[done] = 0
        after, self.seen = self.draw(), self.draw()
        return Transition(right.float(), done, done & self.timeout, after, self.seen)


def policy_of(seed: int = 0) -> ActorCritic:
    torch.manual_seed(seed)
    return ActorCritic(own=1, objects=1, features=2, actions=2)


def test_advantages_end_with_the_episode_and_timeouts_count_what_would_have_followed() -> None:
    rule = PPOSettings(horizon=7, gamma=0.9, lam=0.8)
    for timeout in (True, False):
        policy, world = policy_of(), Signs(5, timeout)
        seen: list[Transition] = []
        act = world.act
        world.act = lambda actions, act=act, seen=seen: seen.append(act(actions)) or seen[-1]  # type: ignore[method-assign, misc]
        rollout, starts = collect(
            world, policy, rule, torch.ones(5, dtype=torch.bool), torch.Generator().manual_seed(1)
        )
        assert rollout.starts[0].tolist() == [True, False, False, True, False, False, True]
        assert not starts.any()
        with torch.no_grad():
            value = [policy(rollout.observations[:, time])[1] for time in range(7)] + [policy(world.observe())[1]]
            after = [policy(moment.after)[1] for moment in seen]
        advantage = torch.zeros(5)
        for time in reversed(range(7)):
            ends = time in (2, 5)
            following = (after[time] if timeout else torch.zeros(5)) if ends else value[time + 1]
            delta = rollout.rewards[:, time] + 0.9 * following - value[time]
            advantage = delta + (0.0 if ends else 0.9 * 0.8) * advantage
            assert torch.allclose(rollout.advantages[:, time], advantage, atol=1e-5)
            assert torch.allclose(rollout.returns[:, time], advantage + value[time], atol=1e-5)


def test_losses_of_a_minibatch_by_hand() -> None:
    rule = PPOSettings(horizon=6, clip=0.2)
    policy = policy_of()
    rollout, _ = collect(Signs(4), policy, rule, torch.ones(4, dtype=torch.bool), torch.Generator().manual_seed(1))
    row, time = torch.tensor([0, 1, 3, 2]), torch.tensor([5, 0, 2, 2])
    other = policy_of(3)
    with torch.no_grad():
        other.actor[-1].weight.mul_(400)
    found = minibatch_losses(other, rollout, row, time, rule)
    law, value = other(rollout.observations[row, time])
    chosen = rollout.advantages[row, time]
    chosen = (chosen - chosen.mean()) / (chosen.std() + 1e-8)
    ratio = torch.exp(law[torch.arange(4), rollout.actions[row, time]] - rollout.logprobs[row, time])
    assert ((ratio < 0.8) | (ratio > 1.2)).any()
    surrogate = torch.minimum(ratio * chosen, ratio.clamp(0.8, 1.2) * chosen)
    assert float(found["policy"]) == pytest.approx(float(-surrogate.mean()), rel=1e-4)
    assert float(found["value"]) == pytest.approx(float((value - rollout.returns[row, time]).square().mean()), rel=1e-4)
    assert float(found["entropy"]) == pytest.approx(float(-(law.exp() * law).sum(1).mean()), rel=1e-4)


def test_it_learns() -> None:
    rule = PPOSettings(horizon=30, minibatch=150, learning_rate=1e-2, epochs=4)
    policy, world = policy_of(), Signs(20)
    optimiser = torch.optim.Adam(policy.parameters(), lr=rule.learning_rate)
    generator, starts = torch.Generator().manual_seed(2), torch.ones(20, dtype=torch.bool)
    rates = []
    for _ in range(15):
        rollout, starts = collect(world, policy, rule, starts, generator)
        rates.append(float(rollout.rewards.mean()))
        update(policy, optimiser, rollout, rule, generator)
    assert rates[0] < 0.65
    assert rates[-1] > 0.9


def trained(auxiliary: bool, coefficient: float) -> tuple[list[torch.Tensor], dict[str, float]]:
    rule = PPOSettings(horizon=8, minibatch=16, epochs=2, learning_rate=1e-3)
    task = CarBallTask(CarBall(4, seed=0))
    torch.manual_seed(0)
    policy = ActorCritic(OWN_FEATURES, OBJECTS, OBJECT_FEATURES, ACTIONS)
    head = StateReconstructionHead(policy, OBJECTS * OBJECT_FEATURES)
    parameters = [*policy.parameters(), *(head.parameters() if auxiliary else ())]
    optimiser = torch.optim.Adam(parameters, lr=rule.learning_rate)

    def loss(rollout: Rollout, row: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        return head.loss(rollout.observations[row, time])

    generator = torch.Generator().manual_seed(0)
    rollout, _ = collect(task, policy, rule, torch.ones(4, dtype=torch.bool), generator)
    extra = ((coefficient, loss),) if auxiliary else ()
    metrics = update(policy, optimiser, rollout, rule, generator, extra)
    return [parameter.detach().clone() for parameter in policy.parameters()], metrics


def test_a_coefficient_of_zero_is_plain_ppo_bit_for_bit() -> None:
    plain, metrics = trained(False, 0.0)
    without, _ = trained(True, 0.0)
    with_head, other = trained(True, 1.0)
    assert all(torch.equal(one, two) for one, two in zip(plain, without, strict=True))
    assert not all(torch.equal(one, two) for one, two in zip(plain, with_head, strict=True))
    assert set(metrics) == {"policy", "value", "entropy"}
    assert other["auxiliary_0"] > 0


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match=r"PPOSettings\.epochs is 0"):
        PPOSettings(epochs=0)
