"""The dialogues lab: requests, responses of known quality, and what the user says next.

A request asks for an operation on a string of digits. Responses are right, right but verbose, wrong or off-topic, and
the user's next turn is satisfied or not, mostly as the response deserves. So a model of dialogues holds a
judgement that it was never asked for.
"""

from __future__ import annotations

import random
import string
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from guerdon.score.verdict import Verdict
from guerdon.tasks.demonstrations import Demonstration
from guerdon.tasks.drawing import (
    demonstrated,
    draw_problem,
    draw_problems,
    expect_probabilities,
    expect_range,
)
from guerdon.tasks.task import Problem, Split

QUALITIES = ("off-topic", "wrong", "verbose", "right")
"""Kinds of responses, the best last."""

OPERATIONS = ("reverse", "sort", "sum")
SATISFIED = ("thanks", "great", "that is it", "perfect")
DISSATISFIED = ("no", "that is wrong", "not what i asked", "try again")
_CHATTER = ("well let me see ", "so here you go it is ", "sure the result is ")
_ASIDES = ("i like tea", "nice weather", "hello there", "who are you")


@dataclass(frozen=True)
class Dialogue:
    """A request, a response and the user's next turn.

    Attributes:
        problem: The request.
        response: The response.
        quality: One of `QUALITIES`.
        follow_up: What the user says next.
        satisfied: Whether that is one of `SATISFIED`.
    """

    problem: Problem
    response: str
    quality: str
    follow_up: str
    satisfied: bool


@dataclass(frozen=True)
class Dialogues:
    """Requests for an operation on digits.

    Attributes:
        digits: Least and greatest number of digits.
        agreement: Probability that the follow-up of a right response is satisfied, and that of a wrong or off-topic one
            is not; verbose ones lie half-way between a right response and an even chance.

    Raises:
        ValueError: A setting is out of range.

    Example:
        >>> task = Dialogues()
        >>> row = {"operation": "sort", "digits": "3142"}
        >>> [task.verify(text, "1234", row).reward for text in ("1234", "sure the result is 1234", "3142")]
        [1.0, 1.0, 0.0]
    """

    digits: tuple[int, int] = (3, 5)
    agreement: float = 0.85

    name: ClassVar[str] = "dialogues"
    step_delimiter: ClassVar[str] = "\n"

    def __post_init__(self) -> None:
        expect_range("digits", self.digits, 2, 12)
        expect_probabilities(agreement=self.agreement)

    @property
    def alphabet(self) -> str:
        """Every character of prompts, responses and follow-ups."""
        return string.ascii_lowercase + string.digits + " :\n"

    def problems(self, split: Split, n: int, seed: int) -> list[Problem]:
        """Draw requests."""
        return draw_problems(self, self.name, split, n, seed, self._draw)

    def _draw(self, generator: random.Random) -> tuple[str, str, dict[str, Any]]:
        operation = generator.choice(OPERATIONS)
        digits = "".join(generator.choices(string.digits, k=generator.randint(*self.digits)))
        row = {"operation": operation, "digits": digits}
        return f"{operation} {digits}:", self.result(row), row

    def result(self, row: Mapping[str, Any]) -> str:
        """The right result of a request."""
        digits = str(row["digits"])
        if row["operation"] == "sum":
            return str(sum(map(int, digits)))
        return digits[::-1] if row["operation"] == "reverse" else "".join(sorted(digits))

    def quality(self, response: str, row: Mapping[str, Any]) -> str:
        """The kind of any response: what its last word is, and whether there are others."""
        words = response.split()
        if not words or not set(words[-1]) <= set(string.digits):
            return QUALITIES[0]
        if words[-1] != self.result(row):
            return QUALITIES[1]
        return QUALITIES[2] if len(words) > 1 else QUALITIES[3]

    def verify(self, response: str, target: str, row: Mapping[str, Any]) -> Verdict:
        """Judge the last word of a response."""
        words = response.split()
        answer = words[-1] if words else None
        return Verdict(float(answer == target), answer, "" if answer == target else f"the result is {target}")

    def step_labels(self, response: str, row: Mapping[str, Any]) -> None:
        """None: a response has no steps."""

    def respond(self, problem: Problem, quality: str, generator: random.Random) -> str:
        """A response of a quality.

        Raises:
            ValueError: An unknown quality.
        """
        if quality not in QUALITIES:
            raise ValueError(f"quality is {quality!r}: expected one of {QUALITIES}")
        if quality == "off-topic":
            return generator.choice(_ASIDES)
        if quality == "wrong":
            return self._wrong(problem.target, generator)
        return problem.target if quality == "right" else generator.choice(_CHATTER) + problem.target

    def _wrong(self, target: str, generator: random.Random) -> str:
        place = generator.randrange(len(target))
        other = generator.choice([digit for digit in string.digits if digit != target[place]])
        return target[:place] + other + target[place + 1 :]

    def follow_up(self, quality: str, generator: random.Random) -> tuple[str, bool]:
        """(what the user says next, whether that is satisfied)."""
        likely = {"right": self.agreement, "verbose": (self.agreement + 0.5) / 2}
        satisfied = generator.random() < likely.get(quality, 1.0 - self.agreement)
        return generator.choice(SATISFIED if satisfied else DISSATISFIED), satisfied

    def dialogues(self, n: int, seed: int, split: Split = "train") -> list[Dialogue]:
        """Draw dialogues; qualities come equally often."""
        generator = random.Random(f"{self.name}/dialogues/{split}/{seed}")
        found = []
        for index in range(n):
            problem = draw_problem(self, split, generator, index, self._draw)
            quality = generator.choice(QUALITIES)
            response = self.respond(problem, quality, generator)
            found.append(Dialogue(problem, response, quality, *self.follow_up(quality, generator)))
        return found

    def pairs(self, n: int, seed: int, split: Split = "test") -> list[tuple[Problem, str, str]]:
        """(request, better response, worse response): two different qualities, drawn evenly."""
        generator = random.Random(f"{self.name}/pairs/{split}/{seed}")
        found = []
        for index in range(n):
            problem = draw_problem(self, split, generator, index, self._draw)
            worse, better = sorted(generator.sample(range(len(QUALITIES)), 2))
            texts = [self.respond(problem, QUALITIES[place], generator) for place in (better, worse)]
            found.append((problem, texts[0], texts[1]))
        return found

    def demonstrations(
        self, n: int, seed: int, *, corruption: float = 0.0, wrong: float = 0.4, flaws: int = 1
    ) -> list[Demonstration]:
        """Responses to training requests to warm-start a policy on.

        Args:
            n: How many.
            seed: Of everything.
            corruption: Share of "flawed" ones: verbose.
            wrong: Share of "wrong" ones: wrong or off-topic, equally often.
            flaws: Not used.

        Raises:
            ValueError: A share is negative, or both make more than 1.
        """
        found = []
        for problem, kind, generator in demonstrated(self, self.name, n, seed, corruption, wrong, self._draw):
            quality = {"sound": "right", "flawed": "verbose"}.get(kind) or generator.choice(QUALITIES[:2])
            found.append(Demonstration(problem, self.respond(problem, quality, generator), kind))
        return found
