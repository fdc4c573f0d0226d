"""Partial reward for named entities."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Rollouts, ops
from guerdon.shape import EntityAware, entity_aware_rewards
from tests.strategies import NAN

FOUR = torch.zeros(4, dtype=torch.int64)


def test_the_worked_examples() -> None:
    rates = torch.tensor([1.0, 0.5, 0.25, 0.75], dtype=torch.float64)
    reward = entity_aware_rewards(rates, ["correct", "wrong", "wrong", "error"], FOUR)
    assert reward.tolist() == pytest.approx([1.0, 0.15, 0.075, 0.0])
    advantage = ops.normalize(reward, FOUR, eps=1e-6)
    assert advantage.tolist() == pytest.approx([1.487019, -0.334914, -0.495673, -0.656432], abs=1e-6)
    rates = torch.tensor([2 / 3, 1 / 3, 0.0, 1 / 3], dtype=torch.float64)
    reward = entity_aware_rewards(rates, ["wrong"] * 4, FOUR)
    assert reward.tolist() == pytest.approx([0.3, 0.15, 0.0, 0.15])
    assert ops.normalize(reward, FOUR, eps=1e-6).tolist() == pytest.approx([1.224735, 0, -1.224735, 0], abs=2e-5)


@given(
    rows=st.lists(
        st.tuples(
            st.one_of(st.just(NAN), st.floats(0, 1, width=32)),
            st.sampled_from(["correct", "wrong", "error", None]),
            st.integers(0, 2),
        ),
        max_size=10,
    ),
    alpha=st.sampled_from([0.0, 0.3, 1.0]),
)
def test_rewards_against_a_loop(rows: list[tuple[float, str | None, int]], alpha: float) -> None:
    rates, key = torch.tensor([row[0] for row in rows]), torch.tensor([row[2] for row in rows])
    found = entity_aware_rewards(rates, [row[1] for row in rows], key.long(), alpha).tolist()
    for (rate, status, group), value in zip(rows, found, strict=True):
        best = max((r[0] for r in rows if r[2] == group and not math.isnan(r[0])), default=0.0)
        partial = NAN if math.isnan(rate) else alpha * rate / best if best > 0 else 0.0
        expected = {"correct": 1.0, "wrong": partial, "error": 0.0, None: NAN}[status]
        assert value == pytest.approx(expected, abs=1e-6, nan_ok=True)
    halved = entity_aware_rewards(rates / 2, [row[1] for row in rows], key.long(), alpha).tolist()
    assert halved == pytest.approx(found, abs=1e-5, nan_ok=True)


def test_the_stage_tells_errors_apart() -> None:
    value = Rollouts(
        group=[0] * 5,
        mask=torch.ones(5, 1, dtype=torch.bool),
        outcome=[1.0, 0.0, 1.0, 1.0, NAN],
        columns={
            "entity_rate": [1.0, 0.5, 0.75, 0.2, 0.1],
            "truncated": [False, False, True, False, False],
            "format": [1, 1, 1, 0, 1],
        },
        iteration=5,
    )
    shaped = EntityAware()(value)
    assert shaped.outcome.tolist() == pytest.approx([1.0, 0.15, 0.0, 0.0, NAN], nan_ok=True)
    assert shaped.columns["entity_status"] == ("correct", "wrong", "error", "error", None)
    bare = value.replace(columns={"entity_rate": [1.0, 0.5, 0.75, 0.2, 0.1]})
    assert EntityAware(0.0)(bare).outcome.tolist() == pytest.approx([1.0, 0.0, 1.0, 1.0, NAN], nan_ok=True)
    falling = EntityAware(ops.Schedule("linear", start=0.4, end=0.0, total=10))
    assert float(falling(bare).outcome[1]) == pytest.approx(0.1)


def test_bad_input_is_named() -> None:
    x = torch.zeros(2)
    for call, match in (
        (lambda: entity_aware_rewards(x, ["wrong"] * 2, x.long(), 1.5), "alpha"),
        (lambda: entity_aware_rewards(x + 2, ["wrong"] * 2, x.long()), "row 0 is 2.0"),
        (lambda: entity_aware_rewards(x, ["wrong", "odd"], x.long()), "row 1 is 'odd'"),
        (lambda: entity_aware_rewards(x, ["wrong"], x.long()), "expected"),
        (lambda: EntityAware(2.0), "EntityAware.alpha"),
    ):
        with pytest.raises(ValueError, match=match):
            call()
