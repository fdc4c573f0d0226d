"""Fixed curves."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Rollouts, ops
from guerdon.shape import Blend, LogBoost, ReshapeNegatives, Squash, chain, log_boost, reshape_negatives, squash
from tests.strategies import NAN
from tests.strategies import rollouts as any_rollouts


def test_step_values_of_a_tree() -> None:
    """Shares of successes 1/3, 1/2 and none of three sibling steps."""
    found = log_boost(torch.tensor([1 / 3, 0.5, 0.0], dtype=torch.float64))
    assert found.tolist() == pytest.approx([0.611510, 0.747222, 0.0], abs=1e-6)
    advantage = ops.normalize(found, torch.zeros(3, dtype=torch.int64), eps=1e-4)
    assert advantage.tolist() == pytest.approx([0.398333, 0.739181, -1.137514], abs=1e-6)


@given(x=st.lists(st.floats(0, 1), min_size=2, max_size=6, unique=True), a=st.sampled_from([0.1, 10.0, 1000.0]))
def test_the_boost_is_increasing_and_concave_between_0_and_1(x: list[float], a: float) -> None:
    value = torch.tensor(sorted(x), dtype=torch.float64)
    boosted = log_boost(value, a)
    assert bool((boosted.diff() >= 0).all())
    assert bool((boosted >= value - 1e-12).all())
    assert log_boost(torch.tensor([0.0, 1.0]), a).tolist() == [0.0, 1.0]
    middle = (value[1:] + value[:-1]) / 2
    assert bool((log_boost(middle, a) >= (boosted[1:] + boosted[:-1]) / 2 - 1e-12).all())


@given(rows=st.lists(st.tuples(st.sampled_from([0.0, 1.0, NAN]), st.integers(0, 2)), max_size=10))
def test_weaker_negatives_against_a_loop(rows: list[tuple[float, int]]) -> None:
    outcome, key = torch.tensor([row[0] for row in rows]), torch.tensor([row[1] for row in rows], dtype=torch.int64)
    for (truth, group), value in zip(rows, reshape_negatives(outcome, key).tolist(), strict=True):
        members = [row[0] for row in rows if row[1] == group and not math.isnan(row[0])]
        expected = truth if truth != 0 else -(1 - sum(members) / len(members))
        assert value == pytest.approx(expected, abs=1e-6, nan_ok=True)


def test_rewards_shaped_by_group_and_squashed() -> None:
    outcome = [0.2, 0.8, 0.5, 10.0, 10.0, 13.0]
    value = Rollouts(group=[0, 0, 0, 1, 1, 1], mask=torch.ones(6, 1, dtype=torch.bool), outcome=outcome)
    shaping = Blend(("outcome",), (1.0,), norm="zscore", ddof=0, eps=1e-4)
    expected = [-1.224245, 1.224245, 0, -0.707057, -0.707057, 1.414114]
    assert shaping(value).outcome.tolist() == pytest.approx(expected, abs=1e-5)
    squashed = [-0.840902, 0.840902, 0, -0.608828, -0.608828, 0.888364]
    assert chain(shaping, Squash("tanh"))(value).outcome.tolist() == pytest.approx(squashed, abs=1e-5)
    assert squash(torch.tensor([0.0]), "sigmoid").tolist() == [0.5]
    assert squash(torch.tensor([3.0]), None).tolist() == [3.0]


@given(value=any_rollouts(binary=True))
def test_stages_run_on_any_rollouts(value: Rollouts) -> None:
    for stage in (LogBoost(), LogBoost(target="process"), ReshapeNegatives(), Squash(), Squash("sigmoid", "process")):
        shaped = stage(value)
        for name in ("outcome", "process"):
            assert torch.equal(torch.isnan(getattr(shaped, name)), torch.isnan(getattr(value, name)))


def test_bad_input_is_named() -> None:
    x = torch.tensor([0.5, -0.5])
    for call, match in (
        (lambda: log_boost(x), "x has -0.5"),
        (lambda: log_boost(x, 0.0), "a is 0.0"),
        (lambda: reshape_negatives(x, torch.zeros(2).long()), "row 0 is 0.5"),
        (lambda: squash(x, "relu"), "kind"),
        (lambda: LogBoost(a=0), "LogBoost.a"),
        (lambda: LogBoost(target="length"), "LogBoost.target"),
        (lambda: Squash("relu"), "Squash.kind"),
        (lambda: Squash(target="length"), "Squash.target"),
    ):
        with pytest.raises(ValueError, match=match):
            call()
