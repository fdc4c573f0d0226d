"""Rewards that depend on how often something was seen: bonuses for what is new, decay of what repeats.

A count bonus lambda / sqrt((lambda / b_max)^2 + n) is paid for reaching what was seen n times in all of training
(Devidze et al., NeurIPS 2022). A count decay divides a reward by n^beta, where n counts within the episode, this time
included (arXiv 2410.23022), so that nothing is earned by doing the same thing over and over. One counter serves both.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from guerdon.rollouts import Rollouts


@dataclass
class VisitCounter:
    """How often keys were seen: in all history, or in the present episode of each of B environments.

    Attributes:
        episodic: Whether each environment counts for itself, and from 0 again after the end of its episode.
        history: Counts over all history; empty where `episodic`.
        episodes: Counts of each environment's episode; empty unless `episodic`.

    Example:
        >>> counter = VisitCounter(episodic=True)
        >>> [counter.update([key], [False]).item() for key in "aaba"]
        [1, 2, 1, 3]
    """

    episodic: bool = False
    history: Counter[Hashable] = field(default_factory=Counter)
    episodes: list[Counter[Hashable]] = field(default_factory=list)

    def update(self, keys: Sequence[Hashable], dones: Sequence[bool] | Tensor | None = None) -> Tensor:
        """Count one key of each environment.

        Args:
            keys: B keys, of environment 0, 1, ...
            dones: B flags: the episode of this environment ends with this key. None = none ends.

        Returns:
            (B,) int64 counts, this time included. Over all history, equal keys of one call count one after the other.

        Raises:
            ValueError: The number of flags or of environments is another.
        """
        ends = [False] * len(keys) if dones is None else [bool(done) for done in dones]
        if len(ends) != len(keys):
            raise ValueError(f"dones has {len(ends)} entries: expected {len(keys)}, like keys")
        if self.episodic and not self.episodes:
            self.episodes = [Counter() for _ in keys]
        if self.episodic and len(self.episodes) != len(keys):
            raise ValueError(f"keys has {len(keys)} entries: expected {len(self.episodes)}, one of each environment")
        counts = []
        for row, key in enumerate(keys):
            counter = self.episodes[row] if self.episodic else self.history
            counter[key] += 1
            counts.append(counter[key])
            if self.episodic and ends[row]:
                counter.clear()
        return torch.tensor(counts, dtype=torch.int64)

    def counts(self, keys: Sequence[Hashable]) -> Tensor:
        """(B,) int64: how often keys were seen so far; nothing is counted."""
        if self.episodic:
            if self.episodes and len(self.episodes) != len(keys):
                raise ValueError(f"keys has {len(keys)} entries: expected {len(self.episodes)}")
            seen = [counter[key] for counter, key in zip(self.episodes, keys, strict=True)] if self.episodes else None
            return torch.tensor(seen or [0] * len(keys), dtype=torch.int64)
        return torch.tensor([self.history[key] for key in keys], dtype=torch.int64)

    def state_dict(self) -> dict[str, Any]:
        """What it has counted, to be stored."""
        return {"episodic": self.episodic, "history": dict(self.history), "episodes": [dict(e) for e in self.episodes]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what was stored."""
        self.episodic = bool(state["episodic"])
        self.history = Counter(state["history"])
        self.episodes = [Counter(episode) for episode in state["episodes"]]


def count_bonus(counts: Any, scale: float = 1.0, largest: float = 1.0) -> Any:
    """The bonus for what was seen n times before: lambda / sqrt((lambda / b_max)^2 + n).

    Args:
        counts: n >= 0: a tensor, an array or a number.
        scale: lambda > 0.
        largest: b_max > 0, the bonus at n = 0.

    Returns:
        Bonuses of the kind and shape of `counts`, as floats.

    Raises:
        ValueError: `scale` or `largest` is not positive, or a count is below 0.

    Example:
        >>> [count_bonus(n) for n in (0, 3)]
        [1.0, 0.5]
    """
    if not 0 < scale < math.inf or not 0 < largest < math.inf:
        raise ValueError(f"scale is {scale}, largest is {largest}: both must be positive and finite")
    least = counts if isinstance(counts, (int, float)) else (counts.min() if math.prod(counts.shape) else 0)
    if least < 0:
        raise ValueError("counts: numbers of at least 0 were expected")
    return scale / ((scale / largest) ** 2 + counts) ** 0.5


def count_decay(counts: Tensor, beta: float = 3.0) -> Tensor:
    """The factor n^-beta for what is seen the n-th time.

    Args:
        counts: n >= 1, any shape, integer or float; NaN stays NaN.
        beta: At least 0; 0 = no decay.

    Returns:
        Factors in (0, 1]; float32 for integer counts.

    Raises:
        ValueError: `beta` is below 0 or not finite, or a count is below 1.
    """
    if not 0 <= beta < math.inf:
        raise ValueError(f"beta is {beta}: expected a finite number of at least 0")
    if (counts < 1).any():
        raise ValueError("counts: numbers of at least 1 were expected: the present time is counted")
    n = counts if counts.is_floating_point() else counts.to(torch.float32)
    return torch.where(torch.isnan(n), n, n.pow(-beta))


def mixed_reward(
    ext: Tensor, intr: Tensor, counts: Tensor, c_ext: float = 1.0, c_int: float = 1.0, beta: float = 3.0
) -> Tensor:
    """c_ext * task reward + c_int * intrinsic reward / n^beta; the task reward never decays (arXiv 2410.23022).

    Args:
        ext: (B,) task rewards; any shape that fits.
        intr: (B,) intrinsic rewards.
        counts: (B,) how often in this episode, now included.
        c_ext: Weight of the task.
        c_int: Weight of the intrinsic reward.
        beta: See `count_decay`.

    Returns:
        The sum; NaN where a part is.

    Raises:
        ValueError: `beta` is below 0, or a count is below 1.

    Example:
        >>> import torch
        >>> counts = torch.tensor([1, 2, 1, 3])
        >>> mixed = mixed_reward(torch.tensor([0.0, 0, 1, 0]), torch.tensor([1.0, 1, 0, 1]), counts, 0.1, 0.4)
        >>> [round(reward, 6) for reward in mixed.tolist()]
        [0.4, 0.05, 0.1, 0.014815]
    """
    n = counts if counts.is_floating_point() else counts.to(intr.dtype)
    return c_ext * ext + c_int * intr * count_decay(n, beta)


def occurrences(keys: Tensor) -> Tensor:
    """The how-manieth time each key is seen in its row.

    Args:
        keys: (B, S) numbers, such as the state or the type of a step; NaN = no such step.

    Returns:
        (B, S) int64, from 1; 0 where there is no step.

    Example:
        >>> import torch
        >>> occurrences(torch.tensor([[7, 7, 8, 7]])).tolist()
        [[1, 2, 1, 3]]
    """
    if keys.ndim != 2:
        raise ValueError(f"keys has shape {tuple(keys.shape)}: expected (B, S)")
    if not keys.numel():
        return torch.zeros(keys.shape, dtype=torch.int64, device=keys.device)
    ordered, order = torch.sort(keys, dim=1, stable=True)
    places = torch.arange(keys.shape[1], device=keys.device).expand(keys.shape)
    first = torch.ones_like(ordered, dtype=torch.bool)
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    starts = torch.where(first, places, 0).cummax(dim=1).values
    times = torch.zeros_like(places).scatter(1, order, places - starts + 1)
    return torch.where(torch.isnan(keys), 0, times) if keys.is_floating_point() else times


@dataclass(frozen=True)
class CountDecay:
    """Divide process rewards by n^beta, where n is the how-manieth time the step's key is seen in its response.

    Attributes:
        key: Name in `steps` of a number that says what the step is or where it leads to. Steps without one keep their
            reward.
        beta: See `count_decay`.
    """

    key: str
    beta: float = 3.0
    writes: ClassVar[tuple[str, ...]] = ("process",)

    def __post_init__(self) -> None:
        count_decay(torch.ones(1), self.beta)

    @property
    def reads(self) -> tuple[str, ...]:
        """The process rewards and the key."""
        return ("process", f"steps/{self.key}")

    def __call__(self, rollouts: Rollouts) -> Rollouts:
        """Return the rollouts with decayed process rewards.

        Raises:
            ValueError: There is no such per-step number.
        """
        if self.key not in rollouts.steps:
            raise ValueError(f"steps has no {self.key!r}: expected one of {sorted(rollouts.steps)}")
        times = occurrences(rollouts.steps[self.key]).clamp(min=1).to(rollouts.process)
        return rollouts.replace(process=rollouts.process * count_decay(times, self.beta))
