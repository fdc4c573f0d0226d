"""STARC from samples: for large or continuous spaces, and for stored rollouts (arXiv 2309.15257).

c(R)(s, a) = E[R(s, a, S') + gamma V(S')] - V(s) is estimated on transitions drawn from a law that covers the space:
values by a function of the caller's (Monte Carlo, SARSA, a network), the inner mean by k draws of the next state. Norms
are (mean |c|^p)^(1/p). Noise adds to a distance and never cancels, so that 0 is not reached: the result carries a noise
floor, the distance of the first reward from itself under two independent sets of draws, and a bootstrap interval.

Stored rollouts are a finite MDP that is seen through its samples. The state is what came before, (step, prefix); the
action is the step; a score of the whole response is paid on its last step, a process reward on each. So the distance of
a process reward from the outcome says whether it would rank the same policies first.

Where this differs from the paper: both rewards are canonicalised on the same draws of next states, so that shaping of
either is seen through exactly; and rollouts end, so that a discount of 1 is allowed there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from guerdon import ops
from guerdon.control.mdp import Array, check_discount
from guerdon.rollouts import Rollouts

RewardFunction: TypeAlias = Callable[[Any, Any, Any], ArrayLike]
"""(states, actions, next states), each with N rows -> (N,) rewards."""
ValueFunction: TypeAlias = Callable[[RewardFunction, Any, np.random.Generator], ArrayLike]
"""(reward, states, generator) -> (N,) values of one fixed policy under that reward; noise comes from the generator."""
TRIVIAL = 1e-9
STATES = ("prefix", "step")


@dataclass(frozen=True)
class Transitions:
    """Pairs of state and action to compare rewards on, and a way to draw what follows.

    Attributes:
        states: N rows, whatever the reward and value functions take.
        actions: N rows.
        draw: (states, actions, generator) -> N next states, independent of each other and of earlier calls.
    """

    states: Any
    actions: Any
    draw: Callable[[Any, Any, np.random.Generator], Any]


@dataclass(frozen=True)
class SampledDistance:
    """An estimated distance; unpacks into (distance, noise_floor).

    Attributes:
        distance: The estimate.
        noise_floor: The distance of the first reward from itself under two independent sets of draws: what noise alone
            makes. A distance near it is no evidence of a difference.
        low: Lower end of the 95 % bootstrap interval.
        high: Upper end.
        samples: How many transitions took part.
    """

    distance: float
    noise_floor: float
    low: float
    high: float
    samples: int

    def __iter__(self) -> Iterator[float]:
        return iter((self.distance, self.noise_floor))


def sampled_starc(
    r1: RewardFunction,
    r2: RewardFunction,
    transitions: Transitions,
    value_fn: ValueFunction,
    k: int = 16,
    *,
    gamma: float,
    n: float = 2,
    m: float = 2,
    seed: int = 0,
    resamples: int = 1000,
) -> SampledDistance:
    """The STARC distance (VAL) of two rewards from samples.

    Args:
        r1: A reward.
        r2: Another.
        transitions: Where they are compared.
        value_fn: Values of one fixed policy; it is called with each reward, since each needs its own values.
        k: Draws of the next state for each pair.
        gamma: Discount in [0, 1).
        n: p of the norm that canonical forms are divided by.
        m: p of the norm of the difference.
        seed: Of all draws.
        resamples: Of the bootstrap over transitions.

    Returns:
        The estimate with its noise floor and 95 % interval.

    Raises:
        ValueError: k < 1, p < 1, gamma outside [0, 1), no transitions, or a function returned another shape.
    """
    check_discount(gamma)
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    _check_norms(n, m)
    forms = []
    for draw in range(2):
        children = np.random.default_rng([seed, draw]).spawn(2)
        forms.append(_canonical((r1, r2), transitions, value_fn, k, gamma, *children))
    first, second, again = forms[0][0], forms[0][1], forms[1][0]
    groups = np.arange(len(first))
    low, high = _interval(first, second, groups, n, m, resamples, np.random.default_rng([seed, 2]))
    return SampledDistance(_distance(first, second, n, m), _distance(first, again, n, m), low, high, len(first))


def _canonical(
    rewards: tuple[RewardFunction, RewardFunction],
    transitions: Transitions,
    value_fn: ValueFunction,
    k: int,
    gamma: float,
    of_states: np.random.Generator,
    of_values: np.random.Generator,
) -> list[Array]:
    """Canonical forms of both rewards on the same draws: (N,) each."""
    states, actions = transitions.states, transitions.actions
    count = len(states)
    if not count or len(actions) != count:
        raise ValueError(f"transitions: as many states as actions were expected, got {count} and {len(actions)}")
    following = [transitions.draw(states, actions, of_states) for _ in range(k)]
    seed = int(of_values.integers(2**63))
    found = []
    for reward in rewards:
        # The same seed for both: what noise the values have is then shared, as the draws are.
        generator = np.random.default_rng(seed)
        here = _row("value_fn", value_fn(reward, states, generator), count)
        total, largest = np.zeros(count), 0.0
        for reached in following:
            paid = _row("the reward", reward(states, actions, reached), count)
            total, largest = total + paid, max(largest, float(np.abs(paid).max()))
            total += gamma * _row("value_fn", value_fn(reward, reached, generator), count)
        found.append(_without_rounding(total / k - here, largest))
    return found


def rollouts_starc(
    rollouts: Rollouts,
    first: str = "outcome",
    second: str = "process",
    *,
    gamma: float = 1.0,
    state: str = "prefix",
    n: float = 2,
    m: float = 2,
    seed: int = 0,
    resamples: int = 1000,
) -> SampledDistance:
    """The STARC distance of two scores of stored rollouts.

    Each score becomes a reward of steps (see `score_rewards`). The value of a state is the mean of what was collected
    from there on, over all rows that were in it; c of a step is its reward, plus the discounted value of where it
    leads, minus the value of where it starts. States with one visit say nothing: there c is 0 for every score.

    Args:
        rollouts: Responses, several in a group.
        first: "outcome", "process", the name of a column of numbers, or of per-step scores.
        second: Another.
        gamma: Discount of a step, in [0, 1].
        state: "prefix": rows are in one state while they share group and `node`s (the start only, where there are no
            nodes). "step": rows of a group are in one state at equal step indices; coarser, with values for later steps
            also where no two rows share a prefix.
        n: p of the norm that canonical forms are divided by.
        m: p of the norm of the difference.
        seed: Of the halves that the noise floor compares, and of the bootstrap.
        resamples: Of the bootstrap over groups (over rows, where there is one group).

    Returns:
        The estimate with its noise floor and 95 % interval. The floor compares values from two random halves of the
        rows of each state.

    Raises:
        ValueError: A name is unknown, no row has both scores, or a setting is out of range.
    """
    _check_norms(n, m)
    if state not in STATES:
        raise ValueError(f"state is {state!r}: expected one of {STATES}")
    if not 0 <= gamma <= 1:
        raise ValueError(f"gamma must be in [0, 1], got {gamma}")
    rewards, there = [], None
    for name in (first, second):
        reward, scored = score_rewards(rollouts, name)
        rewards.append(reward)
        there = scored if there is None else there & scored
    assert there is not None
    if not bool(there.any()):
        raise ValueError(f"no row has both scores {first!r} and {second!r}: nothing can be compared")
    key = state_ids(rollouts, state, there.shape[1])
    one, two = (step_advantages(reward, there, key, gamma) for reward in rewards)
    generator = np.random.default_rng([seed, 0])
    half = torch.as_tensor(generator.random(len(rollouts)) < 0.5)[:, None].expand_as(there)
    halves = [step_advantages(rewards[0], there, key, gamma, there & part) for part in (half, ~half)]
    # A state that only one half has seen has no second value to compare.
    both = there & ~torch.isnan(halves[0]) & ~torch.isnan(halves[1])
    parts = [_without_rounding(_flat(form, both), float(rewards[0].abs().max())) for form in halves]
    floor = _distance(parts[0], parts[1], n, m) if both.any() else float("nan")
    groups = rollouts.group[:, None].expand_as(there)[there].numpy()
    if len(np.unique(groups)) == 1:
        groups = torch.arange(len(rollouts))[:, None].expand_as(there)[there].numpy()
    sizes = [float(reward.abs().max()) for reward in rewards]
    flat = [_without_rounding(_flat(form, there), size) for form, size in zip((one, two), sizes, strict=True)]
    low, high = _interval(flat[0], flat[1], groups, n, m, resamples, np.random.default_rng([seed, 1]))
    return SampledDistance(_distance(flat[0], flat[1], n, m), floor, low, high, len(flat[0]))


def score_rewards(rollouts: Rollouts, name: str) -> tuple[Tensor, Tensor]:
    """A score as a reward of steps.

    Args:
        rollouts: The rollouts.
        name: "outcome", a column of numbers (both are paid on the last step), "process", or per-step scores.

    Returns:
        (B, S) float64 rewards, 0 where nothing is paid, and (B, S) bool: steps of rows that could be scored. A row
        without steps is one step. A row is left out whole if its score, or that of one of its steps, is missing.

    Raises:
        ValueError: There is no such score, or it is not one number a row or step.
    """
    exists = _steps(rollouts)
    if name == "process" or name in rollouts.steps:
        values = rollouts.process if name == "process" else rollouts.steps[name]
        if values.ndim != 2 or values.is_complex():
            raise ValueError(f"steps[{name!r}] has shape {tuple(values.shape)}: expected one number a step")
        if not values.shape[1]:
            raise ValueError(f"{name} has no steps: expected scores of steps")
        paid = values.double().cpu()
        scored = (~torch.isnan(paid) | ~rollouts.step_exists.cpu()).all(1) & ~torch.isnan(paid).all(1)
        return torch.where(exists & scored[:, None], paid.nan_to_num(), 0.0), exists & scored[:, None]
    if name == "outcome":
        score = rollouts.outcome.double().cpu()
    elif name in rollouts.columns:
        score = _numbers(name, rollouts.columns[name])
    else:
        known = ["outcome", "process", *rollouts.columns, *rollouts.steps]
        raise ValueError(f"no score {name!r}: there are {known}")
    scored = ~torch.isnan(score)
    last = exists & (exists.flip(1).cumsum(1).flip(1) == 1)
    paid = torch.where(last & scored[:, None], score.nan_to_num()[:, None], 0.0)
    return paid, exists & scored[:, None]


def state_ids(rollouts: Rollouts, state: str, steps: int) -> Tensor:
    """(B, S) int64: the state that each step starts from, equal ids = the same state.

    Args:
        rollouts: The rollouts.
        state: "prefix" or "step", see `rollouts_starc`.
        steps: S.
    """
    rows = len(rollouts)
    group = torch.unique(rollouts.group.cpu(), return_inverse=True)[1][:, None].expand(rows, steps)
    index = torch.arange(steps).expand(rows, steps)
    if state == "step":
        parts = [group, index]
    elif rollouts.node is not None and rollouts.n_steps == steps:
        # A step starts where the one before led to; 0 is the group's start.
        start = torch.cat([torch.zeros(rows, 1, dtype=torch.int64), rollouts.node.cpu()[:, :-1]], 1)
        parts = [group, index, start]
    else:
        parts = [group, index, torch.where(index == 0, -1, torch.arange(rows)[:, None])]
    flat = torch.stack(parts, -1).reshape(-1, len(parts))
    ids: Tensor = torch.unique(flat, dim=0, return_inverse=True)[1]
    return ids.reshape(rows, steps)


def step_advantages(reward: Tensor, there: Tensor, state: Tensor, gamma: float, valued: Tensor | None = None) -> Tensor:
    """Advantages reward + gamma V(next state) - V(state), with V = the mean reward-to-go of the visits of a state.

    Args:
        reward: (B, S) float64, 0 where nothing is paid.
        there: (B, S) bool, steps that take part.
        state: (B, S) int64, the state that each step starts from.
        gamma: Discount of a step.
        valued: (B, S) bool, visits that values are averaged over; None = `there`.

    Returns:
        (B, S) float64; 0 where no step takes part, NaN where a state has no visit among `valued`.
    """
    if not reward.numel():
        return torch.zeros_like(reward)
    onward = ops.discounted_suffix(reward, there, gamma)
    visits = there if valued is None else valued
    values = ops.mean(onward.reshape(-1), state.reshape(-1), where=visits.reshape(-1)).reshape(reward.shape)
    values = torch.where(there, values, 0.0)
    following = torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], 1)
    return torch.where(there, reward + gamma * following - values, 0.0)


def _steps(rollouts: Rollouts) -> Tensor:
    """(B, S) bool: the steps; a row without any counts as one."""
    exists = rollouts.step_exists.cpu() | ~torch.isnan(rollouts.process.cpu())
    if exists.shape[1] == 0:
        return torch.ones(len(rollouts), 1, dtype=torch.bool)
    # Steps follow each other: what is empty between two others is skipped by no token, but has its place.
    exists = exists.flip(1).cumsum(1).flip(1) > 0
    exists[:, 0] = True
    return exists


def _numbers(name: str, column: Any) -> Tensor:
    try:
        return torch.tensor([float("nan") if value is None else float(value) for value in column], dtype=torch.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"columns[{name!r}]: expected one number a row ({error})") from error


def _flat(form: Tensor, there: Tensor) -> Array:
    return np.asarray(form[there].numpy(), dtype=np.float64)


def _row(what: str, values: ArrayLike, count: int) -> Array:
    found = np.asarray(values, dtype=np.float64)
    if found.shape != (count,):
        raise ValueError(f"{what} returned shape {found.shape}: expected {(count,)}")
    return found


def _check_norms(*powers: float) -> None:
    for p in powers:
        if not p >= 1:
            raise ValueError(f"p is {p}: a norm needs p >= 1")


def _mean_norm(values: Array, p: float) -> float:
    sizes = np.abs(values)
    largest = float(sizes.max(initial=0.0))
    if largest == 0 or np.isinf(p):
        return largest
    return largest * float(((sizes / largest) ** p).mean() ** (1 / p))


def _distance(first: Array, second: Array, n: float, m: float) -> float:
    forms = []
    for form in (first, second):
        length = _mean_norm(form, n)
        forms.append(form / length if length > 0 else form)
    return _mean_norm(forms[0] - forms[1], m)


def _without_rounding(form: Array, largest: float) -> Array:
    """A canonical form, or 0 if it is nothing but the rounding of rewards of that size: it has no direction."""
    return form * 0 if np.abs(form).max(initial=0.0) < TRIVIAL * (1 + largest) else form


def _interval(
    first: Array,
    second: Array,
    groups: NDArray[np.int64],
    n: float,
    m: float,
    resamples: int,
    generator: np.random.Generator,
) -> tuple[float, float]:
    """95 % percentile bootstrap over whole groups of transitions."""
    _, index = np.unique(groups, return_inverse=True)
    order = np.argsort(index, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(index))[:-1])
    found = []
    for _ in range(resamples):
        chosen = np.concatenate([members[pick] for pick in generator.integers(0, len(members), len(members))])
        found.append(_distance(first[chosen], second[chosen], n, m))
    low, high = np.quantile(found, [0.025, 0.975]) if found else (float("nan"), float("nan"))
    return float(low), float(high)
