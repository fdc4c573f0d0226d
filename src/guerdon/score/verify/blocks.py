"""Reading the structure of a response: steps, tagged blocks, boxes, and whether a format was kept."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from guerdon.score.verdict import Verdict
from guerdon.score.verify.answers import boxes

BLOCKS = ("think", "answer")
"""The blocks of the usual format: `<think>...</think><answer>...</answer>`."""


def split_steps(text: str, delimiter: str) -> list[tuple[int, int]]:
    r"""Cut a response into steps.

    A delimiter belongs to the step that it ends. Stretches of nothing but white space are no step.

    Args:
        text: The response.
        delimiter: Text that ends a step; the last step may lack it.

    Returns:
        Half-open spans of characters, in order.

    Raises:
        ValueError: The delimiter is empty.

    Example:
        >>> split_steps("3\n7\n\n=1", "\n")
        [(0, 2), (2, 4), (5, 7)]
    """
    if not delimiter:
        raise ValueError("delimiter is empty: expected the text that ends a step")
    spans, start = [], 0
    while start < len(text):
        found = text.find(delimiter, start)
        end = len(text) if found < 0 else found + len(delimiter)
        content = text[start:end] if found < 0 else text[start:found]
        if content.strip():
            spans.append((start, end))
        start = end
    return spans


@dataclass(frozen=True)
class Block:
    """A tagged part of a response.

    Attributes:
        name: Name of the tag, in lower case.
        content: What stands inside, without the tags.
        start: Where the content starts in the text.
        end: Where it ends (exclusive).
        closed: Whether the closing tag is there.
    """

    name: str
    content: str
    start: int
    end: int
    closed: bool = True


def find_blocks(text: str, names: Sequence[str] = BLOCKS) -> list[Block]:
    """Find tagged blocks, forgiving what models get wrong.

    Tags may be in any case and hold white space or attributes. A block that is opened again before it is closed
    ends there, unclosed; so does one that the text breaks off. A closing tag without an opening one closes a block
    that began with the text, if no other block stands before it: chat templates often write the first tag
    themselves. A block inside another one is found as well.

    Args:
        text: The response.
        names: Names of the tags.

    Returns:
        The blocks, by where their content starts.

    Example:
        >>> [(block.name, block.content, block.closed) for block in find_blocks("2+2</think><Answer>4")]
        [('think', '2+2', True), ('answer', '4', False)]
    """
    known = {name.lower() for name in names}
    found: list[Block] = []
    opened: dict[str, int] = {}

    def add(name: str, start: int, end: int, closed: bool) -> None:
        found.append(Block(name, text[start:end], start, end, closed))

    for tag in _tags(known).finditer(text):
        name, closing = tag["name"].lower(), bool(tag["slash"])
        if not closing:
            if name in opened:
                add(name, opened[name], tag.start(), closed=False)
            opened[name] = tag.end()
        elif name in opened:
            add(name, opened.pop(name), tag.start(), closed=True)
        elif not found and not opened:
            add(name, 0, tag.start(), closed=True)
    for name, start in opened.items():
        add(name, start, len(text), closed=False)
    return sorted(found, key=lambda block: (block.start, -block.end))


def _tags(names: set[str]) -> re.Pattern[str]:
    choice = "|".join(sorted(re.escape(name) for name in names))
    return re.compile(rf"<\s*+(?P<slash>/?)\s*+(?P<name>{choice})(?:\s[^<>]*+)?>", re.IGNORECASE)


def extract_blocks(text: str, names: Sequence[str] = BLOCKS, *, closed_only: bool = True) -> dict[str, list[str]]:
    r"""The stripped contents of tagged blocks and of LaTeX boxes.

    Args:
        text: The response.
        names: Names of the tags; see `find_blocks` for what is forgiven.
        closed_only: Whether blocks without their closing tag are left out.

    Returns:
        Name -> contents in order, with an entry for every name, and one "boxes" for `\boxed{...}` and `\fbox{...}`.

    Example:
        >>> extract_blocks("<think>6*7</think><answer>\\boxed{42}</answer>")
        {'think': ['6*7'], 'answer': ['\\boxed{42}'], 'boxes': ['42']}
    """
    result: dict[str, list[str]] = {name.lower(): [] for name in names}
    for block in find_blocks(text, names):
        if block.closed or not closed_only:
            result[block.name].append(block.content.strip())
    result["boxes"] = boxes(text)
    return result


def check_blocks(
    text: str,
    blocks: Sequence[str] = BLOCKS,
    *,
    exactly_once: bool = True,
    nothing_outside: bool = True,
    non_empty: bool = True,
    nothing_after: bool = True,
) -> Verdict:
    """Check that a response consists of the given blocks, in order; strict about how tags are written.

    Tags count only as `<name>` and `</name>`, each must be closed, and none may stand inside another block (so a
    second `<answer>` quoted inside the thought is a violation).

    Args:
        text: The response.
        blocks: Names of the blocks, in the order in which they have to come.
        exactly_once: Whether a block may come once only; otherwise neighbours may repeat (think, think, answer).
        nothing_outside: Whether only white space may stand before, between and after the blocks.
        non_empty: Whether every block must hold more than white space.
        nothing_after: Whether only white space may follow the last block; implied by `nothing_outside`.

    Returns:
        A verdict with reward 1.0 or 0.0, and the first violated rule as the reason.

    Raises:
        ValueError: No blocks, or one name twice.

    Example:
        >>> check_blocks("<think>6*7</think> <answer>42</answer>").reward
        1.0
        >>> check_blocks("<think>6*7</think><answer>42</answer> or 43?").reason
        'text stands after the last block'
    """
    if not blocks or len(set(blocks)) != len(blocks):
        raise ValueError(f"blocks is {list(blocks)}: expected one or more different names")
    found, problem = _strict_blocks(text, blocks)
    problem = problem or _order_problem([block.name for block in found], list(blocks), exactly_once)
    if not problem and non_empty:
        problem = next((f"<{block.name}> is empty" for block in found if not block.content.strip()), "")
    if not problem and (nothing_outside or nothing_after):
        problem = _outside_problem(text, found, everywhere=nothing_outside)
    return Verdict(0.0 if problem else 1.0, reason=problem)


def _strict_blocks(text: str, names: Sequence[str]) -> tuple[list[Block], str]:
    choice = "|".join(re.escape(name) for name in names)
    found: list[Block] = []
    current: tuple[str, int] | None = None
    for tag in re.finditer(rf"<(/?)({choice})>", text):
        closing, name = bool(tag[1]), tag[2]
        if not closing and current is not None:
            return found, f"<{name}> stands inside <{current[0]}>"
        if closing and (current is None or current[0] != name):
            return found, f"</{name}> closes nothing"
        if current is None:
            current = (name, tag.end())
        else:
            found.append(Block(name, text[current[1] : tag.start()], current[1], tag.start()))
            current = None
    return found, "" if current is None else f"<{current[0]}> is not closed"


def _order_problem(names: list[str], wanted: list[str], exactly_once: bool) -> str:
    for name in wanted:
        if name not in names:
            return f"there is no <{name}>"
        if exactly_once and names.count(name) > 1:
            return f"<{name}> comes {names.count(name)} times"
    runs = [name for index, name in enumerate(names) if index == 0 or names[index - 1] != name]
    return "" if runs == wanted else f"the blocks come as {', '.join(runs)}, not as {', '.join(wanted)}"


def _outside_problem(text: str, found: list[Block], *, everywhere: bool) -> str:
    position = 0
    for block in found if everywhere else ():
        opening = block.start - len(block.name) - 2
        if text[position:opening].strip():
            return f"text stands before <{block.name}>"
        position = block.end + len(block.name) + 3
    last = found[-1]
    return "text stands after the last block" if text[last.end + len(last.name) + 3 :].strip() else ""
