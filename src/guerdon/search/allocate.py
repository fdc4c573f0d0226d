"""Which prompt gets the next rollout: Stochastic Balance (arXiv 2309.10289).

An attempt at a prompt succeeds with some probability, and a success is needed once. Attempts, not successes, are what
is spread: the load of a prompt is the probability that was spent on it, and the next attempt goes where
p (1 - g(load)) is the largest, with g the split of gains for which the competitive ratio 0.5963 is proved when all
probabilities are small.
"""

from __future__ import annotations

import torch
from torch import Tensor

TIE = 1e-12
_TERMS = 80


def stochastic_gain(load: Tensor) -> Tensor:
    """g(l) = 1 - e^(1 + l) E1(1 + l), the bounded solution of g' = g - l / (1 + l); g(0) = 0.403653.

    Args:
        load: Any shape, float, at least 0.

    Returns:
        In [0, 1), of the dtype of `load`.

    Example:
        >>> stochastic_gain(torch.tensor([0.0, 1.0], dtype=torch.float64)).round(decimals=6).tolist()
        [0.403653, 0.638671]
    """
    x = 1.0 + load.double()
    # The continued fraction of e^x E1(x), from its far end; for x >= 1 so many terms are exact to rounding.
    fraction = x + 2 * _TERMS + 1
    for term in range(_TERMS, 0, -1):
        fraction = x + 2 * term - 1 - term**2 / fraction
    return (1.0 - 1.0 / fraction).to(load.dtype)


class RolloutAllocator:
    """Gives the next rollout to a prompt that is not solved yet.

    Args:
        success_prob: (U,) float, how likely one rollout solves each prompt; 0 = it is never tried.

    Raises:
        ValueError: A probability is not in [0, 1].

    Example:
        >>> allocator = RolloutAllocator(torch.tensor([0.2, 0.1]))
        >>> allocator.next()
        0
        >>> allocator.record(0, True)
        >>> allocator.next()
        1
    """

    def __init__(self, success_prob: Tensor) -> None:
        self.probability = _checked(success_prob)
        self.load = torch.zeros_like(self.probability)
        self.unsolved = torch.ones_like(self.probability, dtype=torch.bool)

    def next(self, among: Tensor | None = None) -> int | None:
        """The prompt that gets the next rollout; None = there is none left.

        Args:
            among: (U,) bool, the prompts that can be served now; None = all.
        """
        open_now = self.unsolved & (self.probability > 0)
        if among is not None:
            open_now = open_now & among
        if not bool(open_now.any()):
            return None
        score = torch.where(open_now, self.probability * (1.0 - stochastic_gain(self.load)), -torch.inf)
        return int((score >= score.max() - TIE).nonzero()[0])

    def record(self, prompt: int, success: bool) -> None:
        """Count a rollout: the load grows whether it succeeded or not.

        Raises:
            ValueError: The prompt was solved before.
        """
        if not bool(self.unsolved[prompt]):
            raise ValueError(f"prompt {prompt} was solved before: expected one that is not")
        self.load[prompt] += self.probability[prompt]
        self.unsolved[prompt] = not success


def allocate_rollouts(success_prob: Tensor, budget: int) -> Tensor:
    """How many of a budget of rollouts each prompt gets when all are sampled before any is judged.

    Args:
        success_prob: (U,) float, how likely one rollout solves each prompt.
        budget: Rollouts in all.

    Returns:
        (U,) int64; they sum to `budget`, unless no prompt can be solved.

    Raises:
        ValueError: A probability is not in [0, 1], or the budget is negative.

    Example:
        >>> allocate_rollouts(torch.tensor([0.5, 0.5, 0.0, 0.1]), 6).tolist()
        [3, 3, 0, 0]
    """
    if budget < 0:
        raise ValueError(f"budget is {budget}: expected 0 or more")
    allocator = RolloutAllocator(success_prob)
    counts = torch.zeros(len(success_prob), dtype=torch.int64)
    for _ in range(budget):
        prompt = allocator.next()
        if prompt is None:
            break
        allocator.record(prompt, False)
        counts[prompt] += 1
    return counts


def _checked(success_prob: Tensor) -> Tensor:
    wide = success_prob.double()
    bad = ~((wide >= 0) & (wide <= 1))
    if wide.ndim != 1 or bool(bad.any()):
        where = f" in row {int(bad.nonzero()[0, 0])}" if wide.ndim == 1 else ""
        raise ValueError(f"success_prob{where}: expected (U,) numbers in [0, 1], got shape {tuple(wide.shape)}")
    return wide
