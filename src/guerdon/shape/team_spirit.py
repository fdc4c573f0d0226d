"""Rewards shared within a team and set against those of the opponents (arXiv 2305.15801)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from guerdon import ops
from guerdon.rollouts import Rollouts
from guerdon.terms import keys, term


def distribute_team(r: Tensor, team: Tensor, spirit: float) -> Tensor:
    """(1 - spirit) r_i + spirit mean(team of i) - mean(opponents of i).

    With teams of equal size the results add up to 0.

    Args:
        r: (P,) float, or (..., P) for many moments of one line-up; NaN = not scored, left out of every mean, stays NaN.
        team: (P,) integer or bool, two different values.
        spirit: In [0, 1], how much of a reward is shared.

    Returns:
        Float tensor of the shape of `r`.

    Raises:
        ValueError: Shapes that do not match, `spirit` out of range, or not exactly two teams with a member.

    Example:
        >>> distribute_team(torch.tensor([1.0, 0.2, -0.4, 0.0]), torch.tensor([0, 0, 1, 1]), 0.3)
        tensor([ 1.0800,  0.5200, -0.9400, -0.6600])
    """
    if r.ndim < 1 or tuple(team.shape) != (r.shape[-1],):
        raise ValueError(f"r has shape {tuple(r.shape)}, team {tuple(team.shape)}: expected (..., P) and (P,)")
    if not r.is_floating_point():
        raise ValueError(f"r is {r.dtype}: expected a float dtype")
    names, side = torch.unique(team, return_inverse=True)
    if len(names) != 2:
        raise ValueError(f"team has {len(names)} different values: expected two teams with a member each")
    moments = r.reshape(-1, r.shape[-1])
    # One group for every moment and team.
    own = torch.arange(len(moments), device=r.device)[:, None] * 2 + side
    return _distributed(moments.reshape(-1), own.reshape(-1), (own ^ 1).reshape(-1), spirit).reshape(r.shape)


def _distributed(r: Tensor, own: Tensor, other: Tensor, spirit: float) -> Tensor:
    """Share inside groups `own` and subtract the mean of the groups `other`, all of them dense numbers."""
    if not 0.0 <= spirit <= 1.0:
        raise ValueError(f"spirit is {spirit}: expected a number in [0, 1]")
    if not len(r):
        return r
    mean = ops.mean(r, own)
    by_group = torch.full((int(torch.maximum(own, other).max()) + 1,), torch.nan, dtype=r.dtype, device=r.device)
    by_group = by_group.scatter(0, own, mean)
    return (1.0 - spirit) * r + spirit * mean - by_group[other]


@dataclass(frozen=True)
class TeamSpirit:
    """Share the outcomes of a team's players, and set both teams of a match against each other.

    Rows of a group are the players of one match.

    Attributes:
        spirit: How much of a player's reward is shared.
        team: Name of the column that says which of the two teams a row plays for.

    Example:
        >>> rollouts = Rollouts(
        ...     group=[0, 0], mask=torch.ones(2, 1, dtype=torch.bool), outcome=[1.0, 0.25], columns={"team": ["a", "b"]}
        ... )
        >>> TeamSpirit()(rollouts).outcome.tolist()
        [0.75, -0.75]
    """

    spirit: float = 0.3
    team: str = "team"
    writes: ClassVar[tuple[str, ...]] = ("outcome",)

    def __post_init__(self) -> None:
        if not 0.0 <= self.spirit <= 1.0:
            raise ValueError(f"TeamSpirit.spirit is {self.spirit}: expected a number in [0, 1]")

    @property
    def reads(self) -> tuple[str, ...]:
        """The outcome, the match and the team."""
        return ("outcome", "group", self.team)

    def __call__(self, rollouts: Rollouts) -> Rollouts:
        """Return the rollouts with the distributed outcome.

        Raises:
            ValueError: A match that has not exactly two teams.
        """
        if not len(rollouts):
            return rollouts
        outcome = term(rollouts, "outcome")
        side = keys(rollouts.column(self.team)).to(outcome.device)
        match = torch.unique(rollouts.group, return_inverse=True)[1]
        low, high = (how(side.to(outcome.dtype), match) for how in (ops.min, ops.max))
        middle = (side != low) & (side != high)
        wrong = (low == high) | ops.any(middle, match).bool()
        if wrong.any():
            row = int(wrong.nonzero()[0])
            raise ValueError(
                f"columns[{self.team!r}]: the match of row {row} (group {int(rollouts.group[row])}) has another "
                "number of teams than two: expected two with a player each"
            )
        own = 2 * match + (side == high).to(match.dtype)
        return rollouts.replace(outcome=_distributed(outcome, own, own ^ 1, self.spirit))
