"""Writes docs/claims.md and docs/benchmarks.md from the results stored beside them.

Run from the root of the repository: python -m tools.results_tables
"""

from __future__ import annotations

import json
from typing import Any

from tools.generated import ROOT, table, write

DOCS = ROOT / "docs"
SUITES = {
    "ops": "Primitives and credits",
    "trainer": "The trainer",
    "verify": "Verifying math answers",
    "sandbox": "Programs in the sandbox",
    "stages": "Every stage",
    "control": "Finite MDPs, rewards and novelty",
    "likelihood": "Likelihoods of continuations",
}


def claims() -> str:
    """Every claim that was measured: what the paper says, what was compared, what came out."""
    parts = [claim(json.loads(path.read_text()), path.stem) for path in sorted((DOCS / "claims").glob("*.json"))]
    return "\n\n".join(parts) or "No claim has been measured yet."


def claim(result: dict[str, Any], stem: str) -> str:
    """One claim as Markdown."""
    compared = table(
        ["statement", "metric", "difference", "95 % interval", "at least", "verdict"],
        [
            [
                part["statement"] or f"{part['arm']} against {part['baseline']}",
                f"{part['metric'].replace('_', ' ')}: {part['arm']} - {part['baseline']}",
                f"{part['mean']:+.3f}",
                f"{part['low']:+.3f} to {part['high']:+.3f}",
                f"{part['minimum_effect']:+.3f}",
                part["verdict"],
            ]
            for part in result["comparisons"]
        ],
    )
    metrics = list(result["metrics"])
    means = table(
        ["arm", *(name.replace("_", " ") for name in metrics)],
        [[arm, *(f"{entry['mean'][name]:.3f}" for name in metrics)] for arm, entry in result["arms"].items()],
    )
    picture = f"![The metrics of every arm, a dot a seed](claims/{stem}.png)\n\n"
    return (
        f"## {result['number']:02d} {result['slug']}: {result['verdict']}\n\n"
        f"**The paper:** {result['statement']}\n\n**Measured here:** {result['setting']}\n\n"
        f"**Tuning:** {result['tuning']}{chosen(result)}\n\n"
        f"{compared}\n\nMeans over {result['seeds']} seeds:\n\n{means}\n\n"
        f"{picture if (DOCS / 'claims' / f'{stem}.png').is_file() else ''}"
        f"All figures of every seed: [{stem}.json](claims/{stem}.json)."
    )


def chosen(result: dict[str, Any]) -> str:
    """What each arm was tuned to."""
    if "grid" not in result:
        return ""
    grid = result["grid"]
    values = ", ".join(f"{value:g}" for value in grid["values"])
    taken = ", ".join(
        f"{entry['tuning']['chosen']:g} ({arm})" for arm, entry in result["arms"].items() if "tuning" in entry
    )
    return f". Of {grid['setting']} {values} was taken: {taken}"


def benchmarks() -> str:
    """The recorded suites, a table each."""
    parts = []
    for suite, title in SUITES.items():
        path = DOCS / "benchmarks" / f"{suite}.json"
        if path.is_file():
            parts.append(f"## {title}\n\n{rows_table(json.loads(path.read_text()))}")
    return "\n\n".join(parts) or "Nothing has been recorded yet: `make bench` does it."


def rows_table(rows: list[dict[str, Any]]) -> str:
    """Rows of `guerdon bench --json` as a table."""

    def seconds(value: float | None) -> str:
        return "" if value is None else f"{value:.4g}"

    return table(
        ["name", "shape", "guerdon (s)", "peer", "peer (s)", "peer / guerdon", "note"],
        [
            [
                row["name"],
                shape(row["shape"]),
                seconds(row["seconds"]),
                row["peer"] or "",
                seconds(row["peer_seconds"]),
                "" if row["ratio"] is None else f"{row['ratio']:.2f}",
                row.get("note") or "",
            ]
            for row in rows
        ],
    )


def shape(value: Any) -> str:
    """A shape as people write it."""
    return " x ".join(str(size) for size in value) if isinstance(value, list) else str(value)


def main() -> None:
    """Write both pages."""
    write(DOCS / "claims.md", "claims", claims())
    write(DOCS / "benchmarks.md", "benchmarks", benchmarks())


if __name__ == "__main__":
    main()
