"""A run is a folder: configuration, metrics, every sampled response, checkpoints and a summary."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from guerdon.batch import Batch
from guerdon.storage import atomic_write, write_parquet
from guerdon.train import checkpoints

TIMING_KEYS = frozenset(("step_time", "train_runtime", "train_samples_per_second", "train_steps_per_second"))
"""Metrics that measure time, besides all whose name starts with `time/` or `profiling/`."""


def write_json(path: Path, value: Any) -> None:
    """Write JSON, atomically; NaN becomes null."""
    text = json.dumps(_plain(value), indent=2, allow_nan=False) + "\n"
    atomic_write(path, lambda handle: handle.write(text.encode()))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


class RunFolder:
    """The files of one run.

    Args:
        path: The folder; made on the first write.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.json"

    @property
    def metrics(self) -> Path:
        """One JSON object a line and optimiser step."""
        return self.path / "metrics.jsonl"

    @property
    def rollouts(self) -> Path:
        """The folder of sampled responses, a Parquet file for each rollout batch."""
        return self.path / "rollouts"

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def final(self) -> Path:
        """The trained model, with its tokenizer."""
        return self.path / "model"

    @property
    def summary(self) -> Path:
        """What the run achieved."""
        return self.path / "summary.json"

    @property
    def curves(self) -> Path:
        """The picture of the run."""
        return self.path / "curves.png"

    def read_config(self) -> dict[str, Any]:
        """Read the configuration.

        Raises:
            ValueError: The folder is no run.
        """
        if not self.config.is_file():
            raise ValueError(f"{self.path} is not a run: expected a config.json in it")
        config: dict[str, Any] = json.loads(self.config.read_text())
        return config

    def rollout_files(self) -> list[Path]:
        """The stored rollout batches, oldest first."""
        return sorted(self.rollouts.glob("iteration-*.parquet"))

    def write_batch(self, iteration: int, batch: Batch) -> None:
        """Store everything about a batch; it is on disk when this returns."""
        write_parquet(batch.annotated(), self.rollouts / f"iteration-{iteration:06d}.parquet")

    def append_metrics(self, step: int, values: Mapping[str, Any]) -> None:
        """Append a line of metrics, with those that measure time apart."""
        timing = {name: value for name, value in values.items() if is_timing(name)}
        other = {name: value for name, value in values.items() if name not in timing}
        row = {"step": step, **other, "timing": timing}
        self.path.mkdir(parents=True, exist_ok=True)
        with self.metrics.open("a") as handle:
            handle.write(json.dumps(_plain(row), allow_nan=False) + "\n")
            handle.flush()

    def read_metrics(self) -> list[dict[str, Any]]:
        """All whole lines of metrics; a line cut off by a crash is left out."""
        if not self.metrics.is_file():
            return []
        rows = []
        for line in self.metrics.read_text().splitlines():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError:
                continue
        return rows

    def rewind(self) -> Path | None:
        """Go back to the newest checkpoint: drop half-written files and everything after it.

        Returns:
            The checkpoint to resume from; None = from the start.
        """
        checkpoints.discard_unfinished(self.checkpoints)
        newest = checkpoints.latest(self.checkpoints)
        step = 0 if newest is None else checkpoints.step_of(newest)
        rows = [row for row in self.read_metrics() if row["step"] <= step]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        if self.metrics.is_file():
            atomic_write(self.metrics, lambda handle: handle.write(text.encode()))
        return newest


def is_timing(name: str) -> bool:
    """Whether a metric measures time, and so differs between equal runs."""
    return name in TIMING_KEYS or name.startswith(("time/", "profiling/"))
