"""What a paper's module declares about itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Paper:
    """A published system.

    Attributes:
        number: Its number in the reading list, 1 to 69.
        slug: Its name on the command line and in file names.
        title: The title of the paper.
        arxiv: arXiv id, or "" where there is none.
        year: Year of publication.
        stages: Names of the stages that are the paper's own.
        summary: One line: what the method does.
    """

    number: int
    slug: str
    title: str
    arxiv: str
    year: int
    stages: tuple[str, ...]
    summary: str
