"""How much each token of a long chain mattered, from a token-level reward model (OREAL, arXiv 2502.06781)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from guerdon import ops
from guerdon.credit.outcome import estimated
from guerdon.rollouts import Rollouts

MODES = ("threshold", "topk")


def token_importance(
    score: Tensor,
    mask: Tensor,
    positive_threshold: float = 0.5,
    negative_threshold: float = 0.5,
    mode: str = "threshold",
    ratio: float = 0.5,
) -> tuple[Tensor, Tensor]:
    """Weights of tokens in right and in wrong responses.

    With P_t the logistic function of the mean score of the tokens up to t. "threshold": (P - tau) / (1 - tau) and
    (1 - P - tau) / (1 - tau), clipped to [0, 1]. "topk": the share `ratio` of the row's tokens with the largest P (or
    1 - P), their values scaled to [0, 1] by the smallest and largest of them (1 if those are equal), 0 for the others.

    Args:
        score: (B, T) float, the model's score of each token, read where the token is predicted. NaN = not scored: the
            token takes no part and gets 0.
        mask: (B, T) bool.
        positive_threshold: tau of right responses, in [0, 1).
        negative_threshold: tau of wrong responses, in [0, 1).
        mode: "threshold" or "topk".
        ratio: Share of the tokens that "topk" keeps, in (0, 1]; at least one, rounded down.

    Returns:
        Weights for right and for wrong responses, both (B, T) of the dtype of `score`, in [0, 1], 0 outside the mask,
        without gradient.

    Raises:
        ValueError: A threshold or ratio out of range, an unknown mode, or wrong shapes.

    Example:
        >>> import torch
        >>> plus, minus = token_importance(torch.tensor([[2.0, 1.0]]), torch.ones(1, 2, dtype=torch.bool))
        >>> plus.round(decimals=4).tolist(), minus.tolist()
        ([[0.7616000175476074, 0.6351000070571899]], [[0.0, 0.0]])
    """
    for name, tau in (("positive_threshold", positive_threshold), ("negative_threshold", negative_threshold)):
        if not 0.0 <= tau < 1.0:
            raise ValueError(f"{name} is {tau}: expected a number in [0, 1)")
    if mode not in MODES or not 0.0 < ratio <= 1.0:
        raise ValueError(f"mode is {mode!r}, ratio is {ratio}: expected one of {MODES}, and a number in (0, 1]")
    if score.ndim != 2 or mask.shape != score.shape:
        raise ValueError(f"score {tuple(score.shape)}, mask {tuple(mask.shape)}: expected the same (B, T)")
    mask = mask & ~torch.isnan(score)
    wide = score.detach().to(torch.float32 if score.dtype != torch.float64 else torch.float64)
    probability = torch.sigmoid(ops.running_mean(wide, mask))
    if mode == "topk":
        plus, minus = (_top(value, mask, ratio) for value in (probability, 1.0 - probability))
    else:
        plus = ((probability - positive_threshold) / (1.0 - positive_threshold)).clamp(0.0, 1.0)
        minus = ((1.0 - probability - negative_threshold) / (1.0 - negative_threshold)).clamp(0.0, 1.0)
    return tuple(torch.where(mask, value, 0.0).to(score.dtype) for value in (plus, minus))  # type: ignore[return-value]


def _top(value: Tensor, mask: Tensor, ratio: float) -> Tensor:
    """(B, T): the largest values of each row scaled to [0, 1], 0 for the others."""
    row = torch.arange(len(value), device=value.device)[:, None].expand(value.shape).reshape(-1)
    inside = torch.where(mask, value, torch.nan).reshape(-1)
    quota = torch.floor(ratio * mask.sum(1).double() + 1e-9).clamp(min=1)[row]
    chosen = (ops.rank(inside, row, descending=True) < quota) & ~torch.isnan(inside)
    scaled = ops.minmax(inside, row, empty=1.0, where=chosen)
    return torch.nan_to_num(scaled, nan=0.0).reshape(value.shape)


@dataclass(frozen=True)
class TokenImportance:
    """Outcome advantages weighted token by token with what a token-level reward model found decisive (OREAL).

    Reads the model's scores from `tokens`. A positive advantage is multiplied by the weight of right responses, a
    negative one by that of wrong ones. Unscored rows get 0.

    Attributes:
        scores: Name of the scores in `tokens`.
        estimator: The response's advantage: "rloo" = minus the mean of the others (0 for a group of one), "grpo" = by
            mean and standard deviation.
        positive_threshold: See `token_importance`.
        negative_threshold: See `token_importance`.
        mode: "threshold" or "topk".
        ratio: Share of the tokens that "topk" keeps.
        ddof: Degrees of freedom taken off in the standard deviation.
        eps: Is added to it.
    """

    scores: str = "scores"
    estimator: str = "rloo"
    positive_threshold: float = 0.5
    negative_threshold: float = 0.5
    mode: str = "threshold"
    ratio: float = 0.5
    ddof: int = 1
    eps: float = 1e-8
    writes: ClassVar[tuple[str, ...]] = ("advantages",)

    def __post_init__(self) -> None:
        if self.estimator not in ("rloo", "grpo"):
            raise ValueError(f"TokenImportance.estimator is {self.estimator!r}: expected 'rloo' or 'grpo'")
        for name in ("positive_threshold", "negative_threshold"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(f"TokenImportance.{name} is {getattr(self, name)}: expected a number in [0, 1)")
        if self.mode not in MODES or not 0.0 < self.ratio <= 1.0:
            given = f"mode {self.mode!r}, ratio {self.ratio}"
            raise ValueError(f"TokenImportance has {given}: expected one of {MODES}, and a number in (0, 1]")

    @property
    def reads(self) -> tuple[str, ...]:
        """What is read."""
        return ("outcome", "group", "mask", f"tokens/{self.scores}")

    def __call__(self, rollouts: Rollouts) -> Tensor:
        """Return (B, T) advantages.

        Raises:
            ValueError: The scores are missing.
        """
        if self.scores not in rollouts.tokens:
            raise ValueError(f"tokens has no {self.scores!r}: there are {sorted(rollouts.tokens)}")
        advantage = estimated(rollouts.outcome, rollouts.group, self.estimator, self.ddof, self.eps)[:, None]
        plus, minus = token_importance(
            rollouts.tokens[self.scores].to(torch.float32),
            rollouts.mask,
            self.positive_threshold,
            self.negative_threshold,
            self.mode,
            self.ratio,
        )
        return torch.where(advantage >= 0, advantage * plus, advantage * minus).to(torch.float32)
