"""Steps compared with their siblings: the other steps that were sampled from the same node of a tree.

PORTool (arXiv 2510.26020) adds to that the comparison of whole trajectories. The sibling groups of other tree methods
(arXiv 2511.10279, 2412.18279) are `fork_advantages`, or `guerdon.ops.normalize` keyed by the parent where every step
is a row of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from guerdon import ops
from guerdon.credit.streams import Stream, added_over_tokens
from guerdon.ops.edges import state_keys
from guerdon.rollouts import Rollouts


def _tree(node: Tensor, group: Tensor, exists: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Flat keys of the steps, keys of their parents, and bool of the first copy of each step.

    Raises:
        ValueError: A step has two parents.
    """
    parent = state_keys(node, group, exists).reshape(-1)
    pair = torch.stack([group[:, None].expand(node.shape).reshape(-1), node.reshape(-1)])
    step = torch.unique(pair, dim=1, return_inverse=True)[1]
    where = exists.reshape(-1)
    low, high = (how(parent.double(), step, where) for how in (ops.min, ops.max))
    if bool((where & (low < high)).any()):
        at = int((where & (low < high)).nonzero()[0])
        row = at // max(node.shape[1], 1)
        raise ValueError(f"node {int(node.reshape(-1)[at])} in row {row} follows two different nodes: expected a tree")
    place = torch.arange(len(step), device=step.device).double()
    first = where & (ops.min(place, step, where) == place)
    return step, parent, first


def fork_advantages(
    rewards: Tensor,
    node: Tensor,
    group: Tensor,
    eps: float = 1e-6,
    *,
    ddof: int = 1,
    scale: str = "group",
    exists: Tensor | None = None,
) -> Tensor:
    """Normalise the reward of each step among the distinct children of its parent.

    Args:
        rewards: (B, S) float, equal in all copies of a step; NaN = not scored: takes no part and gets 0.
        node: (B, S) int64, id of the step in its group's tree; equal ids in a group = one step that rows share.
        group: (B,) int64.
        eps: Is added to the standard deviation.
        ddof: Degrees of freedom taken off in it.
        scale: "group" = divide by the standard deviation of the siblings, or "none".
        exists: (B, S) bool; None = all with rewards.

    Returns:
        (B, S) of the dtype of `rewards`, equal in all copies; 0 for an only child, NaN where no step exists.

    Raises:
        ValueError: A step has two parents, or wrong shapes.

    Example:
        >>> import torch
        >>> rewards = torch.tensor([[1.5, 1.5], [1.5, 0.5], [0.5, 0.0]])
        >>> node = torch.tensor([[1, 3], [1, 4], [2, 5]])
        >>> fork_advantages(rewards, node, torch.zeros(3, dtype=torch.int64), scale="none").tolist()
        [[0.5, 0.5], [0.5, -0.5], [-0.5, 0.0]]
    """
    if rewards.shape != node.shape or rewards.ndim != 2:
        raise ValueError(f"rewards {tuple(rewards.shape)}, node {tuple(node.shape)}: expected the same (B, S)")
    exists = ~torch.isnan(rewards) if exists is None else exists
    step, parent, first = _tree(node, group, exists)
    flat = ops.normalize(rewards.reshape(-1), parent, scale=scale, ddof=ddof, eps=eps, where=first)
    shared = ops.sum(flat, step, first).reshape(rewards.shape)
    return torch.where(exists, shared, torch.nan)


def copies(node: Tensor, group: Tensor, exists: Tensor | None = None) -> Tensor:
    """In how many rows each step lies.

    Args:
        node: (B, S) int64, id of the step in its group's tree.
        group: (B,) int64.
        exists: (B, S) bool; None = all.

    Returns:
        (B, S) int64, 0 where no step exists.

    Raises:
        ValueError: A step has two parents.
    """
    exists = torch.ones_like(node, dtype=torch.bool) if exists is None else exists
    step, _, _ = _tree(node, group, exists)
    number = ops.count(torch.ones(len(step), device=step.device), step, exists.reshape(-1)).reshape(node.shape)
    return torch.where(exists, number, 0)


def portool_streams(
    rewards: Tensor,
    node: Tensor,
    group: Tensor,
    eps: float = 1e-6,
    *,
    ddof: int = 1,
    exists: Tensor | None = None,
) -> list[Stream]:
    """The two comparisons of PORTool, for `added_advantage`: trajectories by their mean step reward, and siblings.

    Args:
        rewards: (B, S) float; NaN = no such step, or not scored.
        node: (B, S) int64, id of the step in its group's tree.
        group: (B,) int64.
        eps: Is added to the standard deviations.
        ddof: Degrees of freedom taken off in them.
        exists: (B, S) bool; None = all with rewards.
    """
    exists = ~torch.isnan(rewards) if exists is None else exists
    forks = fork_advantages(rewards, node, group, eps, ddof=ddof, exists=exists)
    scored = torch.where(exists, rewards, torch.nan)
    return [
        Stream(ops.aggregate(scored, "mean"), group, ddof=ddof, eps=eps),
        Stream(forks, group, "step", exists=exists, center="none", scale="none"),
    ]


@dataclass(frozen=True)
class Fork:
    """Trajectories compared by their mean step reward, and steps with their siblings (PORTool, arXiv 2510.26020).

    `process` holds the rewards of steps and `node` their ids in the group's tree. Policy tokens of no step get the
    trajectory's part only. Rows without any scored step get 0.

    Attributes:
        trajectory_weight: Weight of the comparison of trajectories.
        fork_weight: Weight of the comparison of siblings.
        deduplicate: Whether the advantage of a step is divided by the number of rows that share it, so that its tokens
            count once in the loss, with the mean of the rows' advantages.
        ddof: Degrees of freedom taken off in the standard deviations.
        eps: Is added to them.
    """

    trajectory_weight: float = 1.0
    fork_weight: float = 1.0
    deduplicate: bool = True
    ddof: int = 1
    eps: float = 1e-6
    reads: ClassVar[tuple[str, ...]] = ("process", "node", "step", "group", "mask")
    writes: ClassVar[tuple[str, ...]] = ("advantages",)

    def __call__(self, rollouts: Rollouts) -> Tensor:
        """Return (B, T) advantages.

        Raises:
            ValueError: `node` is missing, or a step has two parents.
        """
        if rollouts.node is None:
            raise ValueError("node is missing: Fork expected the id of each step in its group's tree (B, S)")
        exists = rollouts.step_exists
        streams = portool_streams(
            rollouts.process, rollouts.node, rollouts.group, self.eps, ddof=self.ddof, exists=exists
        )
        weights = [self.trajectory_weight, self.fork_weight]
        value = added_over_tokens(streams, weights, rollouts.step, rollouts.mask)
        if self.deduplicate:
            number = copies(rollouts.node, rollouts.group, exists).to(value.dtype)
            value = value / ops.spread(number, rollouts.step, fill=1.0)
        return value.to(torch.float32)
