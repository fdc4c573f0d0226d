"""Writes the table of hostile programs in docs/how-to/sandbox.md from the suite itself.

Run from the root of the repository: python -m tools.hostile_table
"""

from __future__ import annotations

from tests.score.sandbox.hostile import HOSTILE
from tools.generated import ROOT, table, write

PAGE = ROOT / "docs" / "how-to" / "sandbox.md"


def hostile() -> str:
    """Categories with their numbers of programs, and the beginning of one of them."""
    rows = []
    for category, programs in HOSTILE.items():
        shortest = min(programs, key=len).replace("\n", "; ")
        rows.append([category, str(len(programs)), f"`{shortest}`"])
    total = sum(map(len, HOSTILE.values()))
    return f"{table(['category', 'programs', 'one of them'], rows)}\n\n{total} programs in all."


def main() -> None:
    """Write the table."""
    write(PAGE, "hostile", hostile())


if __name__ == "__main__":
    main()
