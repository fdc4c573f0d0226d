"""The reach labs by brute force."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guerdon.tasks.reach import ReachSum, ReachTarget


@pytest.mark.parametrize("digits", [1, 2, 3])
def test_number_of_answers_by_enumeration(digits: int) -> None:
    task = ReachSum(digits=digits, targets=(0, 9 * digits))
    every = ["".join(answer) for answer in itertools.product("0123456789", repeat=digits)]
    for total in range(9 * digits + 1):
        right = [text for text in every if task.verify(text, str(total), {}).reward == 1.0]
        assert right == [text for text in every if sum(map(int, text)) == total]
        assert task.answers(total) == len(right) == task.distinct(right * 2 + ["x", ""], total)
    assert task.answers(-1) == task.answers(9 * digits + 1) == 0


def test_right_demonstrations_are_drawn_evenly() -> None:
    task = ReachSum(digits=2, targets=(3, 3), terms=3)
    found = [item.response for item in task.demonstrations(2000, 0, wrong=0.0)]
    counts = {answer: found.count(answer) for answer in ("03", "12", "21", "30")}
    assert sum(counts.values()) == 2000
    assert all(430 < count < 570 for count in counts.values())


def test_a_prompt_with_one_term_is_the_sum() -> None:
    for problem in ReachSum(terms=1).problems("train", 20, 0):
        assert problem.prompt == f"{problem.target}:"
    for problem in ReachSum(terms=4).problems("train", 20, 0):
        assert sum(map(int, str(problem.prompt).removesuffix(":").split("+"))) == int(problem.target)


def slow_distance(value: int, target: int, operations: list[str], largest: int, most: int) -> int | None:
    """The shortest of all sequences of operations, tried one length after the other."""
    for length in range(most + 1):
        for sequence in itertools.product(operations, repeat=length):
            at = value
            for operation in sequence:
                at = eval(f"{at}{operation}")
                if not 0 <= at <= largest:
                    break
            else:
                if at == target:
                    return length
    return None


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), value=st.integers(0, 40))
def test_distances_by_brute_force(seed: int, value: int) -> None:
    task = ReachTarget(steps=(1, 4), largest=40, limit=6)
    problem = task.problems("train", 1, seed)[0]
    row = problem.columns
    assert row["shortest"] == task.distance(row["from"], row)
    slow = slow_distance(value, row["to"], row["operations"], 40, 5)
    fast = task.distance(value, row)
    assert fast == slow or (slow is None and (fast is None or fast > 5))


@given(seed=st.integers(0, 200))
@settings(max_examples=30, deadline=None)
def test_solutions_are_shortest_and_come_nearer_with_every_line(seed: int) -> None:
    task = ReachTarget()
    problem = task.problems("test", 1, seed)[0]
    for generator in (None, random.Random(seed)):
        response = task.solution(problem.columns, generator)
        assert task.verify(response, problem.target, problem.columns).reward == 1.0
        number = problem.columns["shortest"]
        assert task.distances(response, problem.columns) == list(range(number - 1, -1, -1))


def test_lines_have_to_be_allowed_and_true() -> None:
    task = ReachTarget()
    row = {"from": 7, "to": 20, "operations": ["+3", "*2", "-9"]}
    assert task.step_labels("+3=10\n*2=20", row) == [True, True]
    assert task.step_labels("+4=11\n*2=22", row) == [False, True]
    assert task.step_labels("-9=-2\n+3=1", row) == [False, False]
    assert task.step_labels("*2=14\n*2=28\n*2=56\n*2=112", row) == [True, True, True, False]
    assert task.step_labels("+3=010\nx\n*2=20", row) == [False, False, False]
    assert task.distances("+3=10\n+3=12", row) == [1, None]
    assert task.verify("+3=10\n*2=21", "20", row).reward == 0.0
    assert task.verify("", "20", row).reward == 0.0
    long = "\n".join(["+3=10", "*2=20", "-9=11", "+3=14", "+3=17", "+3=20", "+3=23"])
    assert all(task.step_labels(long, row))
    assert task.verify(long, "23", row).reason == "7 steps: expected at most 6"
    with pytest.raises(ValueError, match="cannot be reached"):
        task.solution({"from": 1, "to": 0, "operations": ["+1"]})
