"""Everything that can be said of a reward model from its scores, in one report."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from guerdon.evaluation.benchmark_report import (
    AGGREGATIONS,
    AggregationReport,
    aggregated,
    benchmark_report,
)
from guerdon.evaluation.bias import STYLE_EDITS, BiasReport, EditReport, edit_report, feature_bias
from guerdon.evaluation.calibration import CalibrationReport, calibration, pair_calibration
from guerdon.evaluation.first_error import FirstErrorReport, first_error_report
from guerdon.evaluation.optimisation import OptimisationReport, best_of_n_report
from guerdon.evaluation.pair_report import PairReport, pair_report
from guerdon.evaluation.pools import label_pairs, pool_table
from guerdon.evaluation.report import EvaluationReport, Report
from guerdon.evaluation.responses import UNSCORED, JudgedResponses, Scorer
from guerdon.evaluation.stored import read_responses

LINKS = ("auto", "identity", "sigmoid", "none")


@dataclass(frozen=True)
class Settings:
    """How a reward model is evaluated.

    Attributes:
        aggregation: What makes one score of step scores, for everything but the benchmark, which shows all ways.
        aggregations: Ways that the benchmark shows.
        threshold: A step whose score is below it is called wrong.
        unscored: What a response without score is: an "error"; "exclude" = the problem is left out of the benchmark,
            the response of everything else; "fail" = in comparisons a right one is below all others, a wrong one above.
            It is in no pool of best-of-n.
        tie: What a pair of equal scores counts.
        link: How a score becomes a probability of being right: "identity", "sigmoid", "none" = not at all, "auto" =
            identity if all scores are in [0, 1], else not at all.
        bins: Of the calibration.
        grid: The n of best-of-n; None = powers of two.
        resamples: Of the bootstrap.
        level: Coverage of the intervals.
        seed: Of the bootstrap.
    """

    aggregation: str = "min"
    aggregations: tuple[str, ...] = AGGREGATIONS
    threshold: float = 0.5
    unscored: str = "error"
    tie: float = 0.5
    link: str = "auto"
    bins: int = 10
    grid: tuple[int, ...] | None = None
    resamples: int = 2_000
    level: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        for name, allowed in (("unscored", UNSCORED), ("link", LINKS)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} is {getattr(self, name)!r}: expected one of {allowed}")

    @property
    def bootstrap(self) -> dict[str, Any]:
        """The arguments of the bootstrap."""
        return {"resamples": self.resamples, "level": self.level, "seed": self.seed}


def evaluate(
    source: JudgedResponses | Scorer | str | os.PathLike[str],
    data: JudgedResponses | str | os.PathLike[str] | None = None,
    *,
    name: str = "",
    edits: Mapping[str, Callable[[str], str]] | None = None,
    **settings: Any,
) -> EvaluationReport:
    """Evaluate stored scores, or a reward model on responses.

    Which parts the report has depends on what is known: the benchmark, pairs and best-of-n need problems with right and
    wrong responses (or gold scores); the first wrong step needs `first_error` and step scores; calibration needs
    labels; biases need labels and features; edits need a model.

    Args:
        source: Responses with scores, a file of them (see `read_responses`), or a model with a method `score`.
        data: For a model: the responses to score, or a file of them.
        name: What the report is called; "" = the file's name or the model's class.
        edits: For a model: edits of style whose effect is measured; None = `STYLE_EDITS`, empty = none.
        settings: See `Settings`.

    Returns:
        The report; `skipped` says what could not be made, and why.

    Raises:
        ValueError: A model without data, data without scores, a response that is not scored (unless `unscored` says
            otherwise), or settings out of range.

    Example:
        >>> import torch
        >>> responses = JudgedResponses(
        ...     problem=torch.tensor([0, 0, 0, 1, 1]),
        ...     right=torch.tensor([1.0, 0.0, 0.0, 1.0, 0.0]),
        ...     score=torch.tensor([2.0, 1.0, 0.5, -1.0, 3.0]),
        ... )
        >>> report = evaluate(responses)
        >>> report.to_json()["parts"]["benchmark"]["score"]["accuracy"]["mean"]
        0.5
    """
    chosen = Settings(**settings)
    if isinstance(source, JudgedResponses | str | os.PathLike):
        responses = source if isinstance(source, JudgedResponses) else read_responses(source)
        found = _parts(responses, chosen)
        known = "responses" if isinstance(source, JudgedResponses) else Path(source).stem
    else:
        if data is None:
            raise ValueError("data is None: expected the responses that the model is to score")
        unjudged = data if isinstance(data, JudgedResponses) else read_responses(data)
        responses = unjudged.scored_by(source)
        found = _parts(responses, chosen)
        _add(found, "edits", lambda: _edits(source, responses, STYLE_EDITS if edits is None else edits, chosen))
        known = type(source).__name__
    parts, skipped = found
    missing = torch.isnan(responses.overall(chosen.aggregation))
    counts = {
        "responses": len(responses),
        "problems": len(torch.unique(responses.problem)),
        "unscored": int(missing.sum()),
    }
    return EvaluationReport(name or known, counts, parts, skipped)


_Found = tuple[dict[str, Report], dict[str, str]]


class _SkippedError(Exception):
    """A part that cannot be made of what is known."""


def _add(found: _Found, name: str, make: Callable[[], Report]) -> None:
    try:
        found[0][name] = make()
    except _SkippedError as reason:
        found[1][name] = str(reason)


def _parts(responses: JudgedResponses, settings: Settings) -> _Found:
    score = responses.overall(settings.aggregation)
    if settings.unscored == "error" and bool(torch.isnan(score).any()):
        row = int(torch.isnan(score).nonzero()[0])
        raise ValueError(f"response {row} is not scored: expected a score, or unscored='exclude' or 'fail'")
    ranked = _ranked(score, responses, settings)
    found: _Found = ({}, {})
    _add(found, "benchmark", lambda: _benchmark(responses, settings))
    _add(found, "pairs", lambda: _pairs(ranked, responses, settings))
    _add(found, "first_error", lambda: _first_error(responses, settings))
    _add(found, "calibration", lambda: _calibration(score, responses, settings))
    _add(found, "optimisation", lambda: _optimisation(score, responses, settings))
    _add(found, "bias", lambda: _bias(ranked, responses, settings))
    return found


def _ranked(score: Tensor, responses: JudgedResponses, settings: Settings) -> Tensor:
    """Scores for comparisons: with unscored="fail", those of responses without score are the worst possible."""
    if settings.unscored != "fail":
        return score
    worst = torch.where(responses.right > 0, -torch.inf, torch.inf)
    return torch.where(torch.isnan(score) & ~torch.isnan(responses.right), worst, score)


def _benchmark(responses: JudgedResponses, settings: Settings) -> AggregationReport:
    named: dict[str, Tensor] = {} if responses.score is None else {"score": responses.score.double()}
    if responses.process is not None:
        process = responses.process.double()
        bounded = bool(((process >= 0) & (process <= 1) | torch.isnan(process)).all())
        ways = [
            how for how in settings.aggregations if bounded or how not in ("geometric_mean", "mean_logit", "mean_odd")
        ]
        named |= {how: aggregated(process, how) for how in ways}
    reports, guess = {}, float("nan")
    for name, score in named.items():
        ranked = _ranked(score, responses, settings)
        right, wrong = (pool_table(ranked, responses.problem, responses.right == value) for value in (1.0, 0.0))
        sizes = [
            pool_table(torch.ones_like(score), responses.problem, responses.right == value) for value in (1.0, 0.0)
        ]
        numbers = [(~torch.isnan(table)).sum(1) for table in sizes]
        scored = [(~torch.isnan(table)).sum(1) for table in (right, wrong)]
        complete = (numbers[0] > 0) & (numbers[1] > 0) & (scored[0] == numbers[0]) & (scored[1] == numbers[1])
        if not bool(complete.any()):
            raise _SkippedError("no problem has a right and a wrong response, all of them scored")
        reports[name] = benchmark_report(right[complete], wrong[complete], **settings.bootstrap)
        # With C right and K wrong ones in random order, all right ones come first in C! K! of (C + K)! orders.
        total, wanted = (numbers[0] + numbers[1])[complete].double(), numbers[0][complete].double()
        ways_to = torch.lgamma(total + 1) - torch.lgamma(wanted + 1) - torch.lgamma(total - wanted + 1)
        guess = float(torch.exp(-ways_to).mean())
    return AggregationReport(reports, guess)


def _pairs(score: Tensor, responses: JudgedResponses, settings: Settings) -> PairReport:
    winner, loser = label_pairs(responses.problem, responses.right).unbind(1)
    if not bool((~torch.isnan(score[winner]) & ~torch.isnan(score[loser])).any()):
        raise _SkippedError("no problem has a right and a wrong response that are scored")
    return pair_report(score[winner], score[loser], responses.problem[winner], tie=settings.tie, **settings.bootstrap)


def _first_error(responses: JudgedResponses, settings: Settings) -> FirstErrorReport:
    if responses.first_error is None or responses.process is None:
        raise _SkippedError("it needs step scores, and the first wrong step of each solution")
    known = (responses.first_error >= -1) & ~torch.isnan(responses.process).all(1)
    gold = responses.first_error[known]
    if not (bool((gold >= 0).any()) and bool((gold < 0).any())):
        raise _SkippedError("it needs solutions with an error and without")
    boot = {**settings.bootstrap, "resamples": min(settings.resamples, 1_000)}
    return first_error_report(responses.process[known], gold, settings.threshold, **boot)


def _calibration(score: Tensor, responses: JudgedResponses, settings: Settings) -> CalibrationReport:
    known = ~(torch.isnan(score) | torch.isnan(responses.right))
    if settings.link == "none" or not bool(known.any()):
        raise _SkippedError("link is 'none'" if settings.link == "none" else "no scored response has a label")
    if responses.ordinal:
        raise _SkippedError("the scores only order the responses of a problem")
    unit = bool(((score[known] >= 0) & (score[known] <= 1)).all())
    if settings.link == "identity" and not unit:
        raise ValueError("link is 'identity', but scores are outside [0, 1]: expected probabilities")
    if settings.link == "sigmoid":
        return calibration(torch.sigmoid(score), responses.right, settings.bins)
    if unit:
        return calibration(score, responses.right, settings.bins)
    # Scores of any scale are read as Bradley and Terry's: only differences inside a problem have a meaning.
    winner, loser = label_pairs(responses.problem, responses.right).unbind(1)
    if not len(winner):
        raise _SkippedError("the scores are no probabilities, and there are no pairs of a right and a wrong response")
    return pair_calibration(score[winner], score[loser], settings.bins)


def _optimisation(score: Tensor, responses: JudgedResponses, settings: Settings) -> OptimisationReport:
    gold = responses.right if responses.gold is None else responses.gold.double()
    usable = ~(torch.isnan(score) | torch.isnan(gold))
    proxies, golds = (pool_table(value, responses.problem, usable) for value in (score, gold))
    sizes = (~torch.isnan(golds)).sum(1)
    kept = sizes > 0
    if not bool(kept.any()) or int(sizes[kept].min()) < 2:
        raise _SkippedError("every problem needs two scored responses with labels or gold scores at least")
    return best_of_n_report(proxies[kept], golds[kept], settings.grid, **settings.bootstrap)


def _bias(score: Tensor, responses: JudgedResponses, settings: Settings) -> BiasReport:
    if not responses.features:
        raise _SkippedError("no feature, such as length, is known")
    if not len(label_pairs(responses.problem, responses.right)):
        raise _SkippedError("no problem has a right and a wrong response")
    found = {
        name: feature_bias(score, value, responses.problem, responses.right, settings.tie)
        for name, value in responses.features.items()
    }
    return BiasReport(found)


def _edits(
    model: Any, responses: JudgedResponses, edits: Mapping[str, Callable[[str], str]], settings: Settings
) -> EditReport:
    if not edits:
        raise _SkippedError("none was asked for")
    scores = {
        name: responses.edited(edit).scored_by(model).overall(settings.aggregation) for name, edit in edits.items()
    }
    plain_text = responses.edited(lambda text: text).scored_by(model).overall(settings.aggregation)
    return edit_report(plain_text, scores, responses.problem, responses.right)


def compare(reports: Sequence[EvaluationReport], score: str | None = None) -> str:
    """A table of several reward models: headline figures of each report.

    Args:
        reports: Reports of `evaluate`.
        score: Which score of the benchmark is shown; None = each model's best.
    """
    from guerdon.evaluation.report import number, text_table

    rows = []
    for report in reports:
        benchmark, pairs, errors = (report.parts.get(name) for name in ("benchmark", "pairs", "first_error"))
        cells = [report.name, "-", "-", "-", "-", "-"]
        if isinstance(benchmark, AggregationReport):
            best = max(benchmark.reports, key=lambda name: benchmark.reports[name].accuracy.mean)
            used = best if score is None else score
            found = benchmark.reports[used]
            cells[1:4] = [used, number(100 * found.accuracy.mean, 2), number(100 * found.mean_reciprocal_rank.mean, 2)]
        if isinstance(pairs, PairReport):
            cells[4] = number(100 * pairs.accuracy.mean, 2)
        if isinstance(errors, FirstErrorReport):
            cells[5] = number(100 * errors.f1.mean, 2)
        rows.append(cells)
    return text_table(["model", "score", "one to many", "reciprocal rank", "pairs", "first error F1"], rows)
