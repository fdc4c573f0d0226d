"""Demonstrations for a warm start: sound, flawed but right, and wrong."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from guerdon.tasks.chain import Chain
    from guerdon.tasks.task import Problem

_TRIES = 40


@dataclass(frozen=True)
class Demonstration:
    """A response to imitate.

    Attributes:
        problem: The problem.
        response: The response, without an end-of-sequence token.
        kind: "sound" (every step valid, right answer), "flawed" (some invalid step, right answer) or "wrong" (some
            invalid step, wrong answer).
    """

    problem: Problem
    response: str
    kind: str


def demonstrate(task: Chain, problem: Problem, kind: str, flaws: int, generator: random.Random) -> Demonstration:
    """Write a demonstration of a kind for a problem of the chain lab.

    Corrupted lines hold a random wrong value, and the lines after them go on from what was written. If the answer
    that follows does not suit the kind, another corruption is tried; where none suits, flawed demonstrations return
    to the true values after the corrupted line, and wrong ones get another answer line.

    Args:
        task: The chain lab.
        problem: One of its problems.
        kind: "sound", "flawed" or "wrong".
        flaws: Number of corrupted values.
        generator: Source of randomness.
    """
    row, target = problem.columns, int(problem.target)
    if kind == "sound":
        return Demonstration(problem, task.solution(row), kind)
    for _ in range(_TRIES):
        values = _corrupted(task, row, flaws, generator)
        if (task.answer(values[-1]) == target) == (kind == "flawed"):
            return Demonstration(problem, task.write(values, task.answer(values[-1])), kind)
    if kind == "flawed":
        return Demonstration(problem, task.write(_corrupted(task, row, flaws, generator, returns=True), target), kind)
    values = _corrupted(task, row, flaws, generator)
    return Demonstration(problem, task.write(values, _other_answer(task, target, generator)), kind)


def careless(task: Chain, problem: Problem, error_rate: float, generator: random.Random) -> str:
    """A response whose every line is invalid with some probability, and else follows from the line before.

    Args:
        task: The chain lab.
        problem: One of its problems.
        error_rate: Probability of an invalid line.
        generator: Source of randomness.
    """
    values: list[int] = []
    for index in range(len(problem.columns["operands"])):
        follows = task.advance(problem.columns, index, values[-1] if values else None)
        wrong = generator.random() < error_rate
        values.append(_other_value(task.modulus, follows, follows, generator) if wrong else follows)
    answer = task.answer(values[-1])
    wrong = generator.random() < error_rate
    return task.write(values, _other_answer(task, answer, generator) if wrong else answer)


def _corrupted(
    task: Chain, row: Mapping[str, Any], flaws: int, generator: random.Random, *, returns: bool = False
) -> list[int]:
    truth = task.values(row)
    wrong_lines = set(generator.sample(range(len(truth)), flaws))
    values: list[int] = []
    for index, true_value in enumerate(truth):
        follows = task.advance(row, index, values[-1] if values else None)
        if index in wrong_lines:
            values.append(_other_value(task.modulus, follows, true_value, generator))
        else:
            values.append(true_value if returns else follows)
    return values


def _other_value(modulus: int | None, follows: int, true_value: int, generator: random.Random) -> int:
    """A random value that does not follow, nor is true by chance; without a modulus one up to 9 away."""
    choices = range(follows - 9, follows + 10) if modulus is None else range(modulus)
    invalid = [value for value in choices if value != follows]
    # With a modulus of 2 the only value that does not follow may be true.
    return generator.choice([value for value in invalid if value != true_value] or invalid)


def _other_answer(task: Chain, target: int, generator: random.Random) -> int:
    if task.answer_classes is not None:
        return generator.choice([answer for answer in range(task.answer_classes) if answer != target])
    return _other_value(None, target, target, generator)
