"""A small reward model on a few named features, which can say what each of them contributes (arXiv 2402.15473).

Where experts can name what makes an output good, a network over those features needs a few hundred preferences where
one over texts needs tens of thousands.

Where this differs from the paper: a feature that does not vary in the training set is not scaled, since its weight
cannot be learnt; and there is a linear form without a hidden layer, whose contributions are exact.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

STD_FLOOR = 1e-6
"""Features whose standard deviation is below it do not vary."""

_WEIGHTS, _SETTINGS = "feature_reward.pt", "feature_reward.json"


class FeatureReward(nn.Module):
    """Features -> reward: standardised, then linear or one hidden layer of ReLU.

    Args:
        names: Names of the features, in their order.
        hidden: Size of the hidden layer; 0 = linear.
        seed: Of the initial weights.

    Raises:
        ValueError: No names, one that comes twice, or a negative size.

    Example:
        >>> import torch
        >>> model = FeatureReward(["faithful", "short"], hidden=0)
        >>> with torch.no_grad():
        ...     _ = model.output.weight.copy_(torch.tensor([[2.0, 0.5]]))
        >>> model.explain(torch.tensor([1.0, -1.0]))
        {'faithful': 2.0, 'short': -0.5}
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, names: Sequence[str], hidden: int = 16, seed: int = 0) -> None:
        super().__init__()
        if not names or len(set(names)) != len(names):
            raise ValueError(f"names is {list(names)}: expected at least one feature, each once")
        if hidden < 0:
            raise ValueError(f"hidden is {hidden}: expected 0 or more")
        self.names = tuple(names)
        self.hidden = hidden
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.inner = nn.Linear(len(names), hidden) if hidden else None
            self.output = nn.Linear(hidden or len(names), 1)
        if not hidden:
            nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)
        self.register_buffer("mean", torch.zeros(len(names)))
        self.register_buffer("scale", torch.ones(len(names)))

    def standardise_by(self, features: Tensor) -> None:
        """Take means and standard deviations (of the population) from (N, F) features.

        Raises:
            ValueError: Not (N, F), no rows, or NaN.
        """
        self._expect(features)
        if features.ndim != 2 or not len(features):
            raise ValueError(f"features has shape {tuple(features.shape)}: expected (N, {len(self.names)}) with rows")
        wide = features.to(self.mean)
        deviation = wide.std(0, correction=0)
        self.mean.copy_(wide.mean(0))
        self.scale.copy_(torch.where(deviation > STD_FLOOR, deviation, 1.0))

    def forward(self, features: Tensor) -> Tensor:
        """(B,) rewards of (B, F) features, or one of (F,).

        Raises:
            ValueError: The last dimension is not F, or a feature is NaN.
        """
        self._expect(features)
        x = (features.to(self.mean) - self.mean) / self.scale
        if self.inner is not None:
            x = torch.relu(self.inner(x))
        value: Tensor = self.output(x).squeeze(-1)
        return value

    def explain(self, features: Tensor) -> dict[str, Any]:
        """What each feature contributes to the reward.

        For the linear model weight * standardised value, so that contributions and bias add up to the reward; with a
        hidden layer gradient * standardised value.

        Args:
            features: (F,) or (B, F).

        Returns:
            Name -> a number for (F,), a (B,) tensor for (B, F).

        Raises:
            ValueError: As for `forward`.
        """
        self._expect(features)
        with torch.enable_grad():
            given = features.detach().to(self.mean).clone().requires_grad_()
            (gradient,) = torch.autograd.grad(self(given).sum(), given)
        parts = gradient * (given.detach() - self.mean)
        columns = parts.unbind(-1)
        return {name: float(part) if part.ndim == 0 else part for name, part in zip(self.names, columns, strict=True)}

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each feature in a linear model, in units of the feature itself.

        Raises:
            ValueError: There is a hidden layer.
        """
        if self.inner is not None:
            raise ValueError(f"hidden is {self.hidden}: expected a linear model")
        return dict(zip(self.names, (self.output.weight[0].detach() / self.scale).tolist(), strict=True))

    def save_pretrained(self, folder: str | os.PathLike[str]) -> Path:
        """Write weights and settings into a folder, and return it."""
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        torch.save(self.state_dict(), target / _WEIGHTS)
        (target / _SETTINGS).write_text(json.dumps({"names": list(self.names), "hidden": self.hidden}, indent=2) + "\n")
        return target

    @staticmethod
    def from_pretrained(folder: str | os.PathLike[str]) -> FeatureReward:
        """Read what `save_pretrained` wrote."""
        source = Path(folder)
        settings = json.loads((source / _SETTINGS).read_text())
        model = FeatureReward(settings["names"], settings["hidden"])
        model.load_state_dict(torch.load(source / _WEIGHTS, weights_only=True))
        return model.eval()

    def _expect(self, features: Tensor) -> None:
        if features.ndim not in (1, 2) or features.shape[-1] != len(self.names):
            raise ValueError(f"features has shape {tuple(features.shape)}: expected (..., {len(self.names)})")
        missing = torch.isnan(features)
        if bool(missing.any()):
            place = [int(index) for index in missing.nonzero()[0]]
            row = f" of row {place[0]}" if features.ndim == 2 else ""
            raise ValueError(f"feature {self.names[place[-1]]!r}{row} is NaN: expected numbers")
