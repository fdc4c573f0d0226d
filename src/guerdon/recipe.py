"""The pipeline: score, shape, select and credit, composed into one recipe."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from guerdon.batch import Batch
from guerdon.rollouts import Rollouts
from guerdon.selection import Selection
from guerdon.stages import (
    UPDATE_ORDERS,
    Credit,
    Learning,
    Objective,
    Sampling,
    Score,
    Select,
    Shape,
    load_states,
    reads,
    stage_name,
    states_of,
)

SHELVES = ("rollout", "score", "shape", "select", "credit", "objective")
"""The shelves of stages, in the order in which a batch passes them."""


@dataclass(frozen=True)
class Recipe:
    """A method: which stages turn sampled responses into a batch to train on.

    Calling it on `Rollouts` runs score -> shape -> select -> credit without any model of its own, so stored rollouts
    can be replayed offline.

    Attributes:
        score: Stages that fill rewards, in order.
        shape: Stages that change rewards, in order.
        select: Stages that drop rows, in order; each sees the rows that the one before it kept.
        credit: The stage that places advantages.
        objective: What to optimise; None = the trainer's own loss.
        rollout: How responses are sampled; None = as the trainer is told.
        name: What to call the recipe in listings.

    A single stage may be given where a sequence is expected.

    Example:
        >>> import torch
        >>> from guerdon import Recipe, Rollouts
        >>> from guerdon.credit import GroupNormalized
        >>> rollouts = Rollouts(
        ...     group=torch.tensor([0, 0]), mask=torch.ones(2, 1, dtype=torch.bool), outcome=torch.tensor([1.0, 0.0])
        ... )
        >>> Recipe(credit=GroupNormalized(eps=0.0))(rollouts).advantages.flatten().tolist()
        [0.7071067690849304, -0.7071067690849304]
    """

    credit: Credit
    score: Sequence[Score] = ()
    shape: Sequence[Shape] = ()
    select: Sequence[Select] = ()
    objective: Objective | None = None
    rollout: Sampling | None = None
    name: str = "recipe"

    def __post_init__(self) -> None:
        for shelf in ("score", "shape", "select"):
            stages = getattr(self, shelf)
            if stages is None:
                stages = ()
            if not isinstance(stages, Sequence):
                stages = (stages,)
            object.__setattr__(self, shelf, tuple(stages))
        for shelf, stage in self.stages():
            if shelf != "rollout" and not callable(stage):
                raise ValueError(f"{shelf}: {stage!r} is not a stage; expected something that can be called")
            if isinstance(stage, Learning) and stage.update_order not in UPDATE_ORDERS:
                raise ValueError(
                    f"{shelf}: {stage_name(stage)}.update_order is {stage.update_order!r}: "
                    f"expected one of {UPDATE_ORDERS}"
                )

    def stages(self) -> Iterator[tuple[str, Any]]:
        """Yield (shelf, stage) in the order in which a batch passes them."""
        for shelf in SHELVES:
            value = getattr(self, shelf)
            if value is None:
                continue
            for stage in value if isinstance(value, tuple) else (value,):
                yield shelf, stage

    def reads(self) -> frozenset[str]:
        """Everything that some stage declares to read."""
        return frozenset(name for _, stage in self.stages() for name in reads(stage))

    def __call__(self, rollouts: Rollouts, *, learn: bool = False) -> Batch:
        """Run the stages on a batch of responses.

        Args:
            rollouts: Sampled responses.
            learn: Whether stages that learn are updated with this batch.

        Returns:
            The kept rows with advantages (K, T), weights and the metrics of every stage.

        Raises:
            ValueError: A stage returned something of another kind or size than its shelf promises.
        """
        metrics: dict[str, float] = {}
        scored = self.run_score(rollouts, metrics, learn=learn)
        return self.run_rest(scored, metrics, learn=learn)

    def run_score(self, rollouts: Rollouts, metrics: dict[str, float], *, learn: bool = False) -> Rollouts:
        """Run the score stages only, adding to `metrics`."""
        for stage in self.score:
            learning = learn and isinstance(stage, Learning)
            if learning and cast(Learning, stage).update_order == "update_first":
                _update(stage, rollouts, metrics)
            rollouts = _expect_rollouts(stage, stage(rollouts), len(rollouts))
            if learning and cast(Learning, stage).update_order == "score_first":
                _update(stage, rollouts, metrics)
        unscored = ~rollouts.scored
        metrics["score/unscored"] = float(unscored.sum())
        metrics["score/outcome_mean"] = _mean(rollouts.outcome)
        metrics["score/outcome_std"] = _std(rollouts.outcome)
        if rollouts.n_steps:
            metrics["score/process_mean"] = _mean(rollouts.process)
        return rollouts

    def run_rest(self, scored: Rollouts, metrics: dict[str, float], *, learn: bool = False) -> Batch:
        """Run shape, select and credit on scored rollouts, adding to `metrics`."""
        shaped = scored
        for name, shaping in zip(_names(self.shape), self.shape, strict=True):
            before, shaped = shaped, _expect_rollouts(shaping, shaping(shaped), len(shaped))
            for reward in ("outcome", "process") if shaped.n_steps else ("outcome",):
                for metric, value in _change(getattr(before, reward), getattr(shaped, reward)).items():
                    metrics[f"shape/{name}/{reward}_{metric}"] = value
        selection = self._select(shaped, metrics)
        kept = shaped[selection.kept]
        rows = selection.kept.nonzero().squeeze(1)
        advantages = self._credit(kept, metrics)
        if learn:
            for stage in (*self.shape, *self.select, self.credit):
                if isinstance(stage, Learning) and stage.update_order != "never":
                    _update(stage, shaped, metrics)
        return Batch(
            rollouts=kept,
            advantages=advantages,
            weights=selection.weights[selection.kept].to(torch.float32),
            trained=selection.trained[selection.kept],
            rows=rows,
            scored=scored,
            selection=selection,
            metrics=metrics,
            birth=scored.iteration,
        )

    def _select(self, rollouts: Rollouts, metrics: dict[str, float]) -> Selection:
        selection = Selection.all(len(rollouts), rollouts.device)
        for stage in self.select:
            seen = rollouts[selection.kept]
            verdict = stage(seen)
            if not isinstance(verdict, Selection) or len(verdict.kept) != len(seen):
                raise ValueError(
                    f"select: {stage_name(stage)} gave {type(verdict).__name__}: expected a Selection of {len(seen)}"
                )
            for name, value in verdict.metrics.items():
                metrics[f"select/{stage_name(stage)}/{name}"] = value
            selection = selection.then(verdict)
        rows = max(len(rollouts), 1)
        metrics["select/kept_fraction"] = float(selection.kept.sum()) / rows
        metrics["select/trained_fraction"] = float(selection.trained.sum()) / rows
        for reason, count in selection.reasons().items():
            metrics[f"select/dropped/{reason}"] = float(count)
        return selection

    def _credit(self, kept: Rollouts, metrics: dict[str, float]) -> Tensor:
        advantages = self.credit(kept)
        if not isinstance(advantages, Tensor) or advantages.shape != kept.mask.shape:
            shape = tuple(getattr(advantages, "shape", ()))
            expected = tuple(kept.mask.shape)
            raise ValueError(f"credit: {stage_name(self.credit)} returned shape {shape}: expected {expected}")
        advantages = advantages.to(torch.float32)
        on_policy = advantages[kept.mask]
        metrics["credit/advantage_mean"] = _mean(on_policy)
        metrics["credit/advantage_std"] = _std(on_policy)
        zero_rows = (advantages == 0).all(1)
        metrics["credit/zero_rows"] = float(zero_rows.float().mean()) if len(kept) else 0.0
        return advantages

    def learning_stages(self) -> dict[str, Learning]:
        """Name -> stage, for the stages that learn."""
        named: dict[str, Learning] = {}
        for position, (shelf, stage) in enumerate(self.stages()):
            if isinstance(stage, Learning):
                named[f"{position}.{shelf}.{stage_name(stage)}"] = stage
        return named

    def state_dict(self) -> dict[str, Any]:
        """The states of the stages that learn."""
        return states_of(self.learning_stages())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up states that `state_dict` gave.

        Raises:
            ValueError: The state is of a recipe with other learning stages.
        """
        load_states(self.learning_stages(), state, "recipe")

    def replace(self, **changes: Any) -> Recipe:
        """Return a copy with some shelves changed."""
        return dataclasses.replace(self, **changes)

    def __str__(self) -> str:
        lines = [f"{self.name}:"]
        lines += [f"  {shelf:<9} {stage!r}" for shelf, stage in self.stages()]
        return "\n".join(lines)


def _expect_rollouts(stage: object, value: object, rows: int) -> Rollouts:
    if not isinstance(value, Rollouts) or len(value) != rows:
        kind = f"{len(value)} rows" if isinstance(value, Rollouts) else type(value).__name__
        raise ValueError(f"{stage_name(stage)} returned {kind}: expected Rollouts of the same {rows} rows")
    return value


def _update(stage: Any, rollouts: Rollouts, metrics: dict[str, float]) -> None:
    for name, value in stage.update(rollouts).items():
        metrics[f"update/{stage_name(stage)}/{name}"] = float(value)


def _names(stages: Sequence[Any]) -> list[str]:
    """The names of stages, numbered where two have the same."""
    names = [stage_name(stage) for stage in stages]
    return [name if names.count(name) == 1 else f"{name}.{index}" for index, name in enumerate(names)]


def _change(before: Tensor, after: Tensor) -> dict[str, float]:
    """What a stage made of rewards: mean and spread, and the shares of them that changed, and that changed sign."""
    known = ~torch.isnan(before) & ~torch.isnan(after)
    number = max(int(known.sum()), 1)
    changed = (before != after) & known
    flipped = (torch.sign(before) * torch.sign(after) < 0) & known
    return {
        "mean": _mean(after),
        "std": _std(after),
        "changed": float(changed.sum()) / number,
        "sign_flips": float(flipped.sum()) / number,
    }


def _mean(values: Tensor) -> float:
    valid = values[~torch.isnan(values)]
    return float(valid.double().mean()) if valid.numel() else float("nan")


def _std(values: Tensor) -> float:
    valid = values[~torch.isnan(values)]
    return float(valid.double().std()) if valid.numel() > 1 else 0.0
