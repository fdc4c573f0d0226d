"""Several reward models as one: their mean, their mean less their disagreement, or the worst of them.

An optimiser finds the responses that one model overrates; it finds fewer that all of them overrate.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from guerdon.score.models.model_card import write_card
from guerdon.score.models.reward_model import (
    Response,
    RewardModel,
    Scores,
    from_pretrained,
    read_settings,
    write_settings,
)

COMBINATIONS = ("mean", "worst", "mean_minus_std")


def combine(scores: Tensor, how: str = "mean", penalty: float = 1.0) -> tuple[Tensor, Tensor]:
    """One score of those of several models, and how far they are apart.

    Args:
        scores: (M, ...) float, one of each model; NaN = not scored.
        how: "mean", "worst" (the least), or "mean_minus_std" = mean - penalty * std.
        penalty: Weight of the standard deviation.

    Returns:
        Scores (...) and standard deviations (...) of the population, of at least float32; NaN where a model has not
        scored.

    Raises:
        ValueError: No model, or an unknown combination.

    Example:
        >>> import torch
        >>> value, std = combine(torch.tensor([[1.0], [3.0]]), "mean_minus_std", 0.5)
        >>> float(value), float(std)
        (1.5, 1.0)
    """
    if how not in COMBINATIONS:
        raise ValueError(f"how is {how!r}: expected one of {COMBINATIONS}")
    if scores.ndim < 1 or not len(scores):
        raise ValueError(f"scores has shape {tuple(scores.shape)}: expected (M, ...) with at least one model")
    wide = scores.to(torch.promote_types(scores.dtype, torch.float32))
    std = wide.std(0, correction=0)
    if how == "worst":
        # amin passes NaN on, as the mean does.
        return wide.amin(0), std
    mean = wide.mean(0)
    return (mean if how == "mean" else mean - penalty * std), std


class Ensemble:
    """Reward models that score the same responses; the column "uncertainty" holds their standard deviation.

    Args:
        models: At least one; all score responses, or all score steps.
        how: See `combine`.
        penalty: See `combine`.

    Raises:
        ValueError: No model, or an unknown combination.
    """

    def __init__(self, models: Sequence[RewardModel], how: str = "mean", penalty: float = 1.0) -> None:
        if not models or how not in COMBINATIONS:
            raise ValueError(f"{len(models)} models, how {how!r}: expected at least one, and one of {COMBINATIONS}")
        self.models = tuple(models)
        self.how = how
        self.penalty = penalty

    def __repr__(self) -> str:
        return f"Ensemble({len(self.models)} models, how={self.how!r}, penalty={self.penalty})"

    def score(self, prompts: Sequence[str], responses: Sequence[Response]) -> Scores:
        """Combined scores; a response that one of the models has not scored is NaN, with that model's reason.

        Raises:
            ValueError: Some models score responses only, others steps only, or numbers of steps differ.
        """
        found = [model.score(prompts, responses) for model in self.models]
        values: dict[str, Tensor] = {}
        spreads: dict[str, Tensor] = {}
        for name in ("outcome", "process"):
            parts = [part for scores in found if (part := getattr(scores, name)) is not None]
            if len(parts) == len(found):
                if len({part.shape for part in parts}) > 1:
                    raise ValueError(f"{name} has the shapes {[tuple(part.shape) for part in parts]}: expected one")
                values[name], spreads[name] = combine(torch.stack(parts), self.how, self.penalty)
        if not values:
            raise ValueError("the models score neither all responses nor all steps: expected models of one kind")
        reasons = [
            next((s.reasons[row] for s in found if s.reasons and s.reasons[row]), "") for row in range(len(prompts))
        ]
        spread = spreads.get("outcome", spreads.get("process"))
        assert spread is not None
        columns: Mapping[str, Sequence[Any]] = {"uncertainty": spread.tolist()}
        return Scores(**values, reasons=tuple(reasons) if any(reasons) else (), columns=columns)

    def save_pretrained(self, folder: str | os.PathLike[str]) -> Path:
        """Write each model into a folder of its own, settings and a model card, and return the folder.

        Raises:
            ValueError: A model has no `save_pretrained`.
        """
        target = Path(folder)
        names = [f"member-{number}" for number in range(len(self.models))]
        for name, model in zip(names, self.models, strict=True):
            if not hasattr(model, "save_pretrained"):
                raise ValueError(f"{type(model).__name__} has no save_pretrained: expected one")
            model.save_pretrained(target / name)
        settings = {"members": names, "how": self.how, "penalty": self.penalty}
        write_settings(target, "ensemble", settings)
        write_card(target, "ensemble", settings)
        return target

    @staticmethod
    def from_pretrained(folder: str | os.PathLike[str]) -> Ensemble:
        """Read what `save_pretrained` wrote."""
        source = Path(folder)
        settings = read_settings(source)
        members = [from_pretrained(source / name) for name in settings["members"]]
        return Ensemble(members, settings["how"], settings["penalty"])


def average_weights(models: Sequence[Any], weights: Sequence[float] | None = None) -> Any:
    """One model whose weights are the mean of several models' of the same shape: one forward pass instead of many.

    Args:
        models: torch modules that were trained from the same start.
        weights: What each counts; they are divided by their sum. None = equally.

    Returns:
        A copy of the first with averaged floating-point parameters and buffers; others are the first's.

    Raises:
        ValueError: No model, parameters that differ in names or shapes, or weights without a positive sum.
    """
    shares = [1.0] * len(models) if weights is None else list(weights)
    if not models or len(shares) != len(models) or not sum(shares) > 0:
        raise ValueError(f"{len(models)} models, weights {shares}: expected a weight a model, with a positive sum")
    states = [model.state_dict() for model in models]
    shapes = [{name: value.shape for name, value in state.items()} for state in states]
    for number, shape in enumerate(shapes):
        if shape != shapes[0]:
            differing = sorted(
                name for name in shape.keys() | shapes[0].keys() if shape.get(name) != shapes[0].get(name)
            )
            raise ValueError(f"model {number} differs from the first in {differing[:3]}: expected equal shapes")
    averaged = {}
    for name, value in states[0].items():
        if value.is_floating_point():
            total = sum(share * state[name].double() for share, state in zip(shares, states, strict=True))
            averaged[name] = (total / sum(shares)).to(value.dtype)
    result = copy.deepcopy(models[0])
    result.load_state_dict(averaged, strict=False)
    return result
