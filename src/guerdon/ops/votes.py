"""Majority of several verdicts on the same steps."""

from __future__ import annotations

import torch
from torch import Tensor

from guerdon.ops._check import expect_shape


def majority(
    votes: Tensor, lengths: Tensor | None = None, size: int | None = None, tie: float | None = 0.0
) -> Tensor | None:
    """The commonest vote on each step (arXiv 2512.03244, its step consistency).

    Voters who judged another number of steps are left out before the count, for their votes cannot be aligned. An
    outcome is a solution of one step: `majority(verdicts[:, None], tie=None)`.

    Args:
        votes: (N, S) numbers, one row a voter; NaN = no vote. Any labels: 0 and 1, or -1 and 1.
        lengths: (N,) int64, how many steps each voter judged; None = up to the last vote that is not NaN, all S for
            integers and bools.
        size: How many steps the solution has; None = S.
        tie: What a step gets on which the commonest votes tie, or nobody voted; None = then there is no result.

    Returns:
        (size,) of the dtype of `votes` (float32 for bools), or None if every voter was left out or a tie was refused.

    Raises:
        ValueError: Wrong shapes, or more steps than S.

    Example:
        >>> import torch
        >>> nan = float("nan")
        >>> majority(torch.tensor([[1.0, 1, 0], [1, 0, 0], [0, 0, 1], [1, 1, nan]])).tolist()
        [1.0, 0.0, 0.0]
    """
    if votes.ndim != 2:
        raise ValueError(f"votes has shape {tuple(votes.shape)}: expected (voters, steps)")
    steps = votes.shape[1] if size is None else size
    if not 0 <= steps <= votes.shape[1]:
        raise ValueError(f"size is {size}: expected 0 to {votes.shape[1]}, the columns of votes")
    dtype = torch.float32 if votes.dtype == torch.bool else votes.dtype
    value = votes.double()
    if lengths is None:
        place = torch.arange(1, votes.shape[1] + 1, device=votes.device)
        lengths = torch.where(torch.isnan(value), 0, place).amax(1) if votes.shape[1] else place.new_zeros(len(votes))
    expect_shape("lengths", lengths, (len(votes),), "the rows of votes")
    kept = value[lengths == steps, :steps]
    if not len(kept):
        return None
    labels = torch.unique(kept[~torch.isnan(kept)])
    if not len(labels):
        return None if tie is None and steps else torch.full((steps,), tie or 0.0, dtype=dtype, device=votes.device)
    count = (kept[:, :, None] == labels).sum(0)
    most = count.amax(1)
    tied = ((count == most[:, None]).sum(1) > 1) | (most == 0)
    if tie is None and bool(tied.any()):
        return None
    winner = labels[count.argmax(1)]
    return torch.where(tied, 0.0 if tie is None else tie, winner).to(dtype)
