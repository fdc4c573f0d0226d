"""Labels of steps, made by one of several labellers and kept on disk as they come.

A labeller is given responses with their steps and says what each step is worth: the share of completions that end right
(Math-Shepherd, arXiv 2312.08935), the same under a prover, with the value of the prompt (PAV, arXiv 2410.08146), votes
of verifications (SPARK, arXiv 2512.03244), or what an oracle knows, with or without noise. A run that is interrupted
goes on where it stopped; equal responses to equal prompts are labelled once.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import torch

from guerdon.score.journal import Journal
from guerdon.score.models.reward_model import as_steps
from guerdon.search.completions import monte_carlo_values
from guerdon.train.reward.step_values import Verification, best_of_k_value, voted_labels

_NAN = float("nan")

Complete = Callable[[Sequence[str], int], Sequence[Sequence[str]]]
"""(prefixes, n) -> n completions of each prefix."""

Judge = Callable[[str, Mapping[str, Any]], float]
"""(whole response, row) -> 1 = right, 0 = wrong, NaN = not known."""


@dataclass(frozen=True)
class StepLabels:
    """What a labeller says of one response.

    Attributes:
        steps: A label for each step in [0, 1]; NaN = not known.
        start: The value before the first step; None = the labeller gives none.
        outcome: The label of the whole response; None = the labeller gives none.
    """

    steps: Sequence[float]
    start: float | None = None
    outcome: float | None = None


class Labeller(Protocol):
    """Labels steps; its `repr` shows everything that decides the labels."""

    def __call__(self, rows: Sequence[Mapping[str, Any]], steps: Sequence[Sequence[str]]) -> Sequence[StepLabels]:
        """Label the steps of some responses.

        Args:
            rows: With `prompt`, `response` and whatever else is known.
            steps: The texts of each response's steps, delimiters included.
        """
        ...


@dataclass(frozen=True)
class CompletionLabels:
    """The share of completions of the prefix up to and with each step that end right.

    Equal prefixes of a batch are completed once. After the last step there is nothing to complete: the response itself
    is judged. Completions that cannot be judged do not count.

    Attributes:
        complete: How prefixes are completed; sampled from the policy, or from a prover.
        judge: Says whether a whole response is right.
        n: Completions of a prefix.
        best_of: Values are those of the best of so many attempts; see `best_of_k_value`. 1 = of one.
        stop_at_pit: Whether steps after the first of value 0 are 0 without any completions, from the front.

    Raises:
        ValueError: A number is below 1.
    """

    complete: Complete = field(repr=False)
    judge: Judge = field(repr=False)
    n: int = 8
    best_of: int = 1
    stop_at_pit: bool = False

    def __post_init__(self) -> None:
        if self.n < 1 or self.best_of < 1:
            raise ValueError(f"n is {self.n}, best_of {self.best_of}: expected at least 1")

    def __call__(self, rows: Sequence[Mapping[str, Any]], steps: Sequence[Sequence[str]]) -> list[StepLabels]:
        """Label the steps; `start` is the value of the prompt, `outcome` the verdict on the response itself."""
        outcomes = [self.judge("".join(texts), row) for row, texts in zip(rows, steps, strict=True)]
        values: list[list[float]] = [[] for _ in rows]
        # Step by step, so that a pit can spare the rest; position 0 is the prompt.
        for position in range(max((len(texts) for texts in steps), default=0)):
            wanted = [row for row, texts in enumerate(steps) if position < len(texts) and not self._in_pit(values[row])]
            found = dict(zip(wanted, self._values(rows, steps, wanted, position), strict=True))
            for row, texts in enumerate(steps):
                if position < len(texts):
                    values[row].append(found.get(row, 0.0))
        labelled = []
        for row, outcome in enumerate(outcomes):
            known = [*values[row][1:], outcome] if steps[row] else []
            start = values[row][0] if values[row] else _NAN
            raised = best_of_k_value(torch.tensor([start, *known], dtype=torch.float64), self.best_of).tolist()
            labelled.append(StepLabels(raised[1:], raised[0], outcome))
        return labelled

    def _in_pit(self, values: Sequence[float]) -> bool:
        # The prompt's value is no step: a hard problem is no mistake.
        return self.stop_at_pit and any(value == 0.0 for value in values[1:])

    def _values(
        self, rows: Sequence[Mapping[str, Any]], steps: Sequence[Sequence[str]], wanted: Sequence[int], position: int
    ) -> list[float]:
        """The share of right completions after so many steps, of some rows."""
        before = ["".join(steps[row][:position]) for row in wanted]
        prefixes = [str(rows[row]["prompt"]) + text for row, text in zip(wanted, before, strict=True)]
        distinct = list(dict.fromkeys(prefixes))
        endings = dict(zip(distinct, self.complete(distinct, self.n) if distinct else (), strict=True))
        success = []
        for row, text, prefix in zip(wanted, before, prefixes, strict=True):
            judged = [self.judge(text + ending, rows[row]) for ending in endings[prefix]]
            success.append(torch.tensor(judged, dtype=torch.float64))
        return [float(value) for value in monte_carlo_values(success)[0]] if success else []


@dataclass(frozen=True)
class VoteLabels:
    """Labels by the majority of independent verifications; see `voted_labels`.

    Attributes:
        verify: (prompt, steps, n) -> n verifications.
        n: Verifications of a response.
    """

    verify: Callable[[str, Sequence[str], int], Sequence[Verification]] = field(repr=False)
    n: int = 16

    def __call__(self, rows: Sequence[Mapping[str, Any]], steps: Sequence[Sequence[str]]) -> list[StepLabels]:
        """Label the steps; all are NaN where no verification judged as many steps as there are."""
        labelled = []
        for row, texts in zip(rows, steps, strict=True):
            found, outcome = voted_labels(self.verify(str(row["prompt"]), texts, self.n), len(texts))
            labelled.append(StepLabels([_NAN] * len(texts) if found is None else found, outcome=outcome))
        return labelled


@dataclass(frozen=True)
class OracleLabels:
    """What a task knows of the steps, a share of the labels flipped.

    Attributes:
        oracle: (response, row) -> whether each step is right; None = it does not know. A task's `step_labels`.
        noise: Share of the labels that are wrong.
        seed: Of the noise, which depends on prompt and response alone, not on the order of rows.

    Raises:
        ValueError: The noise is no share.
    """

    oracle: Callable[[str, Mapping[str, Any]], Sequence[bool] | None] = field(repr=False)
    noise: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0.0 <= self.noise <= 1.0:
            raise ValueError(f"noise is {self.noise}: expected a share in [0, 1]")

    def __call__(self, rows: Sequence[Mapping[str, Any]], steps: Sequence[Sequence[str]]) -> list[StepLabels]:
        """Label the steps.

        Raises:
            ValueError: The oracle judged another number of steps.
        """
        labelled = []
        for row, texts in zip(rows, steps, strict=True):
            response = "".join(texts)
            found = self.oracle(response, row)
            if found is not None and len(found) != len(texts):
                raise ValueError(f"the oracle judged {len(found)} steps of {response[:60]!r}: expected {len(texts)}")
            draw = random.Random(f"{self.seed}/{row['prompt']}/{response}")
            flips = [draw.random() < self.noise for _ in texts]
            truth = [_NAN] * len(texts) if found is None else [float(a != b) for a, b in zip(found, flips, strict=True)]
            labelled.append(StepLabels(truth))
        return labelled


def label_rows(
    rows: Iterable[Mapping[str, Any]], labeller: Labeller, delimiter: str = "\n", batch_size: int = 64
) -> Iterator[dict[str, Any]]:
    """Label responses as they come; equal responses to equal prompts once.

    Args:
        rows: With `prompt`, and `response` or `steps` (the texts of the steps).
        labeller: What labels them.
        delimiter: Text that ends a step, where `steps` are not given.
        batch_size: Rows at a time.

    Yields:
        Each row, in order, with `steps`, `labels` (None where not known), and `start_value` and `outcome_label` where
        the labeller gives them.

    Raises:
        ValueError: A row lacks a field, or the labeller gave another number of labels than there are steps.
    """
    known: dict[bytes, StepLabels] = {}
    source = enumerate(rows)
    while batch := list(islice(source, batch_size)):
        cut = [_steps(row, delimiter, number) for number, row in batch]
        keys = [_key(row, texts) for (_, row), texts in zip(batch, cut, strict=True)]
        fresh = {key: at for at, key in reversed(list(enumerate(keys))) if key not in known}
        order = sorted(fresh.values())
        found = labeller([batch[at][1] for at in order], [cut[at] for at in order]) if order else []
        for at, labels in zip(order, found, strict=True):
            if len(labels.steps) != len(cut[at]):
                raise ValueError(f"row {batch[at][0]} has {len(labels.steps)} labels: expected {len(cut[at])}")
            known[keys[at]] = labels
        for (_, row), texts, key in zip(batch, cut, keys, strict=True):
            yield {**row, "steps": texts, **_fields(known[key])}


def label_file(
    rows: Iterable[Mapping[str, Any]],
    output: Path,
    labeller: Labeller,
    *,
    about: Mapping[str, Any],
    delimiter: str = "\n",
    batch_size: int = 64,
    report: Callable[[int], None] | None = None,
) -> int:
    """Label responses into a JSON Lines or Parquet file; an interrupted run goes on where it stopped.

    Args:
        rows: See `label_rows`; the same each time.
        output: The file.
        labeller: What labels them.
        about: What decides the labels beside the labeller's `repr`; a run of other settings is not gone on with.
        delimiter: See `label_rows`.
        batch_size: Rows at a time, which are on disk before the next are begun.
        report: Called with the number of rows that are done, after each batch.

    Returns:
        The number of rows in the file.

    Raises:
        ValueError: The output exists, or was begun with other settings, or a row is malformed.
    """
    journal = Journal(output, {**about, "labeller": repr(labeller), "delimiter": delimiter})
    try:
        done = journal.done
        source = islice(iter(rows), done, None)
        labelled = label_rows(source, labeller, delimiter, batch_size)
        while batch := list(islice(labelled, batch_size)):
            journal.append(batch)
            done += len(batch)
            if report is not None:
                report(done)
    finally:
        journal.close()
    journal.finish()
    return done


def _steps(row: Mapping[str, Any], delimiter: str, number: int) -> list[str]:
    for name in ("prompt", "response") if "steps" not in row else ("prompt",):
        if not isinstance(row.get(name), str):
            raise ValueError(f"row {number} has {type(row.get(name)).__name__} for {name!r}: expected text")
    return list(row["steps"]) if "steps" in row else as_steps(row["response"], delimiter)


def _key(row: Mapping[str, Any], steps: Sequence[str]) -> bytes:
    # The target belongs to it: the same response may be right for one and wrong for another.
    text = json.dumps([row["prompt"], list(steps), row.get("target")], ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).digest()


def _fields(labels: StepLabels) -> dict[str, Any]:
    fields: dict[str, Any] = {"labels": [_plain(value) for value in labels.steps]}
    if labels.start is not None:
        fields["start_value"] = _plain(labels.start)
    if labels.outcome is not None:
        fields["outcome_label"] = _plain(labels.outcome)
    return fields


def _plain(value: float) -> float | None:
    return None if value != value else float(value)
