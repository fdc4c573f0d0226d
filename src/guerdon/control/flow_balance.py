"""Balance of flows that are conditioned on an outcome, and their conversion to any reward (OC-GFN, arXiv 2310.03419).

Detailed balance on an edge is F(s | y) P_F(s' | s, y) = F(s' | y) P_B(s | s'), with F(x | y) = R(x | y), which is 1 if
the walk ends in the outcome that was asked for and 0 if not; a small number stands for 0 inside logarithms. Outcome
teleportation puts the reward of the walk's end on every edge. Once the flows of all outcomes are known, the policy of a
reward r mixes them with weights r(y).

Where this differs from the paper: what stands for log 0 was not published. Here it is log 1e-5, and by default only the
last edge of a failure sees it: an edge that a success and a failure share cannot satisfy both teleported equations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

FLOOR = 1e-5
NEGATIVES = ("terminal", "teleport")


def db_residual(log_flow: Tensor, log_pf: Tensor, log_flow_next: Tensor, log_pb: Tensor) -> Tensor:
    """Detailed balance, log F(s) + log P_F - log F(s') - log P_B; any shape, differentiable."""
    return log_flow + log_pf - log_flow_next - log_pb


def ot_residual(
    log_flow: Tensor, log_pf: Tensor, log_flow_next: Tensor, log_pb: Tensor, reached: Tensor, eps: float = FLOOR
) -> Tensor:
    """Detailed balance with the reward of the walk's end on the edge (outcome teleportation).

    Args:
        log_flow: (B,) log F(s | y).
        log_pf: (B,) log P_F(s' | s, y).
        log_flow_next: (B,) log F(s' | y); 0 for the edge that ends the walk.
        log_pb: (B,) log P_B(s | s').
        reached: (B,) bool, whether the walk ends in y.
        eps: Stands for a reward of 0.

    Raises:
        ValueError: `eps` is not in (0, 1).

    Example:
        >>> half = torch.tensor([0.5]).log()
        >>> ot_residual(torch.zeros(1), half, torch.zeros(1), half, torch.tensor([False])).tolist()
        [11.512925148010254]
    """
    return db_residual(log_flow, log_pf, log_flow_next, log_pb) - _log_reward(reached, log_flow, eps)


def _log_reward(reached: Tensor, like: Tensor, eps: float) -> Tensor:
    if not 0.0 < eps < 1.0:
        raise ValueError(f"eps is {eps}: expected a number in (0, 1)")
    return torch.where(reached, 0.0, math.log(eps)).to(like.dtype)


@dataclass(frozen=True)
class Walks:
    """The edges of walks that were asked for an outcome.

    Attributes:
        log_flow: (B, T) log F(s | y).
        log_pf: (B, T) log P_F(s' | s, y).
        log_flow_next: (B, T) log F(s' | y), 0 for the edge that ends the walk.
        log_pb: (B, T) log P_B(s | s'), 0 for the edge that ends the walk.
        mask: (B, T) bool, filled from the left.
        reached: (B,) bool.
    """

    log_flow: Tensor
    log_pf: Tensor
    log_flow_next: Tensor
    log_pb: Tensor
    mask: Tensor
    reached: Tensor

    def residuals(self, negatives: str = "terminal", eps: float = FLOOR) -> Tensor:
        """(B, T), 0 outside the mask: the reward is on the last edge ("terminal") or on all ("teleport").

        Raises:
            ValueError: Another word for `negatives`.
        """
        if negatives not in NEGATIVES:
            raise ValueError(f"negatives is {negatives!r}: expected one of {NEGATIVES}")
        balance = db_residual(self.log_flow, self.log_pf, self.log_flow_next, self.log_pb)
        reward = _log_reward(self.reached, balance, eps)[:, None].expand(balance.shape)
        if negatives == "terminal":
            last = self.mask & (self.mask.flip(1).cumsum(1).flip(1) == 1)
            reward = torch.where(last, reward, 0.0)
        return torch.where(self.mask, balance - reward, 0.0)


def contrastive_loss(pos: Walks, neg: Walks, negatives: str = "terminal", eps: float = FLOOR) -> Tensor:
    """Squared residuals of walks that reached the outcome and of walks that were only asked for it.

    Args:
        pos: Walks relabelled with the outcome that they reached.
        neg: The model's own walks for the same outcomes.
        negatives: See `Walks.residuals`.
        eps: Stands for a reward of 0.

    Returns:
        0-dimensional: the sum over edges, the mean over rows, of both added.

    Raises:
        ValueError: A positive did not reach its outcome.
    """
    if not bool(pos.reached.all()):
        row = int((~pos.reached).nonzero()[0])
        raise ValueError(f"pos.reached[{row}] is False: positives have to be relabelled with the outcome they reached")
    return sum((walks.residuals(negatives, eps) ** 2).sum(1).mean() for walks in (pos, neg))  # type: ignore[return-value]


def check_log_reward(log_r: Tensor) -> None:
    """Refuse log-rewards that are NaN, +inf, or all -inf.

    Raises:
        ValueError: They are.
    """
    if bool(torch.isnan(log_r).any()) or bool((log_r == torch.inf).any()):
        raise ValueError("log_r has NaN or +inf: expected logarithms of finite rewards of at least 0")
    if not bool((log_r > -torch.inf).any()):
        raise ValueError("log_r is -inf everywhere: expected a reward above 0 for at least one outcome")


def convert_policy(log_flow: Tensor, log_pf: Tensor, log_r: Tensor) -> Tensor:
    """The policy that samples outcomes in proportion to a reward.

    P(s' | s) = sum_y r(y) F(s | y) P_F(s' | s, y) / sum_y r(y) F(s | y), by logsumexp.

    Args:
        log_flow: (Y, S) log F(s | y); -inf allowed.
        log_pf: (Y, S, A) log P_F; -inf allowed.
        log_r: (Y,) logarithms of the rewards; -inf = 0.

    Returns:
        (S, A) probabilities; a row of zeros where no outcome with a reward passes.

    Raises:
        ValueError: Rewards that are not finite or all 0, or shapes that do not fit.
    """
    check_log_reward(log_r)
    if log_pf.shape[:2] != log_flow.shape or log_r.shape != log_flow.shape[:1]:
        shapes = [tuple(part.shape) for part in (log_flow, log_pf, log_r)]
        raise ValueError(f"log_flow, log_pf, log_r have shapes {shapes}: expected (Y, S), (Y, S, A) and (Y,)")
    weight = log_r[:, None] + log_flow
    numerator = torch.logsumexp(weight[:, :, None] + log_pf, 0)
    denominator = torch.logsumexp(weight, 0)[:, None]
    passed = denominator > -torch.inf
    return torch.where(passed, (numerator - torch.where(passed, denominator, 0.0)).exp(), 0.0)


def outcome_posterior(log_flow: Tensor, log_pf: Tensor, log_r: Tensor) -> Tensor:
    """Q(y | s', s), proportional to r(y) F(s | y) P_F(s' | s, y); arguments as for `convert_policy`.

    Returns:
        (S, A, Y) probabilities; zeros where no outcome with a reward takes that edge.
    """
    check_log_reward(log_r)
    joint = (log_r[:, None, None] + log_flow[:, :, None] + log_pf).permute(1, 2, 0)
    total = torch.logsumexp(joint, -1, keepdim=True)
    passed = total > -torch.inf
    return torch.where(passed, (joint - torch.where(passed, total, 0.0)).exp(), 0.0)


def amortised_residual(log_n: Tensor, log_q: Tensor, log_r: Tensor, log_flow: Tensor, log_pf: Tensor) -> Tensor:
    """Residual of the amortised conversion, log N(s' | s) + log Q(y | s', s) - log r(y) - log F(s | y) - log P_F.

    Where it is 0 for all outcomes, N is the numerator of `convert_policy` and Q the posterior over outcomes.
    """
    return log_n + log_q - log_r - log_flow - log_pf
