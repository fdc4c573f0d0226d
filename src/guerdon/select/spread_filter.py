"""States and groups kept for the spread of their values, with every action trained on once.

Step-level methods drop the states at which no action matters: direct advantage (arXiv 2412.18279, §3.2) and sibling
groups of a search tree (arXiv 2511.10279).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from guerdon import ops
from guerdon.rollouts import Rollouts
from guerdon.selection import Selection
from guerdon.terms import keys, term

REPEATED, FLAT = "same action as an earlier row", "spread below the gap"


def advantage_gap(adv: Tensor, state: Tensor) -> Tensor:
    """Largest minus smallest value of each state.

    Args:
        adv: (N,) float; NaN takes no part.
        state: (N,) int64.

    Returns:
        One number a state, in order of first appearance; NaN for states without values.

    Example:
        >>> import torch
        >>> advantage_gap(torch.tensor([0.5, 0.0, 0.25]), torch.tensor([7, 3, 7])).tolist()
        [0.25, 0.0]
    """
    return ops.reduce(adv, state, "max")[1] - ops.reduce(adv, state, "min")[1]


def wide_enough(value: Tensor, key: Tensor, min_gap: float = 0.1, inclusive: bool = True) -> Tensor:
    """Rows of the keys whose values spread by at least a gap.

    Args:
        value: (N,) float; NaN takes no part, and goes with its key.
        key: (N,) int64.
        min_gap: The gap, 0 or more.
        inclusive: Whether a spread equal to it is enough.

    Returns:
        (N,) bool; False for keys without values.

    Raises:
        ValueError: A negative gap.
    """
    if not min_gap >= 0.0:
        raise ValueError(f"min_gap is {min_gap}: expected 0 or more")
    spread = ops.max(value, key) - ops.min(value, key)
    return spread >= min_gap if inclusive else spread > min_gap


def first_copies(key: Tensor, action: Tensor | Sequence[Hashable]) -> Tensor:
    """Rows that are the first of their key with their action.

    Args:
        key: (N,) int64.
        action: N hashable values, or an (N,) integer tensor.

    Returns:
        (N,) bool.

    Raises:
        ValueError: Another number of actions than keys.
    """
    listed = action.tolist() if isinstance(action, Tensor) else list(action)
    if len(listed) != len(key):
        raise ValueError(f"there are {len(listed)} actions: expected {len(key)}, like key")
    pair = keys(key.tolist(), listed).to(key.device)
    place = torch.arange(len(pair), device=key.device, dtype=torch.float64)
    return ops.min(place, pair) == place


def select_training_actions(
    adv: Tensor, state: Tensor, action_key: Tensor | Sequence[Hashable], min_gap: float = 0.1
) -> Tensor:
    """Rows to train on: of the states with a gap, each distinct action once.

    Repeats are dropped after the advantages were taken, which are about the mean over all samples, repeats included.

    Args:
        adv: (N,) float, centred in each state; NaN rows are never taken.
        state: (N,) int64.
        action_key: N values that are equal for equal actions.
        min_gap: Smallest gap of a state, inclusive.

    Returns:
        Sorted indices.

    Raises:
        ValueError: A negative gap, or another number of actions.
    """
    scored = ~torch.isnan(adv)
    listed = action_key.tolist() if isinstance(action_key, Tensor) else list(action_key)
    if len(listed) != len(adv):
        raise ValueError(f"there are {len(listed)} actions: expected {len(adv)}, like adv")
    # An unscored copy must not stand for a scored one.
    known = list(zip(scored.tolist(), listed, strict=True))
    first = first_copies(state, known)
    return (wide_enough(adv, state, min_gap) & first & scored).nonzero().squeeze(1)


@dataclass(frozen=True)
class SpreadFilter:
    """Keep the groups whose values spread by at least a gap; of equal actions train on the first.

    Attributes:
        min_gap: Smallest difference between the best and the worst row of a group.
        inclusive: Whether a difference equal to it is enough.
        value: "outcome", "process" (aggregated over the row's steps), or the name of a column of numbers.
        aggregate: How process rewards become one number; see `guerdon.ops.aggregate`.
        action: Name of a column; of rows of a group that are equal in it only the first is trained on, though all
            count in the statistics. None = all are trained on.
    """

    min_gap: float = 0.1
    inclusive: bool = True
    value: str = "outcome"
    aggregate: str = "mean"
    action: str | None = None
    writes: ClassVar[tuple[str, ...]] = ("kept", "trained")

    def __post_init__(self) -> None:
        if not self.min_gap >= 0.0:
            raise ValueError(f"SpreadFilter.min_gap is {self.min_gap}: expected 0 or more")

    @property
    def reads(self) -> tuple[str, ...]:
        """What is read."""
        return ("group", self.value, *((self.action,) if self.action else ()))

    def __call__(self, rollouts: Rollouts) -> Selection:
        """Return the selection with the reason for every untrained row."""
        value = term(rollouts, self.value, self.aggregate)
        kept = wide_enough(value, rollouts.group, self.min_gap, self.inclusive)
        first = torch.ones_like(kept)
        if self.action is not None:
            first = first_copies(rollouts.group, rollouts.column(self.action))
        pairs = zip(kept.tolist(), first.tolist(), strict=True)
        reason = [FLAT if not wide else "" if once else REPEATED for wide, once in pairs]
        gaps = advantage_gap(value, rollouts.group)
        known = gaps[~torch.isnan(gaps)]
        metrics = {
            "mean_gap": float(known.mean()) if len(known) else float("nan"),
            "repeated": float((kept & ~first).sum()),
        }
        return Selection(kept, kept & first, reason=reason, metrics=metrics)
