"""The advantage of an episode plus that of each of its steps (OPRL, arXiv 2509.19199).

The released code takes the mean and spread of step rewards over the first step of every trajectory only; that is
`compat="official"`. The paper's equation, the default, takes all steps of the group.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from guerdon import ops
from guerdon.credit.streams import Stream, added_advantage, added_over_tokens
from guerdon.rollouts import Rollouts

EPISODES = ("grpo", "rloo", "reinforce_pp")
COMPAT = ("paper", "official")


def oprl_advantages(
    outcomes: Tensor,
    step_rewards: Tensor,
    step_mask: Tensor,
    group_ids: Tensor,
    alpha: float = 1.0,
    episode: str = "grpo",
    *,
    compat: str = "paper",
    ddof: int = 1,
    eps: float = 1e-6,
) -> Tensor:
    """Advantage of the episode plus alpha times the advantage of the step among all steps of the group.

    Args:
        outcomes: (B,) float; NaN rows take no part, with their steps, and get 0.
        step_rewards: (B, S) float; NaN steps take no part and get the episode's advantage only.
        step_mask: (B, S) bool, steps that exist.
        group_ids: (B,) int64.
        alpha: Weight of the steps, 0 or more.
        episode: "grpo" = mean and standard deviation of the group, "rloo" = minus the mean of the others (0 for a group
            of one), "reinforce_pp" = mean and standard deviation of the batch.
        compat: "paper" or "official", see the module.
        ddof: Degrees of freedom taken off in the standard deviations.
        eps: Is added to them.

    Returns:
        (B, S) of the dtype of `outcomes`, NaN where no step exists.

    Raises:
        ValueError: A negative alpha, an unknown choice, or wrong shapes.
    """
    streams = _streams(outcomes, step_rewards, step_mask, group_ids, episode, compat, ddof, eps)
    return added_advantage(streams, [1.0, _checked(alpha)])


def _checked(alpha: float) -> float:
    if not alpha >= 0.0:
        raise ValueError(f"alpha is {alpha}: expected 0 or more")
    return alpha


def _streams(
    outcomes: Tensor,
    step_rewards: Tensor,
    step_mask: Tensor,
    group: Tensor,
    episode: str,
    compat: str,
    ddof: int,
    eps: float,
) -> list[Stream]:
    if episode not in EPISODES or compat not in COMPAT:
        raise ValueError(f"episode is {episode!r}, compat is {compat!r}: expected one of {EPISODES}, of {COMPAT}")
    if step_rewards.shape != step_mask.shape or step_rewards.shape[:1] != outcomes.shape:
        shapes = tuple(outcomes.shape), tuple(step_rewards.shape), tuple(step_mask.shape)
        raise ValueError(f"outcomes, step_rewards, step_mask have the shapes {shapes}: expected (B,), (B, S), (B, S)")
    key = torch.zeros_like(group) if episode == "reinforce_pp" else group
    loo = episode == "rloo"
    whole = Stream(outcomes, key, center="loo" if loo else "mean", scale="none" if loo else "group", ddof=ddof, eps=eps)
    rewards = torch.where(step_mask & ~torch.isnan(outcomes)[:, None], step_rewards.to(outcomes.dtype), torch.nan)
    if compat == "official":
        rewards = _by_first_steps(rewards, step_mask, group, ddof, eps)
        steps = Stream(rewards, group, "step", exists=step_mask, center="none", scale="none")
    else:
        steps = Stream(rewards, group, "step", exists=step_mask, ddof=ddof, eps=eps)
    return [whole, steps]


def _by_first_steps(rewards: Tensor, step_mask: Tensor, group: Tensor, ddof: int, eps: float) -> Tensor:
    """Step rewards by the mean and standard deviation of the rows' first steps; a group of one by 0 and 1."""
    is_first = step_mask & (step_mask.cumsum(1) == 1)
    first = ops.aggregate(torch.where(is_first, rewards, torch.nan), "sum")
    number = ops.count(first, group)
    mean = torch.where(number > 1, ops.mean(first, group), 0.0)
    deviation = torch.where(number > 1, ops.std(first, group, ddof), 1.0)
    return (rewards - mean[:, None]) / (deviation + eps)[:, None]


@dataclass(frozen=True)
class EpisodeAndStep:
    """Advantage of the episode plus that of each step (OPRL, arXiv 2509.19199).

    Policy tokens that belong to no step get the episode's advantage. Rows that could not be scored get 0.

    Attributes:
        alpha: Weight of the steps.
        episode: "grpo", "rloo" or "reinforce_pp"; see `oprl_advantages`.
        compat: "paper" or "official".
        ddof: Degrees of freedom taken off in the standard deviations.
        eps: Is added to them.
    """

    alpha: float = 1.0
    episode: str = "grpo"
    compat: str = "paper"
    ddof: int = 1
    eps: float = 1e-6
    reads: ClassVar[tuple[str, ...]] = ("outcome", "process", "step", "group", "mask")
    writes: ClassVar[tuple[str, ...]] = ("advantages",)

    def __post_init__(self) -> None:
        _checked(self.alpha)
        for name, allowed in (("episode", EPISODES), ("compat", COMPAT)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"EpisodeAndStep.{name} is {getattr(self, name)!r}: expected one of {allowed}")

    def __call__(self, rollouts: Rollouts) -> Tensor:
        """Return (B, T) advantages."""
        exists = rollouts.step_exists
        streams = _streams(
            rollouts.outcome,
            rollouts.process,
            exists,
            rollouts.group,
            self.episode,
            self.compat,
            self.ddof,
            self.eps,
        )
        mask = rollouts.mask & rollouts.scored[:, None]
        return added_over_tokens(streams, [1.0, self.alpha], rollouts.step, mask).to(torch.float32)
