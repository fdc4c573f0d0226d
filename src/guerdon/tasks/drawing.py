"""What the generated tasks share: drawing problems of a split, lines of responses, and kinds of demonstrations."""

from __future__ import annotations

import random
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from guerdon.score.verify.blocks import split_steps
from guerdon.tasks.task import Problem, Split

INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,199})")
"""An integer without a plus sign and leading zeros, and not too long to be read."""

Draw = Callable[[random.Random], tuple[str, str, Mapping[str, Any]]]
"""Draws (prompt, target, columns)."""

_TEST_SHARE = 8  # one prompt in so many is held out
_TRIES = 10_000


def draw_problems(task: object, name: str, split: Split, n: int, seed: int, draw: Draw) -> list[Problem]:
    """Draw problems independently, so that a prompt may come twice where there are few.

    Which split a prompt belongs to is decided by a hash of the prompt.

    Args:
        task: What error messages call the task.
        name: Its name; tasks of different names draw independently of each other.
        split: "train" or "test".
        n: How many.
        seed: Of the draw.
        draw: Draws a problem of either split.

    Raises:
        ValueError: The split is unknown, or so few prompts are possible that the split has none.
    """
    if split not in ("train", "test"):
        raise ValueError(f"split is {split!r}: expected 'train' or 'test'")
    generator = random.Random(f"{name}/{split}/{seed}")
    return [draw_problem(task, split, generator, index, draw) for index in range(n)]


def draw_problem(task: object, split: Split, generator: random.Random, prompt_id: int, draw: Draw) -> Problem:
    """Draw one problem of a split; see `draw_problems`."""
    for _ in range(_TRIES):
        prompt, target, columns = draw(generator)
        if held_out(prompt) == (split == "test"):
            return Problem(prompt, target, prompt_id, columns)
    raise ValueError(f"{task} has no prompt for the {split} split: expected settings with more different prompts")


def held_out(prompt: str) -> bool:
    """Whether a prompt is of the test split."""
    return zlib.crc32(prompt.encode()) % _TEST_SHARE == 0


def lines(response: str, delimiter: str) -> list[str]:
    """The texts of the steps of a response, without white space at their ends."""
    return [response[start:end].strip() for start, end in split_steps(response, delimiter)]


def demonstration_kinds(n: int, corruption: float, wrong: float, generator: random.Random) -> list[str]:
    """Kinds of demonstrations in random order; the shares are met exactly, up to rounding.

    Args:
        n: How many.
        corruption: Share of "flawed" ones.
        wrong: Share of "wrong" ones; the rest are "sound".
        generator: Source of randomness.

    Raises:
        ValueError: A share is negative, or both make more than 1.
    """
    if corruption < 0 or wrong < 0 or corruption + wrong > 1:
        raise ValueError(f"corruption is {corruption}, wrong is {wrong}: expected shares that make at most 1")
    n_flawed, n_wrong = round(corruption * n), min(round(wrong * n), n - round(corruption * n))
    kinds = ["flawed"] * n_flawed + ["wrong"] * n_wrong + ["sound"] * (n - n_flawed - n_wrong)
    generator.shuffle(kinds)
    return kinds


def demonstrated(
    task: object, name: str, n: int, seed: int, corruption: float, wrong: float, draw: Draw
) -> Iterator[tuple[Problem, str, random.Random]]:
    """Draw training problems to demonstrate, each with the kind of its demonstration; see `demonstration_kinds`.

    Args:
        task: What error messages call the task.
        name: Its name.
        n: How many.
        seed: Of problems, kinds, and whatever is drawn from the generator in between.
        corruption: Share of "flawed" ones.
        wrong: Share of "wrong" ones.
        draw: Draws a problem of either split.

    Yields:
        A problem, a kind, and the generator from which the demonstration is to be drawn.
    """
    generator = random.Random(f"{name}/demonstrations/{seed}")
    for index, kind in enumerate(demonstration_kinds(n, corruption, wrong, generator)):
        yield draw_problem(task, "train", generator, index, draw), kind, generator


def expect_probabilities(**values: float) -> None:
    """Raise ValueError unless all are in [0, 1]; the message names the first that is not."""
    for name, value in values.items():
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"{name} is {value}: expected a probability")


def expect_range(name: str, value: tuple[int, int], least: int, most: int) -> None:
    """Raise ValueError unless a pair is an increasing range between two bounds."""
    if len(value) != 2 or not least <= value[0] <= value[1] <= most:
        raise ValueError(f"{name} is {value}: expected two numbers from {least} to {most}, the smaller first")
