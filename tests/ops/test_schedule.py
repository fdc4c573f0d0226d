"""Numbers that change over a run."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon import ops
from guerdon.ops.schedule import KINDS


def test_the_schedules_of_the_methods() -> None:
    linear = [ops.schedule(step, 100, start=0.5) for step in (0, 40, 100, 130)]
    assert linear == pytest.approx([0.5, 0.3, 0.0, 0.0])
    cosine = [ops.schedule(step, 100, "cosine") for step in (0, 25, 50, 75, 100, 140)]
    assert cosine == pytest.approx([1.0, 0.853553, 0.5, 0.146447, 0.0, 0.0], abs=1e-6)
    geometric = [ops.schedule(step, 200, "geometric", 0.1, 1e-3) for step in (0, 50, 200, 300)]
    assert geometric == pytest.approx([0.1, 0.031623, 0.001, 0.001], abs=1e-6)
    assert ops.schedule(500, 1000, "exponential") == pytest.approx(math.exp(-0.5))
    assert ops.schedule(1500, 12000, "exponential") == pytest.approx(0.8825, abs=1e-4)
    ramp = [ops.schedule(step, 5000, "ramp") for step in (0, 1000, 5000, 9000)]
    assert ramp == pytest.approx([0.0, 0.2, 1.0, 1.0])
    assert [ops.schedule(step, 10, "switch") for step in (0, 9, 10, 11)] == [1.0, 1.0, 0.0, 0.0]


@given(kind=st.sampled_from(KINDS), first=st.integers(0, 300), later=st.integers(0, 300), total=st.integers(1, 200))
def test_schedules_go_one_way_between_their_ends(kind: str, first: int, later: int, total: int) -> None:
    early, late = sorted((first, later))
    a, b = ops.schedule(early, total, kind, 0.8, 0.2), ops.schedule(late, total, kind, 0.8, 0.2)
    assert 0.2 - 1e-12 <= b <= a + 1e-12 <= 0.8 + 2e-12
    assert ops.schedule(0, total, kind, 0.8, 0.2) == 0.8


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "geometric"])
def test_what_is_left_of_one_is_a_schedule_of_the_same_kind(kind: str) -> None:
    for step in (0, 3, 10, 20):
        rest = ops.schedule(step, 10, kind, 0.6, 0.9)
        assert 1 - ops.schedule(step, 10, kind, 0.4, 0.1) == pytest.approx(rest)


def test_a_schedule_as_a_value() -> None:
    by_iteration = ops.Schedule("linear", start=0.5, end=0.0, total=10)
    assert by_iteration.at(iteration=5, progress=0.0) == 0.25
    by_progress = ops.Schedule("switch", share=0.25)
    assert [by_progress.at(0, progress) for progress in (0.0, 0.24, 0.25, 1.0)] == [1.0, 1.0, 0.0, 0.0]
    assert ops.value_at(0.3, 7, 0.5) == 0.3
    assert ops.value_at(by_iteration, 10, 0.0) == 0.0
    assert repr(ops.Schedule()) == "Schedule(kind='linear', start=None, end=None, total=None, share=1.0)"


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ((1, 0, "linear"), "total"),
        ((-1, 5, "linear"), "iteration"),
        ((1, 5, "sawtooth"), "kind"),
        ((1, 5, "geometric", 0.1, 0.0), "one sign"),
        ((float("nan"), 5, "linear"), "iteration"),
    ],
)
def test_bad_schedules_are_refused(arguments: tuple[Any, ...], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        ops.schedule(*arguments)


def test_bad_schedules_are_refused_when_made() -> None:
    with pytest.raises(ValueError, match="share"):
        ops.Schedule(share=0.0)
    with pytest.raises(ValueError, match="kind"):
        ops.Schedule("sawtooth")
