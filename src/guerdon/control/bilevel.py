"""BARFI: a blend of rewards, and a discount, learnt from the primary return (arXiv 2310.19007).

Inside, a policy is trained on a blend of the primary reward and a designer's heuristic; outside, the blend is moved so
that the primary return of the policy that it leads to rises. At a fixed point of the inner update, where
Delta(theta*, phi) = 0, the gradient is implicit: dJ/dphi = -j^T H^-1 A with H = dDelta/dtheta, A = dDelta/dphi and
j = dJ/dtheta. So a heuristic that misleads is switched off, and what the inner algorithm gets wrong is made up for.

This file has what does not depend on how policies are represented: the blend, the solution of H^T x = j, and the
gradient from sampled episodes. Exact twins on tables are in `guerdon.control.bilevel_tables`.

Where this differs from the paper: H is estimated with all its terms on-policy (the score function of the episodes, the
curvature of the policy, and the entropy inside of the returns), or without the first of them for a fixed batch; j has
the factors gamma^t that make it the gradient of the discounted return.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

METHODS = ("neumann", "cg", "exact")
Product = Callable[[Tensor], Tensor]
LogProbs = Callable[[Tensor, "Episodes"], Tensor]
"""(theta (d,), episodes) -> (B, T) log-probabilities of the actions that were taken."""


@dataclass(frozen=True)
class Episodes:
    """Sampled episodes.

    Attributes:
        state: (B, T) int64, or (B, T, ...) observations.
        action: (B, T) int64.
        primary: (B, T) primary rewards.
        auxiliary: (B, T) rewards of the heuristic.
        mask: (B, T) bool, filled from the left.
    """

    state: Tensor
    action: Tensor
    primary: Tensor
    auxiliary: Tensor
    mask: Tensor

    def __post_init__(self) -> None:
        shape = self.mask.shape
        for name in ("action", "primary", "auxiliary"):
            if getattr(self, name).shape != shape or len(shape) != 2:
                raise ValueError(
                    f"{name} has shape {tuple(getattr(self, name).shape)}: expected {tuple(shape)}, (B, T)"
                )
        if self.state.shape[:2] != shape:
            raise ValueError(f"state has shape {tuple(self.state.shape)}: expected {tuple(shape)} first")


def blended_reward(phi: Sequence[Tensor | float], r_p: Tensor, r_aux: Tensor) -> Tensor:
    """phi1 + phi2 r_p + phi3 r_aux.

    Args:
        phi: Three numbers or tensors of shapes that fit the rewards.
        r_p: The primary reward.
        r_aux: The heuristic.

    Raises:
        ValueError: There are not three.

    Example:
        >>> blended_reward((0.0, 1.0, 0.5), torch.tensor([2.0, 0.0]), torch.tensor([0.0, 3.0])).tolist()
        [2.0, 1.5]
    """
    if len(phi) != 3:
        raise ValueError(f"phi has {len(phi)} parts: expected phi1, phi2 and phi3")
    return phi[0] + phi[1] * r_p + phi[2] * r_aux


def returns_to_go(rewards: Tensor, mask: Tensor, gamma: Tensor | float) -> Tensor:
    """(B, T) discounted sums of a row's rewards from each place on; differentiable in rewards and discount.

    Args:
        rewards: (B, T) float.
        mask: (B, T) bool, filled from the left; rewards outside count as 0.
        gamma: Discount in [0, 1); a 0-dimensional tensor with gradient, or a number.
    """
    width = rewards.shape[1]
    place = torch.arange(width, dtype=rewards.dtype, device=rewards.device)
    distance = place[:, None] - place[None, :]
    base = torch.as_tensor(gamma, dtype=rewards.dtype, device=rewards.device)
    # 0^0 is 1, and its derivative must not be infinite: only later places have a power at all.
    powers = torch.where(distance > 0, base ** distance.clamp(min=1), (distance == 0).to(rewards.dtype))
    return torch.where(mask, torch.where(mask, rewards, 0.0) @ powers, 0.0)


def solve_inverse(
    hvp: Product,
    j: Tensor,
    method: str = "neumann",
    *,
    terms: int = 20,
    eta: float = 0.1,
    damping: float = 0.0,
    transposed: Product | None = None,
) -> Tensor:
    """Solve H^T x = j.

    Args:
        hvp: v -> H^T v.
        j: (d,).
        method: "neumann": x = -eta sum over i <= terms of (I + eta H^T)^i j, which is what differentiating through
            terms + 1 inner steps gives, and converges where H is negative definite and eta small. "cg": conjugate
            gradients; of the normal equations where `transposed` is given, else H must be symmetric and negative
            definite. "exact": the matrix is built by d products and solved.
        terms: Of the Neumann series, or most steps of conjugate gradients.
        eta: Step of the Neumann series.
        damping: mu of H - mu I, which is solved in the place of H.
        transposed: v -> H v, for "cg".

    Returns:
        (d,).

    Raises:
        ValueError: An unknown method, numbers out of range, or the solution is not finite, as with a singular H.

    Example:
        >>> matrix = torch.tensor([[-2.0, 0.0], [1.0, -4.0]])
        >>> solve_inverse(lambda v: matrix.T @ v, torch.tensor([2.0, 4.0]), "exact").tolist()
        [-1.5, -1.0]
    """
    if method not in METHODS:
        raise ValueError(f"method is {method!r}: expected one of {METHODS}")
    if terms < 0 or not eta > 0 or not damping >= 0 or j.ndim != 1:
        raise ValueError(f"terms {terms}, eta {eta}, damping {damping}, j {tuple(j.shape)}: a number is out of range")
    if method == "exact":
        columns = [hvp(row) for row in torch.eye(len(j), dtype=j.dtype, device=j.device)]
        matrix = torch.stack(columns, 1) - damping * torch.eye(len(j), dtype=j.dtype, device=j.device)
        try:
            x: Tensor = torch.linalg.solve(matrix, j)
        except RuntimeError as error:
            raise ValueError("H is singular: raise the entropy weight, or set a damping") from error
    elif method == "neumann":
        x, power = torch.zeros_like(j), j
        for _ in range(terms + 1):
            x = x - eta * power
            power = power + eta * (hvp(power) - damping * power)
    else:
        x = _conjugate_gradients(hvp, j, terms, damping, transposed)
    if not bool(torch.isfinite(x).all()):
        raise ValueError(f"the solution of H^T x = j by {method!r} is not finite: smaller eta, more damping or entropy")
    return x


def _conjugate_gradients(hvp: Product, j: Tensor, steps: int, damping: float, transposed: Product | None) -> Tensor:
    def forward(v: Tensor) -> Tensor:
        return damping * v - hvp(v)

    def operator(v: Tensor) -> Tensor:
        first = forward(v)
        return first if transposed is None else damping * first - transposed(first)

    right = -j if transposed is None else transposed(j) - damping * j
    x = torch.zeros_like(j)
    residual = direction = right
    size = residual @ residual
    for _ in range(steps):
        if not float(size) > 0.0:
            break
        image = operator(direction)
        length = size / (direction @ image)
        x = x + length * direction
        residual = residual - length * image
        size, before = residual @ residual, size
        direction = residual + (size / before) * direction
    return x


def inner_direction(
    logprobs: LogProbs,
    theta: Tensor,
    episodes: Episodes,
    phi: Sequence[Tensor | float],
    gamma_phi: Tensor | float,
    entropy: float,
) -> Tensor:
    """The inner update: mean over episodes of sum_t psi_t G_t, with G the return of blend - entropy * log pi.

    There is no gamma^t before the terms, and log pi inside the return is a reward: nothing is differentiated there.

    Args:
        logprobs: The policy.
        theta: (d,) its parameters.
        episodes: Sampled from it; from older policies, without importance weights, it is the biased off-policy update.
        phi: The blend, see `blended_reward`.
        gamma_phi: The inner discount.
        entropy: Weight of the entropy.

    Returns:
        (d,).
    """
    point = theta.detach().requires_grad_(True)
    taken = logprobs(point, episodes)
    reward = blended_reward(phi, episodes.primary, episodes.auxiliary) - entropy * taken.detach()
    returns = returns_to_go(reward.detach(), episodes.mask, _number(gamma_phi))
    surrogate = torch.where(episodes.mask, taken * returns, 0.0).sum() / len(taken)
    (direction,) = torch.autograd.grad(surrogate, point)
    return direction


def primary_gradient(logprobs: LogProbs, theta: Tensor, episodes: Episodes, gamma: float) -> Tensor:
    """j, the policy gradient of the primary return: mean of sum_t gamma^t psi_t G_t with the primary reward alone.

    Args:
        logprobs: The policy.
        theta: (d,) its parameters.
        episodes: Fresh, from this policy.
        gamma: The true discount.

    Returns:
        (d,).
    """
    point = theta.detach().requires_grad_(True)
    taken = logprobs(point, episodes)
    returns = returns_to_go(episodes.primary, episodes.mask, gamma)
    start = gamma ** torch.arange(taken.shape[1], dtype=taken.dtype, device=taken.device)
    surrogate = torch.where(episodes.mask, taken * returns * start, 0.0).sum() / len(taken)
    (direction,) = torch.autograd.grad(surrogate, point)
    return direction


def curvature_product(
    logprobs: LogProbs,
    theta: Tensor,
    episodes: Episodes,
    phi: Sequence[Tensor | float],
    gamma_phi: Tensor | float,
    entropy: float,
    *,
    on_policy: bool = True,
) -> Product:
    """V -> H^T v, estimated from episodes.

    H v = E[(sum psi_t v)(sum psi_t G_t)] + E[sum (grad psi_t v) G_t] - entropy E[sum psi_t sum_(j >= t) gamma^(j - t)
    psi_j v]; the first term is there because the law of the episodes moves with the policy.

    Args:
        logprobs: The policy.
        theta: (d,) its parameters.
        episodes: The batch of `inner_direction`.
        phi: The blend.
        gamma_phi: The inner discount.
        entropy: Weight of the entropy.
        on_policy: Whether the first term counts; without it the batch is fixed data, as in the off-policy update.
    """
    point = theta.detach()
    mask, number = episodes.mask, len(episodes.mask)
    taken = logprobs(point, episodes).detach()
    reward = blended_reward(phi, episodes.primary, episodes.auxiliary) - entropy * taken
    discount = _number(gamma_phi)
    returns = returns_to_go(reward.detach(), mask, discount)

    def product(v: Tensor) -> Tensor:
        moving = point.clone().requires_grad_(True)
        along = _directional(logprobs, moving, episodes, v)
        fixed = torch.where(mask, along.detach(), 0.0)
        # Sum over t <= j of gamma^(j - t) u_t: the same discounted sum, looking back.
        behind = returns_to_go(fixed.flip(1), mask.flip(1), discount).flip(1)
        weight = -entropy * behind
        if on_policy:
            weight = weight + (fixed * returns).sum(1, keepdim=True)
        value = torch.where(mask, logprobs(moving, episodes) * weight + along * returns, 0.0).sum() / number
        (found,) = torch.autograd.grad(value, moving)
        return found

    return product


def hypergradient(
    logprobs: LogProbs,
    theta: Tensor,
    phi: Sequence[Tensor | float],
    gamma_phi: Tensor | float,
    data_in: Episodes,
    data_out: Episodes,
    *,
    gamma: float,
    entropy: float,
    gamma_penalty: float = 0.0,
    method: str = "neumann",
    terms: int = 20,
    eta: float = 0.1,
    damping: float = 0.0,
    on_policy: bool = True,
    largest: float | None = None,
) -> tuple[tuple[Tensor, Tensor, Tensor], float, dict[str, float]]:
    """Gradient of the primary return with respect to the blend and the inner discount.

    Args:
        logprobs: The policy.
        theta: (d,) parameters, near a fixed point of the inner update.
        phi: The blend: three numbers or tensors.
        gamma_phi: The inner discount.
        data_in: Episodes of the inner update.
        data_out: Fresh episodes, for j.
        gamma: The true discount.
        entropy: Weight of the entropy.
        gamma_penalty: Is taken off the gradient of the discount.
        method: See `solve_inverse`.
        terms: See `solve_inverse`.
        eta: See `solve_inverse`.
        damping: See `solve_inverse`.
        on_policy: See `curvature_product`.
        largest: x is shortened to this norm; None = never.

    Returns:
        Gradients of phi1, phi2 and phi3 in their shapes, the gradient of the discount, and what was seen: the norms of
        "j" and "x", the "residual" |H^T x - j| / |j|. All gradients are 0 where j is.

    Raises:
        ValueError: The discount is outside [0, 1), or H^T x = j has no finite solution.
    """
    if not 0.0 <= _number(gamma_phi) < 1.0:
        raise ValueError(f"gamma_phi is {_number(gamma_phi)}: expected a number in [0, 1)")
    j = primary_gradient(logprobs, theta, data_out, gamma)
    parts = [torch.as_tensor(part, dtype=theta.dtype).detach().clone().requires_grad_(True) for part in phi]
    if not bool(j.any()):
        seen = {"j": 0.0, "x": 0.0, "residual": 0.0}
        return _three([torch.zeros_like(part) for part in parts]), -gamma_penalty, seen
    product = curvature_product(logprobs, theta, data_in, phi, gamma_phi, entropy, on_policy=on_policy)
    x = solve_inverse(product, j, method, terms=terms, eta=eta, damping=damping)
    residual = float((product(x) - j).norm() / j.norm())
    if largest is not None and float(x.norm()) > largest:
        x = x * (largest / x.norm())
    discount = torch.tensor(_number(gamma_phi), dtype=theta.dtype, requires_grad=True)
    along = _directional(logprobs, theta.detach(), data_in, x).detach()
    taken = logprobs(theta.detach(), data_in).detach()
    reward = blended_reward(parts, data_in.primary, data_in.auxiliary) - entropy * taken
    inner = torch.where(data_in.mask, along * returns_to_go(reward, data_in.mask, discount), 0.0).sum() / len(taken)
    *found, by_discount = torch.autograd.grad(-inner, [*parts, discount])
    seen = {"j": float(j.norm()), "x": float(x.norm()), "residual": residual}
    return _three(list(found)), float(by_discount) - gamma_penalty, seen


def _directional(logprobs: LogProbs, theta: Tensor, episodes: Episodes, v: Tensor) -> Tensor:
    """(B, T) derivative of the log-probabilities along v; differentiable in theta."""
    found: Any = torch.func.jvp(lambda point: logprobs(point, episodes), (theta,), (v,))[1]
    return found  # type: ignore[no-any-return]


def _number(value: Tensor | float) -> float:
    return float(value.detach()) if isinstance(value, Tensor) else float(value)


def _three(parts: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    return parts[0], parts[1], parts[2]
