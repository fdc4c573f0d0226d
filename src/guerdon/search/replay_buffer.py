"""Responses that wait for a later update, with all that an update needs.

Behaviour log-probabilities and advantages are those of the time of sampling: with recomputed ones the importance ratio
would be 1, and no clip would ever act on stale rows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from guerdon.batch import Batch
from guerdon.joining import pad_to
from guerdon.rollouts import Rollouts
from guerdon.terms import keys

ORDERS = ("random", "fifo")
UNITS = ("row", "batch")
_ROW_FIELDS = ("advantages", "weights", "trained", "rows")


def waiting_rows(batch: Batch, reasons: Sequence[str]) -> Batch:
    """The rows of a recipe's batch that are not trained on for one of these reasons.

    Args:
        batch: The batch of a whole recipe, which knows its selection.
        reasons: Reasons as the selection gives them.

    Raises:
        ValueError: The batch is a piece of a batch.
    """
    if batch.selection is None:
        raise ValueError("waiting_rows needs the whole batch of a recipe: this is a piece of one")
    wanted = set(reasons)
    chosen = [batch.selection.reason[row] in wanted for row in batch.rows.tolist()]
    return batch[torch.tensor(chosen, dtype=torch.bool, device=batch.trained.device)]


class ReplayBuffer:
    """Rows of earlier batches, given out again in order of age or at random.

    Four uses: rows of RoRecomp (arXiv 2509.25958), oldest first, each once; batches of PAR (arXiv 2502.18770), where a
    new batch goes in and a random one comes out; corrected thoughts of GTR (arXiv 2503.08525), drawn at random from all
    of the run (`capacity=None, single_use=False`); episodes, oldest first.

    Args:
        capacity: Most rows (or batches) that are held, the oldest go first; None = no limit.
        order: "fifo" = the oldest come out first, "random" = all are equally likely.
        max_age: Rows go that are more than this many steps old; None = no limit.
        single_use: Whether what comes out is gone.
        unit: Whether single "row"s come out, or whole "batch"es as they went in.
        seed: Seeds "random".

    Raises:
        ValueError: An unknown order or unit, a capacity below 1, or a negative age.
    """

    def __init__(
        self,
        capacity: int | None,
        order: str = "fifo",
        max_age: int | None = None,
        single_use: bool = True,
        unit: str = "row",
        seed: int = 0,
    ) -> None:
        if order not in ORDERS or unit not in UNITS:
            raise ValueError(f"order is {order!r}, unit is {unit!r}: expected one of {ORDERS}, of {UNITS}")
        if capacity is not None and capacity < 1:
            raise ValueError(f"capacity is {capacity}: expected at least 1, or None")
        if max_age is not None and max_age < 0:
            raise ValueError(f"max_age is {max_age}: expected 0 or more, or None")
        self.capacity, self.order, self.max_age = capacity, order, max_age
        self.single_use, self.unit = single_use, unit
        self._generator = torch.Generator().manual_seed(seed)
        self._held: Batch | None = None
        self._birth = torch.zeros(0, dtype=torch.int64)
        self._unit = torch.zeros(0, dtype=torch.int64)
        self._next = 0

    def __len__(self) -> int:
        """Rows (or batches) that are held."""
        return len(torch.unique(self._unit))

    def __repr__(self) -> str:
        return (
            f"ReplayBuffer(capacity={self.capacity}, order={self.order!r}, max_age={self.max_age}, "
            f"single_use={self.single_use}, unit={self.unit!r}): {len(self)} held"
        )

    def push(self, rows: Batch, step: int) -> None:
        """Take rows in, and let the oldest go that there is no place for.

        Args:
            rows: Rows with advantages and behaviour log-probabilities, of the columns and extras of those held.
            step: The step at which they were sampled; not before that of any row held.

        Raises:
            ValueError: The rows have no `logprobs`, do not fit to those held, or are older than some.
        """
        if rows.rollouts.logprobs is None:
            raise ValueError("the rows have no logprobs: expected those of the policy that sampled them")
        if len(self._birth) and step < int(self._birth[-1]):
            raise ValueError(f"step is {step}: expected {int(self._birth[-1])} or later, as for the rows held")
        self._drop_old(step)
        if not len(rows):
            return
        added = 1 if self.unit == "batch" else len(rows)
        units = self._next + (torch.zeros(len(rows), dtype=torch.int64) if added == 1 else torch.arange(len(rows)))
        self._next += added
        self._held = _bare(rows) if self._held is None else _joined(self._held, _bare(rows))
        self._birth = torch.cat([self._birth, torch.full((len(rows),), step, dtype=torch.int64)])
        self._unit = torch.cat([self._unit, units])
        present = torch.unique(self._unit)
        if self.capacity is not None and len(present) > self.capacity:
            self._keep(self._unit >= present[-self.capacity])

    def pop(self, n: int, step: int) -> Batch | None:
        """Give out n rows (or batches), or None if there are fewer.

        Args:
            n: How many, at least 1.
            step: The step now; rows that are too old go first.

        Returns:
            The rows in order of age, with the columns `birth` (step of sampling) and all of them `trained`; the batch's
            own `birth` is that of its oldest row. Rows of different steps are in different groups.

        Raises:
            ValueError: `n` below 1.
        """
        if n < 1:
            raise ValueError(f"n is {n}: expected at least 1")
        self._drop_old(step)
        present = torch.unique(self._unit)
        if len(present) < n or self._held is None:
            return None
        if self.order == "random":
            drawn = torch.randperm(len(present), generator=self._generator)[:n]
            chosen = torch.isin(self._unit, present[drawn])
        else:
            chosen = self._unit <= present[n - 1]
        births = self._birth[chosen]
        given = self._held[chosen]
        rollouts = given.rollouts.with_columns(birth=births.tolist())
        group = keys(births.tolist(), rollouts.group.tolist()).to(rollouts.device)
        given = dataclasses.replace(given, rollouts=rollouts.replace(group=group), birth=int(births.min()))
        if self.single_use:
            self._keep(~chosen)
        return given

    def mean_age(self, step: int) -> float:
        """Mean number of steps that the rows held have waited; 0 if there are none."""
        return float((step - self._birth).double().mean()) if len(self._birth) else 0.0

    def _drop_old(self, step: int) -> None:
        if self.max_age is not None:
            self._keep(step - self._birth <= self.max_age)

    def _keep(self, kept: Tensor) -> None:
        if self._held is None or bool(kept.all()):
            return
        self._held = self._held[kept] if bool(kept.any()) else None
        self._birth, self._unit = self._birth[kept], self._unit[kept]

    def state_dict(self) -> dict[str, Any]:
        """Everything that is needed to go on after a restart."""
        held: dict[str, Any] | None = None
        if self._held is not None:
            fields = {field.name: getattr(self._held.rollouts, field.name) for field in dataclasses.fields(Rollouts)}
            plain = {name: dict(value) if isinstance(value, Mapping) else value for name, value in fields.items()}
            held = {"rollouts": plain, **{name: getattr(self._held, name) for name in _ROW_FIELDS}}
        return {
            "held": held,
            "birth": self._birth.clone(),
            "unit": self._unit.clone(),
            "next": self._next,
            "generator": self._generator.get_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up a state that `state_dict` gave."""
        held = state["held"]
        self._held = None
        if held is not None:
            self._held = Batch(Rollouts(**held["rollouts"]), **{name: held[name] for name in _ROW_FIELDS})
        self._birth, self._unit, self._next = state["birth"].clone(), state["unit"].clone(), int(state["next"])
        self._generator.set_state(state["generator"])


def _bare(batch: Batch) -> Batch:
    """The rows without what belongs to the whole batch, all of them to be trained on."""
    return Batch(batch.rollouts, batch.advantages, batch.weights, torch.ones_like(batch.trained), batch.rows)


def _joined(first: Batch, second: Batch) -> Batch:
    rollouts = Rollouts.concatenate([first.rollouts, second.rollouts])
    width = rollouts.n_tokens
    parts = (first, second)
    return Batch(
        rollouts,
        advantages=torch.cat([pad_to(part.advantages, width, 0.0) for part in parts]),
        weights=torch.cat([part.weights for part in parts]),
        trained=torch.cat([part.trained for part in parts]),
        rows=torch.cat([part.rows for part in parts]),
    )
