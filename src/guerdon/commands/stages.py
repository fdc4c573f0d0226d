"""`guerdon stages`: every stage with its fields, defaults, source and meaning."""

from __future__ import annotations

import argparse
import json
from typing import Any

from guerdon.shelves import SHELVES, describe, stages


def add(commands: Any) -> None:
    """Declare the command."""
    command = commands.add_parser(
        "stages",
        help="list the stages of every shelf",
        description="Lists every stage with its fields and their defaults, the papers it comes from and its meaning.",
    )
    command.add_argument("shelf", nargs="?", choices=list(SHELVES), help="one shelf only")
    command.add_argument("--json", action="store_true", help="print JSON")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print the stages."""
    shelves = [options.shelf] if options.shelf else list(SHELVES)
    listing = {shelf: [describe(kind) for kind in stages(shelf)] for shelf in shelves}
    if options.json:
        print(json.dumps(listing, indent=2))
        return
    from rich.console import Console

    console = Console(highlight=False)
    for shelf, entries in listing.items():
        console.print(f"[bold]{shelf}[/bold]")
        for entry in entries:
            fields = ", ".join(f"{name}={value}" if value else name for name, value in entry["fields"].items())
            source = f"  [arXiv {', '.join(entry['arxiv'])}]" if entry["arxiv"] else ""
            console.print(f"  {entry['name']}({fields}){source}", markup=False)
            console.print(f"      {entry['meaning']}", markup=False)
