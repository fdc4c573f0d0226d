"""The car and the ball as a task for `guerdon.control.ppo`: goals as events, and a potential of the chase.

A rlgym environment fits the same two methods, `observe` and `act`; see the page on this paper.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from guerdon.control.car_rewards import chase_components
from guerdon.control.ppo import Transition
from guerdon.control.worlds.car_ball import CarBall, State
from guerdon.shape.geometric_and import krc
from guerdon.shape.potential import shaping

POTENTIALS = ("none", "linear", "krc")


class CarBallTask:
    """Rewards of all fields: weighted goals, and the difference of a potential from one step to the next.

    The potential is of align, speed towards the ball and nearness to it: their mean ("linear"), or their signed
    geometric mean ("krc"). It is that of the state before a field starts anew, and 0 where a goal ended the episode, so
    that no policy gains by it.

    Attributes:
        world: The fields.
        goals: Goals at the right end so far.
        conceded: Goals at the wrong end so far.
    """

    def __init__(
        self,
        world: CarBall,
        potential: str = "krc",
        *,
        gamma: float = 0.99,
        weight: float = 0.5,
        goal: float = 1.0,
        concede: float = -0.3,
        density: float = 1.1,
    ) -> None:
        """A task.

        Args:
            world: The fields.
            potential: "none", "linear" or "krc".
            gamma: Discount of the shaping, that of the learner.
            weight: Of the potential.
            goal: Reward of a goal.
            concede: Reward of a goal at the wrong end.
            density: Of the nearness to the ball.

        Raises:
            ValueError: An unknown potential.
        """
        if potential not in POTENTIALS:
            raise ValueError(f"potential is {potential!r}: expected one of {POTENTIALS}")
        self.world, self.kind, self.gamma, self.weight = world, potential, gamma, weight
        self.goal, self.concede, self.density = goal, concede, density
        self.goals, self.conceded = 0, 0

    def observe(self) -> Tensor:
        """(N, 30) float32 observations of the present state."""
        return torch.from_numpy(self.world.observe(self.world.state)).float()

    def act(self, actions: Tensor) -> Transition:
        """Take (N,) actions."""
        before = self.potential(self.world.state)
        moment = self.world.step(actions.numpy())
        scored, timeout = torch.from_numpy(moment.goal), torch.from_numpy(moment.timeout)
        events = self.goal * (scored > 0) + self.concede * (scored < 0)
        hint = shaping(self.potential(moment.after), before, self.gamma, terminal_zero=scored != 0)
        self.goals += int((scored > 0).sum())
        self.conceded += int((scored < 0).sum())
        return Transition(
            reward=(events + self.weight * hint).float(),
            done=torch.from_numpy(moment.done),
            timeout=timeout,
            after=torch.from_numpy(self.world.observe(moment.after)).float(),
            observation=self.observe(),
        )

    def components(self, state: State) -> Tensor:
        """(N, 3) float64: align, speed towards the ball, nearness to it."""
        pitch = self.world.pitch
        back = torch.tensor([0.0, pitch.goal_back], dtype=torch.float64)
        velocity = torch.from_numpy(np.ascontiguousarray(state.car_velocity))
        return chase_components(
            torch.from_numpy(state.car),
            velocity,
            torch.from_numpy(state.ball),
            -back,
            back,
            density=self.density,
            top_speed=pitch.car_speed,
            radius=pitch.ball_radius,
        )

    def potential(self, state: State) -> Tensor:
        """(N,) float64."""
        if self.kind == "none":
            return torch.zeros(len(state.heading), dtype=torch.float64)
        parts = self.components(state)
        return krc(parts) if self.kind == "krc" else parts.mean(-1)
