from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from guerdon.commands import reward
from guerdon.train.reward.labels import OracleLabels
from tests.score.tiny_models import decoder, tokenizer

short_steps = OracleLabels(lambda response, row: [len(line) < 3 for line in response.splitlines()])


def run(*words: object) -> None:
    parser = argparse.ArgumentParser()
    reward.add(parser.add_subparsers())
    options = parser.parse_args(["reward", *map(str, words)])
    options.run(options)


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def base(folder: Path) -> Path:
    decoder().save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def test_steps_are_labelled_learnt_and_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"prompt": f"{n}", "response": "a\nbbbbb\nc"} for n in range(8)]
    source, labelled, scored = written(tmp_path / "rows.jsonl", rows), tmp_path / "l.jsonl", tmp_path / "s.jsonl"
    run("label", source, "-o", labelled, "--labeller", f"{__name__}:short_steps")
    assert read(labelled)[0]["labels"] == [1.0, 0.0, 1.0]
    model, start = tmp_path / "prm", base(tmp_path / "base")
    settings = ("--read", "step_ends", "--link", "sigmoid", "--learning-rate", 0.01, "--epochs", 20, "--batch", 4)
    run("train", labelled, "-o", model, "--base", start, *settings, "--held-out", labelled)
    run("score", source, "-o", scored, "--model", model)
    (first, *_) = read(scored)
    assert len(first["process"]) == 3
    assert min(first["process"][0], first["process"][2]) > 0.7 > 0.3 > first["process"][1]
    assert first["score_error"] == ""
    assert "lowest held-out loss" in capsys.readouterr().out


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected package"):
        run("label", "x.jsonl", "-o", tmp_path / "o.jsonl", "--labeller", "nobody")
    with pytest.raises(ValueError, match="expected a folder that save_pretrained wrote"):
        run("score", "x.jsonl", "-o", tmp_path / "o.jsonl", "--model", tmp_path)


def test_a_model_and_stored_scores_are_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {"prompt": f"{n}", "response": text, "label": float(text == "a"), "right": int(text == "a")}
        for n in range(6)
        for text in "ab"
    ]
    source, model = written(tmp_path / "rows.jsonl", rows), tmp_path / "orm"
    settings = ("--learning-rate", 0.01, "--epochs", 20, "--batch", 4, "--link", "sigmoid")
    run("train", source, "-o", model, "--base", base(tmp_path / "base"), *settings)
    capsys.readouterr()
    run("evaluate", source, "--model", model)
    assert "100.00" in capsys.readouterr().out
