"""Preference pairs from one text and its better and worse versions (ReCode, arXiv 2508.05170, §3.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class ContrastPair:
    """Two versions of one text, of which the first is better.

    Attributes:
        chosen: The better text.
        rejected: The worse text.
        dimension: In what it is better.
        contrast: Which versions they are: "optimised-degraded", "optimised-original" or "original-degraded".
    """

    chosen: str
    rejected: str
    dimension: str
    contrast: str


def optimised_degraded_pairs(
    original: str, optimised: Mapping[str, str], degraded: Mapping[str, str]
) -> list[ContrastPair]:
    """All pairs of versions along each dimension; pairs of equal texts are left out.

    Args:
        original: The text.
        optimised: Dimension (factual accuracy, say) -> version that was improved in it.
        degraded: Dimension -> version that was worsened in it.

    Returns:
        Up to three pairs a dimension, the strongest contrast first; a dimension that is in one mapping only gives one.

    Example:
        >>> pairs = optimised_degraded_pairs("base", {"rigor": "better"}, {"rigor": "worse"})
        >>> [(pair.chosen, pair.rejected) for pair in pairs]
        [('better', 'worse'), ('better', 'base'), ('base', 'worse')]
    """
    pairs = []
    for dimension in dict.fromkeys((*optimised, *degraded)):
        versions = {"optimised": optimised.get(dimension), "original": original, "degraded": degraded.get(dimension)}
        for better, worse in (("optimised", "degraded"), ("optimised", "original"), ("original", "degraded")):
            chosen, rejected = versions[better], versions[worse]
            if chosen is not None and rejected is not None and chosen != rejected:
                pairs.append(ContrastPair(chosen, rejected, dimension, f"{better}-{worse}"))
    return pairs
