"""Training in several phases: each leaves a folder that the next ones read, and a plan that died goes on where it was.

A phase is a name, what it does, and the settings that decide its result. What it leaves lies in a folder of its own:
data, a model, a run. A phase that is finished is never run again; one that was interrupted is entered anew with its
folder as it was left, and goes on from its last checkpoint where it is a trainer's.

Example:
    >>> import tempfile
    >>> def sample(workspace):
    ...     _ = workspace.path("numbers.txt").write_text("1 2 3")
    ...     return {"rows": 3.0}
    >>> def fit(workspace):
    ...     numbers = workspace.artefact("data", "numbers.txt").read_text().split()
    ...     return {"sum": float(sum(map(int, numbers)))}
    >>> plan = Plan("example", (Phase("data", sample), Phase("fit", fit, {"order": 1})))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     plan.run(folder, quiet=True)
    {'data': {'rows': 3.0}, 'fit': {'sum': 6.0}}
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from guerdon.overrides import nearest
from guerdon.train.runs import write_json

_DONE = "phase.json"


@dataclass(frozen=True)
class Workspace:
    """What a phase sees.

    Attributes:
        folder: The phase's own folder; it exists, and holds what an interrupted attempt left.
        earlier: Name of each finished phase -> its folder.
        results: Name of each finished phase -> its metrics.
    """

    folder: Path
    earlier: Mapping[str, Path] = field(default_factory=dict)
    results: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def path(self, name: str) -> Path:
        """A file or folder of the phase's own."""
        return self.folder / name

    def artefact(self, phase: str, name: str) -> Path:
        """A file or folder that an earlier phase left.

        Raises:
            ValueError: There is no such phase before this one.
            FileNotFoundError: It did not leave that.
        """
        if phase not in self.earlier:
            raise ValueError(f"no phase {phase!r} before this one; {nearest(phase, self.earlier)}")
        found = self.earlier[phase] / name
        if not found.exists():
            left = ", ".join(sorted(entry.name for entry in self.earlier[phase].iterdir() if entry.name != _DONE))
            raise FileNotFoundError(
                f"phase {phase!r} left no {name!r} in {self.earlier[phase]}: it left {left or 'nothing'}"
            )
        return found


@dataclass(frozen=True)
class Phase:
    """One phase of a plan.

    Attributes:
        name: Unique in its plan; the name of its folder.
        run: Does the work and returns metrics, or None.
        settings: JSON values that decide the result: a finished phase with other settings is not taken for this one.
    """

    name: str
    run: Callable[[Workspace], Mapping[str, float] | None]
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.name or not all(letter.isalnum() or letter in "-_" for letter in self.name):
            raise ValueError(f"Phase.name is {self.name!r}: expected letters, digits, - and _")


@dataclass(frozen=True)
class Plan:
    """Phases, one after the other.

    Attributes:
        name: What the plan is called.
        phases: In their order.
    """

    name: str
    phases: tuple[Phase, ...]

    def __post_init__(self) -> None:
        names = [phase.name for phase in self.phases]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice or not names:
            raise ValueError(f"Plan.phases has {twice or 'no phase'}{' twice' if twice else ''}: expected unique names")

    def __str__(self) -> str:
        lines = [f"plan {self.name}"]
        for number, phase in enumerate(self.phases, 1):
            settings = ", ".join(f"{key}={value!r}" for key, value in phase.settings.items())
            lines.append(f"  {number}. {phase.name}{f' ({settings})' if settings else ''}")
        return "\n".join(lines)

    def run(
        self, folder: str | Path, *, restart_from: str | None = None, quiet: bool = False
    ) -> dict[str, dict[str, float]]:
        """Run what is not done yet.

        Args:
            folder: Of the plan; each phase has a numbered folder in it.
            restart_from: This phase and all after it are removed and run anew.
            quiet: Print nothing to standard error.

        Returns:
            Name of each phase -> its metrics.

        Raises:
            ValueError: A finished phase was run with other settings, or there is no phase to restart from.
        """
        folders = {phase.name: Path(folder) / f"{place:02d}-{phase.name}" for place, phase in enumerate(self.phases, 1)}
        if restart_from is not None:
            self._remove(folders, restart_from)
        results: dict[str, dict[str, float]] = {}
        before = ""
        for phase in self.phases:
            before = _fingerprint(before, phase)
            mine = folders[phase.name]
            finished = _finished(mine, phase, before)
            if finished is None:
                _say(quiet, f"{self.name}: {phase.name} ...")
                earlier = {name: folders[name] for name in results}
                finished = _carried_out(mine, phase, before, Workspace(mine, earlier, dict(results)))
            else:
                _say(quiet, f"{self.name}: {phase.name} was done before")
            results[phase.name] = finished
        return results

    def _remove(self, folders: Mapping[str, Path], first: str) -> None:
        names = list(folders)
        if first not in names:
            raise ValueError(f"restart_from: no phase {first!r}; {nearest(first, names)}")
        for name in names[names.index(first) :]:
            shutil.rmtree(folders[name], ignore_errors=True)


def training(name: str, make: Callable[[Workspace], Any], settings: Mapping[str, Any] | None = None) -> Phase:
    """A phase that trains with a trainer of transformers or TRL, and leaves its model as `model`.

    Args:
        name: Of the phase.
        make: Builds the trainer; its `output_dir` should lie in the workspace's folder, so that it goes on from its
            last checkpoint after an interruption.
        settings: See `Phase`.
    """

    def run(workspace: Workspace) -> dict[str, float]:
        from transformers.trainer_utils import get_last_checkpoint

        trainer = make(workspace)
        output = Path(trainer.args.output_dir)
        checkpoint = get_last_checkpoint(str(output)) if output.is_dir() else None
        outcome = trainer.train(resume_from_checkpoint=checkpoint)
        trainer.save_model(str(workspace.path("model")))
        return {key: float(value) for key, value in outcome.metrics.items() if isinstance(value, int | float)}

    return Phase(name, run, settings or {})


def _fingerprint(before: str, phase: Phase) -> str:
    """What decides a phase's result: its settings and all that came before it."""
    about = json.dumps([before, phase.name, phase.settings], sort_keys=True)
    return hashlib.sha256(about.encode()).hexdigest()


def _finished(folder: Path, phase: Phase, fingerprint: str) -> dict[str, float] | None:
    """The metrics of a phase that was finished, or None."""
    marker = folder / _DONE
    if not marker.is_file():
        return None
    stored = json.loads(marker.read_text())
    if stored["fingerprint"] != fingerprint:
        was, now = stored["settings"], json.loads(json.dumps(dict(phase.settings)))
        changed = [
            f"{key} was {was.get(key)!r}, is {now.get(key)!r}" for key in {*was, *now} if was.get(key) != now.get(key)
        ]
        why = "; ".join(sorted(changed)) or "a phase before it had other settings"
        raise ValueError(
            f"phase {phase.name!r} in {folder} was run with other settings ({why}): expected the same, another folder, "
            f"or restart_from={phase.name!r}"
        )
    return {key: float("nan") if value is None else float(value) for key, value in stored["metrics"].items()}


def _carried_out(folder: Path, phase: Phase, fingerprint: str, workspace: Workspace) -> dict[str, float]:
    folder.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    metrics = {key: float(value) for key, value in (phase.run(workspace) or {}).items()}
    about = {"name": phase.name, "settings": dict(phase.settings), "fingerprint": fingerprint, "metrics": metrics}
    # Written last: its presence says that the phase is finished.
    write_json(folder / _DONE, {**about, "seconds": time.monotonic() - start})
    return metrics


def _say(quiet: bool, text: str) -> None:
    if not quiet:
        print(text, file=sys.stderr, flush=True)
