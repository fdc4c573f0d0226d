"""Rows that count neither in the statistics nor in the loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from guerdon.rollouts import Rollouts
from guerdon.selection import Selection
from guerdon.terms import flags


@dataclass(frozen=True)
class Exclude:
    """Drop the rows that a column flags: rollouts of another stage that only fill up a batch, failed environments.

    For rows that could not be scored see `DropUnscorable`; for rows that should still count in the statistics see
    `DropFromLoss`.

    Attributes:
        column: Name of the column; a true value (or a number above 0) drops the row, None does not.
        reason: What is noted for the dropped rows; "" = the name of the column.
        keep: Whether the flag means the opposite: rows without it are dropped.
    """

    column: str = "excluded"
    reason: str = ""
    keep: bool = False
    writes: ClassVar[tuple[str, ...]] = ("kept",)

    def __post_init__(self) -> None:
        if not self.column:
            raise ValueError("Exclude.column is empty: expected the name of a column")

    @property
    def reads(self) -> tuple[str, ...]:
        """What is read."""
        return (self.column,)

    def __call__(self, rollouts: Rollouts) -> Selection:
        """Return the selection of the other rows.

        Raises:
            ValueError: There is no such column, or a value is neither a flag nor a number.
        """
        flagged = flags(rollouts, self.column)
        kept = flagged if self.keep else ~flagged
        reason = self.reason or (f"not {self.column}" if self.keep else self.column)
        return Selection.keep(kept, reason, {"excluded": float((~kept).sum())})
