"""Search without a gradient: novelty search by ask and tell (arXiv 2203.01027), and what drives a search.

Anything can evaluate; `run_search` drives with a function. With an encoder (`guerdon.control.learned_descriptors`)
descriptors are learnt from observations, and survivors are chosen by novelty or by surprise: that is TAXONS (arXiv
1909.05508). `guerdon.control.serene` adds the exploitation of rewards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from guerdon.control.archives import Archive
from guerdon.control.mdp import Array
from guerdon.control.novelty import novelty

ARCHIVE_CHOICES = ("random", "best")


class Encoder(Protocol):
    """What turns observations into behaviour descriptors."""

    def encode(self, observations: NDArray[Any]) -> tuple[Array, Array | None]:
        """(N, ...) observations -> (N, D) descriptors and, where the encoder knows it, (N,) surprise."""
        ...

    def train(self, observations: NDArray[Any]) -> None:
        """Learn from (N, ...) observations."""
        ...


@dataclass(frozen=True)
class Settings:
    """The hyper-parameters of a search, with the defaults of arXiv 2203.01027.

    Attributes:
        population: M, how many survive a generation.
        children: m, of every survivor.
        sigma: Standard deviation of a mutation, the same for every gene.
        bounds: Genes are kept between these.
        initial_std: Standard deviation of the genes of the first population.
        k: Neighbours in the novelty.
        archived: lambda, how many children enter the archive in a generation, and members of a stopped emitter.
        archive_choice: "random" or "best", the most novel.
        chunk: Evaluations between two changes of phase, and between two looks at the encoder's schedule.
        emitter_size: Members of an emitter.
        bootstrap: Generations after the first by which an emitter must improve.
        emitter_steps: Populations after which an emitter stops at the latest; None = only when it stagnates.
    """

    population: int = 100
    children: int = 2
    sigma: float = 0.05
    bounds: tuple[float, float] = (-5.0, 5.0)
    initial_std: float = 1.0
    k: int = 15
    archived: int = 5
    archive_choice: str = "random"
    chunk: int = 1000
    emitter_size: int = 6
    bootstrap: int = 5
    emitter_steps: int | None = None

    def __post_init__(self) -> None:
        for name in ("population", "children", "k", "chunk", "emitter_size", "bootstrap"):
            if getattr(self, name) < 1:
                raise ValueError(f"Settings.{name} is {getattr(self, name)}: expected at least 1")
        if self.archived < 0 or not self.sigma > 0 or not self.initial_std > 0 or self.population < 2:
            raise ValueError(f"{self}: expected archived >= 0, sigma and initial_std above 0, population >= 2")
        if self.archive_choice not in ARCHIVE_CHOICES:
            raise ValueError(f"Settings.archive_choice is {self.archive_choice!r}: expected one of {ARCHIVE_CHOICES}")
        if not self.bounds[0] < self.bounds[1]:
            raise ValueError(f"Settings.bounds are {self.bounds}: expected the lower first")


class NoveltySearch:
    """Search for behaviours that differ; the reward plays no part.

    Attributes:
        settings: The hyper-parameters.
        archive: What was kept of the children; never pruned.
        population: The present parents.
        offspring: The latest children.
        evaluations: Phase -> evaluations used in it.

    Example:
        >>> search = NoveltySearch(2, Settings(population=4))
        >>> for _ in range(3):
        ...     genomes = search.ask()
        ...     search.tell(bd=genomes, reward=[0.0] * len(genomes))
        >>> len(search.population), len(search.archive), search.evaluations
        (4, 10, {'explore': 20})
    """

    def __init__(
        self, genome_size: int, settings: Settings | None = None, *, seed: int = 0, encoder: Encoder | None = None
    ) -> None:
        """Start a search.

        Args:
            genome_size: n, genes of a solution.
            settings: The hyper-parameters.
            seed: Of every random choice.
            encoder: What makes descriptors of observations (`aux` of `tell`); None = `bd` of `tell` are descriptors.
        """
        self.settings = settings or Settings()
        self.genome_size = genome_size
        self.encoder = encoder
        self.archive, self.population, self.offspring = Archive(), Archive(), Archive()
        self.evaluations: dict[str, int] = {"explore": 0}
        self._rng, self._coin = (np.random.default_rng([seed, stream]) for stream in (0, 1))
        self._asked: Array | None = None
        self._in_chunk = 0
        self._chunks, self._next_training, self._gap = 0, 1, 2

    @property
    def phase(self) -> str:
        """What the next genomes are for: "explore", "bootstrap" or "exploit"."""
        return "explore"

    def ask(self) -> Array:
        """Genomes to evaluate: (M, n) at first, then (m M, n)."""
        if self._asked is None:
            s = self.settings
            if len(self.population):
                parents, std = self.population.genomes().repeat(s.children, axis=0), s.sigma
            else:
                parents, std = np.zeros((s.population, self.genome_size)), s.initial_std
            self._asked = np.clip(parents + self._rng.normal(0.0, std, parents.shape), *s.bounds)
        return self._asked

    def tell(self, bd: ArrayLike | None, reward: ArrayLike, aux: ArrayLike | None = None) -> None:
        """Give what came of the genomes that were asked for.

        Args:
            bd: (N, D) behaviour descriptors; not looked at with an encoder.
            reward: (N,) total rewards, 0 or more.
            aux: (N, ...) observations, for an encoder.

        Raises:
            ValueError: Nothing was asked for, something is missing, not finite, or of the wrong length.
        """
        evaluated = self._evaluated(bd, reward, aux)
        self._count(len(evaluated))
        self._explored(evaluated)
        if self._in_chunk >= self.settings.chunk:
            self._end_chunk()

    def _evaluated(self, bd: ArrayLike | None, reward: ArrayLike, aux: ArrayLike | None) -> Archive:
        """The solutions that were asked for, with their descriptors."""
        if self._asked is None:
            raise ValueError("tell came before ask: expected ask first")
        rewards = np.asarray(reward, dtype=np.float64)
        if rewards.shape != (len(self._asked),) or not np.isfinite(rewards).all():
            raise ValueError(f"reward has shape {rewards.shape}: expected ({len(self._asked)},), all finite")
        meta: dict[str, ArrayLike] = {}
        if self.encoder is not None:
            if aux is None:
                raise ValueError("aux is missing: expected the observations, from which the encoder makes descriptors")
            observations = np.asarray(aux)
            bd, surprise = self.encoder.encode(observations)
            meta = {"observation": observations}
            if surprise is not None:
                meta["surprise"] = surprise
        elif bd is None:
            raise ValueError("bd is missing: expected descriptors, as there is no encoder")
        evaluated = Archive()
        evaluated.add(self._asked, bd, rewards, meta)
        self._asked = None
        return evaluated

    def _count(self, number: int) -> None:
        self.evaluations[self.phase] = self.evaluations.get(self.phase, 0) + number
        self._in_chunk += number

    def _explored(self, children: Archive) -> None:
        """One generation: children enter the archive, the most novel of all survive."""
        pool = Archive()
        pool.extend(self.population)
        pool.extend(children)
        reference = np.concatenate([pool.bd(), *(known.bd() for known in self._known() if len(known))])
        worth = novelty(pool.bd(), reference, self.settings.k)
        first = len(self.population)
        if first:
            self.archive.extend(children.take(self._chosen(worth[first:], self._rng)))
        if self._by_surprise(pool):
            worth = pool.meta("surprise")
        self.offspring = children
        self.population = pool.take(np.argsort(-worth, kind="stable")[: self.settings.population])

    def _chosen(self, worth: Array, rng: np.random.Generator) -> NDArray[np.int64]:
        """Rows that enter the archive."""
        number = min(self.settings.archived, len(worth))
        if self.settings.archive_choice == "best":
            return np.argsort(-worth, kind="stable")[:number]
        return rng.choice(len(worth), size=number, replace=False)

    def _known(self) -> list[Archive]:
        """What novelty is measured against, beside parents and children."""
        return [self.archive]

    def _by_surprise(self, pool: Archive) -> bool:
        """A fair coin, where the encoder knows surprise."""
        if self.encoder is None or not pool.has("surprise"):
            return False
        return bool(self._coin.random() < 0.5)

    def _end_chunk(self) -> None:
        self._in_chunk = 0
        self._learn()

    def _learn(self) -> None:
        """Train the encoder after chunks 1, 3, 6, 10, ... of exploration, and describe everything anew."""
        self._chunks += 1
        if self.encoder is None or self._chunks < self._next_training:
            return
        self._next_training += self._gap
        self._gap += 1
        sources = [self.archive, self.population, self.offspring, *self._extra_training()]
        self.encoder.train(np.concatenate([source.meta("observation") for source in sources if len(source)]))
        for stored in self._stored():
            if len(stored):
                described, surprise = self.encoder.encode(stored.meta("observation"))
                stored.set_bd(described)
                if surprise is not None:
                    stored.set_meta("surprise", surprise)

    def _extra_training(self) -> list[Archive]:
        return []

    def _stored(self) -> list[Archive]:
        """Everything that holds descriptors."""
        return [self.archive, self.population, self.offspring]


@dataclass(frozen=True)
class Evaluation:
    """What came of N genomes.

    Attributes:
        reward: (N,) total rewards, 0 or more.
        bd: (N, D) hand-made descriptors, or None.
        observation: (N, ...) what an encoder sees, or None.
        position: (N, P) the truth that coverage is measured by, which a search never sees.
    """

    reward: Array
    bd: Array | None
    observation: NDArray[Any] | None
    position: Array


@dataclass(frozen=True)
class SearchRecord:
    """Everything that was evaluated.

    Attributes:
        search: The search in its last state.
        reward: (E,) rewards, in order of evaluation.
        position: (E, P) true positions.
        evaluations: Phase -> evaluations used in it; they add up to E.
    """

    search: NoveltySearch
    reward: Array
    position: Array
    evaluations: dict[str, int]

    def best_in(self, areas: NDArray[np.bool_]) -> Array:
        """(A,) the best reward among the positions of each area, 0 where none is in it.

        Args:
            areas: (E, A) bool, which positions are in which area.
        """
        best: Array = np.where(areas, self.reward[:, None], 0.0).max(0, initial=0.0)
        return best


def run_search(search: NoveltySearch, evaluate: Callable[[Array], Evaluation], budget: int) -> SearchRecord:
    """Drive a search until its evaluations reach a budget, exceeded by less than one batch.

    Args:
        search: The search.
        evaluate: (N, n) genomes -> what came of them.
        budget: Number of evaluations.
    """
    rewards, positions = [], []
    while sum(search.evaluations.values()) < budget:
        found = evaluate(search.ask())
        search.tell(found.bd, found.reward, found.observation)
        rewards.append(found.reward)
        positions.append(found.position)
    return SearchRecord(search, np.concatenate(rewards), np.concatenate(positions), dict(search.evaluations))
