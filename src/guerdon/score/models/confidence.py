"""Process rewards without a model of rewards: how sure the policy was of each step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from guerdon import ops
from guerdon.rollouts import Rollouts


@dataclass(frozen=True)
class StepConfidence:
    """Fills `process` with the geometric mean of the behaviour policy's token probabilities in each step.

    For tasks without step labels: it knows nothing of right and wrong but what the policy does.
    """

    reads: ClassVar[tuple[str, ...]] = ("logprobs", "step")
    writes: ClassVar[tuple[str, ...]] = ("process",)

    def __call__(self, rollouts: Rollouts) -> Rollouts:
        """Return the rollouts with process rewards in (0, 1].

        Raises:
            ValueError: `logprobs` is missing.
        """
        if rollouts.logprobs is None:
            raise ValueError("logprobs is None: StepConfidence expects the behaviour policy's log-probabilities")
        return rollouts.replace(process=torch.exp(ops.pool(rollouts.logprobs, rollouts.step, rollouts.n_steps, "mean")))
