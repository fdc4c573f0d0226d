"""Feature vectors that stand for solutions, for reward models that can learn a shortcut.

A solution has 12 features: a noisy sign of its validity, a flag of human style, its length, and nine that mean nothing.
Gold is validity. A reward model that is trained on pairs whose chosen solution is human and whose rejected one is not
can learn the flag instead of the validity; a benchmark made of such pairs will not notice, and one that compares a
right solution with many wrong ones of the same style will.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from guerdon.tasks.candidates import Candidates
from guerdon.tasks.drawing import expect_probabilities

VALIDITY, STYLE, LENGTH, N_FEATURES = 0, 1, 2, 12
"""Places of the features, and how many there are."""


@dataclass(frozen=True)
class Solutions:
    """Draws solutions, pairs, benchmarks and pools.

    Attributes:
        validity_noise: Standard deviation of what is added to the validity (0 or 1) in its feature.
        length_gap: How much longer wrong solutions are on average, in standard deviations of the length.

    Raises:
        ValueError: A number is negative.

    Example:
        >>> chosen, rejected = Solutions().benchmark(3, wrong=9, seed=0)
        >>> tuple(chosen.shape), tuple(rejected.shape)
        ((3, 1, 12), (3, 9, 12))
    """

    validity_noise: float = 0.5
    length_gap: float = 0.3

    def __post_init__(self) -> None:
        if not self.validity_noise >= 0.0:
            raise ValueError(f"validity_noise is {self.validity_noise}: expected 0 or more")

    def features(self, valid: Tensor, human: Tensor, generator: torch.Generator) -> Tensor:
        """Features of solutions.

        Args:
            valid: (...) bool.
            human: (...) bool, written by a human.
            generator: Source of randomness.

        Returns:
            (..., 12) float64.
        """
        x = torch.randn(*valid.shape, N_FEATURES, dtype=torch.float64, generator=generator)
        x[..., VALIDITY] = valid.double() + self.validity_noise * x[..., VALIDITY]
        x[..., STYLE] = human.double()
        x[..., LENGTH] += self.length_gap * (~valid).double()
        return x

    def pairs(self, n: int, seed: int, *, styled: float = 0.0, mislabelled: float = 0.0) -> tuple[Tensor, Tensor]:
        """Preferences to train a reward model on: a right solution is chosen over a wrong one.

        Args:
            n: How many.
            seed: Of the draw.
            styled: Share of the pairs whose chosen solution is a human's; the rest are of one style.
            mislabelled: Share of the pairs whose validity is the wrong way round; a human's solution stays chosen.

        Returns:
            (n, 12) features of the chosen and of the rejected solutions.

        Raises:
            ValueError: A share is no probability.
        """
        expect_probabilities(styled=styled, mislabelled=mislabelled)
        generator = torch.Generator().manual_seed(seed)
        human = torch.rand(n, generator=generator) < styled
        right = torch.rand(n, generator=generator) >= mislabelled
        machine = torch.zeros(n, dtype=torch.bool)
        return self.features(right, human, generator), self.features(~right, machine, generator)

    def benchmark(self, problems: int, wrong: int, seed: int, *, styled: bool = False) -> tuple[Tensor, Tensor]:
        """One right solution and several wrong ones for each problem.

        Args:
            problems: M.
            wrong: Wrong solutions of a problem.
            seed: Of the draw.
            styled: Whether the right solution is a human's, while the wrong ones are not.

        Returns:
            (M, 1, 12) features of the right and (M, wrong, 12) of the wrong solutions.
        """
        generator = torch.Generator().manual_seed(seed)
        valid = torch.ones(problems, 1, dtype=torch.bool)
        human = torch.full((problems, 1), styled)
        machine = torch.zeros(problems, wrong, dtype=torch.bool)
        return self.features(valid, human, generator), self.features(machine, machine, generator)

    def pool(
        self,
        problems: int,
        candidates: int,
        score: Callable[[Tensor], Tensor],
        seed: int,
        *,
        right: float = 0.3,
        human: float = 0.0,
        references: int = 0,
    ) -> Candidates:
        """Candidate solutions under a uniform policy, scored by a reward model.

        Args:
            problems: P.
            candidates: K.
            score: The reward model: features (..., 12) -> scores (...).
            seed: Of the draw, which does not depend on the reward model.
            right: Probability that a candidate is right.
            human: Probability that it is of human style; of those the reward model's shortcut can be seen.
            references: Reference responses of a prompt.
        """
        generator = torch.Generator().manual_seed(seed)
        shape = (problems, candidates)
        valid = torch.rand(shape, generator=generator) < right
        styled = torch.rand(shape, generator=generator) < human
        x = self.features(valid, styled, generator)
        drawn = torch.randint(candidates, (problems, references), generator=generator)
        with torch.no_grad():
            proxy = score(x).double()
        uniform = torch.full(shape, 1.0 / candidates, dtype=torch.float64)
        return Candidates(valid.double(), proxy[None], uniform, drawn, styled.long(), ("machine", "human"))
