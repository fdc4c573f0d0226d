"""The claim harness: verdicts, pairing, resumption, failures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from guerdon.claims import Claim, Comparison, Grid, judge, overall, paired_bootstrap, run_claim, verdict
from guerdon.ops.bootstrap import Interval


def run_arm(arm: dict[str, Any], shared: dict[str, Any], seed: int, folder: Path) -> dict[str, float]:
    """A stand-in for an experiment; called by the harness in another process."""
    if arm.get("fails"):
        raise RuntimeError("broken arm")
    (folder / "calls").write_text("called")
    return {"score": arm["level"] + shared["slope"] * seed}


def claim(**changes: Any) -> Claim:
    settings: dict[str, Any] = {
        "number": 99,
        "slug": "stand-in",
        "statement": "",
        "setting": "",
        "tuning": "",
        "runner": "tests.claims.test_claims:run_arm",
        "arms": {"ours": {"level": 1.0}, "theirs": {"level": 0.5}},
        "shared": {"slope": 0.1},
        "comparisons": (Comparison("score", "ours", "theirs", 0.4),),
        "seeds": 3,
        "metrics": {"score": "a score"},
    }
    return Claim(**{**settings, **changes})


def test_verdicts() -> None:
    assert verdict(Interval(0.5, 0.45, 0.6), 0.4) == "holds"
    assert verdict(Interval(0.5, 0.35, 0.6), 0.4) == "inconclusive"
    assert verdict(Interval(0.1, 0.0, 0.3), 0.4) == "fails"
    assert overall(["holds", "holds"]) == "holds"
    assert overall(["holds", "inconclusive"]) == "inconclusive"
    assert overall(["inconclusive", "fails"]) == "fails"


def test_bootstrap_is_paired_seeded_and_covers() -> None:
    interval = paired_bootstrap([0.1, 0.2, 0.3, 0.2])
    assert interval == paired_bootstrap([0.1, 0.2, 0.3, 0.2])
    assert interval.low <= interval.mean <= interval.high
    assert paired_bootstrap([0.2, 0.2]).low == pytest.approx(0.2)
    with pytest.raises(ValueError, match="expected at least one, all finite"):
        paired_bootstrap([])


def test_differences_are_taken_seed_by_seed() -> None:
    figures = {"ours": [{"score": 1.0}, {"score": 5.0}], "theirs": [{"score": 0.5}, {"score": 4.5}]}
    result = judge(claim(), figures)
    assert result["comparisons"][0]["differences"] == [0.5, 0.5]
    assert result["verdict"] == "holds"
    lower = judge(claim(comparisons=(Comparison("score", "ours", "theirs", 0.0, lower_is_better=True),)), figures)
    assert lower["comparisons"][0]["differences"] == [-0.5, -0.5]
    assert lower["verdict"] == "fails"


def test_finished_seeds_are_never_run_again(tmp_path: Path) -> None:
    result = run_claim(claim(), workers=2, cache=tmp_path)
    assert result["verdict"] == "holds"
    assert result["arms"]["ours"]["seeds"] == [{"score": 1.0}, {"score": 1.1}, {"score": 1.2}]
    marks = sorted(tmp_path.rglob("calls"))
    assert len(marks) == 6
    for mark in marks:
        mark.unlink()
    assert run_claim(claim(), workers=2, cache=tmp_path) == result
    assert not list(tmp_path.rglob("calls"))
    changed = run_claim(claim(shared={"slope": 0.2}), workers=2, cache=tmp_path)
    assert changed["arms"]["ours"]["seeds"][1] == {"score": 1.2}


def test_a_failing_arm_is_reported_and_the_others_are_kept(tmp_path: Path) -> None:
    broken = claim(arms={"ours": {"level": 1.0}, "theirs": {"fails": True}})
    with pytest.raises(RuntimeError, match="theirs, seed 0: RuntimeError: broken arm"):
        run_claim(broken, seeds=1, workers=1, cache=tmp_path)
    assert len(list(tmp_path.rglob("result.json"))) == 1


def test_a_comparison_of_unknown_arms_is_refused() -> None:
    with pytest.raises(ValueError, match="names the arm 'nobody'"):
        claim(comparisons=(Comparison("score", "nobody", "theirs", 0.0),))


def tuned_arm(arm, shared, seed, folder):
    """The best rate is the arm's own; measured seeds are told from those of the tuning."""
    return {"score": -abs(shared["rate"] - arm["best"]) + seed / 1e6, "rate": shared["rate"]}


def tuned_claim(**changes):
    settings = {
        "number": 1,
        "slug": "x",
        "statement": "",
        "setting": "",
        "tuning": "",
        "runner": "tests.claims.test_claims:tuned_arm",
        "arms": {"low": {"best": 1.0}, "high": {"best": 9.0}, "fixed": {"best": 1.0, "rate": 5.0}},
        "shared": {"rate": 3.0},
        "comparisons": (),
        "seeds": 2,
        "metrics": {"score": "", "rate": ""},
        "grid": Grid("rate", (1.0, 3.0, 9.0), "score"),
    }
    return Claim(**{**settings, **changes})


def test_every_arm_is_measured_at_its_best_value(tmp_path):
    result = run_claim(tuned_claim(), workers=1, cache=tmp_path)
    rates = {arm: [seed["rate"] for seed in entry["seeds"]] for arm, entry in result["arms"].items()}
    assert rates == {"low": [1.0, 1.0], "high": [9.0, 9.0], "fixed": [3.0, 3.0]}
    assert result["arms"]["low"]["tuning"]["chosen"] == 1.0
    means = result["arms"]["high"]["tuning"]["means"]
    assert list(means) == ["1.0", "3.0", "9.0"]
    assert means["1.0"] == pytest.approx(-8 + 0.001001)
    # The arm that has the setting itself is left as it is.
    assert "tuning" not in result["arms"]["fixed"]
    assert result["grid"]["values"] == [1.0, 3.0, 9.0]
    lower = run_claim(tuned_claim(grid=Grid("rate", (1.0, 9.0), "score", 1, True)), workers=1, cache=tmp_path)
    assert lower["arms"]["low"]["tuning"]["chosen"] == 9.0


def test_a_grid_names_what_there_is():
    with pytest.raises(ValueError, match="grid names the setting 'steps'"):
        tuned_claim(grid=Grid("steps", (1.0,), "score"))
