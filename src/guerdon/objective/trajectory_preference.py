"""DPO between whole trajectories whose rewards are sums of step rewards (arXiv 2509.19199)."""

from __future__ import annotations

import torch
from torch import Tensor

from guerdon import ops
from guerdon.objective.preference import implicit_dpo

REDUCTIONS = ("sum", "mean")
PAIRINGS = ("all", "one_to_one")


def trajectory_dpo_loss(
    step_rewards: Tensor,
    step_mask: Tensor,
    group_ids: Tensor,
    positive: Tensor,
    reduce: str = "sum",
    pairing: str = "all",
) -> tuple[Tensor, int]:
    """-log sigmoid(q(tau+) - q(tau-)), the mean over pairs of a success and a failure at the same task.

    Args:
        step_rewards: (B, S) float with gradient, beta times the log-ratio of each step's tokens.
        step_mask: (B, S) bool, steps that there are.
        group_ids: (B,) int64, the task.
        positive: (B,) bool, successes.
        reduce: q is the "sum" of the step rewards (the paper), or their "mean" (the official code).
        pairing: "all" successes with all failures, or "one_to_one".

    Returns:
        0-dimensional tensor with gradient, 0 without pairs, and the number of pairs.

    Raises:
        ValueError: An unknown choice, shapes differ, or a step reward inside the mask is NaN.

    Example:
        >>> import torch
        >>> rewards, mask = torch.tensor([[0.06, 0.02], [-0.02, -0.04]]), torch.ones(2, 2, dtype=torch.bool)
        >>> loss, pairs = trajectory_dpo_loss(rewards, mask, torch.tensor([0, 0]), torch.tensor([True, False]))
        >>> round(float(loss), 6), pairs
        (0.625595, 1)
    """
    for name, value, allowed in (("reduce", reduce, REDUCTIONS), ("pairing", pairing, PAIRINGS)):
        if value not in allowed:
            raise ValueError(f"{name} is {value!r}: expected one of {allowed}")
    if step_mask.shape != step_rewards.shape:
        raise ValueError(f"step_mask has shape {tuple(step_mask.shape)}: expected {tuple(step_rewards.shape)}")
    bad = (torch.isnan(step_rewards) & step_mask).any(1)
    if bool(bad.any()):
        raise ValueError(f"step_rewards in row {int(bad.nonzero()[0])} hold NaN inside step_mask: expected numbers")
    total = ops.masked_sum(step_rewards, step_mask, 1)
    if reduce == "mean":
        total = total / step_mask.sum(1).clamp(min=1)
    pairs = ops.pair_indices(group_ids, positive.to(torch.float32), pairing)
    # The sum keeps the graph where there is no pair.
    loss = implicit_dpo(total[pairs[:, 0]], total[pairs[:, 1]]) + 0.0 * total.sum()
    return loss, len(pairs)
