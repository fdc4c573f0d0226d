"""What a verifier says about one response."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """The reward of one response, what it was read from, and why it is not more.

    Attributes:
        reward: Usually 1.0 (right) or 0.0 (wrong); NaN = undecided, which is never the same as wrong.
        extracted: The answer that was found in the response; None = none was found.
        reason: Why the reward is NaN, or why it is 0; "" where there is nothing to explain.

    Raises:
        ValueError: The reward is infinite.

    Example:
        >>> Verdict(0.0, "11", "11 is not 12").decided
        True
        >>> Verdict(float("nan"), reason="the reference answer is empty").decided
        False
    """

    reward: float
    extracted: str | None = None
    reason: str = ""

    def __post_init__(self) -> None:
        if self.reward in (float("inf"), float("-inf")):
            raise ValueError(f"reward is {self.reward}: expected a finite number, or NaN if it could not be decided")

    @property
    def decided(self) -> bool:
        """Whether there is a reward at all."""
        return self.reward == self.reward
