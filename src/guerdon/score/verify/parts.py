"""Which part of a response is its answer, and which answers count as right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from guerdon.score.verify.answers import last_boxed
from guerdon.score.verify.blocks import BLOCKS, find_blocks


def answer_part(response: str, part: str) -> str | None:
    r"""The part of a response that a verifier looks at, without white space at its ends.

    Args:
        response: What the policy wrote.
        part: "response" = all of it; "boxed" = the last LaTeX box; anything else is the name of a tag, and its last
            closed block is meant.

    Returns:
        The part, or None if the response has none.

    Raises:
        ValueError: `part` is empty.

    Example:
        >>> answer_part("<think>6*7</think><answer> 42 </answer>", "answer"), answer_part("\\boxed{42}", "boxed")
        ('42', '42')
    """
    if not part:
        raise ValueError("part is empty: expected 'response', 'boxed' or the name of a tag")
    if part == "response":
        return response.strip()
    if part == "boxed":
        return last_boxed(response)
    names = dict.fromkeys((*BLOCKS, part))
    closed = [block for block in find_blocks(response, tuple(names)) if block.name == part.lower() and block.closed]
    return closed[-1].content.strip() if closed else None


def right_answers(target: str | Sequence[str], row: Mapping[str, Any], aliases: str | None) -> tuple[str, ...]:
    """The target and its aliases.

    Args:
        target: The reference answer, or several of them.
        row: The columns of the row.
        aliases: Name of the column with further right answers (a text, a list of texts, or None), or None.

    Raises:
        ValueError: The row has no such column, or what it holds is no text.

    Example:
        >>> right_answers("NYC", {"aliases": ["New York"]}, "aliases")
        ('NYC', 'New York')
    """
    found = [target] if isinstance(target, str) else list(target)
    if aliases is not None:
        if aliases not in row:
            raise ValueError(f"the row has no column {aliases!r}: there are {sorted(row)}")
        more = row[aliases]
        found += [] if more is None else [more] if isinstance(more, str) else list(more)
    for answer in found:
        if not isinstance(answer, str):
            raise ValueError(f"a reference answer is {answer!r}: expected text")
    return tuple(found)
