"""What a run reports while it goes on: metrics on disk, a progress line on screen."""

from __future__ import annotations

import time
from typing import Any

from transformers import TrainerCallback

from guerdon.train.runs import RunFolder


class MetricsWriter(TrainerCallback):  # type: ignore[misc]  # transformers' callback is untyped here
    """Writes every logged step to the run's metrics.

    Args:
        folder: The run.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Append the metrics of an optimiser step."""
        if not state.is_world_process_zero or not logs or "train_runtime" in logs:
            return
        self.folder.append_metrics(state.global_step, logs)


class ProgressLine(TrainerCallback):  # type: ignore[misc]  # transformers' callback is untyped here
    """A rich progress bar: steps, tokens a second, reward, kept fraction, time to go.

    Args:
        console: A rich console; progress is drawn only where it is a terminal, else a line now and then.
        label: What the bar is called.
        lines: How many plain lines a run prints where there is no terminal.
    """

    def __init__(self, console: Any, label: str, lines: int = 12) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self.console = console
        self.lines = lines
        self.progress = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=console,
        )
        self.task = self.progress.add_task(label, total=None, figures="")
        self._started, self._tokens, self._first_step = 0.0, 0.0, 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start the bar at the step that the run is at."""
        self._started, self._first_step = time.perf_counter(), state.global_step
        self._tokens = float(state.num_input_tokens_seen or 0)
        self.progress.update(self.task, total=state.max_steps, completed=state.global_step)
        if self.console.is_terminal:
            self.progress.start()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Show the newest figures."""
        if not logs or "reward" not in logs:
            return
        seconds = max(time.perf_counter() - self._started, 1e-9)
        rate = (float(state.num_input_tokens_seen) - self._tokens) / seconds
        reward = logs["reward"]
        shown = "none scored" if reward is None else f"{reward:.3f}"
        kept = logs.get("select/trained_fraction", 1.0)
        figures = f"reward {shown}  kept {kept:.0%}  {rate:,.0f} tokens/s"
        self.progress.update(self.task, completed=state.global_step, figures=figures)
        every = max(state.max_steps // self.lines, 1)
        if not self.console.is_terminal and (state.global_step % every == 0 or state.global_step == state.max_steps):
            left = seconds / max(state.global_step - self._first_step, 1) * (state.max_steps - state.global_step)
            self.console.print(f"step {state.global_step}/{state.max_steps}  {figures}  {left:.0f} s to go")

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Close the bar."""
        self.progress.stop()
