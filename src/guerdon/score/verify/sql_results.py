"""Whether two results of queries are the same rows."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

Cell = None | int | float | str | bytes
"""A value as SQLite gives it."""

Row = tuple[Cell, ...]
_MOST_MATCHED = 2_000


def rows_equal(
    a: Sequence[Sequence[Cell]],
    b: Sequence[Sequence[Cell]],
    ordered: bool,
    *,
    tolerance: float = 1e-6,
    coerce: bool = False,
    duplicates: bool = True,
) -> bool:
    """Whether two lists of rows hold the same rows.

    Columns are compared by position. NULL equals NULL and nothing else. An integer equals the float of the same
    value; floats are equal within the tolerance, integers only exactly. Text and bytes are equal only if they are
    identical, and differ from each other.

    Args:
        a: Rows.
        b: Rows.
        ordered: Whether their order counts.
        tolerance: Largest difference of equal numbers where one is a float: absolute below 1, relative above.
        coerce: Whether a text that reads as a number is that number.
        duplicates: Whether it counts how often a row comes; it always does where the order counts.

    Returns:
        A symmetric answer.

    Raises:
        ValueError: A negative tolerance.

    Example:
        >>> rows_equal([(1, "a"), (1, "a")], [(1, "a")], ordered=False)
        False
        >>> rows_equal([(0.1 + 0.2,)], [(0.3,)], ordered=True)
        True
    """
    if not tolerance >= 0:
        raise ValueError(f"tolerance is {tolerance}: expected 0 or more")
    left, right = _plain(a, coerce), _plain(b, coerce)
    if not ordered and not duplicates:
        return _covers(left, right, tolerance) and _covers(right, left, tolerance)
    if len(left) != len(right):
        return False
    if left == right:
        return True
    if ordered:
        return all(_same_row(x, y, tolerance) for x, y in zip(left, right, strict=True))
    return Counter(left) == Counter(right) or _matched(left, right, tolerance)


def _plain(rows: Sequence[Sequence[Cell]], coerce: bool) -> list[Row]:
    return [tuple(_number(cell) if coerce else cell for cell in row) for row in rows]


def _number(cell: Cell) -> Cell:
    if not isinstance(cell, str) or not cell.isascii() or "_" in cell:
        return cell
    for read in (int, float):
        try:
            value = read(cell)
        except ValueError:
            continue
        return value if math.isfinite(value) else cell
    return cell


def _is_number(cell: Cell) -> bool:
    return isinstance(cell, int | float)


def _same(x: Cell, y: Cell, tolerance: float) -> bool:
    if isinstance(x, float) or isinstance(y, float):
        if not (isinstance(x, int | float) and isinstance(y, int | float)):
            return False
        # Integers of more than 53 bits are compared as they are before they are rounded.
        return x == y or math.isclose(x, y, rel_tol=tolerance, abs_tol=tolerance)
    return type(x) is type(y) and x == y


def _same_row(x: Row, y: Row, tolerance: float) -> bool:
    return len(x) == len(y) and all(_same(p, q, tolerance) for p, q in zip(x, y, strict=True))


def _by_text(rows: Sequence[Row]) -> dict[Row, list[Row]]:
    """The rows by everything in them that is no number, where numbers stand, and how many columns there are."""
    groups: dict[Row, list[Row]] = defaultdict(list)
    for row in rows:
        groups[tuple(None if _is_number(cell) else (type(cell).__name__, cell) for cell in row)].append(row)  # type: ignore[misc]
    return groups


def _covers(rows: Sequence[Row], others: Sequence[Row], tolerance: float) -> bool:
    """Whether each row equals some other one."""
    exact, near = set(others), _by_text(others)
    for key, group in _by_text(rows).items():
        for row in group:
            if row not in exact and not any(_same_row(row, other, tolerance) for other in near.get(key, ())):
                return False
    return True


def _matched(left: Sequence[Row], right: Sequence[Row], tolerance: float) -> bool:
    """Whether the rows can be paired so that each pair is equal."""
    here, there = _by_text(left), _by_text(right)
    if {key: len(rows) for key, rows in here.items()} != {key: len(rows) for key, rows in there.items()}:
        return False
    return all(_matched_numbers(rows, there[key], tolerance) for key, rows in here.items())


def _matched_numbers(left: list[Row], right: list[Row], tolerance: float) -> bool:
    """Pair rows that differ in numbers only."""

    def numbers(row: Row) -> list[float]:
        return [cell for cell in row if isinstance(cell, int | float)]

    left, right = sorted(left, key=numbers), sorted(right, key=numbers)
    if all(_same_row(x, y, tolerance) for x, y in zip(left, right, strict=True)):
        return True
    if len(numbers(left[0])) < 2 or len(left) > _MOST_MATCHED:
        return False  # for one number the sorted pairing is the best one
    return _perfect_matching([[j for j, y in enumerate(right) if _same_row(x, y, tolerance)] for x in left])


def _perfect_matching(choices: list[list[int]]) -> bool:
    """Whether everybody can get a different one of their choices (augmenting paths)."""
    holder: dict[int, int] = {}
    holds: dict[int, int] = {}
    for person in range(len(choices)):
        came_from: dict[int, int] = {}
        item = _reach_free(person, choices, holder, came_from)
        if item is None:
            return False
        while item is not None:  # along the path back, everybody takes the item that they reached for
            owner = came_from[item]
            before = holds.get(owner)
            holds[owner], holder[item] = item, owner
            item = before
    return True


def _reach_free(person: int, choices: list[list[int]], holder: dict[int, int], came_from: dict[int, int]) -> int | None:
    """A free item at the end of a path from `person`; `came_from` says who on the path reached for which item."""
    reaching = [person]
    while reaching:
        current = reaching.pop()
        for item in choices[current]:
            if item not in came_from:
                came_from[item] = current
                if item not in holder:
                    return item
                reaching.append(holder[item])
    return None
