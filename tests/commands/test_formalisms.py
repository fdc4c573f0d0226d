"""`guerdon formalisms`: the relation, its diagram, and what is behind each cell."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

import pytest

from guerdon.commands import formalisms
from guerdon.control.formalisms import Cell, hasse_edges, table

FEW = ("--environments", "1", "--policies", "8")


def command(*words: object) -> None:
    parser = argparse.ArgumentParser()
    formalisms.add(parser.add_subparsers())
    options = parser.parse_args(["formalisms", *map(str, words)])
    options.run(options)


def test_the_table_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    command(*FEW)
    shown = capsys.readouterr().out
    assert "121 cells: 11 same, 40 embeds, 70 refuted" in shown
    assert "121 of 121 passed their checks" in shown
    assert shown.count(">") >= 40 + 13
    assert "FTR (functions from trajectories to reals) = INMR" in shown
    assert "RM > MR: two choices in a row" in shown


def test_all_of_it_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    command(*FEW, "--json")
    found = json.loads(capsys.readouterr().out)
    assert len(found["cells"]) == 121
    assert all(cell["passed"] and cell["evidence"] for cell in found["cells"])
    assert {(edge["upper"], edge["lower"]) for edge in found["edges"]} == {
        (upper.name, lower.name) for upper, lower in hasse_edges()
    }
    assert all(edge["witness"] for edge in found["edges"])
    assert len(found["formalisms"]) == 17
    assert len(found["classes"]) == 11


def test_the_diagram_is_drawn_and_written(tmp_path: Path) -> None:
    command(*FEW, "--picture", tmp_path / "a" / "hasse.png", "--dot", tmp_path / "hasse.dot")
    assert (tmp_path / "a" / "hasse.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "hasse.dot").read_text().startswith("digraph formalisms")


def test_a_failed_check_is_a_failed_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = table.relation(environments=1, policies=3)

    def broken(*settings: int) -> list[Cell]:
        return [dataclasses.replace(cell, passed=place != 5) for place, cell in enumerate(cells)]

    monkeypatch.setattr("guerdon.control.formalisms.relation", broken)
    with pytest.raises(RuntimeError, match=f"{cells[5].upper.name} {cells[5].lower.name}"):
        command()
    assert "120 of 121" in capsys.readouterr().out


@pytest.mark.parametrize("option", ["--environments", "--policies"])
def test_numbers_are_checked(option: str) -> None:
    with pytest.raises(ValueError, match="expected at least 1"):
        command(option, 0)
