r"""The derivations lab: written solutions, most of them without an answer that could be checked.

A problem is a chain of operations; its solution has one line a step. Most problems are proofs, so to speak: their
prompts end with a colon, and their solutions with the last step.

    prompt    7+5*4=         prompt    7+5*4:
    response  a=7+5=12       response  a=7+5=12
              b=a*4=48                 b=a*4=48
              =48

What is written can be made use of all the same: `exercise` hides results of a solution, or shuffles its steps, and asks
for them back. If the lines are linked by names, shuffled ones can be put in order without any arithmetic; so there is
also a notation without links, in which a line shows the value before the operation, not after it.
"""

from __future__ import annotations

import random
import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from guerdon.score.verdict import Verdict
from guerdon.score.verify.fill_in import fill_reward, parse_fills, parse_order, reorder_reward
from guerdon.select.masked_samples import Span, apply_masks
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

KINDS = ("solve", "mask", "reorder")
"""What a problem may ask for: the column `kind`."""

_LINKED = re.compile(r"([a-z])=([a-z]|\d{1,9})([-+*])(\d{1,9})=(\d{1,9})")
_LOOSE = re.compile(r"([a-z])=(\d{1,9})([-+*])(\d{1,9})")
_PROOF, _TAG = ":", "_{}"
_TRIES = 40


@dataclass(frozen=True)
class Derivations:
    r"""Chained operations with written steps, of which most problems have no checkable answer.

    Attributes:
        steps: Least and greatest number of steps.
        modulus: Values are taken modulo this.
        operators: The operators that occur.
        digits: Operands have up to so many digits.
        proofs: Share of the training problems without a checkable answer (`verify` gives NaN for them); test problems
            all have one. The column `checkable` says which.
        linked: Whether each line refers to the one before by name and shows its own result.
        hidden: Share of the results that a "mask" exercise hides, at least one.
        exercises: Share of the demonstrations that are exercises, answered at random: they teach the form alone.

    Raises:
        ValueError: A setting is out of range.

    Example:
        >>> task = Derivations()
        >>> row = {"operands": [7, 5, 4], "operators": "+*"}
        >>> task.written(row, answer=True)
        'a=7+5=12\nb=a*4=48\n=48'
        >>> Derivations(linked=False).step_labels("k=7+5\nq=12*4\n=48", row)
        [True, True, True]
    """

    steps: tuple[int, int] = (4, 6)
    modulus: int = 97
    operators: str = "+-*"
    digits: int = 1
    proofs: float = 0.8
    linked: bool = True
    hidden: float = 0.3
    exercises: float = 0.0

    name: ClassVar[str] = "derivations"
    step_delimiter: ClassVar[str] = "\n"

    def __post_init__(self) -> None:
        expect_range("steps", self.steps, 2, 9)
        expect_probabilities(proofs=self.proofs, hidden=self.hidden, exercises=self.exercises)
        if self.modulus < 4:
            raise ValueError(f"modulus is {self.modulus}: expected at least 4")
        self.chain(self.steps[1])

    def chain(self, steps: int) -> Chain:
        """The chain lab of problems with so many steps."""
        return Chain(steps + 1, self.modulus, self.operators, None, self.digits)

    @property
    def alphabet(self) -> str:
        """Every character that prompts and responses are written in."""
        extra = string.ascii_lowercase + _PROOF + "[]. ," + _TAG.format("")
        return "".join(dict.fromkeys(self.chain(self.steps[1]).alphabet + extra))

    # --- problems ---------------------------------------------------------------------------------------------------

    def problems(self, split: Split, n: int, seed: int) -> list[Problem]:
        """Draw problems to solve."""
        draw = self._draw if split == "train" else self._draw_checkable
        return draw_problems(self, self.name, split, n, seed, draw)

    def _draw(self, generator: random.Random) -> tuple[str, str, dict[str, Any]]:
        return self._drawn(generator, checkable=generator.random() >= self.proofs)

    def _draw_checkable(self, generator: random.Random) -> tuple[str, str, dict[str, Any]]:
        return self._drawn(generator, checkable=True)

    def _drawn(self, generator: random.Random, *, checkable: bool) -> tuple[str, str, dict[str, Any]]:
        prompt, target, row = self.chain(generator.randint(*self.steps)).draw(generator)
        row |= {"kind": "solve", "checkable": checkable}
        if checkable:
            return prompt, target, row
        return prompt.removesuffix(Chain.answer_mark) + _PROOF, "", row

    def exercise(self, problem: Problem, kind: str, generator: random.Random, prompt_id: int) -> Problem:
        """Make an exercise of the reference solution of a problem, its answer line left out.

        Args:
            problem: A problem to solve, with or without a checkable answer.
            kind: "mask": numbers of the solution are hidden, never the last result; a response lists them as
                `1. 12`, one a line. "reorder": the steps are shuffled; a response lists their labels in the right
                order, as `2 1 3`.
            generator: Source of randomness.
            prompt_id: Id of the new prompt.

        Raises:
            ValueError: An unknown kind, or a solution of fewer than two steps.
        """
        written = lines(self.written(problem.columns, answer=False, generator=generator), self.step_delimiter)
        if kind not in KINDS[1:] or len(written) < 2:
            raise ValueError(
                f"kind is {kind!r} of a solution of {len(written)} steps: expected {KINDS[1:]} of 2 or more"
            )
        columns = {**problem.columns, "kind": kind, "checkable": True}
        if kind == "mask":
            spans = self._numbers(written)
            chosen = generator.sample(spans, max(1, round(self.hidden * len(spans))))
            text, gold = apply_masks(self.step_delimiter.join(written), chosen, _TAG)
            return Problem(f"{problem.prompt}{text}\n", ";".join(gold), prompt_id, {**columns, "gold": gold})
        order = list(range(len(written)))
        while order == sorted(order):
            generator.shuffle(order)
        shown = "\n".join(f"[{label}]{written[place]}" for label, place in enumerate(order, start=1))
        target = " ".join(str(order.index(place) + 1) for place in range(len(order)))
        columns |= {"permutation": order, "texts": written}
        return Problem(f"{problem.prompt}{shown}\n", target, prompt_id, columns)

    def _numbers(self, written: Sequence[str]) -> list[Span]:
        """The running values that may be hidden: all results but the last, or all left operands but the first."""
        spans, at = [], 0
        for index, line in enumerate(written):
            match = (_LINKED if self.linked else _LOOSE).fullmatch(line)
            assert match is not None
            if self.linked and index < len(written) - 1:
                spans.append(Span(at + match.start(5), at + match.end(5)))
            elif not self.linked and index:
                spans.append(Span(at + match.start(2), at + match.end(2)))
            at += len(line) + 1
        return spans

    def written(
        self,
        row: Mapping[str, Any],
        *,
        answer: bool,
        generator: random.Random | None = None,
        values: Sequence[int] = (),
    ) -> str:
        """A solution.

        Args:
            row: The problem's columns.
            answer: Whether it ends with an answer line.
            generator: Draws the names of unlinked lines; None = the letters in order.
            values: Running values to write, one for each operand; none = the right ones.
        """
        values = values or self.chain(len(row["operands"]) - 1).values(row)
        found = []
        for index, (operator, operand) in enumerate(zip(row["operators"], row["operands"][1:], strict=True)):
            if self.linked:
                left = string.ascii_lowercase[index - 1] if index else str(values[0])
                found.append(f"{string.ascii_lowercase[index]}={left}{operator}{operand}={values[index + 1]}")
            else:
                name = string.ascii_lowercase[index] if generator is None else generator.choice(string.ascii_lowercase)
                found.append(f"{name}={values[index]}{operator}{operand}")
        if answer:
            found.append(f"{Chain.answer_mark}{values[-1]}")
        return self.step_delimiter.join(found)

    # --- judging ----------------------------------------------------------------------------------------------------

    def verify(self, response: str, target: str, row: Mapping[str, Any]) -> Verdict:
        """Judge the answer line of a solution, or the share of an exercise that is right.

        Args:
            response: What the policy wrote.
            target: The right answer; "" for a problem without a checkable one, which gets NaN. Not used for exercises.
            row: The problem's columns.
        """
        kind = row.get("kind", "solve")
        if kind == "mask":
            gold = list(row["gold"])
            fills = parse_fills(response, len(gold))
            found = None if fills is None else ";".join(item or "" for item in fills)
            return Verdict(fill_reward(fills, gold, _equal), found, "" if fills else "no list of the hidden numbers")
        if kind == "reorder":
            order = parse_order(response, len(row["permutation"]))
            found = None if order is None else " ".join(map(str, order))
            reward = reorder_reward(order, row["permutation"], row["texts"])
            return Verdict(reward, found, "" if order else "no order of the steps")
        if not target:
            return Verdict(float("nan"), reason="this problem has no answer that could be checked")
        return self.chain(len(row["operands"]) - 1).verify(response, target, row)

    def step_labels(self, response: str, row: Mapping[str, Any]) -> list[bool] | None:
        """Whether each line of a solution follows from what was written before it; None for exercises.

        A line has to use the next operator and operand on the value that was written last, and the answer line has to
        hold the value that follows after all of them.
        """
        if row.get("kind", "solve") != "solve":
            return None
        task = self.chain(len(row["operands"]) - 1)
        labels: list[bool] = []
        value: int | None = task.values(row)[0]  # the running value before the line that comes, as it was written
        place, answered = 0, False
        for text in lines(response, self.step_delimiter):
            if text.startswith(Chain.answer_mark):
                complete = not answered and place == len(row["operators"]) and value is not None
                labels.append(complete and text.removeprefix(Chain.answer_mark) == str(value))
                answered = True
                continue
            valid, value = self._step(text, place, value, row, task)
            labels.append(valid and not answered)
            place += 1
        return labels

    def _step(
        self, text: str, place: int, value: int | None, row: Mapping[str, Any], task: Chain
    ) -> tuple[bool, int | None]:
        """(whether a line follows, the running value after it as it was written)."""
        match = (_LINKED if self.linked else _LOOSE).fullmatch(text)
        if match is None or place >= len(row["operators"]):
            return False, None
        right = match[3] == row["operators"][place] and int(match[4]) == int(row["operands"][place + 1])
        if not self.linked:
            left = int(match[2])
            return right and left == value, task.advance(row, place + 1, left)
        result = int(match[5])
        left_text = string.ascii_lowercase[place - 1] if place else str(row["operands"][0] % self.modulus)
        named = match[1] == string.ascii_lowercase[place] and match[2] == left_text
        follows = value is not None and result == task.advance(row, place + 1, value)
        return right and named and follows, result

    def sound(self, response: str, row: Mapping[str, Any]) -> bool:
        """Whether a response has all the steps, all of them valid, and an answer line if the problem asks for one."""
        labels = self.step_labels(response, row) or []
        return len(labels) == len(row["operators"]) + bool(row.get("checkable", True)) and all(labels)

    # --- demonstrations ---------------------------------------------------------------------------------------------

    def demonstrations(
        self, n: int, seed: int, *, corruption: float = 0.0, wrong: float = 0.3, flaws: int = 1
    ) -> list[Demonstration]:
        """Solutions of training problems, and exercises answered at random, to warm-start a policy on.

        Args:
            n: How many.
            seed: Of everything.
            corruption: Share with corrupted values that return to the true ones.
            wrong: Share with corrupted values and a wrong last one, which follows from them where that is possible.
            flaws: Corrupted values in each of these.

        Raises:
            ValueError: A share is negative, both make more than 1, or `flaws` is out of range.
        """
        if not 1 <= flaws < self.steps[0]:
            raise ValueError(f"flaws is {flaws}: expected 1 to {self.steps[0] - 1}, below the least number of steps")
        found = []
        for problem, kind, generator in demonstrated(self, self.name, n, seed, corruption, wrong, self._draw):
            if generator.random() < self.exercises:
                found.append(self._random_answer(problem, kind, generator))
            else:
                found.append(Demonstration(problem, self._solution(problem, kind, flaws, generator), kind))
        return found

    def _solution(self, problem: Problem, kind: str, flaws: int, generator: random.Random) -> str:
        row = problem.columns
        task = self.chain(len(row["operands"]) - 1)
        values = task.values(row)
        if kind != "sound":
            values = self._corrupted(task, row, values, kind, flaws, generator)
        return self.written(row, answer=bool(row["checkable"]), generator=generator, values=values)

    def _corrupted(
        self, task: Chain, row: Mapping[str, Any], truth: list[int], kind: str, flaws: int, generator: random.Random
    ) -> list[int]:
        # The first value is given and the last one decides, so errors are in the values between them.
        for _ in range(_TRIES):
            wrong_places = set(generator.sample(range(1, len(truth) - 1), min(flaws, len(truth) - 2)))
            values = truth[:1]
            for place in range(1, len(truth)):
                follows = task.advance(row, place, values[-1])
                if place in wrong_places:
                    others = [value for value in range(self.modulus) if value not in (follows, truth[place])]
                    values.append(generator.choice(others))
                else:
                    values.append(truth[place] if kind == "flawed" else follows)
            if kind == "flawed" or values[-1] != truth[-1]:
                return values
        return [*truth[:-1], (truth[-1] + generator.randrange(1, self.modulus)) % self.modulus]

    def _random_answer(self, problem: Problem, kind: str, generator: random.Random) -> Demonstration:
        exercise = self.exercise(problem, generator.choice(KINDS[1:]), generator, problem.prompt_id)
        if exercise.columns["kind"] == "mask":
            number = len(exercise.columns["gold"])
            response = "\n".join(f"{place + 1}. {generator.randrange(self.modulus)}" for place in range(number))
        else:
            labels = list(range(1, len(exercise.columns["permutation"]) + 1))
            generator.shuffle(labels)
            response = " ".join(map(str, labels))
        return Demonstration(exercise, response, kind)


def _equal(item: str, reference: str) -> float:
    return float(item.strip() == reference)
