"""Each row to its own scorer: mathematics to the checker, code to the sandbox, open questions to a judge.

Where a row goes is read from the row (the kind of its prompt), never from the response: a policy must not choose its
judge. A scorer is called only if there are rows for it, and sees no others (the hybrid reward of HARMO,
arXiv 2510.05283, the tasks of SophiaVL-R1, arXiv 2505.17018, and the domains of MoDoMoDo, arXiv 2505.24871).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from guerdon.rollouts import Rollouts
from guerdon.score.composite import verifier_reads, verifier_version
from guerdon.score.verdict import Verdict
from guerdon.score.work import Verifier
from guerdon.stages import Score, stage_name
from guerdon.stages import reads as stage_reads
from guerdon.stages import writes as stage_writes

RowScorer = Callable[[Tensor], Tensor]
"""(n,) int64 row indices -> (n,) float rewards."""

_NAN = float("nan")


def route(
    kind: Sequence[Hashable] | Tensor, scorers: Mapping[Any, RowScorer], default: RowScorer | None = None
) -> Tensor:
    """Score each row by the scorer of its kind.

    Args:
        kind: (B,) the kinds; a bool tensor of what can be verified works as well, with scorers for True and False.
        scorers: Kind -> scorer. It is called at most once, with the indices of its rows in ascending order, and not
            at all if it has none.
        default: The scorer of all other rows; None = they are NaN.

    Returns:
        (B,) float, of the widest dtype that a scorer gave, float32 at least; NaN = not scored.

    Raises:
        ValueError: A scorer returns another number of rewards than it has rows.

    Example:
        >>> import torch
        >>> rule = torch.tensor([1.0, 0.0, 0.0, 0.0])
        >>> scorers = {"closed": rule.__getitem__, "open": lambda rows: rows / 4}
        >>> route(["closed", "closed", "open", "other"], scorers).tolist()
        [1.0, 0.0, 0.5, nan]
    """
    device = kind.device if isinstance(kind, Tensor) else torch.device("cpu")
    kinds = kind.tolist() if isinstance(kind, Tensor) else list(kind)
    parts: list[tuple[Tensor, Tensor]] = []
    for name, rows in _rows_by_route(kinds, scorers, default is not None).items():
        scorer = default if name is None else scorers[name[0]]
        if scorer is None:
            continue
        index = torch.tensor(rows, dtype=torch.int64, device=device)
        values = scorer(index)
        if values.shape != index.shape:
            where = "default" if name is None else repr(name[0])
            raise ValueError(f"the scorer of {where} gave {tuple(values.shape)} rewards: expected ({len(rows)},)")
        parts.append((index, values))
    dtype = torch.float32
    for _, values in parts:
        dtype = torch.promote_types(dtype, values.dtype)
    result = torch.full((len(kinds),), torch.nan, dtype=dtype, device=device)
    for index, values in parts:
        result = result.index_put((index,), values.to(dtype).to(device))
    return result


def hybrid_reward(verifiable: Tensor, rule: Tensor, model: Tensor) -> Tensor:
    """The rule's reward where a prompt can be verified, the model's where it cannot (HARMO, equation 1).

    Args:
        verifiable: (B,) bool.
        rule: (B,) float; what stands at other rows is not looked at.
        model: (B,) float; likewise.

    Returns:
        (B,) float.

    Raises:
        ValueError: Shapes differ, or `verifiable` is not bool.
    """
    if verifiable.dtype != torch.bool or not verifiable.shape == rule.shape == model.shape:
        raise ValueError(
            f"verifiable {tuple(verifiable.shape)} of {verifiable.dtype}, rule {tuple(rule.shape)}, model "
            f"{tuple(model.shape)}: expected (B,) three times, the first of bool"
        )
    return torch.where(verifiable, rule, model)


def _rows_by_route(
    kinds: Sequence[Any], routes: Mapping[Any, object], default: bool
) -> dict[tuple[Any] | None, list[int]]:
    """Rows of each route that has any, in the order of the routes; None = those of no route, if `default`."""
    found: dict[tuple[Any] | None, list[int]] = {}
    others: list[int] = []
    at: dict[Any, list[int]] = {}
    for row, kind in enumerate(kinds):
        (at.setdefault(kind, []) if kind in routes else others).append(row)
    for name in routes:
        if name in at:
            found[(name,)] = at[name]
    if default and others:
        found[None] = others
    return found


@dataclass(frozen=True)
class Router:
    """Score stage: give each row to the score stage of its kind.

    Each stage gets the rows of its kind alone, as `Rollouts` of their own, and is not called if there are none. What
    it writes is put back: fields at its rows; at the rows of others new columns hold None (those of errors ""), and
    new extras NaN (0 for whole numbers). Rows that no stage is for keep what they have; with `unrouted="error"` they
    are refused, with "nan" their outcome becomes NaN, with the reason in `score_error`.

    Attributes:
        routes: Kind -> score stage.
        by: Name of the column with the kind.
        default: Stage of the rows of all other kinds, or None.
        unrouted: What becomes of rows without a stage: "nan", "keep" or "error".
    """

    routes: Mapping[Any, Score]
    by: str = "kind"
    default: Score | None = None
    unrouted: str = "nan"
    UNROUTED: ClassVar[tuple[str, ...]] = ("nan", "keep", "error")

    def __post_init__(self) -> None:
        if not self.routes:
            raise ValueError("Router.routes is empty: expected at least one")
        if self.unrouted not in self.UNROUTED:
            raise ValueError(f"Router.unrouted is {self.unrouted!r}: expected one of {self.UNROUTED}")

    @property
    def stages(self) -> tuple[Score, ...]:
        """All stages, the default last."""
        return (*self.routes.values(), *(() if self.default is None else (self.default,)))

    @property
    def reads(self) -> tuple[str, ...]:
        """Fields and columns that some stage uses."""
        return tuple(dict.fromkeys((self.by, *(name for stage in self.stages for name in stage_reads(stage)))))

    @property
    def writes(self) -> tuple[str, ...]:
        """Fields and columns that some stage fills."""
        return tuple(dict.fromkeys(name for stage in self.stages for name in stage_writes(stage)))

    @property
    def needs_whole_groups(self) -> bool:
        """Whether some stage compares the rows of a group."""
        return any(getattr(stage, "needs_whole_groups", False) for stage in self.stages)

    def __call__(self, rollouts: Rollouts) -> Rollouts:
        """Return the rollouts with what the stages of their rows wrote."""
        kinds = rollouts.column(self.by)
        result = rollouts
        routed = [False] * len(rollouts)
        for name, rows in _rows_by_route(kinds, self.routes, self.default is not None).items():
            stage = self.default if name is None else self.routes[name[0]]
            assert stage is not None  # only then are there rows without a name
            part = rollouts[rows]
            scored = stage(part)
            if len(scored) != len(rows):
                raise ValueError(f"{stage_name(stage)} returned {len(scored)} rows: expected {len(rows)}")
            result = _put_back(result, part, scored, rows)
            for row in rows:
                routed[row] = True
        left = [row for row, there in enumerate(routed) if not there]
        return self._without_route(result, left, kinds) if left else result

    def _without_route(self, rollouts: Rollouts, rows: list[int], kinds: Sequence[Any]) -> Rollouts:
        reason = f"no scorer for {self.by} {kinds[rows[0]]!r}"
        if self.unrouted == "error":
            raise ValueError(f"row {rows[0]}: {reason}; there are {sorted(map(repr, self.routes))}")
        if self.unrouted == "keep":
            return rollouts
        outcome = rollouts.outcome.clone()
        outcome[torch.tensor(rows, device=rollouts.device)] = torch.nan
        errors = list(rollouts.columns.get("score_error", [""] * len(rollouts)))
        errors = ["" if error is None else error for error in errors]
        for row in rows:
            errors[row] = f"no scorer for {self.by} {kinds[row]!r}"
        return rollouts.replace(outcome=outcome).with_columns(score_error=errors)


def _put_back(whole: Rollouts, before: Rollouts, after: Rollouts, rows: list[int]) -> Rollouts:
    """Put what a stage changed in some rows into the whole batch."""
    index = torch.tensor(rows, dtype=torch.int64, device=whole.device)
    changes: dict[str, Any] = {}
    if after.outcome is not before.outcome:
        changes["outcome"] = whole.outcome.index_put((index,), after.outcome)
    steps = max(whole.n_steps, after.n_steps)
    if after.process is not before.process or steps > whole.n_steps:
        changes["process"] = _widened(whole.process, steps).index_put((index,), _widened(after.process, steps))
    for kind, width in (("tokens", whole.n_tokens), ("steps", steps)):
        extras = dict(getattr(whole, kind))
        for name, value in getattr(after, kind).items():
            if value is getattr(before, kind).get(name):
                continue
            shape = (len(whole), width, *value.shape[2:])
            fill = torch.nan if value.is_floating_point() else 0
            base = extras.get(name, torch.full(shape, fill, dtype=value.dtype, device=value.device))
            extras[name] = _widened(base, width).index_put((index,), _widened(value, width).to(base.dtype))
        changes[kind] = {name: _widened(value, width) for name, value in extras.items()}
    if whole.node is not None:
        changes["node"] = _widened(whole.node, steps)
    columns: dict[str, Any] = dict(whole.columns)
    for name, values in after.columns.items():
        if name in before.columns and before.columns[name] is values:
            continue
        merged = list(columns.get(name, ["" if name.endswith("_error") else None] * len(whole)))
        for row, value in zip(rows, values, strict=True):
            merged[row] = value
        columns[name] = merged
    return whole.replace(**changes, columns=columns)


def _widened(value: Tensor, width: int) -> Tensor:
    """Pad dimension 1 to `width` with NaN, or 0 for whole numbers."""
    missing = width - value.shape[1]
    if not missing:
        return value
    fill = torch.nan if value.is_floating_point() else 0
    padding = torch.full((len(value), missing, *value.shape[2:]), fill, dtype=value.dtype, device=value.device)
    return torch.cat([value, padding], dim=1)


@dataclass(frozen=True)
class Routes:
    """Verifier: the verdict of the verifier of the row's kind.

    Attributes:
        routes: Kind -> verifier.
        by: Name of the column with the kind.
        default: Verifier of all other kinds; None = their rows are undecided.
    """

    routes: Mapping[Any, Verifier]
    by: str = "kind"
    default: Verifier | None = None
    name: ClassVar[str] = "routes"

    def __post_init__(self) -> None:
        if not self.routes:
            raise ValueError("Routes.routes is empty: expected at least one")

    @property
    def verifiers(self) -> tuple[Verifier, ...]:
        """All verifiers, the default last."""
        return (*self.routes.values(), *(() if self.default is None else (self.default,)))

    @property
    def timeout(self) -> float:
        """Seconds that one row may take: those of the slowest verifier."""
        return max(float(getattr(verifier, "timeout", 5.0)) for verifier in self.verifiers)

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns of the row that are used."""
        return tuple(dict.fromkeys((self.by, *verifier_reads(self.verifiers))))

    @property
    def version(self) -> str:
        """Changes with any of the verifiers."""
        return verifier_version("1", self.verifiers)

    def __call__(self, response: str, target: str, row: Mapping[str, Any]) -> Verdict:
        """Ask the verifier of the row's kind."""
        if self.by not in row:
            raise ValueError(f"the row has no column {self.by!r}: there are {sorted(row)}")
        verifier = self.routes.get(row[self.by], self.default)
        if verifier is None:
            return Verdict(_NAN, reason=f"no verifier for {self.by} {row[self.by]!r}")
        return verifier(response, target, row)
