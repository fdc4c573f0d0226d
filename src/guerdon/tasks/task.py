"""What a task is: problems, a verifier, and, where there is one, an oracle for steps."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from guerdon.overrides import nearest
from guerdon.score.verdict import Verdict
from guerdon.score.verify.blocks import split_steps

__all__ = ["Problem", "Split", "Task", "get_task", "split_steps", "task_names"]

Split = Literal["train", "test"]
"""Training problems and held-out problems; no prompt is in both."""


@dataclass(frozen=True)
class Problem:
    """One problem of a task.

    Attributes:
        prompt: A text, or chat messages for chat models.
        target: The reference answer.
        prompt_id: A number that no other problem of the same task, split and seed has.
        columns: What `Task.verify` and `Task.step_labels` need besides; JSON values.
    """

    prompt: str | list[dict[str, str]]
    target: str
    prompt_id: int
    columns: Mapping[str, Any] = field(default_factory=dict)


class Task(Protocol):
    """Problems with a verifier.

    `row` is always a mapping of `Problem.columns` with at least `prompt` and `target` added; it may hold more.
    """

    @property
    def name(self) -> str:
        """The name by which `get_task` knows the task."""
        ...

    @property
    def step_delimiter(self) -> str:
        """Text that ends a step of a response; it belongs to the step that it ends."""
        ...

    def problems(self, split: Split, n: int, seed: int) -> list[Problem]:
        """Draw problems; equal arguments give equal problems, and the splits are disjoint for all seeds.

        Args:
            split: "train" or "test".
            n: How many.
            seed: Of the draw.
        """
        ...

    def verify(self, response: str, target: str, row: Mapping[str, Any]) -> Verdict:
        """Judge an answer: 1 right, 0 wrong, between them if partly right, NaN with a reason if undecided.

        Args:
            response: What the policy wrote.
            target: `Problem.target`.
            row: The problem's columns.
        """
        ...

    def step_labels(self, response: str, row: Mapping[str, Any]) -> list[bool] | None:
        """Whether each step is valid, in the order of `split_steps`; None if the task has no oracle for steps.

        Args:
            response: What the policy wrote.
            row: The problem's columns.
        """
        ...


def _lab(module: str, kind: str) -> Callable[..., Task]:
    """A task that is made by a class of this package, which is imported when it is needed."""

    def make(**knobs: Any) -> Task:
        found = getattr(importlib.import_module(f"guerdon.tasks.{module}"), kind)
        return _build(found, knobs)

    return make


def _reasoning_gym(dataset: str, knobs: Mapping[str, Any]) -> Task:
    from guerdon.tasks.reasoning_gym import ReasoningGym

    return ReasoningGym(dataset, knobs)


_TASKS: dict[str, Callable[..., Task]] = {
    "boilerplate": _lab("boilerplate", "Boilerplate"),
    "chain": _lab("chain", "Chain"),
    "derivations": _lab("derivations", "Derivations"),
    "dialogues": _lab("dialogues", "Dialogues"),
    "grading": _lab("grading", "Grading"),
    "gsm8k": _lab("gsm8k", "GSM8K"),
    "hidden-rule": _lab("writing", "HiddenRule"),
    "last-letters": _lab("strings", "LastLetters"),
    "letters": _lab("writing", "Letters"),
    "reach": _lab("reach", "ReachSum"),
    "reach-target": _lab("reach", "ReachTarget"),
    "scratchpad": _lab("scratchpad", "Scratchpad"),
    "stack-programs": _lab("stack_programs", "StackPrograms"),
}
_GYM = "reasoning-gym"


def task_names() -> list[str]:
    """The names that `get_task` knows; `reasoning-gym:NAME` stands for every data set of that package."""
    return sorted([*_TASKS, f"{_GYM}:NAME"])


def get_task(name: str, **knobs: Any) -> Task:
    """Make a task.

    Args:
        name: One of `task_names()`; "reasoning-gym:NAME" is the data set NAME of the reasoning-gym package.
        **knobs: Settings of the task; each has a default.

    Raises:
        ValueError: The task or a knob is unknown (the message names the nearest), or a knob is out of range.

    Example:
        >>> get_task("chain", length=3).problems("train", 1, seed=0)[0].prompt
        '0+5+1='
    """
    prefix, colon, dataset = name.partition(":")
    if colon and prefix == _GYM:
        return _reasoning_gym(dataset, knobs)
    if name not in _TASKS:
        raise ValueError(f"no task {name!r}; {nearest(name, task_names())}")
    return _TASKS[name](**knobs)


def _build(kind: Any, knobs: Mapping[str, Any]) -> Task:
    known = [entry.name for entry in dataclasses.fields(kind) if entry.init]
    for knob in knobs:
        if knob not in known:
            raise ValueError(f"task {kind.name} has no knob {knob!r}; {nearest(knob, known)}")
    # A settings file has lists where a task has pairs.
    made: Task = kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in knobs.items()})
    return made
