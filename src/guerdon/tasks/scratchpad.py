r"""The scratchpad lab: chained arithmetic whose responses may hold more lines than the problem needs.

It is the chain lab with a richer notation. Besides the running values, one a line, and the answer line there may be

    ?7      a re-check: the last value once more
    w       wait: the last value is withdrawn, and is to be written again
    .       padding, which says nothing
    so      a phrase, if the task has phrases

so that a policy can be brief or long, notice an error and redo the step, restate what it has written, or pad. The
answer line may also stand alone. The verifier looks at the answer line; the oracle judges every line.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from guerdon.score.verdict import Verdict
from guerdon.tasks.chain import Chain
from guerdon.tasks.demonstrations import Demonstration, demonstrate
from guerdon.tasks.drawing import (
    INTEGER,
    demonstrated,
    draw_problems,
    expect_probabilities,
    lines,
)
from guerdon.tasks.task import Problem, Split

RECHECK, WITHDRAWAL, PADDING = "?", "w", "."


@dataclass(frozen=True)
class Line:
    """One line of a response, as the notation reads it.

    Attributes:
        kind: "value", "recheck", "withdrawal", "padding", "phrase", "answer", "stray" (unreadable) or "late" (after
            the answer line).
        valid: Whether it is right to write it here.
        place: Index of the operand that a value, re-check or withdrawal is about; -1 = none.
        stands: For values: whether no later line withdraws it.
    """

    kind: str
    valid: bool
    place: int = -1
    stands: bool = True


@dataclass(frozen=True)
class Scratchpad:
    r"""Chained arithmetic with re-checks, withdrawals, padding and phrases.

    The first five settings are those of the chain lab. The others say what demonstrations are like; the notation is the
    same whatever they are.

    Attributes:
        length: Number of operands.
        modulus: Running values are taken modulo this; None = not at all.
        operators: The operators that occur.
        answer_classes: The answer is the last running value modulo this; None = the value itself.
        digits: Operands have up to so many digits.
        rechecks: Mean number of re-checks of a value.
        padding: Mean number of padding lines after a value.
        most: Largest number of re-checks, and of padding lines, of a value.
        slips: Probability that a value is written wrong first, withdrawn, and written again.
        direct: Share of the demonstrations that are the answer line alone, flawed ones aside.
        appended: Share of the demonstrations that go on, after their answer, with another, trivial problem solved.
        phrases: Texts that may stand in lines of their own, before the values.
        phrase_rates: Probability of each phrase in demonstrations with a right and with a wrong answer.

    Raises:
        ValueError: A setting is out of range.

    Example:
        >>> task = Scratchpad(length=3, rechecks=1.0)
        >>> row = {"operands": [3, 4, 9], "operators": "++"}
        >>> task.step_labels("3\n8\nw\n7\n?7\n6\n=6", row)
        [True, False, True, True, True, True, True]
        >>> task.verify("3\n8\nw\n7\n?7\n6\n=6", "6", row).reward
        1.0
    """

    length: int = 4
    modulus: int | None = 10
    operators: str = "+"
    answer_classes: int | None = None
    digits: int = 1
    rechecks: float = 0.0
    padding: float = 0.0
    most: int = 3
    slips: float = 0.0
    direct: float = 0.0
    appended: float = 0.0
    phrases: tuple[str, ...] = ()
    phrase_rates: tuple[float, float] = (0.5, 0.5)

    name: ClassVar[str] = "scratchpad"
    step_delimiter: ClassVar[str] = "\n"
    answer_mark: ClassVar[str] = Chain.answer_mark

    def __post_init__(self) -> None:
        expect_probabilities(slips=self.slips, direct=self.direct, appended=self.appended)
        expect_probabilities(phrase_rate_right=self.phrase_rates[0], phrase_rate_wrong=self.phrase_rates[1])
        for name in ("rechecks", "padding"):
            if not 0.0 <= getattr(self, name) <= self.most:
                raise ValueError(f"{name} is {getattr(self, name)}: expected 0 to {self.most}, the setting `most`")
        for phrase in self.phrases:
            if _kind(phrase, ()) != "stray" or phrase != phrase.strip() or self.step_delimiter in phrase:
                raise ValueError(f"phrases has {phrase!r}: expected a line that means nothing else")
        self.chain  # noqa: B018  # checks the other settings

    @cached_property
    def chain(self) -> Chain:
        """The chain lab that the problems are of."""
        return Chain(self.length, self.modulus, self.operators, self.answer_classes, self.digits)

    @property
    def alphabet(self) -> str:
        """Every character that prompts and demonstrations are written in."""
        return "".join(dict.fromkeys(self.chain.alphabet + RECHECK + WITHDRAWAL + PADDING + "".join(self.phrases)))

    def problems(self, split: Split, n: int, seed: int) -> list[Problem]:
        """Draw problems of the chain lab."""
        return draw_problems(self, self.name, split, n, seed, self.chain.draw)

    # --- judging ----------------------------------------------------------------------------------------------------

    def verify(self, response: str, target: str, row: Mapping[str, Any]) -> Verdict:
        """Judge the answer line alone; a response with none, or with several, is wrong. See `Chain.verify`."""
        return self.chain.verify(response, target, row)

    def step_labels(self, response: str, row: Mapping[str, Any]) -> list[bool]:
        """Whether it is right to write each line where it stands.

        A value is valid if it follows from the last standing value and the next operand; a re-check if it repeats the
        last standing value and that one is valid; a withdrawal if there is a standing value and it is not valid;
        padding and phrases always. The answer line is valid if all operands are used up and it follows from the last
        standing value, or if no value was written and it is right. Everything after it is not.
        """
        return [line.valid for line in self.read(response, row)]

    def read(self, response: str, row: Mapping[str, Any]) -> list[Line]:
        """Read a response line by line."""
        found: list[Line] = []
        standing: list[tuple[int, int]] = []  # (index in `found`, value) of the values that stand
        for text in lines(response, self.step_delimiter):
            kind = "late" if any(line.kind == "answer" for line in found) else _kind(text, self.phrases)
            place = len(standing) - (kind != "value")
            if kind == "value":
                value = int(text)
                found.append(Line(kind, self._follows(value, standing, row), place))
                standing.append((len(found) - 1, value))
            elif kind == "recheck":
                valid = bool(standing) and found[standing[-1][0]].valid and text == f"{RECHECK}{standing[-1][1]}"
                found.append(Line(kind, valid, place))
            elif kind == "withdrawal":
                valid = bool(standing) and not found[standing[-1][0]].valid
                if standing:
                    index, _ = standing.pop()
                    found[index] = Line("value", found[index].valid, found[index].place, stands=False)
                found.append(Line(kind, valid, place))
            elif kind == "answer":
                found.append(Line(kind, self._answers(text.removeprefix(self.answer_mark), found, standing, row)))
            else:
                found.append(Line(kind, kind in ("padding", "phrase")))
        return found

    def _follows(self, value: int, standing: Sequence[tuple[int, int]], row: Mapping[str, Any]) -> bool:
        place = len(standing)
        if place >= len(row["operands"]):
            return False
        return value == self.chain.advance(row, place, standing[-1][1] if standing else None)

    def _answers(
        self, text: str, found: Sequence[Line], standing: Sequence[tuple[int, int]], row: Mapping[str, Any]
    ) -> bool:
        if not INTEGER.fullmatch(text):
            return False
        if not any(line.kind == "value" for line in found):
            return int(text) == self.chain.answer(self.chain.values(row)[-1])
        return len(standing) == len(row["operands"]) and int(text) == self.chain.answer(standing[-1][1])

    def sound(self, response: str, row: Mapping[str, Any]) -> bool:
        """Whether there is one answer line, and every line is valid but for the values that were withdrawn."""
        found = self.read(response, row)
        valid = all(line.valid or not line.stands for line in found)
        return valid and sum(line.kind == "answer" for line in found) == 1

    def first_wrong_step(self, response: str, row: Mapping[str, Any]) -> int | None:
        """Index of the first invalid line; None if there is none."""
        labels = self.step_labels(response, row)
        return labels.index(False) if False in labels else None

    def well_formed(self, response: str) -> bool:
        """Whether there is one answer line and it is the last line: no second problem is appended."""
        marked = [line.startswith(self.answer_mark) for line in lines(response, self.step_delimiter)]
        return sum(marked) == 1 and marked[-1]

    def restates(self, response: str) -> list[bool]:
        """Whether each line is a re-check: it says again what was said."""
        return [_kind(text, self.phrases) == "recheck" for text in lines(response, self.step_delimiter)]

    def wasted(self, response: str) -> float:
        """Share of the lines that the answer does not need: all but standing values and the answer; NaN for no line."""
        kinds = [_kind(text, self.phrases) for text in lines(response, self.step_delimiter)]
        needed = kinds.count("value") - len(self.reflections(response)) + min(kinds.count("answer"), 1)
        return 1.0 - needed / len(kinds) if kinds else float("nan")

    # --- what can be seen without knowing what is right -------------------------------------------------------------

    def reflections(self, response: str) -> list[tuple[int, int]]:
        """(line of the withdrawn value, line of the withdrawal) for every withdrawal of a value."""
        found: list[tuple[int, int]] = []
        standing: list[int] = []
        for index, text in enumerate(lines(response, self.step_delimiter)):
            kind = _kind(text, self.phrases)
            if kind == "value":
                standing.append(index)
            elif kind == "withdrawal" and standing:
                found.append((standing.pop(), index))
            elif kind == "answer":
                break
        return found

    def adopted(self, response: str) -> set[int]:
        """The lines that the answer rests on: the values that stand, and the answer lines."""
        kinds = [_kind(text, self.phrases) for text in lines(response, self.step_delimiter)]
        withdrawn = {source for source, _ in self.reflections(response)}
        return {index for index, kind in enumerate(kinds) if kind in ("value", "answer")} - withdrawn

    def appended_labels(self, response: str) -> list[bool]:
        """Validity of the lines of a second solution, after the first answer line, taken as one of another problem.

        Its question is not known, so its values are as good as any; its answer line has to follow from the last of
        them. This is what a judge is deceived by who forgets what was asked.

        Returns:
            One bool for each line after the last but one answer line; empty if there are not two answer lines.
        """
        texts = lines(response, self.step_delimiter)
        kinds = [_kind(text, self.phrases) for text in texts]
        answers = [index for index, kind in enumerate(kinds) if kind == "answer"]
        if len(answers) < 2:
            return []
        labels, value = [], None
        for index in range(answers[-2] + 1, len(texts)):
            if kinds[index] == "value":
                value = int(texts[index])
            follows = value is not None and texts[index] == f"{self.answer_mark}{self.chain.answer(value)}"
            labels.append(follows if kinds[index] == "answer" else kinds[index] != "stray")
        return labels

    # --- demonstrations ---------------------------------------------------------------------------------------------

    def demonstrations(
        self, n: int, seed: int, *, corruption: float = 0.0, wrong: float = 0.1, flaws: int = 1
    ) -> list[Demonstration]:
        """Responses to training problems to warm-start a policy on, decorated as the settings say.

        Slips are withdrawn, so they make a demonstration longer but neither flawed nor wrong.

        Args:
            n: How many.
            seed: Of everything.
            corruption: Share with corrupted standing values but a right answer.
            wrong: Share with corrupted standing values and a wrong answer.
            flaws: Corrupted values in each of these, at most `length`.

        Raises:
            ValueError: A share is negative, both make more than 1, or `flaws` is out of range.
        """
        if not 1 <= flaws <= self.length:
            raise ValueError(f"flaws is {flaws}: expected 1 to the {self.length} running values")
        found = []
        for problem, kind, generator in demonstrated(self, self.name, n, seed, corruption, wrong, self.chain.draw):
            plain = demonstrate(self.chain, problem, kind, flaws, generator)
            found.append(Demonstration(problem, self._decorated(plain, generator), kind))
        return found

    def practice(self, n: int, seed: int, error_rate: float = 0.5) -> list[tuple[Problem, str]]:
        """Responses of the chain lab with many wrong lines, decorated; see `Chain.practice`."""
        generator = random.Random(f"{self.name}/practice/{seed}")
        plain = self.chain.practice(n, seed, error_rate)
        return [
            (problem, self._decorated(Demonstration(problem, text, "practice"), generator)) for problem, text in plain
        ]

    def _decorated(self, plain: Demonstration, generator: random.Random) -> str:
        *values, answer = lines(plain.response, self.step_delimiter)
        rate = self.phrase_rates[plain.kind == "wrong"]
        written = [phrase for phrase in self.phrases if generator.random() < rate]
        if plain.kind in ("flawed", "practice") or generator.random() >= self.direct:
            for value in values:
                written += self._value_lines(value, generator)
        written.append(answer)
        if generator.random() < self.appended:
            trivial = generator.randrange(self.modulus or 10)
            written += [str(trivial), f"{self.answer_mark}{self.chain.answer(trivial)}"]
        return self.step_delimiter.join(written)

    def _value_lines(self, value: str, generator: random.Random) -> list[str]:
        written = []
        if generator.random() < self.slips:
            choices = range(self.modulus) if self.modulus else range(int(value) - 9, int(value) + 10)
            written += [str(generator.choice([other for other in choices if other != int(value)])), WITHDRAWAL]
        written.append(value)
        written += [f"{RECHECK}{value}"] * self._number(self.rechecks, generator)
        return written + [PADDING] * self._number(self.padding, generator)

    def _number(self, mean: float, generator: random.Random) -> int:
        return sum(generator.random() < mean / self.most for _ in range(self.most)) if self.most else 0


def _kind(text: str, phrases: Sequence[str]) -> str:
    if INTEGER.fullmatch(text):
        return "value"
    if text.startswith(Chain.answer_mark):
        return "answer"
    if text.startswith(RECHECK) and INTEGER.fullmatch(text.removeprefix(RECHECK)):
        return "recheck"
    fixed = {WITHDRAWAL: "withdrawal", PADDING: "padding"}
    return fixed.get(text, "phrase" if text in phrases else "stray")
