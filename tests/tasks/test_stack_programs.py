"""The stack machine against another one, and all programs by enumeration."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon.select import optimised_degraded_pairs
from guerdon.tasks.stack_programs import DIMENSIONS, FILLER, INSTRUCTIONS, StackPrograms, run

# What each instruction makes of the top of the stack, as (numbers it takes, what it puts there).
TABLE = {
    "a": (2, lambda x, y: [x + y]),
    "m": (2, lambda x, y: [x * y]),
    "u": (2, lambda x, y: [x - y]),
    "s": (2, lambda x, y: [y, x]),
    "o": (2, lambda x, y: [x, y, x]),
    "d": (1, lambda x: [x, x]),
    "p": (1, lambda x: []),
    "i": (1, lambda x: [x + 1]),
    "t": (1, lambda x: [2 * x]),
    "n": (1, lambda x: [-x]),
}


def slow_run(program: str, inputs: list[int], modulus: int) -> int | None:
    stack = list(inputs)
    for name in program:
        takes, does = TABLE[name]
        if len(stack) < takes:
            return None
        at = len(stack) - takes
        stack = stack[:at] + does(*stack[at:])  # type: ignore[operator]
    return stack[-1] % modulus if stack else None


@given(
    program=st.text(alphabet="".join(INSTRUCTIONS), max_size=7),
    inputs=st.lists(st.integers(0, 200), min_size=0, max_size=3),
    modulus=st.sampled_from([2, 10, 100]),
)
def test_programs_run_as_on_another_machine(program: str, inputs: list[int], modulus: int) -> None:
    assert run(program, inputs, modulus) == slow_run(program, inputs, modulus)


def test_every_instruction_is_described_and_others_fail() -> None:
    assert set(TABLE) == set(INSTRUCTIONS)
    assert run("z", [1, 2]) is None
    assert run("pp", [1, 2]) is None


def test_solutions_are_the_programs_that_are_verified() -> None:
    task = StackPrograms(instructions="amsdi")
    for problem in task.problems("test", 5, 0):
        row = problem.columns
        every = ["".join(letters) for letters in itertools.product("amsdi", repeat=3)]
        plan = row["program"].upper()
        right = [text for text in every if task.verify(f"{plan}\n={text}", "", row).reward == 1.0]
        assert right == task.solutions(row)
        assert row["program"] in right
        for text in every:
            tests = [*row["shown"], *row["hidden"]]
            assert (text in right) == all(slow_run(text, test[:2], 100) == test[2] for test in tests)


def test_hidden_tests_count_and_shown_ones_alone_do_not_suffice() -> None:
    task = StackPrograms(length=1, instructions="ait")
    row = {"program": "a", "shown": [[0, 1, 1], [1, 2, 3]], "hidden": [[5, 5, 10], [2, 9, 11]]}
    assert task.passed("A\n=a", row) == (2, 2)
    assert task.passed("A\n=i", row) == (1, 0)
    assert task.verify("T\n=t", "a", row).reason == "1 of 4 tests passed"
    shown_only = {"program": "a", "shown": [[2, 2, 4]], "hidden": [[5, 1, 6]]}
    assert task.passed("T\n=t", shown_only) == (1, 0)
    assert task.verify("T\n=t", "a", shown_only).reward == 0.0


def test_plans_are_judged_apart_from_programs() -> None:
    task = StackPrograms(length=2)
    row = {"program": "at", "shown": [[3, 4, 14]], "hidden": [[5, 1, 12]]}
    assert task.step_labels("A..T.\n=at", row) == [True, True]
    assert task.step_labels("AI\n=at\n=at", row) == [False, True, False]
    assert task.agreement("AI\n=at") == 0.5
    assert task.agreement("A\n=at") == 0.5
    assert task.agreement("=at") != task.agreement("=at")
    assert task.filler_rate("A..T\n=at") == 0.5
    assert task.thinking("A..T\n=at") == "A..T"
    for malformed in ("=at", "AT=at", "AT\nat", "AT\n=at\n.", "at\n=at", "..\n=at", "AT\n="):
        assert not task.well_formed(malformed)
        assert task.verify(malformed, "at", row).reward == 0.0


def test_versions_of_a_plan_are_better_and_worse() -> None:
    task = StackPrograms()
    generator = random.Random(0)
    fillers = 0
    for problem in task.problems("train", 200, 0):
        right = problem.columns["program"].upper()
        base, better, worse = task.plan_versions(problem, generator, filler_bias=0.5)
        assert base != right
        assert tuple(better) == tuple(worse) == DIMENSIONS
        assert all(text.replace(FILLER, "") == right for text in better.values())
        assert all(FILLER not in text and text != right for text in worse.values())
        assert len(worse["completeness"]) == 2
        assert sorted(worse["order"]) == sorted(base)
        fillers += better["order"].count(FILLER)
        assert all(pair.chosen != pair.rejected for pair in optimised_degraded_pairs(base, better, worse))
    assert fillers / 600 == pytest.approx(0.5, abs=0.08)


def test_a_wrong_demonstration_fails_even_where_most_programs_pass() -> None:
    task = StackPrograms(length=1, instructions="ad", shown=1, hidden=0)
    found = task.demonstrations(100, 0, corruption=0.0, wrong=1.0)
    for item in found:
        row = item.problem.columns
        failing = len(task.solutions(row)) < 2
        assert (task.verify(item.response, "", row).reward == 0.0) == failing
