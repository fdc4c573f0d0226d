"""Pairs of a better and a worse response to one prompt, for objectives that learn from preferences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from guerdon import ops
from guerdon.rollouts import Rollouts
from guerdon.selection import Selection
from guerdon.terms import term

MODES = ("all", "random", "extreme", "one_to_one")
UNPAIRED, UNSCORED = "in no pair", "unscored"


def pick_pair(reward: Tensor, min_gap: float = 0.0) -> tuple[int, int] | None:
    """The best and the worst response of one prompt.

    Args:
        reward: (G,) float; NaN takes no part.
        min_gap: The two have to differ by more.

    Returns:
        (chosen, rejected), of equal rewards the lower index, or None if no two differ enough.

    Example:
        >>> import torch
        >>> pick_pair(torch.tensor([0.1, 0.9, -0.5, 0.9]))
        (1, 2)
    """
    pairs = ops.pair_indices(
        torch.zeros(len(reward), dtype=torch.int64, device=reward.device), reward, "extreme", min_gap
    )
    return (int(pairs[0, 0]), int(pairs[0, 1])) if len(pairs) else None


def mixed_group_pairs(
    reward: Tensor, group: Tensor, generator: torch.Generator | None = None, pairs: int | None = 1
) -> Selection:
    """One right and one wrong response of every group that has both (OREAL, arXiv 2502.06781, §3.3).

    Statistics are still over all scored rows: only the chosen rows are trained on.

    Args:
        reward: (B,) float, above 0 = right; rows that are not finite take no part.
        group: (B,) int64.
        generator: Source of randomness; needed for `pairs=1`.
        pairs: 1 = one random pair a group; None = all rows of the mixed groups are trained on, and no pairs are named.

    Returns:
        A selection that keeps all finite rows and names the pairs.

    Raises:
        ValueError: `pairs` is neither 1 nor None, or the generator is missing.
    """
    if pairs not in (1, None):
        raise ValueError(f"pairs is {pairs}: expected 1 or None")
    scored = torch.isfinite(reward)
    positive = torch.where(scored, (reward > 0).to(torch.float32), torch.nan)
    mixed = ops.max(positive, group) > ops.min(positive, group)
    if pairs is None:
        found, trained = None, mixed & scored
    else:
        found = ops.pair_indices(group, positive, "random", generator=generator)
        trained = _in_pairs(found, len(reward))
    reason = ["group without both classes" if not both else UNPAIRED for both in mixed.tolist()]
    groups = ops.reduce((~mixed).float(), group, "max")[1]
    return _selection(scored, trained, found, reason, {"pure_groups": float(groups.sum())})


def _in_pairs(pairs: Tensor, rows: int) -> Tensor:
    """(B,) bool: rows that some pair names."""
    return torch.zeros(rows, dtype=torch.bool, device=pairs.device).index_fill(0, pairs.reshape(-1), True)


def _selection(
    kept: Tensor, trained: Tensor, pairs: Tensor | None, reason: list[str], metrics: dict[str, float]
) -> Selection:
    texts = [
        "" if used else why if scored else UNSCORED
        for used, scored, why in zip(trained.tolist(), kept.tolist(), reason, strict=True)
    ]
    return Selection(kept, trained, reason=texts, pairs=pairs, metrics=metrics)


@dataclass(frozen=True)
class Pairs:
    """Name pairs (better row, worse row) of the same group; rows in no pair are not trained on.

    Attributes:
        score: What is compared: "outcome", "process" (aggregated over the row's steps), or the name of a column of
            numbers. Rows without score are in no pair.
        mode: "all" pairs, one "random" pair a group, the "extreme" pair of each, or "one_to_one" = the better half
            against the worse half; see `guerdon.ops.pair_indices`.
        margin: A pair needs a difference above it.
        threshold: Scores above it count 1, others 0: pairs of a success and a failure; None = scores count as they are.
        aggregate: How process rewards become one number; see `guerdon.ops.aggregate`.
        distinct: Name of a column; rows that are equal in it make no pair. None = all may.
        seed: With the iteration, seeds "random".
    """

    score: str = "outcome"
    mode: str = "extreme"
    margin: float = 0.0
    threshold: float | None = None
    aggregate: str = "mean"
    distinct: str | None = None
    seed: int = 0
    writes: ClassVar[tuple[str, ...]] = ("trained", "pairs")

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"Pairs.mode is {self.mode!r}: expected one of {MODES}")
        if not self.margin >= 0.0:
            raise ValueError(f"Pairs.margin is {self.margin}: expected 0 or more")

    @property
    def reads(self) -> tuple[str, ...]:
        """What is read."""
        return ("group", self.score, *((self.distinct,) if self.distinct else ()))

    def __call__(self, rollouts: Rollouts) -> Selection:
        """Return a selection that keeps the rows with a score and names the pairs."""
        score = term(rollouts, self.score, self.aggregate)
        kept = ~torch.isnan(score)
        if self.threshold is not None:
            score = torch.where(kept, (score > self.threshold).float(), torch.nan)
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + rollouts.iteration)
        texts = tuple(str(text) for text in rollouts.column(self.distinct)) if self.distinct else None
        pairs = ops.pair_indices(rollouts.group, score, self.mode, self.margin, generator, texts)
        gap = (score[pairs[:, 0]] - score[pairs[:, 1]]) if len(pairs) else score.new_zeros(0)
        metrics = {"pairs": float(len(pairs)), "gap": float(gap.mean()) if len(pairs) else float("nan")}
        return _selection(kept, _in_pairs(pairs, len(score)), pairs, [UNPAIRED] * len(score), metrics)
