"""Tasks made from written solutions: fill in hidden pieces, or put shuffled steps in order (arXiv 2511.17473).

Solutions without an answer that could be checked, proofs say, so become prompts with a reward: the verifiers `FillIn`
and `Reorder` read the columns that `SolutionSample.columns` gives. The paper lets a teacher model mark what to hide;
`find_spans` is the default that needs none. Shares, numbers and prompts are this project's.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

_FORMULA = re.compile(r"\$\$.+?\$\$|\$[^$\n]+\$|\\\(.+?\\\)|\\\[.+?\\\]", re.DOTALL)
_NAMED = re.compile(
    r"\b(?!(?:By|The|A|An|Using|Use|From|With|Apply|Applying|This|That|So|Then|Since)\b)[A-Z][\w'’-]*"
    r"(?:[ ][\w'’-]+){0,3}?[ ](?i:theorem|lemma|inequality|formula|identity|rule|law|criterion|principle)\b"
)
_NUMBER = re.compile(r"(?<![\w.\\])-?\d+(?:\.\d+)?(?:/\d+)?[a-z]?%?(?![\w])")
_LABEL = re.compile(r"^\s*(?:step\s*\(?\d+\)?\s*[.:)\-]?\s+|\(\d+\)\s*|\d+[.):]\s+)", re.IGNORECASE)
_ORDER_WORD = re.compile(
    r"^\s*(?:first(?:ly)?|second(?:ly)?|third(?:ly)?|next|then|finally|lastly|therefore|thus|hence|so)\b[,:]?\s+",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Span:
    """A piece of a text that could be hidden.

    Attributes:
        start: First character.
        end: One past the last character.
        kind: "formula", "name" or "number".
    """

    start: int
    end: int
    kind: str = "number"


FindSpans = Callable[[str], Sequence[Span]]


@dataclass(frozen=True)
class SolutionSample:
    """A task made from a solution.

    Attributes:
        kind: "mask" or "reorder".
        question: The problem.
        prompt: What the policy is asked.
        gold: The hidden pieces in order ("mask").
        permutation: Shown step j, from 0, is step permutation[j] of the solution ("reorder").
        texts: The shown steps in their true order ("reorder").
    """

    kind: str
    question: str
    prompt: str
    gold: tuple[str, ...] = ()
    permutation: tuple[int, ...] = ()
    texts: tuple[str, ...] = ()

    def columns(self) -> dict[str, Any]:
        """What the verifiers read, as entries of a row."""
        shared = {"prompt": self.prompt, "kind": self.kind}
        if self.kind == "mask":
            return {**shared, "gold": list(self.gold)}
        return {**shared, "permutation": list(self.permutation), "texts": list(self.texts)}


def split_steps(text: str) -> list[str]:
    r"""The steps of a solution: its paragraphs, or its lines if it has one paragraph only.

    Example:
        >>> split_steps("a = 2\n\nb = 3\nc = 5\n")
        ['a = 2', 'b = 3\nc = 5']
        >>> split_steps("a = 2\nb = 3")
        ['a = 2', 'b = 3']
    """
    paragraphs = [part.strip() for part in re.split(r"\n[ \t]*\n", text) if part.strip()]
    if len(paragraphs) > 1:
        return paragraphs
    return [line.strip() for line in text.splitlines() if line.strip()]


def find_spans(step: str) -> list[Span]:
    r"""Formulas, named theorems and numbers of a step, from left to right, without overlap.

    Example:
        >>> [step_span.kind for step_span in find_spans(r"By Fermat's little theorem $a^p = a$, so 14 / 2 is 7.")]
        ['name', 'formula', 'number', 'number', 'number']
    """
    found: list[Span] = []
    for kind, pattern in (("formula", _FORMULA), ("name", _NAMED), ("number", _NUMBER)):
        for match in pattern.finditer(step):
            if all(match.end() <= span.start or match.start() >= span.end for span in found):
                found.append(Span(match.start(), match.end(), kind))
    return sorted(found, key=lambda span: span.start)


def apply_masks(text: str, spans: Sequence[Span], tag: str = "[MASK_{}]") -> tuple[str, list[str]]:
    """Replace spans by numbered tags.

    Args:
        text: The text.
        spans: Spans in any order; tags are numbered from 1 from left to right.
        tag: The tag, with {} for its number.

    Returns:
        The masked text and the hidden pieces in order; putting them back gives the text, character for character.

    Raises:
        ValueError: Spans overlap, are empty or lie outside the text, or the tag has no place for a number.

    Example:
        >>> apply_masks("a = 2b = 10", [Span(4, 6), Span(9, 11)])
        ('a = [MASK_1] = [MASK_2]', ['2b', '10'])
    """
    if tag.format(1) == tag.format(2):
        raise ValueError(f"tag is {tag!r}: expected a place {{}} for the number")
    pieces, gold, at = [], [], 0
    for number, span in enumerate(sorted(spans, key=lambda span: span.start), start=1):
        if not at <= span.start < span.end <= len(text):
            raise ValueError(f"span ({span.start}, {span.end}) is empty, overlaps or leaves the {len(text)} characters")
        pieces += [text[at : span.start], tag.format(number)]
        gold.append(text[span.start : span.end])
        at = span.end
    return "".join([*pieces, text[at:]]), gold


def make_mask_sample(
    q: str,
    steps: Sequence[str],
    rng: random.Random,
    share: float = 0.2,
    k_max: int = 6,
    spans: FindSpans = find_spans,
) -> SolutionSample | None:
    """Hide some pieces of a solution.

    The last piece of the last step is never hidden, since it may be the answer. A piece that stands in plain view in
    the step before it, or earlier in its own, would only have to be copied: it is left out.

    Args:
        q: The problem.
        steps: The steps of its solution.
        rng: Source of randomness.
        share: Share of the pieces that is hidden, in (0, 1]; at least one, rounded to the nearest.
        k_max: Most pieces that are hidden.
        spans: Finds the pieces of a step that could be hidden.

    Returns:
        The task, or None if there is nothing to hide.

    Raises:
        ValueError: `share` or `k_max` out of range, or overlapping spans.
    """
    if not 0.0 < share <= 1.0 or k_max < 1:
        raise ValueError(f"share is {share}, k_max is {k_max}: expected a number in (0, 1], and at least 1")
    starts = _starts(steps)
    text = "\n".join(steps)
    pieces = [
        Span(start + span.start, start + span.end, span.kind)
        for start, step in zip(starts, steps, strict=True)
        for span in spans(step)
    ]
    if steps and pieces and pieces[-1].start >= starts[-1]:
        pieces = pieces[:-1]
    if not pieces:
        return None
    number = min(k_max, len(pieces), max(1, round(share * len(pieces))))
    chosen = _without_copies(text, starts, sorted(rng.sample(pieces, number), key=lambda span: span.start))
    if not chosen:
        return None
    masked, gold = apply_masks(text, chosen)
    prompt = (
        f"{q}\n\nParts of this solution are hidden:\n\n{masked}\n\n"
        f"Find what each tag hides. List the {len(gold)} items inside <answer></answer>, one a line, as [MASK_1]: item."
    )
    return SolutionSample("mask", q, prompt, gold=tuple(gold))


def _starts(steps: Sequence[str]) -> list[int]:
    """Where each step starts once they are joined by newlines."""
    starts, at = [], 0
    for step in steps:
        starts.append(at)
        at += len(step) + 1
    return starts


def _without_copies(text: str, starts: Sequence[int], spans: list[Span]) -> list[Span]:
    """Leave out spans whose text can be read in the step before them, until none is left that can."""
    while True:
        hidden = [(span.start, span.end) for span in spans]
        left = [span for span in spans if not _is_visible(text, starts, span, hidden)]
        if len(left) == len(spans):
            return spans
        spans = left


def _is_visible(text: str, starts: Sequence[int], span: Span, hidden: Sequence[tuple[int, int]]) -> bool:
    own = max(place for place, start in enumerate(starts) if start <= span.start)
    window = list(text[starts[max(own - 1, 0)] : span.start])
    offset = starts[max(own - 1, 0)]
    for start, end in hidden:
        for place in range(max(start, offset), min(end, span.start)):
            window[place - offset] = "\0"
    piece = re.escape(text[span.start : span.end])
    return re.search(rf"(?<!\w){piece}(?!\w)", "".join(window)) is not None


def make_reorder_sample(q: str, steps: Sequence[str], rng: random.Random, n_max: int = 8) -> SolutionSample | None:
    """Shuffle the steps of a solution.

    What would give the order away is taken off the steps: numbers such as "Step 3:", and words such as "Finally". Of a
    longer solution a run of `n_max` steps is shuffled, and the steps before it are shown as they are.

    Args:
        q: The problem.
        steps: The steps of its solution.
        rng: Source of randomness.
        n_max: Most steps that are shuffled, at least 3.

    Returns:
        The task, whose shown order is never the true one; None for fewer than three steps, or steps that are all equal.

    Raises:
        ValueError: `n_max` below 3.
    """
    if n_max < 3:
        raise ValueError(f"n_max is {n_max}: expected at least 3")
    bare = [_bare(step) for step in steps]
    first = rng.randrange(len(bare) - n_max + 1) if len(bare) > n_max else 0
    texts = bare[first : first + n_max]
    if len(texts) < 3 or len(set(texts)) == 1:
        return None
    order = list(range(len(texts)))
    while [texts[place] for place in order] == texts:
        rng.shuffle(order)
    before = "".join(f"{step}\n" for step in bare[:first])
    shown = "\n".join(f"[{label}] {texts[place]}" for label, place in enumerate(order, start=1))
    prompt = (
        f"{q}\n\nThe steps of its solution were shuffled:\n\n{before}{shown}\n\n"
        "Give their labels in the right order inside <answer></answer>, such as 3, 1, 2."
    )
    return SolutionSample("reorder", q, prompt, permutation=tuple(order), texts=tuple(texts))


def _bare(step: str) -> str:
    """The step without a number or a word of order at its beginning."""
    text = _ORDER_WORD.sub("", _LABEL.sub("", step)).strip()
    return text or step.strip()
