"""How many responses are sampled for a prompt, and how many of them are meant to be trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Independent:
    """Sample `n` independent responses for each prompt and train on all that the selection leaves.

    Attributes:
        n: Responses for a prompt, at least 1.
    """

    n: int = 8
    reads: ClassVar[tuple[str, ...]] = ("prompt",)
    writes: ClassVar[tuple[str, ...]] = ("group", "mask", "step", "response")

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ValueError(f"Independent.n is {self.n}: expected at least 1")

    @property
    def keep(self) -> int:
        """Responses of a prompt that are meant to be trained on: all of them."""
        return self.n


@dataclass(frozen=True)
class Oversample:
    """Sample `n` responses for each prompt, of which a selection keeps `keep`.

    Only the kept responses cost a forward and backward pass, so sampling more buys a choice, not a larger update.

    Attributes:
        n: Responses for a prompt.
        keep: Responses that the selection leaves, from 1 to `n`.
    """

    n: int = 8
    keep: int = 4
    reads: ClassVar[tuple[str, ...]] = ("prompt",)
    writes: ClassVar[tuple[str, ...]] = ("group", "mask", "step", "response")

    def __post_init__(self) -> None:
        if not 1 <= self.keep <= self.n:
            raise ValueError(f"Oversample.keep is {self.keep} of n {self.n}: expected 1 to n")
