"""Hooks of mkdocs: pages whose text is a file at the root of the repository, and the pictures of the stages."""

from __future__ import annotations

from typing import Any

from tools.generated import ROOT
from tools.stage_pictures import draw_all

FROM_ROOT = {"contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}


def on_pre_build(**kwargs: Any) -> None:
    """Draw what every stage does to a small group."""
    draw_all(ROOT / "docs" / "images" / "stages")


def on_page_markdown(markdown: str, page: Any, **kwargs: Any) -> str:
    """Return the text of a page, with links as they are seen from docs/."""
    name = FROM_ROOT.get(page.file.src_uri)
    if name is None:
        return markdown
    return (ROOT / name).read_text(encoding="utf-8").replace("](docs/", "](")
