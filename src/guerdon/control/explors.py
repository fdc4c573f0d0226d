"""ExploRS: an agent that learns its own dense reward from a sparse outcome (Devidze, Kamalaruban and Singla, 2022).

The learner is trained on Rhat(s, a, s') = Rbar(s, a) + R_phi(s, a) + b(s'): the outcome, a learnt intrinsic reward and
a bonus for what was seldom visited. R_phi follows a meta-gradient: how one policy-gradient step on R_phi would change
the return of the outcome alone,

    phi += eta sum pi(a_t|s_t) (Gbar_t - V(s_t)) grad [R_phi(s_t, a_t) - sum_b pi(b|s_t) R_phi(s_t, b)],

with pi as it was when the step was made. Gbar is the return of Rbar only: with Rhat's return the reward would feed
itself. `ExploRS` holds R_phi and the critic V as tables; `SelfRewardNet` is a network for any features.

Where this differs from the paper: a clip of the table is off unless it is asked for, as in the official code for
policy-gradient learners; the network's loss is a mean over steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from guerdon import ops
from guerdon.control.mdp import Array
from guerdon.shape.count_bonus import count_bonus


@dataclass(frozen=True, eq=False)
class Episode:
    """An episode of n steps, as it was collected.

    Attributes:
        states: (n,) integers.
        actions: (n,) integers.
        outcomes: (n,) float64 rewards Rbar.
        policies: (n, A) float64 law of the actions in these states when they were taken.
        returns: (n,) float64 discounted returns of the outcomes; see `episode`.
    """

    states: NDArray[np.int64]
    actions: NDArray[np.int64]
    outcomes: Array
    policies: Array
    returns: Array


def discounted_returns(rewards: ArrayLike, gamma: float) -> Array:
    """(n,) float64: the discounted sum of the rewards from each step on."""
    values = torch.as_tensor(np.asarray(rewards, dtype=np.float64))[None]
    return np.asarray(ops.discounted_suffix(values, torch.ones_like(values, dtype=torch.bool), gamma)[0].numpy())


def episode(
    states: ArrayLike, actions: ArrayLike, outcomes: ArrayLike, policies: ArrayLike, gamma: float = 0.99
) -> Episode:
    """An episode with its returns. One that was cut off by time has the return of what it saw.

    Raises:
        ValueError: Lengths do not fit.
    """
    rows, taken = np.asarray(states, dtype=np.int64), np.asarray(actions, dtype=np.int64)
    paid, laws = np.asarray(outcomes, dtype=np.float64), np.asarray(policies, dtype=np.float64)
    if rows.ndim != 1 or taken.shape != rows.shape or paid.shape != rows.shape or laws.shape[:1] != rows.shape:
        raise ValueError(
            f"states {rows.shape}, actions {taken.shape}, outcomes {paid.shape}, policies {laws.shape}: expected (n,), "
            "(n,), (n,) and (n, A)"
        )
    return Episode(rows, taken, paid, laws, discounted_returns(paid, gamma))


class ExploRS:
    """The intrinsic reward, the bonus and the critic as tables.

    Attributes:
        phi: (S, A) intrinsic rewards R_phi.
        values: (S,) critic of the outcome's return.
        visits: (S,) how often states were left, over all history.
    """

    def __init__(
        self,
        S: int,  # noqa: N803
        A: int,  # noqa: N803
        *,
        scale: float = 1.0,
        largest_bonus: float = 1.0,
        eta_phi: float = 0.01,
        eta_v: float = 0.01,
        clip: float | None = None,
        terminal: Sequence[int] = (),
    ) -> None:
        """Start with no intrinsic reward and no visits.

        Args:
            S: Number of states.
            A: Number of actions.
            scale: lambda of the bonus; 0 = no bonus.
            largest_bonus: The bonus of a state that was never visited.
            eta_phi: Step size of the intrinsic reward; 0 = none is learnt.
            eta_v: Step size of the critic.
            clip: The table is kept in [-clip, clip]; None = it is not clipped. Learners by values need it.
            terminal: States without a bonus.

        Raises:
            ValueError: A number is out of range.
        """
        if S < 1 or A < 1:
            raise ValueError(f"S is {S}, A is {A}: expected at least 1 of each")
        if min(scale, eta_phi, eta_v) < 0 or largest_bonus <= 0 or (clip is not None and clip <= 0):
            raise ValueError(
                f"scale {scale}, eta_phi {eta_phi}, eta_v {eta_v}: expected at least 0; largest_bonus {largest_bonus}, "
                f"clip {clip}: expected above 0"
            )
        self.scale, self.largest_bonus, self.eta_phi, self.eta_v = scale, largest_bonus, eta_phi, eta_v
        self.clip = clip
        self.phi: Array = np.zeros((S, A))
        self.values: Array = np.zeros(S)
        self.visits: NDArray[np.int64] = np.zeros(S, dtype=np.int64)
        self._ends = frozenset(int(state) for state in terminal)

    def bonus(self, state: int) -> float:
        """b(s), 0 at the end."""
        if self.scale == 0 or state in self._ends:
            return 0.0
        return float(count_bonus(float(self.visits[state]), self.scale, self.largest_bonus))

    def reward(self, s: int, a: int, s2: int) -> float:
        """R_phi(s, a) + b(s'), to be added to the outcome's reward; before `observe(s)`."""
        return float(self.phi[s, a]) + self.bonus(s2)

    def observe(self, s: int) -> None:
        """Count that the state was left, after the reward of that step was made."""
        self.visits[s] += 1

    def update(self, batch: Sequence[Episode]) -> None:
        """One step of the intrinsic reward, then one of the critic, on all episodes of a batch."""
        if not batch:
            return
        states, actions, returns = (
            np.concatenate([getattr(one, name) for one in batch]) for name in ("states", "actions", "returns")
        )
        policies = np.concatenate([one.policies for one in batch])
        advantage = returns - self.values[states]
        if advantage.any():
            self.phi += self.eta_phi * meta_gradient(states, actions, advantage, policies, len(self.values))
            if self.clip is not None:
                np.clip(self.phi, -self.clip, self.clip, out=self.phi)
        # The mean of the errors of each state.
        sums = np.bincount(states, weights=advantage, minlength=len(self.values))
        seen = np.bincount(states, minlength=len(self.values))
        self.values += self.eta_v * sums / np.maximum(seen, 1)


def meta_gradient(states: ArrayLike, actions: ArrayLike, advantage: ArrayLike, policies: ArrayLike, S: int) -> Array:  # noqa: N803
    """The direction in which the outcome's return grows with a tabular R_phi, by one policy step on R_phi.

    Args:
        states: (n,) integers.
        actions: (n,) integers.
        advantage: (n,) returns of the outcome less the critic.
        policies: (n, A) law of the actions when they were taken.
        S: Number of states.

    Returns:
        (S, A) float64, a sum over steps: advantage * pi(a|s) at (s, a), less that times pi(b|s) at every (s, b); rows
        sum to 0.
    """
    rows, taken = np.asarray(states, dtype=np.int64), np.asarray(actions, dtype=np.int64)
    laws = np.asarray(policies, dtype=np.float64)
    weight = laws[np.arange(len(rows)), taken] * np.asarray(advantage, dtype=np.float64)
    found = np.zeros((S, laws.shape[1]))
    np.add.at(found, (rows, taken), weight)
    np.add.at(found, rows, -weight[:, None] * laws)
    return found


def meta_loss(rewards: Tensor, actions: Tensor, advantage: Tensor, policies: Tensor) -> Tensor:
    """The loss whose descent is the meta-gradient, for any differentiable R_phi; a mean over steps.

    Args:
        rewards: (N, A) R_phi of all actions in each step's state, differentiable; NaN = no such action, or none scored.
        actions: (N,) int64, taken.
        advantage: (N,) return of the outcome less the critic; NaN = the step is left out.
        policies: (N, A) law of the actions when they were taken.

    Returns:
        A scalar: minus the mean of pi(a|s) * advantage * (R_phi(s, a) - sum_b pi(b|s) R_phi(s, b)); 0 without steps.
    """
    mean = (policies * torch.where(policies > 0, rewards, 0.0)).sum(dim=1)
    taken = actions[:, None]
    gain = rewards.gather(1, taken)[:, 0] - mean
    weight = (policies.gather(1, taken)[:, 0] * advantage).detach()
    # A step whose action, or any that the policy could take, was not scored says nothing.
    counted = ~(torch.isnan(weight) | torch.isnan(gain.detach()))
    if not counted.any():
        return torch.where(torch.isnan(rewards), 0.0, rewards).sum() * 0.0
    # Chosen before the product: what is left out must not reach the gradient as 0 times NaN.
    return -(weight[counted] * gain[counted]).mean()


class SelfRewardNet(nn.Module):
    """R_phi and the critic as networks over features: rewards are c * tanh(f(x)), so that they stay within [-c, c].

    `forward` gives rewards of all actions; `update` makes one meta-gradient step and then one of the critic.
    """

    def __init__(
        self,
        features: int,
        actions: int,
        hidden: int = 64,
        clip: float = 0.1,
        eta_phi: float = 1e-3,
        eta_v: float = 5e-3,
        seed: int = 0,
    ) -> None:
        """Build the networks.

        Args:
            features: Length of a state's features.
            actions: Number of actions.
            hidden: Width of the two hidden layers.
            clip: c, the largest absolute reward.
            eta_phi: Learning rate of the reward, by Adam.
            eta_v: Learning rate of the critic, by Adam.
            seed: Of the first weights.

        Raises:
            ValueError: A size or `clip` is not positive.
        """
        super().__init__()
        if min(features, actions, hidden) < 1 or clip <= 0:
            raise ValueError(
                f"features {features}, actions {actions}, hidden {hidden}, clip {clip}: all must be positive"
            )
        self.clip = clip
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.net = _layers(features, hidden, actions)
            self.critic = _layers(features, hidden, 1)
        # No opinion at first.
        last: Any = self.net[-1]
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self._rewards = torch.optim.Adam(self.net.parameters(), lr=eta_phi)
        self._values = torch.optim.Adam(self.critic.parameters(), lr=eta_v)

    def forward(self, x: Tensor) -> Tensor:
        """(N, A) rewards of features (N, F)."""
        return self.clip * torch.tanh(self.net(x))

    def update(self, x: Tensor, actions: Tensor, returns: Tensor, policies: Tensor) -> tuple[float, float]:
        """One step of each network.

        Args:
            x: (N, F) features of the steps' states.
            actions: (N,) int64, taken.
            returns: (N,) returns of the outcome; NaN = the step is left out.
            policies: (N, A) law of the actions when they were taken.

        Returns:
            The meta-loss and the critic's mean squared error, before the steps. Without steps that count, zeros, and
            nothing is changed.
        """
        counted = ~torch.isnan(returns)
        if not counted.any():
            return 0.0, 0.0
        x, actions, returns, policies = x[counted], actions[counted], returns[counted], policies[counted]
        values = self.critic(x)[:, 0]
        loss = meta_loss(self(x), actions, returns - values.detach(), policies)
        self._rewards.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._rewards.step()
        error = (values - returns).square().mean()
        self._values.zero_grad()
        error.backward()
        self._values.step()
        return float(loss.detach()), float(error.detach())


def _layers(features: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, outputs)
    )
