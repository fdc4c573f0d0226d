"""Whether probabilities mean what they say: of the responses that got 0.8, are 80 % right?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from guerdon.evaluation.report import number, plain, text_table

SCHEMES = ("width", "mass")


@dataclass(frozen=True)
class CalibrationReport:
    """Reliability by bins of predicted probability.

    Attributes:
        edges: (bins + 1,) float64, where bins begin and end; the last one includes its end.
        confidence: (bins,) float64, mean probability of the responses in a bin; NaN where there are none.
        accuracy: (bins,) float64, share of right ones among them; NaN where there are none.
        count: (bins,) int64.
        error: Expected calibration error: the mean over responses of |accuracy - confidence| of their bin.
        largest_error: The largest |accuracy - confidence| of a bin.
        brier: Mean squared difference of probability and label.
        of: What the probabilities are of.
    """

    edges: Tensor
    confidence: Tensor
    accuracy: Tensor
    count: Tensor
    error: float
    largest_error: float
    brier: float
    of: str = "being right"
    title: ClassVar[str] = "calibration"

    def to_json(self) -> dict[str, Any]:
        """The figures as JSON values."""
        figures: dict[str, Any] = plain(self)
        return figures

    def table(self) -> str:
        """Bins that hold responses, and the errors."""
        rows = [
            [f"{low:.3f} to {high:.3f}", number(sure), number(right), str(count)]
            for low, high, sure, right, count in zip(
                self.edges[:-1].tolist(),
                self.edges[1:].tolist(),
                self.confidence.tolist(),
                self.accuracy.tolist(),
                self.count.tolist(),
                strict=True,
            )
            if count
        ]
        errors = f"expected calibration error {number(self.error)}, largest {number(self.largest_error)}"
        table = text_table([f"probability of {self.of}", "mean", "share right", "responses"], rows)
        return f"{table}\n{errors}, Brier score {number(self.brier)}"

    def draw(self, axis: Any) -> None:
        """Draw the reliability diagram: share of right ones over predicted probability."""
        there = self.count > 0
        axis.plot([0, 1], [0, 1], ls=":", color="0.4")
        sizes = 10 + 150 * self.count[there] / self.count.sum().clamp(min=1)
        axis.plot(self.confidence[there].tolist(), self.accuracy[there].tolist(), color="C0", lw=1)
        axis.scatter(self.confidence[there].tolist(), self.accuracy[there].tolist(), s=sizes.tolist(), color="C0")
        axis.set_xlabel(f"probability of {self.of}", fontsize=8)
        axis.set_ylabel("share right", fontsize=8)
        axis.text(0.03, 0.92, f"calibration error {number(self.error, 3)}", fontsize=8, transform=axis.transAxes)


def calibration(
    probability: Tensor, label: Tensor, bins: int = 10, scheme: str = "width", of: str = "being right"
) -> CalibrationReport:
    """Reliability of predicted probabilities, and the expected calibration error (arXiv 1706.04599, eq. 3).

    Args:
        probability: (N,) float in [0, 1]; NaN takes no part.
        label: (N,) 1 or True = right, 0 = wrong; NaN takes no part.
        bins: How many bins.
        scheme: "width" = bins of equal width; "mass" = of equal numbers of responses, as far as equal probabilities
            allow.
        of: What the probabilities are of, for table and picture.

    Raises:
        ValueError: Shapes differ, a probability is outside [0, 1], a label is neither 0 nor 1, no bins, or an unknown
            scheme.

    Example:
        >>> import torch
        >>> round(calibration(torch.tensor([0.9, 0.9, 0.1]), torch.tensor([1.0, 0.0, 0.0])).error, 6)
        0.3
    """
    if probability.ndim != 1 or label.shape != probability.shape:
        raise ValueError(
            f"probability has shape {tuple(probability.shape)}, label {tuple(label.shape)}: expected (N,) of both"
        )
    if scheme not in SCHEMES or bins < 1:
        raise ValueError(f"scheme is {scheme!r}, bins is {bins}: expected one of {SCHEMES}, and at least 1")
    truth, sure = label.double(), probability.double()
    _expect_in("probability", sure, (sure < 0) | (sure > 1), "a number in [0, 1]")
    _expect_in("label", truth, (truth != 0) & (truth != 1) & ~torch.isnan(truth), "0 or 1")
    known = ~(torch.isnan(truth) | torch.isnan(sure))
    truth, sure = truth[known], sure[known]
    edges = _edges(sure, bins, scheme)
    place = torch.bucketize(sure, edges[1:-1], right=True)
    count = torch.bincount(place, minlength=len(edges) - 1)
    total = [
        torch.zeros(len(count), dtype=torch.float64, device=sure.device).scatter_add(0, place, x) for x in (sure, truth)
    ]
    confidence, accuracy = (torch.where(count > 0, x / count.clamp(min=1), torch.nan) for x in total)
    gap = torch.where(count > 0, (accuracy - confidence).abs(), 0.0)
    empty = not len(sure)
    return CalibrationReport(
        edges=edges,
        confidence=confidence,
        accuracy=accuracy,
        count=count,
        error=math.nan if empty else float((gap * count).sum() / count.sum()),
        largest_error=math.nan if empty else float(gap.max()),
        brier=math.nan if empty else float((sure - truth).square().mean()),
        of=of,
    )


def expected_calibration_error(probability: Tensor, label: Tensor, bins: int = 10, scheme: str = "width") -> float:
    """The expected calibration error alone; see `calibration`. NaN without any response."""
    return calibration(probability, label, bins, scheme).error


def pair_calibration(win: Tensor, lose: Tensor, bins: int = 10, scheme: str = "width") -> CalibrationReport:
    """Calibration of a Bradley-Terry model: is the response that it prefers with probability p the better one so often?

    The probability is that of the preferred one, sigmoid(|difference|), from 0.5 to 1; pairs of equal scores take no
    part, as none is preferred.

    Args:
        win: (P,) float, scores of the better responses; NaN takes no part.
        lose: (P,) float, scores of the worse ones.
        bins: As for `calibration`.
        scheme: As for `calibration`.

    Raises:
        ValueError: As for `calibration`.
    """
    if lose.shape != win.shape:
        raise ValueError(f"lose has shape {tuple(lose.shape)}: expected {tuple(win.shape)}, like win")
    gap = win.double() - lose.double()
    gap = torch.where(gap == 0, torch.nan, gap)
    label = torch.where(torch.isnan(gap), torch.nan, (gap > 0).double())
    return calibration(torch.sigmoid(gap.abs()), label, bins, scheme, of="the preferred one being better")


def _edges(sure: Tensor, bins: int, scheme: str) -> Tensor:
    whole = torch.linspace(0.0, 1.0, bins + 1, dtype=torch.float64, device=sure.device)
    if scheme == "width" or not len(sure):
        return whole
    # Equal probabilities belong to one bin, so that there may be fewer.
    inner = torch.unique(torch.quantile(sure, whole[1:-1]))
    return torch.cat([whole[:1], inner[(inner > 0) & (inner < 1)], whole[-1:]])


def _expect_in(name: str, values: Tensor, wrong: Tensor, expected: str) -> None:
    if bool(wrong.any()):
        row = int(wrong.nonzero()[0])
        raise ValueError(f"{name} in row {row} is {float(values[row])}: expected {expected}")
