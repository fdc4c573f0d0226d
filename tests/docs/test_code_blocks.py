"""The code in README.md, CONTRIBUTING.md and docs/ runs, prints what it says it prints, and names real commands."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import io
import re
import shlex
import sys
import types
from pathlib import Path
from typing import Any

import pytest

import guerdon
from guerdon.cli import parser
from guerdon.commands.methods import build
from guerdon.shelves import stages
from tests.docs.pages import ROOT, Block, all_blocks, blocks, pages

PYTHON_PAGES = [page for page in pages() if any(block.language == "python" for block in blocks(page))]
PRINTED = re.compile(r"^print\(.*\)  # (?P<output>.+)$", re.MULTILINE)
# Every exception is a decision; raise this number only together with a reason on the page.
MOST_NOT_RUN = 6


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PYTHON_PAGES, ids=name_of)
def test_python_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks of a page run in one namespace, from top to bottom, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    # Dataclasses look up the module that they are defined in.
    module = types.ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)
    for block in blocks(page):
        if block.language == "python" and not block.not_run:
            run(block, module.__dict__)


def run(block: Block, namespace: dict[str, Any]) -> None:
    # Blank lines above keep the line numbers of a traceback those of the page.
    code = compile("\n" * (block.line - 1) + block.text, str(block.page), "exec")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, namespace)
    lines = iter(printed.getvalue().splitlines())
    for match in PRINTED.finditer(block.text):
        shown = match["output"]
        assert any(line.strip() == shown for line in lines), (
            f"{block.where}: expected the line {shown!r}; printed was\n{printed.getvalue()}"
        )


def test_few_blocks_are_left_out_and_each_says_why() -> None:
    left_out = [block for block in all_blocks("python") if block.not_run]
    assert all(len(block.not_run.split()) >= 3 for block in left_out), [block.where for block in left_out]
    assert len(left_out) <= MOST_NOT_RUN, [block.where for block in left_out]


def command_lines() -> list[tuple[str, list[str]]]:
    """(where, words) of every `guerdon …` line in the shell blocks."""
    found = []
    for block in all_blocks("bash", "console", "sh"):
        for line in block.text.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            words = words[words.index("-m") + 1 :] if "guerdon.cli" in words else words
            if words and words[0].removeprefix(".venv/bin/") in ("guerdon", "guerdon.cli"):
                found.append((block.where, words[1:]))
    return found


def parsed(words: list[str]) -> argparse.Namespace | int:
    """The options, or the exit code of a command that answers at once (--help) or is refused."""
    try:
        return parser().parse_args(words)
    except SystemExit as leaving:
        return int(leaving.code or 0)


@pytest.mark.parametrize(("where", "words"), command_lines())
def test_commands_are_understood(where: str, words: list[str]) -> None:
    """Every command of the pages parses, and its overrides name real stages and fields."""
    options = parsed([word for word in words if word != "--debug"])
    if isinstance(options, int):
        assert options == 0, f"{where}: guerdon {' '.join(words)}"
        return
    method = getattr(options, "method", None) or getattr(options, "recipe", None)
    if method is not None:
        build(method, options.set)


def test_make_targets_exist() -> None:
    """Every `make TARGET` that a page names is in the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in pages():
        for target in re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(), re.MULTILINE):
            assert target in targets, f"{name_of(page)} names make {target}: there are {sorted(targets)}"


def reference_names() -> list[str]:
    """Everything that the reference pages are written from."""
    pages_of_reference = sorted((ROOT / "docs" / "reference").glob("*.md"))
    return [
        name for page in pages_of_reference for name in re.findall(r"^::: ([\w.]+)$", page.read_text(), re.MULTILINE)
    ]


@pytest.mark.parametrize("name", reference_names())
def test_reference_names_exist(name: str) -> None:
    """A module that was moved is missed here, before the site is built."""
    parent, _, last = name.rpartition(".")
    if parent != "guerdon" or not hasattr(guerdon, last):
        assert importlib.util.find_spec(name) is not None, f"docs/reference names {name}"


@pytest.mark.parametrize("shelf", ["shape", "select", "credit", "objective"])
def test_the_page_of_a_shelf_names_every_stage(shelf: str) -> None:
    assert f"(stages/{shelf}.md)" in (ROOT / "docs" / "pipeline.md").read_text()
    page = (ROOT / "docs" / "stages" / f"{shelf}.md").read_text()
    assert [kind.__name__ for kind in stages(shelf) if f"guerdon.{shelf}.{kind.__name__}]" not in page] == []
