"""Formulas of linear temporal logic as text, turned into deterministic automata by progression.

Progression rewrites a formula by what one transition tells of it: what is left must hold of the rest. Its results are
finitely many, and they are the states of the automaton. A formula is *co-safe* if, with negations at the propositions,
it has no G and no R: it holds as soon as nothing is left of it. It is *safe* if it has no F and no U: it fails as soon
as nothing can save it. Formulas that are neither, such as G F p, need a Rabin condition: give those as automata.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from guerdon.control.finite_mdp import FiniteMDP
from guerdon.control.formalisms.logic import TemporalLogic

_TOKENS = re.compile(r"\s*(->|[!&|()]|[A-Za-z_]\w*)")
_UNARY = frozenset("XFG")
_BINARY = frozenset("UR")
_WORDS = _UNARY | _BINARY | {"true", "false"}
_MOST_STATES = 10_000


class Node(NamedTuple):
    """A formula: an operator ("p" = a proposition, "!", "&", "|", "X", "U", "R", "true", "false") and its parts."""

    operator: str
    parts: tuple[Any, ...] = ()


_TRUE, _FALSE = Node("true"), Node("false")
Clauses: TypeAlias = frozenset[frozenset[Node]]
"""A disjunction of conjunctions, none of which is part of another."""
_ALL: Clauses = frozenset((frozenset(),))
_NONE: Clauses = frozenset()


def formula(text: str, env: FiniteMDP, propositions: Mapping[str, Any]) -> TemporalLogic:
    """A safe or co-safe formula as an objective.

    Args:
        text: Built from names of propositions, true, false, ! & | ->, X (next), F (eventually), G (always), U (until)
            and R (release), with parentheses. U and R bind closer than & and |, and these closer than ->.
        env: The environment.
        propositions: Name -> states, of which a transition must enter one; or an (S, A, S) bool table.

    Returns:
        The objective: the probability that the transitions of a run satisfy the formula.

    Raises:
        ValueError: The text is no formula, names something unknown, or is neither safe nor co-safe.

    Example:
        >>> from guerdon.control.worlds.xor_chain import xor_chain, xor_policy
        >>> chain = xor_chain()
        >>> one = np.zeros((3, 2, 3), dtype=bool)
        >>> one[:, 1] = True
        >>> differ = formula("(one & X !one) | (!one & X one)", chain, {"one": one})
        >>> round(differ.value(chain, xor_policy(0.5, 0.25)), 3)
        0.5
    """
    parsed = _Parser(text, frozenset(propositions)).parse()
    positive = _negations_inside(parsed, negated=False)
    operators = _operators(positive)
    if "U" in operators and "R" in operators:
        raise ValueError(f"{text!r} is neither safe nor co-safe: give its deterministic automaton to TemporalLogic")
    kinds, letters = _letters(env, propositions)
    names = list(propositions)
    states: dict[Clauses, int] = {_clauses(positive): 0}
    moves: list[list[int]] = []
    for clauses in _growing(states):
        row = []
        for letter in letters:
            left = _progress(clauses, frozenset(name for name, holds in zip(names, letter, strict=True) if holds))
            row.append(states.setdefault(left, len(states)))
        moves.append(row)
        if len(states) > _MOST_STATES:
            raise ValueError(f"{text!r}: the automaton has more than {_MOST_STATES} states")
    table = np.array(moves)[:, kinds]
    # Without U a formula fails by a finite prefix or holds; with it, it holds by one or fails.
    if "U" in operators:
        return TemporalLogic.cosafe(table, [states[_ALL]] if _ALL in states else [])
    return TemporalLogic.safe(table, [states[_NONE]] if _NONE in states else [])


def _growing(states: dict[Clauses, int]) -> Any:
    """The keys of a dictionary in order, those that are added meanwhile included."""
    done = 0
    while done < len(states):
        yield list(states)[done]
        done += 1


def _letters(env: FiniteMDP, propositions: Mapping[str, Any]) -> tuple[Any, Any]:
    """For each transition which letter it is, (S, A, S), and the letters: (N, propositions) bool."""
    shape = (env.states, env.actions, env.states)
    # One column more, so that a formula may do without propositions.
    tables = np.zeros((*shape, len(propositions) + 1), dtype=bool)
    for index, (name, given) in enumerate(propositions.items()):
        if name in _WORDS or not name.isidentifier():
            raise ValueError(f"propositions[{name!r}]: expected a name, and none of {sorted(_WORDS)}")
        values = np.asarray(given)
        if values.dtype == np.bool_ and values.shape == shape:
            tables[..., index] = values
        elif isinstance(given, Sequence) and all(0 <= int(state) < env.states for state in given):
            tables[:, :, [int(state) for state in given], index] = True
        else:
            raise ValueError(f"propositions[{name!r}]: states 0 to {env.states - 1}, or a bool table {shape}")
    letters, kinds = np.unique(tables.reshape(-1, tables.shape[-1]), axis=0, return_inverse=True)
    return np.asarray(kinds).reshape(shape), letters[:, :-1]


def _negations_inside(node: Node, negated: bool) -> Node:
    """The same formula with negations at propositions only, and F, G and -> written by U, R and |."""
    operator, parts = node
    if operator in ("true", "false"):
        return _TRUE if (operator == "true") != negated else _FALSE
    if operator == "p":
        return Node("!", parts) if negated else node
    if operator == "!":
        return _negations_inside(parts[0], not negated)
    if operator == "->":
        return _negations_inside(Node("|", (Node("!", parts[:1]), parts[1])), negated)
    if operator in ("F", "G"):
        end = _TRUE if operator == "F" else _FALSE
        return _negations_inside(Node("U" if operator == "F" else "R", (end, parts[0])), negated)
    swapped = {"&": "|", "|": "&", "U": "R", "R": "U", "X": "X"}
    inside = tuple(_negations_inside(part, negated) for part in parts)
    return Node(swapped[operator] if negated else operator, inside)


def _operators(node: Node) -> set[str]:
    parts = () if node.operator in ("p", "!") else node.parts
    return {node.operator}.union(*(_operators(part) for part in parts))


def _clauses(node: Node) -> Clauses:
    if node.operator == "true":
        return _ALL
    if node.operator == "false":
        return _NONE
    if node.operator == "&":
        return _both(_clauses(node.parts[0]), _clauses(node.parts[1]))
    if node.operator == "|":
        return _either(_clauses(node.parts[0]), _clauses(node.parts[1]))
    return frozenset((frozenset((node,)),))


def _either(one: Clauses, two: Clauses) -> Clauses:
    every = one | two
    return frozenset(clause for clause in every if not any(other < clause for other in every))


def _both(one: Clauses, two: Clauses) -> Clauses:
    return _either(frozenset(first | second for first in one for second in two), _NONE)


def _progress(clauses: Clauses, letter: frozenset[str]) -> Clauses:
    """What must hold of the rest, after a transition of which these propositions hold."""
    found = _NONE
    for clause in clauses:
        left = _ALL
        for node in clause:
            left = _both(left, _after(node, letter))
        found = _either(found, left)
    return found


def _after(node: Node, letter: frozenset[str]) -> Clauses:
    operator, parts = node
    if operator in ("p", "!"):
        return _ALL if (parts[0] in letter) == (operator == "p") else _NONE
    if operator == "X":
        return _clauses(parts[0])
    first, second = (_progress(_clauses(part), letter) for part in parts)
    again = frozenset((frozenset((node,)),))
    if operator == "U":
        return _either(second, _both(first, again))
    return _both(second, _either(first, again))


class _Parser:
    """Recursive descent: -> is weakest, then |, &, then U and R (to the right), then the prefixes."""

    def __init__(self, text: str, names: frozenset[str]) -> None:
        self.text, self.names = text, names
        self.words = _TOKENS.findall(text)
        if "".join(self.words) != "".join(text.split()):
            raise ValueError(f"{text!r}: expected names, parentheses, and the signs ! & | -> X F G U R")
        self.at = 0

    def parse(self) -> Node:
        found = self._implies()
        if self.at < len(self.words):
            raise self._error("the end")
        return found

    def _error(self, expected: str) -> ValueError:
        there = self.words[self.at] if self.at < len(self.words) else "the end"
        return ValueError(f"{self.text!r}: expected {expected}, found {there!r}")

    def _take(self, *words: str) -> str:
        if self.at < len(self.words) and self.words[self.at] in words:
            self.at += 1
            return str(self.words[self.at - 1])
        return ""

    def _implies(self) -> Node:
        left = self._or()
        return Node("->", (left, self._implies())) if self._take("->") else left

    def _or(self) -> Node:
        left = self._and()
        while self._take("|"):
            left = Node("|", (left, self._and()))
        return left

    def _and(self) -> Node:
        left = self._until()
        while self._take("&"):
            left = Node("&", (left, self._until()))
        return left

    def _until(self) -> Node:
        left = self._prefix()
        operator = self._take(*_BINARY)
        return Node(operator, (left, self._until())) if operator else left

    def _prefix(self) -> Node:
        operator = self._take("!", *_UNARY)
        if operator:
            return Node(operator, (self._prefix(),))
        if self._take("("):
            found = self._implies()
            if not self._take(")"):
                raise self._error("')'")
            return found
        constant = self._take("true", "false")
        if constant:
            return Node(constant)
        name = self._take(*self.names)
        if not name:
            raise self._error(f"one of {sorted(self.names)}, true, false, or a formula")
        return Node("p", (name,))
