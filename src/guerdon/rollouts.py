"""The one value that flows through guerdon: a batch of responses with their masks, steps and rewards."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

TOKEN_FIELDS = ("logprobs", "ref_logprobs", "entropy")
"""Optional (B, T) float32 fields."""

RESERVED = frozenset(
    (
        "group",
        "mask",
        "step",
        "outcome",
        "process",
        "node",
        "temperature",
        "tokens",
        "steps",
        "columns",
        "progress",
        "iteration",
        *TOKEN_FIELDS,
    )
)
"""Names that a column cannot take, since a field has them."""


def _empty() -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True, eq=False)
class Rollouts:
    """B responses of up to T tokens in up to S steps, with everything known about them.

    A *token* is any decision with a log-probability (a language token, an action, a denoising step); a *step* is a
    span of tokens (a reasoning step, an agent's turn). The value checks itself on construction and is immutable:
    `replace` returns a changed copy, `rollouts[rows]` selects rows.

    Attributes:
        group: (B,) int64. Rows with equal ids are compared with each other: usually the responses to one prompt.
        mask: (B, T) bool. The tokens that the policy wrote; tool output, environment text and padding are False.
        step: (B, T) int64. Index 0..S-1 of the step that a policy token belongs to, non-decreasing along the row;
            -1 = no step (always so outside the mask, allowed inside it). Default: -1 everywhere.
        outcome: (B,) float32. Outcome reward; NaN = could not be scored, which is never the same as 0. Default: NaN.
        process: (B, S) float32. Process reward of each step, higher is better; NaN = no such step, or not scored.
            Default: NaN for as many steps as `step` names.
        logprobs: (B, T) float32 or None. Log-probabilities under the behaviour policy.
        ref_logprobs: (B, T) float32 or None. Log-probabilities under the reference policy.
        entropy: (B, T) float32 or None. Entropy of the behaviour policy at each token, in nats.
        node: (B, S) int64 or None. Id of the tree or graph state that a step leads to; equal ids = a shared state;
            0 = the group's start.
        temperature: The sampling temperature at which `logprobs` and `entropy` were taken, or None if unknown.
        tokens: name -> (B, T, ...) tensor. Everything else per token.
        steps: name -> (B, S, ...) tensor. Everything else per step.
        columns: name -> length-B tuple. Everything else per response. Standard names: `prompt_id`, `prompt`,
            `response`, `messages`, `target`, `kind`, `truncated`, `format`, `extracted`, `length`, `start`,
            `references`, `score_error`.
        progress: How far the run is, in [0, 1], for annealed rewards.
        iteration: The number of rollout batches before this one, for switched rewards.

    Raises:
        ValueError: A field has a wrong shape, dtype or value; the message names the field, the first bad row and
            what was expected.

    Example:
        >>> import torch
        >>> rollouts = Rollouts(
        ...     group=torch.tensor([0, 0]),
        ...     mask=torch.tensor([[True, True, False], [True, True, True]]),
        ...     outcome=torch.tensor([1.0, float("nan")]),
        ...     columns={"response": ["4", "12"]},
        ... )
        >>> len(rollouts), rollouts.n_tokens, rollouts.n_steps
        (2, 3, 0)
        >>> rollouts[rollouts.scored].columns["response"]
        ('4',)
    """

    group: Tensor
    mask: Tensor
    step: Tensor = None  # type: ignore[assignment]  # filled on construction
    outcome: Tensor = None  # type: ignore[assignment]
    process: Tensor = None  # type: ignore[assignment]
    logprobs: Tensor | None = None
    ref_logprobs: Tensor | None = None
    entropy: Tensor | None = None
    node: Tensor | None = None
    temperature: float | None = None
    tokens: Mapping[str, Tensor] = field(default_factory=_empty)
    steps: Mapping[str, Tensor] = field(default_factory=_empty)
    columns: Mapping[str, Sequence[Any]] = field(default_factory=_empty)
    progress: float = 0.0
    iteration: int = 0
    _step_exists: ClassVar[Tensor | None] = None  # of an instance, once it was asked for

    def __post_init__(self) -> None:
        self._set_up(None)

    def _set_up(self, before: Rollouts | None) -> None:
        """Fill, convert and check the fields; what is the same as in `before`, which was checked, is not again."""
        write = self._write
        write("group", _tensor("group", self.group, torch.int64, 1))
        write("mask", _tensor("mask", self.mask, torch.bool, 2))
        rows, tokens = self.mask.shape
        if self.group.shape[0] != rows:
            raise ValueError(f"group has {self.group.shape[0]} rows, mask has {rows}: expected equal numbers of rows")
        if self.step is None:
            write("step", torch.full((rows, tokens), -1, dtype=torch.int64, device=self.mask.device))
        write("step", _tensor("step", self.step, torch.int64, 2))
        _expect_shape("step", self.step, (rows, tokens))
        if self.outcome is None:
            write("outcome", torch.full((rows,), torch.nan, device=self.mask.device))
        write("outcome", _tensor("outcome", self.outcome, torch.float32, 1))
        _expect_shape("outcome", self.outcome, (rows,))
        if self.process is None:
            count = int(self.step.max()) + 1 if self.step.numel() else 0
            for value in (self.node, *self.steps.values()):
                count = max(count, value.shape[1] if value is not None and value.ndim > 1 else 0)
            write("process", torch.full((rows, count), torch.nan, device=self.mask.device))
        write("process", _tensor("process", self.process, torch.float32, 2))
        self._coerce_optional(rows, tokens)
        self._coerce_columns(rows)
        same = before is not None and self.step is before.step and self.mask is before.mask
        if before is None or not same:
            _check_steps(self.step, self.mask)
        same_steps = same and before is not None and self.n_steps == before.n_steps
        write("_step_exists", before._step_exists if same_steps and before is not None else None)
        if before is None or not same_steps or self.process is not before.process:
            self._check_process()
        self._check_values()

    def _write(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _coerce_optional(self, rows: int, tokens: int) -> None:
        _expect_shape("process", self.process, (rows, self.process.shape[1]))
        for name in TOKEN_FIELDS:
            value = getattr(self, name)
            if value is not None:
                self._write(name, _tensor(name, value, torch.float32, 2))
                _expect_shape(name, getattr(self, name), (rows, tokens))
        if self.node is not None:
            self._write("node", _tensor("node", self.node, torch.int64, 2))
            _expect_shape("node", self.node, (rows, self.n_steps))
        for name, width in (("tokens", tokens), ("steps", self.n_steps)):
            extras = {key: torch.as_tensor(value) for key, value in getattr(self, name).items()}
            for key, value in extras.items():
                if value.ndim < 2 or value.shape[:2] != (rows, width):
                    raise ValueError(f"{name}[{key!r}] has shape {tuple(value.shape)}: expected ({rows}, {width}, ...)")
            self._write(name, MappingProxyType(extras))

    def _coerce_columns(self, rows: int) -> None:
        columns: dict[str, tuple[Any, ...]] = {}
        for name, values in self.columns.items():
            if name in RESERVED or name.startswith(("tokens/", "steps/")):
                raise ValueError(f"columns[{name!r}]: that name belongs to a field of Rollouts; choose another name")
            if isinstance(values, str | bytes):
                raise ValueError(f"columns[{name!r}] is one {type(values).__name__}: expected a sequence of {rows}")
            listed = values.tolist() if isinstance(values, Tensor | np.ndarray) else values
            columns[name] = tuple(listed)
            if len(columns[name]) != rows:
                raise ValueError(f"columns[{name!r}] has {len(columns[name])} rows: expected {rows}")
        self._write("columns", MappingProxyType(columns))

    def _check_process(self) -> None:
        infinite = torch.isinf(self.process)
        _refuse("process", infinite.any(1), self.process, "finite numbers, or NaN where a step was not scored")
        if self.step.numel() and int(self.step.max()) >= self.n_steps:
            row = int((self.step >= self.n_steps).any(1).nonzero()[0])
            raise ValueError(
                f"process has {self.n_steps} steps, but step names index {int(self.step[row].max())} in row {row}: "
                f"expected at least {int(self.step[row].max()) + 1} columns"
            )
        exists = self.step_exists
        # Rows without any step index may hold process rewards of steps whose tokens are not known.
        stray = ~torch.isnan(self.process) & ~exists & exists.any(1, keepdim=True)
        _refuse("process", stray.any(1), self.process, "NaN for every step that no token belongs to")

    def _check_values(self) -> None:
        _refuse("outcome", torch.isinf(self.outcome), self.outcome, "a finite number, or NaN if it was not scored")
        if not 0.0 <= float(self.progress) <= 1.0:
            raise ValueError(f"progress is {self.progress}: expected a number in [0, 1]")
        if int(self.iteration) < 0:
            raise ValueError(f"iteration is {self.iteration}: expected 0 or more")
        if self.temperature is not None and not float(self.temperature) > 0.0:
            raise ValueError(f"temperature is {self.temperature}: expected a positive number or None")

    def __reduce__(self) -> tuple[Any, ...]:
        fields = {entry.name: getattr(self, entry.name) for entry in dataclasses.fields(self)}
        for name in ("tokens", "steps", "columns"):
            fields[name] = dict(fields[name])
        return _rebuild, (fields,)

    def __len__(self) -> int:
        return int(self.group.shape[0])

    @property
    def n_tokens(self) -> int:
        """T, the padded number of tokens."""
        return int(self.mask.shape[1])

    @property
    def n_steps(self) -> int:
        """S, the padded number of steps."""
        return int(self.process.shape[1])

    @property
    def scored(self) -> Tensor:
        """(B,) bool: rows whose outcome could be scored."""
        return ~torch.isnan(self.outcome)

    @property
    def lengths(self) -> Tensor:
        """(B,) int64: number of policy tokens of each row."""
        return self.mask.sum(1)

    @property
    def step_exists(self) -> Tensor:
        """(B, S) bool: steps that at least one policy token belongs to."""
        exists = self._step_exists
        if exists is None:
            exists = step_exists(self.step, self.n_steps)
            self._write("_step_exists", exists)
        # A copy, since what is handed out may be written to.
        return exists.clone()

    @property
    def device(self) -> torch.device:
        """The device of the fields."""
        return self.mask.device

    def replace(self, **changes: Any) -> Rollouts:
        """Return a copy with some fields changed, which are checked.

        Args:
            **changes: Field name -> value.

        Raises:
            ValueError: A name is not a field, or a value does not fit.
        """
        names = {entry.name for entry in dataclasses.fields(self)}
        for name in changes:
            if name not in names:
                raise ValueError(f"{name} is not a field of Rollouts: expected one of {sorted(names)}")
        changed = object.__new__(type(self))
        for name in names:
            changed._write(name, changes.get(name, getattr(self, name)))
        changed._set_up(self)
        return changed

    def with_columns(self, **columns: Sequence[Any]) -> Rollouts:
        """Return a copy with columns added or replaced (each of length B)."""
        return self.replace(columns={**self.columns, **columns})

    def with_tokens(self, **tokens: Tensor) -> Rollouts:
        """Return a copy with per-token tensors (B, T, ...) added or replaced."""
        return self.replace(tokens={**self.tokens, **tokens})

    def with_steps(self, **steps: Tensor) -> Rollouts:
        """Return a copy with per-step tensors (B, S, ...) added or replaced."""
        return self.replace(steps={**self.steps, **steps})

    def column(self, name: str) -> tuple[Any, ...]:
        """Return a column.

        Raises:
            ValueError: There is no such column; the message lists those that there are.
        """
        if name not in self.columns:
            raise ValueError(f"columns has no {name!r}: there are {sorted(self.columns)}")
        return tuple(self.columns[name])

    def _map(self, each: Callable[[Tensor], Tensor]) -> dict[str, Any]:
        changes: dict[str, Any] = {}
        for entry in dataclasses.fields(self):
            value = getattr(self, entry.name)
            if isinstance(value, Tensor):
                changes[entry.name] = each(value)
            elif entry.name in ("tokens", "steps"):
                changes[entry.name] = {key: each(extra) for key, extra in value.items()}
        return changes

    def __getitem__(self, rows: Tensor | slice | Sequence[int] | np.ndarray[Any, Any]) -> Rollouts:
        """Select rows by a bool mask (B,), by indices, or by a slice; T and S stay as they are."""
        index = self.rows(rows)
        picked = index.tolist()
        columns = {name: tuple(values[i] for i in picked) for name, values in self.columns.items()}
        return dataclasses.replace(self, **self._map(lambda value: value[index]), columns=columns)

    def rows(self, rows: Tensor | slice | Sequence[int] | np.ndarray[Any, Any]) -> Tensor:
        """Turn a bool mask, indices or a slice into an int64 tensor of row indices.

        Raises:
            ValueError: A mask of another length, or an index outside the batch.
        """
        if isinstance(rows, slice):
            return torch.arange(len(self), device=self.device)[rows]
        if isinstance(rows, int):
            raise ValueError(f"rollouts[{rows}]: expected a mask, a list of rows or a slice; one row is [{rows}:...]")
        index = torch.as_tensor(rows, device=self.device)
        if index.numel() == 0 and index.dtype != torch.bool:
            return torch.zeros(0, dtype=torch.int64, device=self.device)
        if index.dtype == torch.bool:
            _expect_shape("rows", index, (len(self),))
            return index.nonzero().squeeze(1)
        if index.ndim != 1 or index.is_floating_point() or bool(((index < -len(self)) | (index >= len(self))).any()):
            raise ValueError(f"rows {index.tolist()}: expected indices of a batch of {len(self)}")
        return torch.where(index < 0, index + len(self), index).to(torch.int64)

    def to(self, device: torch.device | str) -> Rollouts:
        """Return a copy with all tensors on another device."""
        return dataclasses.replace(self, **self._map(lambda value: value.to(device)))

    def equals(self, other: Rollouts) -> bool:
        """Whether all fields are equal, bit for bit up to NaN, with equal shapes, dtypes, names and columns."""
        mine, theirs = self._map(lambda value: value), other._map(lambda value: value)
        if mine.keys() != theirs.keys():
            return False
        scalars = ("progress", "iteration", "temperature")
        return (
            all(_same(mine[name], theirs[name]) for name in mine)
            and all(getattr(self, name) == getattr(other, name) for name in scalars)
            and self.columns.keys() == other.columns.keys()
            and all(_same_column(self.columns[name], other.columns[name]) for name in self.columns)
        )

    @staticmethod
    def concatenate(parts: Iterable[Rollouts]) -> Rollouts:
        """Join batches row after row, padding T and S to the largest.

        Group ids are kept as they are: rows of different parts with equal ids become one group. `progress` and
        `iteration` are those of the last part.

        Raises:
            ValueError: No parts, or a field, column or extra is present in some parts only.
        """
        from guerdon.joining import concatenate

        return concatenate(list(parts))


def step_exists(step: Tensor, n_steps: int) -> Tensor:
    """(B, S) bool: whether some token of the row has that step index.

    Args:
        step: (B, T) int64, -1 = no step.
        n_steps: S, at least the largest index + 1.
    """
    found = torch.zeros(step.shape[0], n_steps + 1, dtype=torch.bool, device=step.device)
    found.scatter_(1, torch.where(step < 0, n_steps, step), True)
    return found[:, :n_steps]


def _rebuild(fields: dict[str, Any]) -> Rollouts:
    return Rollouts(**fields)


def _tensor(name: str, value: Any, dtype: torch.dtype, ndim: int) -> Tensor:
    try:
        tensor = torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{name} is no tensor ({error}): expected {ndim} dimension(s) of {dtype}") from error
    if tensor.ndim != ndim:
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}: expected {ndim} dimension(s)")
    if tensor.dtype == dtype:
        return tensor
    if dtype == torch.int64 and (tensor.is_floating_point() or tensor.is_complex()):
        raise ValueError(f"{name} has dtype {tensor.dtype}: expected integers")
    if dtype == torch.bool:
        _refuse(name, ((tensor != 0) & (tensor != 1)).reshape(len(tensor), -1).any(1), tensor, "True/False or 0/1")
    return tensor.to(dtype)


def _expect_shape(name: str, value: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(value.shape) != shape:
        raise ValueError(f"{name} has shape {tuple(value.shape)}: expected {shape}")


def _refuse(name: str, bad_rows: Tensor, value: Tensor, expected: str) -> None:
    if bool(bad_rows.any()):
        row = int(bad_rows.nonzero()[0])
        raise ValueError(f"{name} in row {row} is {value[row].tolist()}: expected {expected}")


def _check_steps(step: Tensor, mask: Tensor) -> None:
    _refuse("step", (step < -1).any(1), step, "indices of 0 or more, or -1 for no step")
    _refuse("step", ((step >= 0) & ~mask).any(1), step, "-1 outside the mask")
    if step.shape[1]:
        decreasing = (step >= 0) & (step < step.cummax(1).values)
        _refuse("step", decreasing.any(1), step, "step indices that do not decrease along the row")


def _same(left: Any, right: Any) -> bool:
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(_same(left[key], right[key]) for key in left)
    if left.shape != right.shape or left.dtype != right.dtype:
        return False
    return bool(((left == right) | ((left != left) & (right != right))).all())


def _same_column(left: Sequence[Any], right: Sequence[Any]) -> bool:
    return len(left) == len(right) and all(_same_value(a, b) for a, b in zip(left, right, strict=True))


def _same_value(left: Any, right: Any) -> bool:
    if type(left) is not type(right):
        return False
    if isinstance(left, float):
        return left == right or (left != left and right != right)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(_same_value(a, b) for a, b in zip(left, right, strict=True))
    if isinstance(left, Mapping):
        return left.keys() == right.keys() and all(_same_value(left[key], right[key]) for key in left)
    return bool(left == right)
