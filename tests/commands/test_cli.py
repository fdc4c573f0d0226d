"""The command line: help, listings, dry run, errors of one line, replay."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from guerdon import Rollouts, __version__, write_parquet
from guerdon.cli import main
from guerdon.storage import read_parquet


def outcome_of(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    code = main(words)
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome_of(["--version"], capsys)[:2] == (0, f"guerdon {__version__}\n")
    code, shown, _ = outcome_of(["--help"], capsys)
    assert code == 0
    assert "guerdon train prof" in shown
    for command in ("train", "reproduce", "replay", "papers", "bench"):
        assert outcome_of([command, "--help"], capsys)[0] == 0


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 2, "required"),
        (["trian"], 2, "invalid choice"),
        (["train"], 2, "expected a METHOD"),
        (["train", "prov"], 2, "did you mean 'prof'?"),
        (["train", "prof", "--set", "select.n_remov=3"], 2, "did you mean 'n_remove'?"),
        (["train", "prof", "--stepps", "3"], 2, "did you mean --steps?"),
        (["train", "prof", "--steps", "0"], 2, "steps is 0: expected at least 1"),
        (["train", "--resume", "no/such/run"], 2, "is not a run"),
        (["reproduce", "nothing"], 2, "no paper 'nothing'"),
        (["replay", "no/such/run", "--recipe", "prof"], 2, "expected a Parquet file, or a run"),
    ],
)
def test_misuse_is_one_clear_line(
    words: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found, _, error = outcome_of(words, capsys)
    assert found == code
    assert message in error
    assert error.count("\n") == 1


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert "Traceback" in outcome_of(["train", "prov", "--debug"], capsys)[2]


def test_papers_lists_what_there_is(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, shown, _ = outcome_of(["papers", "--json", "--claims", str(tmp_path)], capsys)
    assert code == 0
    papers = json.loads(shown)
    first = papers[0]
    assert (first["number"], first["slug"], first["arxiv"]) == (1, "prof", "2509.03403")
    assert first["module"] == "guerdon.papers.prof"
    assert first["verdict"] is None
    assert "prof" in outcome_of(["papers"], capsys)[1]


def test_replay_prints_what_is_kept_and_writes_it(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    stored = Rollouts(
        group=[0, 0, 0, 0],
        mask=[[1, 1]] * 4,
        step=[[0, 1]] * 4,
        outcome=[1.0, 1.0, 0.0, float("nan")],
        process=[[0.9, 0.9], [0.1, 0.2], [0.5, 0.5], [0.5, 0.5]],
        columns={"response": ["a", "b", "c", "d"]},
    )
    source = write_parquet(stored, tmp_path / "rollouts.parquet")
    target = tmp_path / "replayed.parquet"
    words = ["replay", str(source), "--recipe", "prof", "--set", "select.n_remove=1", "--output", str(target)]
    code, shown, error = outcome_of(words, capsys)
    assert code == 0, error
    assert "ConsistencyFilter(n_remove=1" in shown
    result = read_parquet(target)
    assert result.columns["dropped_because"] == ("", "low-consistency correct", "", "unscored")
    assert result.columns["kept"] == (True, False, True, False)
    assert result.tokens["advantage"].shape == (4, 2)


def test_a_dry_run_needs_no_training(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from tests.train import tiny

    tiny.model(tmp_path)
    words = ["train", "prof", "--dry-run", "--model", str(tmp_path / "model"), "--output", str(tmp_path / "run")]
    code, shown, error = outcome_of(words, capsys)
    assert code == 0, error
    for expected in ("ConsistencyFilter", "128 sampled, 64 trained on", "weights", "process"):
        assert expected in shown
    assert not (tmp_path / "run").exists()


def test_vllm_settings_reach_trl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import trl

    from guerdon.papers import prof
    from guerdon.train.config import RunConfig
    from guerdon.train.launch import grpo_config
    from guerdon.train.runs import RunFolder

    given: dict[str, object] = {}
    monkeypatch.setattr(trl, "GRPOConfig", lambda **settings: given.update(settings))
    grpo_config(RunConfig(use_vllm=True, vllm_mode="server"), prof.recipe(), RunFolder(tmp_path))
    assert given["use_vllm"] is True
    assert given["vllm_mode"] == "server"
    assert given["num_generations"] == 8


def test_stages_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stages", "--json"]) == 0
    listing = json.loads(capsys.readouterr().out)
    assert list(listing) == ["rollout", "score", "shape", "select", "credit", "objective"]
    credit = {entry["name"]: entry for entry in listing["credit"]}
    assert credit["GroupNormalized"]["fields"]["eps"] == "0.0001"
    assert "2402.03300" in credit["GroupNormalized"]["arxiv"]
    assert all(entry["meaning"] for entries in listing.values() for entry in entries)
    assert main(["stages", "select"]) == 0
    shown = capsys.readouterr().out
    assert "ConsistencyFilter(" in shown
    assert "GroupNormalized" not in shown
