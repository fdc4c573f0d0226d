"""Writes the tables of papers in README.md and docs/papers.md from the modules of `guerdon.papers`.

Run from the root of the repository: python -m tools.papers_table
"""

from __future__ import annotations

from guerdon.papers import Paper, all_papers, claim_verdict, modules
from tools.generated import ROOT, table, write

README, PAGE, CLAIMS = ROOT / "README.md", ROOT / "docs" / "papers.md", ROOT / "docs" / "claims"


def verdict(paper: Paper) -> str:
    """The verdict of the paper's claim, as it was last measured."""
    return claim_verdict(paper, CLAIMS) or "not measured yet"


def source(paper: Paper) -> str:
    """The title, linked where there is a preprint."""
    if not paper.arxiv:
        return f"{paper.title} ({paper.year})"
    return f"[{paper.title}](https://arxiv.org/abs/{paper.arxiv}) ({paper.year})"


def short_table() -> str:
    """The table of README.md."""
    rows = [
        [f"{paper.number:02d}", f"`{paper.slug}`", source(paper), paper.summary, verdict(paper)]
        for paper in all_papers()
    ]
    return table(["no.", "name", "paper", "what it does", "claim"], rows)


def long_table() -> str:
    """The table of docs/papers.md."""
    rows = [
        [
            f"{paper.number:02d}",
            f"[`{paper.slug}`][{modules()[paper.slug].__name__}]",
            source(paper),
            paper.summary,
            ", ".join(f"`{stage}`" for stage in paper.stages),
            verdict(paper),
        ]
        for paper in all_papers()
    ]
    return table(["no.", "module", "paper", "what it does", "stages of its own", "claim"], rows)


def main() -> None:
    """Write both tables."""
    write(README, "papers", short_table())
    write(PAGE, "papers", long_table())


if __name__ == "__main__":
    main()
