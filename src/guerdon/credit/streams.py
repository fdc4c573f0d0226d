"""Advantages that are normalised apart and then added.

Each stream of rewards, of responses or of steps, is brought to its own mean and spread first, so that no stream drowns
another (arXiv 2505.15034, 2509.19199, 2510.11457, 2512.03244). Adding rewards and normalising their sum is something
else: see `guerdon.shape.Blend`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from guerdon import ops
from guerdon.ops.schedule import Schedule
from guerdon.rollouts import Rollouts
from guerdon.terms import term

LEVELS = ("row", "step")
POOLS = ("group", "position", "response")
NORMS = ("separate", "center", "none")


@dataclass(frozen=True, eq=False)
class Stream:
    """One kind of reward, and how it becomes an advantage.

    Attributes:
        values: (B,) float of responses, or (B, S) float of steps; NaN = not scored: takes no part and adds 0.
        key: (B,) int64 groups, or (B, S) int64 groups of steps.
        level: "row" for (B,), "step" for (B, S) values.
        pool: Which steps share a mean: all of the "group", those of the group at the same "position", or those of one
            "response".
        accumulate: Whether a step gets the sum of its own and all later normalised values (reward-to-go).
        gamma: Discount of one step in that sum.
        exists: (B, S) bool, steps that exist; None = those with values.
        center: The baseline; see `guerdon.ops.normalize`.
        scale: What divides.
        ddof: Degrees of freedom taken off in the standard deviation.
        eps: Is added to the standard deviation.
    """

    values: Tensor
    key: Tensor
    level: str = "row"
    pool: str = "group"
    accumulate: bool = False
    gamma: float = 1.0
    exists: Tensor | None = None
    center: str = "mean"
    scale: str = "group"
    ddof: int = 1
    eps: float = 1e-6

    def __post_init__(self) -> None:
        if self.level not in LEVELS or self.pool not in POOLS:
            raise ValueError(f"level is {self.level!r}, pool is {self.pool!r}: expected one of {LEVELS}, of {POOLS}")
        if self.values.ndim != (1 if self.level == "row" else 2):
            shape = tuple(self.values.shape)
            raise ValueError(
                f"values of level {self.level!r} have shape {shape}: expected (B,) of rows, (B, S) of steps"
            )
        if self.key.shape not in (self.values.shape, self.values.shape[:1]):
            raise ValueError(f"key has shape {tuple(self.key.shape)}: expected {tuple(self.values.shape)} or one a row")

    @property
    def advantage(self) -> Tensor:
        """(B,), or (B, S) with NaN where no step exists."""
        # Values that are taken as they are need no partner to be compared with.
        singleton = "raw" if self.center == self.scale == "none" else "zero"
        options = {"center": self.center, "scale": self.scale, "ddof": self.ddof, "eps": self.eps}
        options["singleton"] = singleton
        if self.level == "row":
            return ops.normalize(self.values, self.key, **options)  # type: ignore[arg-type]
        exists = ~torch.isnan(self.values) if self.exists is None else self.exists
        key, where = self._step_key().reshape(-1), exists.reshape(-1)
        flat = ops.normalize(self.values.reshape(-1), key, where=where, **options)  # type: ignore[arg-type]
        value = flat.reshape(self.values.shape)
        if self.accumulate:
            return ops.accumulate(value, exists, gamma=self.gamma, direction="suffix")
        return torch.where(exists, value, torch.nan)

    def _step_key(self) -> Tensor:
        rows, width = self.values.shape
        if self.pool == "response":
            return torch.arange(rows, device=self.key.device)[:, None].expand(rows, width)
        key = self.key if self.key.ndim == 2 else self.key[:, None].expand(rows, width)
        if self.pool == "group":
            return key
        dense: Tensor = torch.unique(key, return_inverse=True)[1]
        return dense * width + torch.arange(width, device=key.device)


AnyStream = Stream | tuple[Tensor, Tensor] | tuple[Tensor, Tensor, str] | tuple[Tensor, Tensor, str, str]


def _as_streams(streams: Sequence[AnyStream], weights: Sequence[float]) -> list[Stream]:
    if not streams or len(streams) != len(weights):
        raise ValueError(f"there are {len(streams)} streams and {len(weights)} weights: expected equal numbers above 0")
    made = [stream if isinstance(stream, Stream) else Stream(*stream) for stream in streams]
    if len({len(stream.values) for stream in made}) > 1 or len({stream.values.shape[1:] for stream in made} - {()}) > 1:
        shapes = [tuple(stream.values.shape) for stream in made]
        raise ValueError(f"the streams have the shapes {shapes}: expected equal numbers of rows, and of steps")
    return made


def added_advantage(streams: Sequence[AnyStream], weights: Sequence[float]) -> Tensor:
    """Normalise each stream apart, then add them with weights.

    Args:
        streams: `Stream`s, or tuples (values, key), (values, key, level), (values, key, level, pool) with the other
            fields at their defaults.
        weights: One weight a stream.

    Returns:
        (B,) if all streams are of responses, else (B, S); a response stream counts for every step of its response, and
        NaN is where none of the step streams has a step.

    Raises:
        ValueError: Numbers of streams, weights or rows differ, or a stream's shapes do not fit its level.

    Example:
        Outcome and a second score of one group (arXiv 2510.11457):

        >>> import torch
        >>> outcome, score = torch.tensor([1.0, 0.0]), torch.tensor([0.2, 0.8])
        >>> group = torch.tensor([0, 0])
        >>> added_advantage([(outcome, group), (score, group)], [1.0, 0.5]).round(decimals=4).tolist()
        [0.35359999537467957, -0.35359999537467957]
    """
    made = _as_streams(streams, weights)
    parts = [stream.advantage for stream in made]
    steps = [part for part in parts if part.ndim == 2]
    if not steps:
        return torch.stack([weight * part for part, weight in zip(parts, weights, strict=True)]).sum(0)
    terms = [
        weight * (torch.nan_to_num(part, nan=0.0) if part.ndim == 2 else part[:, None].expand(steps[0].shape))
        for part, weight in zip(parts, weights, strict=True)
    ]
    absent = torch.stack([torch.isnan(part) for part in steps]).all(0)
    return torch.where(absent, torch.nan, torch.stack(terms).sum(0))


def added_over_tokens(streams: Sequence[AnyStream], weights: Sequence[float], step: Tensor, mask: Tensor) -> Tensor:
    """`added_advantage` on tokens: a token of no step gets the response streams only.

    Args:
        streams: As for `added_advantage`.
        weights: One weight a stream.
        step: (B, T) int64, -1 = no step.
        mask: (B, T) bool.

    Returns:
        (B, T) float, 0 outside the mask.

    Raises:
        ValueError: As for `added_advantage`.
    """
    made = _as_streams(streams, weights)
    total = torch.zeros(mask.shape, dtype=made[0].values.dtype, device=mask.device)
    for stream, weight in zip(made, weights, strict=True):
        value = stream.advantage
        placed = ops.over_tokens(value, mask) if value.ndim == 1 else ops.spread(value, step) * mask
        total = total + weight * placed
    return total


def step_rewards(judgements: Tensor) -> Tensor:
    """Verdicts on steps, shared out so that a response's rewards do not grow with its number of steps.

    Each is verdict / K with K the response's number of judged steps (arXiv 2505.15034, §3.2).

    Args:
        judgements: (..., S) float in {-1, 1}; NaN = no such step, or not judged.

    Returns:
        Float tensor of the same shape, NaN where `judgements` is.

    Raises:
        ValueError: A verdict is not -1, 1 or NaN.

    Example:
        >>> import torch
        >>> step_rewards(torch.tensor([1.0, -1.0])).tolist()
        [0.5, -0.5]
    """
    values = judgements if judgements.is_floating_point() else judgements.float()
    judged = ~torch.isnan(values)
    wrong = judged & (values.abs() != 1)
    if bool(wrong.any()):
        raise ValueError(f"a verdict is {float(values[wrong][0])}: expected -1, 1 or NaN")
    return values / judged.sum(-1, keepdim=True).clamp(min=1)


def global_step_advantage(
    adv: Tensor,
    step_labels: Tensor,
    step: Tensor,
    mask: Tensor,
    w: float = 0.2,
    ddof: int = 1,
    eps: float = 1e-6,
    group: Tensor | None = None,
) -> Tensor:
    """(1 - w) times the response's advantage plus w times its step's verdict, normalised over the group's steps.

    The fourth design of arXiv 2512.03244. Tokens of no step get (1 - w) times the response's advantage.

    Args:
        adv: (B,) float advantages of the responses.
        step_labels: (B, S) float verdicts, NaN = unknown.
        step: (B, T) int64, -1 = no step.
        mask: (B, T) bool.
        w: Weight of the verdicts.
        ddof: Degrees of freedom taken off in the standard deviation.
        eps: Is added to the standard deviation.
        group: (B,) int64; None = one group.

    Returns:
        (B, T) float, 0 outside the mask and where the sum is unknown.
    """
    key = torch.zeros(len(adv), dtype=torch.int64, device=adv.device) if group is None else group
    labels = step_labels.to(adv.dtype)
    given = Stream(adv, key, center="none", scale="none")
    steps = Stream(labels, key, "step", ddof=ddof, eps=eps)
    return added_over_tokens([given, steps], [1.0 - w, w], step, mask)


@dataclass(frozen=True)
class Streams:
    """Outcome and process rewards, or other scores, normalised apart in the group and added.

    A name is "outcome", "process", "steps/NAME" for an entry of `steps`, or the name of a column of numbers. Rows that
    could not be scored (NaN outcome) take no part and get 0, if "outcome" is among the names.

    Attributes:
        names: What each stream holds.
        weights: One weight a stream: a number, a `Schedule` that follows the run, or None = what the others leave of 1.
        accumulate: Whether steps get the reward-to-go of their stream, or their own value only.
        gamma: Discount of one step in the reward-to-go.
        share_out: Whether step values are divided by the row's number of judged steps; see `step_rewards`.
        scale: Which standard deviation divides: "group", "batch" or "none".
        ddof: Degrees of freedom taken off in the standard deviation.
        eps: Is added to the standard deviation.
    """

    names: tuple[str, ...] = ("outcome", "process")
    weights: tuple[float | Schedule | None, ...] = (1.0, 1.0)
    accumulate: bool = False
    gamma: float = 1.0
    share_out: bool = False
    scale: str = "group"
    ddof: int = 1
    eps: float = 1e-6
    writes: ClassVar[tuple[str, ...]] = ("advantages",)

    def __post_init__(self) -> None:
        if len(self.names) != len(self.weights) or not self.names:
            raise ValueError(f"Streams has names {self.names}, weights {self.weights}: expected one weight a name")
        if self.scale not in ("group", "batch", "none"):
            raise ValueError(f"Streams.scale is {self.scale!r}: expected 'group', 'batch' or 'none'")

    @property
    def reads(self) -> tuple[str, ...]:
        """What is read."""
        return (*self.names, "group", "step", "mask")

    def __call__(self, rollouts: Rollouts) -> Tensor:
        """Return (B, T) advantages."""
        left_out = ~rollouts.scored if "outcome" in self.names else torch.zeros_like(rollouts.scored)
        streams = [self._stream(rollouts, name, left_out) for name in self.names]
        weights = ops.weights_at(self.weights, rollouts.iteration, rollouts.progress)
        mask = rollouts.mask & ~left_out[:, None]
        return added_over_tokens(streams, weights, rollouts.step, mask).to(torch.float32)

    def _stream(self, rollouts: Rollouts, name: str, left_out: Tensor) -> Stream:
        if name == "process" or name.startswith("steps/"):
            values = rollouts.process if name == "process" else _steps(rollouts, name.removeprefix("steps/"))
            values = torch.where(left_out[:, None] | ~rollouts.step_exists, torch.nan, values.to(torch.float32))
            if self.share_out:
                values = step_rewards(values)
            return Stream(
                values,
                rollouts.group,
                "step",
                accumulate=self.accumulate,
                gamma=self.gamma,
                exists=rollouts.step_exists,
                scale=self.scale,
                ddof=self.ddof,
                eps=self.eps,
            )
        values = torch.where(left_out, torch.nan, term(rollouts, name))
        return Stream(values, rollouts.group, scale=self.scale, ddof=self.ddof, eps=self.eps)


def _steps(rollouts: Rollouts, name: str) -> Tensor:
    if name not in rollouts.steps or rollouts.steps[name].ndim != 2:
        known = sorted(key for key, value in rollouts.steps.items() if value.ndim == 2)
        raise ValueError(f"steps has no {name!r} of shape (B, S): there are {known}")
    return rollouts.steps[name]
