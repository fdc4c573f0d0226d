"""Every data set of the reasoning-gym package, with its own scorer."""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Mapping
from typing import Any

from guerdon.overrides import nearest
from guerdon.score.verdict import Verdict
from guerdon.score.verify.answers import last_number
from guerdon.score.verify.blocks import extract_blocks
from guerdon.tasks.task import Problem, Split

INSTRUCTION = "Give only the final answer."
_TEST_SHARE = 4  # one question in so many is held out
_TRIES = 40
_SIZE = 1_000_000  # of every data set that is drawn from; entries are made one by one
_NUMBER = re.compile(r"[+-]?[0-9][0-9,]*(?:\.[0-9]+)?")
_KEPT = 20_000  # entries that are remembered


def final_answer(response: str, target: str) -> str:
    r"""The answer in a response: its last `<answer>` block, or else as many last lines as the reference answer has.

    Where the reference answer is a number, the last number of the last line is taken: small models rarely write a
    number alone, however they are asked, and a right answer in a sentence is right.

    Args:
        response: What the policy wrote.
        target: The reference answer.

    Example:
        >>> final_answer("Let me see.\n1 2\n3 4\n", "5 6\n7 8"), final_answer("2+2\n= 4\n", "4")
        ('1 2\n3 4', '4')
    """
    tagged = extract_blocks(response, ("answer",))["answer"]
    if tagged:
        return tagged[-1]
    height = target.strip("\n").count("\n") + 1
    lines = response.rstrip().splitlines()[-height:]
    if height > 1:
        return "\n".join(lines)
    line = "".join(lines).strip()
    number = last_number(line) if _NUMBER.fullmatch(target.strip()) else None
    return line if number is None else number


def _held_out(question: str) -> bool:
    return zlib.crc32(question.encode()) % _TEST_SHARE == 0


class ReasoningGym:
    """A procedural data set with partial scores.

    Args:
        dataset: Its name in reasoning-gym, as `chain_sum`.
        knobs: Settings of the data set.

    Raises:
        ValueError: The data set or a setting is unknown.
        RuntimeError: The package is not installed.
    """

    step_delimiter = "\n"

    def __init__(self, dataset: str, knobs: Mapping[str, Any]) -> None:
        try:
            from reasoning_gym.factory import DATASETS
        except ImportError as error:
            raise RuntimeError(
                "task reasoning-gym needs the package reasoning-gym: pip install reasoning-gym"
            ) from error
        if dataset not in DATASETS:
            raise ValueError(f"reasoning-gym has no data set {dataset!r}; {nearest(dataset, DATASETS)}")
        self.dataset = dataset
        self.knobs = dict(knobs)
        self.name = f"reasoning-gym:{dataset}"
        self._datasets: dict[int, Any] = {}
        self._entries: dict[tuple[int, int], dict[str, Any]] = {}
        self._scorer = self._make(1, 0)

    def __repr__(self) -> str:
        return f"ReasoningGym({self.dataset!r}, {self.knobs})"

    def _make(self, size: int, seed: int) -> Any:
        import reasoning_gym

        try:
            return reasoning_gym.create_dataset(self.dataset, size=size, seed=seed, **self.knobs)
        except (TypeError, AssertionError) as error:
            raise ValueError(f"task {self.name}: settings {self.knobs} do not fit ({error})") from error

    def problems(self, split: Split, n: int, seed: int) -> list[Problem]:
        """Draw problems; which split a question belongs to is decided by a hash of it, whatever the seed.

        Raises:
            ValueError: The split is unknown, or the data set has too few different questions for it.
        """
        if split not in ("train", "test"):
            raise ValueError(f"split is {split!r}: expected 'train' or 'test'")
        # The package draws entry i of seed s from the random state s + i, so neighbouring seeds would overlap.
        start = int.from_bytes(hashlib.sha256(f"{split}/{seed}".encode()).digest()[:4], "big") % 2**30
        found: list[Problem] = []
        for index in range(_TRIES * n):
            if len(found) == n:
                break
            entry = self._entry(start, index)
            if _held_out(entry["question"]) == (split == "test"):
                found.append(self._problem(entry, len(found), start, index))
        if len(found) < n:
            raise ValueError(f"task {self.name}: too few different problems for a {split} split; make it harder")
        return found

    def _problem(self, entry: Mapping[str, Any], prompt_id: int, start: int, index: int) -> Problem:
        question, answer = entry["question"], entry["answer"]
        prompt = [{"role": "user", "content": f"{question}\n{INSTRUCTION}"}]
        # Entries hold what JSON cannot (tuples, numbers as keys), so a row only says how to draw its entry again.
        columns = {"question": question, "drawn": [start, index]}
        return Problem(prompt, "" if answer is None else str(answer), prompt_id, columns)

    def _entry(self, start: int, index: int) -> dict[str, Any]:
        key = (start, index)
        if key not in self._entries:
            if start not in self._datasets:
                self._datasets[start] = self._make(_SIZE, start)
            while len(self._entries) >= _KEPT:
                self._entries.pop(next(iter(self._entries)))
            self._entries[key] = dict(self._datasets[start][index])
        return self._entries[key]

    def verify(self, response: str, target: str, row: Mapping[str, Any]) -> Verdict:
        """Score by the data set's own scorer; partial scores are kept.

        Args:
            response: What the policy wrote; see `final_answer`.
            target: The reference answer; "" for data sets that have none.
            row: `Problem.columns`.

        Returns:
            The scorer's verdict; NaN and the reason if the scorer fails, or if the installed version of the package
            no longer draws the same question.
        """
        answer = final_answer(response, target)
        try:
            entry = self._entry(*row["drawn"])
            if entry["question"] != row["question"]:
                return Verdict(float("nan"), answer, "reasoning-gym draws another question than when the row was made")
            score = float(self._scorer.score_answer(answer=answer, entry=entry))
        except Exception as error:
            return Verdict(float("nan"), answer, f"reasoning-gym's scorer: {type(error).__name__}: {error}")
        # The scorers give 0.01 for an attempt that is wrong; that is no partly right answer.
        return Verdict(score if score > 0.05 else 0.0, answer, "" if score > 0.05 else f"the answer is {target}")

    def step_labels(self, response: str, row: Mapping[str, Any]) -> None:
        """None: the package has no oracle for steps."""
