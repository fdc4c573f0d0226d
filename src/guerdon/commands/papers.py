"""`guerdon papers`: what is implemented, and how the claims came out."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from guerdon.papers import Paper, all_papers, claim_verdict, modules


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
    from rich.table import Table

    table = Table("no.", "slug", "title", "arXiv", "stages", "claim")
    for entry in rows:
        verdict = entry["verdict"] or "not run"
        stages = ", ".join(entry["stages"])
        table.add_row(f"{entry['number']:02d}", entry["slug"], entry["title"], entry["arxiv"], stages, verdict)
    Console().print(table)
