"""Rows of files, and a journal that survives being killed."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from guerdon.score.journal import Journal, field, read_rows, text

ROWS = [{"response": "4", "target": 4}, {"response": "é\n5", "extra": [1, {"a": None}]}]


def test_rows_of_lines_parquet_and_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = "\n\n".join(json.dumps(row) for row in ROWS) + "\n"
    (tmp_path / "a.jsonl").write_text(lines)
    assert list(read_rows(str(tmp_path / "a.jsonl"))) == ROWS
    monkeypatch.setattr("sys.stdin", io.StringIO(lines))
    assert list(read_rows("-")) == ROWS
    pq.write_table(pa.Table.from_pylist(ROWS[:1]), tmp_path / "a.parquet")
    assert list(read_rows(str(tmp_path / "a.parquet"))) == ROWS[:1]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"a": 1}\n{"a": \n', "line 2: .*expected one JSON object a line"),
        ("a.jsonl", "[1]\n", "line 1 is a list: expected a JSON object"),
        ("a.csv", "a,b\n", "expected a name that ends in"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        list(read_rows(str(tmp_path / name)))
    with pytest.raises(ValueError, match="expected a file, or -"):
        list(read_rows(str(tmp_path / "absent.jsonl")))


def test_fields_and_texts() -> None:
    row = {"a.b": 1, "choices": [{"text": "x"}]}
    assert field(row, "a.b", 0) == 1
    assert field(row, "choices.0.text", 0) == "x"
    for name in ("choices.1.text", "choices.x", "a"):
        with pytest.raises(ValueError, match=rf"row 7 has no field '{name}': there are \['a.b', 'choices'\]"):
            field(row, name, 7)
    assert text([{"role": "user", "content": "q"}, {"role": "assistant", "content": "r"}], "response", 0) == "r"
    assert text(4, "target", 0) == "4"
    for wrong in (None, True, [], {"content": "x"}):
        with pytest.raises(ValueError, match="target in row 3 is a"):
            text(wrong, "target", 3)


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_a_killed_run_is_gone_on_with(tmp_path: Path, ending: str) -> None:
    output = tmp_path / f"out.{ending}"
    first = Journal(output, {"verifier": "math"})
    assert first.done == 0
    first.append(ROWS[:1])
    first.close()
    with first.path.open("a") as file:
        file.write('{"half')
    with pytest.raises(ValueError, match="other settings"):
        Journal(output, {"verifier": "choice"})
    second = Journal(output, {"verifier": "math"})
    assert second.done == 1
    second.append([{"response": "é\n5", "extra": [1]}])
    assert not output.exists()
    second.finish()
    assert not second.path.exists()
    found = list(read_rows(str(output)))
    if ending == "jsonl":
        assert found == [ROWS[0], {"response": "é\n5", "extra": [1]}]
    else:
        assert found == [{**ROWS[0], "extra": None}, {"response": "é\n5", "target": None, "extra": [1]}]
    with pytest.raises(ValueError, match="exists"):
        Journal(output, {})


def test_rows_without_a_common_schema_cannot_be_parquet(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "out.parquet", {})
    journal.append([{"a": 1}, {"a": "text"}])
    with pytest.raises(ValueError, match=r"write \.jsonl instead"):
        journal.finish()
    assert journal.path.exists()
    with pytest.raises(ValueError, match="ends in"):
        Journal(tmp_path / "out.csv", {})
