"""Whether two algebraic expressions are the same, by their values at chosen points.

The values are exact rational numbers where there are no roots and no pi, and have far more digits than the texts are
long where there are. Nothing is simplified, so that nothing can run away: the work is bounded by the length of the
texts and by the bounds on exponents.
"""

from __future__ import annotations

import decimal
import math
import operator
import zlib
from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any

from guerdon.score.verify.expressions import Expression, Node, UnreadableError

_MAX_EXPONENT = 400
_MAX_BITS = 20_000  # of a numerator or denominator on the way
_ARITHMETIC: dict[str, Callable[[Fraction, Fraction], Fraction]] = {
    "+": operator.add,
    "-": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
}


class _IrrationalError(Exception):
    """There is no exact rational value."""


def rational_value(expression: Expression) -> Fraction | None:
    """The value of an expression without variables, if it is a rational number that can be found exactly."""
    if expression.variables:
        return None
    try:
        return _rational(expression.tree, _Point({}))
    except (_IrrationalError, UnreadableError):
        return None


def identical(left: Expression, right: Expression, factor: bool = False) -> bool | None:
    r"""Whether two expressions are the same function of their variables.

    Args:
        left: An expression.
        right: Another one.
        factor: Whether a constant factor other than 0 between them is allowed.

    Returns:
        None where their values cannot be computed, or are so near to each other that digits do not tell.

    Example:
        >>> from guerdon.score.verify.expressions import read_expression
        >>> identical(read_expression("(x+1)^2"), read_expression("x^2+2x+1"))
        True
        >>> identical(read_expression(r"\frac{1}{\sqrt{3}}"), read_expression(r"\frac{\sqrt{3}}{3}"))
        True
    """
    names = sorted(left.variables | right.variables)
    if factor and not names:
        return None
    seed = zlib.crc32(repr((left.tree, right.tree)).encode())
    points = [_point(names, seed, number) for number in range(len(_SIGNS) if names else 1)]
    try:
        if factor:
            return _proportional([_values(left, right, point) for point in points])
        return _equal_everywhere(left, right, points)
    except (UnreadableError, decimal.DecimalException, OverflowError):
        return None


def real_values(left: Expression, right: Expression) -> tuple[Fraction, Fraction] | None:
    """The values of two constant expressions, exact or to many digits; None where they are not real or not found.

    Args:
        left: An expression without variables.
        right: Another one.
    """
    try:
        a, b, digits = _values(left, right, _Point({}))
    except (UnreadableError, decimal.DecimalException, OverflowError):
        return None
    if not digits:
        return a, b
    return None if a[1] or b[1] else (Fraction(a[0]), Fraction(b[0]))


def _equal_everywhere(left: Expression, right: Expression, points: list[_Point]) -> bool | None:
    """Equal at the first point, and at those others where all roots are real.

    `sqrt(xy)` is `sqrt(x) sqrt(y)` where both are real, and that is what is meant; `sqrt(x^2)` is not `x`.
    """
    found = _agree(*_values(left, right, points[0]))
    if not found:
        return None if points[0].imaginary_root and points[0].values else found
    for point in points[1:]:
        agree = _agree(*_values(left, right, point))
        if not point.imaginary_root and not agree:
            return agree
    return True


def _proportional(pairs: list[tuple[Any, Any, int]]) -> bool | None:
    """Whether a/b is the same at all points, by cross products with the first one; None if that cannot be told."""
    if not all(isinstance(a, Fraction) and isinstance(b, Fraction) for a, b, _ in pairs):
        return None
    first_a, first_b, _ = pairs[0]
    if not first_a or not first_b:
        return None
    return all(bool(a) == bool(b) and a * first_b == b * first_a for a, b, _ in pairs)


def linear(expression: Expression) -> bool:
    """Whether an expression is a polynomial of degree one at most.

    Args:
        expression: Any expression.
    """
    return _degree(expression.tree) <= 1


def _degree(tree: Node) -> float:
    """The degree of a polynomial, or a bound on it; infinity for anything else with variables."""
    kind = tree[0]
    if kind == "v":
        return 1
    if kind in ("n", "pi", "i"):
        return 0
    left = _degree(tree[1])
    if kind == "neg":
        return left
    right = 0.0 if kind == "root" else _degree(tree[2])
    if kind in ("+", "-"):
        return max(left, right)
    if kind == "mul":
        return left + right
    return left if kind == "div" and not right else 0 if not left and not right else math.inf


_SIGNS = ((1, 1, 1), (1, -1, 7), (-1, 1, 7), (-1, -1, 1), (-1, -1, 17))
"""For each point: the signs of every other variable, and what all are divided by."""


class _Point:
    """Values of the variables; `imaginary_root` says afterwards whether a root of a negative number was met there."""

    def __init__(self, values: Mapping[str, Fraction]) -> None:
        self.values = values
        self.imaginary_root = False


def _point(names: list[str], seed: int, number: int) -> _Point:
    even, odd, divisor = _SIGNS[number]
    values = {}
    for index, name in enumerate(names):
        state = zlib.crc32(f"{seed}/{number}/{name}".encode())
        values[name] = Fraction((odd if index % 2 else even) * (1_000 + state % 9_973), 1_009 * divisor)
    return _Point(values)


def _values(left: Expression, right: Expression, point: _Point) -> tuple[Any, Any, int]:
    try:
        return _rational(left.tree, point), _rational(right.tree, point), 0
    except _IrrationalError:
        digits = 60 + 2 * (left.size + right.size)
        if digits > 1_000:
            raise UnreadableError("numbers of too many digits") from None
        with decimal.localcontext(decimal.Context(prec=digits + 30, Emax=10**6, Emin=-(10**6))):
            values = _complex(left.tree, point, digits), _complex(right.tree, point, digits)
            return (*values, digits)


def _agree(a: Any, b: Any, digits: int) -> bool | None:
    if isinstance(a, Fraction):
        return bool(a == b)
    with decimal.localcontext(decimal.Context(prec=digits + 30)):
        gap = max(abs(a[0] - b[0]), abs(a[1] - b[1]))
        size = max(*(abs(part) for part in (*a, *b)), Decimal(1))
        if gap <= size.scaleb(10 - digits):
            return True
        return False if gap > size.scaleb(-digits // 2) else None


def _rational(tree: Node, point: _Point) -> Fraction:
    kind = tree[0]
    if kind == "n":
        return tree[1]  # type: ignore[no-any-return]
    if kind == "v":
        return point.values[tree[1]]
    if kind in ("pi", "i"):
        raise _IrrationalError
    left = _rational(tree[1], point)
    if kind == "neg":
        return -left
    if kind == "root":
        return _rational_root(left, tree[2])
    right = _rational(tree[2], point)
    if kind == "div" and not right:
        raise UnreadableError("division by zero")
    if kind == "pow":
        return _bounded(_rational_power(left, right))
    return _bounded(_ARITHMETIC[kind](left, right))


def _bounded(value: Fraction) -> Fraction:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > _MAX_BITS:
        raise UnreadableError("a number of too many digits")
    return value


def _rational_power(base: Fraction, exponent: Fraction) -> Fraction:
    if abs(exponent) > _MAX_EXPONENT or exponent.denominator > 20:
        raise UnreadableError("an exponent is too large")
    bits = max(base.numerator.bit_length(), base.denominator.bit_length())
    if bits * abs(exponent.numerator) > _MAX_BITS or (not base and exponent <= 0):
        raise UnreadableError("a power of too many digits, or of zero")
    if exponent.denominator == 1:
        return base**exponent.numerator
    if base < 0 and exponent.denominator != 2:
        raise UnreadableError("a root of a negative number")
    return _rational_root(base, exponent.denominator) ** exponent.numerator


def _rational_root(value: Fraction, degree: int) -> Fraction:
    if value < 0:
        if degree != 2:
            raise UnreadableError("a root of a negative number")
        raise _IrrationalError
    roots = [_whole_root(part, degree) for part in (value.numerator, value.denominator)]
    return Fraction(roots[0], roots[1])


def _whole_root(value: int, degree: int) -> int:
    if degree == 2:
        root = math.isqrt(value)
    else:
        root = round(float(value) ** (1 / degree)) if value.bit_length() < 1_000 else 0
        root = next((near for near in (root - 1, root, root + 1) if near >= 0 and near**degree == value), 0)
    if pow(root, degree) != value:
        raise _IrrationalError
    return root


# Complex numbers as pairs of decimals: the standard library's complex numbers have too few digits.
_Pair = tuple[Decimal, Decimal]


def _complex(tree: Node, point: _Point, digits: int) -> _Pair:
    kind = tree[0]
    if kind == "n" or kind == "v":
        value = tree[1] if kind == "n" else point.values[tree[1]]
        return Decimal(value.numerator) / Decimal(value.denominator), Decimal(0)
    if kind == "pi":
        return _pi(digits + 30), Decimal(0)
    if kind == "i":
        return Decimal(0), Decimal(1)
    left = _complex(tree[1], point, digits)
    if kind == "neg":
        return -left[0], -left[1]
    if kind in ("root", "pow"):
        exponent = Fraction(1, tree[2]) if kind == "root" else _rational_exponent(tree[2], point)
        point.imaginary_root |= exponent.denominator > 1 and left[0] < 0 and not left[1]
        return _complex_power(left, exponent, digits)
    right = _complex(tree[2], point, digits)
    if kind == "+":
        return left[0] + right[0], left[1] + right[1]
    if kind == "-":
        return left[0] - right[0], left[1] - right[1]
    return _times(left, right) if kind == "mul" else _times(left, _inverse(right, digits))


def _rational_exponent(tree: Node, point: _Point) -> Fraction:
    try:
        return _rational(tree, point)
    except _IrrationalError:
        raise UnreadableError("an irrational exponent") from None


def _times(a: _Pair, b: _Pair) -> _Pair:
    if not a[1] and not b[1]:
        return a[0] * b[0], Decimal(0)
    return a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]


def _inverse(value: _Pair, digits: int) -> _Pair:
    size = value[0] * value[0] + value[1] * value[1]
    # What is zero but for rounding must not be divided by.
    if size < Decimal(1).scaleb(-digits):
        raise UnreadableError("division by zero, or by nearly nothing")
    return value[0] / size, -value[1] / size


def _complex_root(value: _Pair, degree: int, digits: int) -> _Pair:
    real, imaginary = value
    tiny = Decimal(1).scaleb(-digits // 2)
    if degree == 2:
        if not imaginary and not real:
            return value
        if max(abs(real), abs(imaginary)) < tiny or (imaginary and abs(imaginary) < tiny):
            raise UnreadableError("a root of nearly nothing")
        if not imaginary:
            return (real.sqrt(), imaginary) if real > 0 else (Decimal(0), (-real).sqrt())
        size = (real * real + imaginary * imaginary).sqrt()
        upper, lower = ((size + real) / 2).sqrt(), ((size - real) / 2).sqrt()
        return upper, lower if imaginary > 0 else -lower
    if imaginary or real < tiny:
        raise UnreadableError("a root of a negative or complex number")
    return (real.ln() / degree).exp(), Decimal(0)


def _complex_power(base: _Pair, exponent: Fraction, digits: int) -> _Pair:
    if abs(exponent) > _MAX_EXPONENT:
        raise UnreadableError("an exponent is too large")
    if exponent.denominator != 1:
        root = _complex_root(base, exponent.denominator, digits)
        return _complex_power(root, Fraction(exponent.numerator), digits)
    if exponent < 0:
        return _complex_power(_inverse(base, digits), -exponent, digits)
    power, result = base, (Decimal(1), Decimal(0))
    count = exponent.numerator
    while count:
        if count & 1:
            result = _times(result, power)
        power, count = _times(power, power), count >> 1
    return result


@lru_cache(maxsize=16)
def _pi(digits: int) -> Decimal:
    """Machin's formula: pi = 16 arctan(1/5) - 4 arctan(1/239), in whole numbers."""
    one: int = 10 ** (digits + 10)

    def arctan(denominator: int) -> int:
        term = one // denominator
        total, divisor, sign = term, 3, -1
        while term:
            term //= denominator * denominator
            total += sign * (term // divisor)
            divisor, sign = divisor + 2, -sign
        return total

    return Decimal(16 * arctan(5) - 4 * arctan(239)).scaleb(-(digits + 10))
