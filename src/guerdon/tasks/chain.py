"""The chain lab: arithmetic with written running values, where wrong reasoning can still give a right answer.

A prompt is a chain of operands, evaluated strictly from left to right, modulo a number. The response writes the
running value after each operand on a line of its own, and then an answer line:

    prompt    3+4+9=
    response  3
              7
              6
              =2

The answer is the last running value modulo `answer_classes` (4 here), so the fewer classes there are, the more often
flawed reasoning is right by luck. The verifier looks at the answer line alone; the oracle judges every line.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from guerdon.score.verdict import Verdict
from guerdon.tasks.demonstrations import Demonstration, careless, demonstrate
from guerdon.tasks.drawing import INTEGER, demonstrated, draw_problem, draw_problems, lines
from guerdon.tasks.task import Problem, Split

_OPERATIONS: dict[str, Callable[[int, int], int]] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
}


@dataclass(frozen=True)
class Chain:
    r"""Chained arithmetic modulo a number, with a step oracle.

    Attributes:
        length: Number of operands, 2 to 10; a right response has `length` running values and one answer line.
        modulus: Running values are taken modulo this; None = not at all.
        operators: The operators that occur, some of "+", "-" and "*".
        answer_classes: The answer is the last running value modulo this; None = the value itself.
        digits: Operands have up to so many digits.

    Raises:
        ValueError: A knob is out of range.

    Example:
        >>> task = Chain(answer_classes=4)
        >>> row = {"operands": [3, 4, 9], "operators": "++"}
        >>> task.solution(row)
        '3\n7\n6\n=2'
        >>> task.step_labels("3\n8\n7\n=3", row)
        [True, False, True, True]
        >>> task.verify("3\n8\n6\n=2", "2", row).reward
        1.0
    """

    length: int = 6
    modulus: int | None = 10
    operators: str = "+"
    answer_classes: int | None = 3
    digits: int = 1

    name: ClassVar[str] = "chain"
    step_delimiter: ClassVar[str] = "\n"
    answer_mark: ClassVar[str] = "="
    """Begins the answer line."""

    def __post_init__(self) -> None:
        if not 2 <= self.length <= 10:
            raise ValueError(f"length is {self.length}: expected 2 to 10 operands")
        if self.modulus is not None and self.modulus < 2:
            raise ValueError(f"modulus is {self.modulus}: expected at least 2, or None")
        if not self.operators or len(set(self.operators)) != len(self.operators) or set(self.operators) - set("+-*"):
            raise ValueError(f"operators is {self.operators!r}: expected one or more of '+', '-' and '*', each once")
        if self.answer_classes is not None and self.answer_classes < 2:
            raise ValueError(f"answer_classes is {self.answer_classes}: expected at least 2, or None")
        if not 1 <= self.digits <= 10:
            raise ValueError(f"digits is {self.digits}: expected 1 to 10")

    @property
    def alphabet(self) -> str:
        """Every character that prompts and right responses are written in."""
        return "0123456789" + "".join(sorted({*self.operators, "-", "="})) + self.step_delimiter

    # --- problems -----------------------------------------------------------------------------------------------

    def problems(self, split: Split, n: int, seed: int) -> list[Problem]:
        """Draw problems independently, so that a prompt may come twice where there are few.

        Which split a prompt belongs to is decided by a hash of the prompt.

        Raises:
            ValueError: The split is unknown, or so few prompts are possible that the split has none.
        """
        return draw_problems(self, self.name, split, n, seed, self.draw)

    def draw(self, generator: random.Random) -> tuple[str, str, dict[str, Any]]:
        """Draw (prompt, target, columns) of either split."""
        operands = [generator.randrange(10**self.digits) for _ in range(self.length)]
        operators = "".join(generator.choice(self.operators) for _ in range(self.length - 1))
        prompt = f"{operands[0]}" + "".join(f"{op}{x}" for op, x in zip(operators, operands[1:], strict=True)) + "="
        row = {"operands": operands, "operators": operators}
        return prompt, str(self.answer(self.values(row)[-1])), row

    # --- what is right ------------------------------------------------------------------------------------------

    def values(self, row: Mapping[str, Any]) -> list[int]:
        """The right running values of a problem, one for each operand."""
        found: list[int] = []
        for index in range(len(row["operands"])):
            found.append(self.advance(row, index, found[-1] if found else None))
        return found

    def advance(self, row: Mapping[str, Any], index: int, previous: int | None) -> int:
        """The running value after operand `index`, from the one before (which the first operand needs not)."""
        operand = int(row["operands"][index])
        if index:
            assert previous is not None
            operand = _OPERATIONS[row["operators"][index - 1]](previous, operand)
        return operand if self.modulus is None else operand % self.modulus

    def answer(self, value: int) -> int:
        """The answer that follows from the last running value."""
        return value if self.answer_classes is None else value % self.answer_classes

    def write(self, values: Sequence[int], answer: int) -> str:
        """A response with these running values and this answer."""
        return "".join(f"{value}{self.step_delimiter}" for value in values) + f"{self.answer_mark}{answer}"

    def solution(self, row: Mapping[str, Any]) -> str:
        """The right response."""
        values = self.values(row)
        return self.write(values, self.answer(values[-1]))

    # --- judging ------------------------------------------------------------------------------------------------

    def verify(self, response: str, target: str, row: Mapping[str, Any]) -> Verdict:
        """Judge the answer line alone; a response with none, or with several, is wrong.

        Args:
            response: What the policy wrote.
            target: The right answer; NaN and a reason if it is no integer.
            row: Not used.
        """
        if not INTEGER.fullmatch(target):
            return Verdict(float("nan"), reason=f"target is {target!r}: expected an integer")
        found = [line for line in lines(response, self.step_delimiter) if line.startswith(self.answer_mark)]
        if len(found) != 1:
            return Verdict(0.0, reason=f"{len(found)} answer lines: expected one")
        answer = found[0].removeprefix(self.answer_mark)
        if not INTEGER.fullmatch(answer):
            return Verdict(0.0, answer, "the answer is no integer")
        right = int(answer) == int(target)
        return Verdict(float(right), answer, "" if right else f"the answer is {target}")

    def step_labels(self, response: str, row: Mapping[str, Any]) -> list[bool]:
        """Whether each line follows from what was written before it.

        A running value is valid if it follows from the previous written value and the next operand, whether or not
        that value was valid itself; the answer line if all operands are used up and it follows from the last written
        value. Lines that are no integers, values beyond the last operand, values after a line that is no integer,
        and whatever comes after the answer line are invalid.
        """
        labels: list[bool] = []
        written: list[int | None] = []
        answered = False
        for line in lines(response, self.step_delimiter):
            if answered:
                labels.append(False)
            elif line.startswith(self.answer_mark):
                answered = True
                labels.append(self._answer_follows(line.removeprefix(self.answer_mark), written, row))
            else:
                labels.append(self._value_follows(line, written, row))
                written.append(int(line) if INTEGER.fullmatch(line) else None)
        return labels

    def _value_follows(self, line: str, written: Sequence[int | None], row: Mapping[str, Any]) -> bool:
        index = len(written)
        if not INTEGER.fullmatch(line) or index >= len(row["operands"]):
            return False
        previous = written[-1] if written else None
        if index and previous is None:
            return False
        return int(line) == self.advance(row, index, previous)

    def _answer_follows(self, text: str, written: Sequence[int | None], row: Mapping[str, Any]) -> bool:
        last = written[-1] if written else None
        if len(written) < len(row["operands"]) or last is None or not INTEGER.fullmatch(text):
            return False
        return int(text) == self.answer(last)

    def first_wrong_step(self, response: str, row: Mapping[str, Any]) -> int | None:
        """Index of the first invalid step; None if there is none."""
        labels = self.step_labels(response, row)
        return labels.index(False) if False in labels else None

    def sound(self, response: str, row: Mapping[str, Any]) -> bool:
        """Whether a response has exactly the steps that the problem needs, and all of them are valid."""
        labels = self.step_labels(response, row)
        return len(labels) == len(row["operands"]) + 1 and all(labels)

    # --- demonstrations -----------------------------------------------------------------------------------------

    def demonstrations(
        self, n: int, seed: int, *, corruption: float = 0.35, wrong: float = 0.0, flaws: int = 1
    ) -> list[Demonstration]:
        """Responses to training problems to warm-start a policy on, some of them flawed.

        Args:
            n: How many.
            seed: Of problems, order and flaws.
            corruption: Share with corrupted running values but a right answer.
            wrong: Share with corrupted running values and a wrong answer.
            flaws: Corrupted values in each of these, at most `length`.

        Returns:
            `n` demonstrations in random order; the shares are met exactly, up to rounding.

        Raises:
            ValueError: A share is negative, both make more than 1, or `flaws` is out of range.
        """
        if not 1 <= flaws <= self.length:
            raise ValueError(f"flaws is {flaws}: expected 1 to the {self.length} running values")
        drawn = demonstrated(self, self.name, n, seed, corruption, wrong, self.draw)
        return [demonstrate(self, problem, kind, flaws, generator) for problem, kind, generator in drawn]

    def practice(self, n: int, seed: int, error_rate: float = 0.5) -> list[tuple[Problem, str]]:
        """Responses to training problems with many wrong lines, for a judge of steps to learn from.

        Every line is invalid with probability `error_rate`, on its own, and the lines after it go on from what was
        written; so right and wrong steps can be had in equal numbers, which a policy's own samples seldom hold.

        Args:
            n: How many.
            seed: Of problems and errors.
            error_rate: Probability of an invalid line.

        Raises:
            ValueError: The rate is no probability.
        """
        if not 0.0 <= error_rate <= 1.0:
            raise ValueError(f"error_rate is {error_rate}: expected a probability")
        generator = random.Random(f"chain/practice/{seed}")
        problems = [draw_problem(self, "train", generator, index, self.draw) for index in range(n)]
        return [(problem, careless(self, problem, error_rate, generator)) for problem in problems]
