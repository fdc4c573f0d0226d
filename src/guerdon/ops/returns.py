"""Sums along the tokens of a response: discounted returns and generalised advantage estimation.

Tokens outside the mask are stepped over: the next token inside it is the successor. All sums are taken in float64,
whatever the dtype of the inputs, in chunks of rows that fit a processor's cache.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from guerdon.ops import _memory, _scan
from guerdon.ops._check import as_mask, expect_float, expect_matrix, expect_shape, expect_unit

Layout = Literal["full", "prefix", "holes"]


def discounted_suffix(x: Tensor, mask: Tensor, gamma: float) -> Tensor:
    """Sum of the later values of a row, discounted by the number of masked-in tokens between.

    G_t = x_t + gamma G_(next masked-in token). The reward-to-go of REINFORCE (arXiv 2501.03262 for language models),
    of process rewards (arXiv 2502.01456, eq. 5).

    Args:
        x: (B, T) float. Values outside the mask, also NaN, are ignored.
        mask: (B, T) bool.
        gamma: Discount in [0, 1]. It counts masked-in tokens only.

    Returns:
        (B, T) of the dtype of `x`, 0 outside the mask. Differentiable in `x`.

    Raises:
        ValueError: Wrong shapes or dtype, or `gamma` outside [0, 1].

    Example:
        >>> import torch
        >>> x = torch.tensor([[1.0, 9.0, 2.0, 4.0]])
        >>> discounted_suffix(x, torch.tensor([[True, False, True, True]]), 0.5).tolist()
        [[3.0, 0.0, 4.0, 4.0]]
    """
    expect_matrix("x", x)
    expect_float("x", x)
    mask = as_mask("mask", mask, tuple(x.shape), "x")
    expect_unit("gamma", gamma)
    result: Tensor = _DiscountedSuffix.apply(x, mask, float(gamma))  # type: ignore[no-untyped-call]
    return result


def gae(
    rewards: Tensor,
    values: Tensor,
    mask: Tensor,
    gamma: float,
    lam: float,
    bootstrap: Tensor | None = None,
    done: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimation (arXiv 1506.02438, eqs. 11 and 16) over the tokens, or the turns, of each row.

    With t' the next masked-in position after t: delta_t = r_t + gamma V_t' - V_t, A_t = delta_t + gamma lam A_t',
    and returns = A + V. After the last masked-in position V is `bootstrap` and A is 0.

    Args:
        rewards: (B, T) float. Values outside the mask, also NaN, are ignored, here and in `values`.
        values: (B, T) float.
        mask: (B, T) bool.
        gamma: Discount in [0, 1]. It counts masked-in positions only.
        lam: Weight of longer returns in [0, 1], lambda.
        bootstrap: (B,) float, the value of what follows the last masked-in position; None = 0.
        done: (B, T) bool, an episode ends after this position: nothing later counts for it or anything before. A flag
            outside the mask cuts as well.

    Returns:
        Advantages and returns, both (B, T) in the wider dtype of `rewards` and `values`, 0 outside the mask and without
        gradient. Neither is whitened. A NaN in a row reaches its own and earlier positions only.

    Raises:
        ValueError: Wrong shapes or dtypes, or `gamma` or `lam` outside [0, 1].

    Example:
        >>> import torch
        >>> rewards, values = torch.tensor([[0.0, 0.0, -0.5]]), torch.tensor([[0.1, 0.1, -0.2]])
        >>> advantages, returns = gae(rewards, values, torch.ones(1, 3, dtype=torch.bool), 1.0, 1.0)
        >>> advantages.round(decimals=4).tolist(), returns.tolist()
        ([[-0.6000000238418579, -0.6000000238418579, -0.30000001192092896]], [[-0.5, -0.5, -0.5]])
    """
    expect_matrix("rewards", rewards)
    expect_float("rewards", rewards)
    expect_float("values", values)
    expect_shape("values", values, tuple(rewards.shape), "rewards")
    mask = as_mask("mask", mask, tuple(rewards.shape), "rewards")
    expect_unit("gamma", gamma)
    expect_unit("lam", lam)
    rows, width = rewards.shape
    if bootstrap is not None:
        expect_shape("bootstrap", bootstrap, (rows,), "the rows of rewards")
    if done is not None:
        done = as_mask("done", done, tuple(rewards.shape), "rewards")
    dtype = torch.promote_types(rewards.dtype, values.dtype)
    advantages, returns = (_memory.empty(rows, width, dtype, rewards.device) for _ in range(2))
    step = _memory.rows_per_chunk(width, rewards.device)
    with torch.no_grad():
        for start in range(0, rows if width else 0, step):
            part = slice(start, start + step)
            after = None if bootstrap is None else bootstrap[part].double()
            ends = None if done is None else done[part]
            total, value = _lambda_returns(rewards[part], values[part], mask[part], gamma, lam, after, ends)
            returns[part].copy_(total)
            advantages[part].copy_(total.sub_(value))
    return advantages, returns


def _lambda_returns(
    rewards: Tensor,
    values: Tensor,
    mask: Tensor,
    gamma: float,
    lam: float,
    bootstrap: Tensor | None,
    done: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Returns R_t = r_t + gamma ((1 - lam) V_t' + lam R_t') and the values, float64, both 0 outside the mask.

    A = R - V turns this into the usual recursion over A, but only one term is summed along the row.
    """
    layout = _layout(mask)
    reward, value = (_masked(x, mask, layout) for x in (rewards, values))
    exact = torch.float64 in (rewards.dtype, values.dtype)
    total = None
    if done is None:
        if layout != "holes":
            total = _returns_of_prefix(reward, value, mask, gamma, lam, bootstrap, exact)
        elif not exact and lam > 0.0 and _scan.is_cumulative(gamma * lam, _scan.CUMULATIVE_BLOCKS[-1]):
            total = _returns_over_holes(reward, value, mask, gamma, lam, bootstrap)
    if total is None:
        total = _returns_in_general(rewards, value, mask, gamma, lam, bootstrap, done)
    return total, value


def _returns_of_prefix(
    reward: Tensor, value: Tensor, mask: Tensor, gamma: float, lam: float, bootstrap: Tensor | None, exact: bool
) -> Tensor | None:
    weight = gamma * (1.0 - lam)
    if weight:
        reward[:, :-1].add_(value[:, 1:], alpha=weight)
    if bootstrap is not None:
        _add_after_last(reward, mask, gamma * bootstrap)
    total = _scan.decayed_suffix(reward, gamma * lam, exact=exact)
    return total if bool(torch.isfinite(total[:, 0]).all()) else None


def _returns_over_holes(
    reward: Tensor, value: Tensor, mask: Tensor, gamma: float, lam: float, bootstrap: Tensor | None
) -> Tensor | None:
    # The value of the next masked-in token is not at hand, but the sum of all those later terms is the sum of the
    # terms themselves, divided by the decay of one token, without the first: so V_t itself is summed.
    weight = (1.0 - lam) / lam
    inside = mask.double()
    if weight:
        reward.add_(value, alpha=weight)
    if bootstrap is not None:
        _add_after_last(reward, mask, gamma * bootstrap)
    total = _scan.masked_suffix(reward, inside, gamma * lam)
    if not bool(torch.isfinite(total[:, 0]).all()):
        return None
    if weight:
        total.sub_(value, alpha=weight)
    return torch.addcmul(total.new_zeros(()), total, inside)


def _returns_in_general(
    rewards: Tensor,
    value: Tensor,
    mask: Tensor,
    gamma: float,
    lam: float,
    bootstrap: Tensor | None,
    done: Tensor | None,
) -> Tensor:
    rows = mask.shape[0]
    inside = mask.double()
    onward = torch.ones_like(inside) if done is None else (~done).double()
    last = (inside.new_zeros(rows) if bootstrap is None else bootstrap)[:, None]
    end = torch.ones_like(last)
    upcoming = _scan.general_suffix(torch.cat([value, last], 1), torch.cat([(1.0 - inside) * onward, end], 1))[:, 1:]
    upcoming = torch.where(onward > 0.0, upcoming, 0.0)
    reward = torch.where(mask, rewards.double(), 0.0)
    if weight := gamma * (1.0 - lam):
        reward = reward + torch.where(mask, weight * upcoming, 0.0)
    decay = _decay_inside(mask, gamma * lam) * onward
    total = _scan.general_suffix(torch.cat([reward, last], 1), torch.cat([decay, end], 1))[:, :-1]
    return torch.where(mask, total, 0.0)


class _DiscountedSuffix(torch.autograd.Function):
    """The scan is linear: its gradient is the same scan in the other direction."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mask: Tensor, gamma: float) -> Tensor:
        ctx.save_for_backward(mask)
        ctx.gamma = gamma
        return _discounted(x, mask, gamma)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (mask,) = ctx.saved_tensors
        return _discounted(grads[0].flip(1), mask.flip(1), ctx.gamma).flip(1), None, None


def _discounted(x: Tensor, mask: Tensor, gamma: float) -> Tensor:
    rows, width = x.shape
    result = _memory.empty(rows, width, x.dtype, x.device)
    step = _memory.rows_per_chunk(width, x.device)
    for start in range(0, rows if width else 0, step):
        part = slice(start, start + step)
        result[part].copy_(_discounted_rows(x[part], mask[part], gamma))
    return result


def _discounted_rows(x: Tensor, mask: Tensor, gamma: float) -> Tensor:
    layout, exact = _layout(mask), x.dtype == torch.float64
    inside = mask.double() if layout == "holes" else None
    if inside is None:
        total = _scan.decayed_suffix(_masked(x, mask, layout), gamma, exact=exact)
        if bool(torch.isfinite(total[:, 0]).all()):
            return total
    elif not exact and _scan.is_cumulative(gamma, _scan.CUMULATIVE_BLOCKS[-1]):
        total = _scan.masked_suffix(_masked(x, mask, layout), inside, gamma)
        if bool(torch.isfinite(total[:, 0]).all()):
            return torch.addcmul(total.new_zeros(()), total, inside)
    total = _scan.general_suffix(torch.where(mask, x.double(), 0.0), _decay_inside(mask, gamma))
    return torch.where(mask, total, 0.0)


def _layout(mask: Tensor) -> Layout:
    """Whether every row is masked in as a whole, up to some token, or otherwise."""
    if mask.shape[1] > 1:
        # As bytes, since reductions over bool are slow.
        rises = (mask[:, 1:] > mask[:, :-1]).view(torch.int8)
        if int(rises.max()):
            return "holes"
    return "full" if bool(mask[:, -1].all()) else "prefix"


def _masked(x: Tensor, mask: Tensor, layout: Layout) -> Tensor:
    """`x` as float64 with 0 outside the mask, as memory of its own."""
    if layout == "full":
        return x.to(torch.float64, copy=True)
    if x.dtype == torch.float32:
        return _memory.keep(x.contiguous(), _memory.all_ones(mask)).double()
    return torch.where(mask, x.double(), 0.0)


def _decay_inside(mask: Tensor, decay: float) -> Tensor:
    """(R, T) float64: the decay at masked-in positions, 1 elsewhere."""
    return torch.ones(mask.shape, dtype=torch.float64, device=mask.device).masked_fill_(mask, decay)


def _add_after_last(x: Tensor, mask: Tensor, amount: Tensor) -> None:
    """Add each row's amount at its last masked-in position, in place."""
    place = torch.arange(mask.shape[1], device=mask.device)
    last = torch.where(mask, place, -1).amax(1)
    amount = torch.where(last >= 0, amount, 0.0)
    x.scatter_add_(1, last.clamp(min=0)[:, None], amount[:, None])
