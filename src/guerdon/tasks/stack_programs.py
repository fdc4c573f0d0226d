r"""The stack program lab: a plan in words, then a short program, tested on inputs that were not shown.

Programs run on a stack that starts with two numbers, the second on top; the number on top at the end is the output. The
prompt shows some inputs with their outputs, others are hidden. A response is a line of plan tokens, one an instruction,
among which filler tokens may stand, and the program:

    prompt    3,4>14;5,2>14:     response  A.T..I
                                           =ati

Plan and program are written in different letters, so that a plan can be judged without the program, and it can be seen
whether the program does what was planned.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from guerdon.score.verdict import Verdict
from guerdon.tasks.demonstrations import Demonstration
from guerdon.tasks.drawing import (
    demonstrated,
    draw_problems,
    expect_probabilities,
    lines,
)
from guerdon.tasks.task import Problem, Split

INSTRUCTIONS: dict[str, str] = {
    "a": "add the two numbers on top",
    "m": "multiply the two numbers on top",
    "u": "take the number on top from the one below",
    "s": "swap the two numbers on top",
    "d": "double the stack: push the number on top again",
    "p": "pop the number on top",
    "o": "push the number below the top",
    "i": "increase the number on top by one",
    "t": "multiply the number on top by two",
    "n": "negate the number on top",
}
"""Instruction -> what it does. Numbers are taken modulo the lab's modulus."""

FILLER = "."
PROGRAM_MARK = "="
DIMENSIONS = ("instruction", "completeness", "order")
"""In what a plan can be worse: another instruction, one that is missing, or a shuffled order."""

_TRIES = 40


def run(program: str, inputs: Sequence[int], modulus: int = 100) -> int | None:
    """Run a program.

    Args:
        program: Instructions, one letter each.
        inputs: The stack at the start, the last on top.
        modulus: Numbers are taken modulo this.

    Returns:
        The number on top at the end; None if an instruction is unknown or finds too few numbers, or the stack is empty.

    Example:
        >>> run("at", [3, 4]), run("su", [3, 4]), run("aa", [3, 4])
        (14, 1, None)
    """
    stack = [number % modulus for number in inputs]
    for instruction in program:
        needed = 2 if instruction in "amuso" else 1
        if instruction not in INSTRUCTIONS or len(stack) < needed:
            return None
        top = stack.pop()
        if instruction in "amu":
            below = stack.pop()
            top = {"a": below + top, "m": below * top, "u": below - top}[instruction]
            stack.append(top % modulus)
        elif instruction == "s":
            stack[-1], top = top, stack[-1]
            stack.append(top)
        elif instruction == "d":
            stack += [top, top]
        elif instruction == "o":
            stack += [top, stack[-1]]
        elif instruction != "p":
            stack.append({"i": top + 1, "t": top * 2, "n": -top}[instruction] % modulus)
    return stack[-1] if stack else None


@dataclass(frozen=True)
class StackPrograms:
    r"""Programs of a few instructions, from examples.

    Attributes:
        length: Instructions of a program.
        shown: Examples in the prompt.
        hidden: Further tests.
        instructions: The instructions that may be used.
        largest: Inputs are 0 to this.
        modulus: Numbers are taken modulo this.
        filler: Mean number of filler tokens after each plan token in demonstrations.

    Raises:
        ValueError: A setting is out of range.

    Example:
        >>> task = StackPrograms(length=2)
        >>> row = {"program": "at", "shown": [[3, 4, 14]], "hidden": [[5, 1, 12]]}
        >>> [task.verify(text, "", row).reward for text in ("AT\n=at", "A.T\n=it")]
        [1.0, 0.0]
        >>> task.agreement("A.I\n=at"), task.passed("=ad", row)
        (0.5, (0, 0))
    """

    length: int = 3
    shown: int = 2
    hidden: int = 2
    instructions: str = "amusdpoitn"
    largest: int = 9
    modulus: int = 100
    filler: float = 0.3

    name: ClassVar[str] = "stack-programs"
    step_delimiter: ClassVar[str] = "\n"

    def __post_init__(self) -> None:
        if not 1 <= self.length <= 6 or self.shown < 1 or self.hidden < 0:
            raise ValueError(
                f"length is {self.length}, shown is {self.shown}, hidden is {self.hidden}: expected 1 to 6, at least "
                "1, and 0 or more"
            )
        unknown = set(self.instructions) - set(INSTRUCTIONS)
        if not self.instructions or unknown or len(set(self.instructions)) != len(self.instructions):
            raise ValueError(f"instructions is {self.instructions!r}: expected some of {''.join(INSTRUCTIONS)!r}")
        if self.modulus < 2 or (self.largest + 1) ** 2 < self.shown + self.hidden or not 0.0 <= self.filler <= 3.0:
            raise ValueError(
                f"modulus is {self.modulus}, largest is {self.largest}, filler is {self.filler}: expected at least 2, "
                "enough for as many inputs, and 0 to 3"
            )

    @property
    def alphabet(self) -> str:
        """Every character that prompts and responses are written in."""
        return "0123456789,>;:\n" + FILLER + PROGRAM_MARK + self.instructions + self.instructions.upper()

    # --- problems ---------------------------------------------------------------------------------------------------

    def problems(self, split: Split, n: int, seed: int) -> list[Problem]:
        """Draw problems."""
        return draw_problems(self, self.name, split, n, seed, self._draw)

    def _draw(self, generator: random.Random) -> tuple[str, str, dict[str, Any]]:
        while True:
            program = "".join(generator.choices(self.instructions, k=self.length))
            inputs: list[tuple[int, int]] = []
            while len(inputs) < self.shown + self.hidden:
                pair = (generator.randint(0, self.largest), generator.randint(0, self.largest))
                inputs += [pair] if pair not in inputs else []
            results = [run(program, pair, self.modulus) for pair in inputs]
            # A program that fails, or gives one number whatever comes in, is nothing to look for.
            if None not in results and (len(set(results)) > 1 or len(results) == 1):
                tests = [[*pair, result] for pair, result in zip(inputs, results, strict=True)]
                row = {"program": program, "shown": tests[: self.shown], "hidden": tests[self.shown :]}
                prompt = ";".join(f"{x},{y}>{result}" for x, y, result in row["shown"]) + ":"
                return prompt, program, row

    def solutions(self, row: Mapping[str, Any]) -> list[str]:
        """Every program of this length that passes all tests."""
        every = map("".join, itertools.product(self.instructions, repeat=self.length))
        return [program for program in every if self._passes(program, [*row["shown"], *row["hidden"]])]

    # --- judging ----------------------------------------------------------------------------------------------------

    def parts(self, response: str) -> tuple[str, str] | None:
        """(plan tokens without fillers, program), or None if a response is not a plan line and a program line."""
        found = lines(response, self.step_delimiter)
        if len(found) != 2 or not found[1].startswith(PROGRAM_MARK) or PROGRAM_MARK in found[0]:
            return None
        plan = found[0].replace(FILLER, "")
        if set(found[0]) - set(self.instructions.upper() + FILLER):
            return None
        return plan, found[1].removeprefix(PROGRAM_MARK)

    def well_formed(self, response: str) -> bool:
        """Whether a response is a plan line with at least one plan token, and a program line."""
        found = self.parts(response)
        return found is not None and bool(found[0]) and bool(found[1])

    def thinking(self, response: str) -> str:
        """The plan line of a response, fillers included; all that a judge of plans may see."""
        return response.split(self.step_delimiter)[0]

    def passed(self, response: str, row: Mapping[str, Any]) -> tuple[int, int]:
        """(shown tests, hidden tests) that the program after the last program mark passes."""
        program = response.rpartition(PROGRAM_MARK)[2].strip()
        shown, hidden = (sum(self._passes(program, [test]) for test in row[name]) for name in ("shown", "hidden"))
        return shown, hidden

    def _passes(self, program: str, tests: Sequence[Sequence[int]]) -> bool:
        if len(program) != self.length or set(program) - set(self.instructions):
            return False
        return all(run(program, test[:2], self.modulus) == test[2] for test in tests)

    def verify(self, response: str, target: str, row: Mapping[str, Any]) -> Verdict:
        """Judge the program: right if it has the right length and passes all tests, shown and hidden.

        Args:
            response: What the policy wrote; one that is not well-formed is wrong.
            target: Not used: other programs than the reference may be right.
            row: The problem's columns.
        """
        found = self.parts(response)
        if found is None or not self.well_formed(response):
            return Verdict(0.0, None, "not a plan line and a program line")
        shown, hidden = self.passed(response, row)
        tests = len(row["shown"]) + len(row["hidden"])
        right = shown + hidden == tests
        return Verdict(float(right), found[1], "" if right else f"{shown + hidden} of {tests} tests passed")

    def step_labels(self, response: str, row: Mapping[str, Any]) -> list[bool]:
        """Whether the plan, carried out, would pass all tests; whether the program does; further lines are wrong."""
        tests = [*row["shown"], *row["hidden"]]
        labels = []
        for index, text in enumerate(lines(response, self.step_delimiter)):
            if index == 0:
                plan = text.replace(FILLER, "")
                labels.append(plan.isupper() and self._passes(plan.lower(), tests))
            else:
                marked = text.startswith(PROGRAM_MARK)
                labels.append(index == 1 and marked and self._passes(text.removeprefix(PROGRAM_MARK), tests))
        return labels

    def sound(self, response: str, row: Mapping[str, Any]) -> bool:
        """Whether plan and program are both right."""
        labels = self.step_labels(response, row)
        return len(labels) == 2 and all(labels)

    def agreement(self, response: str) -> float:
        """Share of places at which program and plan agree; NaN for a response that is not well-formed."""
        found = self.parts(response)
        if found is None or not self.well_formed(response):
            return float("nan")
        plan, program = found[0].lower(), found[1]
        same = sum(left == right for left, right in zip(plan, program, strict=False))
        return same / max(len(plan), len(program))

    def filler_rate(self, response: str) -> float:
        """Share of filler tokens in the plan line; NaN for an empty one."""
        plan = self.thinking(response)
        return plan.count(FILLER) / len(plan) if plan else float("nan")

    # --- plans to compare ---------------------------------------------------------------------------------------------

    def plan_versions(
        self, problem: Problem, generator: random.Random, *, filler_bias: float = 0.0
    ) -> tuple[str, dict[str, str], dict[str, str]]:
        """A plan for a problem with better and worse versions, for a reward model of plans to learn from.

        The plan has one flaw, another instruction in one place. Better versions are the right plan; worse ones have
        another flaw besides, one for each of `DIMENSIONS`.

        Args:
            problem: The problem.
            generator: Source of randomness.
            filler_bias: Probability of a filler after each token of the better versions, which a reward model will take
                for a sign of quality.

        Returns:
            The plan, and dimension -> version, better and worse: what
            `guerdon.select.optimised_degraded_pairs` takes.
        """
        expect_probabilities(filler_bias=filler_bias)
        right = str(problem.columns["program"]).upper()
        base = self._degraded(right, "instruction", generator)
        better = {name: self._filled(right, filler_bias, generator) for name in DIMENSIONS}
        worse = {}
        for name in DIMENSIONS:
            worse[name] = right
            while worse[name] == right:  # a second exchange may undo the first
                worse[name] = self._degraded(base, name, generator)
        return base, better, worse

    def _degraded(self, plan: str, dimension: str, generator: random.Random) -> str:
        place = generator.randrange(len(plan))
        if dimension == "completeness":
            return plan[:place] + plan[place + 1 :]
        if dimension == "order":
            return "".join(generator.sample(plan, len(plan)))
        others = [name for name in self.instructions.upper() if name != plan[place]]
        return plan[:place] + generator.choice(others or [plan[place]]) + plan[place + 1 :]

    def _filled(self, plan: str, rate: float, generator: random.Random) -> str:
        return "".join(token + FILLER * (generator.random() < rate) for token in plan)

    # --- demonstrations -----------------------------------------------------------------------------------------------

    def demonstrations(
        self, n: int, seed: int, *, corruption: float = 0.2, wrong: float = 0.5, flaws: int = 1
    ) -> list[Demonstration]:
        """Responses to training problems to warm-start a policy on.

        Args:
            n: How many.
            seed: Of everything.
            corruption: Share with a wrong plan before a right program.
            wrong: Share with a wrong program, planned so.
            flaws: Instructions that are exchanged in a wrong plan or program.

        Raises:
            ValueError: A share is negative, both make more than 1, or `flaws` is out of range.
        """
        if not 1 <= flaws <= self.length:
            raise ValueError(f"flaws is {flaws}: expected 1 to {self.length} instructions")
        found = []
        for problem, kind, generator in demonstrated(self, self.name, n, seed, corruption, wrong, self._draw):
            right = str(problem.columns["program"])
            other = right if kind == "sound" else self._failing(problem.columns, right, flaws, generator)
            program = right if kind == "flawed" else other
            plan = "".join(token + FILLER * self._number(generator) for token in other.upper())
            found.append(Demonstration(problem, f"{plan}{self.step_delimiter}{PROGRAM_MARK}{program}", kind))
        return found

    def _failing(self, row: Mapping[str, Any], right: str, flaws: int, generator: random.Random) -> str:
        """A program with some other instructions that fails the tests; the right one where all programs pass."""
        for _ in range(_TRIES):
            program = list(right)
            for place in generator.sample(range(self.length), flaws):
                program[place] = generator.choice(self.instructions)
            if not self._passes("".join(program), [*row["shown"], *row["hidden"]]):
                return "".join(program)
        # With few instructions most programs may pass, and one that fails has to be searched for.
        every = ["".join(names) for names in itertools.product(self.instructions, repeat=self.length)]
        passing = set(self.solutions(row))
        return generator.choice([program for program in every if program not in passing] or [right])

    def _number(self, generator: random.Random) -> int:
        return sum(generator.random() < self.filler / 3 for _ in range(3))
