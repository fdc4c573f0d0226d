"""Formulas as text: their automata against the meaning of the formula on every trajectory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guerdon.control.formalisms import (
    Formalism,
    Trajectory,
    TrajectoryFunction,
    always,
    embed,
    eventually,
    formula,
    next_is,
)
from guerdon.control.formalisms.random_objectives import random_environment, random_episodic, random_policies
from guerdon.control.formalisms.trajectories import absorbing_states
from guerdon.control.formalisms.witnesses import detour, detour_policy
from guerdon.control.worlds.xor_chain import xor_chain, xor_machine, xor_policy

Tree = tuple[Any, ...]
ATOMS = st.sampled_from([("p", "a"), ("p", "b"), ("true",), ("false",)])


def trees(operators: str) -> st.SearchStrategy[Tree]:
    """Random formulas with negations at propositions only."""
    leaves = ATOMS | ATOMS.map(lambda atom: ("!", atom))
    return st.recursive(
        leaves,
        lambda inner: (
            st.tuples(st.sampled_from([each for each in operators if each in "XFG"]), inner)
            | st.tuples(st.sampled_from([each for each in operators if each not in "XFG"]), inner, inner)
        ),
        max_leaves=6,
    )


def text(tree: Tree) -> str:
    if tree[0] == "p":
        return str(tree[1])
    if tree[0] in ("true", "false"):
        return str(tree[0])
    if len(tree) == 2:
        return f"{tree[0]} ({text(tree[1])})"
    return f"({text(tree[1])}) {tree[0]} ({text(tree[2])})"


def holds(tree: Tree, letters: list[set[str]], at: int = 0) -> bool:
    """The meaning of a formula on letters of which the last repeats for ever."""
    last = len(letters) - 1
    operator = tree[0]
    if operator in ("true", "false"):
        return bool(operator == "true")
    if operator == "p":
        return tree[1] in letters[at]
    if operator == "!":
        return not holds(tree[1], letters, at)
    if operator == "X":
        return holds(tree[1], letters, min(at + 1, last))
    later = range(at, last + 1)
    if operator == "F":
        return any(holds(tree[1], letters, time) for time in later)
    if operator == "G":
        return all(holds(tree[1], letters, time) for time in later)
    if operator == "&":
        return holds(tree[1], letters, at) and holds(tree[2], letters, at)
    if operator == "|":
        return holds(tree[1], letters, at) or holds(tree[2], letters, at)
    if operator == "->":
        return not holds(tree[1], letters, at) or holds(tree[2], letters, at)
    if operator == "U":
        return any(
            holds(tree[2], letters, time) and all(holds(tree[1], letters, before) for before in range(at, time))
            for time in later
        )
    # Release: the second holds up to and including the first time of the first.
    return not any(
        not holds(tree[2], letters, time) and not any(holds(tree[1], letters, before) for before in range(at, time))
        for time in later
    )


def check(tree: Tree, seed: int) -> None:
    generator = np.random.default_rng(seed)
    env = random_episodic(generator)
    tables = {name: generator.random((7, 2, 7)) < 0.5 for name in "ab"}
    ends = np.flatnonzero(absorbing_states(env))
    for table in tables.values():
        table[ends] = table[ends, :1]
    spec = formula(text(tree), env, tables)

    def meaning(trajectory: Trajectory) -> float:
        steps = [*trajectory.steps, (trajectory.end, 0, trajectory.end)]
        return float(holds(tree, [{name for name in "ab" if tables[name][step]} for step in steps]))

    slow = TrajectoryFunction(meaning)
    for pi in random_policies(env, 3, generator):
        assert spec.value(env, pi) == pytest.approx(slow.value(env, pi), abs=1e-9)
    stated = embed(spec, Formalism.FTR, env)
    assert isinstance(stated, TrajectoryFunction)
    np.testing.assert_array_equal(stated.values(env), slow.values(env))


@settings(max_examples=60, deadline=None)
@given(trees("XFU&|"), st.integers(0, 1000))
def test_co_safe_formulas_mean_what_they_say(tree: Tree, seed: int) -> None:
    check(tree, seed)


@settings(max_examples=60, deadline=None)
@given(trees("XGR&|"), st.integers(0, 1000))
def test_safe_formulas_mean_what_they_say(tree: Tree, seed: int) -> None:
    check(tree, seed)


@pytest.mark.parametrize(
    "tree",
    [
        ("!", ("F", ("p", "a"))),
        ("!", ("U", ("p", "a"), ("p", "b"))),
        ("->", ("F", ("p", "a")), ("G", ("p", "b"))),
        ("!", ("->", ("p", "a"), ("X", ("!", ("p", "b"))))),
        ("!", ("R", ("p", "a"), ("X", ("p", "b")))),
    ],
)
def test_negations_are_carried_inside(tree: Tree) -> None:
    for seed in range(5):
        check(tree, seed)


def test_the_builders_are_formulas() -> None:
    env = random_environment(np.random.default_rng(0))
    for built, words in ((eventually, "F p"), (always, "G p"), (next_is, "p")):
        spec, written = built(env, [1, 2]), formula(words, env, {"p": [1, 2]})
        for pi in random_policies(env, 5, np.random.default_rng(1)):
            assert written.value(env, pi) == pytest.approx(spec.value(env, pi), abs=1e-12)


def test_a_formula_orders_policies_as_a_machine_does() -> None:
    chain = xor_chain()
    one = np.zeros((3, 2, 3), dtype=bool)
    one[:, 1] = True
    differ = formula("(one & X !one) | (!one & X one)", chain, {"one": one})
    for first, second in ((0, 0), (0, 1), (0.3, 0.8)):
        pi = xor_policy(first, second)
        assert differ.value(chain, pi) == pytest.approx(xor_machine(0.5).value(chain, pi) / 0.5)


def test_until_on_an_environment_without_end() -> None:
    env = detour()
    spec = formula("wait U (middle & X good)", env, {"wait": [0], "middle": [1], "good": [2]})
    assert spec.value(env, detour_policy(0.2, 0.7)) == pytest.approx(0.7)
    assert spec.value(env, detour_policy(0.0, 0.7)) == 0
    safe = formula("good R !bad", env, {"good": [2], "bad": [3]})
    assert safe.value(env, detour_policy(0.2, 0.7)) == pytest.approx(0.7)
    assert safe.value(env, detour_policy(0.0, 0.7)) == pytest.approx(1)


def test_precedence() -> None:
    env = random_environment(np.random.default_rng(0))
    names = {"a": [0], "b": [1, 2]}
    for short, whole in (
        ("!a & b | a", "((!a) & b) | a"),
        ("a -> b -> X a", "a -> (b -> (X a))"),
        ("a U b & X b", "(a U b) & (X b)"),
        ("X a U b", "(X a) U b"),
        ("a U b U X a", "a U (b U (X a))"),
    ):
        one, two = formula(short, env, names), formula(whole, env, names)
        np.testing.assert_array_equal(one.moves, two.moves)
        assert one.pairs == two.pairs


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("G F a", "neither safe nor co-safe"),
        ("(F a) & (G b)", "neither safe nor co-safe"),
        ("a &", "expected one of"),
        ("(a | b", r"expected '\)', found 'the end'"),
        ("a b", "expected the end, found 'b'"),
        ("c", "found 'c'"),
        ("a + b", "the signs"),
        ("", "found 'the end'"),
    ],
)
def test_what_is_no_formula_is_refused(words: str, message: str) -> None:
    env = random_environment(np.random.default_rng(0))
    with pytest.raises(ValueError, match=message):
        formula(words, env, {"a": [0], "b": [1]})


def test_propositions_are_states_or_tables() -> None:
    env = random_environment(np.random.default_rng(0))
    for bad in ([9], np.zeros((2, 2), dtype=bool), 3):
        with pytest.raises(ValueError, match=r"propositions\['a'\]"):
            formula("F a", env, {"a": bad})
    for name in ("X", "true", "a b"):
        with pytest.raises(ValueError, match="expected a name"):
            formula("true", env, {name: [0]})
    assert formula("true", env, {}).value(env, np.full((4, 2), 0.5)) == 1
    assert formula("false", env, {}).value(env, np.full((4, 2), 0.5)) == 0
