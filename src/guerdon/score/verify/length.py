"""Whether a response is as long as was asked for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from guerdon.score.verdict import Verdict
from guerdon.score.verify.parts import answer_part

UNITS = ("words", "characters", "lines", "sentences")


def length_reward(length: float, least: float = 0.0, most: float = math.inf, slope: float = 0.0) -> float:
    """1 inside [least, most], and falling outside.

    Args:
        length: The length.
        least: Smallest length that was asked for.
        most: Largest one.
        slope: How far outside the reward reaches 0, as a share of the limit that is not kept: with `most` 100 and
            a slope of 0.2 a length of 110 gives 0.5. 0 = nothing outside.

    Returns:
        A number in [0, 1].

    Raises:
        ValueError: A negative number, or `least` above `most`.

    Example:
        >>> length_reward(110, most=100, slope=0.2), length_reward(101, most=100)
        (0.5, 0.0)
    """
    if not (0 <= least <= most and slope >= 0 and length >= 0):
        raise ValueError(
            f"length is {length}, least {least}, most {most}, slope {slope}: expected 0 <= least <= most, "
            "and no negative number"
        )
    if least <= length <= most:
        return 1.0
    limit = least if length < least else most
    width = slope * limit
    return max(0.0, 1.0 - abs(length - limit) / width) if width else 0.0


def measure_length(text: str, unit: str = "words") -> int:
    """The length of a text in words (separated by white space), characters, lines or sentences that are not empty.

    Raises:
        ValueError: An unknown unit.
    """
    if unit == "words":
        return len(text.split())
    if unit == "characters":
        return len(text)
    if unit == "lines":
        return sum(bool(line.strip()) for line in text.splitlines())
    if unit == "sentences":
        ends = text.replace("!", ".").replace("?", ".").replace("\n", ". ")
        return sum(any(map(str.isalnum, part)) for part in (ends + " ").split(". "))
    raise ValueError(f"unit is {unit!r}: expected one of {UNITS}")


@dataclass(frozen=True)
class Length:
    """1 where a response, or a part of it, has the length that was asked for; see `length_reward`.

    It looks at one response. Penalties that compare the responses of a group belong to the shape stages.

    Attributes:
        least: Smallest length.
        most: Largest length.
        unit: "words", "characters", "lines" or "sentences"; or the name of a column with lengths, such as "length".
        slope: How the reward falls outside; see `length_reward`.
        part: What of the response is measured; see `guerdon.score.verify.parts.answer_part`.
        timeout: Seconds that one row may take.
    """

    least: float = 0.0
    most: float = math.inf
    unit: str = "words"
    slope: float = 0.0
    part: str = "response"
    timeout: float = 5.0
    name: ClassVar[str] = "length"
    version: ClassVar[str] = "1"

    def __post_init__(self) -> None:
        length_reward(self.least, self.least, self.most, self.slope)

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns of the row that are used."""
        return () if self.unit in UNITS else (self.unit,)

    def __call__(self, response: str, target: str, row: Mapping[str, Any]) -> Verdict:
        """Measure a response."""
        if self.unit not in UNITS:
            if self.unit not in row:
                raise ValueError(f"the row has no column {self.unit!r}: there are {sorted(row)}")
            length = float(row[self.unit])
        else:
            found = answer_part(response, self.part)
            if found is None:
                return Verdict(0.0, reason="there is no answer")
            length = measure_length(found, self.unit)
        reward = length_reward(length, self.least, self.most, self.slope)
        limits = f"{self.least:g} to {self.most:g}"
        return Verdict(reward, f"{length:g}", "" if reward == 1.0 else f"{length:g} {self.unit}: expected {limits}")
