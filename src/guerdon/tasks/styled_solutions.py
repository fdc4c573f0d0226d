"""The styled-solutions lab: solutions as features, where being right and being written by a human are confounded.

A solution is a row of numbers: a noisy reading of whether it is right, a mark that it is written in the human style,
its length, and nuisances. In preference data the right solution is often a human reference and the wrong one a
machine's, so a reward model can learn the style instead; and a benchmark made of such pairs cannot tell. What a policy
samples is in machine style, but for a few wrong imitations of the human one.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from guerdon.tasks.drawing import expect_probabilities

READING, STYLE, LENGTH = 0, 1, 2
"""Columns of the features."""


@dataclass(frozen=True)
class StyledSolutions:
    """Solutions as features.

    Attributes:
        nuisances: Features that say nothing.
        human_length: How much the length of a solution in human style differs, in standard deviations.
        accuracy: Least and greatest share of right solutions of a problem under the policy.
        imitations: Share of the policy's samples that are wrong and in human style.
    """

    nuisances: int = 9
    human_length: float = -1.5
    accuracy: tuple[float, float] = (0.1, 0.6)
    imitations: float = 0.02

    def __post_init__(self) -> None:
        expect_probabilities(low=self.accuracy[0], high=self.accuracy[1], imitations=self.imitations)
        if self.nuisances < 0 or self.accuracy[0] > self.accuracy[1]:
            raise ValueError(f"nuisances is {self.nuisances}, accuracy {self.accuracy}: expected 0 or more, a range")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features."""
        return ("reading", "style", "length", *(f"nuisance {index}" for index in range(self.nuisances)))

    def write(self, right: Tensor, human: Tensor, noise: float, generator: torch.Generator) -> Tensor:
        """Features of solutions.

        Args:
            right: (...,) bool.
            human: (...,) bool, whether they are in human style.
            noise: Standard deviation of the reading of `right`, which is a reward model's own.
            generator: Source of randomness.

        Returns:
            (..., F) float64.
        """
        shape = (*right.shape, len(self.names))
        features = torch.randn(shape, dtype=torch.float64, generator=generator)
        features[..., READING] = right.double() + noise * features[..., READING]
        features[..., STYLE] = human.double()
        features[..., LENGTH] += self.human_length * human.double()
        return features

    def pairs(self, n: int, style_share: float, noise: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """(n, F) right and (n, F) wrong solutions; so large a share of the right ones is in human style."""
        expect_probabilities(style_share=style_share)
        human = torch.rand(n, generator=generator) < style_share
        right = torch.ones(n, dtype=torch.bool)
        return self.write(right, human, noise, generator), self.write(~right, ~right, noise, generator)

    def benchmark(
        self, problems: int, wrong: int, human: bool, noise: float, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """(M, F) right solutions, in human style or not, and (M, K, F) wrong ones in machine style."""
        right = torch.ones(problems, dtype=torch.bool)
        others = torch.zeros(problems, wrong, dtype=torch.bool)
        return (
            self.write(right, torch.full_like(right, human), noise, generator),
            self.write(others, others, noise, generator),
        )

    def pools(self, problems: int, size: int, noise: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """What a policy samples: (P, N, F) features, and (P, N) float64 gold, 1 = right."""
        low, high = self.accuracy
        chance = low + (high - low) * torch.rand(problems, 1, dtype=torch.float64, generator=generator)
        imitation = torch.rand(problems, size, dtype=torch.float64, generator=generator) < self.imitations
        right = (torch.rand(problems, size, dtype=torch.float64, generator=generator) < chance) & ~imitation
        return self.write(right, imitation, noise, generator), right.double()
