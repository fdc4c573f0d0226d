"""`guerdon design-reward` on worlds and files."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from guerdon.commands import design_reward
from guerdon.control.designed_reward import InfeasibleDesign, check_invariance
from guerdon.control.worlds.four_rooms import four_rooms, rooms_reward
from tests.control.test_designed_reward import RBAR, TAU


def command(*words: object) -> None:
    parser = argparse.ArgumentParser()
    design_reward.add(parser.add_subparsers())
    options = parser.parse_args(["design-reward", *map(str, words)])
    options.run(options)


def answer(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, Any]:
    command(*words, "--json")
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.fixture
def worked(tmp_path: Path) -> Path:
    path = tmp_path / "chain.json"
    path.write_text(json.dumps({"tau": TAU.tolist(), "reward": RBAR.tolist(), "gamma": 0.9}))
    return path


def test_the_worked_chain_of_a_file(worked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = answer(capsys, "--mdp", worked, "--budget", 3, "--horizons", "1,2,4")
    assert found["support"] == [3, 1, 2]
    assert found["informativeness"] == pytest.approx(-0.004674, abs=1e-6)
    assert found["informativeness_of_the_original"] == pytest.approx(-0.041246, abs=1e-6)
    assert found["same_optimum"] is True
    assert found["violation"] == pytest.approx(check_invariance(found["reward"], TAU, RBAR, 0.9), abs=1e-12)
    every = answer(capsys, "--mdp", worked, "--horizons", "1,2,4")
    assert every["informativeness"] == pytest.approx(0, abs=1e-9)


def test_rewards_from_files(worked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "mdp.npz", tau=TAU, gamma=0.9)
    np.savez(tmp_path / "both.npz", tau=TAU, gamma=0.9, reward=RBAR)
    np.save(tmp_path / "truth.npy", RBAR)
    (tmp_path / "truth.json").write_text(json.dumps(RBAR.tolist()))
    rest = ("--budget", 2, "--horizons", "1,2,4")
    expected = answer(capsys, "--mdp", worked, *rest)
    for words in (("mdp.npz", "truth.npy"), ("mdp.npz", "truth.json"), ("both.npz", None)):
        more = () if words[1] is None else ("--reward", tmp_path / words[1])
        assert answer(capsys, "--mdp", tmp_path / words[0], *more, *rest) == expected


def test_what_is_written(worked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("out.npy", "out.json"):
        found = answer(capsys, "--mdp", worked, "--budget", 2, "-o", tmp_path / name)
        path = tmp_path / name
        table = np.load(path) if path.suffix == ".npy" else np.array(json.loads(path.read_text()))
        np.testing.assert_array_equal(table, found["reward"])


def test_rooms_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    command("--world", "four-rooms", "--budget", 2, "--horizons", "1,4")
    shown = capsys.readouterr().out
    assert "certificate: what is optimal for it is optimal for the original: yes" in shown
    assert "39" in shown


@pytest.mark.parametrize("world", ["line-key", "distractor-chain"])
def test_other_worlds_by_name(world: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = answer(capsys, "--world", world, "--horizons", "1,4")
    assert found["same_optimum"] is True
    assert found["informativeness"] >= found["informativeness_of_the_original"] - 1e-7


def test_state_only(capsys: pytest.CaptureFixture[str]) -> None:
    found = answer(capsys, "--world", "four-rooms", "--state-only", "--horizons", "1,4")
    assert all(len(set(row)) == 1 for row in found["reward"])
    mdp = four_rooms()
    assert check_invariance(found["reward"], mdp.tau, rooms_reward(mdp), 0.95) <= 1e-5


def test_a_gymnasium_environment(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("gymnasium")
    found = answer(capsys, "--world", "FrozenLake-v1", "--gamma", 0.95, "--horizons", "1,4")
    assert found["states"] == 17
    assert found["same_optimum"] is True


def test_mistakes_are_named(worked: Path, tmp_path: Path) -> None:
    (tmp_path / "bare.json").write_text(json.dumps({"tau": TAU.tolist()}))
    np.save(tmp_path / "truth.npy", RBAR)
    for words, message in (
        (("--mdp", tmp_path / "bare.json"), "--reward is missing"),
        (("--mdp", tmp_path / "bare.json", "--reward", tmp_path / "truth.npy"), "--gamma is missing"),
        (("--mdp", worked, "--horizons", "1,x"), "--horizons 1,x"),
        (("--mdp", worked, "-o", "out.txt"), "--output out.txt"),
        (("--mdp", worked, "--budget", "0"), "budget is 0"),
        (("--world", "nowhere"), "nowhere"),
    ):
        with pytest.raises(ValueError, match=message):
            command(*words)
    with pytest.raises(InfeasibleDesign):
        command("--mdp", worked, "--rmax", "0.01")
