"""Gates: levels, payoffs, turns."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Rollouts, ops
from guerdon.shape import Blend, Gate, GatedTurns, chain, gate, gated_sum, turn_rewards
from tests.strategies import NAN
from tests.strategies import rollouts as any_rollouts

CRITICS = torch.tensor([[[0.1, 0.1], [0.1, 0.0], [0.1, 0.1]]], dtype=torch.float64)


def batch(group: list[int], outcome: list[float], **columns: list[object]) -> Rollouts:
    return Rollouts(group=group, mask=torch.ones(len(group), 1, dtype=torch.bool), outcome=outcome, columns=columns)


def test_three_levels() -> None:
    levels, thresholds = torch.tensor([[1.0, 0.0, 9.0]]), torch.tensor([0.5, 0.5])
    assert gate(levels, thresholds).tolist() == [[True, True, False]]
    assert gated_sum(levels, thresholds).tolist() == [1.0]
    assert gated_sum(levels, thresholds, mode="direct").tolist() == [10.0]


level = st.one_of(st.just(NAN), st.sampled_from([-1.0, 0.0, 0.5, 1.0]))


@given(
    rows=st.lists(st.tuples(level, level, level), min_size=1, max_size=6),
    thresholds=st.tuples(*[st.sampled_from([-1.0, 0.0, 0.5])] * 2),
    weights=st.tuples(*[st.sampled_from([0.0, 1.0, -2.0])] * 3),
    strict=st.booleans(),
    closed=st.sampled_from([None, -1.0]),
)
def test_gates_against_a_loop(
    rows: list[tuple[float, ...]],
    thresholds: tuple[float, ...],
    weights: tuple[float, ...],
    strict: bool,
    closed: float | None,
) -> None:
    levels = torch.tensor(rows)
    is_open = gate(levels, torch.tensor(thresholds), strict)
    total = gated_sum(levels, torch.tensor(thresholds), torch.tensor(weights), strict=strict, closed=closed)
    for row, values in enumerate(rows):
        opened = [True]
        for value, limit in zip(values[:-1], thresholds, strict=True):
            opened.append(opened[-1] and (value > limit if strict else value >= limit))
        assert is_open[row].tolist() == opened
        paid = sum(v * w for v, w, o in zip(values, weights, opened, strict=True) if o and w)
        if closed is not None and not opened[1]:
            paid = closed
        if math.isnan(values[0]):
            paid = NAN
        assert float(total[row]) == pytest.approx(paid, nan_ok=True)


FORMAT = [1.0, 1, 1, 1, 0, 1]
TESTS = [1.0, 1, 0, 0, 0, 1]
THINKING = [0.8, 0.4, 0.9, 0.1, 0.7, 0.6]


def test_thoughts_count_for_right_programs_only() -> None:
    shape = chain(Gate(("outcome", "thinking"), (1.0,), strict=False), Blend(("format", "outcome"), (1.0, 1.0)))
    value = batch([0] * 6, TESTS, format=FORMAT, thinking=THINKING)
    shaped = shape(value)
    assert shaped.outcome.tolist() == pytest.approx([2.8, 2.4, 1.0, 1.0, 0.0, 2.6])
    advantage = ops.normalize(shaped.outcome.double(), shaped.group, eps=1e-6)
    expected = [1.034977, 0.680128, -0.561845, -0.561845, -1.448967, 0.857552]
    assert advantage.tolist() == pytest.approx(expected, abs=2e-6)
    assert shaped.columns["gates_open"] == (2, 2, 1, 1, 1, 2)
    # What failing rows score is never looked at, not even if it is missing.
    other = value.with_columns(thinking=[0.8, 0.4, None, 1.0, None, 0.6])
    assert torch.equal(shape(other).outcome, shaped.outcome)
    gap = shaped.outcome[value.outcome == 1].min() - shaped.outcome[(value.outcome == 0)].max()
    assert float(gap) >= 1.0


def test_a_missing_thought_of_a_right_program() -> None:
    value = batch([0, 0, 0, 1], [1.0, 1.0, 0.0, 1.0], thinking=[0.4, None, 0.9, None])
    gates = {missing: Gate(("outcome", "thinking"), (1.0,), strict=False, missing=missing) for missing in
             ("nan", "group_mean", 0.25)}  # fmt: skip
    found = {missing: stage(value).outcome.tolist() for missing, stage in gates.items()}
    assert found["nan"] == pytest.approx([1.4, NAN, 0.0, NAN], nan_ok=True)
    assert found["group_mean"] == pytest.approx([1.4, 1.4, 0.0, NAN], nan_ok=True)
    assert found[0.25] == pytest.approx([1.4, 1.25, 0.0, 1.25])


def test_format_then_answer_then_cost() -> None:
    stage = Gate(("format", "outcome", "cheapness"), (0.5, 0.0), weights=(0.0, 0.4, 0.6), closed=-1.0)
    value = batch([0] * 5, [1.0, 0.0, 1.0, 0.5, NAN], format=[1, 1, 0, 1, 1], cheapness=[0.25, 0.9, 1.0, 1.0, 1.0])
    assert stage(value).outcome.tolist() == pytest.approx([0.55, 0.0, -1.0, 0.8, NAN], nan_ok=True)
    plain = Gate(("format", "outcome", "cheapness"), (0.5, 0.0), weights=(0.0, 1.0, 0.0), closed=-1.0)
    assert plain(value).outcome[:4].tolist() == [1.0, 0.0, -1.0, 0.5]


def test_a_format_that_shuts_everything_off() -> None:
    """A box that cannot be read earns nothing, not even for its overlap."""
    stage = Gate(("format", "overlap"), (1.0,), weights=(1.0, 2.0), strict=False)
    value = batch([0, 0, 0], [NAN] * 3, format=[1, 1, 0], overlap=[0.5, 0.0, 0.9])
    assert stage(value).outcome.tolist() == [2.0, 1.0, 0.0]


def test_a_weight_that_falls() -> None:
    bonus = ops.Schedule("linear", start=1.0, end=0.0, total=10)
    stage = Gate(("outcome", "thinking"), (0.0,), weights=(1.0, bonus))
    value = batch([0], [1.0], thinking=[0.5])
    assert [float(stage(value.replace(iteration=i)).outcome) for i in (0, 5, 10)] == [1.5, 1.25, 1.0]


@pytest.mark.parametrize(
    ("outcome", "gated", "direct"),
    [
        (-1.0, [0.0, 0.0, -1.0], [0.2, 0.1, -0.8]),
        (0.0, [0.0, 0.0, 0.0], [0.2, 0.1, 0.2]),
        (1.0, [0.2, 0.1, 1.2], [0.2, 0.1, 1.2]),
        (2.0, [0.2, 0.1, 2.2], [0.2, 0.1, 2.2]),
    ],
)
def test_turns_of_a_software_agent(outcome: float, gated: list[float], direct: list[float]) -> None:
    there = torch.ones(1, 3, dtype=torch.bool)
    for mode, expected in (("gated", gated), ("direct", direct)):
        found = turn_rewards(torch.tensor([outcome]), CRITICS, there, mode=mode)
        assert found[0].tolist() == pytest.approx(expected)


def test_farming_in_numbers() -> None:
    long, short = torch.full((1, 30, 2), 0.1), torch.full((1, 3, 2), 0.1)
    totals = {
        mode: [
            float(turn_rewards(torch.tensor([end]), critics, torch.ones(critics.shape[:2], dtype=torch.bool),
                               mode=mode).sum())
            for end, critics in ((-1.0, long), (1.0, short))
        ]
        for mode in ("direct", "gated")
    }  # fmt: skip
    assert totals["direct"] == pytest.approx([5.0, 1.6])
    assert totals["gated"] == pytest.approx([-1.0, 1.6])


turn = st.sampled_from([0.0, 0.1, 0.3, NAN])


@given(
    outcome=st.lists(st.sampled_from([-1.0, 0.0, 1.0, 2.0, NAN]), min_size=1, max_size=4),
    cells=st.lists(turn, min_size=24, max_size=24),
    there=st.lists(st.booleans(), min_size=12, max_size=12),
    weights=st.tuples(st.sampled_from([0.0, 1.0, 0.5]), st.sampled_from([1.0, 2.0])),
    delta=st.sampled_from([-math.inf, 0.0, 5.0]),
)
def test_turns_against_a_loop(
    outcome: list[float], cells: list[float], there: list[bool], weights: tuple[float, float], delta: float
) -> None:
    rows = len(outcome)
    critics = torch.tensor(cells, dtype=torch.float64).reshape(4, 3, 2)[:rows]
    exists = torch.tensor(there).reshape(4, 3)[:rows]
    found = turn_rewards(torch.tensor(outcome), critics, exists, torch.tensor(weights), delta)
    for row, turns in itertools.product(range(rows), range(3)):
        existing = exists[row].nonzero().flatten().tolist()
        expected = NAN
        if turns in existing and not math.isnan(outcome[row]):
            paid = sum(c * w for c, w in zip(critics[row, turns].tolist(), weights, strict=True) if w)
            expected = paid if outcome[row] > delta else 0.0
            if turns == existing[-1]:
                expected = (0.0 if math.isnan(expected) else expected) + outcome[row]
        assert float(found[row, turns]) == pytest.approx(expected, nan_ok=True)


def test_the_stage_of_turns() -> None:
    value = Rollouts(
        group=[0, 0],
        mask=torch.ones(2, 3, dtype=torch.bool),
        step=torch.tensor([[0, 1, 2]] * 2),
        outcome=[1.0, 0.0],
        steps={"critics": CRITICS.expand(2, 3, 2)},
    )
    shaped = GatedTurns()(value)
    assert shaped.process.tolist() == [pytest.approx([0.2, 0.1, 1.2]), [0.0, 0.0, 0.0]]
    assert shaped.columns["gates_open"] == (2, 1)
    assert GatedTurns(weights=(2.0, 0.0))(value).process[0].tolist() == pytest.approx([0.2, 0.2, 1.2])
    with pytest.raises(ValueError, match="no 'votes'"):
        GatedTurns("votes")(value)


@given(value=any_rollouts())
def test_gates_run_on_any_rollouts(value: Rollouts) -> None:
    shaped = Gate(missing="group_mean")(value)
    assert torch.equal(torch.isnan(shaped.outcome) | value.scored, torch.ones(len(value), dtype=torch.bool))
    assert bool((shaped.outcome[value.outcome <= 0] == value.outcome[value.outcome <= 0]).all())


def test_bad_gates_are_refused() -> None:
    x = torch.zeros(2, 2)
    for call, match in (
        (lambda: gate(x, torch.zeros(2)), "thresholds has shape"),
        (lambda: gate(x[:, :0], torch.zeros(0)), "levels has shape"),
        (lambda: gate(x, torch.tensor([NAN])), "expected numbers"),
        (lambda: gate(x, torch.zeros(1), mode="soft"), "mode"),
        (lambda: gated_sum(x, torch.zeros(1), torch.zeros(3)), "weights has shape"),
        (lambda: turn_rewards(x[0], x, x > 0), "expected"),
        (lambda: turn_rewards(x[0], CRITICS.expand(2, 3, 2), torch.ones(2, 3) > 0, torch.zeros(1)), "weights"),
        (lambda: Gate(thresholds=(0.0, 1.0)), "one less"),
        (lambda: Gate(weights=(1.0,)), "weights"),
        (lambda: Gate(mode="soft"), "Gate.mode"),
        (lambda: Gate(missing="zero"), "Gate.missing"),
        (lambda: GatedTurns(mode="soft"), "GatedTurns.mode"),
    ):
        with pytest.raises(ValueError, match=match):
            call()
