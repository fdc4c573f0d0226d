"""Unions of intervals with rational ends."""

from __future__ import annotations

from fractions import Fraction

from guerdon.score.verify.kinds import Infinity, Listing, Reading, Union, Value

_Position = tuple[int, Fraction, int]
"""A place on the line: -1 or 1 for an infinite one, else 0; the number; -1 or 1 for right before or behind it."""


def unions_equal(left: Union, right: Union) -> bool | None:
    """Whether two unions of intervals are the same set; None where an end is not a rational number.

    Args:
        left: A union.
        right: Another one.
    """
    one, other = _merged(left), _merged(right)
    return None if one is None or other is None else one == other


def _merged(union: Union) -> list[tuple[_Position, _Position]] | None:
    """The intervals in order, those that meet joined: the same for equal sets."""
    found = [_interval(part) for part in union.parts]
    intervals = sorted(interval for interval in found if interval is not None)
    if len(intervals) != len(found) or any(begin >= end for begin, end in intervals):
        return None
    merged: list[tuple[_Position, _Position]] = []
    for begin, end in intervals:
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((begin, end))
    return merged


def _interval(part: Reading | None) -> tuple[_Position, _Position] | None:
    if not isinstance(part, Listing) or len(part.items) != 2 or part.opening not in ("(", "["):
        return None
    begin = _position(part.items[0], -1 if part.opening == "[" else 1)
    end = _position(part.items[1], 1 if part.closing == "]" else -1)
    return None if begin is None or end is None else (begin, end)


def _position(reading: Reading | None, side: int) -> _Position | None:
    if isinstance(reading, Infinity):
        return reading.sign, Fraction(0), 0
    if isinstance(reading, Value) and reading.number is not None and not (reading.unit or reading.percent):
        return 0, reading.number, side
    return None
