"""Outcome advantages modulated by the policy's uncertainty at each step (EMPG, arXiv 2509.09265).

The paper tunes k, k' and zeta for each task and does not name them; the defaults are moderate values of this project.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from guerdon import ops
from guerdon.ops.edges import following
from guerdon.rollouts import Rollouts

Reduce = Callable[[Tensor, str], Tensor]
"""(0-dimensional tensor, "min", "max" or "sum") -> the same over all processes."""


def step_entropy(token_entropy: Tensor, step_ids: Tensor, n_steps: int) -> tuple[Tensor, Tensor]:
    """Mean entropy of the policy tokens of each step.

    Args:
        token_entropy: (B, T) float, in nats.
        step_ids: (B, T) int64, -1 = not written by the policy.
        n_steps: S.

    Returns:
        (B, S) float, NaN where no step exists, and (B, S) bool of steps that exist.
    """
    return ops.pool(token_entropy, step_ids, n_steps, "mean"), ops.exists(step_ids, n_steps)


def empg_advantages(
    traj_adv: Tensor,
    step_entropy: Tensor,
    step_mask: Tensor,
    k: float = 1.0,
    k_next: float = 1.0,
    zeta: float = 0.05,
    center: bool = True,
    eps: float = 1e-8,
    reduce_fn: Reduce | None = None,
) -> Tensor:
    """A g + zeta f': the advantage, larger where the policy was sure, plus a bonus for a sure next step.

    With h the step's entropy scaled to [0, 1] over all steps of the batch: g = exp(-k h) / (mean of exp(-k h) over the
    batch), f' = exp(-k' h) of the next step, 0 at the last. With `center` the batch's mean over steps is taken off.

    Args:
        traj_adv: (B,) float; NaN rows take no part and get 0.
        step_entropy: (B, S) float.
        step_mask: (B, S) bool, steps that exist.
        k: How strongly entropy damps, 0 or more.
        k_next: k', the same for the bonus.
        zeta: Size of the bonus.
        center: Whether the batch's mean is taken off.
        eps: Is added to the range of entropies.
        reduce_fn: Reduces a number over several processes that share a batch; None = one process.

    Returns:
        (B, S) of the dtype of `traj_adv`, NaN where no step exists; without gradient.

    Raises:
        ValueError: A negative k, k' or zeta, a step that exists and takes part without finite entropy, wrong shapes.

    Example:
        >>> import torch
        >>> entropy, mask = torch.tensor([[0.0, 1.0]]), torch.ones(1, 2, dtype=torch.bool)
        >>> empg_advantages(torch.tensor([1.0]), entropy, mask, zeta=0.0, center=False).round(decimals=4).tolist()
        [[1.4621000289916992, 0.5378999710083008]]
    """
    for name, number in (("k", k), ("k_next", k_next), ("zeta", zeta)):
        if not number >= 0.0:
            raise ValueError(f"{name} is {number}: expected 0 or more")
    if step_entropy.ndim != 2 or step_mask.shape != step_entropy.shape or traj_adv.shape != step_entropy.shape[:1]:
        shapes = tuple(traj_adv.shape), tuple(step_entropy.shape), tuple(step_mask.shape)
        raise ValueError(f"traj_adv, step_entropy, step_mask have the shapes {shapes}: expected (B,), (B, S), (B, S)")
    where = step_mask & ~torch.isnan(traj_adv)[:, None]
    bad = where & ~torch.isfinite(step_entropy)
    if bool(bad.any()):
        row, step = bad.nonzero()[0].tolist()
        found = float(step_entropy[row, step])
        raise ValueError(f"step_entropy of step {step} in row {row} is {found}: expected a finite number")
    with torch.no_grad():
        value = _modulated(traj_adv, step_entropy, where, k, k_next, zeta, center, eps, reduce_fn or _alone)
    zero = torch.zeros_like(value)
    return torch.where(where, value, torch.where(step_mask, zero, torch.nan)).to(traj_adv.dtype)


def _alone(value: Tensor, how: str) -> Tensor:
    return value


def _modulated(
    advantage: Tensor,
    entropy: Tensor,
    where: Tensor,
    k: float,
    k_next: float,
    zeta: float,
    center: bool,
    eps: float,
    reduce_fn: Reduce,
) -> Tensor:
    value = torch.where(where, entropy, 0.0).double()
    low = reduce_fn(_extreme(value, where, largest=False), "min")
    high = reduce_fn(_extreme(value, where, largest=True), "max")
    number = reduce_fn(where.double().sum(), "sum").clamp(min=1)

    def mean(x: Tensor) -> Tensor:
        return reduce_fn(torch.where(where, x, 0.0).sum(), "sum") / number

    scaled = (value - low) / (high - low + eps)
    damping = torch.exp(-k * scaled)
    # Without any step the mean is 0, and nothing is divided.
    share = mean(damping)
    modulated = advantage.double()[:, None] * damping / torch.where(share > 0, share, 1.0)
    modulated = torch.where(where, modulated, 0.0) + zeta * following(torch.exp(-k_next * scaled), where, fill=0.0)
    return modulated - mean(modulated) if center else modulated


def _extreme(value: Tensor, where: Tensor, largest: bool) -> Tensor:
    """The smallest or largest value that takes part; an infinity that loses every comparison if there is none."""
    fill = -torch.inf if largest else torch.inf
    filled = torch.cat([torch.where(where, value, fill).reshape(-1), value.new_full((1,), fill)])
    return filled.amax() if largest else filled.amin()


@dataclass(frozen=True)
class EntropyModulated:
    """GRPO's advantage modulated by step entropies of the behaviour policy (EMPG, arXiv 2509.09265).

    Rows that could not be scored take no part and get 0; so do policy tokens that belong to no step. With several
    processes the whole batch has to be gathered first, or `empg_advantages` called with `reduce_fn`.

    Attributes:
        k: How strongly entropy damps.
        k_next: The same for the bonus.
        zeta: Size of the bonus for a sure next step; it does not look at the outcome, so keep it small.
        center: Whether the mean over all steps of the batch is taken off.
        scale: Which standard deviation divides the outcomes: of the "group", of the "batch", or "none".
        ddof: Degrees of freedom taken off in it.
        eps: Is added to it.
    """

    k: float = 1.0
    k_next: float = 1.0
    zeta: float = 0.05
    center: bool = True
    scale: str = "group"
    ddof: int = 1
    eps: float = 1e-6
    reads: ClassVar[tuple[str, ...]] = ("outcome", "entropy", "step", "group", "mask")
    writes: ClassVar[tuple[str, ...]] = ("advantages",)

    def __post_init__(self) -> None:
        for name in ("k", "k_next", "zeta"):
            if not getattr(self, name) >= 0.0:
                raise ValueError(f"EntropyModulated.{name} is {getattr(self, name)}: expected 0 or more")
        if self.scale not in ("group", "batch", "none"):
            raise ValueError(f"EntropyModulated.scale is {self.scale!r}: expected 'group', 'batch' or 'none'")

    def __call__(self, rollouts: Rollouts) -> Tensor:
        """Return (B, T) advantages.

        Raises:
            ValueError: The rollouts have no entropy, or it is not finite at a token of a scored row.
        """
        if rollouts.entropy is None:
            raise ValueError(
                "entropy is missing: EntropyModulated expected the behaviour policy's token entropies (B, T)"
            )
        advantage = ops.normalize(rollouts.outcome, rollouts.group, scale=self.scale, ddof=self.ddof, eps=self.eps)
        advantage = torch.where(rollouts.scored, advantage, torch.nan)
        entropy, exists = step_entropy(rollouts.entropy, rollouts.step, rollouts.n_steps)
        value = empg_advantages(advantage, entropy, exists, self.k, self.k_next, self.zeta, self.center)
        return ops.spread(value, rollouts.step).to(torch.float32) * rollouts.mask
