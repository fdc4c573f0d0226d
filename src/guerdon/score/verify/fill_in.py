"""Hidden pieces of a solution that were filled in, and shuffled steps that were put in order.

Both are tasks of MR-RLVR (arXiv 2511.17473). The rewards compare with one reference solution; they do not say whether
a step is true.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, ClassVar

from guerdon.score.verdict import Verdict
from guerdon.score.verify.answers import answers_match
from guerdon.score.verify.parts import answer_part

Match = Callable[[str, str], float]
"""(item, reference) -> 1, 0, or NaN if it cannot be decided."""

FILL_VARIANTS = ("share", "exact")
ORDER_VARIANTS = ("position", "exact", "kendall")

_NAN = float("nan")
_FORMULA = re.compile(r"[0-9\\=+^_/*<>{}|]|^[A-Za-z]$|^\$.*\$$", re.DOTALL)
_NUMBERED = re.compile(
    r"^[ \t]*(?:[-*][ \t]*)?(?:\[MASK_([0-9]{1,3})\]|\(?([0-9]{1,3})\)?)[ \t]*[.):=\-](.*)$", re.MULTILINE
)
_LABEL = re.compile(r"[0-9]{1,4}")


def match_item(item: str, reference: str) -> float:
    """Whether two hidden pieces are the same: as texts (up to case and spacing), or as mathematics.

    Returns:
        1.0 or 0.0; NaN where mathematics cannot be compared (see `guerdon.score.verify.answers.answers_match`).

    Example:
        >>> match_item("10.0", "10"), match_item("fermat's  little theorem", "Fermat's little theorem")
        (1.0, 1.0)
    """
    if answers_match(item, reference, "string").reward == 1.0:
        return 1.0
    return answers_match(item, reference, "math").reward if _FORMULA.search(reference.strip()) else 0.0


def parse_fills(text: str, k: int) -> list[str | None] | None:
    r"""The hidden pieces that a response lists, as `[MASK_1]: x`, `1. x`, `(1) x` or `1: x`, one a line.

    Args:
        text: The part of the response with the list.
        k: Number of hidden pieces.

    Returns:
        For each piece the last item that is listed for it, or None; None if nothing is listed at all.

    Raises:
        ValueError: k is below 1.

    Example:
        >>> parse_fills("1. 2b\n[MASK_3] = 7", 3)
        ['2b', None, '7']
    """
    if k < 1:
        raise ValueError(f"k is {k}: expected at least 1")
    found: dict[int, str] = {}
    for match in _NUMBERED.finditer(text):
        number = int(match[1] or match[2])
        if 1 <= number <= k and match[3].strip():
            found[number] = match[3].strip()
    return [found.get(number) for number in range(1, k + 1)] if found else None


def parse_order(text: str, n: int) -> list[int] | None:
    """The labels that a response lists, in its order, such as "3, 1, 2" or "3 > 1 > 2".

    Args:
        text: The part of the response with the order.
        n: Number of steps.

    Returns:
        All numbers of the text, or None if they are not exactly n.

    Raises:
        ValueError: n is below 1.
    """
    if n < 1:
        raise ValueError(f"n is {n}: expected at least 1")
    found = [int(digits) for digits in _LABEL.findall(text)]
    return found if len(found) == n else None


def fill_reward(
    pred: Sequence[str | None] | None, gold: Sequence[str], match: Match = match_item, variant: str = "share"
) -> float:
    """The share of the hidden pieces that was found.

    Args:
        pred: One item for each piece; missing ones, also at the end, are wrong, further ones are ignored. None = no
            list at all.
        gold: The hidden pieces.
        match: How an item is compared.
        variant: "share", or "exact" = 1 only if all are right.

    Returns:
        A number in [0, 1]; NaN if some item could not be decided and the rest does not settle it.

    Raises:
        ValueError: There is no hidden piece, or an unknown variant.

    Example:
        >>> fill_reward(["2b", "10.0"], ["2b", "10"]), fill_reward(["2 b"], ["2b", "10"]), fill_reward(None, ["2b"])
        (1.0, 0.5, 0.0)
    """
    if not gold:
        raise ValueError("gold is empty: expected at least one hidden piece")
    if variant not in FILL_VARIANTS:
        raise ValueError(f"variant is {variant!r}: expected one of {FILL_VARIANTS}")
    given = list(pred or ()) + [None] * len(gold)
    values = [0.0 if item is None else match(item, piece) for item, piece in zip(given, gold, strict=False)]
    if variant == "exact" and 0.0 in values:
        return 0.0
    share = sum(values) / len(gold)
    return share if variant == "share" or math.isnan(share) else float(share == 1.0)


def reorder_reward(
    order: Sequence[int] | None, perm: Sequence[int], texts: Sequence[str] | None = None, variant: str = "position"
) -> float:
    """How well shuffled steps were put in order.

    The step that is shown with the label j (from 1) is step perm[j - 1] (from 0) of the solution. `order` lists the
    labels in what is said to be their true order.

    Args:
        order: Labels from 1; anything but a permutation of 1..n gives 0. None = no list.
        perm: The permutation of 0..n-1.
        texts: The steps in their true order; equal texts may stand for each other. None = all differ.
        variant: "position" = share of the positions that are right; "exact" = 1 only if all are; "kendall" = share
            of the pairs that are in order.

    Returns:
        A number in [0, 1].

    Raises:
        ValueError: `perm` is no permutation, `texts` has another length, or an unknown variant.

    Example:
        >>> reorder_reward([3, 1, 2], [1, 2, 0]), reorder_reward([1, 2, 3], [1, 2, 0])
        (1.0, 0.0)
    """
    n = len(perm)
    if not n or sorted(perm) != list(range(n)):
        raise ValueError(f"perm is {list(perm)}: expected a permutation of 0 .. n - 1")
    if texts is not None and len(texts) != n:
        raise ValueError(f"texts has {len(texts)} steps: expected {n}")
    if variant not in ORDER_VARIANTS:
        raise ValueError(f"variant is {variant!r}: expected one of {ORDER_VARIANTS}")
    if order is None or sorted(order) != list(range(1, n + 1)):
        return 0.0
    placed = _relabelled([perm[label - 1] for label in order], texts)
    if variant == "kendall":
        pairs = [before < after for before, after in combinations(placed, 2)]
        return sum(pairs) / len(pairs) if pairs else 1.0
    right = sum(step == position for position, step in enumerate(placed))
    return float(right == n) if variant == "exact" else right / n


def _relabelled(placed: list[int], texts: Sequence[str] | None) -> list[int]:
    """Give equal steps the numbers that fit best: their own where they stand right, the others in order."""
    if texts is None:
        return placed
    free: dict[str, list[int]] = {}
    for position, text in enumerate(texts):
        if texts[placed[position]] != text:
            free.setdefault(text, []).append(position)
    rest = {text: iter(positions) for text, positions in free.items()}
    return [
        position if texts[step] == texts[position] else next(rest[texts[step]]) for position, step in enumerate(placed)
    ]


# --- verifiers --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FillIn:
    """The share of the hidden pieces that a response found; see `fill_reward`. The target is not looked at.

    Attributes:
        gold: Name of the column with the hidden pieces, a list of texts.
        variant: "share" or "exact".
        part: What of the response holds the list; see `guerdon.score.verify.parts.answer_part`.
        timeout: Seconds that one row may take.
    """

    gold: str = "gold"
    variant: str = "share"
    part: str = "answer"
    timeout: float = 10.0
    name: ClassVar[str] = "fill-in"
    version: ClassVar[str] = "1"

    def __post_init__(self) -> None:
        if self.variant not in FILL_VARIANTS:
            raise ValueError(f"FillIn.variant is {self.variant!r}: expected one of {FILL_VARIANTS}")

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns of the row that are used."""
        return (self.gold,)

    def __call__(self, response: str, target: str, row: Mapping[str, Any]) -> Verdict:
        """Compare the list of a response with the hidden pieces."""
        gold = _column(row, self.gold)
        if not gold:
            return Verdict(_NAN, reason=f"column {self.gold!r} holds no hidden piece")
        found = answer_part(response, self.part)
        fills = parse_fills(found, len(gold)) if found else None
        if fills is None:
            return Verdict(0.0, found, "there is no list of the hidden pieces")
        reward = fill_reward(fills, gold, variant=self.variant)
        reason = "a piece could not be compared" if math.isnan(reward) else "" if reward else "no piece is right"
        return Verdict(reward, "; ".join(item or "" for item in fills), reason)


@dataclass(frozen=True)
class Reorder:
    """How well a response put shuffled steps in order; see `reorder_reward`. The target is not looked at.

    Attributes:
        permutation: Name of the column with the permutation, from 0.
        texts: Name of the column with the steps in their true order; None = all differ.
        variant: "position", "exact" or "kendall".
        part: What of the response holds the order; see `guerdon.score.verify.parts.answer_part`.
        timeout: Seconds that one row may take.
    """

    permutation: str = "permutation"
    texts: str | None = None
    variant: str = "position"
    part: str = "answer"
    timeout: float = 5.0
    name: ClassVar[str] = "reorder"
    version: ClassVar[str] = "1"

    def __post_init__(self) -> None:
        if self.variant not in ORDER_VARIANTS:
            raise ValueError(f"Reorder.variant is {self.variant!r}: expected one of {ORDER_VARIANTS}")

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns of the row that are used."""
        return (self.permutation,) if self.texts is None else (self.permutation, self.texts)

    def __call__(self, response: str, target: str, row: Mapping[str, Any]) -> Verdict:
        """Compare the order of a response with the true one."""
        perm = _column(row, self.permutation)
        texts = None if self.texts is None else _column(row, self.texts)
        found = answer_part(response, self.part)
        order = parse_order(found, len(perm)) if found else None
        if order is None or sorted(order) != list(range(1, len(perm) + 1)):
            return Verdict(0.0, found, f"does not list 1 to {len(perm)}, each once")
        reward = reorder_reward(order, perm, texts, self.variant)
        return Verdict(reward, ", ".join(map(str, order)), "" if reward else "no step is in its place")


def _column(row: Mapping[str, Any], name: str) -> list[Any]:
    if name not in row:
        raise ValueError(f"the row has no column {name!r}: there are {sorted(row)}")
    return list(row[name])
