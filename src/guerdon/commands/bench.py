"""`guerdon bench`: our time against a peer's, side by side in one run."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
from typing import Any

_NAMES = ("control", "likelihood", "ops", "ray", "sandbox", "stages", "trainer", "verify")
SUITES = {name: f"guerdon.bench.{name}" for name in _NAMES}


def add(commands: Any) -> None:
    """Declare the command."""
    command = commands.add_parser("bench", help="measure against TRL, verl, math-verify and others, side by side")
    command.add_argument("suite", choices=sorted(SUITES), help="what to measure")
    command.add_argument("--json", action="store_true", help="print JSON")
    command.add_argument("--quick", action="store_true", help="small sizes, few runs")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Measure and print the rows; ratio = the peer's seconds over ours."""
    rows = [dataclasses.asdict(row) for row in importlib.import_module(SUITES[options.suite]).rows(quick=options.quick)]
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("name", "shape", "ours (s)", "peer", "peer (s)", "ratio", "note")
    for row in rows:
        figures = [row["seconds"], row["peer_seconds"], row["ratio"]]
        ours, theirs, ratio = ("" if value is None else f"{value:.4g}" for value in figures)
        table.add_row(row["name"], str(row["shape"]), ours, row["peer"], theirs, ratio, row.get("note", ""))
    Console().print(table)
