"""What every report offers: JSON values, a table of text, a picture."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

from torch import Tensor

from guerdon.ops.bootstrap import Interval
from guerdon.storage import atomic_write

_COLUMNS = 3
"""Pictures side by side."""


@runtime_checkable
class Report(Protocol):
    """A part of an evaluation."""

    title: ClassVar[str]

    def to_json(self) -> dict[str, Any]:
        """The figures as JSON values; None where one could not be computed."""
        ...

    def table(self) -> str:
        """The figures as aligned text."""
        ...

    def draw(self, axis: Any) -> None:
        """Draw the figures on a matplotlib axis."""
        ...


def plain(value: Any) -> Any:
    """Tensors, dataclasses and mappings as JSON values; NaN and infinities become None.

    Example:
        >>> import torch
        >>> plain({"share": torch.tensor([0.5, float("nan")]), "of": (1, True)})
        {'share': [0.5, None], 'of': [1, True]}
    """
    if isinstance(value, Tensor):
        return plain(value.tolist())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {entry.name: plain(getattr(value, entry.name)) for entry in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(name): plain(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lines of aligned cells, the first column to the left and the others to the right.

    Example:
        >>> print(text_table(["n", "gold"], [["1", "0.40"], ["16", "0.3"]]))
        n   gold
        1   0.40
        16   0.3
    """
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if not column else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def number(value: float, digits: int = 4) -> str:
    """A number for a table; "-" where there is none."""
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def share(interval: Interval) -> str:
    """A share with its interval, in per cent."""
    if math.isnan(interval.mean):
        return "-"
    return f"{100 * interval.mean:.2f} ({100 * interval.low:.2f} to {100 * interval.high:.2f})"


@dataclass(frozen=True)
class EvaluationReport:
    """Everything that was found out about a reward model.

    Attributes:
        name: What was evaluated.
        counts: How many responses, problems, and unscored responses there are.
        parts: Name -> report.
        skipped: Name -> why a part could not be made.
    """

    name: str
    counts: Mapping[str, int]
    parts: Mapping[str, Report]
    skipped: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """All figures as JSON values."""
        parts = {name: part.to_json() for name, part in self.parts.items()}
        return {"name": self.name, "counts": dict(self.counts), "parts": parts, "skipped": dict(self.skipped)}

    def table(self) -> str:
        """All tables, one below the other."""
        counts = ", ".join(f"{value} {name}" for name, value in self.counts.items())
        blocks = [f"{self.name}: {counts}"]
        blocks += [f"{part.title}\n{part.table()}" for part in self.parts.values()]
        if self.skipped:
            blocks.append("\n".join(f"no {name}: {reason}" for name, reason in self.skipped.items()))
        return "\n\n".join(blocks)

    def save(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Write `report.json`, `report.txt` and `report.png` into a folder.

        Returns:
            The files; no picture where there is no part to draw.
        """
        target = Path(folder)
        text = json.dumps(self.to_json(), indent=2, allow_nan=False) + "\n"
        files = [
            atomic_write(target / "report.json", lambda handle: handle.write(text.encode())),
            atomic_write(target / "report.txt", lambda handle: handle.write((self.table() + "\n").encode())),
        ]
        if self.parts:
            files.append(self.draw(target / "report.png"))
        return files

    def draw(self, path: str | os.PathLike[str]) -> Path:
        """Draw every part into one picture.

        Args:
            path: The PNG to write.

        Raises:
            ValueError: There is no part.
        """
        return draw_parts(list(self.parts.values()), path, self.name)


def draw_parts(parts: Sequence[Report], path: str | os.PathLike[str], title: str = "") -> Path:
    """Draw reports side by side.

    Args:
        parts: At least one report.
        path: The PNG to write.
        title: Above all of them.

    Raises:
        ValueError: There is no report.
    """
    if not parts:
        raise ValueError("parts is empty: expected at least one report to draw")
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    columns = min(len(parts), _COLUMNS)
    rows = -(-len(parts) // columns)
    figure, axes = pyplot.subplots(rows, columns, figsize=(4.6 * columns, 3.6 * rows), squeeze=False)
    for axis, part in zip(axes.reshape(-1), parts, strict=False):
        part.draw(axis)
        axis.set_title(part.title, fontsize=10)
        axis.grid(alpha=0.3)
    for axis in axes.reshape(-1)[len(parts) :]:
        axis.set_visible(False)
    figure.suptitle(title, fontsize=11)
    figure.tight_layout()
    target = Path(path)

    def write(handle: Any) -> None:
        figure.savefig(handle, dpi=130, format="png", metadata={"Software": "guerdon"})

    try:
        return atomic_write(target, write)
    finally:
        pyplot.close(figure)
