"""The picture of a claim: every arm's metrics, with each seed as a dot."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def draw(result: dict[str, Any], path: Path) -> None:
    """Draw the result of a claim.

    Args:
        result: What `run_claim` returned.
        path: The PNG to write.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    metrics, arms = list(result["metrics"]), list(result["arms"])
    figure, axes = pyplot.subplots(1, len(metrics), figsize=(3.6 * len(metrics), 3.4), squeeze=False)
    for axis, metric in zip(axes[0], metrics, strict=True):
        for position, arm in enumerate(arms):
            values = [seed[metric] for seed in result["arms"][arm]["seeds"]]
            axis.scatter([position] * len(values), values, s=18, alpha=0.6, color=f"C{position}")
            axis.hlines(sum(values) / len(values), position - 0.3, position + 0.3, color=f"C{position}", lw=2)
        axis.set_xticks(range(len(arms)), arms, rotation=40, ha="right", fontsize=8)
        axis.set_title(metric.replace("_", " "), fontsize=10)
        axis.grid(axis="y", alpha=0.3)
    title = f"{result['number']:02d} {result['slug']}: {result['verdict']} ({result['seeds']} seeds, bar = mean)"
    figure.suptitle(title, fontsize=11)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130, metadata={"Software": "guerdon"})
    pyplot.close(figure)
