"""Looking at a reward before anything is trained by it: maps over a plane and tables along a trajectory.

Whoever combines rewards should see where the combination is positive: a weighted sum often pays for driving away from
the ball while facing it, a signed geometric mean does not (arXiv 2305.15801).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from guerdon.control.mdp import Array

RewardFunction = Callable[[Tensor], Tensor]
"""(N, D) points or states -> (N,) rewards."""


def analyze_reward(
    function: RewardFunction,
    x: Tensor,
    y: Tensor,
    path: str | Path | None = None,
    *,
    title: str = "",
    marks: Mapping[str, tuple[float, float]] | None = None,
) -> Array:
    """Evaluate a reward on a grid, and draw it as a heat map with its zero line.

    Args:
        function: (N, 2) float64 points -> (N,) rewards.
        x: (W,) coordinates of the columns, ascending.
        y: (H,) coordinates of the rows, ascending.
        path: Of the PNG; None = nothing is drawn.
        title: Of the picture.
        marks: Name -> place of what should be marked: the ball, a goal.

    Returns:
        (H, W) float64 rewards.

    Raises:
        ValueError: An axis with fewer than two values, or a reward of another shape.
    """
    if x.ndim != 1 or y.ndim != 1 or len(x) < 2 or len(y) < 2:
        raise ValueError(f"x has shape {tuple(x.shape)}, y {tuple(y.shape)}: expected at least two values each")
    rows, columns = torch.meshgrid(y.double(), x.double(), indexing="ij")
    points = torch.stack((columns.flatten(), rows.flatten()), dim=1)
    found = function(points)
    if tuple(found.shape) != (len(points),):
        raise ValueError(f"the reward has shape {tuple(found.shape)}: expected ({len(points)},)")
    values: Array = found.detach().double().reshape(len(y), len(x)).numpy()
    if path is not None:
        _draw(values, x.numpy(), y.numpy(), Path(path), title, marks or {})
    return values


def analyze_trajectory(functions: Mapping[str, RewardFunction], states: Tensor) -> dict[str, Array]:
    """The rewards of several functions along one trajectory, as the columns of a table.

    Args:
        functions: Name -> (T, D) states to (T,) rewards.
        states: (T, D) states.

    Returns:
        "step" -> 0 to T - 1, and each name -> (T,) float64.

    Raises:
        ValueError: No function, one named "step", or a reward of another shape.
    """
    if not functions or "step" in functions:
        raise ValueError(f"functions are {sorted(functions)}: expected at least one, none of them named 'step'")
    table: dict[str, Array] = {"step": np.arange(len(states), dtype=np.float64)}
    for name, function in functions.items():
        found = function(states)
        if tuple(found.shape) != (len(states),):
            raise ValueError(f"{name} has shape {tuple(found.shape)}: expected ({len(states)},)")
        table[name] = found.detach().double().numpy()
    return table


def _draw(values: Array, x: Any, y: Any, path: Path, title: str, marks: Mapping[str, tuple[float, float]]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6, 4.2))
    axis = figure.subplots()
    size = float(np.nanmax(np.abs(values))) or 1.0
    mesh = axis.pcolormesh(x, y, values, cmap="RdBu", vmin=-size, vmax=size, shading="nearest")
    if values.min() < 0 < values.max():
        axis.contour(x, y, values, levels=[0.0], colors="black", linewidths=0.8)
    for name, place in marks.items():
        axis.plot(*place, "k^")
        axis.annotate(name, place, textcoords="offset points", xytext=(4, 4), fontsize=8)
    axis.set_title(title, fontsize=10)
    figure.colorbar(mesh)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120, metadata={"Software": "guerdon"})
