"""A point robot in a room with a wall, seen as a small picture from above.

A network whose weights are the genome steers it. Rewards lie in discs behind the wall, and say how short the way was,
which neither the picture nor the final position shows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from guerdon.control.mdp import Array
from guerdon.control.search_methods import Evaluation
from guerdon.control.worlds.redundant_arm import in_discs

_BLOB = 0.3
_FLOOR, _WALL, _ROBOT = (0, 0, 0), (0, 0, 120), (255, 60, 60)


@dataclass(frozen=True)
class WalledPoint:
    """The room is [-1, 1]^2; a wall along y = 0 leaves a gap at its right end; the robot starts below it.

    The network sees position and elapsed time, has one hidden layer of tanh units, and says by tanh how far to move
    along x and y. A move through the wall, or out of the room, stops short of it.

    Attributes:
        hidden: Units of the hidden layer.
        steps: Moves of an episode.
        speed: The longest move along each axis.
        gap: The wall ends where x is this.
        start: Where the robot starts.
        discs: Centres of the rewarded discs.
        radius: Of the discs.
        size: Pixels of the picture's sides.
        draws: Whether pictures are drawn at all.
    """

    hidden: int = 5
    steps: int = 50
    speed: float = 0.1
    gap: float = 0.5
    start: tuple[float, float] = (-0.5, -0.6)
    discs: tuple[tuple[float, float], ...] = ((-0.7, 0.7), (0.0, 0.4))
    radius: float = 0.1
    size: int = 32
    draws: bool = True

    @property
    def genome_size(self) -> int:
        """Weights and biases of the network."""
        return (3 + 1) * self.hidden + (self.hidden + 1) * 2

    def paths(self, genomes: ArrayLike) -> Array:
        """(N, n) genomes -> (N, steps + 1, 2) positions."""
        genes = np.asarray(genomes, dtype=np.float64)
        if genes.ndim != 2 or genes.shape[1] != self.genome_size:
            raise ValueError(f"genomes have shape {genes.shape}: expected (N, {self.genome_size})")
        inner = genes[:, : 4 * self.hidden].reshape(-1, 4, self.hidden)
        outer = genes[:, 4 * self.hidden :].reshape(-1, self.hidden + 1, 2)
        here = np.tile(np.asarray(self.start, dtype=np.float64), (len(genes), 1))
        path = [here]
        for step in range(self.steps):
            seen = np.concatenate((here, np.full((len(here), 1), 2 * step / self.steps - 1)), axis=1)
            units = np.tanh(np.einsum("ni,nih->nh", seen, inner[:, :3]) + inner[:, 3])
            move = np.tanh(np.einsum("nh,nho->no", units, outer[:, :-1]) + outer[:, -1]) * self.speed
            here = self.moved(here, move)
            path.append(here)
        return np.stack(path, axis=1)

    def moved(self, here: Array, move: Array) -> Array:
        """(N, 2) positions after moves; the wall stops what crosses it left of the gap."""
        there = np.clip(here + move, -1.0, 1.0)
        crosses = np.where(here[:, 1] < 0, there[:, 1] >= 0, there[:, 1] < 0)
        share = np.where(crosses, here[:, 1] / np.where(crosses, here[:, 1] - there[:, 1], 1.0), 0.0)
        blocked = crosses & (here[:, 0] + share * (there[:, 0] - here[:, 0]) < self.gap)
        side = np.where(here[:, 1] < 0, -1e-6, 0.0)
        result: Array = np.stack((there[:, 0], np.where(blocked, side, there[:, 1])), axis=1)
        return result

    def pictures(self, positions: Array) -> NDArray[np.uint8]:
        """(N, size, size, 3) uint8, the top row first: floor, wall, and the robot as a soft round blob."""
        centres = (np.arange(self.size) + 0.5) / self.size * 2 - 1
        blank = np.broadcast_to(np.asarray(_FLOOR, dtype=np.float64), (self.size, self.size, 3)).copy()
        blank[np.ix_(np.abs(centres) < 2 / self.size, centres < self.gap)] = _WALL
        across = np.exp(-(((centres - positions[:, :1]) / _BLOB) ** 2))
        along = np.exp(-(((centres - positions[:, 1:]) / _BLOB) ** 2))
        opacity = (along[:, ::-1, None] * across[:, None, :])[..., None]
        painted: NDArray[np.uint8] = (blank * (1 - opacity) + np.asarray(_ROBOT) * opacity).astype(np.uint8)
        return painted

    def areas(self, positions: ArrayLike) -> NDArray[np.bool_]:
        """(N, A) which of the positions are in which disc."""
        return in_discs(positions, self.discs, self.radius)

    def __call__(self, genomes: ArrayLike) -> Evaluation:
        """Evaluate: the final position is the hand-made descriptor, its picture the observation."""
        path = self.paths(genomes)
        final = path[:, -1]
        length = np.linalg.norm(np.diff(path, axis=1), axis=2).sum(1)
        reward = np.where(self.areas(final).any(1), np.exp(-length / 2), 0.0)
        return Evaluation(reward, final, self.pictures(final) if self.draws else None, final)
