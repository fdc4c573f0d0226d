"""The picture of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PANELS = (
    ("reward", "outcome reward of all samples"),
    ("score/process_mean", "process reward of all steps"),
    ("select/trained_fraction", "share of samples trained on"),
    ("completions/mean_length", "tokens in a response"),
)
"""(metric, title) of each panel; metrics that a run does not have are left out."""


def draw_curves(rows: Sequence[Mapping[str, Any]], title: str, path: Path, window: int = 9) -> None:
    """Draw a run's metrics over its steps, with a running mean.

    Args:
        rows: Lines of the run's metrics.
        title: What the run is.
        path: The PNG to write.
        window: Steps in the running mean.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels = [(name, label) for name, label in PANELS if any(row.get(name) is not None for row in rows)]
    if not panels:
        return
    figure, axes = pyplot.subplots(1, len(panels), figsize=(3.8 * len(panels), 3.0), squeeze=False)
    for axis, (name, label) in zip(axes[0], panels, strict=True):
        points = [(row["step"], row[name]) for row in rows if row.get(name) is not None]
        steps, values = [step for step, _ in points], [value for _, value in points]
        axis.plot(steps, values, lw=0.8, alpha=0.4)
        means = [sum(values[max(0, i - window + 1) : i + 1]) / min(i + 1, window) for i in range(len(values))]
        axis.plot(steps, means, lw=2, color="C0")
        axis.set_title(label, fontsize=10)
        axis.set_xlabel("step", fontsize=9)
        axis.grid(alpha=0.3)
    figure.suptitle(title, fontsize=11)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120, metadata={"Software": "guerdon"})
    pyplot.close(figure)
