"""How much a text agrees with a reference text in its words: exact match, word F1, ROUGE, BLEU, word error rate.

ROUGE and BLEU are those of the packages `rouge-score` and `sacrebleu`, so that figures can be compared with published
ones; the rest is written out here. The normalisation of exact match and F1 is the one of SQuAD and its successors.
"""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

from guerdon.score.verdict import Verdict
from guerdon.score.verify.parts import answer_part, right_answers

BAGS = ("multiset", "set")
ROUGE_KINDS = ("rouge1", "rouge2", "rougeL")
MEASURES = ("fmeasure", "precision", "recall")
MAX_CHARACTERS = 100_000
"""Longer texts are not compared."""

MAX_ROUGE_CHARACTERS = 20_000
"""Longer texts are not compared by ROUGE, whose time grows with the product of both lengths."""

_NAN = float("nan")
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
# Typographic quotation marks are dropped like the ASCII ones, so that "Schindler’s" is "Schindler's".
_DROPPED = str.maketrans("", "", string.punctuation + "‘’‚‛“”„´`")
_YES_NO = frozenset(("yes", "no", "noanswer"))


def normalize_answer(text: str) -> str:
    """Lower case, without punctuation and the articles a, an, the, words separated by one blank.

    Example:
        >>> normalize_answer("  The Grand-National, race! ")
        'grandnational race'
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_DROPPED)).split())


def exact_match(prediction: str, golds: str | Sequence[str]) -> float:
    """1.0 if the normalised prediction equals any of the normalised reference answers, else 0.0.

    Args:
        prediction: The answer.
        golds: The reference answer, or all that count as right.

    Raises:
        ValueError: There is no reference answer.

    Example:
        >>> exact_match("the Beatles.", ["Beatles", "The Fab Four"])
        1.0
    """
    answer = normalize_answer(prediction)
    return float(any(normalize_answer(gold) == answer for gold in _listed(golds)))


def word_f1(prediction: str, golds: str | Sequence[str], bag: str = "multiset", *, yes_no_guard: bool = False) -> float:
    """F1 of the words of a prediction, best over the reference answers.

    With P words predicted, R in the reference and I in both: 2 I / (P + R); 0 where I is 0 or a side is empty.

    Args:
        prediction: The answer.
        golds: The reference answer, or all that count as right.
        bag: "multiset" counts words as often as they come (arXiv 2508.12800); "set" counts each word once (the
            official code of arXiv 2510.14967).
        yes_no_guard: Whether an answer gets 0 unless it is equal where either side is "yes", "no" or "noanswer"
            (as in HotpotQA's evaluation).

    Returns:
        A number in [0, 1].

    Raises:
        ValueError: There is no reference answer, or an unknown `bag`.

    Example:
        >>> word_f1("the Grand National race", ["Grand National"])
        0.8
    """
    if bag not in BAGS:
        raise ValueError(f"bag is {bag!r}: expected one of {BAGS}")
    return max(
        _one_f1(normalize_answer(prediction), normalize_answer(gold), bag, yes_no_guard) for gold in _listed(golds)
    )


def _one_f1(prediction: str, gold: str, bag: str, yes_no_guard: bool) -> float:
    if yes_no_guard and prediction != gold and (prediction in _YES_NO or gold in _YES_NO):
        return 0.0
    left, right = Counter(prediction.split()), Counter(gold.split())
    if bag == "set":
        left, right = Counter(set(left)), Counter(set(right))
    common = (left & right).total()
    return 2.0 * common / (left.total() + right.total()) if common else 0.0


def rouge(
    prediction: str,
    golds: str | Sequence[str],
    kinds: Sequence[str] = ROUGE_KINDS,
    measure: str = "fmeasure",
    *,
    stemmer: bool = False,
) -> float:
    """ROUGE by the package `rouge-score`: the mean over the kinds, best over the reference texts.

    Args:
        prediction: The text.
        golds: The reference text, or all that count as right.
        kinds: Such as "rouge1", "rouge2", "rougeL", "rougeLsum".
        measure: "fmeasure", "precision" or "recall".
        stemmer: Whether words are cut to their stems.

    Returns:
        A number in [0, 1].

    Raises:
        ValueError: No reference text, no kinds, or an unknown measure.
    """
    if not kinds or measure not in MEASURES:
        raise ValueError(f"kinds are {tuple(kinds)}, measure is {measure!r}: expected kinds and one of {MEASURES}")
    scorer = _rouge_scorer(tuple(kinds), stemmer)
    return max(
        sum(float(getattr(value, measure)) for value in scorer.score(gold, prediction).values()) / len(kinds)
        for gold in _listed(golds)
    )


@lru_cache(maxsize=16)
def _rouge_scorer(kinds: tuple[str, ...], stemmer: bool) -> Any:
    from rouge_score.rouge_scorer import RougeScorer  # type: ignore[import-untyped]

    return RougeScorer(list(kinds), use_stemmer=stemmer)


def bleu(prediction: str, golds: str | Sequence[str], tokenize: str = "13a", *, lowercase: bool = False) -> float:
    """Sentence BLEU by the package `sacrebleu`, with its exponential smoothing and effective order.

    Args:
        prediction: The text.
        golds: The reference text, or several, of which BLEU takes the best n-gram counts.
        tokenize: sacrebleu's tokenizer: "13a", "intl", "char", "zh", "none", ...
        lowercase: Whether case is ignored.

    Returns:
        A number in [0, 1] (sacrebleu's figure divided by 100).

    Raises:
        ValueError: There is no reference text.
    """
    scorer = _bleu_scorer(tokenize, lowercase)
    return float(scorer.sentence_score(prediction, _listed(golds)).score) / 100.0


@lru_cache(maxsize=16)
def _bleu_scorer(tokenize: str, lowercase: bool) -> Any:
    from sacrebleu.metrics.bleu import BLEU

    return BLEU(tokenize=tokenize, lowercase=lowercase, effective_order=True)


def wer(prediction: str, reference: str) -> float:
    """Word error rate: substitutions, insertions and deletions of words, over the words of the reference.

    Computed by bit-parallel dynamic programming (Hyyrö 2001), so that texts of many thousand words take no longer
    than milliseconds.

    Args:
        prediction: The text; words are separated by white space and compared as they are.
        reference: The right text.

    Returns:
        0 for equal texts; it may exceed 1.

    Raises:
        ValueError: The reference has no words.

    Example:
        >>> wer("the cat sat down", "the cat sits")
        0.6666666666666666
    """
    words = reference.split()
    if not words:
        raise ValueError("reference has no words: expected at least one")
    return _edit_distance(prediction.split(), words) / len(words)


def _edit_distance(left: Sequence[str], right: Sequence[str]) -> int:
    """Levenshtein distance; bit i of the vectors stands for the first i + 1 items of `right`."""
    last = 1 << (len(right) - 1)
    full = (1 << len(right)) - 1
    at: dict[str, int] = {}
    for index, item in enumerate(right):
        at[item] = at.get(item, 0) | (1 << index)
    rising, falling, distance = full, 0, len(right)  # vertical differences of +1 and -1
    for item in left:
        match = at.get(item, 0)
        diagonal = (((match & rising) + rising) ^ rising) | match | falling
        up, down = falling | ~(diagonal | rising), rising & diagonal  # horizontal differences of +1 and -1
        distance += bool(up & last) - bool(down & last)
        up, down = ((up << 1) | 1) & full, (down << 1) & full
        rising, falling = (down | ~(diagonal | up)) & full, up & diagonal & full
    return distance


def _listed(golds: str | Sequence[str]) -> list[str]:
    found = [golds] if isinstance(golds, str) else list(golds)
    if not found:
        raise ValueError("golds is empty: expected at least one reference")
    return found


# --- verifiers --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Overlap:
    """What the verifiers of this module have in common.

    Attributes:
        part: What of the response is compared; see `guerdon.score.verify.parts.answer_part`.
        aliases: Name of the column with further right answers, or None.
        timeout: Seconds that one row may take.
    """

    part: str = "response"
    aliases: str | None = None
    timeout: float = 5.0
    version: ClassVar[str] = "1"
    longest: ClassVar[int] = MAX_CHARACTERS

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns of the row that are used."""
        return () if self.aliases is None else (self.aliases,)

    def __call__(self, response: str, target: str, row: Mapping[str, Any]) -> Verdict:
        """Compare a response with the target and its aliases."""
        golds = [gold for gold in right_answers(target, row, self.aliases) if gold.strip()]
        if not golds:
            return Verdict(_NAN, reason="the reference answer is empty")
        answer = answer_part(response, self.part)
        if not answer:
            return Verdict(0.0, reason="there is no answer" if self.part != "response" else "the response is empty")
        longest = max(len(answer), *map(len, golds))
        if longest > self.longest:
            return Verdict(_NAN, answer[:200], f"{longest} characters: expected at most {self.longest}")
        reward = self._compare(answer, golds)
        return Verdict(
            reward, answer, "" if reward == reward and reward > 0 else f"nothing in common with {golds[0][:100]!r}"
        )

    def _compare(self, answer: str, golds: list[str]) -> float:
        raise NotImplementedError


@dataclass(frozen=True)
class ExactMatch(_Overlap):
    """1 where the normalised answer equals the target or an alias; see `exact_match`."""

    name: ClassVar[str] = "exact-match"

    def _compare(self, answer: str, golds: list[str]) -> float:
        # A reference such as "The" would be empty once it is normalised, and equal to many an answer.
        if not any(normalize_answer(gold) for gold in golds):
            return float(any(gold.strip().lower() == answer.lower() for gold in golds))
        return exact_match(answer, [gold for gold in golds if normalize_answer(gold)])


@dataclass(frozen=True)
class WordF1(_Overlap):
    """F1 of the words; see `word_f1`.

    Attributes:
        bag: "multiset" or "set".
        yes_no_guard: Whether yes and no must be equal to count.
    """

    bag: str = "multiset"
    yes_no_guard: bool = False
    name: ClassVar[str] = "word-f1"

    def __post_init__(self) -> None:
        if self.bag not in BAGS:
            raise ValueError(f"WordF1.bag is {self.bag!r}: expected one of {BAGS}")

    def _compare(self, answer: str, golds: list[str]) -> float:
        return word_f1(answer, golds, self.bag, yes_no_guard=self.yes_no_guard)


@dataclass(frozen=True)
class Rouge(_Overlap):
    """Mean of some ROUGE figures, by `rouge-score`; see `rouge`.

    Attributes:
        kinds: Such as "rouge1", "rouge2", "rougeL".
        measure: "fmeasure", "precision" or "recall".
        stemmer: Whether words are cut to their stems.
    """

    kinds: tuple[str, ...] = ROUGE_KINDS
    measure: str = "fmeasure"
    stemmer: bool = False
    name: ClassVar[str] = "rouge"
    longest: ClassVar[int] = MAX_ROUGE_CHARACTERS

    def __post_init__(self) -> None:
        if not self.kinds or self.measure not in MEASURES:
            raise ValueError(f"Rouge has kinds {self.kinds}, measure {self.measure!r}: expected one of {MEASURES}")

    def _compare(self, answer: str, golds: list[str]) -> float:
        return rouge(answer, golds, self.kinds, self.measure, stemmer=self.stemmer)


@dataclass(frozen=True)
class Bleu(_Overlap):
    """Sentence BLEU in [0, 1], by `sacrebleu`; see `bleu`.

    Attributes:
        tokenize: sacrebleu's tokenizer.
        lowercase: Whether case is ignored.
    """

    tokenize: str = "13a"
    lowercase: bool = False
    name: ClassVar[str] = "bleu"

    def _compare(self, answer: str, golds: list[str]) -> float:
        return bleu(answer, golds, self.tokenize, lowercase=self.lowercase)


@dataclass(frozen=True)
class WordErrorRate(_Overlap):
    """exp(- word error rate), in (0, 1], as OCR is rewarded by SophiaVL-R1 (arXiv 2505.17018); see `wer`.

    Attributes:
        lowercase: Whether case is ignored.
    """

    lowercase: bool = False
    name: ClassVar[str] = "word-error-rate"

    def _compare(self, answer: str, golds: list[str]) -> float:
        if self.lowercase:
            answer, golds = answer.lower(), [gold.lower() for gold in golds]
        return max(math.exp(-wer(answer, gold)) for gold in golds)
