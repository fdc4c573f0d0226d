"""Writes docs/stages/*.md, a page a shelf, from the stages' own documentation.

Run from the root of the repository: python -m tools.stage_tables
"""

from __future__ import annotations

import inspect
from typing import Any

from guerdon.shelves import describe, stages
from tools.generated import ROOT, write
from tools.stage_pictures import drawable

DOCS = ROOT / "docs"
SHELVES = ("shape", "select", "credit", "objective")


def page(shelf: str) -> str:
    """Every stage of a shelf: what it does, its fields, where it comes from, and a picture where one can be made."""
    return "\n\n".join(entry(shelf, kind) for kind in stages(shelf))


def entry(shelf: str, kind: type) -> str:
    """One stage as Markdown."""
    facts = describe(kind)
    first, *rest = explanation(kind)
    lines = [f"## {facts['name']}", first, *rest, signature(shelf, facts)]
    if facts["arxiv"]:
        links = ", ".join(f"[arXiv {number}](https://arxiv.org/abs/{number})" for number in facts["arxiv"])
        lines.append(f"Source: {links}.")
    if drawable(shelf, kind):
        lines.append(f"![What {facts['name']} does to a small group](../images/stages/{shelf}-{facts['name']}.svg)")
    return "\n\n".join(lines)


def signature(shelf: str, facts: dict[str, Any]) -> str:
    """The stage with its defaults, linked to the reference."""
    fields = ", ".join(f"{name}={value}" if value else name for name, value in facts["fields"].items())
    return f"```text\n{facts['name']}({fields})\n```\n\n[Reference][guerdon.{shelf}.{facts['name']}]"


def explanation(kind: type) -> list[str]:
    """The paragraphs of a stage's documentation that stand before its sections."""
    paragraphs = []
    for paragraph in (inspect.getdoc(kind) or "").split("\n\n"):
        if paragraph.split("\n")[0].rstrip() in ("Attributes:", "Args:", "Raises:", "Example:", "Returns:"):
            break
        paragraphs.append(" ".join(paragraph.split()))
    return paragraphs or [""]


def main() -> None:
    """Write all pages."""
    for shelf in SHELVES:
        write(DOCS / "stages" / f"{shelf}.md", "stages", page(shelf))


if __name__ == "__main__":
    main()
