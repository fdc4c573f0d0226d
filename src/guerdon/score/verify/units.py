"""Units of measurement, as far as answers to mathematical questions need them."""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache

_LENGTH: dict[str, int | Fraction] = {
    "mm millimeter millimetre": Fraction(1, 1000), "cm centimeter centimetre": Fraction(1, 100), "m meter metre": 1,
    "km kilometer kilometre": 1000, "in inch inche": Fraction(254, 10_000), "ft foot feet": Fraction(3048, 10_000),
    "yd yard": Fraction(9144, 10_000), "mi mile": Fraction(1_609_344, 1000),
}  # fmt: skip
_OTHERS: dict[str, dict[str, int | Fraction]] = {
    "time": {"s sec second": 1, "min minute": 60, "h hr hour": 3600, "day": 86_400, "week": 604_800},
    "long time": {"month": 1, "year yr": 12},
    "mass": {"mg milligram": Fraction(1, 1000), "g gram": 1, "kg kilogram": 1000, "t tonne": 10**6},
    "weight": {"oz ounce": 1, "lb pound": 16},
    "angle": {"\\circ degree deg": 1},
    "money": {"cent \u00a2": 1, "dollar usd $": 100},
    "euro": {"euro \u20ac": 1},
    "pound sterling": {"\u00a3": 1},
    "yen": {"\u00a5 yen": 1},
    "volume": {"ml milliliter millilitre": 1, "l liter litre": 1000},
    "gallons": {"quart": 1, "gallon gal": 4},
    "speed": {"mph": 1},
    "metric speed": {"km/h kmh kph": 1},
}
_POWERS = {"": 1, "square": 2, "sq": 2, "cubic": 3, "cu": 3}
_POWER_WORDS = re.compile(r"^(square|sq|cubic|cu)\.? +")
_POWER_SIGN = re.compile(r"\^\{?([123])\}?$|(?<=[A-Za-z])([23])$|(?: squared)$|(?: cubed)$")

Unit = tuple[str, Fraction]
"""Dimension, and how many of its base units one of these is."""


def _table() -> dict[str, tuple[str, Fraction]]:
    dimensions: dict[str, dict[str, int | Fraction]] = {"length": dict(_LENGTH), **_OTHERS}
    return {
        name: (dimension, Fraction(factor))
        for dimension, units in dimensions.items()
        for names, factor in units.items()
        for name in names.split()
    }


_KNOWN = _table()
ONE_LETTER = frozenset("mghsl")
"""Units of one letter, which might be variables as well."""


@lru_cache(maxsize=4096)
def unit(name: str) -> Unit | None:
    r"""The unit of a name; None for any other word.

    Args:
        name: A unit in singular or plural, with a power as `^2`, `^{2}`, "square" or "cubic".

    Example:
        >>> unit("square inches") == unit("in^2"), unit("cm")[0], unit("apples")
        (True, 'length', None)
    """
    name = name.strip().rstrip(".")
    power = 1
    words = _POWER_WORDS.match(name)
    if words:
        power, name = _POWERS[words[1]], name[words.end() :]
    sign = _POWER_SIGN.search(name)
    if sign:
        power *= int(sign[1] or sign[2] or (2 if sign[0].endswith("squared") else 3))
        name = name[: sign.start()]
    name = name.strip()
    found = _KNOWN.get(name) or (_KNOWN.get(name.lower()) if len(name) > 1 else None)
    if found is None and len(name) > 2 and name.lower().endswith("s"):
        found = _KNOWN.get(name.lower()[:-1])
    if found is None or (power > 1 and found[0] != "length"):
        return None
    return (found[0] if power == 1 else f"{found[0]}^{power}", found[1] ** power)
