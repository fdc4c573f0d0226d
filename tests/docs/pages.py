"""The Markdown pages of the repository and the code blocks in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,})(?P<language>[\w-]*)(?P<rest>.*)$")
_NOT_RUN = re.compile(r"<!-- not run: (?P<reason>.+?) -->")


@dataclass(frozen=True)
class Block:
    """A fenced block: where it is, its language, its text, and why it is not run ("" = it is)."""

    page: Path
    line: int
    language: str
    text: str
    not_run: str

    @property
    def where(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    """All pages for people, in a fixed order."""
    top = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    return [path for path in (*top, *sorted((ROOT / "docs").rglob("*.md"))) if path.is_file()]


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order.

    Raises:
        ValueError: A fence is not closed.
    """
    found: list[Block] = []
    lines = page.read_text(encoding="utf-8").splitlines()
    position = 0
    while position < len(lines):
        opening = _FENCE.match(lines[position])
        if opening is None:
            position += 1
            continue
        start, indent = position, len(opening["indent"])
        closing = opening["indent"] + opening["fence"]
        body: list[str] = []
        position += 1
        while position < len(lines) and lines[position].rstrip() != closing:
            body.append(lines[position][indent:])
            position += 1
        if position == len(lines):
            raise ValueError(f"{page}:{start + 1}: this fence is not closed")
        position += 1
        text = "\n".join(body) + "\n"
        found.append(Block(page, start + 2, opening["language"], text, _reason_above(lines, start)))
    return found


def _reason_above(lines: list[str], fence: int) -> str:
    above = [line for line in lines[:fence] if line.strip()]
    match = _NOT_RUN.search(above[-1]) if above else None
    return match["reason"] if match else ""


def all_blocks(*languages: str) -> list[Block]:
    """The blocks of all pages in some languages."""
    return [block for page in pages() for block in blocks(page) if block.language in languages]
