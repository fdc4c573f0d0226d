r"""The strings lab: the last letters of words, a reasoning task with known steps.

Step n has to state the first n last letters:

    prompt    abc defg:     response  c
                                      cg
                                      =cg
"""

from __future__ import annotations

import random
import string
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from guerdon.score.verdict import Verdict
from guerdon.tasks.demonstrations import Demonstration
from guerdon.tasks.drawing import demonstrated, draw_problems, expect_range, lines
from guerdon.tasks.task import Problem, Split

ANSWER_MARK = "="


@dataclass(frozen=True)
class LastLetters:
    r"""The last letters of some words, one word a step.

    Attributes:
        words: Least and greatest number of words in training problems.
        test_words: The same of test problems.
        letters: Least and greatest length of a word.

    Raises:
        ValueError: A setting is out of range.

    Example:
        >>> task = LastLetters()
        >>> row = {"words": ["abc", "defg"]}
        >>> task.step_labels("c\nch\n=ch", row), task.verify("c\ncg\n=cg", "cg", row).reward
        ([True, False, False], 1.0)
    """

    words: tuple[int, int] = (2, 5)
    test_words: tuple[int, int] = (2, 7)
    letters: tuple[int, int] = (3, 6)

    name: ClassVar[str] = "last-letters"
    step_delimiter: ClassVar[str] = "\n"

    def __post_init__(self) -> None:
        expect_range("words", self.words, 1, 20)
        expect_range("test_words", self.test_words, 1, 20)
        expect_range("letters", self.letters, 1, 20)

    @property
    def alphabet(self) -> str:
        """Every character that prompts and responses are written in."""
        return string.ascii_lowercase + " :\n" + ANSWER_MARK

    def problems(self, split: Split, n: int, seed: int) -> list[Problem]:
        """Draw problems; test problems may have more words."""
        draw = self._draw if split == "train" else self._draw_longer
        return draw_problems(self, self.name, split, n, seed, draw)

    def _draw(self, generator: random.Random) -> tuple[str, str, dict[str, Any]]:
        return self._drawn(generator, self.words)

    def _draw_longer(self, generator: random.Random) -> tuple[str, str, dict[str, Any]]:
        return self._drawn(generator, self.test_words)

    def _drawn(self, generator: random.Random, number: tuple[int, int]) -> tuple[str, str, dict[str, Any]]:
        words = [
            "".join(generator.choices(string.ascii_lowercase, k=generator.randint(*self.letters)))
            for _ in range(generator.randint(*number))
        ]
        return " ".join(words) + ":", "".join(word[-1] for word in words), {"words": words}

    def verify(self, response: str, target: str, row: Mapping[str, Any]) -> Verdict:
        """Judge the answer line alone; a response with none, or with several, is wrong."""
        found = [line for line in lines(response, self.step_delimiter) if line.startswith(ANSWER_MARK)]
        if len(found) != 1:
            return Verdict(0.0, reason=f"{len(found)} answer lines: expected one")
        answer = found[0].removeprefix(ANSWER_MARK)
        return Verdict(float(answer == target), answer, "" if answer == target else f"the answer is {target}")

    def step_labels(self, response: str, row: Mapping[str, Any]) -> list[bool]:
        """Whether line n states the first n last letters; the answer line has to state all, after as many lines."""
        wanted = "".join(word[-1] for word in row["words"])
        labels: list[bool] = []
        answered = False
        for index, text in enumerate(lines(response, self.step_delimiter)):
            if text.startswith(ANSWER_MARK):
                complete = not answered and index == len(wanted)
                labels.append(complete and text == ANSWER_MARK + wanted)
                answered = True
            else:
                labels.append(not answered and index < len(wanted) and text == wanted[: index + 1])
        return labels

    def sound(self, response: str, row: Mapping[str, Any]) -> bool:
        """Whether a response has exactly the steps that the problem needs, and all of them are valid."""
        labels = self.step_labels(response, row)
        return len(labels) == len(row["words"]) + 1 and all(labels)

    def solution(self, row: Mapping[str, Any]) -> str:
        """The right response."""
        wanted = "".join(word[-1] for word in row["words"])
        return self._written([wanted[:end] for end in range(1, len(wanted) + 1)], wanted)

    def _written(self, steps: list[str], answer: str) -> str:
        return self.step_delimiter.join([*steps, ANSWER_MARK + answer])

    def demonstrations(
        self, n: int, seed: int, *, corruption: float = 0.0, wrong: float = 0.6, flaws: int = 1
    ) -> list[Demonstration]:
        """Responses to training problems to warm-start a policy on; errors are other letters of the same word.

        Args:
            n: How many.
            seed: Of everything.
            corruption: Share with wrong letters in a step and the right answer.
            wrong: Share with wrong letters that stay to the end.
            flaws: Wrong letters in each of these; fewer where there are not so many words.

        Raises:
            ValueError: A share is negative, both make more than 1, or `flaws` is below 1.
        """
        if flaws < 1:
            raise ValueError(f"flaws is {flaws}: expected at least 1")
        found = []
        for problem, kind, generator in demonstrated(self, self.name, n, seed, corruption, wrong, self._draw):
            found.append(Demonstration(problem, self._demonstrated(problem, kind, flaws, generator), kind))
        return found

    def _demonstrated(self, problem: Problem, kind: str, flaws: int, generator: random.Random) -> str:
        words, right = problem.columns["words"], problem.target
        if kind == "sound":
            return self.solution(problem.columns)
        places = set(generator.sample(range(len(words)), min(flaws, len(words))))
        noisy = [self._other(word, generator) if at in places else word[-1] for at, word in enumerate(words)]
        written = "".join(noisy)
        if kind == "wrong":
            return self._written([written[:end] for end in range(1, len(words) + 1)], written)
        # A flawed step has the wrong letter, and those after it the right ones again.
        steps = [right[: end - 1] + noisy[end - 1] for end in range(1, len(words) + 1)]
        return self._written(steps, right)

    def _other(self, word: str, generator: random.Random) -> str:
        others = [letter for letter in word if letter != word[-1]]
        return generator.choice(others or [letter for letter in string.ascii_lowercase if letter != word[-1]])
