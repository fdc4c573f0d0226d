"""A hook of mkdocs: pages of the site whose text is a file at the root of the repository."""

from __future__ import annotations

from typing import Any

from tools.generated import ROOT

FROM_ROOT = {"contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}


def on_page_markdown(markdown: str, page: Any, **kwargs: Any) -> str:
    """Return the text of a page, with links as they are seen from docs/."""
    name = FROM_ROOT.get(page.file.src_uri)
    if name is None:
        return markdown
    return (ROOT / name).read_text(encoding="utf-8").replace("](docs/", "](")
