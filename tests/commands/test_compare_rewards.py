"""`guerdon compare-rewards` on worlds, files and stored rollouts."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse

from guerdon import Rollouts
from guerdon.commands import compare_rewards
from guerdon.control.finite_mdp import FiniteMDP, save_mdp
from guerdon.control.starc import starc_distance
from guerdon.storage import write_parquet
from tests.commands import rewards_for_tests as mine

MINE = "tests.commands.rewards_for_tests"


def command(*words: object) -> None:
    parser = argparse.ArgumentParser()
    compare_rewards.add(parser.add_subparsers())
    options = parser.parse_args(["compare-rewards", *map(str, words)])
    options.run(options)


def answer(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, Any]:
    command(*words, "--json")
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_functions_on_a_world_of_ones_own(capsys: pytest.CaptureFixture[str]) -> None:
    words = (f"a={MINE}:table", f"b={MINE}:arrival", f"c={MINE}:shaped_arrival", "--world", f"{MINE}:worked")
    mine.asked.clear()
    found = answer(capsys, *words)
    assert found["rewards"] == ["a", "b", "c"]
    assert found["gamma"] == 0.5
    assert [pair["distance"] for pair in found["pairs"]] == pytest.approx([1.629584, 1.629584, 0], abs=1e-6)
    assert [(pair["first"], pair["second"]) for pair in found["pairs"]] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert found["pairs"][0]["regret"] == {"lower": pytest.approx(1), "upper": pytest.approx(1)}
    assert found["pairs"][0]["regret_back"]["lower"] == pytest.approx(0.36)
    assert found["pairs"][2]["regret"] == {"lower": pytest.approx(0, abs=1e-9), "upper": pytest.approx(0, abs=1e-9)}
    # Only what can happen is asked about.
    assert (0, 0, 1) not in mine.asked
    exact = answer(capsys, *words, "--exact")
    assert exact["pairs"][0]["regret_back"] == {"worst": pytest.approx(1), "method": "enumeration"}
    epic = answer(capsys, *words, "--canon", "epic")
    assert epic["pairs"][0]["distance"] == pytest.approx(1.635886, abs=1e-6)
    assert (0, 0, 1) in mine.asked


def test_the_table_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    command(f"a={MINE}:table", f"b={MINE}:arrival", "--world", f"{MINE}:worked", "--exact")
    shown = capsys.readouterr().out
    assert "1.6296" in shown
    assert "2 states, 2 actions, canonicalisation val, norm 2, discount 0.5" in shown
    assert "enumeration" in shown


def test_files_of_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    generator = np.random.default_rng(0)
    tau = generator.dirichlet(np.ones(3), (3, 2))
    rewards = [generator.normal(size=shape) for shape in ((3, 2, 3), (3, 2), (3,))]
    (tmp_path / "mdp.json").write_text(json.dumps({"tau": tau.tolist(), "gamma": 0.8}))
    np.save(tmp_path / "one.npy", rewards[0])
    np.savez(tmp_path / "two.npz", pairs=rewards[1], states=rewards[2])
    (tmp_path / "three.json").write_text(json.dumps(rewards[2].tolist()))
    words = (tmp_path / "one.npy", tmp_path / "two.npz", f"last={tmp_path / 'three.json'}")
    found = answer(capsys, *words, "--mdp", tmp_path / "mdp.json", "--norm", "tau-1", "--canon", "minimal")
    assert found["rewards"] == ["one", "pairs", "states", "last"]
    expected = starc_distance(rewards[0], rewards[1], tau, 0.8, "minimal", "tau-1", "tau-1")
    assert found["distances"][0][1] == pytest.approx(expected)
    assert found["distances"][2][3] == 0


@pytest.mark.parametrize("gamma", [None, 0.7])
def test_sparse_files(tmp_path: Path, capsys: pytest.CaptureFixture[str], gamma: float | None) -> None:
    generator = np.random.default_rng(0)
    tau = sparse.csr_matrix(generator.dirichlet(np.full(4, 0.2), 8))
    reward = sparse.csr_matrix(generator.normal(size=(8, 4)))
    save_mdp(FiniteMDP(tau, np.eye(4)[1], gamma), tmp_path / "mdp.npz")
    sparse.save_npz(tmp_path / "reward.npz", reward)
    np.save(tmp_path / "pairs.npy", generator.normal(size=(4, 2)))
    words = [tmp_path / "reward.npz", tmp_path / "pairs.npy", f"{MINE}:arrival", "--mdp", tmp_path / "mdp.npz"]
    found = answer(capsys, *words, *(["--gamma", 0.7] if gamma is None else []))
    expected = starc_distance(
        reward.toarray().reshape(4, 2, 4), np.arange(4.0)[None, None] + np.zeros((4, 2, 4)), tau, 0.7
    )
    assert found["distances"][0][2] == pytest.approx(expected)
    assert (found["states"], found["actions"], found["gamma"]) == (4, 2, 0.7)


def test_a_gymnasium_environment_and_its_own_reward(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("gymnasium")
    words = ("own", f"{MINE}:arrival", "--world", "FrozenLake-v1", "--gamma", 0.95)
    found = answer(capsys, *words)
    assert found["states"] == 17
    assert 0.1 < found["pairs"][0]["distance"] < 2
    # Walking to the highest number is not what opens the lake's goal.
    assert found["pairs"][0]["regret"]["upper"] > 0.05


def test_a_world_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    chain = "guerdon.control.worlds.goal_chain:goal_reward"
    found = answer(capsys, f"goal={chain}", f"{MINE}:arrival", "--world", "goal-chain")
    assert (found["states"], found["gamma"]) == (9, 0.9)
    assert found["pairs"][0]["distance"] > 0.1


def test_scores_of_stored_rollouts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    generator = np.random.default_rng(0)
    outcome = generator.integers(0, 2, 32).astype(float)
    rollouts = Rollouts(
        group=torch.arange(8).repeat_interleave(4),
        mask=torch.ones(32, 2, dtype=torch.bool),
        step=torch.tensor([[0, 1]]).expand(32, 2),
        outcome=outcome,
        process=torch.as_tensor(generator.normal(size=(32, 2))),
        columns={"model": (outcome + 0.2 * generator.normal(size=32)).tolist()},
    )
    write_parquet(rollouts, tmp_path / "rows.parquet")
    words = ("outcome", "process", "judge=model", "--rollouts", tmp_path / "rows.parquet")
    found = answer(capsys, *words)
    near, far = found["distances"][0][2], found["distances"][0][1]
    assert near < 0.7 < far
    assert set(found["pairs"][0]) == {"first", "second", "distance", "noise_floor", "low", "high", "samples"}
    assert found["gamma"] == 1
    command(*words)
    shown = capsys.readouterr().out
    assert f"{far:.4f}" in shown
    assert "noise floor" in shown


def test_the_heat_map_is_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "maps" / "heat.png"
    answer(capsys, f"{MINE}:table", f"{MINE}:arrival", "--world", f"{MINE}:worked", "--heat-map", path)
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((f"{MINE}:table", "--world", f"{MINE}:worked"), "expected two or more rewards"),
        ((f"{MINE}:table", f"{MINE}:table", "--world", f"{MINE}:worked"), "two rewards are called"),
        ((f"{MINE}:table", f"{MINE}:absent", "--world", f"{MINE}:worked"), "absent"),
        ((f"{MINE}:table", "own", "--world", f"{MINE}:worked"), "only a gymnasium environment"),
        ((f"{MINE}:table", f"{MINE}:arrival", "--world", f"{MINE}:no_discount"), "--gamma is missing"),
        ((f"{MINE}:table", f"{MINE}:arrival", "--world", f"{MINE}:nothing"), "int is no finite MDP"),
        ((f"{MINE}:table", f"{MINE}:arrival", "--world", "nowhere"), "--world nowhere: expected one of"),
        (("table", f"{MINE}:arrival", "--world", f"{MINE}:worked"), "expected module:attribute"),
        ((f"{MINE}:table", f"{MINE}:arrival", "--world", f"{MINE}:worked", "--norm", "0"), "norm is '0'"),
        ((f"{MINE}:table", f"{MINE}:arrival", "--world", f"{MINE}:worked", "--canon", "x"), "canon is 'x'"),
        (("a", "b", "--mdp", "mdp.txt"), "expected an MDP as .npz or .json"),
        (("a", "b", "--rollouts", "rows", "--exact"), "no --exact"),
        (("a", "b", "--rollouts", "rows", "--norm", "tau-2"), "expected a number"),
    ],
)
def test_mistakes_are_named(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        command(*words)


def test_bad_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "words.json").write_text('["a"]')
    with pytest.raises(ValueError, match="expected tables of numbers"):
        command(tmp_path / "words.json", f"{MINE}:table", "--world", f"{MINE}:worked")
    (tmp_path / "mdp.json").write_text('{"mu0": [1.0]}')
    with pytest.raises(ValueError, match="expected 'tau'"):
        command("a", "b", "--mdp", tmp_path / "mdp.json")
    (tmp_path / "mdp.json").write_text('{"tau": [[[0.5]]]}')
    with pytest.raises(ValueError, match=r"mdp\.json: tau\[0, 0\]"):
        command("a", "b", "--mdp", tmp_path / "mdp.json")
