r"""The grading lab: sums to solve, and solutions of sums to grade, for one and the same policy.

A solution is written as in the chain lab. A verification prompt shows question and solution and asks for a grade:

    prompt    3+4=          prompt    3+4=3
    response  3                       8
              7                       =8#
              =7            response  =-0.5

The grade is what the solution earns: 1.0 for the right answer, -0.5 for a wrong one, -1.0 for none. Grading has no
truth of its own: whoever knows the answer of the question knows the grade.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from guerdon.score.verdict import Verdict
from guerdon.tasks.chain import Chain
from guerdon.tasks.demonstrations import Demonstration
from guerdon.tasks.drawing import (
    demonstrated,
    draw_problems,
    expect_probabilities,
    expect_range,
    lines,
)
from guerdon.tasks.task import Problem, Split

GRADES = (1.0, -0.5, -1.0)
"""What a right, a wrong and a missing answer earn."""

_ASK = "#"


@dataclass(frozen=True)
class Grading:
    r"""Sums of a few operands, and the grading of solutions to them.

    Problems are questions, with the column `kind` "solve". `verification` turns a question and a response to it into a
    problem of kind "verify", and `verify` judges both kinds.

    Attributes:
        operands: Least and greatest number of operands.
        digits: Operands have up to so many digits.
        operators: The operators that occur.
        modulus: Running values are taken modulo this; None = not at all.
        graded: Share of the demonstrations that are verifications.
        random_grades: Whether grades in demonstrations are drawn at random, so that they teach the form alone.
        unanswered: Share of the graded demonstrations whose solution has no answer line.

    Raises:
        ValueError: A setting is out of range.

    Example:
        >>> task = Grading()
        >>> problem = Problem("3+4=", "7", 0, {"operands": [3, 4], "operators": "+", "kind": "solve"})
        >>> question = task.verification(problem, "3\n8\n=8", prompt_id=1)
        >>> question.prompt, question.target
        ('3+4=3\n8\n=8#', '-0.5')
        >>> task.verify("=-0.5", question.target, question.columns).reward
        1.0
    """

    operands: tuple[int, int] = (2, 3)
    digits: int = 1
    operators: str = "+-"
    modulus: int | None = None
    graded: float = 0.5
    random_grades: bool = True
    unanswered: float = 0.2

    name: ClassVar[str] = "grading"
    step_delimiter: ClassVar[str] = "\n"

    def __post_init__(self) -> None:
        expect_range("operands", self.operands, 2, 10)
        expect_probabilities(graded=self.graded, unanswered=self.unanswered)
        self.chain(self.operands[1])

    def chain(self, length: int) -> Chain:
        """The chain lab of problems with so many operands."""
        return Chain(length, self.modulus, self.operators, None, self.digits)

    @property
    def alphabet(self) -> str:
        """Every character that prompts and responses are written in."""
        return self.chain(self.operands[1]).alphabet + _ASK + "."

    def problems(self, split: Split, n: int, seed: int) -> list[Problem]:
        """Draw questions."""
        return draw_problems(self, self.name, split, n, seed, self._draw)

    def _draw(self, generator: random.Random) -> tuple[str, str, dict[str, Any]]:
        prompt, target, row = self.chain(generator.randint(*self.operands)).draw(generator)
        return prompt, target, {**row, "kind": "solve"}

    def grade(self, response: str, target: str) -> float:
        """What a solution, or a verification, earns: one of `GRADES`.

        Args:
            response: What the policy wrote.
            target: The right answer, or the right grade.
        """
        mark = Chain.answer_mark
        found = [line for line in lines(response, self.step_delimiter) if line.startswith(mark)]
        answer = _number(found[0].removeprefix(mark)) if len(found) == 1 else None
        if answer is None:
            return GRADES[2]
        return GRADES[0] if answer == _number(target) else GRADES[1]

    def verification(self, problem: Problem, response: str, prompt_id: int) -> Problem:
        """The question what a response to a problem is worth.

        Args:
            problem: A question.
            response: A response to it.
            prompt_id: Id of the new prompt, which is compared with no other.
        """
        target = f"{self.grade(response, problem.target):.1f}"
        columns = {**problem.columns, "kind": "verify", "graded_response": response, "graded_prompt": problem.prompt_id}
        return Problem(f"{problem.prompt}{response}{_ASK}", target, prompt_id, columns)

    def verify(self, response: str, target: str, row: Mapping[str, Any]) -> Verdict:
        """Judge a solution or a verification: 1 if its number equals the target, as 1.0 and 1 do.

        Args:
            response: What the policy wrote.
            target: A number; NaN and a reason if it is none.
            row: Not used.
        """
        if _number(target) is None:
            return Verdict(float("nan"), reason=f"target is {target!r}: expected a number")
        grade = self.grade(response, target)
        if grade == GRADES[2]:
            return Verdict(0.0, None, "no answer line, or several")
        answer = response[response.index(Chain.answer_mark) + 1 :].split(self.step_delimiter)[0].strip()
        return Verdict(float(grade == GRADES[0]), answer, "" if grade == GRADES[0] else f"the answer is {target}")

    def step_labels(self, response: str, row: Mapping[str, Any]) -> list[bool]:
        """For solutions those of the chain lab; for verifications whether the grade, the only step, is right."""
        if row.get("kind", "solve") == "solve":
            return self.chain(len(row["operands"])).step_labels(response, row)
        target = self.grade(row["graded_response"], str(self.chain(len(row["operands"])).values(row)[-1]))
        found = lines(response, self.step_delimiter)
        return [index == 0 and self.grade(line, str(target)) == GRADES[0] for index, line in enumerate(found)]

    def demonstrations(
        self, n: int, seed: int, *, corruption: float = 0.0, wrong: float = 0.4, flaws: int = 1
    ) -> list[Demonstration]:
        """Solutions and verifications to warm-start a policy on; wrong answers are wrong by one.

        Args:
            n: How many.
            seed: Of everything.
            corruption: Share of "flawed" ones: a running value is off by one, and the answer is right.
            wrong: Share of "wrong" ones: a value or the answer is off by one, and the answer is wrong. Of
                verifications, share of those that grade such a solution.
            flaws: Not used: there is one error in a solution.

        Raises:
            ValueError: A share is negative, or both make more than 1.
        """
        found = []
        for problem, kind, generator in demonstrated(self, self.name, n, seed, corruption, wrong, self._draw):
            response = self._solution(problem, kind, generator)
            if generator.random() < self.graded:
                if generator.random() < self.unanswered:
                    response = response[: response.rindex(Chain.answer_mark)].rstrip()
                question = self.verification(problem, response, problem.prompt_id)
                grade = f"{generator.choice(GRADES):.1f}" if self.random_grades else question.target
                problem, response = question, f"{Chain.answer_mark}{grade}"
            found.append(Demonstration(problem, response, kind))
        return found

    def _solution(self, problem: Problem, kind: str, generator: random.Random) -> str:
        task = self.chain(len(problem.columns["operands"]))
        values, answer = task.values(problem.columns), int(problem.target)
        if kind == "sound":
            return task.write(values, answer)
        error, at = generator.choice([-1, 1]), generator.randrange(len(values))
        if kind == "flawed":
            # Only the last value is the answer, so an error in another one can be made up for.
            at = generator.randrange(len(values) - 1)
            return task.write([value + error * (place == at) for place, value in enumerate(values)], answer)
        written = [value if place < at else self._wrapped(value + error) for place, value in enumerate(values)]
        return task.write(written, written[-1])

    def _wrapped(self, value: int) -> int:
        return value if self.modulus is None else value % self.modulus


def _number(text: str) -> float | None:
    try:
        return float(text) if len(text) < 200 and not set(text) - set("-.0123456789") else None
    except ValueError:
        return None
