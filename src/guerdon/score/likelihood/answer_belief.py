"""How strongly a policy believes in the right answer after each turn, from the answer's log-probabilities.

The belief is the geometric mean of the answer tokens' probabilities, or its logarithm; what a turn adds to it is the
progress of the belief (see `guerdon.ops.difference`).
"""

from __future__ import annotations

import torch
from torch import Tensor

MODES = ("prob", "logprob")


def answer_belief(logprobs: Tensor, mode: str = "prob") -> Tensor:
    """Mean log-probability of an answer's tokens, or its exponential.

    Args:
        logprobs: (..., L) float, teacher-forced log-probabilities of the answer, such as (B, S, L) after each of S
            turns; NaN = no such token.
        mode: "prob", in (0, 1], or "logprob", at most 0.

    Returns:
        (...) of at least float32; NaN where there is no token.

    Raises:
        ValueError: Unknown mode, no tokens at all, or a log-probability above 0.

    Example:
        >>> import torch
        >>> answer_belief(torch.log(torch.tensor([[0.25, 0.25], [0.5, 0.125]])))
        tensor([0.2500, 0.2500])
    """
    if mode not in MODES:
        raise ValueError(f"mode is {mode!r}: expected one of {MODES}")
    if logprobs.ndim == 0 or logprobs.shape[-1] == 0:
        raise ValueError(f"logprobs has shape {tuple(logprobs.shape)}: expected at least one answer token")
    # Rounding may carry a certain token a little above 0.
    if bool((logprobs > 1e-6).any()):
        raise ValueError(f"logprobs is as large as {float(logprobs.nan_to_num().max())}: expected at most 0")
    wide = logprobs.to(torch.promote_types(logprobs.dtype, torch.float32)).clamp(max=0.0)
    mean = torch.nanmean(wide, -1)
    return mean if mode == "logprob" else mean.exp()
