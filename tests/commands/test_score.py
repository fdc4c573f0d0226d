"""`guerdon score` from the command line."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from guerdon.cli import main

BRITTLE = "tests.score.verifiers_for_tests:brittle"


def write(path: Path, rows: list[dict[str, object]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def read(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


ROWS: list[dict[str, object]] = [{"id": 0, "text": "a", "gold": "a"}, {"id": 1, "text": "fail", "gold": "a"}]
FIELDS = ["--response-field", "text", "--target-field", "gold", "--verifier", BRITTLE, "--backend", "inprocess"]


def test_every_row_gets_its_reward(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, output = write(tmp_path / "in.jsonl", [*ROWS, {**ROWS[0], "text": "b"}]), tmp_path / "out.jsonl"
    assert main(["score", source, "-o", str(output), *FIELDS]) == 0
    found = read(output)
    assert [row["reward"] for row in found] == [1.0, None, 0.0]
    assert [row["id"] for row in found] == [0, 1, 0]
    assert found[0]["extracted"] == "a"
    assert "cannot read this" in str(found[1]["reason"])
    shown = capsys.readouterr().err
    assert "0.5000" in shown
    assert "ValueError" in shown


def test_standard_input_and_output(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(json.dumps(row) + "\n" for row in ROWS)))
    assert main(["score", "-", "-o", "-", "--quiet", *FIELDS]) == 0
    shown = capsys.readouterr()
    assert [json.loads(line)["reward"] for line in shown.out.splitlines()] == [1.0, None]
    assert not shown.err


def test_parquet_and_what_undecided_rows_get(tmp_path: Path) -> None:
    source, output = write(tmp_path / "in.jsonl", ROWS), tmp_path / "out.parquet"
    assert main(["score", source, "-o", str(output), "--quiet", "--on-error", "-1", "--prefix", "x_", *FIELDS]) == 0
    table = pq.read_table(output)
    assert table.column("x_reward").to_pylist() == [1.0, -1.0]
    assert "cannot read this" in table.column("x_reason").to_pylist()[1]


def test_a_bad_row_loses_nothing_and_the_run_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source = write(path, [*ROWS, {"id": 2}])
    assert main(["score", source, "-o", str(output), *FIELDS]) == 2
    assert "row 2 has no field 'text': there are ['id']" in capsys.readouterr().err
    assert not output.exists()
    kept = (tmp_path / "out.jsonl.part").read_text().splitlines()
    assert len(kept) == 1 + 2
    write(path, [*ROWS, ROWS[0]])
    assert main(["score", source, "-o", str(output), *FIELDS]) == 0
    assert [row["reward"] for row in read(output)] == [1.0, None, 1.0]
    assert main(["score", source, "-o", str(output), *FIELDS]) == 2
    assert "exists" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--verifier", "maths"], "did you mean 'math'"),
        (["--verifier", "choice", "--option", "parts=x"], "did you mean 'part'"),
        (["--verifier", "choice", "--option", "part"], "expected NAME=VALUE"),
        (["--verifier", "tests.score.absent:x"], "No module named"),
        (["--verifier", BRITTLE, "--option", "a=1"], "takes no options"),
    ],
)
def test_misuse_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    source = write(tmp_path / "in.jsonl", ROWS)
    assert main(["score", source, "-o", str(tmp_path / "o.jsonl"), "--backend", "inprocess", *words]) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert shown.count("\n") == 1


def test_fields_that_are_there_are_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path / "in.jsonl", [{**ROWS[0], "reward": 3}])
    assert main(["score", source, "-o", str(tmp_path / "o.jsonl"), *FIELDS]) == 2
    assert "choose a --prefix" in capsys.readouterr().err
