"""Weighted sums of rewards, and their stage."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Rollouts, ops
from guerdon.overrides import parse_value
from guerdon.shape import Blend, combine
from tests.strategies import NAN
from tests.strategies import rollouts as any_rollouts

GROUP = torch.zeros(4, dtype=torch.int64)


def batch(outcome: list[float], group: list[int] | None = None, **columns: object) -> Rollouts:
    rows = len(outcome)
    return Rollouts(
        group=[0] * rows if group is None else group,
        mask=torch.ones(rows, 1, dtype=torch.bool),
        outcome=outcome,
        columns=columns,
        progress=0.4,
        iteration=4,
    )


def test_three_dimensions_as_z_scores() -> None:
    terms = {
        "confidence": torch.tensor([-1.2, -0.6, -2.4, -0.6]),
        "relevance": torch.tensor([0.9, 0.4, 0.7, 0.2]),
        "coherence": torch.tensor([2.0, -1, 0, -1]),
    }
    weights = dict.fromkeys(terms, 1 / 3)
    found = combine(terms, weights, key=GROUP, norm="zscore")
    assert found.tolist() == pytest.approx([0.977620, -0.185695, -0.358636, -0.433289], abs=1e-6)
    # A positive affine change of one dimension changes nothing.
    terms["relevance"] = 30 * terms["relevance"] - 7
    torch.testing.assert_close(combine(terms, weights, key=GROUP, norm="zscore"), found, atol=1e-5, rtol=1e-5)
    only = combine(terms, {"confidence": 1.0, "relevance": 0.0, "coherence": 0.0}, key=GROUP, norm="zscore")
    assert only.tolist() == pytest.approx([0.0, 0.816497, -1.632993, 0.816497], abs=1e-6)


def test_a_plain_sum_of_aspects() -> None:
    hybrid, length = torch.tensor([1.0, 0, 0, 1]), torch.tensor([0.0, -0.5, 0, 0])
    total = combine([hybrid, length, torch.tensor([0.5, 0.5, 0, 0.5])], [1.0, 1.0, 1.0])
    assert total.tolist() == [1.5, 0.0, 0.0, 1.5]
    assert ops.normalize(total, GROUP, scale="none").tolist() == [0.75, -0.75, -0.75, 0.75]
    linear = combine(
        [
            torch.tensor([1.0, 1, 1, 1, 0, 1]),
            torch.tensor([1.0, 1, 0, 0, 0, 1]),
            torch.tensor([0.8, 0.4, 0.9, 0.1, 0.7, 0.6]),
        ],
        [1.0, 1.0, 1.0],
    )
    assert linear.tolist() == pytest.approx([2.8, 2.4, 1.9, 1.1, 0.7, 2.6])


values = st.one_of(st.just(NAN), st.sampled_from([0.0, 1.0]), st.floats(-5, 5, width=32))


@given(
    rows=st.lists(st.tuples(values, values, st.integers(0, 2)), min_size=1, max_size=10),
    norm=st.sampled_from(["none", "zscore", "rank"]),
    ddof=st.sampled_from([0, 1]),
)
def test_normalised_terms_against_a_loop(rows: list[tuple[float, float, int]], norm: str, ddof: int) -> None:
    first, second = (torch.tensor([row[i] for row in rows], dtype=torch.float64) for i in (0, 1))
    key = torch.tensor([row[2] for row in rows])
    found = combine([first, second], [2.0, -1.0], key=key, norm=norm, ddof=ddof, eps=1e-6).tolist()

    def normalised(side: int, row: int) -> float:
        members = [r[side] for r in rows if r[2] == rows[row][2] and not math.isnan(r[side])]
        x = rows[row][side]
        if norm == "none" or math.isnan(x):
            return x
        if norm == "rank":
            if len(members) == 1:
                return 0.5
            return float(scipy.stats.rankdata(members)[members.index(x)] - 1) / (len(members) - 1)
        if len(set(members)) == 1:
            return 0.0
        return float((x - np.mean(members)) / (np.std(members, ddof=ddof) + 1e-6))

    expected = [2.0 * normalised(0, row) - normalised(1, row) for row in range(len(rows))]
    assert found == pytest.approx(expected, abs=1e-6, nan_ok=True)


def test_missing_scores_of_a_judge() -> None:
    """The mean of the usable ones; with none, only the other term acts, with its full weight."""
    atoms = torch.tensor([NAN, 0.5, 0.9, NAN, NAN])
    answer = torch.tensor([1.0, 0.0, 0.0, 1.0, 0.25])
    key = torch.tensor([0, 0, 0, 1, 1])
    options = {"key": key, "missing": "group_mean"}
    found = combine([atoms, answer], [0.4, 0.6], absent="reweight", **options)  # type: ignore[arg-type]
    assert found.tolist() == pytest.approx([0.88, 0.2, 0.36, 1.0, 0.25])
    dropped = combine([atoms, answer], [0.4, 0.6], absent="drop", **options)  # type: ignore[arg-type]
    assert dropped.tolist() == pytest.approx([0.88, 0.2, 0.36, 0.6, 0.15])
    nothing = combine([atoms, answer], [0.4, 0.6], **options)  # type: ignore[arg-type]
    assert nothing.tolist() == pytest.approx([0.88, 0.2, 0.36, NAN, NAN], nan_ok=True)
    assert combine([atoms, answer], [0.0, 1.0]).tolist() == answer.tolist()
    # A malformed row's score must not enter the mean of the others.
    where = torch.tensor([True, True, False, True, True])
    found = combine([atoms, answer], [0.4, 0.6], where=where, **options)  # type: ignore[arg-type]
    assert float(found[0]) == pytest.approx(0.6 + 0.4 * 0.5)
    zscore = combine([answer], [1.0], key=key, norm="zscore", where=where)
    assert zscore.tolist() == pytest.approx([1.0, -1.0, NAN, 1.0, -1.0], nan_ok=True)


def test_a_mix_whose_weight_falls_over_the_run() -> None:
    mix = Blend(("atoms", "outcome"), (ops.Schedule("linear", start=0.5, end=0.0, total=10), None))
    value = batch([0.0, 0.0, 1.0], atoms=[0.9, 0.2, 0.6])
    shaped = mix(value)
    assert shaped.outcome.tolist() == pytest.approx([0.27, 0.06, 0.88])
    assert shaped.columns["blend/atoms"] == pytest.approx([0.27, 0.06, 0.18])
    assert shaped.columns["blend/outcome"] == pytest.approx([0.0, 0.0, 0.7])
    late = mix(value.replace(iteration=12, columns={"atoms": [None, None, None]}))
    assert late.outcome.tolist() == [0.0, 0.0, 1.0]
    assert set(mix.reads) == {"atoms", "outcome", "group"}


@given(value=any_rollouts())
def test_blend_runs_on_any_rollouts(value: Rollouts) -> None:
    shaped = Blend(missing="group_mean", norm="zscore", absent="drop")(value)
    assert shaped.outcome.shape == value.outcome.shape
    unscored = ~value.scored & torch.isnan(ops.aggregate(value.process))
    assert shaped.outcome.dtype == torch.float32
    assert not torch.isinf(shaped.outcome[~unscored]).any()


def test_dtype_and_gradient() -> None:
    x = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64, requires_grad=True)
    total = combine([x, x.detach()], [2.0, 1.0])
    assert total.dtype == torch.float64
    total.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [2.0, 2.0, 2.0]


def test_bad_blends_are_refused() -> None:
    x = torch.zeros(2)
    for call, match in (
        (lambda: combine([x], [1.0, 2.0]), "1 terms and 2 weights"),
        (lambda: combine([], []), "0 terms"),
        (lambda: combine({"a": x}, {"b": 1.0}), "equal names"),
        (lambda: combine({"a": x}, [1.0]), "both by name"),
        (lambda: combine([x], [1.0], norm="l2"), "norm"),
        (lambda: combine([x], [1.0], missing="zero"), "missing"),
        (lambda: combine([x], [1.0], absent="zero"), "absent"),
        (lambda: Blend(("outcome",), (1.0, 2.0)), "one weight a term"),
        (lambda: Blend(weights=(None, None)), "at most one None"),
        (lambda: Blend(norm="l2"), "Blend.norm"),
        (lambda: Blend(absent="zero"), "Blend.absent"),
        (lambda: Blend(("outcome", "judge"))(batch([1.0])), "no 'judge'"),
        (lambda: Blend(("outcome", "judge"))(batch([1.0], judge=["good"])), r"\['judge'\] in row 0 is 'good'"),
    ):
        with pytest.raises(ValueError, match=match):
            call()


def test_a_weight_can_be_given_on_the_command_line() -> None:
    assert parse_value("0.5", float | ops.Schedule, "here") == 0.5
