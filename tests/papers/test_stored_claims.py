"""What is stored of a claim is what the claim says, and its verdict follows from its figures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from guerdon import search
from guerdon.claims.harness import judge
from guerdon.papers import claim_file, paper_module
from guerdon.papers.registry import modules
from guerdon.shelves import SHELVES, stages

FOLDER = Path(__file__).resolve().parents[2] / "docs/claims"
MEASURED = [slug for slug, module in modules().items() if claim_file(module.PAPER, FOLDER).is_file()]


@pytest.mark.parametrize("slug", MEASURED)
def test_the_stored_result_is_that_of_the_claim(slug: str) -> None:
    module = paper_module(slug)
    stored = json.loads(claim_file(module.PAPER, FOLDER).read_text())
    current = module.claim()
    figures = {arm: entry["seeds"] for arm, entry in stored["arms"].items()}
    assert list(figures) == list(current.arms)
    tuning = {arm: entry["tuning"] for arm, entry in stored["arms"].items() if "tuning" in entry}
    assert stored == json.loads(json.dumps(judge(current, figures, tuning)))
    for entry in tuning.values():
        assert list(entry["means"]) == [str(value) for value in current.grid.values]
        best = (min if current.grid.lower_is_better else max)(entry["means"].values())
        assert entry["means"][str(entry["chosen"])] == best
    assert stored["seeds"] >= 5
    assert stored["seeds"] == current.seeds
    assert claim_file(module.PAPER, FOLDER).with_suffix(".png").is_file()


@pytest.mark.parametrize("slug", list(modules()))
def test_a_paper_is_whole(slug: str) -> None:
    module = paper_module(slug)
    paper, claim = module.PAPER, module.claim()
    assert module.__name__ == f"guerdon.papers.{slug.replace('-', '_')}"
    assert (claim.number, claim.slug) == (paper.number, slug)
    assert paper.arxiv in module.__doc__
    assert "differs from the paper" in module.__doc__
    assert claim.runner == f"{module.__name__}:run_arm"
    known = {kind.__name__ for shelf in SHELVES for kind in stages(shelf)} | set(search.__all__)
    assert set(paper.stages) <= known
    # A method that is not about rollouts has no recipe.
    if hasattr(module, "recipe"):
        recipe = module.recipe()
        assert recipe.name == slug
        assert any(stage in str(recipe) for stage in paper.stages)
