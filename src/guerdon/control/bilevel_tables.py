"""The bi-level problem of BARFI on tables, exactly: inner updates, fixed points and implicit gradients.

A policy is a softmax over actions in each state with the last action's logit held at 0, so that there is one parameter
for each policy and H is not singular along shifts. Everything is float64 and differentiable, which is how the sampled
form is tested (arXiv 2310.19007).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from guerdon.control.bilevel import Episodes, blended_reward, solve_inverse


@dataclass(frozen=True, eq=False)
class Task:
    """A finite-horizon task with a primary reward and a heuristic.

    Attributes:
        transitions: (S, A, S) float64.
        start: (S,) float64 law of the first state.
        primary: (S, A) float64.
        auxiliary: (S, A) float64.
        horizon: Steps of an episode.
        gamma: The true discount, in [0, 1].
    """

    transitions: Tensor
    start: Tensor
    primary: Tensor
    auxiliary: Tensor
    horizon: int
    gamma: float

    def __post_init__(self) -> None:
        states, actions = self.primary.shape
        if self.transitions.shape != (states, actions, states) or self.start.shape != (states,):
            expected = f"{(states, actions, states)} and {(states,)}"
            raise ValueError(
                f"transitions {tuple(self.transitions.shape)}, start {tuple(self.start.shape)}: expected {expected}"
            )
        if self.auxiliary.shape != self.primary.shape or self.horizon < 1 or not 0 <= self.gamma <= 1:
            raise ValueError(
                f"auxiliary {tuple(self.auxiliary.shape)}, horizon {self.horizon}, gamma {self.gamma}: wrong"
            )

    @property
    def size(self) -> int:
        """Parameters of a policy."""
        states, actions = self.primary.shape
        return states * (actions - 1)

    def log_policy(self, theta: Tensor) -> Tensor:
        """(S, A) log-probabilities of a policy with parameters (S * (A - 1),)."""
        states, actions = self.primary.shape
        logits = torch.nn.functional.pad(theta.reshape(states, actions - 1), (0, 1))
        return torch.log_softmax(logits, -1)

    def logprobs(self, theta: Tensor, episodes: Episodes) -> Tensor:
        """(B, T) log-probabilities of taken actions, for `guerdon.control.bilevel`."""
        return self.log_policy(theta)[episodes.state, episodes.action]

    def sample(self, theta: Tensor, number: int, generator: torch.Generator) -> Episodes:
        """Sample episodes of the whole horizon."""
        law = self.log_policy(theta.detach()).exp()
        state = torch.multinomial(self.start, number, replacement=True, generator=generator)
        states, chosen = [], []
        for _ in range(self.horizon):
            action = torch.multinomial(law[state], 1, generator=generator)[:, 0]
            states.append(state)
            chosen.append(action)
            state = torch.multinomial(self.transitions[state, action], 1, generator=generator)[:, 0]
        seen, action = torch.stack(states, 1), torch.stack(chosen, 1)
        mask = torch.ones_like(seen, dtype=torch.bool)
        return Episodes(seen, action, self.primary[seen, action], self.auxiliary[seen, action], mask)


def expected_inner_update(
    theta: Tensor, task: Task, phi: Sequence[Tensor | float], gamma_phi: Tensor | float, entropy: float
) -> Tensor:
    """The expectation of `guerdon.control.bilevel.inner_direction` on-policy; differentiable in everything.

    Args:
        theta: (d,) float64.
        task: The task.
        phi: The blend; phi1 may be a table (S, A).
        gamma_phi: The inner discount.
        entropy: Weight of the entropy.
    """
    log_policy = task.log_policy(theta)
    law = log_policy.exp()
    reward = blended_reward(phi, task.primary, task.auxiliary) - entropy * log_policy
    states, visits = [], task.start
    for _ in range(task.horizon):
        states.append(visits)
        visits = torch.einsum("s,sa,sat->t", visits, law, task.transitions)
    values = torch.zeros_like(task.start)
    update = torch.zeros_like(law)
    for visits in reversed(states):
        q = reward + gamma_phi * (task.transitions @ values)
        values = (law * q).sum(-1)
        # Sum over actions of pi psi Q: the score of a softmax is the action minus the law.
        update = update + visits[:, None] * law * (q - values[:, None])
    return update[:, :-1].flatten()


def primary_return(theta: Tensor, task: Task) -> Tensor:
    """The expected discounted primary return, 0-dimensional and differentiable."""
    law = task.log_policy(theta).exp()
    values = torch.zeros_like(task.start)
    for _ in range(task.horizon):
        values = (law * (task.primary + task.gamma * (task.transitions @ values))).sum(-1)
    return task.start @ values


def fixed_point(
    task: Task,
    phi: Sequence[Tensor | float],
    gamma_phi: Tensor | float,
    entropy: float,
    theta: Tensor | None = None,
    tolerance: float = 1e-12,
    steps: int = 200,
) -> Tensor:
    """A policy at which the inner update is 0, by damped Newton steps from a start.

    Args:
        task: The task.
        phi: The blend.
        gamma_phi: The inner discount.
        entropy: Weight of the entropy, above 0: without one there is no unique fixed point.
        theta: (d,) where to start; None = the uniform policy.
        tolerance: Largest entry of the update that counts as 0.
        steps: Most Newton steps.

    Raises:
        ValueError: The entropy is not above 0, or no fixed point was found.
    """
    if not entropy > 0:
        raise ValueError(f"entropy is {entropy}: expected a number above 0, since H is singular without one")
    point = torch.zeros(task.size, dtype=torch.float64) if theta is None else theta.detach().double().clone()

    def update(at: Tensor) -> Tensor:
        return expected_inner_update(at, task, phi, gamma_phi, entropy)

    now = update(point).detach()
    # Of the flow theta' = Delta implicit steps are taken, that grow as the update shrinks: Newton's at the end.
    pace = 1.0
    for _ in range(steps):
        if float(now.abs().max()) <= tolerance:
            return point
        jacobian = _jacobian(update, point)
        system = torch.eye(task.size, dtype=torch.float64) / pace - jacobian
        tried = point + torch.linalg.solve(system, now)
        after = update(tried).detach()
        if bool(torch.isfinite(after).all()) and float(after.norm()) < 2.0 * float(now.norm()):
            pace = min(pace * max(2.0, float(now.norm() / after.norm().clamp(min=1e-300))), 1e12)
            point, now = tried, after
        else:
            pace = pace / 4.0
    raise ValueError(f"no fixed point after {steps} steps: the update is still {float(now.abs().max()):.3g}")


def exact_hypergradient(
    theta: Tensor,
    task: Task,
    phi: Sequence[Tensor | float],
    gamma_phi: float,
    entropy: float,
    gamma_penalty: float = 0.0,
    method: str = "exact",
    **options: float,
) -> tuple[tuple[Tensor, Tensor, Tensor], float]:
    """The implicit gradient at a fixed point, from exact H, A, B and j.

    Args:
        theta: (d,) a fixed point.
        task: The task.
        phi: The blend.
        gamma_phi: The inner discount.
        entropy: Weight of the entropy.
        gamma_penalty: Is taken off the gradient of the discount.
        method: See `solve_inverse`.
        options: Further arguments of `solve_inverse`.

    Returns:
        Gradients of phi1, phi2 and phi3 in their shapes, and that of the discount.
    """
    point = theta.detach().requires_grad_(True)
    (j,) = torch.autograd.grad(primary_return(point, task), point)
    jacobian = _jacobian(lambda at: expected_inner_update(at, task, phi, gamma_phi, entropy), point.detach())
    x = solve_inverse(lambda v: jacobian.T @ v, j, method, transposed=lambda v: jacobian @ v, **options)  # type: ignore[arg-type]
    parts = [torch.as_tensor(part, dtype=torch.float64).detach().clone().requires_grad_(True) for part in phi]
    discount = torch.tensor(float(gamma_phi), dtype=torch.float64, requires_grad=True)
    inner = x @ expected_inner_update(point.detach(), task, parts, discount, entropy)
    first, second, third, by_discount = torch.autograd.grad(-inner, [*parts, discount])
    return (first, second, third), float(by_discount) - gamma_penalty


def _jacobian(function: Callable[[Tensor], Tensor], point: Tensor) -> Tensor:
    found: Tensor = torch.autograd.functional.jacobian(function, point)  # type: ignore[no-untyped-call]
    return found
