"""A batch that every stage can be called on: sixteen steps a response, groups of sixteen."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from guerdon.batch import Batch
from guerdon.rollouts import Rollouts

STEPS = 16
GROUP = 16


def rollouts(rows: int, tokens: int, seed: int = 0, only: Collection[str] | None = None) -> Rollouts:
    """Responses of half to all of the tokens, with everything that a stage may read.

    Args:
        rows: B.
        tokens: T, at least 16.
        seed: Of everything.
        only: Names of the fields over the tokens that are wanted; None = all. At 1e8 tokens each takes 400 MB.
    """
    draw = torch.Generator().manual_seed(seed)
    length = torch.randint(tokens // 2, tokens + 1, (rows, 1), generator=draw)
    place = torch.arange(tokens)[None]
    mask = place < length
    step = torch.where(mask, place * STEPS // length, -1)
    right = torch.rand(rows, generator=draw) < 0.5
    scores = torch.rand(rows, STEPS, generator=draw)

    def over_tokens(name: str, sign: float = 1.0) -> Tensor | None:
        wanted = only is None or name in only
        return sign * torch.rand(rows, tokens, generator=draw).mul_(mask) if wanted else None

    named = {name: over_tokens(f"tokens/{name}") for name in ("values", "returns", "scores", "rewards")}
    return Rollouts(
        group=torch.arange(rows) // GROUP,
        mask=mask,
        step=step,
        outcome=right.float(),
        process=scores,
        logprobs=over_tokens("logprobs", -1.0),
        ref_logprobs=over_tokens("ref_logprobs", -1.0),
        entropy=over_tokens("entropy"),
        node=_tree(rows),
        tokens={name: value for name, value in named.items() if value is not None},
        steps={
            "action": torch.randint(0, 3, (rows, STEPS), generator=draw),
            "critics": torch.rand(rows, STEPS, 2, generator=draw),
        },
        columns=_columns(rows, right, length, draw),
        progress=0.3,
        iteration=3,
    )


def _tree(rows: int) -> Tensor:
    """(B, 16) int64: the responses of a group share the state after their first step, and no other."""
    own = (torch.arange(rows) % GROUP)[:, None] * STEPS + torch.arange(STEPS)[None] + 2
    own[:, 0] = 1
    return own


def without_last(given: Rollouts) -> Rollouts:
    """The rollouts of an agent whose last turn is the answer, and has no reward of its own."""
    process = given.process.clone()
    process[:, -1] = torch.nan
    return given.replace(process=process)


def _columns(rows: int, right: Tensor, length: Tensor, draw: torch.Generator) -> dict[str, Any]:
    shares = torch.rand(rows, 3, generator=draw).tolist()
    chances = torch.rand(rows, generator=draw)
    return {
        "prompt_id": (torch.arange(rows) // GROUP).tolist(),
        "length": length[:, 0].tolist(),
        "extracted": [str(int(value)) for value in right.tolist()],
        "truncated": (chances < 0.1).tolist(),
        "excluded": (chances > 0.9).tolist(),
        "truth": right.tolist(),
        "format": [1.0] * rows,
        "used_tool": (chances < 0.5).tolist(),
        "reasoning_patterns": [row[0] for row in shares],
        "entity_rate": [row[1] for row in shares],
        "thinking": [row[2] for row in shares],
        "solver_accuracy": [row[0] for row in shares],
        "difficulty": [row[1] for row in shares],
        "answer_spread": [row[2] for row in shares],
        "start": [row[0] for row in shares],
        "references": shares,
        "team": [str(row % 2) for row in range(rows)],
        "dimension/confidence": [row[0] for row in shares],
        "dimension/relevance": [row[1] for row in shares],
        "dimension/coherence": [row[2] for row in shares],
        "dimension/complete": (chances < 0.9).tolist(),
    }


def batch(given: Rollouts) -> Batch:
    """The rollouts as an objective gets them, with an advantage for every token."""
    rows = len(given)
    sign = torch.where(given.outcome > 0.5, 1.0, -1.0)
    return Batch(
        given,
        sign[:, None] * given.mask,
        torch.ones(rows),
        torch.ones(rows, dtype=torch.bool),
        torch.arange(rows),
    )


@dataclass(frozen=True)
class Fields:
    """The tensors of rollouts by the names that stages declare.

    Attributes:
        rollouts: The rollouts.
        written: What stages of a shelf write besides fields of the rollouts: names and bytes.
    """

    rollouts: Rollouts
    written: dict[str, int] = field(default_factory=dict)

    def size(self, name: str) -> int:
        """Bytes of a field, an entry of `tokens` or `steps`, or a column as float32."""
        rows, tokens = self.rollouts.mask.shape
        if name in self.written:
            return self.written[name]
        if name == "advantages":
            return 4 * rows * tokens
        shelf, _, entry = name.partition("/")
        extra = entry and shelf in ("tokens", "steps")
        value = getattr(self.rollouts, shelf)[entry] if extra else getattr(self.rollouts, name, None)
        return value.numel() * value.element_size() if isinstance(value, Tensor) else 4 * rows
