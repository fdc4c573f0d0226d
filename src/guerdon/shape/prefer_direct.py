"""A direct answer is preferred to calling a tool, where some direct answer is right (arXiv 2505.15436)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from guerdon import ops
from guerdon.rollouts import Rollouts
from guerdon.terms import flags, term


def adaptive_group_scores(
    correct: Tensor,
    used_tool: Tensor,
    format: Tensor,
    key: Tensor,
    values: tuple[float, float, float, float, float] = (1.0, 0.8, 0.5, 0.1, 0.0),
    *,
    alone: Tensor | None = None,
    require_format: bool = False,
) -> Tensor:
    """Score responses by whether they are right and whether they used the tool.

    With the default values: right = 1, but right with the tool = 0.8 where some direct response of the group is
    right; wrong with the tool = 0.5; wrong and direct = 0.1 if well-formed, else 0. The third value pays for needless
    calls where all fail; `require_format` at least does not pay malformed ones.

    Args:
        correct: (B,) float or bool, right where above 0; NaN rows take no part and get NaN.
        used_tool: (B,) bool.
        format: (B,) bool, well-formed.
        key: (B,) int64 groups.
        values: Right; right with the tool though not needed; wrong with the tool; wrong, direct and well-formed; wrong,
            direct and malformed.
        alone: (B,) float: what a row gets that is the only scored one of its group; None = 0.9 right + 0.1 well-formed,
            the paper's reward before rescoring.
        require_format: Whether a wrong response with the tool must be well-formed for the third value; else it gets
            the last.

    Returns:
        (B,) float32 (float64 if `correct` is).

    Raises:
        ValueError: Wrong shapes, or not five values.

    Example:
        >>> import torch
        >>> right = torch.tensor([1.0, 0.0, 1.0, 0.0, 0.0, 0.0])
        >>> tool = torch.tensor([False, False, True, True, True, False])
        >>> good = torch.tensor([True, True, True, True, False, True])
        >>> adaptive_group_scores(right, tool, good, torch.zeros(6, dtype=torch.int64))
        tensor([1.0000, 0.1000, 0.8000, 0.5000, 0.5000, 0.1000])
    """
    if len(values) != 5:
        raise ValueError(f"values is {values}: expected five numbers")
    for name, given in (("used_tool", used_tool), ("format", format), ("key", key)):
        if given.shape != correct.shape or correct.ndim != 1:
            raise ValueError(f"{name} has shape {tuple(given.shape)}: expected {tuple(correct.shape)}, like correct")
    dtype = torch.float64 if correct.dtype == torch.float64 else torch.float32
    truth = correct.to(dtype)
    scored, right = ~torch.isnan(truth), truth > 0
    tool, good = used_tool > 0, format > 0
    solvable = ops.any((right & ~tool).to(dtype), key, scored)
    best, spared, failed_tool, wrong, malformed = (torch.full_like(truth, value) for value in values)
    paid = torch.where(good, failed_tool, malformed) if require_format else failed_tool
    score = torch.where(tool, paid, torch.where(good, wrong, malformed))
    score = torch.where(right, torch.where(tool & solvable, spared, best), score)
    single = 0.9 * right.to(dtype) + 0.1 * good.to(dtype) if alone is None else alone.to(dtype)
    score = torch.where(ops.count(truth, key) == 1, single, score)
    return torch.where(scored, score, torch.nan)


@dataclass(frozen=True)
class PreferDirect:
    """Replace the outcome by `adaptive_group_scores`.

    Attributes:
        values: The five scores; see `adaptive_group_scores`.
        used_tool: Name of the column that says whether, or how often, the tool was called.
        format: Name of the column that says whether the response is well-formed.
        right_above: Outcome above which a response counts as right.
        require_format: Whether a wrong response with the tool must be well-formed to be paid for trying.
    """

    values: tuple[float, float, float, float, float] = (1.0, 0.8, 0.5, 0.1, 0.0)
    used_tool: str = "used_tool"
    format: str = "format"
    right_above: float = 0.5
    require_format: bool = False
    writes: ClassVar[tuple[str, ...]] = ("outcome",)

    def __post_init__(self) -> None:
        if len(self.values) != 5:
            raise ValueError(f"PreferDirect.values is {self.values}: expected five numbers")

    @property
    def reads(self) -> tuple[str, ...]:
        """The outcome, the groups, tool use and format."""
        return ("outcome", "group", self.used_tool, self.format)

    def __call__(self, rollouts: Rollouts) -> Rollouts:
        """Return the rollouts with rescored outcomes; a row alone in its group keeps its own."""
        outcome = rollouts.outcome
        correct = torch.where(torch.isnan(outcome), torch.nan, (outcome > self.right_above).to(outcome.dtype))
        score = adaptive_group_scores(
            correct,
            flags(rollouts, self.used_tool),
            term(rollouts, self.format),
            rollouts.group,
            self.values,
            alone=outcome,
            require_format=self.require_format,
        )
        return rollouts.replace(outcome=score)
