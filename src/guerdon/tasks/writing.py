"""The writing labs: any string is an answer, and some are better, by scores that are known.

`Letters` has two properties that pull apart, `HiddenRule` one score and a judge who over-values a digit. Both draw
preferences from which reward models can be learnt, flaws and all.
"""

from __future__ import annotations

import itertools
import math
import random
import string
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from guerdon.score.verdict import Verdict
from guerdon.tasks.demonstrations import Demonstration
from guerdon.tasks.drawing import demonstrated, draw_problem, draw_problems
from guerdon.tasks.task import Problem, Split


@dataclass(frozen=True)
class Preference:
    """Two responses to a problem, of which the first was preferred.

    Attributes:
        problem: The problem.
        chosen: The preferred response.
        rejected: The other one.
    """

    problem: Problem
    chosen: str
    rejected: str


@dataclass(frozen=True)
class Letters:
    """Write a string that holds some letters and avoids another one: two properties that pull apart.

    The longer a random string is, the likelier it has the first, and the less likely the second. `verify` gives 1 if
    both hold.

    Attributes:
        wanted: Number of letters that have to occur.
        shown: Letters that occur at all, the first ones of the alphabet.
        length: Longest string; longer ones have neither property.

    Raises:
        ValueError: A setting is out of range.

    Example:
        >>> task = Letters()
        >>> row = {"wanted": "ab", "banned": "c"}
        >>> task.properties("dabd", row), task.properties("acd", row), task.verify("dabd", "", row).reward
        ((1.0, 1.0), (0.5, 0.0), 1.0)
    """

    wanted: int = 2
    shown: int = 10
    length: int = 12

    name: ClassVar[str] = "letters"
    step_delimiter: ClassVar[str] = "\n"

    def __post_init__(self) -> None:
        if not 1 <= self.wanted < self.shown <= 26 or self.length < self.wanted:
            raise ValueError(
                f"wanted is {self.wanted}, shown is {self.shown}, length is {self.length}: expected fewer wanted "
                "letters than there are, at most 26, and no more than a string is long"
            )

    @property
    def _letters(self) -> str:
        return string.ascii_lowercase[: self.shown]

    @property
    def alphabet(self) -> str:
        """Every character that prompts and responses are written in."""
        return self._letters + "+-:"

    def problems(self, split: Split, n: int, seed: int) -> list[Problem]:
        """Draw problems."""
        return draw_problems(self, self.name, split, n, seed, self._draw)

    def _draw(self, generator: random.Random) -> tuple[str, str, dict[str, Any]]:
        drawn = generator.sample(self._letters, self.wanted + 1)
        wanted, banned = "".join(drawn[:-1]), drawn[-1]
        return f"+{wanted}-{banned}:", "", {"wanted": wanted, "banned": banned}

    def properties(self, response: str, row: Mapping[str, Any]) -> tuple[float, float]:
        """(share of the wanted letters that occur, 1 if the banned one does not); 0, 0 if it is no such string."""
        text = response.strip()
        if not 1 <= len(text) <= self.length or set(text) - set(self._letters):
            return 0.0, 0.0
        return sum(letter in text for letter in row["wanted"]) / len(row["wanted"]), float(row["banned"] not in text)

    def verify(self, response: str, target: str, row: Mapping[str, Any]) -> Verdict:
        """1 if the response has both properties in full, else 0."""
        holds, avoids = self.properties(response, row)
        good = holds == 1.0 and avoids == 1.0
        return Verdict(float(good), response.strip(), "" if good else f"properties {holds:g} and {avoids:g}")

    def step_labels(self, response: str, row: Mapping[str, Any]) -> None:
        """None: a string has no steps."""

    def write(self, row: Mapping[str, Any], generator: random.Random) -> str:
        """A random string, of random length, in which each wanted letter is twice as frequent as others."""
        weights = [2 if letter in row["wanted"] else 1 for letter in self._letters]
        return "".join(generator.choices(self._letters, weights, k=generator.randint(1, self.length)))

    def preferences(self, quality: int, n: int, seed: int, *, scale: float = 4.0) -> list[Preference]:
        """Preferences of a judge who sees one property, by a Bradley-Terry draw on its score.

        Args:
            quality: 0 = holds the wanted letters, 1 = avoids the banned one.
            n: How many.
            seed: Of everything.
            scale: The log-odds of a preference are this times the difference of the property.

        Raises:
            ValueError: `quality` is neither 0 nor 1.
        """
        if quality not in (0, 1):
            raise ValueError(f"quality is {quality}: expected 0 or 1")
        generator = random.Random(f"{self.name}/preferences/{quality}/{seed}")
        found = []
        for index in range(n):
            problem = draw_problem(self, "train", generator, index, self._draw)
            pair = [self.write(problem.columns, generator) for _ in range(2)]
            scores = [scale * self.properties(text, problem.columns)[quality] for text in pair]
            found.append(_preferred(problem, pair, scores, generator))
        return found

    def demonstrations(
        self, n: int, seed: int, *, corruption: float = 0.0, wrong: float = 0.0, flaws: int = 1
    ) -> list[Demonstration]:
        """Random strings for training problems, to warm-start a policy on; see `write`.

        Args:
            n: How many.
            seed: Of everything.
            corruption: Not used: strings are neither sound nor flawed by design.
            wrong: Not used.
            flaws: Not used.
        """
        generator = random.Random(f"{self.name}/demonstrations/{seed}")
        found = []
        for index in range(n):
            problem = draw_problem(self, "train", generator, index, self._draw)
            found.append(Demonstration(problem, self.write(problem.columns, generator), "random"))
        return found


@dataclass(frozen=True)
class HiddenRule:
    """Write digits that score well under a rule that the prompt does not tell; a judge over-values one digit.

    The score is the share of neighbouring digits, the prompt's included, whose second is
    the first plus `rule`, modulo 10; so it lies in [0, 1].

    Attributes:
        length: Number of digits that are written; other lengths score 0.
        rule: What is added from digit to digit.
        prompts: Digits in a prompt; the last of them counts.
        overvalued: The digit that the judge likes.
        overvaluation: What each of these adds to the judge's score.

    Raises:
        ValueError: A setting is out of range.

    Example:
        >>> task = HiddenRule(length=4)
        >>> row = {"digits": "81"}
        >>> task.gold("4703", row), task.gold("1111", row), round(task.judged("7777", row), 2)
        (1.0, 0.0, 1.0)
    """

    length: int = 8
    rule: int = 3
    prompts: int = 2
    overvalued: str = "7"
    overvaluation: float = 0.25

    name: ClassVar[str] = "hidden-rule"
    step_delimiter: ClassVar[str] = "\n"

    def __post_init__(self) -> None:
        if self.length < 1 or not 0 <= self.rule <= 9 or self.prompts < 1:
            raise ValueError(
                f"length is {self.length}, rule is {self.rule}, prompts is {self.prompts}: expected at least 1, 0 to "
                "9, and at least 1"
            )
        if len(self.overvalued) != 1 or self.overvalued not in string.digits:
            raise ValueError(f"overvalued is {self.overvalued!r}: expected one digit")

    @property
    def alphabet(self) -> str:
        """Every character that prompts and responses are written in."""
        return string.digits + ":"

    def problems(self, split: Split, n: int, seed: int) -> list[Problem]:
        """Draw problems."""
        return draw_problems(self, self.name, split, n, seed, self._draw)

    def _draw(self, generator: random.Random) -> tuple[str, str, dict[str, Any]]:
        digits = "".join(generator.choices(string.digits, k=self.prompts))
        return f"{digits}:", "", {"digits": digits}

    def gold(self, response: str, row: Mapping[str, Any]) -> float:
        """The true score, in [0, 1]."""
        text = response.strip()
        if len(text) != self.length or set(text) - set(string.digits):
            return 0.0
        chain = row["digits"][-1] + text
        pairs = itertools.pairwise(chain)
        return sum((int(first) + self.rule) % 10 == int(second) for first, second in pairs) / self.length

    def judged(self, response: str, row: Mapping[str, Any]) -> float:
        """The score of the judge: the true one, plus what the over-valued digits add."""
        return self.gold(response, row) + self.overvaluation * response.count(self.overvalued)

    def verify(self, response: str, target: str, row: Mapping[str, Any]) -> Verdict:
        """The true score; see `gold`."""
        score = self.gold(response, row)
        return Verdict(score, response.strip(), "" if score else "the rule is kept nowhere, or the length is wrong")

    def step_labels(self, response: str, row: Mapping[str, Any]) -> None:
        """None: the digits are no steps."""

    def write(self, row: Mapping[str, Any], generator: random.Random, kept: float = 0.3) -> str:
        """Random digits that keep the rule at each place with a probability."""
        text = str(row["digits"][-1])
        for _ in range(self.length):
            follows = str((int(text[-1]) + self.rule) % 10)
            text += follows if generator.random() < kept else generator.choice(string.digits)
        return text[1:]

    def preferences(self, n: int, seed: int, *, scale: float = 6.0, flawed: bool = True) -> list[Preference]:
        """Preferences of the judge between random responses, by a Bradley-Terry draw on its score.

        Args:
            n: How many.
            seed: Of everything.
            scale: The log-odds of a preference are this times the difference of the scores.
            flawed: Whether the judge over-values its digit; False = the true score decides.
        """
        generator = random.Random(f"{self.name}/preferences/{seed}")
        score = self.judged if flawed else self.gold
        found = []
        for index in range(n):
            problem = draw_problem(self, "train", generator, index, self._draw)
            pair = [self.write(problem.columns, generator, generator.random()) for _ in range(2)]
            scores = [scale * score(text, problem.columns) for text in pair]
            found.append(_preferred(problem, pair, scores, generator))
        return found

    def demonstrations(
        self, n: int, seed: int, *, corruption: float = 0.0, wrong: float = 0.7, flaws: int = 1
    ) -> list[Demonstration]:
        """Responses to training problems to warm-start a policy on.

        Args:
            n: How many.
            seed: Of everything.
            corruption: Share of "flawed" ones: they keep the rule at half of the places.
            wrong: Share of "wrong" ones: random digits. The rest keep the rule everywhere.
            flaws: Not used.

        Raises:
            ValueError: A share is negative, or both make more than 1.
        """
        kept = {"sound": 1.0, "flawed": 0.5, "wrong": 0.0}
        found = []
        for problem, kind, generator in demonstrated(self, self.name, n, seed, corruption, wrong, self._draw):
            found.append(Demonstration(problem, self.write(problem.columns, generator, kept[kind]), kind))
        return found


def _preferred(problem: Problem, pair: list[str], scores: list[float], generator: random.Random) -> Preference:
    first = generator.random() < 1.0 / (1.0 + math.exp(min(scores[1] - scores[0], 700.0)))
    return Preference(problem, pair[not first], pair[first])
