"""The stage benchmark leaves no stage out, and counts what it says it counts."""

from __future__ import annotations

import math

import pytest

from guerdon.bench import stages as bench
from guerdon.bench.stage_inputs import GROUP, STEPS, Fields, rollouts


def test_every_stage_with_defaults_is_measured() -> None:
    names = [row.name for row in bench.rows(quick=True)]
    assert names == [f"{shelf} {kind.__name__}" for shelf, kind in bench.kinds()]
    assert {"credit GAE", "credit Fork", "credit TurnDiscounted", "objective ClippedSurrogate"} <= set(names)


def test_the_batch_has_sixteen_steps_and_groups_of_sixteen() -> None:
    given = rollouts(2 * GROUP, 64)
    assert given.n_steps == STEPS
    assert bool(given.step_exists.all())
    assert given.group.bincount().tolist() == [GROUP, GROUP]


def test_bytes_of_fields() -> None:
    fields = Fields(rollouts(16, 64))
    assert fields.size("mask") == 16 * 64
    assert fields.size("step") == 8 * 16 * 64
    assert fields.size("tokens/values") == fields.size("advantages") == 4 * 16 * 64
    assert fields.size("truncated") == fields.size("outcome") == 4 * 16
    assert fields.size("steps/critics") == 4 * 16 * STEPS * 2


def test_slope_of_a_power() -> None:
    points = [(math.log(size), math.log(3e-9 * size**1.25)) for size in (1e6, 1e7, 1e8)]
    assert bench.slope(points) == pytest.approx(1.25)
