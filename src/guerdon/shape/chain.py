"""Several shapes as one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from guerdon.rollouts import Rollouts
from guerdon.stages import Learning, Shape, load_states, reads, stage_name, states_of, writes


class Chain(tuple[Shape, ...]):
    """Shapes applied one after the other; it is a tuple of them, and a shape itself.

    As the `shape` of a recipe it is the same as its members, each with metrics of its own; inside another sequence it
    is one stage, which learns if a member learns. Make it with `chain`.
    """

    __slots__ = ()

    def __call__(self, rollouts: Rollouts) -> Rollouts:
        """Return the rollouts after all shapes."""
        for stage in self:
            rollouts = stage(rollouts)
        return rollouts

    @property
    def reads(self) -> tuple[str, ...]:
        """What a member reads that no member before it writes."""
        written: set[str] = set()
        wanted: dict[str, None] = {}
        for stage in self:
            wanted |= dict.fromkeys(name for name in reads(stage) if name not in written)
            written |= set(writes(stage))
        return tuple(wanted)

    @property
    def writes(self) -> tuple[str, ...]:
        """What the members write."""
        return tuple(dict.fromkeys(name for stage in self for name in writes(stage)))

    @property
    def update_order(self) -> str:
        """Whether a member learns: "never" if none does, else each keeps its own order inside the chain."""
        return "update_first" if self._learning() else "never"

    def _learning(self) -> dict[str, Learning]:
        return {
            f"{place}.{stage_name(stage)}": cast(Learning, stage)
            for place, stage in enumerate(self)
            if isinstance(stage, Learning) and stage.update_order != "never"
        }

    def update(self, rollouts: Rollouts) -> Mapping[str, float]:
        """Update the members that learn, and return their metrics as `<place>.<stage>/<name>`."""
        return {
            f"{name}/{metric}": value
            for name, stage in self._learning().items()
            for metric, value in stage.update(rollouts).items()
        }

    def state_dict(self) -> dict[str, Any]:
        """Return the states of the members that learn."""
        return states_of(self._learning())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up states that `state_dict` gave.

        Raises:
            ValueError: The state is of a chain with other learning members.
        """
        load_states(self._learning(), state, "chain")

    def __repr__(self) -> str:
        return f"chain({', '.join(map(repr, self))})"


def chain(*stages: Shape) -> Chain:
    """Compose shapes into one that applies them in order; chains among them are unfolded.

    Args:
        *stages: Shapes, or plain functions of rollouts.

    Raises:
        ValueError: Something that cannot be called.

    Example:
        >>> from guerdon.shape import Clip, Delta
        >>> chain(Clip(high=0.0, target="process"), Delta())
        chain(Clip(low=None, high=0.0, target='process'), Delta())
    """
    unfolded: list[Shape] = []
    for place, stage in enumerate(stages):
        if not callable(stage):
            raise ValueError(f"chain: argument {place} is {stage!r}: expected a shape, something that can be called")
        unfolded += stage if isinstance(stage, Chain) else [stage]
    return Chain(unfolded)
