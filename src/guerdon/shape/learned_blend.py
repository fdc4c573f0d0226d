"""A blend of reward terms whose weights are learnt from the outcome (BARFI, arXiv 2310.19007).

The weights follow the gradient of the outcome of the policy that the blend leads to. For a policy that is free in its
choice among the responses to a prompt, and regularised by an entropy of weight lambda, that policy is
softmax(blend / lambda), and the gradient has a closed form: the covariance of outcome and term among the responses to a
prompt, divided by lambda. A term that goes with the outcome gains weight, one that goes against it loses it.

Where this differs from the paper: there the policy is a parametrised one and the gradient needs inverse Hessians
(`guerdon.control.bilevel`); this is what that gradient becomes for groups of responses, without a second pass through
the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from guerdon import ops
from guerdon.rollouts import Rollouts
from guerdon.shape.blend import combine
from guerdon.shape.terms import keep_raw
from guerdon.terms import term


def blend_gradient(terms: Tensor, outcome: Tensor, key: Tensor, entropy: float = 1.0) -> Tensor:
    """Gradient of the mean outcome with respect to the weights of a blend.

    Args:
        terms: (K, B) float.
        outcome: (B,) float, the primary reward.
        key: (B,) int64, the prompt of each row.
        entropy: Weight of the entropy, lambda, above 0.

    Returns:
        (K,) of the dtype of `terms`: the covariance (population) of each term with the outcome inside a group, the mean
        over groups with at least two rows that are scored in both, divided by `entropy`; 0 where there is none.

    Raises:
        ValueError: Shapes do not match, or `entropy` is not above 0.

    Example:
        >>> terms = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
        >>> blend_gradient(terms, torch.tensor([1.0, 0.0]), torch.tensor([0, 0]), entropy=0.5).tolist()
        [0.5, -1.0]
    """
    if terms.ndim != 2 or terms.shape[1:] != outcome.shape or outcome.ndim != 1:
        raise ValueError(f"terms {tuple(terms.shape)}, outcome {tuple(outcome.shape)}: expected (K, B) and (B,)")
    if not 0.0 < entropy < float("inf"):
        raise ValueError(f"entropy is {entropy}: expected a number above 0")
    found = [_mean_covariance(value.double(), outcome.double(), key) for value in terms]
    gradient = torch.stack(found) if found else terms.new_zeros(0, dtype=torch.float64)
    return (gradient / entropy).to(terms.dtype)


def _mean_covariance(value: Tensor, outcome: Tensor, key: Tensor) -> Tensor:
    both = ~(torch.isnan(value) | torch.isnan(outcome))
    product = torch.where(both, (value - ops.mean(value, key, both)) * outcome, torch.nan)
    _, covariance = ops.reduce(product, key, "mean", both)
    _, number = ops.reduce(product, key, "count", both)
    usable = covariance[number > 1]
    return usable.mean() if len(usable) else value.new_zeros(())


@dataclass(frozen=True)
class LearnedBlend:
    """Replace the outcome by a weighted sum of reward terms, whose weights learn what raises the outcome.

    The first term is the primary reward, and keeps its weight. After each batch the other weights make a step along
    `blend_gradient`. The column `before_blend` keeps the primary reward, and `blend/<term>` each weighted term.

    Attributes:
        terms: Names of the terms, the primary reward first: "outcome", "process" (aggregated over the steps of a row)
            or columns of numbers.
        weights: Where the weights start.
        rate: Size of the steps.
        entropy: Weight of the entropy that the gradient assumes; it only scales the steps.
        low: No learnt weight falls below it; None = any weight.
        high: None rises above it.
        aggregate: How process rewards become one number a row.
        missing: What an unscored term counts as; see `guerdon.shape.combine`.
        keep: Name of the column that keeps the primary reward.
        update_order: "score_first": a batch is blended by the weights from before it; "never": weights stay.
    """

    terms: tuple[str, ...] = ("outcome", "process")
    weights: tuple[float, ...] = (1.0, 1.0)
    rate: float = 0.1
    entropy: float = 1.0
    low: float | None = None
    high: float | None = None
    aggregate: str = "mean"
    missing: str | float = "nan"
    keep: str = "before_blend"
    update_order: str = "score_first"
    _learnt: dict[str, list[float]] = field(init=False, repr=False, compare=False)
    writes: ClassVar[tuple[str, ...]] = ("outcome",)

    def __post_init__(self) -> None:
        if len(self.terms) != len(self.weights) or len(self.terms) < 2:
            raise ValueError(f"LearnedBlend has terms {self.terms} and weights {self.weights}: expected two or more")
        if not self.rate >= 0.0 or not self.entropy > 0.0:
            raise ValueError(
                f"LearnedBlend has rate {self.rate} and entropy {self.entropy}: expected 0 or more, above 0"
            )
        if self.update_order not in ("score_first", "never"):
            raise ValueError(f"LearnedBlend.update_order is {self.update_order!r}: expected 'score_first' or 'never'")
        object.__setattr__(self, "_learnt", {"weights": [float(weight) for weight in self.weights]})

    @property
    def reads(self) -> tuple[str, ...]:
        """The terms and the groups."""
        return (*self.terms, "group")

    @property
    def learnt(self) -> tuple[float, ...]:
        """The weights as they are now."""
        return tuple(self._learnt["weights"])

    def __call__(self, rollouts: Rollouts) -> Rollouts:
        """Return the rollouts with the blended outcome; the weights do not change."""
        values = [term(rollouts, name, self.aggregate) for name in self.terms]
        blended = combine(values, self.learnt, key=rollouts.group, missing=self.missing)
        parts = {
            f"blend/{name}": (weight * value).tolist()
            for name, weight, value in zip(self.terms, self.learnt, values, strict=True)
        }
        kept = keep_raw(rollouts).with_columns(**{self.keep: values[0].tolist()}, **parts)
        return kept.replace(outcome=blended)

    def update(self, rollouts: Rollouts) -> Mapping[str, float]:
        """Make a step with rollouts that this stage has blended.

        Raises:
            ValueError: The rollouts have not passed this stage.
        """
        if self.keep not in rollouts.columns:
            raise ValueError(f"LearnedBlend.update: no column {self.keep!r}: expected rollouts that it has blended")
        primary = term(rollouts, self.keep)
        others = [self._other(rollouts, name) for name in self.terms[1:]]
        gradient = blend_gradient(torch.stack(others), primary, rollouts.group, self.entropy)
        if self.update_order != "never":
            moved = [weight + self.rate * float(step) for weight, step in zip(self.learnt[1:], gradient, strict=True)]
            self._learnt["weights"] = [self.learnt[0], *(self._bounded(weight) for weight in moved)]
        return {f"weight/{name}": weight for name, weight in zip(self.terms, self.learnt, strict=True)}

    def _other(self, rollouts: Rollouts, name: str) -> Tensor:
        # The outcome is the blend by now; what it was is in a column.
        return term(rollouts, self.keep if name == "outcome" else name, self.aggregate)

    def _bounded(self, weight: float) -> float:
        least = weight if self.low is None else max(weight, self.low)
        return least if self.high is None else min(least, self.high)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that is needed to go on after a restart."""
        return {"terms": list(self.terms), "weights": list(self.learnt)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up a state that `state_dict` gave.

        Raises:
            ValueError: The state is of other terms.
        """
        if list(state["terms"]) != list(self.terms):
            raise ValueError(f"the state is of the terms {state['terms']}: this blend has {list(self.terms)}")
        self._learnt["weights"] = [float(weight) for weight in state["weights"]]
