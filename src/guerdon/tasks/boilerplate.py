r"""The boilerplate lab: long responses in which a few tokens decide, and all others are set phrases.

A chain of operands is summed, but the response is a form of several lines of words, each of which may be replaced by a
synonym, and only some lines hold a running value:

    prompt    3+4+9=
    response  aem
              din
              cfm=7
              bhk
              ...
              ajo=6

So it is known which tokens matter, and a method that weighs tokens can be held to it. The answer is the last value.
"""

from __future__ import annotations

import random
import string
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from guerdon.score.verdict import Verdict
from guerdon.tasks.chain import Chain
from guerdon.tasks.demonstrations import Demonstration
from guerdon.tasks.drawing import INTEGER, demonstrated, draw_problems, lines
from guerdon.tasks.task import Problem, Split

_WORDS = string.ascii_letters
_MARK = Chain.answer_mark


@dataclass(frozen=True)
class Boilerplate:
    r"""Chained sums in a form of set phrases.

    Attributes:
        operands: Number of operands; the response holds `operands - 1` values, each of them decisive.
        form: Number of lines of the response.
        words: Words in a line, each of them a letter.
        synonyms: How many letters serve as well in each place.
        modulus: Values are taken modulo this.

    Raises:
        ValueError: A setting is out of range, or there are too few letters.

    Example:
        >>> task = Boilerplate(operands=2, form=2, words=1)
        >>> row = {"operands": [3, 4], "operators": "+"}
        >>> response = "a\nd=7"
        >>> task.verify(response, "7", row).reward, task.step_labels(response, row)
        (1.0, [True, True])
        >>> [mark for mark, decides in zip(response, task.decisive(response)) if decides]
        ['7']
    """

    operands: int = 3
    form: int = 8
    words: int = 3
    synonyms: int = 3
    modulus: int = 10

    name: ClassVar[str] = "boilerplate"
    step_delimiter: ClassVar[str] = "\n"

    def __post_init__(self) -> None:
        if not 2 <= self.operands <= min(10, self.form + 1):
            raise ValueError(f"operands is {self.operands}: expected 2 to 10, and no more values than lines")
        for name in ("words", "synonyms"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: expected at least 1")
        if self.synonyms > len(_WORDS):
            raise ValueError(f"synonyms is {self.synonyms}: expected at most {len(_WORDS)} letters")
        self.chain  # noqa: B018  # checks the modulus

    @cached_property
    def chain(self) -> Chain:
        """The chain lab that the problems are of."""
        return Chain(self.operands, self.modulus, "+", None)

    @property
    def alphabet(self) -> str:
        """Every character that prompts and responses are written in."""
        return self.chain.alphabet + _WORDS

    @cached_property
    def value_lines(self) -> tuple[int, ...]:
        """The lines that hold a value, evenly spread; the last line is one of them."""
        number = self.operands - 1
        return tuple((index + 1) * self.form // number - 1 for index in range(number))

    def choices(self, line: int, place: int) -> str:
        """The letters that may stand in a place of a line."""
        start = (line * self.words + place) * self.synonyms
        return "".join(_WORDS[(start + index) % len(_WORDS)] for index in range(self.synonyms))

    def problems(self, split: Split, n: int, seed: int) -> list[Problem]:
        """Draw problems of the chain lab."""
        return draw_problems(self, self.name, split, n, seed, self.chain.draw)

    def verify(self, response: str, target: str, row: Mapping[str, Any]) -> Verdict:
        """Judge the value of the last line of the form; a response of another number of lines is wrong.

        Args:
            response: What the policy wrote.
            target: The right answer; NaN and a reason if it is no integer.
            row: Not used.
        """
        if not INTEGER.fullmatch(target):
            return Verdict(float("nan"), reason=f"target is {target!r}: expected an integer")
        found = lines(response, self.step_delimiter)
        if len(found) != self.form:
            return Verdict(0.0, reason=f"{len(found)} lines: expected {self.form}")
        answer = found[-1].partition(_MARK)[2]
        if not INTEGER.fullmatch(answer):
            return Verdict(0.0, answer or None, "the last line has no value")
        right = int(answer) == int(target)
        return Verdict(float(right), answer, "" if right else f"the answer is {target}")

    def step_labels(self, response: str, row: Mapping[str, Any]) -> list[bool]:
        """Whether each line fits the form, and its value, if it has to have one, follows from the value before."""
        labels: list[bool] = []
        place, value = 0, int(row["operands"][0]) % self.modulus
        for index, text in enumerate(lines(response, self.step_delimiter)):
            letters, mark, written = text.partition(_MARK)
            fits = index < self.form and len(letters) == self.words
            fits = fits and all(letter in self.choices(index, at) for at, letter in enumerate(letters))
            if index in self.value_lines:
                place += 1
                # After a line without a value nothing follows any more, as in the chain lab.
                readable = bool(INTEGER.fullmatch(written)) and value >= 0
                fits = fits and readable and int(written) == self.chain.advance(row, place, value)
                value = int(written) if readable else -1
            else:
                fits = fits and not mark
            labels.append(fits)
        return labels

    def decisive(self, response: str) -> list[bool]:
        """Whether each character is part of a value in a line that has to have one: these decide the result."""
        found: list[bool] = []
        line, after_mark = 0, False
        for letter in response:
            after_mark = after_mark or letter == _MARK
            found.append(after_mark and letter in string.digits and line in self.value_lines)
            if letter == self.step_delimiter:
                line, after_mark = line + 1, False
        return found

    def sound(self, response: str, row: Mapping[str, Any]) -> bool:
        """Whether the response has all lines of the form and every line is valid."""
        labels = self.step_labels(response, row)
        return len(labels) == self.form and all(labels)

    def demonstrations(
        self, n: int, seed: int, *, corruption: float = 0.0, wrong: float = 0.3, flaws: int = 1
    ) -> list[Demonstration]:
        """Responses to training problems to warm-start a policy on, with random synonyms.

        Args:
            n: How many.
            seed: Of everything.
            corruption: Share with a corrupted value before a right answer; with two operands there is no such value,
                and these are sound.
            wrong: Share with a corrupted value and a wrong answer, which follows from it.
            flaws: Not used: one value is corrupted.

        Raises:
            ValueError: A share is negative, or both make more than 1.
        """
        found = []
        for problem, kind, generator in demonstrated(self, self.name, n, seed, corruption, wrong, self.chain.draw):
            values = self._values(problem, kind, generator)
            found.append(Demonstration(problem, self._filled_in([str(value) for value in values], generator), kind))
        return found

    def _values(self, problem: Problem, kind: str, generator: random.Random) -> list[int]:
        values = self.chain.values(problem.columns)[1:]
        if kind == "sound" or (kind == "flawed" and len(values) == 1):
            return values
        error = generator.randrange(1, self.modulus)
        at = generator.randrange(len(values) - (kind == "flawed"))
        moved = [place == at if kind == "flawed" else place >= at for place in range(len(values))]
        return [(value + error * moves) % self.modulus for value, moves in zip(values, moved, strict=True)]

    def _filled_in(self, values: list[str], generator: random.Random) -> str:
        written, rest = [], list(values)
        for line in range(self.form):
            letters = "".join(generator.choice(self.choices(line, place)) for place in range(self.words))
            written.append(f"{letters}{_MARK}{rest.pop(0)}" if line in self.value_lines else letters)
        return self.step_delimiter.join(written)
