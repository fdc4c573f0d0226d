"""Noise on purpose, and its repair."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Rollouts, ops
from guerdon.shape import (
    CalibrateWithPatterns,
    NoisyReward,
    PatternsIfWrong,
    calibrate_with_rpr,
    flip_rewards,
    patterns_if_wrong,
)
from tests.strategies import NAN

cells = st.tuples(st.sampled_from([0.0, 1.0, NAN]), st.integers(0, 3))


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_whole_questions_are_flipped() -> None:
    r, key = torch.tensor([1.0, 1, 0, 0, 1, 0]), torch.tensor([4, 4, 4, 1, 1, 1])
    for seed in range(50):
        noisy, coins = flip_rewards(r, key, 0.5, seeded(seed))
        if coins.tolist() == [False, True]:
            assert noisy.tolist() == [1, 1, 0, 1, 0, 1]
            return
    pytest.fail("no seed in 50 flips the second question only")


@given(rows=st.lists(cells, max_size=12), seed=st.integers(0, 99), unit=st.sampled_from(["question", "response"]))
def test_flips(rows: list[tuple[float, int]], seed: int, unit: str) -> None:
    r, key = torch.tensor([row[0] for row in rows]), torch.tensor([row[1] for row in rows], dtype=torch.int64)
    same, none = flip_rewards(r, key, 0.0, seeded(seed), unit)
    assert torch.equal(torch.nan_to_num(same, nan=9), torch.nan_to_num(r, nan=9))
    assert not none.any()
    every, _ = flip_rewards(r, key, 1.0, seeded(seed), unit)
    assert torch.equal(torch.nan_to_num(every, nan=9), torch.nan_to_num(1 - r, nan=9))
    noisy, coins = flip_rewards(r, key, 0.4, seeded(seed), unit)
    again, _ = flip_rewards(r, key, 0.4, seeded(seed), unit)
    assert torch.equal(torch.nan_to_num(noisy, nan=9), torch.nan_to_num(again, nan=9))
    names = list(dict.fromkeys(row[1] for row in rows))
    assert len(coins) == (len(names) if unit == "question" else len(rows))
    for row, (truth, group) in enumerate(rows):
        flipped = bool(coins[names.index(group)] if unit == "question" else coins[row])
        expected = NAN if math.isnan(truth) else 1 - truth if flipped else truth
        assert float(noisy[row]) == pytest.approx(expected, nan_ok=True)


def test_the_expected_reward_shrinks() -> None:
    r = torch.cat([torch.ones(20_000), torch.zeros(20_000)])
    noisy, _ = flip_rewards(r, torch.arange(40_000), 0.3, seeded(0))
    assert float(noisy[:20_000].mean()) == pytest.approx(0.7, abs=0.01)
    assert float(noisy[20_000:].mean()) == pytest.approx(0.3, abs=0.01)
    key = torch.zeros(4, dtype=torch.int64)
    truth = torch.tensor([1.0, 0, 0, 1])
    torch.testing.assert_close(ops.normalize(1 - truth, key), -ops.normalize(truth, key))


def batch(outcome: list[float], iteration: int = 0, **columns: list[object]) -> Rollouts:
    group = [row // 2 for row in range(len(outcome))]
    mask = torch.ones(len(outcome), 1, dtype=torch.bool)
    return Rollouts(group=group, mask=mask, outcome=outcome, columns=columns, iteration=iteration)


def test_the_stage_repeats_its_draws_and_keeps_the_truth() -> None:
    truth = [1.0, 0.0] * 100
    stage = NoisyReward(0.4, seed=3)
    shaped = stage(batch(truth, 7))
    assert shaped.columns["true_outcome"] == tuple(truth)
    assert torch.equal(shaped.outcome, NoisyReward(0.4, seed=3)(batch(truth, 7)).outcome)
    assert not torch.equal(shaped.outcome, stage(batch(truth, 8)).outcome)
    assert not torch.equal(shaped.outcome, NoisyReward(0.4, seed=4)(batch(truth, 7)).outcome)
    flipped = torch.tensor(shaped.columns["flipped"])
    assert torch.equal(flipped, shaped.outcome != torch.tensor(truth))
    assert torch.equal(flipped[::2], flipped[1::2])
    assert 20 < int(flipped[::2].sum()) < 60


def test_what_could_not_be_read_is_never_flipped() -> None:
    value = batch([0.0, 1.0, 0.0, NAN], extracted=[None, "4", "", "5"])
    shaped = NoisyReward(1.0)(value)
    assert shaped.outcome.tolist() == pytest.approx([0.0, 0.0, 0.0, NAN], nan_ok=True)
    assert shaped.columns["flipped"] == (False, True, False, False)


def test_calibration() -> None:
    rm = torch.tensor([0.1, 0.49, 0.5, 0.8, 0.3, NAN], dtype=torch.float64)
    rpr, valid = torch.tensor([0.6, 1, 1, 0.2, 0.9, 0.5]), torch.tensor([1, 1, 1, 1, 0, 1])
    expected = [0.16, 0.59, 0.5, 0.8, 0.0, NAN]
    assert calibrate_with_rpr(rm, rpr, valid).tolist() == pytest.approx(expected, nan_ok=True)
    torch.testing.assert_close(calibrate_with_rpr(rm, rpr, torch.ones(6), alpha=0.0), rm, equal_nan=True)
    assert calibrate_with_rpr(torch.tensor([0.2]), torch.tensor([NAN]), torch.ones(1)).tolist() == [pytest.approx(0.2)]
    assert calibrate_with_rpr(torch.tensor([0.9]), torch.ones(1), torch.ones(1), 1.0, 0.5).tolist() == [1.0]
    value = batch(rm.tolist(), reasoning_patterns=rpr.tolist(), format=[1, 1, 1, 1, 0, 1])
    assert CalibrateWithPatterns()(value).outcome.tolist() == pytest.approx(expected, nan_ok=True)


def test_patterns_in_place_of_nothing() -> None:
    r, rpr = torch.tensor([1.0, 0.0, 0.0, NAN]), torch.tensor([0.3, 0.4, 0.5, 0.6])
    assert patterns_if_wrong(r, rpr).tolist() == pytest.approx([1.0, 0.4, 0.5, NAN], nan_ok=True)
    found = patterns_if_wrong(r, rpr, torch.tensor([True, True, False, False]))
    assert found.tolist() == pytest.approx([1.0, 0.4, 0.0, NAN], nan_ok=True)
    value = batch(r.tolist(), reasoning_patterns=rpr.tolist(), extracted=["1", "2", None, None])
    assert PatternsIfWrong()(value).outcome.tolist() == pytest.approx([1.0, 0.4, 0.0, NAN], nan_ok=True)


def test_bad_input_is_named() -> None:
    x = torch.zeros(2)
    for call, match in (
        (lambda: flip_rewards(x + 0.5, x.long(), 0.1, seeded(0)), "row 0 is 0.5"),
        (lambda: flip_rewards(x, x.long(), 1.1, seeded(0)), "p is 1.1"),
        (lambda: flip_rewards(x, x.long(), 0.1, seeded(0), "batch"), "unit"),
        (lambda: NoisyReward(2.0), "p is 2.0"),
        (lambda: NoisyReward(unit="batch"), "unit"),
        (lambda: NoisyReward(seed=-1), "seed"),
        (lambda: calibrate_with_rpr(x, x[:1], x), "expected"),
        (lambda: patterns_if_wrong(x, x[:1]), "expected"),
    ):
        with pytest.raises(ValueError, match=match):
            call()
