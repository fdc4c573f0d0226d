"""What a stage is: the protocols of the pipeline, and the value that an objective returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from torch import Tensor

from guerdon.rollouts import Rollouts
from guerdon.selection import Selection

if TYPE_CHECKING:
    from guerdon.batch import Batch


@dataclass(frozen=True, eq=False)
class Loss:
    """The value of an objective.

    Attributes:
        value: 0-dimensional tensor with gradient, to be minimised.
        metrics: Name -> number, without gradient.
    """

    value: Tensor
    metrics: Mapping[str, float] = field(default_factory=dict)


class Score(Protocol):
    """`Rollouts -> Rollouts`: fills `outcome`, `process` or a named column."""

    def __call__(self, rollouts: Rollouts, /) -> Rollouts:
        """Return the rollouts with rewards; what could not be scored is NaN, with a reason in `score_error`."""
        ...


class Shape(Protocol):
    """`Rollouts -> Rollouts`, pure: turns rewards into other rewards."""

    def __call__(self, rollouts: Rollouts, /) -> Rollouts:
        """Return the rollouts with changed rewards."""
        ...


class Select(Protocol):
    """`Rollouts -> Selection`: which rows count, which are trained on, and why the others are not."""

    def __call__(self, rollouts: Rollouts, /) -> Selection:
        """Return the verdict on every row."""
        ...


class Credit(Protocol):
    """`Rollouts -> (B, T) float32` advantages, 0 outside the mask."""

    def __call__(self, rollouts: Rollouts, /) -> Tensor:
        """Return the advantage of every token."""
        ...


class Objective(Protocol):
    """`(log-probs (B, T) with gradient, Batch) -> Loss`."""

    def __call__(self, logprobs: Tensor, batch: Batch, /) -> Loss:
        """Return the loss of the policy whose log-probabilities of the taken tokens are `logprobs`."""
        ...


@runtime_checkable
class Learning(Protocol):
    """What a stage that learns has besides `__call__`; its state is saved in every checkpoint.

    `update_order` is "update_first" (learn from a batch, then score it), "score_first" or "never".
    """

    update_order: str

    def update(self, rollouts: Rollouts, /) -> Mapping[str, float]:
        """Learn from a scored batch and return metrics."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return everything that is needed to go on after a restart."""
        ...

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        """Take up a state that `state_dict` gave."""
        ...


class Sampling(Protocol):
    """How responses are sampled: `n` for each prompt, of which `keep` are meant to be trained on."""

    @property
    def n(self) -> int:
        """Responses sampled for a prompt."""
        ...

    @property
    def keep(self) -> int:
        """Responses of a prompt that the selection leaves."""
        ...


UPDATE_ORDERS = ("update_first", "score_first", "never")


def states_of(stages: Mapping[str, Learning]) -> dict[str, Any]:
    """Name -> state, of stages that learn."""
    return {name: stage.state_dict() for name, stage in stages.items()}


def load_states(stages: Mapping[str, Learning], state: Mapping[str, Any], owner: str) -> None:
    """Let stages take up the states that `states_of` gave.

    Args:
        stages: Name -> stage.
        state: Name -> state.
        owner: What they are stages of, for the message.

    Raises:
        ValueError: The state is of other stages.
    """
    if set(stages) != set(state):
        raise ValueError(f"the state is of the stages {sorted(state)}: this {owner} has {sorted(stages)}")
    for name, stage in stages.items():
        stage.load_state_dict(state[name])


def stage_name(stage: object) -> str:
    """The name of a stage in metrics and listings: its class name, or the name of a plain function."""
    return getattr(stage, "__name__", type(stage).__name__)


def reads(stage: object) -> tuple[str, ...]:
    """The fields, columns and extras of `Rollouts` that a stage declares to read."""
    return tuple(getattr(stage, "reads", ()))


def writes(stage: object) -> tuple[str, ...]:
    """The fields, columns and extras of `Rollouts` that a stage declares to write."""
    return tuple(getattr(stage, "writes", ()))
