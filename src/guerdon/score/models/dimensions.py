"""Reasoning scored along three axes that can be read apart: confidence, relevance, coherence (arXiv 2510.11457).

Confidence is the policy's own certainty, relevance says whether question, documents, reasoning and answer belong
together, coherence is an outcome reward model's opinion of the reasoning as a text. None of them sees the right
answer.

Where this differs from the paper: the links of relevance are added with equal weights, and a response without
reasoning or answer is marked as incomplete, both of which the paper leaves open.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from guerdon.ops import masked_mean, masked_sum
from guerdon.rollouts import Rollouts
from guerdon.score.verify.blocks import extract_blocks

REASONING, ANSWER = 1, 2
"""Values of `tokens["part"]` at the tokens of the reasoning and of the answer."""

NAMES = ("confidence", "relevance", "coherence")
COLUMNS = tuple(f"dimension/{name}" for name in NAMES)
"""Columns that hold the dimensions."""

COMPLETE = "dimension/complete"
"""The column that says whether a response has reasoning and an answer."""

LinkScorer = Callable[[Sequence[str], Sequence[str]], Sequence[float] | Tensor]
"""(premises, hypotheses) -> how well each hypothesis follows from, or belongs to, its premise, in [0, 1]."""

_WORDS = re.compile(r"[\w'-]+")


def confidence(logp: Tensor, think_mask: Tensor, answer_mask: Tensor) -> Tensor:
    """Mean log-probability of the reasoning plus summed log-probability of the answer.

    So the length of the reasoning is neutral, and long answers cost. A part without tokens counts 0.

    Args:
        logp: (B, T) float, log-probabilities of the taken tokens.
        think_mask: (B, T) bool.
        answer_mask: (B, T) bool.

    Returns:
        (B,) of the dtype of `logp`, at least float32.

    Raises:
        ValueError: Shapes differ, or the masks overlap.

    Example:
        >>> import torch
        >>> logp = torch.tensor([[-0.2, -0.4, -0.6, -0.05, -0.15]])
        >>> think = torch.tensor([[True, True, True, False, False]])
        >>> round(float(confidence(logp, think, ~think)), 6)
        -0.6
    """
    for name, mask in (("think_mask", think_mask), ("answer_mask", answer_mask)):
        if logp.ndim != 2 or mask.shape != logp.shape:
            raise ValueError(f"{name} has shape {tuple(mask.shape)}: expected {tuple(logp.shape)}, (B, T) like logp")
    both = think_mask.bool() & answer_mask.bool()
    if bool(both.any()):
        raise ValueError(f"think_mask and answer_mask overlap in row {int(both.any(1).nonzero()[0])}: expected none")
    wide = logp.to(torch.promote_types(logp.dtype, torch.float32))
    return masked_mean(wide, think_mask.bool(), 1) + masked_sum(wide, answer_mask.bool(), 1)


@dataclass(frozen=True)
class RelevanceScore:
    """How question, documents, reasoning and answer belong together.

    Attributes:
        question: Is the reasoning grounded in the question?
        documents: Mean over the documents of the same; None without documents.
        answer: Does the answer follow from the reasoning?
        total: Their sum.
    """

    question: float
    documents: float | None
    answer: float
    total: float


def relevance(
    scorer: LinkScorer, question: str, reasoning: str, answer: str, documents: Sequence[str] | None = None
) -> RelevanceScore:
    """Score the links of one response; see `relevances`.

    Example:
        >>> relevance(word_coverage, "who leads the band", "the band follows Ada", "Ada").answer
        1.0
    """
    return relevances(scorer, [question], [reasoning], [answer], [documents])[0]


def relevances(
    scorer: LinkScorer,
    questions: Sequence[str],
    reasonings: Sequence[str],
    answers: Sequence[str],
    documents: Sequence[Sequence[str] | None],
) -> list[RelevanceScore]:
    """Score the links question -> reasoning, document -> reasoning and reasoning -> answer of many responses.

    Args:
        scorer: Scores all links in one call.
        questions: One a response.
        reasonings: One a response.
        answers: One a response.
        documents: The documents of each response; None or empty = it has none.

    Returns:
        One entry a response; NaN where the scorer gave NaN.

    Raises:
        ValueError: A score is outside [0, 1], or there are too few of them.
    """
    links: list[tuple[str, str]] = []
    for question, reasoning, answer, own in zip(questions, reasonings, answers, documents, strict=True):
        links += [(question, reasoning), (reasoning, answer), *((text, reasoning) for text in own or ())]
    given = scorer([premise for premise, _ in links], [hypothesis for _, hypothesis in links]) if links else []
    scores = [float(value) for value in given]
    if len(scores) != len(links):
        raise ValueError(f"the scorer gave {len(scores)} scores: expected {len(links)}, one a link")
    for (premise, hypothesis), value in zip(links, scores, strict=True):
        if value < 0 or value > 1:
            raise ValueError(f"the score of {hypothesis[:40]!r} given {premise[:40]!r} is {value}: expected [0, 1]")
    found, at = [], 0
    for own in documents:
        number = len(own or ())
        from_question, to_answer = scores[at : at + 2]
        mean = sum(scores[at + 2 : at + 2 + number]) / number if number else None
        found.append(RelevanceScore(from_question, mean, to_answer, from_question + to_answer + (mean or 0.0)))
        at += 2 + number
    return found


def word_coverage(premises: Sequence[str], hypotheses: Sequence[str]) -> list[float]:
    """A link scorer without a model: the share of the shorter text's distinct words that the other one has too.

    Example:
        >>> word_coverage(["Ada leads the band"], ["the band"])
        [1.0]
    """
    found = []
    for premise, hypothesis in zip(premises, hypotheses, strict=True):
        left, right = ({word.lower() for word in _WORDS.findall(text)} for text in (premise, hypothesis))
        found.append(len(left & right) / min(len(left), len(right)) if left and right else 0.0)
    return found


class RerankerLinks:
    """A link scorer of a transformers cross-encoder with one logit, or two of which the second means yes.

    Args:
        model: A sequence classifier of transformers.
        tokenizer: Its tokenizer.
        instruction: Text before every premise.
        batch_size: Links at a time.
        max_length: Tokens of a pair; longer ones are cut.
    """

    def __init__(
        self, model: Any, tokenizer: Any, instruction: str = "", batch_size: int = 64, max_length: int = 2048
    ) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.instruction = instruction
        self.batch_size = batch_size
        self.max_length = max_length

    @torch.no_grad()
    def __call__(self, premises: Sequence[str], hypotheses: Sequence[str]) -> Tensor:
        """(N,) float32 scores in [0, 1]."""
        parts = []
        device = next(self.model.parameters()).device
        for start in range(0, len(premises), self.batch_size):
            span = slice(start, start + self.batch_size)
            inputs = self.tokenizer(
                [self.instruction + premise for premise in premises[span]],
                list(hypotheses[span]),
                padding=True,
                truncation=True,
                max_length=self.max_length,
                return_tensors="pt",
            )
            logits = self.model(**{name: value.to(device) for name, value in inputs.items()}).logits.float().cpu()
            if logits.shape[1] not in (1, 2):
                raise ValueError(f"the model has {logits.shape[1]} labels: expected 1, or 2")
            parts.append(torch.sigmoid(logits[:, -1] - (logits[:, 0] if logits.shape[1] == 2 else 0.0)))
        return torch.cat(parts) if parts else torch.zeros(0)


def coherence(rm: Any, question: str, reasoning: str, documents: Sequence[str] | None = None) -> float:
    """An outcome reward model's score of the reasoning as a response to question and documents.

    Args:
        rm: Has `score(prompts, responses)`, or is called with them; gives numbers, or a value with `outcome`.
        question: The question.
        reasoning: The reasoning, without the answer.
        documents: Texts that stand after the question in the prompt, one a line.
    """
    return float(coherences(rm, [question], [reasoning], [documents])[0])


def coherences(
    rm: Any, questions: Sequence[str], reasonings: Sequence[str], documents: Sequence[Sequence[str] | None]
) -> Tensor:
    """(B,) float32 scores of many reasonings; see `coherence`.

    Raises:
        ValueError: The model gave another number of scores.
    """
    prompts = ["\n".join([question, *(own or ())]) for question, own in zip(questions, documents, strict=True)]
    given = (rm.score if hasattr(rm, "score") else rm)(prompts, list(reasonings)) if prompts else []
    scores = torch.as_tensor(getattr(given, "outcome", given), dtype=torch.float32)
    if scores.shape != (len(prompts),):
        raise ValueError(f"the model gave scores of shape {tuple(scores.shape)}: expected ({len(prompts)},)")
    return scores.detach().cpu()


@dataclass(frozen=True, eq=False)
class Dimensions:
    """Fills the columns `dimension/confidence`, `dimension/relevance` and `dimension/coherence`.

    `tokens["part"]` says which tokens are reasoning (1) and answer (2); the texts are those of the blocks `<think>` and
    `<answer>`. `dimension/complete` is False for a response that lacks one of them; its relevance and coherence are
    NaN. The links are kept in `relevance/question`, `relevance/documents` and `relevance/answer`.

    Attributes:
        links: Scores the links of relevance.
        rm: The outcome reward model of coherence; see `coherence`.
        question: The column with the questions.
        documents: The column with lists of documents; "" = there are none.
    """

    links: LinkScorer
    rm: Any
    question: str = "prompt"
    documents: str = ""
    writes: ClassVar[tuple[str, ...]] = (*COLUMNS, COMPLETE)

    @property
    def reads(self) -> tuple[str, ...]:
        """What is read."""
        return ("logprobs", "response", self.question, *((self.documents,) if self.documents else ()))

    def __call__(self, rollouts: Rollouts) -> Rollouts:
        """Return the rollouts with the dimensions.

        Raises:
            ValueError: `logprobs` or `tokens["part"]` is missing.
        """
        if rollouts.logprobs is None or "part" not in rollouts.tokens:
            raise ValueError("logprobs or tokens['part'] is missing: Dimensions expects both")
        part = rollouts.tokens["part"]
        think, answer = (rollouts.mask & (part == value) for value in (REASONING, ANSWER))
        sure = confidence(rollouts.logprobs, think, answer)
        blocks = [extract_blocks(text) for text in rollouts.column("response")]
        texts = [tuple(_first(found, name) for name in ("think", "answer")) for found in blocks]
        complete = [bool(reasoning and reply) for reasoning, reply in texts]
        rows = [row for row, whole in enumerate(complete) if whole]
        questions = [str(rollouts.column(self.question)[row]) for row in rows]
        documents = [rollouts.column(self.documents)[row] if self.documents else None for row in rows]
        reasonings, answers = ([texts[row][place] for row in rows] for place in (0, 1))
        linked = relevances(self.links, questions, reasonings, answers, documents)
        coherent = coherences(self.rm, questions, reasonings, documents).tolist()

        def spread(values: Sequence[float]) -> list[float]:
            found = [float("nan")] * len(rollouts)
            for row, value in zip(rows, values, strict=True):
                found[row] = value
            return found

        columns = {
            "dimension/confidence": sure.tolist(),
            "dimension/relevance": spread([score.total for score in linked]),
            "dimension/coherence": spread(coherent),
            COMPLETE: complete,
            "relevance/question": spread([score.question for score in linked]),
            "relevance/answer": spread([score.answer for score in linked]),
        }
        if self.documents:
            nothing = float("nan")
            columns["relevance/documents"] = spread(
                [nothing if score.documents is None else score.documents for score in linked]
            )
        return rollouts.with_columns(**columns)


def _first(found: dict[str, list[str]], name: str) -> str:
    return found[name][0].strip() if found.get(name) else ""


@dataclass(frozen=True)
class DimensionReport:
    """What the dimensions say of one response.

    Attributes:
        confidence: See `confidence`.
        relevance: The sum of the links; NaN for an incomplete response.
        coherence: The reward model's score; NaN for an incomplete response.
        complete: Whether there are reasoning and an answer.
    """

    confidence: float
    relevance: float
    coherence: float
    complete: bool

    def __str__(self) -> str:
        """One line."""
        parts = ", ".join(f"{name} {getattr(self, name):.3f}" for name in NAMES)
        return parts if self.complete else f"{parts}; incomplete"


def dimension_reports(rollouts: Rollouts) -> list[DimensionReport]:
    """One report a response, from the columns that `Dimensions` has filled."""
    cells = zip(*(rollouts.column(name) for name in (*COLUMNS, COMPLETE)), strict=True)
    return [DimensionReport(*cell) for cell in cells]
