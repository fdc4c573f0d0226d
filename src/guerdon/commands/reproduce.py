"""`guerdon reproduce`: run the claim of a paper."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from guerdon.papers import claim_file, paper_module


def add(commands: Any) -> None:
    """Declare the command."""
    command = commands.add_parser(
        "reproduce",
        help="run the claim of a paper, and judge it",
        description="Runs every arm with every seed in processes of one thread; finished ones are never run again.",
    )
    command.add_argument("paper", metavar="PAPER", help="the paper's slug, as `guerdon papers` lists it")
    command.add_argument("--seeds", type=int, help="how many seeds (default: the claim's own number)")
    command.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes at a time")
    command.add_argument("--json", action="store_true", help="print the result as JSON")
    command.add_argument("--output", type=Path, default=Path("docs/claims"), help="folder of the result and picture")
    command.add_argument("--work", type=Path, default=Path("runs/claims"), help="folder of finished arms and seeds")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Run the claim, write the result and its picture, print the verdict."""
    from rich.console import Console

    from guerdon.claims.harness import Job, run_claim
    from guerdon.claims.picture import draw
    from guerdon.storage import atomic_write

    if options.seeds is not None and options.seeds < 1:
        raise ValueError(f"--seeds is {options.seeds}: expected at least 1")
    module = paper_module(options.paper)
    claim = module.claim()
    console = Console(stderr=options.json)
    console.print(f"{claim.statement}\n{claim.setting}", highlight=False)

    def report(job: Job, metrics: Mapping[str, float], done: int, total: int) -> None:
        figures = "  ".join(f"{name} {value:.3f}" for name, value in metrics.items())
        console.print(f"{done}/{total}  {job.arm}, seed {job.seed}: {figures}", highlight=False)

    result = run_claim(claim, seeds=options.seeds, workers=options.workers, cache=options.work, on_done=report)
    path = claim_file(module.PAPER, options.output)
    text = json.dumps(result, indent=2) + "\n"
    atomic_write(path, lambda handle: handle.write(text.encode()))
    draw(result, path.with_suffix(".png"))
    if options.json:
        print(text, end="")
        return
    console.print(tables(result))
    console.print(f"verdict: [bold]{result['verdict']}[/bold], written to {path}", soft_wrap=True)


def tables(result: dict[str, Any]) -> Any:
    """The arms' means and the comparisons, for a terminal."""
    from rich.console import Group
    from rich.table import Table

    means = Table("arm", *result["metrics"], title=f"means over {result['seeds']} seeds")
    for arm, entry in result["arms"].items():
        means.add_row(arm, *(f"{entry['mean'][name]:.3f}" for name in result["metrics"]))
    parts = Table("statement", "metric", "difference", "95 % interval", "at least", "verdict")
    for part in result["comparisons"]:
        parts.add_row(
            part["statement"],
            part["metric"],
            f"{part['mean']:+.3f}",
            f"{part['low']:+.3f} to {part['high']:+.3f}",
            f"{part['minimum_effect']:+.3f}",
            part["verdict"],
        )
    return Group(means, parts)
