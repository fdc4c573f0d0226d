"""Judges of steps whose defects are declared, so that a claim can measure what they do."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from guerdon.rollouts import Rollouts
from guerdon.score.models.step_scores import fill_process
from guerdon.shape.thought_rewards import labels_from_matching, labels_from_reflections
from guerdon.tasks.drawing import expect_probabilities
from guerdon.tasks.scratchpad import Scratchpad
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


FILLS = ("process", "outcome", "both")
"""What a judge may fill."""


@dataclass(frozen=True)
class Defect:
    """Something that a judge gets wrong.

    Attributes:
        name: The setting of the judge.
        size: Its value.
        meaning: What it does.
    """

    name: str
    size: float | str
    meaning: str


@dataclass(frozen=True)
class Verification:
    """One judgement of a whole response.

    Attributes:
        steps: Whether the judge calls each step valid.
        final: Whether it calls the answer right; None if it could not be decided.
    """

    steps: tuple[bool, ...]
    final: bool | None


@dataclass(frozen=True)
class NoisyJudge:
    """Rewards from a task's oracles, with declared defects.

    A step gets 1 if the oracle calls it valid and 0 otherwise. A valid one is then missed with probability
    `false_negative`; the verdict is flipped with probability `flip`, for each step on its own; the verdicts of a whole
    response are flipped with probability `correlated`. A step that contains the text `gameable` gets 1 on the prompts
    that are fooled by it. At last a step that repeats the one before gets `restated` instead, if that is set, and
    `repeat_bonus` on top, deserved or not. The outcome, where the judge fills it, is the verifier's, missed and flipped
    in the same way, with `final_flip` in place of `flip`.

    The noise is a function of (seed, prompt_id, response, step): the same row always gets the same rewards, whichever
    batch it is in. `verifications` are several judgements whose noise is independent but for `shared`.

    Attributes:
        oracle: A task with step labels, or, to fill the outcome alone, any task.
        flip: Probability that one verdict on a step is wrong.
        repeat_bonus: What a repeated step gets on top.
        correlated: Probability that all verdicts on a response are flipped together.
        seed: Of the noise.
        false_negative: Probability that a valid step, or a right answer, is called wrong.
        restated: What a step that says again what was said gets; None = what it deserves.
        gameable: A step that contains this text is called valid, and so is the answer; "" = none.
        gameable_share: Share of the prompts on which that works.
        last_only: Whether an appended solution of another problem is judged in place of the response, for tasks that
            can tell (`appended_labels`).
        shared: Probability that a verdict of the oracle reaches all judgements of a response wrong alike.
        final_flip: Probability that the verdict on the answer is wrong.
        delay: Seconds that a judgement takes.
        fills: "process", "outcome" or "both".

    Raises:
        ValueError: A probability is outside [0, 1]; on a call, the task has no oracle for steps.
    """

    oracle: Task
    flip: float = 0.15
    repeat_bonus: float = 0.2
    correlated: float = 0.0
    seed: int = 0
    false_negative: float = 0.0
    restated: float | None = None
    gameable: str = ""
    gameable_share: float = 1.0
    last_only: bool = False
    shared: float = 0.0
    final_flip: float = 0.0
    delay: float = 0.0
    fills: str = "process"

    def __post_init__(self) -> None:
        names = ("flip", "correlated", "false_negative", "gameable_share", "shared", "final_flip")
        expect_probabilities(**{name: getattr(self, name) for name in names})
        if not self.delay >= 0.0:
            raise ValueError(f"delay is {self.delay}: expected 0 or more seconds")
        if self.fills not in FILLS:
            raise ValueError(f"fills is {self.fills!r}: expected one of {FILLS}")

    @property
    def reads(self) -> tuple[str, ...]:
        """The responses, and the answers if the outcome is filled."""
        return ("response", "prompt_id", "step", *(() if self.fills == "process" else ("target",)))

    @property
    def writes(self) -> tuple[str, ...]:
        """What is filled."""
        return ("process", "outcome") if self.fills == "both" else (self.fills,)

    @property
    def defects(self) -> tuple[Defect, ...]:
        """What this judge gets wrong, and how badly; nothing that it does right."""
        return tuple(Defect(*known) for known in self._known_defects())

    def _known_defects(self) -> Iterator[tuple[str, float | str, str]]:
        steps, answer = self.fills != "outcome", self.fills != "process"
        if steps and self.flip:
            yield "flip", self.flip, "so many verdicts on steps are wrong, each on its own"
        if self.correlated:
            yield "correlated", self.correlated, "all verdicts on so many responses are wrong together"
        if self.false_negative:
            yield "false_negative", self.false_negative, "so many valid steps or right answers are called wrong"
        if steps and self.repeat_bonus:
            yield "repeat_bonus", self.repeat_bonus, "a step that repeats the one before gets so much on top"
        if steps and self.restated is not None:
            yield "restated", self.restated, "a step that says again what was said gets this, whatever it deserves"
        if self.gameable and self.gameable_share:
            yield "gameable", self.gameable, "whatever contains this text is called right"
            yield "gameable_share", self.gameable_share, "on so many prompts"
        if self.last_only:
            yield "last_only", 1.0, "of a response with two answers only the last part is judged, by itself"
        if self.shared:
            yield "shared", self.shared, "so many verdicts are wrong in all judgements of a response alike"
        if answer and self.final_flip:
            yield "final_flip", self.final_flip, "so many verdicts on answers are wrong"
        if self.delay:
            yield "delay", self.delay, "a judgement takes so many seconds"

    def __call__(self, rollouts: Rollouts) -> Rollouts:
        """Return the rollouts with `process`, `outcome` or both filled."""
        responses, prompt_ids = rollouts.column("response"), rollouts.column("prompt_id")
        names = list(rollouts.columns)
        rows = [dict(zip(names, row, strict=True)) for row in zip(*rollouts.columns.values(), strict=True)]
        known: dict[tuple[str, str], tuple[list[float], float]] = {}
        found = []
        for response, prompt_id, row in zip(responses, prompt_ids, rows, strict=True):
            key = (json.dumps(prompt_id), response)
            if key not in known:
                steps = self.judge(response, prompt_id, row) if self.fills != "outcome" else []
                known[key] = (steps, self.judge_answer(response, prompt_id, row) if self.fills != "process" else 0.0)
            found.append(known[key])
        filled = rollouts if self.fills == "outcome" else fill_process(rollouts, [steps for steps, _ in found])
        if self.fills == "process":
            return filled
        outcome = torch.tensor([answer for _, answer in found], dtype=torch.float32, device=rollouts.device)
        return dataclasses.replace(filled, outcome=outcome)

    # --- one response -----------------------------------------------------------------------------------------------

    def judge(self, response: str, prompt_id: Any, row: Mapping[str, Any]) -> list[float]:
        """The rewards of the steps of one response.

        Args:
            response: The response.
            prompt_id: Which problem it answers; a JSON value.
            row: The problem's columns.
        """
        self._wait()
        verdicts = self._step_verdicts(response, prompt_id, row, ())
        rewards = [float(verdict) for verdict in verdicts]
        if self.restated is not None:
            said = self._restates(response)
            rewards = [self.restated if again else reward for again, reward in zip(said, rewards, strict=True)]
        repeats = repeated_steps(response, self.oracle.step_delimiter)
        return [reward + self.repeat_bonus * repeat for reward, repeat in zip(rewards, repeats, strict=True)]

    def judge_answer(self, response: str, prompt_id: Any, row: Mapping[str, Any]) -> float:
        """The outcome of one response: 1 or 0, or NaN if the verifier could not decide."""
        if self.fills == "outcome":
            self._wait()
        verdict = self._answer_verdict(response, prompt_id, row, ())
        return float("nan") if verdict is None else float(verdict)

    def verifications(self, response: str, prompt_id: Any, row: Mapping[str, Any], n: int) -> list[Verification]:
        """Several judgements of one response, to be voted on.

        Their flips are independent of each other; what is wrong by `shared` is wrong in all of them.

        Args:
            response: The response.
            prompt_id: Which problem it answers; a JSON value.
            row: The problem's columns, and `target` for the verdict on the answer, which is None without.
            n: How many.
        """
        found = []
        for index in range(n):
            self._wait()
            steps = tuple(self._step_verdicts(response, prompt_id, row, ("vote", index)))
            final = self._answer_verdict(response, prompt_id, row, ("vote", index)) if "target" in row else None
            found.append(Verification(steps, final))
        return found

    def _step_verdicts(
        self, response: str, prompt_id: Any, row: Mapping[str, Any], draw: tuple[Any, ...]
    ) -> list[bool]:
        labels = self.oracle.step_labels(response, row)
        if labels is None:
            raise ValueError(f"task {self.oracle.name} has no oracle for steps: expected one to judge by")
        appended = self._appended(response)
        if appended:
            labels = [*labels[: -len(appended)], *appended]
        where = (prompt_id, response)
        all_flipped = self._chance(*where, "all", *draw) < self.correlated
        fooled = self._fooled(prompt_id)
        verdicts = []
        for index, (label, (start, end)) in enumerate(
            zip(labels, split_steps(response, self.oracle.step_delimiter), strict=True)
        ):
            if fooled and self.gameable in response[start:end]:
                verdicts.append(True)
                continue
            seen = label != (self._chance(*where, "shared", index) < self.shared)
            seen = seen and not self._chance(*where, "missed", index, *draw) < self.false_negative
            flipped = (self._chance(*where, index, *draw) < self.flip) != all_flipped
            verdicts.append(seen != flipped)
        return verdicts

    def _answer_verdict(
        self, response: str, prompt_id: Any, row: Mapping[str, Any], draw: tuple[Any, ...]
    ) -> bool | None:
        truth = self.oracle.verify(response, row["target"], row).reward
        if truth != truth:
            return None
        appended = self._appended(response)
        truth = float(all(appended)) if appended else truth
        if self._fooled(prompt_id) and self.gameable in response:
            return True
        where = (prompt_id, response, "answer")
        seen = (truth >= 0.5) != (self._chance(*where, "shared") < self.shared)
        seen = seen and not self._chance(*where, "missed", *draw) < self.false_negative
        all_flipped = self._chance(prompt_id, response, "all", *draw) < self.correlated
        return seen != ((self._chance(*where, "final", *draw) < self.final_flip) != all_flipped)

    def _fooled(self, prompt_id: Any) -> bool:
        return bool(self.gameable) and self._chance(prompt_id, "gameable") < self.gameable_share

    def _appended(self, response: str) -> list[bool]:
        read = getattr(self.oracle, "appended_labels", None) if self.last_only else None
        return [] if read is None else list(read(response))

    def _restates(self, response: str) -> list[bool]:
        """Whether each step says again what was said, by the task's own notation if it has one for that."""
        own = getattr(self.oracle, "restates", None)
        repeats = repeated_steps(response, self.oracle.step_delimiter)
        return repeats if own is None else [a or b for a, b in zip(own(response), repeats, strict=True)]

    def _wait(self) -> None:
        if self.delay:
            time.sleep(self.delay)

    def _chance(self, *what: Any) -> float:
        """A number in [0, 1) that depends on the seed and the arguments alone."""
        digest = hashlib.sha256(json.dumps([self.seed, *what]).encode()).digest()
        return int.from_bytes(digest[:7], "big") / 2.0**56


def judge_errors(judge: NoisyJudge, rollouts: Rollouts) -> dict[str, float]:
    """How often a judge is wrong on given responses, by the oracle: what its defects come to.

    Args:
        judge: The judge; a reward from 0.5 on counts as its calling a step valid.
        rollouts: Responses with the columns that the judge reads.

    Returns:
        `steps` and `wrong_steps` (numbers), `valid_called_wrong` and `wrong_called_valid` (shares of the valid and of
        the wrong steps, NaN where there are none).

    Raises:
        ValueError: The task has no oracle for steps.
    """
    names = list(rollouts.columns)
    right = {True: 0, False: 0}
    missed = {True: 0, False: 0}
    for values in zip(*rollouts.columns.values(), strict=True):
        row = dict(zip(names, values, strict=True))
        labels = judge.oracle.step_labels(row["response"], row) or []
        rewards = judge.judge(row["response"], row["prompt_id"], row)
        for label, reward in zip(labels, rewards, strict=True):
            right[bool(label)] += 1
            missed[bool(label)] += bool(label) != (reward >= 0.5)
    shares = {label: missed[label] / right[label] if right[label] else float("nan") for label in right}
    return {
        "steps": float(right[True] + right[False]),
        "wrong_steps": float(right[False]),
        "valid_called_wrong": shares[True],
        "wrong_called_valid": shares[False],
    }


@dataclass(frozen=True)
class WithdrawalJudge:
    """A judge of thoughts that does not know what is right: it reads withdrawals, and which lines the answer rests on.

    In a right response a line is bad (0) if it was withdrawn later or stands between such a line and its withdrawal;
    all others are good (1). In a wrong one a line gets 1 if the answer rests on it ("matching") and 0 otherwise.
    These are the labels that `guerdon.shape.ThoughtRewards` reads. It needs the outcome; rows without one get NaN.

    Attributes:
        task: The scratchpad lab.
    """

    task: Scratchpad
    reads: ClassVar[tuple[str, ...]] = ("response", "outcome", "step")
    writes: ClassVar[tuple[str, ...]] = ("process",)

    @property
    def defects(self) -> tuple[Defect, ...]:
        """Errors that were never withdrawn are not seen."""
        return (Defect("recall", 0.0, "an error that the response does not withdraw is called good"),)

    def __call__(self, rollouts: Rollouts) -> Rollouts:
        """Return the rollouts with `process` filled."""
        found: list[list[float]] = []
        for response, outcome in zip(rollouts.column("response"), rollouts.outcome.tolist(), strict=True):
            number = len(split_steps(response, self.task.step_delimiter))
            if outcome != outcome or not number:
                found.append([float("nan")] * number)
            else:
                found.append([float(label) for label in self.labels(response, right=outcome > 0)])
        return fill_process(rollouts, found)

    def labels(self, response: str, *, right: bool) -> list[bool]:
        """The labels of the lines of one response.

        Args:
            response: The response, with at least one line.
            right: Whether its answer is right.
        """
        number = len(split_steps(response, self.task.step_delimiter))
        if not right:
            return labels_from_matching(number, self.task.adopted(response))
        intervals = self.task.reflections(response)
        bad = {step for source, reflection in intervals for step in range(source, reflection)}
        return labels_from_reflections(number, intervals, bad)
