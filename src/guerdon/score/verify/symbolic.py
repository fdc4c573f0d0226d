"""Comparing answers by `math-verify`, within a time limit that works in every thread."""

from __future__ import annotations

import logging
import math
import re
from fractions import Fraction
from functools import lru_cache
from typing import Any

from guerdon.score.verify.deadline import within
from guerdon.score.verify.numbers import without_delimiters

_LAST_SIDE = re.compile(r"(?<![<>!:\\])=")
_NEAR = 1e-5
SECONDS = 1.0
"""Limit of one comparison."""


class UnparsedError(ValueError):
    """A text from which `math-verify` reads no mathematics."""


def equal_by_math_verify(prediction: str, gold: str, whole: bool = False, seconds: float = SECONDS) -> bool:
    """Whether two answers are the same mathematics by `math-verify` (install the extra `verify`).

    Its own timeouts are off, as they need signals, which fail in every thread but the main one.

    Args:
        prediction: An answer; see `guard.refusal` for what must not get here.
        gold: The reference answer.
        whole: Whether the answer must be one value, all of which is understood.
        seconds: The limit.

    Raises:
        TimeoutError: It took longer.
        UnparsedError: The reference answer has no mathematics in it.
    """
    import math_verify  # before the clock starts: this takes as long as many comparisons

    _silence_timeout_warning()
    return within(seconds, lambda: _equal(math_verify, prediction, gold, whole))


def _equal(math_verify: Any, prediction: str, gold: str, whole: bool) -> bool:
    reference = _parsed(gold)
    if not reference:
        raise UnparsedError(f"the reference answer {gold[:100]!r} cannot be parsed")
    answer = _parsed(prediction)
    if not answer:
        return False
    if not math_verify.verify(list(reference), list(answer), timeout_seconds=None, raise_on_error=True):
        return False
    return confirmed(reference[0], answer[0]) and (not whole or _whole(prediction, reference))


def confirmed(reference: Any, answer: Any) -> bool:
    r"""Whether what `math-verify` found equal is finite, and equal by its digits where it is a value.

    sympy simplifies the difference of a number and some infinite expressions to 0, so that `\max(\infty, 2)` would
    be right everywhere.

    Args:
        reference: The reference answer as sympy has it.
        answer: The answer.
    """
    from sympy import Expr  # type: ignore[import-untyped]

    if not _finite(answer):
        return False
    if not isinstance(reference, Expr) or not isinstance(answer, Expr):
        return True
    names = sorted(reference.free_symbols | answer.free_symbols, key=str)
    for seed in (3, 11) if names else (1,):
        point = {name: Fraction(seed * (index + 2), 7) for index, name in enumerate(names)}
        gap = _gap(reference, answer, point)
        if gap is not None:
            return gap < _NEAR
    return True


def _gap(reference: Any, answer: Any, point: dict[Any, Fraction]) -> float | None:
    """Relative difference at a point; None where there is no value."""
    from sympy import Rational  # type: ignore[import-untyped]

    values = {name: Rational(value.numerator, value.denominator) for name, value in point.items()}
    try:
        a, b = (complex(side.subs(values).evalf()) for side in (reference, answer))
    except (TypeError, ValueError, AttributeError):
        return None
    gap = abs(a - b) / max(1.0, abs(a))
    return gap if math.isfinite(gap) else None


def _finite(answer: Any) -> bool:
    """Whether no number in an answer is infinite or undefined, except for plain infinities (of intervals)."""
    from sympy import Expr, MatrixBase, oo  # type: ignore[import-untyped]

    if isinstance(answer, MatrixBase):
        return all(map(_finite, answer.flat()))
    if isinstance(answer, Expr) and not answer.free_symbols:
        return answer in (oo, -oo) or answer.doit().evalf().is_finite is not False
    return all(map(_finite, getattr(answer, "args", ())))


def _whole(prediction: str, reference: tuple[Any, ...]) -> bool:
    """Whether the answer is equal within brackets too: what is read only up to a sign that is not understood is not."""
    import math_verify

    body = _LAST_SIDE.split(without_delimiters(prediction).strip().rstrip(".,"))[-1]
    answer = _parsed(f"0 + ({body})")
    return bool(answer) and math_verify.verify(list(reference), list(answer), timeout_seconds=None, raise_on_error=True)


@lru_cache(maxsize=4096)
def _parsed(text: str) -> tuple[Any, ...]:
    import math_verify

    body = without_delimiters(text)
    marked = body if "$" in body else f"${body}$"
    return tuple(math_verify.parse(marked, parsing_timeout=None, raise_on_error=True))


@lru_cache(maxsize=1)
def _silence_timeout_warning() -> None:
    # math-verify warns that its timeouts are off; that is on purpose here.
    for name in ("math_verify.parser", "math_verify.grader"):
        logging.getLogger(name).addFilter(lambda record: "Timeout is disabled" not in record.getMessage())
