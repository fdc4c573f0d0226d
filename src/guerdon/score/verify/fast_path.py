"""Deciding whether two answers are equal without a computer algebra system, where that is certain."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fractions import Fraction

from guerdon.score.verify.expressions import Expression, read_expression
from guerdon.score.verify.identity import identical, linear, real_values
from guerdon.score.verify.intervals import unions_equal
from guerdon.score.verify.kinds import Equation, Inequality, Infinity, Listing, Matrix, Reading, Union, Value, Words
from guerdon.score.verify.latex import squeezed, tidy
from guerdon.score.verify.reading import read, top_level

_NAME = re.compile(r"(?!\\pi(?![A-Za-z]))\\?[A-Za-z]+(?:_\{?[0-9A-Za-z]\}?)?(?:\([A-Za-z0-9]\))?|\\text\{[^{}]*\}")
_CLOCK = re.compile(r"(?P<time>[0-9]{1,2}:[0-5][0-9])\s?(?:(?P<half>[aApP])\.?[mM]?\.*)?")
_ONE, _HUNDREDTH = Fraction(1), Fraction(1, 100)
_OF_SETS = re.compile(
    r"[<>]|\\(?:leq|geq|neq|setminus|cup|cap|in|mid|to|forall|exists|subset|implies|equiv|sim|mathbb)(?![A-Za-z])"
)
_INFINITE = re.compile(r"infty|infinity|(?<![A-Za-z])inf(?![A-Za-z])")
_DIGITS = 6
_CLOSE = Fraction(1, 10_000)
_NEAR = Fraction(1, 500_000)


def decide(prediction: str, gold: str) -> bool | None:
    r"""Whether two answers are equal; None where that is not certain.

    Args:
        prediction: An answer.
        gold: The reference answer.

    Example:
        >>> decide("0.50", r"\frac12"), decide("(1, 2)", "(2, 1)"), decide(r"\sin x", r"\cos x")
        (True, False, None)
    """
    left, right = tidy(gold), tidy(prediction)
    if left == right or squeezed(left) == squeezed(right):
        return True
    clocks = [_CLOCK.fullmatch(squeezed(text)) for text in (left, right)]
    if clocks[0] and clocks[1]:
        return _times_of_day(clocks[0], clocks[1])
    gold_read, read_prediction = read(left), read(right)
    found = same(gold_read, read_prediction)
    if found is None and read_prediction is None:
        found = _approximation(right, left) if "\\approx" in right else None
        if found is None and isinstance(gold_read, Value | Words | Infinity) and not _one_value(right, gold_read):
            return False
    return found


def _one_value(text: str, gold: Reading) -> bool:
    """Whether an answer that is not understood may be one value: no list, no set, no relation, and not infinite."""
    if _OF_SETS.search(text) or len(top_level(text) or ()) > 1:
        return False
    return not isinstance(gold, Value) or (gold.base is None and not _INFINITE.search(text))


def _approximation(text: str, gold: str) -> bool | None:
    r"""Whether either side of `a \approx b` is the reference answer; b alone, if a is a name."""
    sides = [side.strip() for side in text.split("\\approx")]
    if len(sides) != 2 or not all(sides):
        return None
    found = [decide(side, gold) for side in sides if not _NAME.fullmatch(side)]
    return True if True in found else None if None in found else False


def _times_of_day(gold: re.Match[str], prediction: re.Match[str]) -> bool | None:
    halves = {match["half"].lower() for match in (gold, prediction) if match["half"]}
    if gold["time"] == prediction["time"]:
        return len(halves) < 2
    return False if halves else None


def same(gold: Reading | None, prediction: Reading | None) -> bool | None:
    """Whether two readings are equal; None where that is not certain.

    Args:
        gold: The reference answer.
        prediction: An answer.
    """
    if gold is None or prediction is None:
        return None
    if isinstance(gold, Equation) or isinstance(prediction, Equation):
        return _equations(gold, prediction)
    if isinstance(gold, Value) and isinstance(prediction, Value):
        return values_equal(gold, prediction)
    if isinstance(gold, Words) or isinstance(prediction, Words):
        return _words(gold, prediction)
    if isinstance(gold, Listing) and isinstance(prediction, Listing):
        return _listings(gold, prediction)
    if isinstance(gold, Matrix) and isinstance(prediction, Matrix):
        return _matrices(gold, prediction)
    if isinstance(gold, Inequality) or isinstance(prediction, Inequality):
        return _inequalities(gold, prediction)
    if isinstance(gold, Union) and isinstance(prediction, Union):
        return True if _matched(gold.parts, prediction.parts) else unions_equal(gold, prediction)
    if isinstance(gold, Infinity) and isinstance(prediction, Infinity):
        return gold.sign == prediction.sign
    return _of_different_kinds(gold, prediction)


def _inequalities(gold: Reading, prediction: Reading) -> bool | None:
    intervals = [side.interval if isinstance(side, Inequality) else side for side in (gold, prediction)]
    if isinstance(gold, Inequality) and isinstance(prediction, Inequality) and gold.variable != prediction.variable:
        return None
    if not all(isinstance(side, Listing) and side.opening in ("(", "[") for side in intervals):
        return False if isinstance(prediction, Value | Words) or isinstance(gold, Value | Words) else None
    return same(*intervals)


def _of_different_kinds(gold: Reading, prediction: Reading) -> bool | None:
    for one, other in ((gold, prediction), (prediction, gold)):
        if isinstance(one, Listing) and isinstance(other, Value | Infinity):
            if len(one.items) == 1 and one.opening == "\\{":
                return same(one.items[0], other) if one is gold else same(other, one.items[0])
            # Items that repeat each other may be one item, and "10, 000" a number.
            return False if len(one.items) > 1 and _all_different(one) else None
        if isinstance(one, Infinity | Union) and isinstance(other, Value):
            return False if other.constant else None
        several = isinstance(one, Matrix) and len(one.rows) * len(one.rows[0]) > 1
        if several and isinstance(other, Value | Union | Infinity):
            return False
    return None


def _all_different(listing: Listing) -> bool:
    first = listing.items[0]
    return any(same(first, item) is False for item in listing.items[1:]) and not any(
        isinstance(item, Value) and item.number == 0 for item in listing.items
    )


# --- values -----------------------------------------------------------------------------------------------------


def values_equal(gold: Value, prediction: Value) -> bool | None:
    """Whether two values are equal, with their per cent signs, units and bases; None where that is not certain.

    Args:
        gold: The reference answer.
        prediction: An answer.
    """
    if gold.base or prediction.base:
        return _in_bases(gold, prediction)
    if prediction.may_be_unit is not None and gold.constant:
        return values_equal(gold, prediction.may_be_unit)
    if gold.may_be_unit is not None and prediction.constant:
        return values_equal(gold.may_be_unit, prediction)
    if gold.unit and prediction.unit:
        if gold.unit[0] != prediction.unit[0]:
            return False
        if gold.unit[1] != prediction.unit[1]:
            return _numbers(gold, prediction, gold.unit[1], prediction.unit[1])
    if gold.percent == prediction.percent:
        return _numbers(gold, prediction)
    as_value = _numbers(gold, prediction, *(_HUNDREDTH if value.percent else _ONE for value in (gold, prediction)))
    if as_value or not _may_lack_percent(gold, prediction):
        return as_value
    as_written = _numbers(gold, prediction)
    return as_written or (None if None in (as_written, as_value) else False)


def _may_lack_percent(gold: Value, prediction: Value) -> bool:
    """Whether 50 may mean 50 %: not for fractions and what is less than one, which are quotients already."""
    number = gold.number if gold.percent else prediction.number
    return number is not None and abs(number) >= 1 and (number.denominator == 1 or gold.decimal or prediction.decimal)


def _in_bases(gold: Value, prediction: Value) -> bool | None:
    if gold.base and prediction.base:
        return gold.number is not None and gold.number == prediction.number
    based, plain = (gold, prediction) if gold.base else (prediction, gold)
    # Where the base is left out, the digits must be the same: "convert to base 9" is often answered so.
    assert based.base is not None
    digits = based.base[0]
    if plain.number is None or plain.percent or plain.decimal or not digits.isdigit():
        return None
    return plain.number == int(digits)


def _numbers(gold: Value, prediction: Value, gold_factor: Fraction = _ONE, factor: Fraction = _ONE) -> bool | None:
    if gold.number is not None and prediction.number is not None:
        a, b = gold.number * gold_factor, prediction.number * factor
        return a == b or ((gold.decimal or prediction.decimal) and nearly(a, b))
    if gold_factor != factor:
        return None
    left, right = _expression(gold), _expression(prediction)
    if left is None or right is None:
        return None
    return _rounded(gold, prediction, identical(left, right), left, right)


def _expression(value: Value) -> Expression | None:
    if value.expression is not None:
        return value.expression
    number = value.number
    assert number is not None
    return Expression(("n", number), frozenset(), value.decimal, len(str(number)))


def _rounded(gold: Value, prediction: Value, found: bool | None, left: Expression, right: Expression) -> bool | None:
    """A decimal number may be a rounded value of an irrational one."""
    if found is not False or not (gold.decimal or prediction.decimal) or left.variables or right.variables:
        return found
    values = real_values(left, right)
    if values is None:
        return None
    if any(value.decimal and value.number is not None for value in (gold, prediction)):
        return nearly(*values)
    return False if abs(values[0] - values[1]) > _NEAR else None


def nearly(a: Fraction, b: Fraction) -> bool:
    """Whether two numbers, one of them a decimal, are equal when rounded to six places, and to four digits at least.

    Args:
        a: A number.
        b: A number.

    Example:
        >>> nearly(Fraction(1, 3), Fraction("0.333333")), nearly(Fraction("0.0000672"), Fraction("0.0000674"))
        (True, False)
    """
    return round(a, _DIGITS) == round(b, _DIGITS) and abs(a - b) <= _CLOSE * max(abs(a), abs(b))


# --- words and structures ---------------------------------------------------------------------------------------


def _words(gold: Reading, prediction: Reading) -> bool | None:
    if isinstance(gold, Words) and isinstance(prediction, Words):
        return gold.text == prediction.text
    words, other = (gold, prediction) if isinstance(gold, Words) else (prediction, gold)
    assert isinstance(words, Words)
    if isinstance(other, Value):
        letters = other.expression.variables if other.expression is not None else frozenset()
        if len(letters) == 1 and other.expression is not None and other.expression.tree[0] == "v":
            return words.text == next(iter(letters)).lower()
        return False if other.constant else None
    return None


def _listings(gold: Listing, prediction: Listing) -> bool | None:
    ordered = (gold.opening, gold.closing) == (prediction.opening, prediction.closing) and not gold.unordered
    if gold.unordered and prediction.unordered:
        if len(gold.items) == len(prediction.items):
            return _matched(gold.items, prediction.items)
        return None
    if len(gold.items) != len(prediction.items):
        return False if ordered else None
    if ordered:
        return _all(same(a, b) for a, b in zip(gold.items, prediction.items, strict=True))
    if len(gold.items) != 2 or gold.unordered or prediction.unordered:
        return None
    # An open and a closed interval are different, whatever their ends; but (8, -2) and [8, -2] can only be points.
    first, second = (item.number if isinstance(item, Value) else None for item in gold.items)
    if first is not None and second is not None and first > second:
        return _all(same(a, b) for a, b in zip(gold.items, prediction.items, strict=True))
    return False


def _all(found: Iterable[bool | None]) -> bool | None:
    decided = list(found)
    if any(entry is False for entry in decided):
        return False
    return True if all(decided) else None


def _matched(gold: tuple[Reading | None, ...], prediction: tuple[Reading | None, ...]) -> bool | None:
    """Whether the items can be paired so that all pairs are equal."""
    if len(gold) != len(prediction):
        return False
    left = list(prediction)
    uncertain = False
    for item in gold:
        found = [same(item, other) for other in left]
        if True in found:
            del left[found.index(True)]
        elif None in found:
            uncertain = True
        else:
            return False
    return None if uncertain else True


def _matrices(gold: Matrix, prediction: Matrix) -> bool | None:
    if (len(gold.rows), len(gold.rows[0])) != (len(prediction.rows), len(prediction.rows[0])):
        return None
    return _all(
        same(a, b)
        for mine, theirs in zip(gold.rows, prediction.rows, strict=True)
        for a, b in zip(mine, theirs, strict=True)
    )


# --- equations --------------------------------------------------------------------------------------------------


def _equations(gold: Reading, prediction: Reading) -> bool | None:
    if isinstance(gold, Equation) and isinstance(prediction, Equation):
        return _two_equations(gold, prediction)
    if isinstance(prediction, Equation):
        return False if contradictory(prediction) else same(gold, read(prediction.sides[-1]))
    assert isinstance(gold, Equation)
    if len(gold.sides) == 2 and _NAME.fullmatch(gold.sides[0]):
        return same(read(gold.sides[1]), prediction)
    return None


def contradictory(equation: Equation) -> bool:
    """Whether an equation says of two different numbers that they are equal, like 3 = 5.

    Args:
        equation: The equation.
    """
    sides = [read(side) for side in equation.sides]
    numbers = [
        side
        for side in sides
        # Decimals are often rounded, and per cent signs and units left out on one side.
        if isinstance(side, Value) and side.constant and not (side.decimal or side.percent or side.unit or side.base)
    ]
    if any(isinstance(side, Infinity) for side in sides) and any(isinstance(side, Value) for side in sides[1:]):
        return True
    return any(values_equal(numbers[0], number) is False for number in numbers[1:])


def _two_equations(gold: Equation, prediction: Equation) -> bool | None:
    if contradictory(prediction) or len(gold.sides) != 2:
        return False if contradictory(prediction) else None
    if len(prediction.sides) > 2:
        prediction = Equation((prediction.sides[0], prediction.sides[-1]))
    if all(_NAME.fullmatch(equation.sides[0]) for equation in (gold, prediction)):
        if squeezed(gold.sides[0]) != squeezed(prediction.sides[0]):
            return None
        return same(read(gold.sides[1]), read(prediction.sides[1]))
    differences = [read_expression(f"({left})-({right})") for left, right in (gold.sides, prediction.sides)]
    if None in differences:
        return None
    left, right = differences
    assert left is not None
    assert right is not None
    proportional = identical(left, right, factor=True)
    # 2y = 2x + 2 is y = x + 1. Curves may be the same though their equations are not proportional; lines may not.
    return proportional if proportional or (linear(left) and linear(right)) else None
