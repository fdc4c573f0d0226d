"""Step advantages from states that trajectories share: SALT (arXiv 2510.20022) and GiGPO (arXiv 2505.10978)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from guerdon import ops
from guerdon.credit.outcome import estimated
from guerdon.credit.streams import Stream, added_over_tokens
from guerdon.ops.edges import edge_keys, is_last, state_keys
from guerdon.rollouts import Rollouts

COUNTS = ("occurrence", "trajectory")


def mean_by_edge(traj_adv: Tensor, keys: Tensor, count: str = "occurrence") -> Tensor:
    """The mean advantage of the trajectories that each transition lies in.

    Args:
        traj_adv: (B,) float; NaN rows take no part and get 0.
        keys: (B, S) int64 from `guerdon.ops.edges.edge_keys`, -1 = no step.
        count: Whether every "occurrence" of a transition counts, or every "trajectory" once.

    Returns:
        (B, S) of the dtype of `traj_adv`, NaN where no step exists.

    Raises:
        ValueError: An unknown `count`, or wrong shapes.
    """
    if count not in COUNTS:
        raise ValueError(f"count is {count!r}: expected one of {COUNTS}")
    if keys.ndim != 2 or traj_adv.shape != keys.shape[:1]:
        raise ValueError(f"traj_adv {tuple(traj_adv.shape)}, keys {tuple(keys.shape)}: expected (B,) and (B, S)")
    rows = torch.arange(len(keys), device=keys.device)[:, None].expand(keys.shape)
    exists, known = keys >= 0, ~torch.isnan(traj_adv)[:, None].expand(keys.shape)
    value, key = traj_adv[:, None].expand(keys.shape).reshape(-1), keys.reshape(-1)
    weight = None
    if count == "trajectory":
        own = torch.unique(torch.stack([rows.reshape(-1), key]), dim=1, return_inverse=True)[1]
        weight = 1.0 / ops.count(torch.ones_like(value), own).to(value.dtype)
    mean = ops.mean(value, key, exists.reshape(-1), weight).reshape(keys.shape)
    mean = torch.where(known, mean, torch.zeros_like(mean))
    return torch.where(exists, mean, torch.nan)


def salt_advantages(
    traj_adv: Tensor,
    node: Tensor,
    action: Tensor,
    group_ids: Tensor,
    history: int | float | None = 0,
    count: str = "occurrence",
    exists: Tensor | None = None,
) -> Tensor:
    """A step's advantage is the mean advantage of all trajectories of the group that contain the same transition.

    Args:
        traj_adv: (B,) float, already normalised in the group; NaN rows take no part and get 0.
        node: (B, S) int64, the state that a step leads to; every row starts from state 0.
        action: (B, S) int64.
        group_ids: (B,) int64.
        history: How many earlier steps must be equal too; None or infinity = all.
        count: "occurrence" or "trajectory"; see `mean_by_edge`.
        exists: (B, S) bool; None = all.

    Returns:
        (B, S) of the dtype of `traj_adv`, NaN where no step exists.

    Raises:
        ValueError: A negative history, an unknown `count`, or wrong shapes.

    Example:
        >>> import torch
        >>> node, action = torch.tensor([[1, 2], [1, 3]]), torch.tensor([[0, 0], [0, 1]])
        >>> salt_advantages(torch.tensor([1.0, -1.0]), node, action, torch.tensor([0, 0])).tolist()
        [[0.0, 1.0], [0.0, -1.0]]
    """
    return mean_by_edge(traj_adv, edge_keys(node, action, history, group_ids, exists), count)


def merge_rate(keys: Tensor) -> float:
    """Share of steps whose key occurs in two trajectories or more: 0 = sharing states changes nothing.

    Args:
        keys: (B, S) int64, -1 = no step.
    """
    exists = keys >= 0
    if not bool(exists.any()):
        return 0.0
    rows = torch.arange(len(keys), device=keys.device)[:, None].expand(keys.shape)[exists]
    low, high = (how(rows.double(), keys[exists]) for how in (ops.min, ops.max))
    return float((low < high).double().mean())


def state_group_advantages(
    returns: Tensor, state: Tensor, *, scale: str = "none", ddof: int = 1, eps: float = 1e-6
) -> Tensor:
    """Returns of steps against those of all steps of the group that start from the same state (GiGPO).

    Args:
        returns: (B, S) float, discounted rewards from each step on; NaN takes no part and gets 0.
        state: (B, S) int64 from `guerdon.ops.edges.state_keys`, -1 = no step.
        scale: "none" = minus the mean, "group" = also divided by the standard deviation.
        ddof: Degrees of freedom taken off in it.
        eps: Is added to it.

    Returns:
        (B, S) of the dtype of `returns`, NaN where no step exists; 0 for a state that is met once.
    """
    return Stream(returns, state, "step", exists=state >= 0, scale=scale, ddof=ddof, eps=eps).advantage


def _node_and_action(rollouts: Rollouts, stage: str) -> tuple[Tensor, Tensor]:
    if rollouts.node is None:
        raise ValueError(f"node is missing: {stage} expected the state that each step leads to (B, S)")
    if "action" not in rollouts.steps:
        raise ValueError(f'steps has no "action": {stage} expected the action of each step (B, S)')
    return rollouts.node, rollouts.steps["action"].to(torch.int64)


@dataclass(frozen=True)
class TrajectoryGraph:
    """Advantages of trajectories, averaged over those that share a transition (SALT, arXiv 2510.20022).

    Steps that winners and losers share become neutral; those that set them apart keep their advantage. Nothing is
    normalised afterwards. Policy tokens of no step keep the trajectory's advantage; unscored rows take no part.

    Attributes:
        history: How many earlier steps must be equal too; None = all of them.
        count: "occurrence" or "trajectory"; see `mean_by_edge`.
        estimator: The trajectory's advantage: "grpo" = by mean and standard deviation, or "rloo" = minus the mean of
            the others (0 for a group of one).
        ddof: Degrees of freedom taken off in the standard deviation.
        eps: Is added to it.
    """

    history: int | None = 0
    count: str = "occurrence"
    estimator: str = "grpo"
    ddof: int = 1
    eps: float = 1e-6
    reads: ClassVar[tuple[str, ...]] = ("outcome", "node", "steps/action", "step", "group", "mask")
    writes: ClassVar[tuple[str, ...]] = ("advantages",)

    def __post_init__(self) -> None:
        if self.history is not None and self.history < 0:
            raise ValueError(f"TrajectoryGraph.history is {self.history}: expected 0 or more, or None for all")
        for name, allowed in (("count", COUNTS), ("estimator", ("grpo", "rloo"))):
            if getattr(self, name) not in allowed:
                raise ValueError(f"TrajectoryGraph.{name} is {getattr(self, name)!r}: expected one of {allowed}")

    def __call__(self, rollouts: Rollouts) -> Tensor:
        """Return (B, T) advantages.

        Raises:
            ValueError: `node` or `steps["action"]` is missing.
        """
        node, action = _node_and_action(rollouts, "TrajectoryGraph")
        base = estimated(rollouts.outcome, rollouts.group, self.estimator, self.ddof, self.eps)
        known = torch.where(rollouts.scored, base, torch.nan)
        value = salt_advantages(known, node, action, rollouts.group, self.history, self.count, rollouts.step_exists)
        placed = torch.where(rollouts.step >= 0, ops.spread(value, rollouts.step), base[:, None])
        return placed.to(torch.float32) * rollouts.mask


@dataclass(frozen=True)
class StateGroups:
    """Advantage of the episode plus that of each step among the steps from the same state (GiGPO, arXiv 2505.10978).

    A step's return is the discounted sum of `process` (rewards of steps, where there are any) and, at the last step,
    the outcome. Policy tokens of no step get the episode's advantage only; unscored rows take no part.

    Attributes:
        gamma: Discount of one step.
        step_weight: Weight of the step's advantage.
        scale: How both are normalised: "none" = minus the mean, "group" = also by the standard deviation.
        ddof: Degrees of freedom taken off in it.
        eps: Is added to it.
    """

    gamma: float = 0.95
    step_weight: float = 1.0
    scale: str = "group"
    ddof: int = 1
    eps: float = 1e-6
    reads: ClassVar[tuple[str, ...]] = ("outcome", "process", "node", "step", "group", "mask")
    writes: ClassVar[tuple[str, ...]] = ("advantages",)

    def __post_init__(self) -> None:
        if self.scale not in ("group", "none"):
            raise ValueError(f"StateGroups.scale is {self.scale!r}: expected 'group' or 'none'")
        if not 0.0 <= self.gamma <= 1.0:
            raise ValueError(f"StateGroups.gamma is {self.gamma}: expected a number in [0, 1]")

    def __call__(self, rollouts: Rollouts) -> Tensor:
        """Return (B, T) advantages.

        Raises:
            ValueError: `node` is missing.
        """
        if rollouts.node is None:
            raise ValueError("node is missing: StateGroups expected the state that each step leads to (B, S)")
        exists = rollouts.step_exists
        last = is_last(exists)
        rewards = torch.nan_to_num(rollouts.process, nan=0.0)
        rewards = rewards + torch.where(last, rollouts.outcome[:, None], 0.0)
        returns = ops.accumulate(rewards, exists, gamma=self.gamma)
        returns = torch.where(rollouts.scored[:, None], returns, torch.nan)
        options = {"scale": self.scale, "ddof": self.ddof, "eps": self.eps}
        state = state_keys(rollouts.node, rollouts.group, exists)
        steps = state_group_advantages(returns, state, **options)  # type: ignore[arg-type]
        streams = [
            Stream(rollouts.outcome, rollouts.group, **options),  # type: ignore[arg-type]
            Stream(steps, state, "step", exists=exists, center="none", scale="none"),
        ]
        mask = rollouts.mask & rollouts.scored[:, None]
        return added_over_tokens(streams, [1.0, self.step_weight], rollouts.step, mask).to(torch.float32)
