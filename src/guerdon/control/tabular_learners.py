"""Learners with tables: Q-learning on a given reward, and REINFORCE that learns its reward by ExploRS.

Both record, episode by episode, what the outcome's reward alone says of the policy.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from itertools import accumulate
from typing import Any

import numpy as np
from scipy.special import softmax

from guerdon.control.explors import Episode, ExploRS, discounted_returns, episode
from guerdon.control.finite_mdp import FiniteMDP
from guerdon.control.mdp import Array, expected_reward, policy_return


class Sampler:
    """Draws next states of a finite MDP with dense transitions, one at a time."""

    def __init__(self, mdp: FiniteMDP) -> None:
        """Prepare the successors of each state and action."""
        self._after: list[list[tuple[list[int], list[float]]]] = []
        for state in range(mdp.states):
            row = []
            for action in range(mdp.actions):
                places = np.flatnonzero(mdp.tau[state, action])
                law = [float(share) for share in mdp.tau[state, action, places]]
                row.append(([int(place) for place in places], list(accumulate(law))))
            self._after.append(row)

    def __call__(self, state: int, action: int, draw: float) -> int:
        """The next state for a draw in [0, 1)."""
        places, sums = self._after[state][action]
        return places[min(bisect_right(sums, draw), len(places) - 1)]


def q_learning(
    mdp: FiniteMDP,
    reward: Any,
    outcome: Any,
    episodes: int,
    *,
    end: int,
    horizon: int = 100,
    epsilon: float = 0.1,
    alpha: float = 0.5,
    seed: int = 0,
) -> Array:
    """Q-learning on one reward, judged by another.

    Args:
        mdp: The world, dense, with its discount.
        reward: What is learnt from, (S, A, S), (S, A) or (S,).
        outcome: What counts, of the same shapes.
        episodes: How many.
        end: The state that ends an episode.
        horizon: Steps of an episode at most.
        epsilon: How often an action is drawn uniformly.
        alpha: Learning rate.
        seed: Of starts, actions and next states.

    Returns:
        (episodes,) float64: after each episode the exact return, under `outcome`, of the policy that takes the best
        actions, each equally often.

    Raises:
        ValueError: The MDP has no discount.
    """
    if mdp.gamma is None:
        raise ValueError("the MDP has no discount")
    generator = np.random.default_rng(seed)
    after, paid = Sampler(mdp), expected_reward(reward, mdp.tau).tolist()
    judged = expected_reward(outcome, mdp.tau)
    actions = mdp.actions
    q = [[0.0] * actions for _ in range(mdp.states)]
    found = np.zeros(episodes)
    for index in range(episodes):
        state = int(generator.choice(mdp.states, p=mdp.mu0))
        for draws in generator.random((horizon, 3)).tolist():
            row = q[state]
            if draws[0] < epsilon:
                action = int(draws[1] * actions)
            else:
                top = max(row)
                best = [each for each in range(actions) if row[each] == top]
                action = best[int(draws[1] * len(best))]
            following = after(state, action, draws[2])
            future = 0.0 if following == end else mdp.gamma * max(q[following])
            row[action] += alpha * (paid[state][action] + future - row[action])
            state = following
            if state == end:
                break
        table = np.array(q)
        ties = table == table.max(axis=1, keepdims=True)
        found[index] = policy_return(judged, mdp.tau, mdp.gamma, ties / ties.sum(axis=1, keepdims=True), mdp.mu0)
    return found


def reinforce_explors(
    mdp: FiniteMDP,
    outcome: Any,
    shaper: ExploRS,
    episodes: int,
    *,
    horizon: int = 40,
    learning_rate: float = 0.1,
    reward_every: int = 5,
    policy_every: int = 2,
    buffer: int = 10,
    policy_batch: int = 5,
    seed: int = 0,
) -> Array:
    """REINFORCE on the outcome, the learnt intrinsic reward and the bonus together.

    Args:
        mdp: The world, dense, with its discount; episodes end by time.
        outcome: Rbar, (S, A, S), (S, A) or (S,).
        shaper: The intrinsic reward and the bonus; it is changed.
        episodes: How many.
        horizon: Steps of an episode.
        learning_rate: Of the policy, a softmax of a table.
        reward_every: The intrinsic reward is updated after so many episodes, on the whole buffer.
        policy_every: The policy is updated after so many episodes, on the last `policy_batch`.
        buffer: Episodes that are kept, first in, first out.
        policy_batch: Episodes of an update of the policy, at most `buffer`.
        seed: Of starts, actions and next states.

    Returns:
        (episodes,) float64: the discounted return of the outcome in each episode.

    Raises:
        ValueError: The MDP has no discount, or `policy_batch` is more than `buffer`.
    """
    if mdp.gamma is None:
        raise ValueError("the MDP has no discount")
    if not 1 <= policy_batch <= buffer:
        raise ValueError(f"policy_batch is {policy_batch}: expected 1 to {buffer}, the size of the buffer")
    generator = np.random.default_rng(seed)
    after = Sampler(mdp)
    judged = expected_reward(outcome, mdp.tau)
    paid = judged.tolist()
    theta = np.zeros((mdp.states, mdp.actions))
    pi: Array = softmax(theta, axis=1)
    kept: deque[tuple[Episode, Array]] = deque(maxlen=buffer)
    found = np.zeros(episodes)
    for index in range(episodes):
        state = int(generator.choice(mdp.states, p=mdp.mu0))
        sums = pi.cumsum(axis=1).tolist()
        states, actions, totals = [], [], []
        for first, second in generator.random((horizon, 2)).tolist():
            action = min(bisect_right(sums[state], first), mdp.actions - 1)
            following = after(state, action, second)
            states.append(state)
            actions.append(action)
            totals.append(paid[state][action] + shaper.reward(state, action, following))
            shaper.observe(state)
            state = following
        one = episode(states, actions, judged[states, actions], pi[states], mdp.gamma)
        kept.append((one, discounted_returns(totals, mdp.gamma)))
        found[index] = one.returns[0]
        if (index + 1) % reward_every == 0:
            shaper.update([each for each, _ in kept])
        if (index + 1) % policy_every == 0:
            theta += learning_rate * _policy_gradient(list(kept)[-policy_batch:], pi)
            pi = softmax(theta, axis=1)
    return found


def _policy_gradient(batch: list[tuple[Episode, Array]], pi: Array) -> Array:
    """(S, A) gradient of REINFORCE for the softmax table, a mean over steps."""
    states = np.concatenate([one.states for one, _ in batch])
    actions = np.concatenate([one.actions for one, _ in batch])
    weights = np.concatenate([returns for _, returns in batch]) / len(states)
    found = np.zeros_like(pi)
    np.add.at(found, (states, actions), weights)
    return np.asarray(found - np.bincount(states, weights, minlength=len(pi))[:, None] * pi)
