"""One reward from dimensions: worked example, invariants, incomplete responses."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Rollouts
from guerdon.shape.dimension_reward import DimensionReward, dimension_reward

NAN = math.nan
THIRD = 1 / 3
SCORES = {
    "conf": torch.tensor([-1.2, -0.6, -2.4, -0.6], dtype=torch.float64),
    "rel": torch.tensor([0.9, 0.4, 0.7, 0.2], dtype=torch.float64),
    "coh": torch.tensor([2.0, -1.0, 0.0, -1.0], dtype=torch.float64),
}
WEIGHTS = {"conf": THIRD, "rel": THIRD, "coh": THIRD}
GROUP = torch.zeros(4, dtype=torch.int64)


def test_the_worked_group() -> None:
    found = dimension_reward(SCORES, WEIGHTS, GROUP)
    assert found.tolist() == pytest.approx([0.977620, -0.185695, -0.358636, -0.433289], abs=1e-6)
    single = dimension_reward(SCORES, {"conf": 1.0, "rel": 0.0, "coh": 0.0}, GROUP)
    assert single.tolist() == pytest.approx([0.0, 0.816497, -1.632993, 0.816497], abs=1e-6)


@given(st.floats(0.1, 9.0), st.floats(-5.0, 5.0), st.integers(0, 10**6))
def test_a_positive_line_through_a_dimension_changes_nothing(slope: float, offset: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = {name: torch.rand(9, generator=generator, dtype=torch.float64) for name in WEIGHTS}
    group = torch.randint(3, (9,), generator=generator)
    moved = {**scores, "rel": slope * scores["rel"] + offset}
    before, after = (dimension_reward(given, WEIGHTS, group) for given in (scores, moved))
    torch.testing.assert_close(before, after, atol=1e-6, rtol=0)
    for index in set(group.tolist()):
        assert float(before[group == index].sum()) == pytest.approx(0.0, abs=1e-9)


def test_a_weight_of_0_removes_a_dimension_even_if_it_is_not_scored() -> None:
    broken = {**SCORES, "coh": torch.full((4,), NAN, dtype=torch.float64)}
    weights = {"conf": 0.5, "rel": 0.5, "coh": 0.0}
    without = dimension_reward({k: SCORES[k] for k in ("conf", "rel")}, {"conf": 0.5, "rel": 0.5}, GROUP)
    assert torch.equal(dimension_reward(broken, weights, GROUP), without)
    assert bool(torch.isnan(dimension_reward(broken, WEIGHTS, GROUP)).all())


def test_incomplete_responses_are_the_last_of_their_group() -> None:
    scores = {name: torch.cat([value, torch.tensor([99.0, NAN])]) for name, value in SCORES.items()}
    group = torch.tensor([0, 0, 0, 0, 0, 7])
    complete = torch.tensor([True] * 4 + [False, False])
    found = dimension_reward(scores, WEIGHTS, group, complete=complete)
    # They stay out of means and deviations.
    assert found[:4].tolist() == pytest.approx([0.977620, -0.185695, -0.358636, -0.433289], abs=1e-6)
    assert float(found[4]) == float(found[3])
    assert math.isnan(found[5])


def rollouts() -> Rollouts:
    return Rollouts(
        group=GROUP,
        mask=torch.ones(4, 1, dtype=torch.bool),
        outcome=[1.0, 1.0, 0.0, 0.0],  # type: ignore[arg-type]
        columns={
            "dimension/confidence": SCORES["conf"].tolist(),
            "dimension/relevance": SCORES["rel"].tolist(),
            "dimension/coherence": SCORES["coh"].tolist(),
            "dimension/complete": [True] * 4,
        },
    )


def test_the_stage() -> None:
    expected = [0.977620, -0.185695, -0.358636, -0.433289]
    shaped = DimensionReward()(rollouts())
    assert shaped.columns["drm"] == pytest.approx(tuple(expected), abs=1e-5)
    assert shaped.outcome.tolist() == [1.0, 1.0, 0.0, 0.0]
    assert DimensionReward(write="outcome")(rollouts()).outcome.tolist() == pytest.approx(expected, abs=1e-5)
    both = DimensionReward(("outcome", "drm"), (1.0, 1.0), complete="", write="both")(shaped)
    spread = (sum(value**2 for value in expected) / 4) ** 0.5
    assert both.columns["both"][0] == pytest.approx(1.0 + expected[0] / spread, abs=1e-4)


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="expected one a term"):
        DimensionReward(weights=(1.0,))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="norm is 'max'"):
        DimensionReward(norm="max")
