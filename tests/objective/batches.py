"""Small batches for tests of objectives."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from guerdon.batch import Batch, Counts
from guerdon.rollouts import Rollouts

NAN = float("nan")


def batch(
    mask: Any,
    advantages: Tensor | None = None,
    *,
    weights: Tensor | None = None,
    counts: Counts | None = None,
    group: Any = None,
    **fields: Any,
) -> Batch:
    """A batch of rows that are all trained on."""
    mask = torch.as_tensor(mask, dtype=torch.bool)
    rows = len(mask)
    rollouts = Rollouts(group=torch.zeros(rows, dtype=torch.int64) if group is None else group, mask=mask, **fields)
    return Batch(
        rollouts=rollouts,
        advantages=torch.zeros(mask.shape) if advantages is None else torch.where(mask, advantages, 0.0),
        weights=torch.ones(rows) if weights is None else weights,
        trained=torch.ones(rows, dtype=torch.bool),
        rows=torch.arange(rows),
        counts=counts,
    )


def random_batch(seed: int = 0, rows: int = 8, width: int = 6, steps: int = 3) -> tuple[Tensor, Batch]:
    """Log-probabilities with gradient and a ragged batch of two groups with everything in it."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(rows, width, generator=generator) < 0.8
    mask[:, 0] = True
    step = torch.sort(torch.randint(0, steps, (rows, width), generator=generator), dim=1).values
    step = torch.where(mask & (torch.rand(rows, width, generator=generator) < 0.9), step, -1)
    # Non-contiguous groups, both with right and wrong responses.
    group = torch.arange(rows) % 2
    outcome = ((torch.arange(rows) // 2) % 2).float()

    def noise() -> Tensor:
        return -torch.rand(rows, width, generator=generator)

    made = batch(
        mask,
        torch.randn(rows, width, generator=generator),
        group=group,
        step=step,
        outcome=outcome,
        process=torch.full((rows, steps), NAN),
        logprobs=noise(),
        ref_logprobs=noise(),
        weights=0.5 + torch.rand(rows, generator=generator),
    )
    return noise().requires_grad_(), made


def pieces_of(whole: Batch, cuts: list[list[int]]) -> list[Batch]:
    """A batch cut into pieces whose losses should add up to that of the whole."""
    import dataclasses

    counts = dataclasses.replace(whole.divisors, pieces=float(len(cuts)))
    return [dataclasses.replace(whole[rows], counts=counts) for rows in cuts]


def gradient(value: Tensor, of: Tensor) -> Tensor:
    """The gradient of a scalar."""
    (found,) = torch.autograd.grad(value, of, retain_graph=True)
    return found
