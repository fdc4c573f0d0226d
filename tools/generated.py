"""Text that a tool writes between two markers of a Markdown file."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def markers(name: str) -> tuple[str, str]:
    """The lines that enclose the generated text of a name."""
    return f"<!-- generated: {name} -->", f"<!-- end of {name} -->"


def replaced(text: str, name: str, body: str) -> str:
    """Put a body between the markers of a text.

    Args:
        text: The whole file.
        name: Which markers.
        body: What stands between them afterwards.

    Raises:
        ValueError: The markers are missing, or out of order.
    """
    begin, end = markers(name)
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"expected the lines {begin} and {end}, in this order")
    return f"{before}{begin}\n\n{body.strip()}\n\n{end}{after}"


def current(path: Path, name: str, body: str) -> bool:
    """Whether a file holds this body between its markers already."""
    text = path.read_text(encoding="utf-8")
    return replaced(text, name, body) == text


def write(path: Path, name: str, body: str) -> None:
    """Put a body between the markers of a file, and say so if that changed it."""
    if current(path, name, body):
        return
    path.write_text(replaced(path.read_text(encoding="utf-8"), name, body), encoding="utf-8")
    print(f"{path.relative_to(ROOT)}: {name} written anew")


def table(heads: list[str], rows: list[list[str]]) -> str:
    """A Markdown table; a bar inside a cell is escaped."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
