"""`guerdon formalisms`: which ways of stating an objective can say what, from checks that are run."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """Declare the command."""
    command = commands.add_parser(
        "formalisms",
        help="the 17 ways of stating an objective: which dominates which, each cell checked",
        description="Checks every ordered pair of the 11 classes of formalisms: that one can be stated in the other, "
        "on random environments, or that it cannot, by a certificate.",
    )
    command.add_argument("--json", action="store_true", help="print JSON")
    command.add_argument("--dot", type=Path, metavar="FILE", help="write the Hasse diagram as Graphviz text")
    command.add_argument("--picture", type=Path, metavar="FILE", help="draw the Hasse diagram to this PNG")
    command.add_argument("--seed", type=int, default=0, help="of the random environments (default: 0)")
    command.add_argument(
        "--environments", type=int, default=20, help="in how many each embedding is tried (default: 20)"
    )
    command.add_argument("--policies", type=int, default=200, help="how many are compared in each (default: 200)")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Run all checks, print the table, write the diagram.

    Raises:
        ValueError: A number is not at least 1.
        RuntimeError: A check failed.
    """
    from guerdon.control.formalisms import hasse_dot, hasse_edges, hasse_from, relation
    from guerdon.storage import atomic_write

    if options.environments < 1 or options.policies < 1:
        raise ValueError(f"--environments {options.environments}, --policies {options.policies}: expected at least 1")
    cells = relation(options.seed, options.environments, options.policies)
    edges = hasse_from(cells)
    if options.dot:
        text = hasse_dot()
        atomic_write(options.dot, lambda handle: handle.write(text.encode()))
    if options.picture:
        draw(edge_witnesses(edges), options.picture)
    if options.json:
        print(json.dumps(as_json(cells), indent=2))
    else:
        show(cells)
    failed = [f"{cell.upper.name} {cell.lower.name}" for cell in cells if not cell.passed]
    if failed or edges != set(hasse_edges()):
        raise RuntimeError(f"these cells did not pass their checks: {', '.join(failed)}")


def edge_witnesses(edges: Any) -> list[dict[str, str]]:
    """Covering edges from the top, each with an ordering that its upper end states and its lower end cannot."""
    from guerdon.control.formalisms import equivalence_classes, witness_for

    found = []
    rank = {members[0]: place for place, members in enumerate(equivalence_classes())}
    for upper, lower in sorted(edges, key=lambda edge: (rank[edge[0]], rank[edge[1]])):
        witness = witness_for(lower, upper)
        found.append({"upper": upper.name, "lower": lower.name, "witness": witness.statement})
    return found


def as_json(cells: Any) -> dict[str, Any]:
    """Everything as one JSON value."""
    from guerdon.control.formalisms import equivalence_classes, hasse_from

    return {
        "classes": [[member.name for member in members] for members in equivalence_classes()],
        "formalisms": {member.name: member.value for members in equivalence_classes() for member in members},
        "edges": edge_witnesses(hasse_from(cells)),
        "cells": [
            {
                "upper": cell.upper.name,
                "lower": cell.lower.name,
                "kind": cell.kind,
                "passed": cell.passed,
                "evidence": cell.evidence,
            }
            for cell in cells
        ],
    }


def show(cells: Any) -> None:
    """Print the relation, the diagram's edges with their witnesses, and what stands behind the other cells."""
    from guerdon.control.formalisms import equivalence_classes, hasse_from, relation_text

    print(relation_text(cells), end="")
    print("= the same class, > dominates, . does not, ! a check failed\n")
    for members in equivalence_classes():
        print(" = ".join(f"{member.name} ({member.value})" for member in members))
    print("\ncovering edges, and what only the upper one states:")
    for edge in edge_witnesses(hasse_from(cells)):
        print(f"  {edge['upper']} > {edge['lower']}: {edge['witness']}")
    counts = {kind: sum(cell.kind == kind for cell in cells) for kind in ("same", "embeds", "refuted")}
    passed = sum(cell.passed for cell in cells)
    print(f"\n{len(cells)} cells: " + ", ".join(f"{count} {kind}" for kind, count in counts.items()))
    print(f"{passed} of {len(cells)} passed their checks")


def draw(edges: list[dict[str, str]], path: Path) -> None:
    """Draw the Hasse diagram to a PNG, with the edges' witnesses below."""
    import textwrap

    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    from guerdon.control.formalisms import Formalism, equivalence_classes

    places = {
        "PO": (2, 5), "FPR": (1, 4), "TLO": (3, 4), "FTLR": (2, 3), "RRL": (0.2, 2), "ONMR": (1.2, 2), "FTR": (3, 2),
        "RM": (2.2, 1), "LTL": (3.2, 1), "LAR": (4.2, 1), "MR": (1.2, 0),
    }  # fmt: skip
    figure, (axis, below) = pyplot.subplots(2, 1, figsize=(9.5, 10), height_ratios=(5, 3))
    for number, edge in enumerate(edges, 1):
        (x1, y1), (x2, y2) = places[edge["upper"]], places[edge["lower"]]
        axis.plot((x1, x2), (y1, y2), color="0.6", lw=1.2, zorder=1)
        at = ((x1 + x2) / 2, (y1 + y2) / 2)
        axis.text(*at, str(number), ha="center", va="center", fontsize=7, bbox={"fc": "white", "ec": "none", "pad": 1})
    for members in equivalence_classes():
        label = " = ".join(member.name for member in members)
        box = {"boxstyle": "round,pad=0.45", "fc": "#e8f0fa", "ec": "#3a6ea5"}
        axis.text(*places[members[0].name], label, ha="center", va="center", fontsize=10, bbox=box, zorder=2)
    axis.set(xlim=(-0.4, 4.8), ylim=(-0.5, 5.5))
    axis.set_title("What can be stated: each formalism dominates those below", fontsize=12)
    lines = [
        f"{number:2d}  {edge['upper']} > {edge['lower']}: {edge['witness']}" for number, edge in enumerate(edges, 1)
    ]
    wrapped = "\n".join(textwrap.fill(line, 160, subsequent_indent="      ") for line in lines)
    names = ", ".join(f"{member.name} = {member.value}" for member in Formalism)
    text = f"Only the upper one states:\n{wrapped}\n\n{textwrap.fill(names, 160)}"
    below.text(0, 1, text, va="top", fontsize=7.5, family="DejaVu Sans")
    for each in (axis, below):
        each.axis("off")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130, metadata={"Software": "guerdon"})
    pyplot.close(figure)
