"""Whether a reward model likes length or style rather than what is right.

Two questions. Among responses of one problem that are equally right, does the score follow a feature that says nothing
about right and wrong? And how much does a pair's accuracy fall where that feature is on the wrong response's side?
With the model at hand there is a third: what does an edit do to the score that changes nothing but the style?
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from guerdon import ops
from guerdon.evaluation.pools import label_pairs
from guerdon.evaluation.report import number, plain, text_table


@dataclass(frozen=True)
class FeatureBias:
    """How a score depends on a feature that should not matter.

    Attributes:
        correlation: Rank correlation of score and feature among equally right responses of a problem.
        accuracy_higher: Pairwise accuracy where the right response has more of the feature.
        accuracy_equal: Where both have equally much.
        accuracy_lower: Where the wrong response has more.
        pairs: Numbers of these three kinds of pairs.
    """

    correlation: float
    accuracy_higher: float
    accuracy_equal: float
    accuracy_lower: float
    pairs: tuple[int, int, int]

    @property
    def gap(self) -> float:
        """Accuracy with the feature on the right response's side, less that with it on the other: 0 = no bias."""
        return self.accuracy_higher - self.accuracy_lower


def within_class_correlation(score: Tensor, feature: Tensor, key: Tensor, right: Tensor) -> float:
    """Rank correlation of a score and a feature among equally right responses of one problem, all problems together.

    Ranks are taken inside each (problem, label) and centred there, so that neither difficulty nor being right comes
    in.

    Args:
        score: (N,) float; NaN takes no part.
        feature: (N,) float; NaN takes no part.
        key: (N,) int64.
        right: (N,) 1 or 0; NaN takes no part.

    Returns:
        A number in [-1, 1]; NaN where score or feature do not vary inside any class.

    Raises:
        ValueError: Shapes differ.
    """
    for name, value in (("feature", feature), ("key", key), ("right", right)):
        if value.shape != score.shape:
            raise ValueError(f"{name} has shape {tuple(value.shape)}: expected {tuple(score.shape)}, like score")
    known = ~(torch.isnan(score) | torch.isnan(feature.double()) | torch.isnan(right.double()))
    dense = torch.unique(key[known], return_inverse=True)[1]
    cell = 2 * dense + (right[known] > 0).long()
    centred = [
        ops.normalize(ops.rank(value[known].double(), cell, ties="average").double(), cell, scale="none")
        for value in (score, feature)
    ]
    return ops.pearson(*centred)


def feature_bias(score: Tensor, feature: Tensor, key: Tensor, right: Tensor, tie: float = 0.5) -> FeatureBias:
    """How a score depends on a feature, such as length, beyond right and wrong.

    Args:
        score: (N,) float; NaN takes no part.
        feature: (N,) float; NaN takes no part.
        key: (N,) int64, the problem of each response.
        right: (N,) 1 or 0; NaN takes no part.
        tie: What a pair of equal scores counts.

    Returns:
        Correlation and accuracies; NaN where there is nothing to compute one from.

    Raises:
        ValueError: Shapes differ.
    """
    correlation = within_class_correlation(score, feature, key, right)
    winner, loser = label_pairs(key, right).unbind(1)
    scored = ~(torch.isnan(score[winner]) | torch.isnan(score[loser]))
    gap = feature[winner].double() - feature[loser].double()
    kinds = (gap > 0, gap == 0, gap < 0)
    higher, equal, lower = (ops.pair_accuracy(score[winner][kind], score[loser][kind], tie) for kind in kinds)
    more, same, less = (int((kind & scored).sum()) for kind in kinds)
    return FeatureBias(correlation, higher, equal, lower, (more, same, less))


@dataclass(frozen=True)
class BiasReport:
    """Dependence of a score on features that should not matter.

    Attributes:
        features: Name of the feature -> how the score depends on it.
    """

    features: Mapping[str, FeatureBias]
    title: ClassVar[str] = "pairwise accuracy by length and style"

    def to_json(self) -> dict[str, Any]:
        """The figures as JSON values."""
        return {name: {**plain(entry), **plain({"gap": entry.gap})} for name, entry in self.features.items()}

    def table(self) -> str:
        """A line a feature."""
        rows = [
            [
                name,
                number(entry.correlation, 3),
                number(entry.accuracy_higher, 3),
                number(entry.accuracy_equal, 3),
                number(entry.accuracy_lower, 3),
                number(entry.gap, 3),
                str(sum(entry.pairs)),
            ]
            for name, entry in self.features.items()
        ]
        header = ["feature", "rank correlation", "right has more", "equal", "right has less", "gap", "pairs"]
        return text_table(header, rows)

    def draw(self, axis: Any) -> None:
        """Draw both accuracies of every feature."""
        names = list(self.features)
        for offset, field, label in ((-0.2, "accuracy_higher", "right has more"), (0.2, "accuracy_lower", "has less")):
            values = [getattr(self.features[name], field) for name in names]
            axis.bar([place + offset for place in range(len(names))], values, width=0.38, label=label)
        axis.axhline(0.5, ls=":", color="0.4")
        axis.set_xticks(range(len(names)), names, rotation=30, ha="right", fontsize=8)
        axis.set_ylim(0, 1)
        axis.legend(fontsize=7)


STYLE_FEATURES: Mapping[str, Callable[[str], float]] = {
    "length": len,
    "lines": lambda text: float(len(text.splitlines())),
    "boxes": lambda text: float(text.count("\\boxed")),
    "lists": lambda text: float(len(re.findall(r"(?m)^\s*(?:[-*]|\d+[.)])\s", text))),
    "emphasis": lambda text: float(len(re.findall(r"\*\*|^#+ ", text, re.MULTILINE))),
}
"""Features of a response's text that say nothing about right and wrong; `length` is in characters."""


def style_features(responses: Sequence[str]) -> dict[str, Tensor]:
    """(N,) float64 values of `STYLE_FEATURES`, those that vary between responses.

    Args:
        responses: Texts.
    """
    found = {
        name: torch.tensor([float(feature(text)) for text in responses], dtype=torch.float64)
        for name, feature in STYLE_FEATURES.items()
    }
    return {name: values for name, values in found.items() if len(values) and bool((values != values[0]).any())}


STYLE_EDITS: Mapping[str, Callable[[str], str]] = {
    "confident opening": lambda text: "This is certainly correct. " + text,
    "filler at the end": lambda text: text + "\nThis follows from the above, as was to be expected.",
    "numbered lines": lambda text: "\n".join(
        f"{index}. {line}" for index, line in enumerate(text.splitlines(), start=1)
    ),
    "blank lines": lambda text: text.replace("\n", "\n\n"),
    "bold": lambda text: "\n".join(f"**{line}**" if line else line for line in text.splitlines()),
}
"""Edits that leave the reasoning and the answer as they are."""


@dataclass(frozen=True)
class EditReport:
    """What edits of style do to scores.

    Attributes:
        shift: Name of the edit -> mean change of the score, in standard deviations of the unedited scores.
        flips: Name of the edit -> share of (right, wrong) pairs, ordered rightly before, that are not any more when
            only the wrong response is edited.
        unscored: Name of the edit -> responses that could be scored before the edit and not after it.
    """

    shift: Mapping[str, float]
    flips: Mapping[str, float]
    unscored: Mapping[str, int]
    title: ClassVar[str] = "change of score by edits of style"

    def to_json(self) -> dict[str, Any]:
        """The figures as JSON values."""
        figures: dict[str, Any] = plain(self)
        return figures

    def table(self) -> str:
        """A line an edit."""
        rows = [
            [name, number(self.shift[name], 3), number(self.flips[name], 3), str(self.unscored[name])]
            for name in self.shift
        ]
        return text_table(["edit", "shift, deviations", "pairs flipped", "unscored"], rows)

    def draw(self, axis: Any) -> None:
        """Draw the shifts."""
        axis.barh(range(len(self.shift)), list(self.shift.values()))
        axis.set_yticks(range(len(self.shift)), list(self.shift), fontsize=8)
        axis.axvline(0.0, color="0.4", lw=1)
        axis.set_xlabel("change of score, standard deviations", fontsize=8)


def edit_report(score: Tensor, edited: Mapping[str, Tensor], key: Tensor, right: Tensor) -> EditReport:
    """Compare scores of edited responses with those of the same responses as they were.

    Args:
        score: (N,) float, as they were; NaN takes no part.
        edited: Name of the edit -> (N,) float.
        key: (N,) int64.
        right: (N,) 1 or 0; NaN takes no part in pairs.

    Raises:
        ValueError: Shapes differ.
    """
    winner, loser = label_pairs(key, right).unbind(1)
    known = score[~torch.isnan(score)].double()
    deviation = known.std() if len(known) > 1 else torch.tensor(torch.nan)
    shift, flips, unscored = {}, {}, {}
    for name, value in edited.items():
        if value.shape != score.shape:
            raise ValueError(f"edited[{name!r}] has shape {tuple(value.shape)}: expected {tuple(score.shape)}")
        change = value.double() - score.double()
        both = ~torch.isnan(change)
        shift[name] = float(change[both].mean() / deviation) if bool(both.any()) and deviation > 0 else float("nan")
        before = (score[winner] > score[loser]) & ~torch.isnan(value[loser])
        flipped = before & (value[loser] >= score[winner])
        flips[name] = float(flipped.sum() / before.sum()) if bool(before.any()) else float("nan")
        unscored[name] = int((torch.isnan(value) & ~torch.isnan(score)).sum())
    return EditReport(shift, flips, unscored)
