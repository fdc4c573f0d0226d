"""Composite rewards, weighted sums and gates of verifiers."""

from __future__ import annotations

import math
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Rollouts
from guerdon.score.composite import Composite, GatedVerdict, WeightedVerdicts, composite, weighted_sum
from guerdon.score.verdict import Verdict
from guerdon.score.verify.length import Length
from guerdon.score.verify.word_overlap import ExactMatch, WordF1

NAN = math.nan
numbers = st.one_of(st.just(NAN), st.floats(-2, 2))


@dataclass
class Fixed:
    """A verifier that gives what it was made with, and counts its calls."""

    reward: float
    calls: list[str] = field(default_factory=list)

    def __call__(self, response: str, target: str, row: Mapping[str, Any]) -> Verdict:
        self.calls.append(response)
        if self.reward == -99:
            raise RuntimeError("broken")
        return Verdict(self.reward, f"x{self.reward:g}", "" if self.reward == self.reward else "not known")


def test_composite_examples() -> None:
    reward = torch.tensor([0.0, 0.75, 0.5, 0.25, 0.0])
    form = torch.tensor([True, True, True, True, False])
    assert composite(reward, form).tolist() == [-0.5, 0.75, 0.5, 0.25, -1.0]
    boxed = composite(torch.tensor([1.0, 0.0, 0.0]), torch.tensor([1.0, 1.0, 0.0]))
    assert boxed.tolist() == [1.0, -0.5, -1.0]


@given(rows=st.lists(st.tuples(numbers | st.just(0.0), st.sampled_from([0.0, 1.0, NAN])), max_size=8))
def test_composite_equals_the_slow_rule(rows: list[tuple[float, float]]) -> None:
    reward = torch.tensor([row[0] for row in rows], dtype=torch.float64)
    form = torch.tensor([row[1] for row in rows], dtype=torch.float64)
    expected = [
        NAN if math.isnan(ok) else -1.0 if ok == 0 else NAN if math.isnan(r) else -0.5 if r == 0 else r
        for r, ok in rows
    ]
    result = composite(reward, form)
    assert result.dtype == torch.float64
    assert result.tolist() == pytest.approx(expected, nan_ok=True)


def test_composite_refuses() -> None:
    with pytest.raises(ValueError, match="expected"):
        composite(torch.zeros(2), torch.ones(3, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"row 1 is 0\.5"):
        composite(torch.zeros(2), torch.tensor([1.0, 0.5]))


def test_composite_stage() -> None:
    rollouts = Rollouts(
        group=torch.zeros(4, dtype=torch.int64),
        mask=torch.ones(4, 1, dtype=torch.bool),
        outcome=torch.tensor([1.0, 0.0, NAN, 1.0]),
        columns={"format": [1.0, True, 0, None]},
    )
    stage = Composite()
    assert stage(rollouts).outcome.tolist() == pytest.approx([1.0, -0.5, -1.0, NAN], nan_ok=True)
    assert stage.reads == ("outcome", "format")


@given(terms=st.lists(st.tuples(numbers, st.floats(0, 3)), min_size=1, max_size=5))
def test_weighted_sum(terms: list[tuple[float, float]]) -> None:
    values, weights = [value for value, _ in terms], [weight for _, weight in terms]
    used = [(value, weight) for value, weight in terms if weight]
    missing = any(math.isnan(value) for value, _ in used)
    filled = sum(weight * (0.5 if math.isnan(value) else value) for value, weight in used)
    assert weighted_sum(values, weights) == pytest.approx(NAN if missing else filled, nan_ok=True)
    assert weighted_sum(values, weights, 0.5) == pytest.approx(filled)
    present = [(value, weight) for value, weight in used if not math.isnan(value)]
    whole, left = sum(weight for _, weight in used), sum(weight for _, weight in present)
    expected = NAN if missing and not present else sum(v * w for v, w in present) * (whole / left if missing else 1.0)
    if left > 1e-6 or not missing:
        assert weighted_sum(values, weights, "rescale") == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    ("weights", "missing"),
    [((1.0,), "nan"), ((1.0, math.inf), "nan"), ((1.0, 1.0), "skip"), ((1.0, -1.0), "rescale")],
)
def test_weights_are_checked(weights: tuple[float, ...], missing: str) -> None:
    with pytest.raises(ValueError, match=r"weights|missing"):
        weighted_sum([1.0, 2.0], weights, missing)
    with pytest.raises(ValueError, match=r"weights|missing"):
        WeightedVerdicts((Fixed(1.0), Fixed(2.0)), weights, missing)


def test_weighted_verdicts() -> None:
    unused = Fixed(5.0)
    both = WeightedVerdicts((Fixed(1.0), Fixed(0.5), unused), (0.8, 0.4, 0.0), extracted=1)
    assert both("r", "t", {}) == Verdict(1.0, "x0.5")
    assert unused.calls == []
    missing = (Fixed(1.0), Fixed(NAN), Fixed(-99))
    verdict = WeightedVerdicts(missing, (1.0, 1.0, 1.0))("r", "t", {})
    assert math.isnan(verdict.reward)
    assert verdict.reason == "Fixed: not known; Fixed: RuntimeError: broken"
    assert WeightedVerdicts(missing, (1.0, 1.0, 1.0), "rescale")("r", "t", {}).reward == pytest.approx(3.0)
    assert WeightedVerdicts(missing, (1.0, 1.0, 1.0), 0.0)("r", "t", {}).reward == pytest.approx(1.0)
    with pytest.raises(ValueError, match="extracted"):
        WeightedVerdicts((Fixed(1.0),), (1.0,), extracted=1)


@pytest.mark.parametrize(
    ("gate", "reward", "calls"),
    [(1.0, 0.5, 1), (0.0, -1.0, 0), (NAN, NAN, 0), (-99, NAN, 0)],
)
def test_gate(gate: float, reward: float, calls: int) -> None:
    then = Fixed(0.5)
    verdict = GatedVerdict(Fixed(gate), then, closed=-1.0)("r", "t", {})
    assert verdict.reward == pytest.approx(reward, nan_ok=True)
    assert len(then.calls) == calls
    assert bool(verdict.reason) == (calls == 0)


def test_gate_choices() -> None:
    assert GatedVerdict(Fixed(1.0), Fixed(0.5), add_gate=True)("r", "t", {}).reward == 1.5
    assert GatedVerdict(Fixed(0.5), Fixed(0.7), threshold=0.5)("r", "t", {}).reward == 0.0
    assert GatedVerdict(Fixed(NAN), Fixed(0.7), undecided=0.0)("r", "t", {}).reward == 0.0
    assert math.isnan(GatedVerdict(Fixed(1.0), Fixed(NAN))("r", "t", {}).reward)


def test_what_combinations_declare() -> None:
    inner = ExactMatch(aliases="aliases", timeout=2.0)
    both = WeightedVerdicts((inner, WordF1(timeout=3.0)), (1.0, 1.0))
    gated = pickle.loads(pickle.dumps(GatedVerdict(Length(unit="tokens", timeout=1.0), both)))
    assert gated.timeout == 6.0
    assert gated.reads == ("tokens", "aliases")
    assert gated.version != GatedVerdict(Length(unit="words"), both).version
    assert gated("NYC", "nyc", {"tokens": 3, "aliases": None}).reward == 2.0
