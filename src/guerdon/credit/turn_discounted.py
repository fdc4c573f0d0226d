"""Discounted returns of turns whose rewards were normalised by kind (IGPO, arXiv 2510.14967).

Every turn but the last is rewarded by what it gained, the last by the outcome. Discounts count turns, not tokens. The
official code takes, from discounted sums along tokens, the group's mean at each token position: that is
`norm="position"`, for comparison only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from guerdon import ops
from guerdon.ops.edges import is_last
from guerdon.rollouts import Rollouts

NORMS = ("separate", "joint", "center")


def igpo_returns(
    gains: Tensor,
    outcomes: Tensor,
    group_ids: Tensor,
    gamma: float = 1.0,
    norm: str = "separate",
    eps: float = 1e-6,
    *,
    ddof: int = 1,
    exists: Tensor | None = None,
) -> Tensor:
    """Returns of turns from gains and outcomes, each kind normalised in the group.

    Args:
        gains: (B, S) float, what each turn but the last gained; NaN = not scored (adds 0), and at the answer turn.
        outcomes: (B,) float, the reward of the last turn; NaN rows take no part and get 0.
        group_ids: (B,) int64.
        gamma: Discount of one turn in [0, 1].
        norm: "separate" = gains of all rows and turns of the group by their mean and standard deviation, outcomes by
            theirs; "joint" = both together; "center" = each kind minus its mean.
        eps: Is added to the standard deviations.
        ddof: Degrees of freedom taken off in them.
        exists: (B, S) bool, turns that exist, the answer turn included. None = the turns up to the last gain, and one
            answer turn after it.

    Returns:
        (B, S) of the dtype of `gains`, NaN where no turn exists.

    Raises:
        ValueError: A gain is given for the answer turn, there is no room for an answer turn, wrong shapes, or an
            unknown `norm`.

    Example:
        >>> import torch
        >>> gains = torch.tensor([[0.5, float("nan")], [0.1, float("nan")]])
        >>> igpo_returns(gains, torch.tensor([1.0, 0.0]), torch.tensor([0, 0]), norm="center").tolist()
        [[0.699999988079071, 0.5], [-0.699999988079071, -0.5]]
    """
    if norm not in NORMS:
        raise ValueError(f"norm is {norm!r}: expected one of {NORMS}")
    if gains.ndim != 2 or outcomes.shape != gains.shape[:1]:
        raise ValueError(f"gains {tuple(gains.shape)}, outcomes {tuple(outcomes.shape)}: expected (B, S) and (B,)")
    exists, answer = _turns(gains, exists)
    scored = ~torch.isnan(outcomes)
    rewards = torch.where(answer, outcomes.to(gains.dtype)[:, None], gains)
    rewards = torch.where(exists & scored[:, None], rewards, torch.nan)
    key = group_ids[:, None].expand(rewards.shape)
    if norm != "joint":
        key = 2 * torch.unique(key, return_inverse=True)[1] + answer.long()
    scale = "none" if norm == "center" else "group"
    flat = ops.normalize(rewards.reshape(-1), key.reshape(-1), scale=scale, ddof=ddof, eps=eps)
    return ops.accumulate(flat.reshape(rewards.shape), exists, gamma=gamma, direction="suffix")


def _turns(gains: Tensor, exists: Tensor | None) -> tuple[Tensor, Tensor]:
    """(B, S) bool of turns that exist, and of answer turns: the last of each row."""
    given = ~torch.isnan(gains)
    rows, width = gains.shape
    if exists is None:
        place = torch.arange(width, device=gains.device)
        last = torch.where(given, place, -1).amax(1) if width else torch.full((rows,), -1, device=gains.device)
        if bool((last + 1 >= width).any()):
            row = int((last + 1 >= width).nonzero()[0])
            raise ValueError(f"gains in row {row} has no column for the answer turn: expected NaN after the last gain")
        exists = place <= last[:, None] + 1
    elif exists.shape != gains.shape:
        raise ValueError(f"exists has shape {tuple(exists.shape)}: expected {tuple(gains.shape)}, like gains")
    answer = is_last(exists)
    if bool((given & answer).any()):
        row = int((given & answer).any(1).nonzero()[0])
        raise ValueError(f"gains in row {row} has a value at the answer turn: expected NaN, since the outcome is there")
    return exists, answer


def position_centred_returns(rewards: Tensor, mask: Tensor, group: Tensor, gamma: float = 1.0) -> Tensor:
    """Discounted sums along tokens, minus the group's mean of them at each token position.

    Args:
        rewards: (B, T) float.
        mask: (B, T) bool; a position's mean is over the rows that have it inside the mask.
        group: (B,) int64.
        gamma: Discount of one policy token.

    Returns:
        (B, T) of the dtype of `rewards`, 0 outside the mask.
    """
    returns = ops.discounted_suffix(rewards, mask, gamma)
    rows, width = returns.shape
    key = torch.unique(group, return_inverse=True)[1][:, None] * width + torch.arange(width, device=group.device)
    flat = ops.normalize(returns.reshape(-1), key.reshape(-1), scale="none", where=mask.reshape(-1))
    return flat.reshape(rows, width)


@dataclass(frozen=True)
class TurnDiscounted:
    """Discounted turn returns from process rewards and, at the last turn, the outcome (IGPO, arXiv 2510.14967).

    `process` holds what each turn gained, NaN at the answer turn. Policy tokens that belong to no turn get 0, rows that
    could not be scored too. A row without any turn is not credited.

    Attributes:
        gamma: Discount of one turn (of one token for "position").
        norm: "separate", "joint" or "center", see `igpo_returns`; or "position", see `position_centred_returns`.
        eps: Is added to the standard deviations.
        ddof: Degrees of freedom taken off in them.
    """

    gamma: float = 1.0
    norm: str = "separate"
    eps: float = 1e-6
    ddof: int = 1
    reads: ClassVar[tuple[str, ...]] = ("outcome", "process", "step", "group", "mask")
    writes: ClassVar[tuple[str, ...]] = ("advantages",)

    def __post_init__(self) -> None:
        if self.norm not in (*NORMS, "position"):
            raise ValueError(f"TurnDiscounted.norm is {self.norm!r}: expected one of {(*NORMS, 'position')}")
        if not 0.0 <= self.gamma <= 1.0:
            raise ValueError(f"TurnDiscounted.gamma is {self.gamma}: expected a number in [0, 1]")

    def __call__(self, rollouts: Rollouts) -> Tensor:
        """Return (B, T) advantages.

        Raises:
            ValueError: The answer turn of some row has a process reward.
        """
        exists, answer = _turns(rollouts.process, rollouts.step_exists)
        usable = rollouts.mask & rollouts.scored[:, None]
        if self.norm == "position":
            rewards = torch.where(answer, rollouts.outcome[:, None], rollouts.process)
            placed = ops.place(torch.where(exists, rewards, torch.nan), rollouts.step)
            return position_centred_returns(placed, usable, rollouts.group, self.gamma).to(torch.float32)
        value = igpo_returns(
            rollouts.process,
            rollouts.outcome,
            rollouts.group,
            self.gamma,
            self.norm,
            self.eps,
            ddof=self.ddof,
            exists=exists,
        )
        return ops.spread(value, rollouts.step).to(torch.float32) * usable
