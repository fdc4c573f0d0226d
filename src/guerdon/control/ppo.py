"""Proximal policy optimisation in vectorised worlds, from the library's own pieces (arXiv 1707.06347).

Advantages are `guerdon.ops.gae`, the loss is `guerdon.objective.clipped_surrogate` with `squared_value_error`. A world
is anything that gives `Transition`s; auxiliary losses are added to the loss of every minibatch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from guerdon import ops
from guerdon.objective import clipped_surrogate
from guerdon.objective.value_loss import squared_value_error


@dataclass(frozen=True)
class PPOSettings:
    """The hyper-parameters, with the defaults of stable-baselines3 where the paper of 2305.15801 names none.

    Attributes:
        horizon: Steps of every field before an update.
        epochs: Passes over a rollout.
        minibatch: Steps of an optimiser step.
        learning_rate: Of Adam.
        gamma: Discount.
        lam: Lambda of the advantages.
        clip: How far the ratio may move from 1.
        entropy: Weight of the policy's entropy.
        value: Weight of the value loss.
        max_norm: Gradients are clipped to this norm.
    """

    horizon: int = 128
    epochs: int = 10
    minibatch: int = 4000
    learning_rate: float = 1e-4
    gamma: float = 0.99
    lam: float = 0.95
    clip: float = 0.2
    entropy: float = 0.01
    value: float = 0.5
    max_norm: float = 0.5

    def __post_init__(self) -> None:
        for name in ("horizon", "epochs", "minibatch"):
            if getattr(self, name) < 1:
                raise ValueError(f"PPOSettings.{name} is {getattr(self, name)}: expected at least 1")


@dataclass(frozen=True)
class Transition:
    """What N actions led to.

    Attributes:
        reward: (N,) float.
        done: (N,) bool, the episode ended.
        timeout: (N,) bool, it ended for lack of time only.
        after: (N, O) observations that the actions led to.
        observation: (N, O) observations to act on next: of new episodes where `done`.
    """

    reward: Tensor
    done: Tensor
    timeout: Tensor
    after: Tensor
    observation: Tensor


class World(Protocol):
    """N fields in which N actors act at once."""

    def observe(self) -> Tensor:
        """(N, O) float32 observations."""
        ...

    def act(self, actions: Tensor) -> Transition:
        """Take (N,) int64 actions."""
        ...


class ActorCritic(nn.Module):
    """Two layers of 64 units each for the actor and the critic, over the player and the objects around it.

    The first layer embeds the player and every object by itself and adds them up; auxiliary heads share it.
    """

    def __init__(self, own: int, objects: int, features: int, actions: int, width: int = 64) -> None:
        """Networks for observations of `own` numbers of the player, then `features` of each of `objects` objects."""
        super().__init__()
        self.own, self.count, self.features, self.width = own, objects, features, width
        self.query = nn.Linear(own, width)
        self.keys = nn.Linear(features, width)
        self.places = nn.Parameter(torch.zeros(objects, width))
        nn.init.normal_(self.places, std=0.1)
        self.actor = nn.Sequential(nn.Linear(width * (objects + 1), width), nn.Tanh(), nn.Linear(width, actions))
        size = own + objects * features
        self.critic = nn.Sequential(
            nn.Linear(size, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1)
        )
        last = self.actor[-1]
        assert isinstance(last, nn.Linear)
        with torch.no_grad():
            last.weight.mul_(0.01)

    def objects(self, observations: Tensor) -> Tensor:
        """(..., objects * features) of the observations."""
        return observations[..., self.own :]

    def embed(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """(..., width) of the player and (..., objects, width)."""
        around = self.objects(observations).reshape(*observations.shape[:-1], self.count, self.features)
        query: Tensor = torch.tanh(self.query(observations[..., : self.own]))
        keys: Tensor = torch.tanh(self.keys(around) + self.places)
        return query, keys

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """(..., actions) log-probabilities and (...) values."""
        query, keys = self.embed(observations)
        logits = self.actor(torch.cat((query, keys.flatten(-2)), dim=-1))
        return torch.log_softmax(logits, dim=-1), self.critic(observations).squeeze(-1)


@dataclass(frozen=True)
class Rollout:
    """N fields over T steps.

    Attributes:
        observations: (N, T, O).
        actions: (N, T) int64.
        logprobs: (N, T) of the actions when they were taken.
        rewards: (N, T), without any value of what follows.
        advantages: (N, T).
        returns: (N, T).
        starts: (N, T) bool, an episode starts here.
    """

    observations: Tensor
    actions: Tensor
    logprobs: Tensor
    rewards: Tensor
    advantages: Tensor
    returns: Tensor
    starts: Tensor


AuxiliaryLoss = Callable[[Rollout, Tensor, Tensor], Tensor]
"""(rollout, (M,) fields, (M,) times of a minibatch) -> scalar loss."""


def collect(
    world: World, policy: ActorCritic, settings: PPOSettings, starts: Tensor, generator: torch.Generator
) -> tuple[Rollout, Tensor]:
    """Act for a horizon.

    Args:
        world: The fields.
        policy: Who acts.
        settings: The hyper-parameters.
        starts: (N,) bool, whose episode starts now.
        generator: Of the actions.

    Returns:
        The rollout, and whose episode starts after it.
    """
    kept: dict[str, list[Tensor]] = {name: [] for name in ("o", "a", "l", "r", "v", "d", "s", "extra")}
    observation = world.observe()
    with torch.no_grad():
        for _ in range(settings.horizon):
            law, value = policy(observation)
            action = torch.multinomial(law.exp(), 1, generator=generator)
            seen = world.act(action[:, 0])
            # Where only time ran out, what would have followed counts by its value.
            extra = torch.zeros_like(value)
            if seen.timeout.any():
                extra[seen.timeout] = settings.gamma * policy(seen.after[seen.timeout])[1]
            step = (
                observation,
                action[:, 0],
                law.gather(1, action)[:, 0],
                seen.reward,
                value,
                seen.done,
                starts,
                extra,
            )
            for name, item in zip(kept, step, strict=True):
                kept[name].append(item)
            observation, starts = seen.observation, seen.done
        bootstrap = policy(observation)[1]
    stacked = {name: torch.stack(items, dim=1) for name, items in kept.items()}
    advantages, returns = ops.gae(
        stacked["r"] + stacked["extra"],
        stacked["v"],
        torch.ones_like(stacked["d"]),
        settings.gamma,
        settings.lam,
        bootstrap,
        stacked["d"],
    )
    rollout = Rollout(
        observations=stacked["o"],
        actions=stacked["a"],
        logprobs=stacked["l"],
        rewards=stacked["r"],
        advantages=advantages,
        returns=returns,
        starts=stacked["s"],
    )
    return rollout, starts


def update(
    policy: ActorCritic,
    optimiser: torch.optim.Optimizer,
    rollout: Rollout,
    settings: PPOSettings,
    generator: torch.Generator,
    auxiliary: Sequence[tuple[float, AuxiliaryLoss]] = (),
) -> dict[str, float]:
    """Some epochs of minibatches with the clipped loss, the value loss, the entropy and auxiliary losses.

    Args:
        policy: What is trained.
        optimiser: Over everything that is trained; all of it is clipped together.
        rollout: What was collected.
        settings: The hyper-parameters.
        generator: Of the order.
        auxiliary: Coefficients and losses; those with coefficient 0 are not computed.

    Returns:
        Means over the minibatches of the losses and the entropy.
    """
    fields, steps = rollout.actions.shape
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    totals: dict[str, float] = {}
    batches = 0
    for _ in range(settings.epochs):
        for chosen in torch.split(torch.randperm(fields * steps, generator=generator), settings.minibatch):
            row, time = chosen // steps, chosen % steps
            losses = minibatch_losses(policy, rollout, row, time, settings)
            loss = losses["policy"] + settings.value * losses["value"] - settings.entropy * losses["entropy"]
            for number, (coefficient, extra) in enumerate(auxiliary):
                if coefficient != 0:
                    losses[f"auxiliary_{number}"] = extra(rollout, row, time)
                    loss = loss + coefficient * losses[f"auxiliary_{number}"]
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(parameters, settings.max_norm)
            optimiser.step()
            batches += 1
            for name, value in losses.items():
                totals[name] = totals.get(name, 0.0) + float(value.detach())
    return {name: total / batches for name, total in totals.items()}


def minibatch_losses(
    policy: ActorCritic, rollout: Rollout, row: Tensor, time: Tensor, settings: PPOSettings
) -> dict[str, Tensor]:
    """The clipped loss with the minibatch's advantages normalised, the mean squared error of values, the entropy."""
    law, value = policy(rollout.observations[row, time])
    advantage = ops.normalize(rollout.advantages[row, time], torch.zeros_like(row), eps=1e-8)
    log_ratio = law.gather(1, rollout.actions[row, time][:, None])[:, 0] - rollout.logprobs[row, time]
    clipped = clipped_surrogate(log_ratio[None], advantage[None], clip_low=settings.clip, clip_high=settings.clip)
    return {
        "policy": clipped.mean(),
        "value": 2.0 * squared_value_error(value, rollout.returns[row, time], None, None).mean(),
        "entropy": ops.token_entropy(law[None], chunk=len(law)).mean(),
    }
