"""The loops of BARFI: inner updates of a policy on the blend, outer steps of the blend (arXiv 2310.19007)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from guerdon.control.bilevel import Episodes, hypergradient, inner_direction


class World(Protocol):
    """What episodes come from."""

    @property
    def gamma(self) -> float:
        """The true discount."""
        ...

    def sample(self, theta: Tensor, number: int, generator: torch.Generator) -> Episodes:
        """Sample episodes of a policy."""
        ...

    def logprobs(self, theta: Tensor, episodes: Episodes) -> Tensor:
        """(B, T) log-probabilities of the actions taken."""
        ...


@dataclass
class BARFI:
    """A policy, and the blend that it is trained on.

    phi1 is a table over states (0 at first), phi2 and phi3 are numbers (1 at first: the plain sum).

    Attributes:
        world: Where episodes come from; its states are integers below `states`.
        theta: (d,) parameters of the policy.
        states: Size of phi1's table.
        rate: Step of the inner update.
        outer_rate: Step of Adam on phi2, phi3 and the logit of the discount.
        table_rate: Step of Adam on phi1, which is in units of the rewards; 0 = phi1 stays 0.
        entropy: Weight of the entropy.
        inner_steps: Inner updates between two outer steps.
        episodes: Episodes of an inner update, and of an outer step.
        gamma_penalty: Is taken off the gradient of the discount.
        terms: Of the Neumann series.
        eta: Its step.
        damping: See `solve_inverse`.
        largest: Longest solution that is used.
    """

    world: World
    theta: Tensor
    states: int
    rate: float = 1.0
    outer_rate: float = 0.1
    table_rate: float = 0.001
    entropy: float = 0.01
    inner_steps: int = 20
    episodes: int = 32
    gamma_penalty: float = 0.0
    terms: int = 10
    eta: float = 1.0
    damping: float = 0.0
    largest: float | None = 100.0
    parts: list[Tensor] = field(init=False)
    seen: dict[str, float] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        gamma = self.world.gamma
        if not 0.0 < gamma < 1.0:
            raise ValueError(f"world.gamma is {gamma}: expected a number in (0, 1), where the inner discount starts")
        logit = math.log(gamma / (1.0 - gamma))
        dtype = self.theta.dtype
        self.parts = [
            torch.zeros(self.states, dtype=dtype),
            torch.ones((), dtype=dtype),
            torch.ones((), dtype=dtype),
            torch.tensor(logit, dtype=dtype),
        ]
        table, *numbers = self.parts
        groups = [{"params": [table], "lr": self.table_rate}, {"params": numbers, "lr": self.outer_rate}]
        self._adam = torch.optim.Adam(groups)
        self._last: Episodes | None = None

    @property
    def gamma_phi(self) -> float:
        """The inner discount as it is now."""
        return float(torch.sigmoid(self.parts[3]))

    def blend(self, batch: Episodes) -> tuple[Tensor, Tensor, Tensor]:
        """The parts of the blend in the states of a batch."""
        return self.parts[0][batch.state], self.parts[1], self.parts[2]

    def inner(self, generator: torch.Generator) -> int:
        """Train the policy on the blend; how many episodes it took."""
        for _ in range(self.inner_steps):
            batch = self.world.sample(self.theta, self.episodes, generator)
            direction = inner_direction(
                self.world.logprobs, self.theta, batch, self.blend(batch), self.gamma_phi, self.entropy
            )
            self.theta = self.theta + self.rate * direction
        self._last = self.world.sample(self.theta, self.episodes, generator)
        return (self.inner_steps + 1) * self.episodes

    def outer(self, generator: torch.Generator) -> int:
        """Make a step with the blend, from the policy that `inner` left; how many episodes it took.

        Raises:
            RuntimeError: `inner` was not called before.
        """
        if self._last is None:
            raise RuntimeError("outer was called before inner: there is no policy of this blend yet")
        data_in, self._last = self._last, None
        fresh = self.world.sample(self.theta, self.episodes, generator)
        (first, second, third), by_discount, self.seen = hypergradient(
            self.world.logprobs,
            self.theta,
            self.blend(data_in),
            self.gamma_phi,
            data_in,
            fresh,
            gamma=self.world.gamma,
            entropy=self.entropy,
            gamma_penalty=self.gamma_penalty,
            terms=self.terms,
            eta=self.eta,
            damping=self.damping,
            largest=self.largest,
        )
        # Nothing is known of the blend while the primary reward was never seen.
        if self.seen["j"] > 0.0:
            table = torch.zeros_like(self.parts[0]).index_add_(0, data_in.state.flatten(), first.flatten())
            discount = self.gamma_phi
            by_logit = torch.tensor(by_discount * discount * (1.0 - discount), dtype=table.dtype)
            for part, gradient in zip(self.parts, (table, second, third, by_logit), strict=True):
                part.grad = -gradient
            self._adam.step()
        return self.episodes
