"""What a reward must keep, and what it tells: margins of the original reward, informativeness, and the certificate.

Notation: delta_h(s, a; R) = Q_h(s, pi*(s)) - Q_h(s, a), counting h rewards, with pi* the first optimal action of each
state; the margin d(s) is the smallest delta_inf(s, a) of the original reward over actions that are not optimal.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from guerdon.control.mdp import (
    Array,
    Optimal,
    Transitions,
    check_discount,
    expected_reward,
    optimal,
    policy_transitions,
)

HORIZONS = (1, 4, 8, 16, 32)
_SAME = 1e-9


@dataclass(frozen=True, eq=False)
class Original:
    """The MDP and the reward that counts.

    Attributes:
        tau: (S, A, S) float64 transitions.
        reward: (S, A) float64.
        gamma: Discount in [0, 1).
    """

    tau: Array
    reward: Array
    gamma: float

    @classmethod
    def of(cls, T: Transitions, Rbar: Any, gamma: float) -> Original:  # noqa: N803
        """From transitions, dense or sparse, and a reward of any shape that `mdp` knows.

        Raises:
            ValueError: Shapes, probabilities or the discount are wrong.
        """
        mean = expected_reward(Rbar, T)
        tau = T.toarray().reshape(*mean.shape, -1) if sparse.issparse(T) else np.asarray(T, dtype=np.float64)
        return cls(tau, mean, check_discount(gamma))

    @cached_property
    def best(self) -> Optimal:
        """What is optimal."""
        return optimal(self.reward, self.tau, self.gamma)

    @cached_property
    def margin(self) -> Array:
        """(S,) d(s): the least that an action costs which is not optimal; 0 where all are."""
        losses = np.where(self.best.actions, np.inf, self.best.values[:, None] - self.best.q)
        least = losses.min(axis=1)
        return np.where(np.isfinite(least), least, 0.0)

    @cached_property
    def terminal(self) -> NDArray[np.bool_]:
        """(S,) bool: never left, and without reward."""
        stays = (np.einsum("sas->sa", self.tau) >= 1 - _SAME).all(axis=1)
        return np.asarray(stays & (self.reward == 0).all(axis=1))

    @cached_property
    def goals(self) -> tuple[int, ...]:
        """The states with a reward."""
        return tuple(int(state) for state in np.flatnonzero((self.reward != 0).any(axis=1)))

    def losses(self, basis: Array, horizon: int | None) -> Array:
        """(S, A, K) delta_h of K rewards.

        Args:
            basis: (S, A, K) rewards.
            horizon: How many rewards are counted; None = all.
        """
        policy, rows = self.best.policy, np.arange(len(self.reward))
        if horizon is None:
            chain = np.eye(len(rows)) - self.gamma * policy_transitions(self.tau, np.eye(self.reward.shape[1])[policy])
            q = basis + self.gamma * (self.tau @ np.linalg.solve(chain, basis[rows, policy]))
        else:
            q = basis
            for _ in range(horizon - 1):
                q = basis + self.gamma * (self.tau @ q[rows, policy])
        return np.asarray(q[rows, policy][:, None] - q)


def informativeness(
    R: Any,  # noqa: N803
    T: Transitions,  # noqa: N803
    Rbar: Any,  # noqa: N803
    gamma: float,
    horizons: Iterable[int] = HORIZONS,
) -> float:
    """How much a reward tells a learner who looks a few steps ahead.

    It is minus the mean over horizons and states of the largest [d(s) - delta_h(s, a; R)]+ over actions that are not
    optimal: how much of the margin does not show within h rewards.

    Args:
        R: The reward to judge, (S, A, S), (S, A) or (S,).
        T: (S, A, S) transitions, or sparse (S * A, S).
        Rbar: The reward that counts.
        gamma: Discount in [0, 1).
        horizons: How many rewards learners count; each at least 1.

    Returns:
        At most 0; 0 = at every horizon the best action leads by its full margin.

    Raises:
        ValueError: Shapes, probabilities, the discount or a horizon are wrong.
    """
    original = Original.of(T, Rbar, gamma)
    steps = check_horizons(horizons)
    basis = expected_reward(R, T)[:, :, None]
    total = 0.0
    for horizon in steps:
        missing = original.margin[:, None] - original.losses(basis, horizon)[:, :, 0]
        total += float(np.where(original.best.actions, 0.0, np.maximum(missing, 0.0)).max(axis=1).sum())
    # Not -0.0.
    return 0.0 - total / (len(steps) * len(original.reward))


def check_invariance(R: Any, T: Transitions, Rbar: Any, gamma: float) -> float:  # noqa: N803
    """By how much a reward fails to keep the optimal policies with their margins.

    Args:
        R: The reward to judge, (S, A, S), (S, A) or (S,).
        T: (S, A, S) transitions, or sparse (S * A, S).
        Rbar: The reward that counts.
        gamma: Discount in [0, 1).

    Returns:
        The largest of d(s) - delta_inf(s, a; R) over actions that are not optimal and of -delta_inf(s, a; R) over those
        that are. Up to rounding it is at most 0 exactly where the followed optimal policy stays optimal by the original
        margin. It is never below 0: the followed action itself loses nothing.

    Raises:
        ValueError: Shapes, probabilities or the discount are wrong.
    """
    original = Original.of(T, Rbar, gamma)
    losses = original.losses(expected_reward(R, T)[:, :, None], None)[:, :, 0]
    return float((np.where(original.best.actions, 0.0, original.margin[:, None]) - losses).max())


def check_horizons(horizons: Iterable[int]) -> tuple[int, ...]:
    """Horizons, which must be integers of at least 1, and one or more.

    Raises:
        ValueError: They are not.
    """
    steps = tuple(horizons)
    if not steps or any(int(step) != step or step < 1 for step in steps):
        raise ValueError(f"horizons: integers of at least 1 were expected, got {list(steps)}")
    return tuple(int(step) for step in steps)
