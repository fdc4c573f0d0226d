"""A planar arm with more joints than it needs, and rewards that its tip does not show.

Many configurations bring the tip to the same place; the reward inside two small discs says how straight the arm is,
which a descriptor of the tip does not see.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from guerdon.control.mdp import Array
from guerdon.control.search_methods import Evaluation


@dataclass(frozen=True)
class RedundantArm:
    """Joints at the end of each other, each turned by gene * pi / 10 against the one before, of total length 1.

    Attributes:
        joints: n, also the number of genes.
        discs: Centres of the rewarded discs.
        radius: Of the discs.

    Example:
        >>> arm = RedundantArm(joints=4)
        >>> arm.tips([[0.0, 0.0, 0.0, 0.0]]).tolist()
        [[1.0, 0.0]]
    """

    joints: int = 20
    discs: tuple[tuple[float, float], ...] = ((-0.5, 0.5), (0.2, -0.7))
    radius: float = 0.1

    def __post_init__(self) -> None:
        if self.joints < 1 or not self.radius > 0:
            raise ValueError(f"joints {self.joints}, radius {self.radius}: expected at least one joint and a radius")

    def tips(self, genomes: ArrayLike) -> Array:
        """(N, n) genomes -> (N, 2) positions of the tip, inside the unit circle."""
        genes = np.asarray(genomes, dtype=np.float64)
        if genes.ndim != 2 or genes.shape[1] != self.joints:
            raise ValueError(f"genomes have shape {genes.shape}: expected (N, {self.joints})")
        angles = np.cumsum(genes * (np.pi / 10), axis=1)
        tips: Array = np.stack((np.cos(angles).mean(1), np.sin(angles).mean(1)), axis=1)
        return tips

    def areas(self, positions: ArrayLike) -> NDArray[np.bool_]:
        """(N, A) which of the positions are in which disc."""
        return in_discs(positions, self.discs, self.radius)

    def __call__(self, genomes: ArrayLike) -> Evaluation:
        """Evaluate: the tip is descriptor and position; in a disc the reward is exp(-standard deviation of genes)."""
        tips = self.tips(genomes)
        straight = np.exp(-np.asarray(genomes, dtype=np.float64).std(1))
        reward = np.where(self.areas(tips).any(1), straight, 0.0)
        return Evaluation(reward=reward, bd=tips, observation=tips, position=tips)


def in_discs(positions: ArrayLike, discs: tuple[tuple[float, float], ...], radius: float) -> NDArray[np.bool_]:
    """(N, A) which of (N, 2) positions are in which of A discs."""
    points = np.asarray(positions, dtype=np.float64)
    away = np.linalg.norm(points[:, None] - np.asarray(discs), axis=2)
    inside: NDArray[np.bool_] = away <= radius
    return inside
