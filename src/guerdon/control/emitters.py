"""Emitters: small elitist searches that start where a reward was found (arXiv 2102.03140, 2203.01027)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from guerdon.control.archives import Archive
from guerdon.control.mdp import Array

ENDS = 20
"""How many generations at each end of a window are compared to see whether an emitter still gains."""


def emitter_sigma(genome: ArrayLike, genomes: ArrayLike, fallback: float = 0.05) -> float:
    """A third of the distance, in genome space, from a solution to its nearest neighbour.

    Args:
        genome: (n,) the solution.
        genomes: (N, n) the others; one row that equals the solution counts as the solution itself.
        fallback: Taken where that distance is 0, or there is no other.

    Raises:
        ValueError: Shapes that do not match.

    Example:
        >>> round(emitter_sigma([1, 1], [[0, 0], [1, 1], [1, 1.6]]), 9)
        0.2
    """
    own, others = np.asarray(genome, dtype=np.float64), np.asarray(genomes, dtype=np.float64)
    if own.ndim != 1 or others.ndim != 2 or others.shape[1] != len(own):
        raise ValueError(f"genome has shape {own.shape}, genomes {others.shape}: expected (n,) and (N, n)")
    distances = np.sort(np.linalg.norm(others - own, axis=1))
    if len(distances) and distances[0] == 0:
        distances = distances[1:]
    nearest = float(distances[0]) if len(distances) else 0.0
    return nearest / 3 if nearest > 0 else fallback


def improvement(values: ArrayLike) -> float:
    """How much an emitter has gained: mean reward of its last three populations minus that of its first three, or 0.

    Args:
        values: (G, P) rewards of the members of every population so far, G >= 1.

    Raises:
        ValueError: No population, or a reward that is not finite.

    Example:
        >>> round(improvement([[1 / 30], [0.1], [0.2], [0.3], [0.4], [8 / 15]]), 6)
        0.3
    """
    rewards = _rewards(values)
    return max(0.0, float(rewards[-3:].mean() - rewards[:3].mean()))


def stagnated(values: ArrayLike, genome_size: int) -> bool:
    """Whether an emitter has stopped gaining over its last int(20 n / 6 + 120) populations.

    It has if in this window the median, or the maximum, of the first 20 populations is not below that of the last 20.

    Args:
        values: (G, P) rewards of the members of every population so far.
        genome_size: n, the number of genes.
    """
    rewards = _rewards(values)
    window = int(20 * genome_size / 6 + 120)
    if len(rewards) < window:
        return False
    first, last = rewards[-window:][:ENDS], rewards[-ENDS:]
    return bool(np.median(first) >= np.median(last) or first.max() >= last.max())


class FitnessEmitter:
    """An elitist search for reward around one solution: of parents and children the best stay.

    The first `ask` gives `size` variations of the ancestor, later ones `children` for every member.

    Attributes:
        ancestor: (n,) the solution it started from.
        sigma: Standard deviation of a change of a gene.
        size: Members of the population.
        values: (G, size) rewards of the members of every population.
        members: The present population, with whatever `tell` was given of it.
        best_deposit: The best reward that `deposits` has let through.

    Example:
        >>> emitter = FitnessEmitter([0.0, 0.0], 0.1)
        >>> emitter.tell(bd=[[0.0]] * 6, reward=-(emitter.ask() ** 2).sum(1))
        >>> emitter.ask().shape
        (12, 2)
    """

    def __init__(
        self,
        ancestor: ArrayLike,
        sigma: float,
        size: int = 6,
        *,
        children: int = 2,
        bounds: tuple[float, float] = (-5.0, 5.0),
        max_steps: int | None = None,
        rng: np.random.Generator | int = 0,
    ) -> None:
        """Start around a solution.

        Args:
            ancestor: (n,) genes.
            sigma: Standard deviation of a change of a gene, above 0.
            size: Members of the population.
            children: Children of every member and generation.
            bounds: Genes are kept between these.
            max_steps: It stops after so many populations; None = only when it stagnates.
            rng: Generator, or its seed.

        Raises:
            ValueError: A number out of range.
        """
        self.ancestor = np.asarray(ancestor, dtype=np.float64)
        if self.ancestor.ndim != 1 or not sigma > 0 or size < 1 or children < 1:
            raise ValueError(
                f"ancestor has shape {self.ancestor.shape}, sigma is {sigma}, size {size}, children {children}: "
                "expected (n,), a sigma above 0 and at least one member and child"
            )
        self.sigma, self.size, self.children, self.bounds, self.max_steps = sigma, size, children, bounds, max_steps
        self.members = Archive()
        self.best_deposit = 0.0
        self._values: list[Array] = []
        self._rng = np.random.default_rng(rng)
        self._asked: Array | None = None

    @property
    def values(self) -> Array:
        """(G, size) rewards of every population so far."""
        return np.stack(self._values) if self._values else np.zeros((0, self.size))

    @property
    def improvement(self) -> float:
        """What it has gained; see `improvement`."""
        return improvement(self.values)

    @property
    def stopped(self) -> bool:
        """Whether it stagnates or has used up its steps."""
        if self.max_steps is not None and len(self._values) >= self.max_steps:
            return True
        return bool(self._values) and stagnated(self.values, len(self.ancestor))

    def ask(self) -> Array:
        """(size, n) genomes at first, (children * size, n) later."""
        if self._asked is None:
            fresh = not len(self.members)
            parents = (
                np.repeat(self.ancestor[None], self.size, axis=0)
                if fresh
                else self.members.genomes().repeat(self.children, axis=0)
            )
            moved = parents + self._rng.normal(0.0, self.sigma, parents.shape)
            self._asked = np.clip(moved, *self.bounds)
        return self._asked

    def tell(self, bd: ArrayLike, reward: ArrayLike, meta: dict[str, ArrayLike] | None = None) -> None:
        """Give what came of the genomes that were asked for.

        Raises:
            ValueError: Nothing was asked for, or the numbers of rows differ.
        """
        if self._asked is None:
            raise ValueError("tell came before ask: expected ask first")
        self.members.add(self._asked, bd, reward, meta)
        best = np.argsort(-self.members.rewards(), kind="stable")[: self.size]
        self.members = self.members.take(best)
        self._values.append(self.members.rewards().copy())
        self._asked = None

    def deposits(self) -> Archive:
        """Members for the archive of rewards: first the best, if it has any reward, then all above the best so far."""
        rewards = self.members.rewards()
        better = np.flatnonzero(rewards > self.best_deposit)
        if self.best_deposit == 0.0:
            better = better[:1]
        if len(better):
            self.best_deposit = float(rewards[better].max())
        return self.members.take(better)


def _rewards(values: ArrayLike) -> Array:
    rewards = np.asarray(values, dtype=np.float64)
    if not len(rewards) or not np.isfinite(rewards).all():
        raise ValueError("values are empty or not finite: expected the rewards of at least one population")
    return rewards
