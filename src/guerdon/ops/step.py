"""Functions between tokens (B, T) and steps (B, S): pooling, spreading, placing, accumulating."""

from __future__ import annotations

import torch
from torch import Tensor

from guerdon.ops import _scan
from guerdon.ops._check import expect_choice, expect_matrix, expect_shape, expect_step, expect_unit

POOLS = ("sum", "mean", "min", "max", "last", "first")
AGGREGATES = ("mean", "min", "max", "sum", "prod", "geometric_mean", "last", "mean_logit", "mean_odd")


def _slots(step: Tensor, n_steps: int) -> Tensor:
    """(B, T) int64: the step of each token, `n_steps` for tokens of no step."""
    expect_step(step)
    if step.numel() and int(step.max()) >= n_steps:
        raise ValueError(f"step names index {int(step.max())}: expected below {n_steps}")
    return torch.where(step < 0, n_steps, step).to(torch.int64)


def exists(step: Tensor, n_steps: int) -> Tensor:
    """(B, S) bool: whether some token of the row belongs to the step.

    Args:
        step: (B, T) int64, -1 = no step.
        n_steps: S.
    """
    found = torch.zeros(step.shape[0], n_steps + 1, dtype=torch.bool, device=step.device)
    return found.scatter(1, _slots(step, n_steps), True)[:, :n_steps]


def pool(x: Tensor, step: Tensor, n_steps: int, how: str = "sum") -> Tensor:
    """One number for each step from its tokens.

    Args:
        x: (B, T) float.
        step: (B, T) int64, -1 = no step.
        n_steps: S.
        how: "sum", "mean", "min", "max", "last" or "first" token.

    Returns:
        (B, S) of the dtype of `x`, NaN where no token belongs to the step. Differentiable.

    Example:
        >>> import torch
        >>> pool(torch.tensor([[1.0, 2.0, 4.0]]), torch.tensor([[0, 0, 1]]), 3).tolist()
        [[3.0, 4.0, nan]]
    """
    expect_choice("how", how, POOLS)
    expect_matrix("x", x)
    expect_shape("step", step, tuple(x.shape), "x")
    slots = _slots(step, n_steps)
    present = exists(step, n_steps)
    if how in ("last", "first"):
        at = _end(step, n_steps, how)
        value = torch.gather(x, 1, at) if x.shape[1] else x.new_zeros(present.shape)
        return torch.where(present, value, torch.nan)
    wide = x if x.dtype in (torch.float32, torch.float64) else x.float()
    if how in ("min", "max"):
        fill = torch.inf if how == "min" else -torch.inf
        start = torch.full((x.shape[0], n_steps + 1), fill, dtype=wide.dtype, device=x.device)
        value = start.scatter_reduce(1, slots, wide, "amin" if how == "min" else "amax")[:, :n_steps]
        return torch.where(present, value, torch.nan).to(x.dtype)
    total = torch.zeros(x.shape[0], n_steps + 1, dtype=torch.float64, device=x.device)
    value = total.scatter_add(1, slots, wide.double())[:, :n_steps]
    if how == "mean":
        number = total.scatter_add(1, slots, torch.ones_like(wide, dtype=torch.float64))[:, :n_steps]
        value = value / number.clamp(min=1)
    return torch.where(present, value, torch.nan).to(x.dtype)


def _end(step: Tensor, n_steps: int, which: str) -> Tensor:
    """(B, S) int64: position of the first or last token of each step; 0 where there is none."""
    place = torch.arange(step.shape[1], device=step.device).expand(step.shape)
    start = torch.zeros(step.shape[0], n_steps + 1, dtype=torch.int64, device=step.device)
    kind = "amax" if which == "last" else "amin"
    return start.scatter_reduce(1, _slots(step, n_steps), place, kind, include_self=False)[:, :n_steps]


def spread(x: Tensor, step: Tensor, fill: float = 0.0) -> Tensor:
    """Give every token its step's value.

    Args:
        x: (B, S) float.
        step: (B, T) int64, -1 = no step.
        fill: What tokens of no step get, and tokens of steps whose value is NaN.

    Returns:
        (B, T) of the dtype of `x`. Differentiable.
    """
    expect_matrix("x", x)
    slots = _slots(step, x.shape[1])
    padded = torch.cat([torch.where(torch.isnan(x), fill, x), x.new_full((x.shape[0], 1), fill)], 1)
    return torch.gather(padded, 1, slots)


def place(x: Tensor, step: Tensor, at: str = "last") -> Tensor:
    """Put each step's value on its last or first token.

    Args:
        x: (B, S) float; NaN values are not placed.
        step: (B, T) int64, -1 = no step.
        at: "last" or "first".

    Returns:
        (B, T) of the dtype of `x`, 0 elsewhere. Differentiable.

    Raises:
        ValueError: A step that no token belongs to has a value other than NaN or 0.
    """
    expect_matrix("x", x)
    expect_choice("at", at, ("last", "first"))
    present = exists(step, x.shape[1])
    lost = ~present & ~torch.isnan(x) & (x != 0)
    if bool(lost.any()):
        row, index = (int(number) for number in lost.nonzero()[0])
        raise ValueError(f"step {index} of row {row} has the value {float(x[row, index])} but no token to place it on")
    value = torch.where(present & ~torch.isnan(x), x, 0.0)
    result = torch.zeros(step.shape, dtype=x.dtype, device=x.device)
    if not step.shape[1]:
        return result
    return result.scatter_add(1, _end(step, x.shape[1], at), value)


def accumulate(x: Tensor, exists: Tensor, gamma: float = 1.0, direction: str = "suffix") -> Tensor:
    """Sum of a step's value and those after it ("suffix", reward-to-go) or before it ("prefix").

    Args:
        x: (B, S) float; NaN counts as 0.
        exists: (B, S) bool; other steps are stepped over, without discount.
        gamma: Discount of one existing step.
        direction: "suffix" or "prefix".

    Returns:
        (B, S) of the dtype of `x`, NaN where no step exists. Differentiable.
    """
    expect_choice("direction", direction, ("suffix", "prefix"))
    expect_shape("exists", exists, tuple(x.shape), "x")
    expect_unit("gamma", gamma)
    value = torch.where(exists & ~torch.isnan(x), x, 0.0).double()
    decay = torch.ones(exists.shape, dtype=torch.float64, device=exists.device).masked_fill_(exists, gamma)
    if direction == "prefix":
        total = _scan.general_suffix(value.flip(1), decay.flip(1)).flip(1)
    else:
        total = _scan.general_suffix(value, decay)
    return torch.where(exists, total.to(x.dtype), torch.nan)


def difference(x: Tensor, start: Tensor | None = None, direction: str = "progress") -> Tensor:
    """Differences of neighbouring existing steps.

    Args:
        x: (B, S) float, NaN = no such step.
        start: (B,) float, the value before the first step, for "progress"; None = 0.
        direction: "progress" = x_k - x_(k-1), with x_0 = start; "delta" = x_k - x_(k+1), where the step before the last
            keeps its x and the last gets 0 (arXiv 2410.15115).

    Returns:
        (B, S), NaN where `x` is.
    """
    expect_matrix("x", x)
    expect_choice("direction", direction, ("progress", "delta"))
    present = ~torch.isnan(x)
    filled = torch.where(present, x, 0.0)
    if direction == "progress":
        first = x.new_zeros(x.shape[0]) if start is None else start.to(x.dtype)
        before = _neighbour(
            torch.cat([first[:, None], filled], 1), torch.cat([torch.ones_like(present[:, :1]), present], 1)
        )
        return torch.where(present, filled - before[:, 1:], torch.nan)
    after = _neighbour(filled.flip(1), present.flip(1)).flip(1)
    remaining = present.flip(1).cumsum(1).flip(1)
    value = torch.where(remaining == 1, 0.0, torch.where(remaining == 2, filled, filled - after))
    return torch.where(present, value, torch.nan)


def _neighbour(x: Tensor, present: Tensor) -> Tensor:
    """(B, S): the value of the nearest present element before each, 0 if there is none."""
    if not x.shape[1]:
        return x
    index = torch.arange(x.shape[1], device=x.device).expand(x.shape)
    latest = torch.where(present, index, -1).cummax(1).values
    previous = torch.cat([latest.new_full((x.shape[0], 1), -1), latest[:, :-1]], 1)
    return torch.where(previous >= 0, torch.gather(x, 1, previous.clamp(min=0)), 0.0)


def aggregate(x: Tensor, how: str = "mean", clip: float = 1e-6) -> Tensor:
    """One number for each row from its steps.

    Args:
        x: (B, S) float; NaN steps take no part.
        how: "mean", "min", "max", "sum", "prod", "geometric_mean", "last" scored step, "mean_logit" (mean of
            log(x / (1 - x))), or "mean_odd" (mean of x / (1 - x)).
        clip: Values are bounded to [clip, 1 - clip] for logits and odds, to at least `clip` for the geometric mean.

    Returns:
        (B,) of the dtype of `x`; NaN for rows without a valid step. Differentiable.
    """
    expect_matrix("x", x)
    expect_choice("how", how, AGGREGATES)
    valid = ~torch.isnan(x)
    number = valid.sum(1)
    filled = torch.where(valid, x, 0.5)
    if how in ("min", "max"):
        limit = torch.where(valid, x, torch.inf if how == "min" else -torch.inf)
        value = (limit.amin(1) if how == "min" else limit.amax(1)) if x.shape[1] else x.new_zeros(x.shape[0])
    elif how == "prod":
        value = torch.where(valid, x, 1.0).prod(1)
    elif how == "last":
        place = torch.where(valid, torch.arange(x.shape[1], device=x.device), -1)
        last = place.amax(1, keepdim=True).clamp(min=0) if x.shape[1] else place
        value = torch.gather(filled, 1, last).squeeze(1) if x.shape[1] else x.new_zeros(x.shape[0])
    else:
        value = _averaged(filled, valid, number, how, clip)
    return torch.where(number > 0, value, torch.nan)


def _averaged(filled: Tensor, valid: Tensor, number: Tensor, how: str, clip: float) -> Tensor:
    if how == "geometric_mean":
        terms = torch.log(filled.clamp(min=clip))
    elif how in ("mean_logit", "mean_odd"):
        bounded = filled.clamp(clip, 1.0 - clip)
        odds = bounded / (1.0 - bounded)
        terms = torch.log(odds) if how == "mean_logit" else odds
    else:
        terms = filled
    total = torch.where(valid, terms, 0.0).double().sum(1)
    if how != "sum":
        total = total / number.clamp(min=1)
    return (torch.exp(total) if how == "geometric_mean" else total).to(filled.dtype)


def merge_runs(label: Tensor) -> tuple[Tensor, Tensor]:
    """Number the runs of equal labels along each row.

    Args:
        label: (B, S) int64; negative = no step, which belongs to no run and parts none.

    Returns:
        (B, S) int64 run ids, -1 = none, and (B, S) int64 the label of each run, -1 beyond the last.
    """
    expect_matrix("label", label)
    present = label >= 0
    before = _neighbour(torch.where(present, label + 1, 0).double(), present).long() - 1
    run = (present & (label != before)).cumsum(1) - 1
    run = torch.where(present, run, -1)
    names = torch.full((label.shape[0], label.shape[1] + 1), -1, dtype=torch.int64, device=label.device)
    names.scatter_(1, torch.where(present, run, label.shape[1]), torch.where(present, label, -1))
    return run, names[:, : label.shape[1]]


def first_below(x: Tensor, threshold: float, inclusive: bool = False) -> Tensor:
    """Index of the first step whose value is below a threshold.

    Args:
        x: (B, S) float; NaN steps are passed over.
        threshold: The threshold.
        inclusive: Whether a value equal to it counts.

    Returns:
        (B,) int64, -1 = none.
    """
    expect_matrix("x", x)
    low = x <= threshold if inclusive else x < threshold
    if not x.shape[1]:
        return torch.full((x.shape[0],), -1, dtype=torch.int64, device=x.device)
    return torch.where(low.any(1), low.long().argmax(1), -1)
