"""Softmax policies in a table, on labs whose expected rewards are exact, trained with any recipe in seconds.

A tabular policy is a table of logits, one row a state and one column an action. A lab samples `Rollouts` from it, whose
tokens are decisions, and knows the exact expectation of everything that it measures; so what a method does to the true
reward is seen without evaluation noise, and without any network.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from guerdon.batch import Batch
from guerdon.recipe import Recipe
from guerdon.rollouts import Rollouts
from guerdon.search import Compensation

STATE, ACTION = "state", "action"
"""Names of the (B, T) int64 token extras that say in which state which action was taken."""


class TabularLab(Protocol):
    """A lab for tabular policies."""

    @property
    def rates(self) -> Mapping[str, float]:
        """Learning rate of each parameter, relative to that of the run; 1 for those that are not named."""
        ...

    def parameters(self) -> dict[str, Tensor]:
        """The initial policy: name -> float64 tensor."""
        ...

    def logits(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """(states, actions) logits of a policy; minus infinity = an action that the state has not."""
        ...

    def sample(self, logits: Tensor, prompts: int, n: int, generator: torch.Generator) -> Rollouts:
        """Sample `n` responses to each of `prompts` prompts, with rewards, log-probabilities and entropies.

        The token extras `state` and `action` say what was decided where.
        """
        ...

    def expected(self, logits: Tensor) -> dict[str, Tensor]:
        """Exact expectations over prompts and responses, 0-dimensional and differentiable; "gold" is among them."""
        ...


@dataclass(frozen=True)
class Curve:
    """What became of a policy.

    Attributes:
        steps: Numbers of updates after which the policy was measured; the first is 0.
        figures: Name of an expectation -> its value after each of these updates.
        parameters: The policy at the end.
    """

    steps: tuple[int, ...]
    figures: Mapping[str, tuple[float, ...]]
    parameters: Mapping[str, Tensor]

    def last(self, name: str = "gold") -> float:
        """An expectation at the end."""
        return self.figures[name][-1]

    def at(self, step: int, name: str = "gold") -> float:
        """An expectation after so many updates.

        Raises:
            ValueError: The policy was not measured then.
        """
        if step not in self.steps:
            raise ValueError(f"step is {step}: expected one of {self.steps}")
        return self.figures[name][self.steps.index(step)]


def train_tabular(
    lab: TabularLab,
    recipe: Recipe,
    steps: int,
    prompts: int = 16,
    n: int = 8,
    learning_rate: float = 0.5,
    seed: int = 0,
    *,
    every: int = 0,
    updates: int = 1,
    compensation: Compensation | None = None,
    most_updates: int | None = None,
) -> Curve:
    """Train a tabular policy with a recipe by plain gradient descent on sampled responses.

    Each step samples a batch, runs the recipe on it, and follows the gradient of the recipe's objective. Reference
    log-probabilities are those of the initial policy; `iteration` and `progress` count the steps.

    Args:
        lab: The lab.
        recipe: A recipe with an objective. Stages of it that learn are updated and keep what they have learnt, so a
            recipe with such stages serves for one run.
        steps: Number of batches.
        prompts: Prompts in a batch.
        n: Responses to a prompt.
        learning_rate: Of the descent; `lab.rates` scales it for each parameter.
        seed: Of all sampling.
        every: The policy is measured after so many steps, and at the end; 0 = at start and end alone.
        updates: Gradient steps on each batch.
        compensation: Rows that were not trained on at once, to be trained on later.
        most_updates: The run ends, before `steps` if need be, with so many gradient steps: methods that make more of
            them from a batch than others can then be compared at equal numbers. None = no limit.

    Returns:
        The exact expectations along the way, and the policy.

    Raises:
        ValueError: The recipe has no objective, or a number is out of range.
    """
    if recipe.objective is None:
        raise ValueError(f"recipe {recipe.name!r} has no objective: expected one to train a tabular policy with")
    # A batch and the rows that waited: no step has more to train on.
    left = 2 * steps * updates if most_updates is None else most_updates
    _expect_counts(steps=steps, prompts=prompts, n=n, updates=updates, most_updates=left)
    generator = torch.Generator().manual_seed(seed)
    parameters = _trainable(lab.parameters())
    reference = lab.logits(lab.parameters())
    record = _Record(lab, parameters)
    for step in range(steps):
        with torch.no_grad():
            rollouts = lab.sample(lab.logits(parameters), prompts, n, generator)
            rollouts = rollouts.replace(
                ref_logprobs=taken_logprobs(reference, rollouts), iteration=step, progress=step / steps
            )
        whole = recipe(rollouts, learn=True)
        later = None if compensation is None else compensation.after(whole, step)
        for batch in (_training(recipe, part) for part in (whole, later) if part is not None):
            for _ in range(min(updates if len(batch) else 0, left)):
                logprobs = taken_logprobs(lab.logits(parameters), batch.rollouts)
                _descend(parameters, recipe.objective(logprobs, batch).value, learning_rate, lab.rates)
                left -= 1
        if every and (step + 1) % every == 0:
            record.measure(step + 1)
        if not left:
            break
    return record.curve(step + 1)


def train_exactly(
    lab: TabularLab,
    objective: str | Callable[[Mapping[str, Tensor]], Tensor],
    steps: int,
    learning_rate: float = 0.5,
    *,
    every: int = 0,
) -> Curve:
    """Train a tabular policy by gradient ascent on an exact expectation: policy gradients without sampling noise.

    Args:
        lab: The lab.
        objective: Name of one of `lab.expected`, or a function of all of them, as
            `lambda e: e["proxy"] - 0.1 * e["kl"]`.
        steps: Number of updates.
        learning_rate: Of the ascent.
        every: The policy is measured after so many steps, and at the end; 0 = at start and end alone.

    Raises:
        ValueError: `steps` is below 1.
    """
    _expect_counts(steps=steps)
    parameters = _trainable(lab.parameters())
    record = _Record(lab, parameters)
    for step in range(steps):
        expected = lab.expected(lab.logits(parameters))
        value = expected[objective] if isinstance(objective, str) else objective(expected)
        _descend(parameters, -value, learning_rate, lab.rates)
        if every and (step + 1) % every == 0:
            record.measure(step + 1)
    return record.curve(steps)


def taken_logprobs(logits: Tensor, rollouts: Rollouts) -> Tensor:
    """Log-probabilities of the actions that were taken, under another policy than they were sampled from.

    Args:
        logits: (states, actions) float.
        rollouts: Of a tabular lab.

    Returns:
        (B, T) float32 with gradient to `logits`, 0 outside the mask.
    """
    state, action = rollouts.tokens[STATE], rollouts.tokens[ACTION]
    chosen = torch.log_softmax(logits, -1)[state.clamp(min=0), action.clamp(min=0)]
    return torch.where(rollouts.mask, chosen.to(torch.float32), 0.0)


def entropy(logits: Tensor) -> Tensor:
    """(...,) entropy of softmax(logits) over the last dimension, in nats; differentiable."""
    logprobs = torch.log_softmax(logits, -1)
    safe = torch.where(torch.isneginf(logprobs), 0.0, logprobs)
    return -(safe.exp() * safe * ~torch.isneginf(logprobs)).sum(-1)


def draw_prompts(number: int, prompts: int, generator: torch.Generator) -> Tensor:
    """(prompts,) int64 indices below `number`: without repetition as long as there are so many."""
    if prompts <= number:
        return torch.randperm(number, generator=generator)[:prompts]
    return torch.randint(number, (prompts,), generator=generator)


def one_decision(
    logits: Tensor, state: Tensor, generator: torch.Generator, group: Tensor | None = None
) -> tuple[Tensor, Rollouts]:
    """Sample one action a row: responses of a single token, which is a single step.

    Args:
        logits: (states, actions) float.
        state: (B,) int64, the state of each row.
        generator: Source of randomness.
        group: (B,) int64; None = the state.

    Returns:
        (B,) int64 actions, and rollouts without rewards.
    """
    action = torch.multinomial(torch.softmax(logits, -1)[state], 1, replacement=True, generator=generator)
    return action[:, 0], decisions(logits, state[:, None], action, torch.ones_like(action, dtype=torch.bool), group)


def decisions(logits: Tensor, state: Tensor, action: Tensor, mask: Tensor, group: Tensor | None = None) -> Rollouts:
    """Rollouts of given decisions: every token is a step of its own.

    Args:
        logits: (states, actions) float, of the policy that took them.
        state: (B, T) int64.
        action: (B, T) int64.
        mask: (B, T) bool; rows are filled from the left.
        group: (B,) int64; None = the first state.
    """
    place = torch.arange(mask.shape[1]).expand(mask.shape)
    bare = Rollouts(
        group=state[:, 0] if group is None else group,
        mask=mask,
        step=torch.where(mask, place, -1),
        tokens={STATE: torch.where(mask, state, -1), ACTION: torch.where(mask, action, -1)},
        temperature=1.0,
    )
    spread = torch.where(mask, entropy(logits)[state.clamp(min=0)], 0.0)
    return bare.replace(logprobs=taken_logprobs(logits, bare), entropy=spread)


def _training(recipe: Recipe, batch: Batch) -> Batch:
    prepare = getattr(recipe.objective, "prepare", None)
    return (batch if prepare is None or not len(batch) else prepare(batch)).training


def _trainable(parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().clone().requires_grad_() for name, value in parameters.items()}


def _descend(parameters: Mapping[str, Tensor], loss: Tensor, learning_rate: float, rates: Mapping[str, float]) -> None:
    gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    with torch.no_grad():
        for (name, value), gradient in zip(parameters.items(), gradients, strict=True):
            if gradient is not None:
                value -= learning_rate * rates.get(name, 1.0) * gradient


def _expect_counts(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name} is {count}: expected at least 1")


@dataclasses.dataclass
class _Record:
    """The expectations of a policy that is being trained."""

    lab: TabularLab
    parameters: Mapping[str, Tensor]
    steps: list[int] = dataclasses.field(default_factory=list)
    figures: dict[str, list[float]] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        self.measure(0)

    def measure(self, step: int) -> None:
        with torch.no_grad():
            expected = self.lab.expected(self.lab.logits(self.parameters))
        self.steps.append(step)
        for name, value in expected.items():
            self.figures.setdefault(name, []).append(float(value))

    def curve(self, steps: int) -> Curve:
        if self.steps[-1] != steps:
            self.measure(steps)
        figures = {name: tuple(values) for name, values in self.figures.items()}
        return Curve(tuple(self.steps), figures, {name: value.detach() for name, value in self.parameters.items()})
