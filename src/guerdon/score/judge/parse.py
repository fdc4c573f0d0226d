"""Reading what a judge replies. What cannot be read is an error with a reason, never a number.

Where a reply holds several verdicts the last one counts: a judge that thinks aloud may quote the response before it
decides.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from guerdon.score.verify.answers import boxes
from guerdon.score.verify.blocks import find_blocks
from guerdon.score.verify.json_schema import find_json

_NAN = float("nan")
_NUMBER = r"[-+]?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)"
_NUMBER_ALONE = re.compile(_NUMBER)
_SAID_SCORE = re.compile(
    rf"\b(?:score|rating|reward)\b[\s*_\"']{{0,3}}(?:is|of|[:=])[\s*_\"']{{0,5}}({_NUMBER})"
    r"(?!\.?[0-9]|\s*(?:[/%]|out of))",  # neither a part of a number nor of a fraction
    re.IGNORECASE,
)
_PREFERENCE = re.compile(
    r"[\"']?best[_ ](?:description|response|answer)[\"']?\s*[:=]\s*[\"']?(1|2|none|null|tie)\b", re.I
)
_STEP_LINE = re.compile(
    r"^[^\w\n]*step[^\w\n]*([0-9]{1,4})\b[^\n]*?\b(correct|incorrect|right|wrong|valid|invalid)\b[^\w\n]*$", re.I | re.M
)
_GOOD = frozenset(("correct", "right", "valid", "yes", "true"))
_BAD = frozenset(("incorrect", "wrong", "invalid", "no", "false"))


class UnreadableReplyError(ValueError):
    """A reply that holds no verdict in the form that was asked for; the message says what is wrong."""


def without_thinking(reply: str) -> str:
    """A reply without the thoughts of a reasoning model, which may quote anything.

    Example:
        >>> without_thinking("<think>Rating: 9?</think>Rating: 3")
        'Rating: 3'
    """
    # A thought that was not finished has no verdict behind it.
    return reply.rpartition("</think>")[2].partition("<think>")[0]


def score_over_max(reply: str, tag: str = "final_score") -> float:
    """SCORE / MAX of the last `<final_score>SCORE,MAX</final_score>` (PPR, arXiv 2509.25598).

    Raises:
        UnreadableReplyError: No such tag, or not two integers with 0 <= SCORE <= MAX and MAX > 0.

    Example:
        >>> score_over_max("<final_score>1,2</final_score> ... <final_score>3,3</final_score>")
        1.0
    """
    blocks = [block for block in find_blocks(reply, (tag,)) if block.closed]
    if not blocks:
        raise UnreadableReplyError(f"there is no <{tag}>")
    match = re.fullmatch(r"\s*([0-9]{1,9})\s*,\s*([0-9]{1,9})\s*", blocks[-1].content)
    if match is None or not int(match[1]) <= int(match[2]) or int(match[2]) == 0:
        raise UnreadableReplyError(f"<{tag}> holds {blocks[-1].content[:50]!r}: expected SCORE,MAX")
    return int(match[1]) / int(match[2])


def unit_number(reply: str, out_of_range: str = "error") -> float:
    """A number in [0, 1]: of the last box, else of the last answer block, else bare.

    A bare number is the whole reply, its last line, or what follows the last "score is", "score:" or the like. Any
    other number is not taken for a score: "I cannot say anything between 0 and 1" holds two.

    Args:
        reply: The reply.
        out_of_range: "error", or "clamp" to the nearest end as SophiaVL-R1 does (arXiv 2505.17018).

    Raises:
        UnreadableReplyError: No number, or one outside of [0, 1].

    Example:
        >>> unit_number("The reasoning is sound. <answer>0.8</answer>")
        0.8
    """
    if out_of_range not in ("error", "clamp"):
        raise ValueError(f"out_of_range is {out_of_range!r}: expected 'error' or 'clamp'")
    answers = [block.content for block in find_blocks(reply, ("answer",)) if block.closed]
    for candidates in (boxes(reply), answers):
        if candidates:
            return in_range(_number(candidates[-1]), 0.0, 1.0, out_of_range)
    last_line = reply.strip().rpartition("\n")[2].strip(" *_`.")
    if _NUMBER_ALONE.fullmatch(last_line):
        return in_range(float(last_line), 0.0, 1.0, out_of_range)
    said = _SAID_SCORE.findall(reply)
    if not said:
        raise UnreadableReplyError("there is no score")
    return in_range(float(said[-1]), 0.0, 1.0, out_of_range)


def unit_numbers(reply: str, count: int) -> list[float]:
    """A JSON list of `count` numbers in [0, 1], as of atomic thoughts (Atom-Searcher, arXiv 2508.12800).

    Returns:
        The numbers; NaN for an entry that is no number in [0, 1].

    Raises:
        UnreadableReplyError: No list, or one of another length: then it is not known which number belongs where.

    Example:
        >>> unit_numbers("scores: [0.5, 7, null]", 3)
        [0.5, nan, nan]
    """
    found = json_value(reply)
    if not isinstance(found, list):
        raise UnreadableReplyError(f"is {type(found).__name__}: expected a list")
    return entries(found, count, 0.0, 1.0)


def rating(reply: str, low: int = 1, high: int = 10, marker: str = "Rating:") -> int:
    """The first integer after the last marker (RewardMATH's judges, arXiv 2410.01729).

    Raises:
        UnreadableReplyError: No marker, no integer after it, or one outside of low .. high.

    Example:
        >>> rating("Rating: between 1 and 10. Analysis ... Rating: [[7]]")
        7
    """
    _, mark, rest = reply.rpartition(marker)
    if not mark:
        raise UnreadableReplyError(f"there is no {marker!r}")
    match = re.search(r"(?<![0-9.])-?[0-9]+(?!\.?[0-9])", rest)
    if match is None:
        raise UnreadableReplyError(f"there is no integer after {marker!r}")
    value = int(match[0][:20])
    if not low <= value <= high:
        raise UnreadableReplyError(f"the rating is {value}: expected {low} to {high}")
    return value


def step_verdicts(reply: str, n_steps: int) -> list[float]:
    r"""Verdicts on steps, 1.0 = right and 0.0 = wrong, in the order of the steps.

    Read are boxes (`\boxed{CORRECT}`, one a step; further ones behind them are a final verdict), or else lines
    "Step 2: ... incorrect".

    Args:
        reply: The reply.
        n_steps: How many steps there are.

    Raises:
        UnreadableReplyError: The number of verdicts is another one, or the numbering has holes.

    Example:
        >>> step_verdicts("Step 1: correct\nStep 2: the sum is off, so incorrect.", 2)
        [1.0, 0.0]
    """
    boxed = [_verdict_word(box) for box in boxes(reply)]
    verdicts = [value for value in boxed if value is not None]
    if verdicts:
        # A box behind those of the steps is the verdict on the whole solution.
        if len(verdicts) not in (n_steps, n_steps + 1):
            raise UnreadableReplyError(f"there are {len(verdicts)} boxed verdicts: expected {n_steps}")
        return verdicts[:n_steps]
    lines = {int(match[1]): _verdict_word(match[2]) for match in _STEP_LINE.finditer(reply)}
    if sorted(lines) != list(range(1, n_steps + 1)):
        raise UnreadableReplyError(f"there are verdicts on the steps {sorted(lines)}: expected 1 to {n_steps}")
    return [float(lines[step] or 0.0) for step in range(1, n_steps + 1)]


def label(reply: str, labels: Mapping[str, float]) -> float:
    """The value of the label that stands last in a reply, as a word of its own and in its own case.

    Raises:
        UnreadableReplyError: No label occurs.

    Example:
        >>> label("It helps a lot: FOO", {"FOO": 1.0, "BAR": 0.0})
        1.0
    """
    if not labels or not all(labels):
        raise ValueError(f"labels are {dict(labels)}: expected at least one, and none empty")
    # Longer ones first: INCORRECT must not be read as CORRECT, nor NOT OK as OK.
    choice = "|".join(re.escape(name) for name in sorted(labels, key=len, reverse=True))
    found = re.findall(rf"(?<![\w-])(?:{choice})(?![\w-])", reply)
    if not found:
        raise UnreadableReplyError(f"there is none of the labels {sorted(labels)}")
    return float(labels[found[-1]])


def preference(reply: str) -> float:
    """Which of two was preferred, from `("best_description": 1)` and the like (ONI, arXiv 2410.23022).

    Returns:
        1.0 for the first, 0.0 for the second, 0.5 for a tie ("None").

    Raises:
        UnreadableReplyError: There is no such entry.

    Example:
        >>> preference('They are alike. ("best_description": None)')
        0.5
    """
    found = _PREFERENCE.findall(reply)
    if not found:
        raise UnreadableReplyError("there is no best_description")
    return {"1": 1.0, "2": 0.0}.get(found[-1], 0.5)


def _number(text: str) -> float:
    match = _NUMBER_ALONE.fullmatch(text.strip().strip("$").strip())
    if match is None:
        raise UnreadableReplyError(f"{text[:50]!r} is no number")
    return float(match[0])


def in_range(value: float, low: float, high: float, out_of_range: str) -> float:
    """A number inside of low .. high, or what becomes of one outside."""
    if low <= value <= high:
        return value
    if out_of_range == "clamp":
        return min(max(value, low), high)
    raise UnreadableReplyError(f"the score is {value:g}: expected {low:g} to {high:g}")


def _verdict_word(text: str) -> float | None:
    word = re.sub(r"\\(?:text|textbf|mathrm)\s*\{([^{}]*)\}", r"\1", text).strip(" \t\n.*_`'\"{}").lower()
    return 1.0 if word in _GOOD else 0.0 if word in _BAD else None


def json_value(reply: str) -> Any:
    """The JSON value that a reply holds; see `guerdon.score.verify.json_schema.find_json`."""
    try:
        return find_json(reply)
    except ValueError as error:
        raise UnreadableReplyError(str(error)) from error


def is_number(value: object) -> bool:
    """Whether a JSON value is a number that can be computed with."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e300


def entries(found: Sequence[Any], count: int, low: float, high: float) -> list[float]:
    """The numbers of a JSON list of `count` entries; NaN for one that is no number in low .. high."""
    if len(found) != count:
        raise UnreadableReplyError(f"is a list of {len(found)}: expected {count} numbers")
    return [float(value) if is_number(value) and low <= value <= high else _NAN for value in found]
