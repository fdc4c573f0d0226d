r"""Finding the final answer in a response; the time is linear in its length."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from guerdon.score.verify.numbers import last_number
from guerdon.score.verify.reading import QUALIFIERS
from guerdon.score.verify.units import unit

Rule = Literal["boxed", "answer_block", "answer_is", "last_number", "last_formula"]
RULES: tuple[Rule, ...] = ("boxed", "answer_block", "answer_is", "last_number", "last_formula")
"""What an answer can be found by."""

Boxes = Literal["last", "first", "all_equal", "refuse"]
BOXES: tuple[Boxes, ...] = ("last", "first", "all_equal", "refuse")
"""What several boxes mean."""

LONGEST = 20_000
"""Longest answer, in characters, that is returned."""

_BOX = re.compile(r"\\(?:boxed|fbox|framebox)(?![A-Za-z])\s*")
_BRACE_OR_BOX = re.compile(r"\\(?:boxed|fbox|framebox)(?![A-Za-z])\s*\{|\\.|[{}]", re.DOTALL)
_BARE_BOX = re.compile(r"\\(?:boxed|fbox|framebox)(?![A-Za-z])\s*(\\[A-Za-z]+|[^\s{}\\])")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_BETWEEN_BOXES = re.compile(r"[\s$]*(?:\\[()\[\]])?[\s$]*(?:,|;|and|or|,\s?and|,\s?or)[\s$]*(?:\\[()\[\]])?[\s$]*")
_MARK = re.compile(
    r"####\s*(?=[-+$\\(.0-9])|(?-i:^[ \t]{0,3}A:)|\bfinal answer\b[*_]*\s*\n"
    r"|\banswers?\b[*_\s\"']*(?:to (?:the|this) (?:question|problem)\s+)?(?:(?:is|are|=)(?![A-Za-z])\s*:?|:)",
    re.IGNORECASE | re.MULTILINE,
)
_NUMBER_ALONE = re.compile(r"\s*([-+]?[0-9][0-9,]*(?:\.[0-9]+)?)\.?[ \t]*(?:\n|\Z)")
_MARKUP = re.compile(r"[\s*_:\"']+")
_DELIMITER = re.compile(r"\\[()\[\]]|\\.|\$\$?|\n", re.DOTALL)
_CLOSING = {"$": "$", "$$": "$$", "\\(": "\\)", "\\[": "\\]"}
_FURTHER = re.compile(r"\s*(?:,?\s?and|,?\s?or|,|;)\s*(?=\$|\\\(|\\\[)")
_UNIT_AFTER = re.compile(r"\s*(\\?%|[A-Za-z]{2,20}(?: [A-Za-z]{2,20}){0,2})\s*(?:[.!*]|\Z|\n)")
_CLAUSE_END = re.compile(
    r"[.!?](?=\s|$)|\n|\s(?:because|since|which|where)\b|,\s+(?!and\b|or\b)(?=[A-Za-z]{3,})|\s\(|</?[a-z]", re.MULTILINE
)
_WORD = re.compile(r"(?<![A-Za-z\\])[A-Za-z]{4,}")
_MAX_WORDS = 5
_LEAD_IN = re.compile(
    r"(?:(?:exactly|simply|just|equal to|equals|given by|therefore|thus|approximately|about)\s+)+", re.IGNORECASE
)
_COMMAND_OR_TEXT = re.compile(
    r"\\(?:text|mbox|mathrm|textbf|operatorname)\s*\{[^{}]*\}|\\[A-Za-z]+|(?:sqrt|infinity)(?![A-Za-z])"
)
_CONTEXT = 60
_PLAIN = re.compile(r"[-+]?\s*(?:\\?\$)?[0-9][0-9,]*(?:\.[0-9]+)?(?:/[0-9]+)?\s*(?:\\?%)?")
_PART_OF_FORMULA_LEFT = re.compile(r"[\\^_{}A-Za-z]-?\Z|[A-Za-z]\(-?\Z|[A-Za-z)\]}]/\Z")
_PART_OF_FORMULA_RIGHT = re.compile(r"[\\^_{}](?!\(|\)|\[|\]|%|\$)|/[A-Za-z(\\]|!(?!\s|\Z)")
_WHOLE_BEFORE = re.compile(r"(?<![0-9.,/+*=-])(-?[0-9]{1,9})\s\Z")
_PERCENT_AFTER = re.compile(r"\s?(?:\\?%|percent\b)")
_LETTERS = re.compile(r"[A-Za-z]+")
_ORDINALS = frozenset(("st", "nd", "rd", "th"))


@dataclass(frozen=True)
class Found:
    """A final answer.

    Attributes:
        answers: The answer; several where several boxes must all be right; empty = none was found.
        rule: What it was found by; "" = nothing.
        reason: Why there is none.
    """

    answers: tuple[str, ...] = ()
    rule: str = ""
    reason: str = ""


def final_answer(
    response: str, order: Sequence[Rule] = RULES, several_boxes: Boxes = "last", after_thinking: bool = True
) -> Found:
    r"""The final answer of a response, by the first rule that finds one.

    * "boxed": a complete LaTeX box. Boxes that only a comma, "and" or "or" separates are one list of answers. Empty
      boxes do not count.
    * "answer_block": the last `<answer>...</answer>`; the box in it, if it has one.
    * "answer_is": what follows the last "the answer is", "Answer:", "A:" at the start of a line, or "####", up to the
      end of the formula or sentence.
    * "last_number": the last number, where it is not a part of a formula.
    * "last_formula": the last formula between dollars or LaTeX brackets.

    Args:
        response: What the policy wrote; the time is linear in its length.
        order: The rules, the first one first.
        several_boxes: Which of several boxes counts: the "last", the "first", all of them ("all_equal": each must be
            right) or none ("refuse").
        after_thinking: Whether only the text after `</think>` counts, where there are such tags.

    Returns:
        The answer or answers, or the reason why there is none.

    Example:
        >>> final_answer("First \\boxed{1}. So it is \\boxed{\\frac{1}{2}}.").answers
        ('\\frac{1}{2}',)
        >>> final_answer("6 + 7 is 13.\n#### 13").rule, final_answer("<think>\\boxed{3}").reason
        ('answer_is', 'the thinking does not end')
    """
    if after_thinking:
        text = after_thoughts(response)
        if text is None:
            return Found(reason="the thinking does not end")
        response = text
    for rule in order:
        if rule == "boxed":
            found = _from_boxes(response, several_boxes)
            if found is not None:
                return found
        else:
            answer = _FINDERS[rule](response)
            if answer is not None:
                return Found((answer,), rule)
    return Found(reason="there is no answer")


def after_thoughts(text: str) -> str | None:
    """The text behind the last `</think>`; all of it where there are no such tags; None if the thinking never ends.

    Example:
        >>> after_thoughts("<think>a</think> b"), after_thoughts("<think> a"), after_thoughts("a")
        (' b', None, 'a')
    """
    opened, closed = text.rfind("<think>"), text.rfind("</think>")
    if opened > closed:
        return None
    return text[closed + len("</think>") :] if closed >= 0 else text


# --- boxes ------------------------------------------------------------------------------------------------------


def box_spans(text: str) -> list[tuple[int, int, int, int]]:
    """The complete boxes that do not stand inside another one: start and end of the box, of its content.

    Args:
        text: Any text; the time is linear in its length, up to sorting.
    """
    if "\\boxed" not in text and "\\fbox" not in text and "\\framebox" not in text:
        return []
    spans = [(match.start(), match.end(), match.start(1), match.end(1)) for match in _BARE_BOX.finditer(text)]
    open_braces: list[tuple[int, int] | None] = []  # for each open brace: start of the box and of its content
    for token in _BRACE_OR_BOX.finditer(text):
        if token[0] == "{":
            open_braces.append(None)
        elif token[0] == "}":
            box = open_braces.pop() if open_braces else None
            if box is not None:
                spans.append((box[0], token.end(), box[1], token.start()))
        elif token[0].endswith("{") and _BOX.match(token[0]):
            open_braces.append((token.start(), token.end()))
    found, reached = [], 0
    for span in sorted(spans):
        if span[0] >= reached:
            found.append(span)
            reached = span[1]
    return found


def boxes(text: str) -> list[str]:
    r"""The contents of all complete LaTeX boxes that do not stand inside another complete one, in order.

    Braces are matched; escaped ones (`\{`) do not count; `\boxed 7` holds one character or command.

    Args:
        text: Any text; the time is linear in its length.

    Example:
        >>> boxes("so \\boxed{\\frac{1}{2}} or \\fbox{3}, \\boxed{unfinished")
        ['\\frac{1}{2}', '3']
    """
    return [text[start:end] for _, _, start, end in box_spans(text)]


def last_boxed(text: str) -> str | None:
    r"""The content of the last complete `\boxed{...}` (or `\fbox{...}`) of a text; None if there is none.

    Example:
        >>> last_boxed("first \\boxed{1}, then \\boxed{\\frac{1}{2}}.")
        '\\frac{1}{2}'
    """
    found = boxes(text)
    return found[-1] if found else None


def _from_boxes(text: str, several: Boxes) -> Found | None:
    only = _single_box(text)
    runs = [only] if only is not None else _runs_of_boxes(text)
    if not runs:
        return None
    if several == "refuse" and len(runs) > 1:
        return Found(reason=f"{len(runs)} boxes: expected one")
    if several == "all_equal":
        return Found(tuple(dict.fromkeys(runs)), "boxed")
    return Found((runs[-1] if several == "last" else runs[0],), "boxed")


def _single_box(text: str) -> str | None:
    """The content of the box of a text that has one box only: most have, and this is fast."""
    start = text.find("\\boxed{")
    if start < 0 or text.find("box", start + 4) >= 0 or text.find("\\fbox", 0, start) >= 0 or "framebox" in text:
        return None
    inside, depth = start + len("\\boxed{"), 0
    for token in _BRACE.finditer(text, inside - 1):
        depth += (token[0] == "{") - (token[0] == "}")
        if depth == 0 and token[0] == "}":
            return text[inside : token.start()].strip() or None
    return None


def _runs_of_boxes(text: str) -> list[str]:
    """The contents of the boxes that are not empty; those that only a comma or the like separates as one list."""
    runs: list[list[str]] = []
    reached = -1
    for start, end, first, last in box_spans(text):
        content = text[first:last].strip()
        if not content:
            continue
        between = text[reached:start] if reached >= 0 and start - reached < 40 else None
        if between is not None and _BETWEEN_BOXES.fullmatch(between):
            runs[-1].append(content)
        else:
            runs.append([content])
        reached = end
    return [", ".join(run) for run in runs]


# --- phrases, numbers and formulas --------------------------------------------------------------------------------


def _answer_block(text: str) -> str | None:
    lower = text.lower() if "</" in text else ""
    end = lower.rfind("</answer>")
    start = lower.rfind("<answer>", 0, end) if end >= 0 else -1
    if start < 0:
        return None
    inside = text[start + len("<answer>") : end].strip()
    return last_boxed(inside) or inside[:LONGEST] or None


def _answer_is(text: str) -> str | None:
    # Every mark has one of these in it, so that the last mark is near the last of them, if that is one.
    near = max(text.rfind("nswer"), text.rfind("NSWER"), text.rfind("A:"), text.rfind("####"))
    mark = None if near < 0 else _last_mark(text, max(0, near - 16)) or _last_mark(text, 0)
    if mark is None:
        return None
    number = _NUMBER_ALONE.match(text, mark.end())
    if number:
        return number[1]
    markup = _MARKUP.match(text, mark.end())
    rest = text[markup.end() if markup else mark.end() :][:LONGEST]
    return _formula_at(rest) or _clause(rest)


def _last_mark(text: str, start: int) -> re.Match[str] | None:
    mark = next(iter(deque(_MARK.finditer(text, start), maxlen=1)), None)
    # What seems to begin where the search begins may be the end of a longer word.
    return mark if mark is not None and (start == 0 or mark.start() > start) else None


def _formula_at(text: str) -> str | None:
    """The formula that a text begins with, and those that "and", "or" or a comma joins to it."""
    parts, position = [], 0
    for start, end, content in formulas(text):
        if start != position:
            break
        parts.append(content)
        further = _FURTHER.match(text, end)
        position = further.end() if further else end
        if not further:
            break
    if not parts:
        return None
    unit = _UNIT_AFTER.match(text, position) if len(parts) == 1 else None
    return f"{parts[0]} {unit[1]}" if unit else ", ".join(parts)


def _clause(text: str) -> str | None:
    """A text up to the end of its clause, without markup; None if it is a longer piece of prose."""
    end = _CLAUSE_END.search(text)
    clause = (text[: end.start()] if end else text).strip().strip("*_\"'").strip().rstrip(",:;")
    clause = _LEAD_IN.sub("", clause, count=1) if _LEAD_IN.match(clause) else clause
    words = _WORD.findall(_COMMAND_OR_TEXT.sub(" ", clause))
    if not clause or len(words) > _MAX_WORDS:
        return None
    # "The answer is found by adding 5 and 6" announces no answer.
    told = words and clause.startswith(words[0]) and words[0].lower() not in QUALIFIERS
    return None if told and any(character.isdigit() for character in clause) else clause


def formulas(text: str) -> list[tuple[int, int, str]]:
    """Start, end and content of what stands between dollars or LaTeX brackets and is no prose.

    Args:
        text: Any text; the time is linear in its length.
    """
    found, opened, start = [], "", 0
    for token in _DELIMITER.finditer(text):
        sign = token[0]
        if opened and sign == _CLOSING[opened]:
            content = text[start + len(opened) : token.start()].strip()
            if content and not prose(content):
                found.append((start, token.end(), content))
                opened = ""
            elif sign == "$":
                start = token.start()  # the text between two prices: this dollar may open a formula
            else:
                opened = ""
        elif sign == "\n":
            opened = "" if opened in ("$", "\\(") else opened
        elif sign in _CLOSING and not (opened == "$" and sign == "$$"):
            opened, start = sign, token.start()
    return found


def prose(formula: str) -> bool:
    """Whether what stands between two dollars is no formula, but text between two prices.

    Args:
        formula: What stands there.
    """
    return _WORD.search(_COMMAND_OR_TEXT.sub(" ", formula)) is not None


def _last_number(text: str) -> str | None:
    """The last number; None if it is a part of a formula."""
    # A long response is read from its end: the window grows until the number in it cannot begin before it.
    size = 400
    while True:
        window = text[-size:]
        number = last_number(window)
        digits = (number or "").lstrip("-")
        at = window.rfind(digits)
        if number is not None and (at > _CONTEXT or size >= len(text)):
            return _alone(number, window, at, at + len(digits))
        if size >= len(text):
            return None
        size *= 8


def _alone(number: str, window: str, start: int, end: int) -> str | None:
    left, right = window[max(0, start - _CONTEXT) : start], window[end : end + _CONTEXT]
    around = next((content for first, last, content in formulas(window) if first < start < last), None)
    if around is not None:
        side = around.rpartition("=")[2].strip()
        return side if _PLAIN.fullmatch(side) else None
    if _PART_OF_FORMULA_LEFT.search(left) or _PART_OF_FORMULA_RIGHT.match(right):
        return None
    letters = _LETTERS.match(right)
    if letters and letters[0] not in _ORDINALS and unit(letters[0]) is None:
        return None
    whole = _WHOLE_BEFORE.search(left) if "/" in number else None
    percent = _PERCENT_AFTER.match(right)
    return f"{whole[1] + ' ' if whole else ''}{number}{'%' if percent else ''}"


def _last_formula(text: str) -> str | None:
    size = 2_000
    while True:
        found = formulas(text[-size:])
        if found:
            return found[-1][2][:LONGEST]
        if size >= len(text):
            return None
        size *= 8


_FINDERS: dict[str, Callable[[str], str | None]] = {
    "answer_block": _answer_block,
    "answer_is": _answer_is,
    "last_number": _last_number,
    "last_formula": _last_formula,
}
