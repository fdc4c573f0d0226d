"""A grid with a goal in one corner, and a heuristic that helps or misleads.

The goal pays once and ends the episode. The heuristic pays in every step: less the farther from the goal ("distance"),
or for standing in another corner ("corner"), where more is to be had than at the goal.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from guerdon.control.bilevel import Episodes

HEURISTICS = ("distance", "corner")


@dataclass(frozen=True)
class MisleadingGrid:
    """The grid; the start is the corner (0, 0), the goal (size - 1, size - 1), the other corner (0, size - 1).

    Rewards are counted in hundreds, so that the goal pays 1.

    Attributes:
        heuristic: "distance" or "corner".
        size: Cells of a side.
        horizon: Steps of an episode.
        gamma: The true discount.
        strength: What the heuristic pays at most in a step.
    """

    heuristic: str = "distance"
    size: int = 8
    horizon: int = 60
    gamma: float = 0.99
    strength: float = 0.05

    def __post_init__(self) -> None:
        if self.heuristic not in HEURISTICS:
            raise ValueError(f"heuristic is {self.heuristic!r}: expected one of {HEURISTICS}")
        if self.size < 2 or self.horizon < 1 or not 0 <= self.gamma < 1:
            raise ValueError(f"size {self.size}, horizon {self.horizon}, gamma {self.gamma}: a number is out of range")

    @property
    def states(self) -> int:
        """Cells."""
        return self.size**2

    @property
    def goal(self) -> int:
        """The last cell."""
        return self.states - 1

    @cached_property
    def following(self) -> Tensor:
        """(S, 4) int64: where the moves up, down, left and right lead; walls hold one in place."""
        cell = torch.arange(self.states)
        row, column = cell // self.size, cell % self.size
        moves = ((-1, 0), (1, 0), (0, -1), (0, 1))
        rows = torch.stack([(row + down).clamp(0, self.size - 1) for down, _ in moves], 1)
        columns = torch.stack([(column + right).clamp(0, self.size - 1) for _, right in moves], 1)
        return rows * self.size + columns

    @cached_property
    def auxiliary(self) -> Tensor:
        """(S,) float64: what the heuristic pays for arriving in a cell."""
        cell = torch.arange(self.states)
        if self.heuristic == "corner":
            return self.strength * (cell == self.size - 1).double()
        steps = 2 * (self.size - 1) - cell // self.size - cell % self.size
        return -self.strength * steps.double() / (2 * (self.size - 1))

    def logprobs(self, theta: Tensor, episodes: Episodes) -> Tensor:
        """(B, T) log-probabilities of the actions taken, by a table of logits (S * 4,)."""
        return torch.log_softmax(theta.reshape(self.states, 4), -1)[episodes.state, episodes.action]

    def sample(self, theta: Tensor, number: int, generator: torch.Generator) -> Episodes:
        """Sample episodes; they end at the goal or after `horizon` steps."""
        law = torch.softmax(theta.detach().reshape(self.states, 4), -1)
        state = torch.zeros(number, dtype=torch.int64)
        seen, taken, reached = [], [], []
        for _ in range(self.horizon):
            action = torch.multinomial(law[state], 1, generator=generator)[:, 0]
            seen.append(state)
            taken.append(action)
            state = torch.where(state == self.goal, state, self.following[state, action])
            reached.append(state)
        states, actions, after = (torch.stack(part, 1) for part in (seen, taken, reached))
        mask = states != self.goal
        primary = (mask & (after == self.goal)).double()
        return Episodes(states, actions, primary, torch.where(mask, self.auxiliary[after], 0.0), mask)

    def share(self, theta: Tensor) -> float:
        """The exact discounted primary return of a policy, as a share of the best one's."""
        law = torch.softmax(theta.detach().double().reshape(self.states, 4), -1)
        arrives = (self.following == self.goal).double()
        values = torch.zeros(self.states, dtype=torch.float64)
        for _ in range(self.horizon):
            values = (law * (arrives + self.gamma * values[self.following])).sum(1)
            values[self.goal] = 0.0
        return float(values[0]) / self.gamma ** (2 * self.size - 3)
