"""What an answer is: a value, words, a list, an interval, a union, a matrix, an equation."""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache

from guerdon.score.verify.expressions import read_expression
from guerdon.score.verify.identity import rational_value
from guerdon.score.verify.kinds import Equation, Inequality, Infinity, Listing, Matrix, Reading, Union, Value, Words
from guerdon.score.verify.numbers import AbsurdNumberError, parse_number
from guerdon.score.verify.units import ONE_LETTER, unit

MAX_ITEMS = 30
"""Most items of a list, or entries of a matrix, that are compared one by one."""


_OPEN, _CLOSE = ("\\{", "(", "[", "{"), ("\\}", ")", "]", "}")
_BRACKET = re.compile(r"\\?[{}]|[()\[\]]")
_SPLIT_AT = re.compile(r"\\[{}]|[(\[{]|[)\]}]|[,;]|\\text\s*\{\s*(?:and|or)\s*\}|(?<![A-Za-z\\])(?:and|or)(?![A-Za-z])")
_WORDS = re.compile(r"[A-Za-z][A-Za-z '.,-]*")
_TEXT = re.compile(r"(?:\\text\s*\{[^{}\\]*\}\s*)+")
_TEXT_ALONE = re.compile(r"\\text\s*\{([^{}]*)\}")
_TEXT_INSIDE = re.compile(r"\\text\s*\{([^{}\\]*)\}")

_SHORT_WORDS = frozenset(("yes", "no", "odd", "even", "true", "all", "none", "both", "not", "any"))
_UP_TO_TWENTY = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
)
_NUMBER_WORDS = {word: Value(Fraction(number)) for number, word in enumerate(_UP_TO_TWENTY.split())}
_NO_WORDS = re.compile(r"sqrt|infinity|infty|frac")
_OPTION = re.compile(r"\(\s*([A-Za-z])\s*\)")
_BASE = re.compile(r"([0-9][0-9A-Fa-f]*)_\{?([0-9]{1,2})\}?(?:\\text\{[a-z]*\})?")
_TAIL = re.compile(
    r"(?P<body>.*[0-9)}\]A-Za-z.])\s*(?:"
    r"\\text\s*\{\s*(?P<text>[^{}\\0-9]*)\}(?P<power>\^(?:\{\s*[23]\s*\}|[23]))?"
    r"|(?P<circle>\^\s*(?:\{\s*\\circ\s*\}|\\circ))(?:\s*(?P<scale>[CF]))?)",
    re.DOTALL,
)
_BARE_TAIL = re.compile(
    r"(?P<body>.*[0-9)}])(?:\s+(?P<words>[A-Za-z][A-Za-z./]*(?:[ -][A-Za-z][A-Za-z.]*){0,3})|(?P<close>[A-Za-z]{2,12}))"
    r"(?P<power>\^(?:\{[23]\}|[23]))?",
    re.DOTALL,
)
_LETTER_TAIL = re.compile(r"(?P<body>[-+]?[0-9][0-9.,]*)\s*(?P<letter>[A-Za-z])")
_PERCENT = re.compile(
    r"(.*[0-9)}])\s*(?:%|\\text\s*\{\s*(?:%|percent)\s*\}|(?:percent|per cent)(?![A-Za-z]))", re.DOTALL
)
_CURRENCY = re.compile(r"([-+]?)\s*([$\u20ac\u00a3\u00a5])\s*(?=[-+.0-9\\])")
_CURRENCY_AFTER = re.compile(r"(.*[0-9])\s*([$\u20ac\u00a3\u00a5])", re.DOTALL)
_SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12}
_REPEATING = re.compile(r"([-+]?)([0-9]*)\.([0-9]*)\\overline\s*\{([0-9]+)\}")
_APPROXIMATELY = re.compile(
    r"(?:\\approx|\\sim|approximately|about|\\text\s*\{\s*(?:approximately|about)\s*\})\s*(?=\S)"
)
_MEMBER = re.compile(r"\s*[A-Za-z]\s*\\in(?![A-Za-z])\s*")
_MATRIX = re.compile(r"\\begin\s*\{([pbBv]?matrix|array)\}(?:\{[clr|]*\})?(.*)\\end\s*\{\1\}", re.DOTALL)
_EQUALS = re.compile(r"(?<![<>!:=\\])=(?!=)")
_RELATION = re.compile(r"[<>]|\\(?:leq|geq|neq|approx|equiv|sim|subset|mid|to|rightarrow)(?![A-Za-z])")
_MIXED = re.compile(r"([-+]?)([0-9]+)\s+([0-9]+)\s*/\s*([0-9]+)")
_SPACED = re.compile(r"[-+]?[0-9]{1,3}(?: [0-9]{3})+(?:\.[0-9]+)?")
_ORDER = re.compile(r"(<|>|\\leq(?![A-Za-z])|\\geq(?![A-Za-z]))")
_VARIABLE = re.compile(r"[A-Za-z](?:_[0-9])?|\\(?:theta|alpha|lambda)")
_INFINITY = re.compile(r"([-+]?)\s*(?:\\infty|infinity|inf)")
_QUALIFIERS = "not no least most more less fewer than except unless above below over under between either neither maybe"
QUALIFIERS = frozenset(_QUALIFIERS.split())
"""Words after a number that make it another answer."""


@lru_cache(maxsize=8192)
def read(text: str) -> Reading | None:
    """What a tidy text says (see `latex.tidy`); None if it is not understood here.

    Args:
        text: An answer, or part of one.
    """
    text = text.strip()
    if len(text) > 600:
        return None
    member = _MEMBER.match(text)
    if member and text[member.end() :].lstrip().startswith(("[", "(", "\\{")):
        text = text[member.end() :].strip()
    text = _APPROXIMATELY.sub("", text, count=1) if _APPROXIMATELY.match(text) else text
    return _simple(text) or _structured(text)


def _simple(text: str) -> Reading | None:
    inside = _TEXT_ALONE.fullmatch(text)
    if inside and any(character.isdigit() for character in text):
        return read(inside[1])
    plain = _number(text)
    if plain is not None:
        return plain
    infinity = _INFINITY.fullmatch(text)
    if infinity:
        return Infinity(-1 if infinity[1] == "-" else 1)
    words = _words(text)
    return _NUMBER_WORDS.get(words.text, words) if words else None


def _structured(text: str) -> Reading | None:
    if _RELATION.search(text):
        return _inequality(text)
    items = top_level(text)
    if items is None:
        return None
    if len(items) > 1:
        return None if len(items) > MAX_ITEMS else Listing("", "", _items(items))
    sides = _EQUALS.split(text)
    if len(sides) > 1:
        return Equation(tuple(side.strip() for side in sides)) if all(side.strip() for side in sides) else None
    if "\\cup" in text:
        parts = text.split("\\cup")
        return Union(tuple(map(read, parts))) if 1 < len(parts) <= MAX_ITEMS else None
    if "\\begin" in text:
        return _matrix(text)
    return _bracketed(text) or (_both_signs(text) if "\\pm" in text else _value(text))


def _inequality(text: str) -> Inequality | None:
    """`x > 5` or `1 < x < 7` as an interval of x."""
    parts = _ORDER.split(text)
    sides, signs = [side.strip() for side in parts[::2]], parts[1::2]
    downward = [sign == ">" or "geq" in sign for sign in signs]
    if len(signs) not in (1, 2) or _RELATION.search("".join(sides)) or len(set(downward)) > 1:
        return None
    if downward[0]:
        sides, signs = sides[::-1], signs[::-1]
    at = next((index for index, side in enumerate(sides) if _VARIABLE.fullmatch(side)), None)
    if at is None or (len(signs) == 2 and at != 1):
        return None
    low = read(sides[at - 1]) if at else Infinity(-1)
    high = read(sides[at + 1]) if at + 1 < len(sides) else Infinity(1)
    opening = "[" if at and "eq" in signs[at - 1] else "("
    closing = "]" if at < len(signs) and "eq" in signs[at] else ")"
    return Inequality(sides[at], Listing(opening, closing, (low, high)))


# --- values -----------------------------------------------------------------------------------------------------


def _number(text: str) -> Value | None:
    try:
        number = parse_number(text) if text[-1:].isdigit() or text[-1:] in "}." else None
    except AbsurdNumberError:
        return None
    if number is None or "$" in text or text.endswith("%") or text.startswith(("\u20ac", "\u00a3", "\u00a5")):
        return None
    return Value(number, decimal="." in text)


def _value(text: str, tails: int = 3) -> Value | None:
    """A value with a per cent sign, a unit, a currency sign or a base."""
    based = _BASE.fullmatch(text.replace(" ", ""))
    if based:
        return _based(based[1], int(based[2]))
    repeating = _REPEATING.fullmatch(text.replace(" ", ""))
    if repeating:
        return Value(_repeated(repeating))
    bare = _number(text.replace(" ", "") if _SPACED.fullmatch(text) else text) or _mixed(text)
    if bare is not None:
        return bare
    dressed = _dressed(text, tails) if tails else None
    if dressed is not None:
        return dressed
    expression = read_expression(text)
    if expression is None:
        return None
    return Value(rational_value(expression), expression, decimal=expression.decimals, may_be_unit=_letter_unit(text))


def _mixed(text: str) -> Value | None:
    """`12 3/5`: twelve and three fifths."""
    match = _MIXED.fullmatch(text)
    if match is None or not 0 < int(match[3][:9]) < int(match[4][:9]) or len(match[0]) > 30:
        return None
    number = int(match[2]) + Fraction(int(match[3]), int(match[4]))
    return Value(-number if match[1] == "-" else number)


def _dressed(text: str, tails: int) -> Value | None:
    percent = _PERCENT.fullmatch(text)
    if percent:
        return _with(_value(percent[1], tails - 1), percent=True)
    money = _CURRENCY.match(text)
    if money:
        return _with(_value(money[1] + text[money.end() :], tails - 1), sign=money[2])
    money = _CURRENCY_AFTER.fullmatch(text)
    if money:
        return _with(_value(money[1], tails - 1), sign=money[2])
    tail = _TAIL.fullmatch(text)
    if tail:
        name = "\\circ" if tail["circle"] else tail["text"].strip() + (tail["power"] or "").replace(" ", "")
        return _with_unit(tail["body"], name, tails)
    bare = _BARE_TAIL.fullmatch(text)
    if bare:
        name = (bare["words"] or bare["close"]) + (bare["power"] or "")
        # Two or three letters right at a number are a unit only if there is such a unit; else they are factors.
        if unit(name) is not None or (bare["words"] and max(map(len, re.split(r"[ -]", bare["words"]))) >= 4):
            return _with_unit(bare["body"], name, tails)
    return None


def _with_unit(body: str, name: str, tails: int) -> Value | None:
    words = name.lower().replace("-", " ").split()
    if any(word in QUALIFIERS for word in words):
        return None
    value = _value(body.strip(), tails - 1)
    if value is None or not words:
        return value
    if words[0].removesuffix("s") in _SCALES and value.number is not None:
        scaled = Value(value.number * _SCALES[words[0].removesuffix("s")], decimal=value.decimal, unit=value.unit)
        return _with(scaled, name=" ".join(words[1:])) if words[1:] else scaled
    return _with(value, name=name)


def _with(value: Value | None, percent: bool = False, sign: str = "", name: str = "") -> Value | None:
    """The value with something more around it; None where it had such a thing already."""
    if value is None or value.base is not None:
        return None
    found = unit(sign or name) if sign or name else None
    if found is not None and value.unit is not None and found[0] != value.unit[0]:
        return None
    if percent and (value.percent or value.unit):
        return None
    return Value(
        value.number, value.expression, value.decimal, value.percent or percent, found or value.unit, None, None
    )


def _letter_unit(text: str) -> Value | None:
    letter = _LETTER_TAIL.fullmatch(text)
    if letter is None or letter["letter"] not in ONE_LETTER:
        return None
    value = _number(letter["body"])
    return None if value is None else _with(value, name=letter["letter"])


def _based(digits: str, base: int) -> Value | None:
    if not 2 <= base <= 36 or len(digits) > 100:
        return None
    try:
        number = Fraction(int(digits, base))
    except ValueError:
        number = None  # a digit that the base does not have
    return Value(number, base=(digits.lower().lstrip("0") or "0", base))


def _repeated(match: re.Match[str]) -> Fraction:
    sign, whole, fixed, period = match.groups()
    value = Fraction(int(f"{whole or 0}{fixed}{period}") - int(f"{whole or 0}{fixed}"))
    value /= int("9" * len(period) + "0" * len(fixed))
    return -value if sign == "-" else value


def _both_signs(text: str) -> Reading | None:
    if text.count("\\pm") != 1:
        return None
    found = tuple(_value(text.replace("\\pm", sign).strip()) for sign in "+-")
    return None if None in found else Listing("", "", found)


# --- words ------------------------------------------------------------------------------------------------------


def _words(text: str) -> Words | None:
    if _TEXT.fullmatch(text):
        option = _OPTION.fullmatch(_TEXT_INSIDE.sub(r"\1", text).strip())
        inside = " ".join(_TEXT_INSIDE.findall(text))
        if option:
            return Words(option[1].lower())
        return Words(_normal(inside)) if _WORDS.fullmatch(inside.strip()) else None
    option = _OPTION.fullmatch(text)
    if option:
        return Words(option[1].lower())
    if not _WORDS.fullmatch(text) or _NO_WORDS.search(text):
        return None
    return Words(_normal(text)) if len(text) >= 4 or text.lower() in _SHORT_WORDS | _NUMBER_WORDS.keys() else None


def _normal(words: str) -> str:
    return " ".join(re.sub(r"[.,'-]", " ", words).casefold().split())


# --- lists, brackets and matrices -------------------------------------------------------------------------------


def top_level(text: str, thousands: bool = True) -> list[str] | None:
    """The parts between commas, semicolons, "and" and "or" outside brackets; None where brackets do not match.

    A comma between digits that stand like thousands does not split, unless `thousands` is False.
    """
    parts, start, depth = [], 0, 0
    for token in _SPLIT_AT.finditer(text):
        sign = token[0]
        if sign in _OPEN:
            depth += 1
        elif sign in _CLOSE:
            depth -= 1
            if depth < 0:
                return None
        elif depth == 0 and not (thousands and sign == "," and _groups_thousands(text, token.start())):
            parts.append(text[start : token.start()].strip())
            start = token.end()
    if depth:
        return None
    parts.append(text[start:].strip())
    found = [part for part in parts if part]
    return found or None


def _groups_thousands(text: str, comma: int) -> bool:
    before = re.search(r"(?<![0-9.])[0-9]{1,3}(?:,[0-9]{3})*$", text[max(0, comma - 60) : comma])
    return before is not None and re.match(r",[0-9]{3}(?![0-9])", text[comma:]) is not None


def _bracketed(text: str) -> Reading | None:
    opening = next((sign for sign in _OPEN if text.startswith(sign)), None)
    closing = next((sign for sign in _CLOSE if text.endswith(sign)), None)
    if opening is None or closing is None or opening == "{" or closing == "}" or not _encloses(text):
        return None
    if (opening == "\\{") != (closing == "\\}"):
        return None
    inside = text[len(opening) : -len(closing)].strip()
    items = top_level(inside) if inside else []
    if items is not None and len(items) == 1 and "," in inside:
        items = top_level(inside, thousands=False)  # (3,250) is a point
    if items is None or len(items) > MAX_ITEMS:
        return None
    if len(items) == 1 and opening == "(" and closing == ")":
        return read(items[0])
    if len(items) == 1 and opening != "\\{":
        return None
    return Listing(opening, closing, _items(items) if opening == "\\{" else tuple(map(read, items)))


def _items(texts: list[str]) -> tuple[Reading | None, ...]:
    r"""The items of a list whose order means nothing; `1 \pm x` among them is two."""
    items: list[Reading | None] = []
    for found in map(read, texts):
        items += found.items if isinstance(found, Listing) and found.opening == "" else (found,)
    return tuple(items)


def _encloses(text: str) -> bool:
    """Whether the first bracket is closed by the last one and no sooner."""
    depth = 0
    for token in _BRACKET.finditer(text):
        depth += 1 if token[0] in _OPEN else -1
        if depth == 0:
            return token.end() == len(text)
    return False


def _matrix(text: str) -> Matrix | None:
    match = _MATRIX.fullmatch(text)
    if match is None or match[1] == "vmatrix" or "\\begin" in match[2]:
        return None
    lines = [line for line in match[2].split("\\\\") if line.strip()]
    rows = tuple(tuple(read(entry) for entry in line.split("&")) for line in lines)
    if not rows or len({len(row) for row in rows}) != 1 or len(rows) * len(rows[0]) > MAX_ITEMS:
        return None
    return Matrix(rows)
