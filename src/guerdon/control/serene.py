"""SERENE: novelty search that exploits, by local searches, the rewards that it comes across (arXiv 2102.03140).

With an encoder (`guerdon.control.learned_descriptors`) it is STAX (arXiv 2111.01919).

Where this departs from the official code: an agent is never stored twice in the archive of rewards, so that an ancestor
whose emitter stops is not added again; a lone entry of that archive has novelty 0 until there is a second; an emitter
once started is always given its first generations, also past the end of a chunk.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from guerdon.control.archives import Archive, pareto_first_front
from guerdon.control.emitters import FitnessEmitter, emitter_sigma
from guerdon.control.mdp import Array
from guerdon.control.novelty import novelty
from guerdon.control.search_methods import Encoder, NoveltySearch, Settings


@dataclass(eq=False)
class _Running:
    """An emitter with what belongs to it."""

    emitter: FitnessEmitter
    ancestor: int
    """Row in the archive of rewards."""
    most_novel: float
    buffer: Archive
    improvement: float = 0.0


class Serene(NoveltySearch):
    """Novelty search that starts local searches for reward where it has come across some.

    Chunks of evaluations are handed out in turn. Exploring is novelty search. While exploiting, emitters start around
    rewarded agents, the most novel first; those that improve are kept. Which of them runs on is drawn from the
    first Pareto front of novelty and improvement. Without any reward it is novelty search, evaluation by evaluation.

    Attributes:
        reward_archive: Every rewarded agent of the exploration, and the best of the emitters; never pruned.
        candidates: Rows of it around which no emitter was started yet.
    """

    def __init__(
        self,
        genome_size: int,
        settings: Settings | None = None,
        *,
        seed: int = 0,
        encoder: Encoder | None = None,
        emitters: bool = True,
    ) -> None:
        """Start a search.

        Args:
            genome_size: n, genes of a solution.
            settings: The hyper-parameters.
            seed: Of every random choice.
            encoder: As in `NoveltySearch`.
            emitters: Whether rewards are exploited at all; without, this is `NoveltySearch`.
        """
        super().__init__(genome_size, settings, seed=seed, encoder=encoder)
        self.evaluations = {"explore": 0, "bootstrap": 0, "exploit": 0}
        self.reward_archive = Archive()
        self.candidates: list[int] = []
        self._with_emitters = emitters
        self._running: list[_Running] = []
        self._current: _Running | None = None
        self._exploiting = False
        self._local = np.random.default_rng([seed, 2])

    @property
    def phase(self) -> str:
        """What the next genomes are for: "explore", "bootstrap" or "exploit"."""
        if not self._exploiting:
            return "explore"
        return "exploit" if self._current in self._running else "bootstrap"

    @property
    def emitters(self) -> tuple[FitnessEmitter, ...]:
        """The emitters that have improved and have not stopped."""
        return tuple(running.emitter for running in self._running)

    def ask(self) -> Array:
        """Genomes to evaluate: a generation of the exploration, or of one emitter."""
        if self._exploiting and self._current is not None:
            self._asked = self._current.emitter.ask()
            return self._asked
        return super().ask()

    def tell(self, bd: ArrayLike | None, reward: ArrayLike, aux: ArrayLike | None = None) -> None:
        """Give what came of the genomes that were asked for; see `NoveltySearch.tell`."""
        if not self._exploiting:
            super().tell(bd, reward, aux)
            return
        evaluated = self._evaluated(bd, reward, aux)
        self._count(len(evaluated))
        self._emitted(evaluated)
        self._next_emitter()

    def _explored(self, children: Archive) -> None:
        super()._explored(children)
        if self._with_emitters:
            found = np.flatnonzero(children.rewards() > 0)
            self.candidates += range(len(self.reward_archive), len(self.reward_archive) + len(found))
            self.reward_archive.extend(children.take(found))

    def _known(self) -> list[Archive]:
        return [self.archive, self.reward_archive]

    def _extra_training(self) -> list[Archive]:
        return [self.reward_archive]

    def _stored(self) -> list[Archive]:
        kept = [running.buffer for running in self._running] + [running.emitter.members for running in self._running]
        return [*super()._stored(), self.reward_archive, *kept]

    def _end_chunk(self) -> None:
        super()._end_chunk()
        if self._with_emitters:
            self._exploiting = True
            self._next_emitter()

    def _next_emitter(self) -> None:
        """Decide what the rest of the exploiting chunk is used for; without any use exploration goes on."""
        chunk = self.settings.chunk
        current = self._current
        if current is not None:
            started = len(current.emitter.values)
            if current not in self._running:
                if started <= self.settings.bootstrap:
                    return
            elif self._in_chunk < chunk and not current.emitter.stopped:
                return
        if current is not None:
            self._leave(current)
        self._current = None
        if self._in_chunk < chunk * 2 / 3 and self.candidates:
            self._current = self._start(self._most_novel_candidate())
        elif self._in_chunk < chunk and self._running:
            self._current = self._running[self._pick()]
        if self._current is None:
            self._exploiting, self._in_chunk = False, 0

    def _leave(self, running: _Running) -> None:
        """An emitter pauses, turns out to be of use or not, or stops."""
        running.improvement = running.emitter.improvement
        if running not in self._running and running.improvement > 0:
            self._running.append(running)
        if running in self._running and running.emitter.stopped:
            self._running.remove(running)
            if len(running.buffer):
                rows = self._chosen(running.buffer.meta("novelty"), self._local)
                self.archive.extend(running.buffer.take(rows).without_meta("novelty"))

    def _most_novel_candidate(self) -> int:
        worth = self._novelty_among_rewards(self.candidates)
        return self.candidates.pop(int(np.argmax(worth)))

    def _pick(self) -> int:
        """One of the first front of novelty and improvement."""
        worth = self._novelty_among_rewards([running.ancestor for running in self._running])
        front = pareto_first_front(worth, [running.improvement for running in self._running])
        return int(self._local.choice(front))

    def _novelty_among_rewards(self, rows: list[int]) -> Array:
        known = self.reward_archive.bd()
        return novelty(known[rows], known, self.settings.k) if len(known) > 1 else np.zeros(len(rows))

    def _start(self, row: int) -> _Running:
        s = self.settings
        genome = self.reward_archive.genomes()[row]
        neighbours = np.concatenate((self.population.genomes(), self.offspring.genomes()))
        sigma = emitter_sigma(genome, neighbours)
        emitter = FitnessEmitter(
            genome,
            sigma,
            s.emitter_size,
            children=s.children,
            bounds=s.bounds,
            max_steps=s.emitter_steps,
            rng=self._local,
        )
        worth = novelty(self.reward_archive.bd()[[row]], self._reference(), s.k)
        return _Running(emitter, row, float(worth[0]), Archive())

    def _reference(self) -> Array:
        stored = [self.population, self.offspring, *self._known()]
        return np.concatenate([known.bd() for known in stored if len(known)])

    def _emitted(self, evaluated: Archive) -> None:
        """One generation of an emitter: its rewards are deposited, its novel members buffered."""
        running = self._current
        assert running is not None
        meta: dict[str, ArrayLike] = {name: evaluated.meta(name) for name in evaluated.meta_names()}
        running.emitter.tell(evaluated.bd(), evaluated.rewards(), meta)
        worth = novelty(evaluated.bd(), self._reference(), self.settings.k)
        novel = np.flatnonzero(worth > running.most_novel)
        if len(novel):
            buffered = evaluated.take(novel)
            buffered.set_meta("novelty", worth[novel])
            running.buffer.extend(buffered)
            running.most_novel = float(worth[novel].max())
        self.reward_archive.extend(running.emitter.deposits())
