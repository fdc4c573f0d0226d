r"""The reach labs: a target that many responses hit, by digits that add up to it, or by operations that lead to it.

`ReachSum` asks for some digits with a given sum; there are hundreds of right answers, so that diversity can be counted:

    prompt    7+9:           response  4651

`ReachTarget` asks for a way from a number to another one with given operations, which a response writes one a line; how
far every number is from the target is known:

    prompt    7>20:+3 *2     response  +3=10
                                       *2=20
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

from guerdon.score.verdict import Verdict
from guerdon.tasks.demonstrations import Demonstration
from guerdon.tasks.drawing import demonstrated, draw_problems, expect_range, lines
from guerdon.tasks.task import Problem, Split

_STEP = re.compile(r"([-+*]\d{1,4})=(\d{1,6})")


@dataclass(frozen=True)
class ReachSum:
    """Digits with a given sum.

    Attributes:
        digits: Number of digits of an answer.
        targets: Least and greatest sum.
        terms: The prompt writes the sum as so many terms; 1 = the sum itself, of which there are few.

    Raises:
        ValueError: A setting is out of range.

    Example:
        >>> task = ReachSum()
        >>> task.verify("4651", "16", {}).reward, task.verify("46510", "16", {}).reward
        (1.0, 0.0)
        >>> task.answers(2), task.distinct(["1001", "2000", "2000", "9999"], 2)
        (10, 2)
    """

    digits: int = 4
    targets: tuple[int, int] = (0, 20)
    terms: int = 2

    name: ClassVar[str] = "reach"
    step_delimiter: ClassVar[str] = "\n"

    def __post_init__(self) -> None:
        if not 1 <= self.digits <= 50 or not 1 <= self.terms <= 10:
            raise ValueError(f"digits is {self.digits}, terms is {self.terms}: expected 1 to 50, 1 to 10")
        expect_range("targets", self.targets, 0, 9 * self.digits)

    @property
    def alphabet(self) -> str:
        """Every character that prompts and responses are written in."""
        return "0123456789+:"

    def problems(self, split: Split, n: int, seed: int) -> list[Problem]:
        """Draw problems: every sum equally often, its terms at random."""
        return draw_problems(self, self.name, split, n, seed, self._draw)

    def _draw(self, generator: random.Random) -> tuple[str, str, dict[str, Any]]:
        total = generator.randint(*self.targets)
        cuts = [0, *sorted(generator.randint(0, total) for _ in range(self.terms - 1)), total]
        terms = [str(after - before) for before, after in itertools.pairwise(cuts)]
        return "+".join(terms) + ":", str(total), {"total": total}

    def verify(self, response: str, target: str, row: Mapping[str, Any]) -> Verdict:
        """Judge a response: right if it is exactly so many digits with this sum.

        Args:
            response: What the policy wrote.
            target: The sum; NaN and a reason if it is no number.
            row: Not used.
        """
        if not re.fullmatch(r"[0-9]{1,9}", target):
            return Verdict(float("nan"), reason=f"target is {target!r}: expected a number")
        answer = response.strip()
        if not re.fullmatch(rf"[0-9]{{{self.digits}}}", answer):
            return Verdict(0.0, None, f"expected {self.digits} digits")
        total = sum(map(int, answer))
        return Verdict(float(total == int(target)), answer, "" if total == int(target) else f"they add up to {total}")

    def step_labels(self, response: str, row: Mapping[str, Any]) -> None:
        """None: an answer has no steps."""

    def answers(self, total: int) -> int:
        """How many right answers there are for a sum."""
        return _count(self.digits, total)

    def distinct(self, responses: Iterable[str], total: int) -> int:
        """How many different right answers there are among responses to one problem."""
        right = {text.strip() for text in responses if self.verify(text, str(total), {}).reward == 1.0}
        return len(right)

    def demonstrations(
        self, n: int, seed: int, *, corruption: float = 0.0, wrong: float = 0.5, flaws: int = 1
    ) -> list[Demonstration]:
        """Answers to training problems to warm-start a policy on; right ones are drawn evenly from all of them.

        Args:
            n: How many.
            seed: Of everything.
            corruption: Share of "flawed" ones, which an answer without steps cannot be: they are sound.
            wrong: Share with another sum.
            flaws: Digits that are changed in a wrong answer, at most.

        Raises:
            ValueError: A share is negative, both make more than 1, or `flaws` is below 1.
        """
        if not 1 <= flaws <= self.digits:
            raise ValueError(f"flaws is {flaws}: expected 1 to {self.digits} digits")
        found = []
        for problem, kind, generator in demonstrated(self, self.name, n, seed, corruption, wrong, self._draw):
            answer = self._answer(int(problem.target), generator)
            if kind == "wrong":
                answer = self._other(answer, flaws, generator)
            found.append(Demonstration(problem, answer, kind))
        return found

    def _answer(self, total: int, generator: random.Random) -> str:
        written, left = "", total
        for place in range(self.digits):
            weights = [_count(self.digits - place - 1, left - digit) for digit in range(10)]
            digit = generator.choices(range(10), weights)[0]
            written, left = written + str(digit), left - digit
        return written

    def _other(self, answer: str, flaws: int, generator: random.Random) -> str:
        total = sum(map(int, answer))
        while True:
            changed = list(answer)
            for place in generator.sample(range(self.digits), flaws):
                changed[place] = str(generator.randrange(10))
            if sum(map(int, changed)) != total:
                return "".join(changed)


@lru_cache(maxsize=4096)
def _count(digits: int, total: int) -> int:
    """How many sequences of digits have a sum."""
    if total < 0 or total > 9 * digits:
        return 0
    return 1 if digits == 0 else sum(_count(digits - 1, total - digit) for digit in range(10))


@dataclass(frozen=True)
class ReachTarget:
    r"""A way from a number to a target with operations that the prompt gives.

    Numbers stay between 0 and `largest`; an operation that leads out of this range is not allowed.

    Attributes:
        steps: Least and greatest distance of the target from the start.
        operations: How many operations a prompt gives.
        largest: Largest number.
        limit: Most steps of a response.

    Raises:
        ValueError: A setting is out of range.

    Example:
        >>> task = ReachTarget()
        >>> row = {"from": 7, "to": 20, "operations": ["+3", "*2"]}
        >>> task.step_labels("+3=10\n*2=21", row), task.verify("+3=10\n*2=20", "20", row).reward
        ([True, False], 1.0)
        >>> task.distance(7, row), task.distance(10, row), task.distance(21, row)
        (2, 1, None)
    """

    steps: tuple[int, int] = (1, 6)
    operations: int = 3
    largest: int = 99
    limit: int = 6

    name: ClassVar[str] = "reach-target"
    step_delimiter: ClassVar[str] = "\n"

    def __post_init__(self) -> None:
        expect_range("steps", self.steps, 1, self.limit)
        if not 1 <= self.operations <= 6 or not 9 <= self.largest <= 9999:
            raise ValueError(
                f"operations is {self.operations}, largest is {self.largest}: expected 1 to 6, and 9 to 9999"
            )

    @property
    def alphabet(self) -> str:
        """Every character that prompts and responses are written in."""
        return "0123456789+-*=>: \n"

    def problems(self, split: Split, n: int, seed: int) -> list[Problem]:
        """Draw problems whose target is at a distance in `steps`."""
        return draw_problems(self, self.name, split, n, seed, self._draw)

    def _draw(self, generator: random.Random) -> tuple[str, str, dict[str, Any]]:
        while True:
            start = generator.randint(1, self.largest // 4)
            every = [f"{sign}{number}" for sign in "+-" for number in range(1, 10)] + ["*2", "*3"]
            operations = sorted(generator.sample(every, self.operations))
            wanted = generator.randint(*self.steps)
            at = [value for value, steps in self._from(start, operations).items() if steps == wanted]
            if at:
                target = generator.choice(sorted(at))
                row = {"from": start, "to": target, "operations": operations, "shortest": wanted}
                return f"{start}>{target}:{' '.join(operations)}\n", str(target), row

    def apply(self, operation: str, value: int) -> int | None:
        """The number after an operation; None if it is out of range."""
        operand = int(operation[1:])
        result = {"+": value + operand, "-": value - operand, "*": value * operand}[operation[0]]
        return result if 0 <= result <= self.largest else None

    def _from(self, start: int, operations: Iterable[str]) -> dict[int, int]:
        """Number -> least number of steps that lead to it from the start."""
        found, front = {start: 0}, [start]
        while front:
            reached = [self.apply(operation, value) for value in front for operation in operations]
            depth = found[front[0]] + 1
            front = [value for value in dict.fromkeys(reached) if value is not None and value not in found]
            found |= dict.fromkeys(front, depth)
        return found

    def distance(self, value: int, row: Mapping[str, Any]) -> int | None:
        """Least number of operations from a number to the target; None if it cannot be reached."""
        return self._from(value, row["operations"]).get(int(row["to"]))

    def distances(self, response: str, row: Mapping[str, Any]) -> list[int | None]:
        """Distance to the target after each line; None where the line is not valid or the target out of reach."""
        labels = self.step_labels(response, row)
        found = []
        for text, valid in zip(lines(response, self.step_delimiter), labels, strict=True):
            found.append(self.distance(int(text.partition("=")[2]), row) if valid else None)
        return found

    def verify(self, response: str, target: str, row: Mapping[str, Any]) -> Verdict:
        """Judge a response: right if all lines are valid, not too many, and the last leads to the target."""
        labels = self.step_labels(response, row)
        last = lines(response, self.step_delimiter)[-1].partition("=")[2] if labels else ""
        if not labels or not all(labels):
            return Verdict(0.0, last or None, f"line {labels.index(False) + 1} is not valid" if labels else "no lines")
        if len(labels) > self.limit:
            return Verdict(0.0, last, f"{len(labels)} steps: expected at most {self.limit}")
        return Verdict(float(last == target), last, "" if last == target else f"leads to {last}")

    def step_labels(self, response: str, row: Mapping[str, Any]) -> list[bool]:
        """Whether each line applies an allowed operation to the number before it and says what it gives.

        What was written counts as the number before, right or wrong; after a line that cannot be read nothing is valid.
        """
        labels: list[bool] = []
        value: int | None = int(row["from"])
        for text in lines(response, self.step_delimiter):
            match = _STEP.fullmatch(text)
            allowed = match is not None and match[1] in row["operations"]
            result = self.apply(match[1], value) if match is not None and value is not None else None
            labels.append(allowed and result is not None and match is not None and match[2] == str(result))
            value = int(match[2]) if match is not None and value is not None else None
        return labels

    def solution(self, row: Mapping[str, Any], generator: random.Random | None = None) -> str:
        """A shortest way; drawn among the shortest ones if there is a generator.

        Raises:
            ValueError: The target cannot be reached.
        """
        value, written = int(row["from"]), []
        left = self.distance(value, row)
        if left is None:
            raise ValueError(f"{row['to']} cannot be reached from {value} by {row['operations']}")
        while left:
            after = {operation: self.apply(operation, value) for operation in row["operations"]}
            good = [
                (operation, result)
                for operation, result in after.items()
                if result is not None and self.distance(result, row) == left - 1
            ]
            operation, value = generator.choice(good) if generator else good[0]
            written.append(f"{operation}={value}")
            left -= 1
        return self.step_delimiter.join(written)

    def demonstrations(
        self, n: int, seed: int, *, corruption: float = 0.0, wrong: float = 0.4, flaws: int = 1
    ) -> list[Demonstration]:
        """Ways to warm-start a policy on: shortest ones, and wrong ones.

        Args:
            n: How many.
            seed: Of everything.
            corruption: Share of "flawed" ones, which a verified way cannot be: they are sound.
            wrong: Share of random walks that miss the target; one in two of these has a result that is false.
            flaws: Not used.

        Raises:
            ValueError: A share is negative, or both make more than 1.
        """
        found = []
        for problem, kind, generator in demonstrated(self, self.name, n, seed, corruption, wrong, self._draw):
            way = self._walk(problem.columns, generator) if kind == "wrong" else None
            found.append(Demonstration(problem, way or self.solution(problem.columns, generator), kind))
        return found

    def _walk(self, row: Mapping[str, Any], generator: random.Random) -> str:
        false = generator.random() < 0.5
        value, written = int(row["from"]), []
        for _ in range(int(row["shortest"])):
            steps = [(name, self.apply(name, value)) for name in row["operations"]]
            allowed = [(name, result) for name, result in steps if result is not None]
            if not allowed:
                break
            operation, value = generator.choice(allowed)
            written.append(f"{operation}={value}")
        if false or value == int(row["to"]):
            operation, _, result = (written.pop() if written else f"{row['operations'][0]}={value}").partition("=")
            written.append(f"{operation}={(int(result) + generator.choice([1, 2])) % (self.largest + 1)}")
        return self.step_delimiter.join(written)
