"""Reasoning patterns as the whole reward."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Rollouts
from guerdon.shape.patterns_only import PatternsOnly, scripted_warmup
from tests.strategies import NAN

numbers = st.one_of(st.just(NAN), st.sampled_from([0.0, 0.25, 0.5, 1.0]))
rows = st.tuples(numbers, numbers, st.sampled_from(["7", "", None]))


def batch(outcome: list[float], iteration: int = 0, **columns: list[Any]) -> Rollouts:
    mask = torch.ones(len(outcome), 1, dtype=torch.bool)
    return Rollouts(
        group=torch.zeros(len(outcome), dtype=torch.int64),
        mask=mask,
        outcome=outcome,
        columns=columns,
        iteration=iteration,
    )


def test_the_switch() -> None:
    rpr, correct = torch.tensor([0.5, NAN], dtype=torch.float64), torch.tensor([NAN, 1.0], dtype=torch.float64)
    for step, k, wanted in ((0, 1, rpr), (1, 1, correct), (0, 0, correct), (9, None, rpr), (10_000, None, rpr)):
        assert torch.equal(scripted_warmup(step, k, rpr, correct).nan_to_num(9), wanted.nan_to_num(9))
        assert scripted_warmup(step, k, rpr, correct).dtype == torch.float64


@given(given_rows=st.lists(rows, max_size=8), iteration=st.integers(0, 4), warm_up=st.sampled_from([None, 0, 2]))
def test_the_stage_equals_a_loop(
    given_rows: list[tuple[float, float, str | None]], iteration: int, warm_up: int | None
) -> None:
    outcome, patterns, extracted = ([row[place] for row in given_rows] for place in range(3))
    value = batch(outcome, iteration, reasoning_patterns=patterns, extracted=extracted)  # type: ignore[arg-type]
    shaped = PatternsOnly(warm_up)(value)
    for row, (true, rpr, answer) in enumerate(given_rows):
        pattern = rpr if answer else 0.0
        wanted = pattern if warm_up is None or iteration < warm_up else true
        assert float(shaped.outcome[row]) == pytest.approx(wanted, nan_ok=True)
        kept = shaped.column("raw_outcome")[row]
        assert kept == true or (math.isnan(kept) and math.isnan(true))


def test_no_verifier_is_needed() -> None:
    value = batch([NAN, NAN], rpr=[0.2, None])
    assert PatternsOnly(patterns="rpr")(value).outcome.tolist() == pytest.approx([0.2, NAN], nan_ok=True)
    assert PatternsOnly(patterns="rpr").reads == ("outcome", "rpr", "extracted")


def test_bad_input_is_named() -> None:
    x = torch.zeros(2)
    for call, match in (
        (lambda: scripted_warmup(-1, 1, x, x), "step is -1"),
        (lambda: scripted_warmup(0, -1, x, x), "k is -1"),
        (lambda: scripted_warmup(0, 1, x, x[:1]), "equal shapes"),
        (lambda: PatternsOnly(-2), "k is -2"),
        (lambda: PatternsOnly()(batch([1.0])), "reasoning_patterns"),
    ):
        with pytest.raises((ValueError, KeyError), match=match):
            call()
