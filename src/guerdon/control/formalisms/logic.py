"""Linear temporal logic (LTL) through deterministic automata: the probability that a formula holds.

A formula is given as a deterministic automaton that reads the transitions of a trajectory. With Rabin acceptance such
automata cover all of LTL; those of a safe formula reject by reaching a bad state, of a co-safe one accept by reaching
a good one. Under a stationary policy the product of environment and automaton is a Markov chain, and the formula holds
with the probability of ending in an accepting recurrent class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from guerdon.control.finite_mdp import FiniteMDP
from guerdon.control.formalisms.chains import long_run
from guerdon.control.formalisms.diagram import Formalism
from guerdon.control.formalisms.objective import ValueObjective, dense, policy_of
from guerdon.control.formalisms.reward_machine import check_moves, product_chain


@dataclass(frozen=True, eq=False)
class TemporalLogic(ValueObjective):
    """The probability that a trajectory is accepted.

    Attributes:
        moves: (Q, S, A, S) integers, the next automaton state; or (Q, S, A, S, Q) bool with one successor each.
        pairs: Rabin pairs (finitely, infinitely): a trajectory is accepted if for some pair it visits states of the
            first finitely often and some state of the second infinitely often.
        start: The first automaton state.

    Raises:
        ValueError: The automaton is not deterministic, or a state is out of range.
    """

    moves: Any
    pairs: Sequence[tuple[Sequence[int], Sequence[int]]]
    start: int = 0
    formalism: ClassVar[Formalism] = Formalism.LTL

    def __post_init__(self) -> None:
        object.__setattr__(self, "moves", check_moves("moves", self.moves))
        size = len(self.moves)
        named = [self.start, *(state for pair in self.pairs for part in pair for state in part)]
        if any(not 0 <= state < size for state in named):
            raise ValueError(f"automaton states {sorted(set(named))}: expected 0 to {size - 1}")

    @classmethod
    def safe(cls, moves: Any, bad: Sequence[int], start: int = 0) -> TemporalLogic:
        """A safe formula: never reach a bad automaton state."""
        return cls(_kept(moves, bad), [(tuple(bad), tuple(range(len(np.asarray(moves)))))], start)

    @classmethod
    def cosafe(cls, moves: Any, good: Sequence[int], start: int = 0) -> TemporalLogic:
        """A co-safe formula: reach a good automaton state."""
        return cls(_kept(moves, good), [((), tuple(good))], start)

    def value(self, env: FiniteMDP, pi: ArrayLike) -> float:
        """The probability, in [0, 1]."""
        policy, tau = policy_of(env, pi), dense(env)
        if self.moves.shape[1:] != tau.shape:
            raise ValueError(f"moves: shape (Q, {', '.join(map(str, tau.shape))}) was expected, got {self.moves.shape}")
        found = long_run(*product_chain(tau, policy, self.moves, self.start, env.mu0))
        held = [self.accepts(set((members % len(self.moves)).tolist())) for members in found.classes]
        return float(np.clip(found.reach @ np.array(held, dtype=np.float64), 0, 1))

    def accepts(self, infinitely: set[int]) -> bool:
        """Whether a trajectory that visits exactly these automaton states infinitely often is accepted."""
        return any(not infinitely & set(never) and bool(infinitely & set(often)) for never, often in self.pairs)


def eventually(env: FiniteMDP, states: Sequence[int]) -> TemporalLogic:
    """F states: some state of the set is entered at some time (being there at the start does not count)."""
    return TemporalLogic.cosafe(_entering(env, states), good=[1])


def always(env: FiniteMDP, states: Sequence[int]) -> TemporalLogic:
    """G states: every state that is entered is of the set."""
    others = [state for state in range(env.states) if state not in set(states)]
    return TemporalLogic.safe(_entering(env, others), bad=[1])


def always_eventually(env: FiniteMDP, states: Sequence[int]) -> TemporalLogic:
    """G F states: the set is entered again and again."""
    return TemporalLogic(_entering(env, states), [((), (1,))])


def eventually_always(env: FiniteMDP, states: Sequence[int]) -> TemporalLogic:
    """F G states: from some time on all is within the set."""
    return TemporalLogic(_entering(env, states), [((0,), (1,))])


def next_is(env: FiniteMDP, states: Sequence[int]) -> TemporalLogic:
    """X states: the first transition enters the set."""
    moves = np.zeros((3, env.states, env.actions, env.states), dtype=np.int64)
    moves[0] = 2
    moves[0, :, :, list(states)] = 1
    moves[1], moves[2] = 1, 2
    return TemporalLogic.cosafe(moves, good=[1])


def _entering(env: FiniteMDP, states: Sequence[int]) -> Any:
    """Automaton of two states: 1 after a transition into the set, else 0."""
    moves = np.zeros((2, env.states, env.actions, env.states), dtype=np.int64)
    moves[:, :, :, list(states)] = 1
    return moves


def _kept(moves: Any, states: Sequence[int]) -> Any:
    """The moves with some states never left."""
    found = check_moves("moves", moves).copy()
    for state in states:
        if not 0 <= state < len(found):
            raise ValueError(f"automaton state {state}: expected 0 to {len(found) - 1}")
        found[state] = state
    return found
