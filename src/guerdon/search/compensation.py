"""Training later, and less and less often, on responses that were not trained on at once (arXiv 2509.25958)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from guerdon.batch import Batch
from guerdon.search.replay_buffer import ReplayBuffer, waiting_rows
from guerdon.select import compensation_probability

WAITING = ("long correct", "short incorrect")
"""The reasons of `guerdon.select.Recompose` for which a row waits."""


@dataclass
class Compensation:
    """Keeps the rows that wait, and says after each step whether some of them are trained on, and which.

    Attributes:
        total: Steps over which the probability falls along half a cosine.
        count: Rows of a compensation batch; None = as many as the step before trained on.
        start: Probability at step 0.
        end: Probability from `total` on.
        capacity: Most rows that wait, the oldest go first; None = no limit.
        max_age: Rows go that have waited for more than so many steps; None = no limit.
        reasons: Rows wait that were left out for one of these reasons.
        seed: Of the draws.
    """

    total: int
    count: int | None = None
    start: float = 1.0
    end: float = 0.0
    capacity: int | None = None
    max_age: int | None = 8
    reasons: tuple[str, ...] = WAITING
    seed: int = 0
    buffer: ReplayBuffer = field(init=False, repr=False)
    _generator: torch.Generator = field(init=False, repr=False)

    def __post_init__(self) -> None:
        compensation_probability(0, self.total, self.start, self.end)
        if self.count is not None and self.count < 1:
            raise ValueError(f"Compensation.count is {self.count}: expected at least 1, or None")
        self.buffer = ReplayBuffer(self.capacity, max_age=self.max_age)
        self._generator = torch.Generator().manual_seed(self.seed)

    def after(self, batch: Batch, step: int, draw: float | None = None) -> Batch | None:
        """Let the rows of a step wait that were not trained on, and give out a compensation batch if it is time.

        Args:
            batch: The whole batch of a recipe, with behaviour log-probabilities.
            step: Steps before this one.
            draw: A number in [0, 1): it is time if it is below the probability. None = drawn.

        Returns:
            The oldest rows, with the advantages and log-probabilities of when they were sampled, or None.
        """
        self.buffer.push(waiting_rows(batch, self.reasons), step)
        chance = compensation_probability(step, self.total, self.start, self.end)
        if draw is None:
            draw = float(torch.rand((), generator=self._generator))
        count = self.count or int(batch.trained.sum())
        return self.buffer.pop(count, step) if draw < chance and count else None

    def state_dict(self) -> dict[str, Any]:
        """Everything that is needed to go on after a restart."""
        return {"buffer": self.buffer.state_dict(), "generator": self._generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up a state that `state_dict` gave."""
        self.buffer.load_state_dict(state["buffer"])
        self._generator.set_state(state["generator"])
