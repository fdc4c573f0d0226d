"""The kinds of answers that are told apart."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from guerdon.score.verify.expressions import Expression
from guerdon.score.verify.units import Unit


@dataclass(frozen=True)
class Value:
    """A number or an expression, with what was written around it.

    Attributes:
        number: Its exact value, where it is a rational number.
        expression: The expression, where it is one.
        decimal: Whether it is written as a number with a decimal point.
        percent: Whether a per cent sign follows.
        unit: A known unit that follows (or a currency sign before it).
        base: The digits and the base of a number like `40_9`.
        may_be_unit: A letter at the end that might be a unit rather than a variable, and the value without it.
    """

    number: Fraction | None = None
    expression: Expression | None = None
    decimal: bool = False
    percent: bool = False
    unit: Unit | None = None
    base: tuple[str, int] | None = None
    may_be_unit: Value | None = None

    @property
    def constant(self) -> bool:
        """Whether there are no variables in it."""
        return self.number is not None or (self.expression is not None and not self.expression.variables)


@dataclass(frozen=True)
class Words:
    """Words, in lower case and without punctuation."""

    text: str


@dataclass(frozen=True)
class Listing:
    r"""Items between brackets; "" = no brackets, `\{` = a set."""

    opening: str
    closing: str
    items: tuple[Reading | None, ...]

    @property
    def unordered(self) -> bool:
        """Whether the order of the items means nothing."""
        return self.opening in ("", "\\{")


@dataclass(frozen=True)
class Union:
    """A union of intervals or sets."""

    parts: tuple[Reading | None, ...]


@dataclass(frozen=True)
class Matrix:
    """Rows of a matrix or vector."""

    rows: tuple[tuple[Reading | None, ...], ...]


@dataclass(frozen=True)
class Equation:
    """The sides of an equation, or of a chain of them, as texts."""

    sides: tuple[str, ...]


@dataclass(frozen=True)
class Inequality:
    """The values that a variable may have, as an interval."""

    variable: str
    interval: Listing


@dataclass(frozen=True)
class Infinity:
    """Infinity with its sign."""

    sign: int


Reading = Value | Words | Listing | Union | Matrix | Equation | Inequality | Infinity
