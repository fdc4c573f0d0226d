"""DPO whose beta follows the reward margin of each pair (MM-DPO, arXiv 2502.10391).

The released code precomputes the margin's part and then overrides it by a beta of the whole batch; the paper's is
`dynamic_beta`, the code's `batch_beta`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from guerdon import ops
from guerdon.objective.reward_losses import bradley_terry


def dynamic_beta(
    delta: Tensor, beta0: float, w: float, k: float, floor: float = 1e-3, clip_negative: bool = False
) -> Tensor:
    """beta0 (1 + w (1 - exp(-k delta))), at least `floor`; without gradient.

    Args:
        delta: (P,) float, margin of the reward model; negative where it disagrees with the label.
        beta0: Beta of a pair without margin; positive.
        w: How much beta may grow; 0 or more.
        k: How fast it grows; 0 or more.
        floor: Smallest beta.
        clip_negative: Whether a negative margin counts as none.

    Returns:
        (P,) of the dtype of `delta`.

    Raises:
        ValueError: A setting is out of range.

    Example:
        >>> import torch
        >>> dynamic_beta(torch.tensor([0.0, 1.0, -1.0]), 0.1, 0.5, 0.5).round(decimals=4).tolist()
        [0.10000000149011612, 0.11969999969005585, 0.06759999692440033]
    """
    _check(beta0, w=w, k=k)
    margin = delta.detach().clamp(min=0.0) if clip_negative else delta.detach()
    return (beta0 * (1.0 + w * (1.0 - torch.exp(-k * margin)))).clamp(min=floor)


def batch_beta(
    h: Tensor,
    beta0: float,
    w: float,
    keep: float = 0.8,
    generator: torch.Generator | None = None,
    floor: float = 1e-3,
) -> Tensor:
    """One beta from the log-ratio differences of all pairs: beta0 (1 + w (mean of a draw - mean)); without gradient.

    floor(keep n) pairs are drawn without replacement, those near the mean the likelier: by exp(-z^2 / 2) of the
    standardised difference.

    Args:
        h: (P,) float, log-ratio of the chosen minus that of the rejected response, of all processes.
        beta0: Beta without any correction; positive.
        w: Strength of the correction; 0 or more.
        keep: Share of pairs that is drawn.
        generator: Source of randomness; None = torch's own.
        floor: Smallest beta.

    Returns:
        0-dimensional tensor; beta0 for fewer than two pairs.
    """
    _check(beta0, w=w, k=0.0)
    gap = h.detach()
    number = int(keep * len(gap) + 1e-9)
    if len(gap) < 2 or number < 1:
        return torch.tensor(beta0, dtype=gap.dtype, device=gap.device)
    drawn = torch.multinomial(_nearness(gap).cpu(), number, generator=generator).to(gap.device)
    return (beta0 * (1.0 + w * (gap[drawn].mean() - gap.mean()))).clamp(min=floor)


def _nearness(gap: Tensor) -> Tensor:
    """(P,): how near to the mean each difference is, exp(-z^2 / 2) with the sample standard deviation."""
    one_key = torch.zeros(len(gap), dtype=torch.int64, device=gap.device)
    return torch.exp(-0.5 * ops.normalize(gap, one_key, eps=1e-7).square())


def mm_dpo_loss(
    logp_w: Tensor,
    logp_l: Tensor,
    ref_w: Tensor,
    ref_l: Tensor,
    delta: Tensor,
    beta0: float = 0.1,
    w: float = 0.5,
    k: float = 0.5,
    sft_nll: Tensor | None = None,
    gamma: float = 0.0,
    alpha: float = 1.0,
) -> tuple[Tensor, dict[str, float]]:
    """DPO with a beta of each pair's own, times alpha, plus gamma times the chosen responses' likelihood.

    Args:
        logp_w: (P,) float with gradient, summed log-probabilities of the chosen responses.
        logp_l: (P,) float with gradient, of the rejected ones.
        ref_w: (P,) float, of the chosen ones under the reference.
        ref_l: (P,) float, of the rejected ones under the reference.
        delta: (P,) float, margin of the reward model; no gradient flows through it.
        beta0: See `dynamic_beta`.
        w: See `dynamic_beta`.
        k: See `dynamic_beta`.
        sft_nll: Negative log-likelihood of the chosen responses, a number or (P,); needed for `gamma`.
        gamma: Its weight.
        alpha: Weight of the DPO loss.

    Returns:
        0-dimensional tensor with gradient, and metrics.
    """
    for name, value in (("logp_l", logp_l), ("ref_w", ref_w), ("ref_l", ref_l), ("delta", delta)):
        if value.shape != logp_w.shape:
            raise ValueError(f"{name} has shape {tuple(value.shape)}: expected {tuple(logp_w.shape)}, like logp_w")
    beta = dynamic_beta(delta, beta0, w, k)
    gap = (logp_w - ref_w) - (logp_l - ref_l)
    every = torch.ones_like(gap, dtype=torch.bool)
    loss = alpha * bradley_terry(beta * (logp_w - ref_w), beta * (logp_l - ref_l))
    if gamma:
        if sft_nll is None:
            raise ValueError(f"gamma is {gamma}: expected sft_nll")
        loss = loss + gamma * sft_nll.mean()
    metrics = {
        "beta": float(ops.masked_mean(beta, every)),
        "pair_accuracy": float(ops.masked_mean((gap.detach() > 0).to(gap.dtype), every)),
        "margin": float(ops.masked_mean(gap.detach(), every)),
    }
    return loss, metrics


def _check(beta0: float, *, w: float, k: float) -> None:
    if not beta0 > 0.0:
        raise ValueError(f"beta0 is {beta0}: expected a positive number")
    for name, value in (("w", w), ("k", k)):
        if not value >= 0.0:
            raise ValueError(f"{name} is {value}: expected 0 or more")
