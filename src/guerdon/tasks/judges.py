"""Judges of steps whose defects are declared, so that a claim can measure what they do."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from guerdon.rollouts import Rollouts
from guerdon.score.models.step_scores import fill_process
from guerdon.tasks.task import Task, split_steps


def repeated_steps(response: str, delimiter: str) -> list[bool]:
    r"""Whether each step has the text of the step before it, white space at its ends aside.

    Args:
        response: The response.
        delimiter: Text that ends a step.

    Example:
        >>> repeated_steps("3\n3\n7\n=1", "\n")
        [False, True, False, False]
    """
    texts = [response[start:end].strip() for start, end in split_steps(response, delimiter)]
    return [index > 0 and texts[index - 1] == text for index, text in enumerate(texts)]


def repeated_step_rate(responses: Sequence[str], delimiter: str) -> float:
    r"""Share of steps that repeat the one before, among all steps that have one before them.

    Args:
        responses: The responses.
        delimiter: Text that ends a step.

    Returns:
        A number in [0, 1]; NaN if no response has two steps.

    Example:
        >>> repeated_step_rate(["3\n3\n7", "1\n2"], "\n")
        0.3333333333333333
    """
    flags = [flag for response in responses for flag in repeated_steps(response, delimiter)[1:]]
    return sum(flags) / len(flags) if flags else float("nan")


@dataclass(frozen=True)
class NoisyJudge:
    """A process reward from the task's step oracle, with declared defects (dossier 01's judge).

    A step gets 1 if the oracle calls it valid and 0 otherwise; then the verdict is flipped with probability `flip`,
    for each step on its own, and the verdicts of a whole response are flipped with probability `correlated`; then a
    step that repeats the one before gets `repeat_bonus` on top, deserved or not. So rewards lie in
    [0, 1 + `repeat_bonus`].

    The noise is a function of (seed, prompt_id, response, step): the same row always gets the same rewards,
    whichever batch it is in.

    Attributes:
        oracle: A task with step labels.
        flip: Probability that one verdict is wrong.
        repeat_bonus: What a repeated step gets on top.
        correlated: Probability that all verdicts on a response are flipped together.
        seed: Of the noise.

    Raises:
        ValueError: A probability is outside [0, 1]; on a call, the task has no oracle for steps.
    """

    oracle: Task
    flip: float = 0.15
    repeat_bonus: float = 0.2
    correlated: float = 0.0
    seed: int = 0
    reads: ClassVar[tuple[str, ...]] = ("response", "prompt_id", "step")
    writes: ClassVar[tuple[str, ...]] = ("process",)

    def __post_init__(self) -> None:
        for name in ("flip", "correlated"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} is {getattr(self, name)}: expected a probability")

    def __call__(self, rollouts: Rollouts) -> Rollouts:
        """Return the rollouts with `process` filled."""
        responses, prompt_ids = rollouts.column("response"), rollouts.column("prompt_id")
        names = list(rollouts.columns)
        rows = [dict(zip(names, row, strict=True)) for row in zip(*rollouts.columns.values(), strict=True)]
        known: dict[tuple[str, str], list[float]] = {}
        values = []
        for response, prompt_id, row in zip(responses, prompt_ids, rows, strict=True):
            key = (json.dumps(prompt_id), response)
            if key not in known:
                known[key] = self.judge(response, prompt_id, row)
            values.append(known[key])
        return fill_process(rollouts, values)

    def judge(self, response: str, prompt_id: Any, row: Mapping[str, Any]) -> list[float]:
        """The rewards of the steps of one response.

        Args:
            response: The response.
            prompt_id: Which problem it answers; a JSON value.
            row: The problem's columns.
        """
        labels = self.oracle.step_labels(response, row)
        if labels is None:
            raise ValueError(f"task {self.oracle.name} has no oracle for steps: expected one to judge by")
        all_flipped = self._chance(prompt_id, response, "all") < self.correlated
        repeats = repeated_steps(response, self.oracle.step_delimiter)
        rewards = []
        for index, (label, repeat) in enumerate(zip(labels, repeats, strict=True)):
            flipped = (self._chance(prompt_id, response, index) < self.flip) != all_flipped
            rewards.append(float(label != flipped) + self.repeat_bonus * repeat)
        return rewards

    def _chance(self, *what: Any) -> float:
        """A number in [0, 1) that depends on the seed and the arguments alone."""
        digest = hashlib.sha256(json.dumps([self.seed, *what]).encode()).digest()
        return int.from_bytes(digest[:7], "big") / 2.0**56
