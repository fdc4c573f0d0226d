"""The repository keeps its promises: commands, generated tables, imports, versions, names of files."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import guerdon
from guerdon.claims import judge
from guerdon.papers import prof
from tests.docs.pages import ROOT, pages
from tools import hostile_table, papers_table, results_tables, stage_pictures, stage_tables
from tools.generated import current, replaced

PACKAGE = ROOT / "src" / "guerdon"
HEAVY = (
    "accelerate", "datasets", "gguf", "math_verify", "matplotlib", "pandas", "peft", "ray", "reasoning_gym", "rich",
    "tokenizers", "transformers", "trl", "verl",
)  # fmt: skip
DRAWERS = {"utils", "util", "helpers", "helper", "misc", "common", "stuff"}


def python_files() -> list[Path]:
    return [path for folder in ("src", "tests", "tools") for path in sorted((ROOT / folder).rglob("*.py"))]


def project() -> dict[str, object]:
    table: dict[str, object] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return table


def test_readme_shows_the_two_commands() -> None:
    readme = (ROOT / "README.md").read_text()
    makefile = (ROOT / "Makefile").read_text()
    for target in ("demo", "test"):
        assert re.search(rf"^make {target}\b", readme, re.MULTILINE), f"README.md does not show make {target}"
        assert re.search(rf"^{target}: ", makefile, re.MULTILINE), f"the Makefile has no {target}"


def test_ci_runs_lint_and_test() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    assert re.search(r"^make lint test$", script, re.MULTILINE)
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111, ".ci/run is not executable"


@pytest.mark.parametrize(
    ("page", "name", "body"),
    [
        ("README.md", "papers", papers_table.short_table),
        ("docs/papers.md", "papers", papers_table.long_table),
        ("docs/claims.md", "claims", results_tables.claims),
        ("docs/benchmarks.md", "benchmarks", results_tables.benchmarks),
        ("docs/how-to/sandbox.md", "hostile", hostile_table.hostile),
    ],
)
def test_generated_text_is_current(page: str, name: str, body: object) -> None:
    assert callable(body)
    assert current(ROOT / page, name, body()), f"{page} is out of date: run `make tables`"


def test_generated_text_needs_its_markers() -> None:
    assert replaced("a\n<!-- generated: x --><!-- end of x -->\nb", "x", "new").count("new") == 1
    with pytest.raises(ValueError, match="expected the lines"):
        replaced("no markers", "x", "new")


def test_a_claim_is_shown_as_it_came_out() -> None:
    """The page of claims is written from what `guerdon reproduce` stores, failures included."""
    claim = prof.claim()
    figures = {arm: [dict.fromkeys(claim.metrics, 0.5 + 0.01 * seed) for seed in range(3)] for arm in claim.arms}
    result = json.loads(json.dumps(judge(claim, figures)))
    page = results_tables.claim(result, "01-prof")
    assert page.startswith("## 01 prof: fails")
    assert all(f"| {arm} | 0.510 |" in page for arm in claim.arms)
    assert "+0.000 to +0.000" in page


def test_a_benchmark_is_shown_with_its_peer() -> None:
    rows = [
        {"name": "gae", "shape": [4, 8], "seconds": 0.001, "peer": "verl", "peer_seconds": 0.02, "ratio": 20.0},
        {"name": "own", "shape": "tiny", "seconds": 0.5, "peer": None, "peer_seconds": None, "ratio": None},
    ]
    page = results_tables.rows_table(rows)
    assert "| gae | 4 x 8 | 0.001 | verl | 0.02 | 20.00 |  |" in page
    assert "| own | tiny | 0.5 |  |  |  |  |" in page


def test_bare_import_is_light() -> None:
    """`import guerdon` needs torch, numpy and pyarrow, and brings in nothing else that is heavy."""
    code = f"import sys, guerdon; print(*(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_command_line_starts_without_trainers() -> None:
    """`guerdon --version` and `--help` answer at once: they load no trainer and no drawing library."""
    code = f"import sys, guerdon.cli; print(*(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_core_dependencies_are_three() -> None:
    names = {Requirement(text).name for text in project()["dependencies"]}  # type: ignore[attr-defined]
    assert names == {"torch", "numpy", "pyarrow"}


def test_version_is_one() -> None:
    assert metadata.version("guerdon") == guerdon.__version__
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert f"## [{guerdon.__version__}]" in changelog, "CHANGELOG.md has no section of this version"


def test_constraints_fit_the_requirements() -> None:
    """Every version in constraints.txt is one that pyproject.toml allows, and every requirement is pinned."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = {}
    for line in lines:
        text = line.split("#")[0].strip()
        if text:
            requirement = Requirement(text)
            (specifier,) = requirement.specifier
            assert specifier.operator == "==", line
            pins[canonical(requirement.name)] = Version(specifier.version)
    asked = [*project()["dependencies"]]  # type: ignore[misc]
    for extra in project()["optional-dependencies"].values():  # type: ignore[attr-defined]
        asked += extra
    for text in asked:
        requirement = Requirement(text)
        name = canonical(requirement.name)
        if name in ("guerdon", *UNPINNED):
            continue
        assert name in pins, f"constraints.txt does not pin {name}"
        assert requirement.specifier.contains(pins[name]), f"{text} does not allow {pins[name]}"


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


# A tracker that no test uses: there is no version that they ran with.
UNPINNED = ("trackio",)


def test_every_folder_of_the_package_is_a_package() -> None:
    """A folder without __init__.py would be left out by the import checks."""
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    folders |= {parent for folder in folders for parent in folder.parents if PACKAGE in parent.parents}
    missing = [str(folder.relative_to(ROOT)) for folder in sorted(folders) if not (folder / "__init__.py").is_file()]
    assert not missing


def test_no_drawers_for_everything() -> None:
    """A module is named for what it holds."""
    found = [str(path.relative_to(ROOT)) for path in python_files() if path.stem in DRAWERS]
    found += [str(path.parent.relative_to(ROOT)) for path in python_files() if path.parent.name in DRAWERS]
    assert not found


def test_no_paths_of_one_machine() -> None:
    """Neither code nor pages name a folder that only one machine has."""
    local = re.compile(r"/(?:home|Users)/\w+|/root/|(?<![\w.])/work/")
    texts = [*python_files(), *pages(), *sorted((ROOT / "tools").glob("*.sh")), ROOT / "Makefile"]
    found = [str(path.relative_to(ROOT)) for path in texts if path != Path(__file__) and local.search(path.read_text())]
    assert not found


def test_typed_marker_and_licence_are_there() -> None:
    assert (PACKAGE / "py.typed").is_file()
    assert "Apache License" in (ROOT / "LICENSE").read_text()
    assert project()["license"] == "Apache-2.0"


@pytest.mark.parametrize("shelf", stage_tables.SHELVES)
def test_the_page_of_a_shelf_is_current(shelf: str) -> None:
    assert current(ROOT / "docs" / "stages" / f"{shelf}.md", "stages", stage_tables.page(shelf)), "run `make tables`"


def test_stages_are_drawn(tmp_path: Path) -> None:
    from guerdon.credit import GAE, GroupNormalized
    from guerdon.objective import ClippedSurrogate
    from guerdon.shape import Clip, Scale

    assert stage_pictures.drawable("credit", GAE)
    assert not stage_pictures.drawable("shape", Clip)
    assert not stage_pictures.drawable("shape", Scale)
    assert not stage_pictures.drawable("objective", ClippedSurrogate)
    stage_pictures.draw("credit", GroupNormalized, tmp_path / "a.svg")
    assert "advantage of every token" in (tmp_path / "a.svg").read_text()
