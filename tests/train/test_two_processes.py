"""Two processes with gloo equal one, with groups kept whole."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.train import tiny

ROOT = Path(__file__).resolve().parents[2]


def run(folder: Path, aggregation: str, processes: int) -> dict[str, Any]:
    output = folder / f"{aggregation}-{processes}.pt"
    launcher = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "0", "--standalone", "-m"]
    command = [sys.executable, *(launcher if processes > 1 else ["-m"]), "tests.train.distributed_run"]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, str(folder), str(output), aggregation, str(processes)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    result: dict[str, Any] = torch.load(output, weights_only=True)
    return result


@pytest.mark.parametrize("aggregation", ["trl", "grpo", "dapo"])
def test_two_processes_equal_one(aggregation: str, tmp_path: Path) -> None:
    tiny.model(tmp_path)
    one, two = run(tmp_path, aggregation, 1), run(tmp_path, aggregation, 2)
    assert [kept[1] for kept in one["kept"]] == [kept[1] for kept in two["kept"]]
    assert [kept[0] for kept in one["kept"]] == [kept[0] for kept in two["kept"]]
    assert any(kept[0] < 16 for kept in one["kept"])
    torch.testing.assert_close(two["weights"], one["weights"], atol=2e-5, rtol=0)


def test_a_second_pass_in_two_processes(tmp_path: Path) -> None:
    """Each process asks about one of its own responses; groups stay whole, and no group holds both kinds."""
    tiny.model(tmp_path)
    found = run(tmp_path, "second pass", 2)
    assert len(found["kinds"]) == 3
    for batch in found["kinds"]:
        assert len(batch) == 16 + 2 * 4
        kinds = dict(batch)
        assert set(batch) == set(kinds.items())
        assert sorted(kinds.values()) == ["solve"] * 4 + ["verify"] * 2
        assert all(sum(group == name for group, _ in batch) == 4 for name in kinds)
