"""A run that is killed at any moment and resumed ends as if it had never been killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from guerdon.train.checkpoints import latest, sorted_checkpoints
from guerdon.train.runs import RunFolder
from tests.train import tiny

ROOT = Path(__file__).resolve().parents[2]
KILL_POINTS = {
    "checkpoint half written": """
from guerdon.train import checkpoints
real, calls = checkpoints.save_state, [0]
def save_state(*given):
    calls[0] += 1
    if calls[0] == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    real(*given)
checkpoints.save_state = save_state
""",
    "checkpoint written, not committed": """
from guerdon.train import checkpoints
real, calls = checkpoints.commit, [0]
def commit(*given):
    calls[0] += 1
    if calls[0] == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*given)
checkpoints.commit = commit
""",
    "batch stored, not trained on": """
from guerdon.train.runs import RunFolder
real = RunFolder.write_batch
def write_batch(self, iteration, batch):
    real(self, iteration, batch)
    if iteration == 3:
        os.kill(os.getpid(), signal.SIGKILL)
RunFolder.write_batch = write_batch
""",
    "line of metrics half written": """
from guerdon.train.runs import RunFolder
real = RunFolder.append_metrics
def append_metrics(self, step, values):
    if step == 3:
        with self.metrics.open("a") as handle:
            handle.write('{"step": 3, "los')
        os.kill(os.getpid(), signal.SIGKILL)
    real(self, step, values)
RunFolder.append_metrics = append_metrics
""",
}
HEAD = "import os, signal, sys\n"
TAIL = "\nfrom guerdon.cli import main\nsys.exit(main(sys.argv[1:]))\n"


def launch(folder: Path, *words: str, patch: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "GUERDON_CACHE": str(folder / "cache"), "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-c", HEAD + patch + TAIL, *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400, check=False)


def train(folder: Path, name: str, patch: str = "") -> subprocess.CompletedProcess[str]:
    words = ["train", "grpo", "--model", str(folder / "model"), "--output", str(folder / name), "--steps", "5"]
    words += [
        "--prompts",
        "4",
        "--max-tokens",
        "12",
        "--evaluate",
        "16",
        "--save-every",
        "1",
        "--keep-checkpoints",
        "2",
    ]
    words += ["--set", "objective.kl_coef=0.01", "--task-option", "length=3", "--learning-rate", "0.01", "--quiet"]
    return launch(folder, *words, patch=patch)


def rows(run: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k != "timing"} for row in RunFolder(run).read_metrics()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("interrupted")
    tiny.model(folder)
    whole = train(folder, "whole")
    assert whole.returncode == 0, whole.stderr[-2000:]
    return folder


@pytest.mark.parametrize("point", KILL_POINTS)
def test_a_killed_run_resumes_bit_for_bit(point: str, folder: Path) -> None:
    name = point.replace(" ", "-").replace(",", "")
    killed = train(folder, name, patch=KILL_POINTS[point])
    assert killed.returncode == -9, killed.stderr[-2000:]
    run, whole = folder / name, folder / "whole"
    assert not (run / "summary.json").exists()
    assert latest(run / "checkpoints") is not None
    resumed = launch(folder, "train", "--resume", str(run), "--quiet")
    assert resumed.returncode == 0, resumed.stderr[-2000:]
    assert (run / "model/model.safetensors").read_bytes() == (whole / "model/model.safetensors").read_bytes()
    assert rows(run) == rows(whole)
    assert [row["step"] for row in rows(run)] == [1, 2, 3, 4, 5]
    assert len(sorted_checkpoints(run / "checkpoints")) == 2
    for stored in RunFolder(whole).rollout_files():
        assert (run / "rollouts" / stored.name).read_bytes() == stored.read_bytes()
    summaries = [json.loads((path / "summary.json").read_text()) for path in (run, whole)]
    assert summaries[0]["after"] == summaries[1]["after"]


def test_a_run_is_never_overwritten_and_its_settings_stay(folder: Path) -> None:
    again = train(folder, "whole")
    assert again.returncode == 2
    assert "exists: resume it with --resume" in again.stderr
    changed = launch(folder, "train", "--resume", str(folder / "whole"), "--steps", "9")
    assert changed.returncode == 2
    assert "leave out --steps" in changed.stderr


def test_stored_rollouts_can_be_replayed(folder: Path) -> None:
    words = ["replay", str(folder / "whole"), "--recipe", "grpo", "--set", "credit.scale=none", "--output"]
    replayed = launch(folder, *words, str(folder / "replayed"))
    assert replayed.returncode == 0, replayed.stderr[-2000:]
    assert "80 responses in 5 batches" in replayed.stdout
    assert len(list((folder / "replayed").glob("*.parquet"))) == 5
