"""`guerdon papers`: what is implemented, and how the claims came out."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from guerdon.papers import Paper, all_papers, claim_verdict, modules, unavailable

_WIDE = 110


def add(commands: Any) -> None:
    """Declare the command."""
    command = commands.add_parser("papers", help="list the implemented papers and the verdicts of their claims")
    command.add_argument("--json", action="store_true", help="print JSON")
    command.add_argument("--claims", type=Path, default=Path("docs/claims"), help="folder of claim results")
    command.set_defaults(run=run)


def row(paper: Paper, claims: Path) -> dict[str, Any]:
    """What is listed of a paper."""
    return {
        "number": paper.number,
        "slug": paper.slug,
        "title": paper.title,
        "arxiv": paper.arxiv,
        "stages": list(paper.stages),
        "module": modules()[paper.slug].__name__,
        "verdict": claim_verdict(paper, claims),
    }


def run(options: argparse.Namespace) -> None:
    """Print the list."""
    rows = [row(paper, options.claims) for paper in all_papers()]
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    from rich.console import Console
    from rich.table import Column, Table

    console = Console()
    # A narrow terminal has room for what identifies a paper; `--json` has all of it anywhere.
    wide = console.width >= _WIDE
    table = Table("no.", Column("slug", no_wrap=True), Column("title", ratio=1), Column("arXiv", no_wrap=True))
    if wide:
        table.add_column("stages", ratio=1)
    table.add_column("claim", no_wrap=True)
    for entry in rows:
        stages = [", ".join(entry["stages"])] if wide else []
        cells = [f"{entry['number']:02d}", entry["slug"], entry["title"], entry["arxiv"]]
        table.add_row(*cells, *stages, entry["verdict"] or "not run")
    console.print(table)
    for name, package in unavailable().items():
        console.print(f"not listed: {name} needs {package}, which is not installed (pip install 'guerdon\\[control]')")
