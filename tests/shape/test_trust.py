"""Thinking rewards weighted by trust."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Rollouts, ops
from guerdon.shape import TrustWeighted, trust_rewards, trust_weight
from tests.strategies import NAN

OUTCOME = torch.tensor([1.0, 1.0, 0.0, 0.0], dtype=torch.float64)
THINK = torch.tensor([0.2, 0.4, 0.9, 0.7], dtype=torch.float64)
ONE = torch.zeros(4, dtype=torch.int64)


def test_thoughts_that_prefer_wrong_answers() -> None:
    reward, gamma = trust_rewards(OUTCOME, THINK, ONE, 500, 1000)
    assert gamma.tolist() == pytest.approx([math.exp(-0.5)] * 4)
    assert reward.tolist() == pytest.approx([1.022073, 1.044146, 0.099327, 0.077255], abs=1e-6)
    advantage = ops.normalize(reward, ONE, eps=1e-6)
    assert advantage.tolist() == pytest.approx([0.845561, 0.886014, -0.845561, -0.886014], abs=1e-5)
    plain, _ = trust_rewards(OUTCOME, THINK, ONE, 500, 1000, use_trust=False, use_anneal=False)
    assert plain.tolist() == pytest.approx([1.06, 1.12, 0.27, 0.21])
    expected = [0.802895, 0.924853, -0.802895, -0.924853]
    assert ops.normalize(plain, ONE, eps=1e-6).tolist() == pytest.approx(expected, abs=1e-5)


def test_uniform_groups() -> None:
    outcome, think, key = torch.ones(3), torch.tensor([0.5, 0.7, 0.9]), ONE[:3]
    reward, gamma = trust_rewards(outcome, think, key, 0, 100)
    assert reward.tolist() == pytest.approx([1.15, 1.21, 1.27])
    assert gamma.tolist() == [1.0] * 3
    assert trust_rewards(outcome, think, key, 0, 100, uniform_groups="zero").reward.tolist() == [1.0] * 3
    mixed = trust_rewards(OUTCOME, THINK, ONE, 0, 100, uniform_groups="zero").reward
    assert torch.equal(mixed, trust_rewards(OUTCOME, THINK, ONE, 0, 100).reward)


def test_the_released_codes_variant() -> None:
    outcome, think = torch.tensor([1.0, 0.4, 0.0]), torch.tensor([0.3, 0.9, 0.8])
    reward, gamma = trust_rewards(outcome, think, ONE[:3], 100, 1000, asked_from=0.2)
    assert float(gamma[0]) == pytest.approx(0.860708, abs=1e-6)
    assert reward.tolist() == pytest.approx([1.070092, 0.610276, 0.0], abs=1e-6)


cell = st.one_of(st.just(NAN), st.floats(0, 1, width=32))


@given(rows=st.lists(st.tuples(cell, st.sampled_from([0.0, 0.5, 1.0, NAN]), st.integers(0, 2)), max_size=12))
def test_trust_against_a_loop(rows: list[tuple[float, float, int]]) -> None:
    think, outcome, key = (torch.tensor([row[i] for row in rows]) for i in range(3))
    found = trust_weight(think, outcome, key.long())
    for row, (_, _, group) in enumerate(rows):
        members = [r for r in rows if r[2] == group and not math.isnan(r[0])]
        right = [r[0] for r in members if r[1] >= 0.5]
        wrong = [r[0] for r in members if r[1] < 0.5]
        expected = 1.0
        if right and wrong:
            expected = math.exp(min(0.0, sum(right) / len(right) - sum(wrong) / len(wrong)))
        assert float(found[row]) == pytest.approx(expected, abs=1e-5)
        assert 1 / math.e - 1e-6 <= float(found[row]) <= 1.0


@given(think=st.lists(st.floats(0, 1, width=32), min_size=4, max_size=4), step=st.integers(0, 5000))
def test_right_responses_outrank_wrong_ones(think: list[float], step: int) -> None:
    x = torch.tensor(think, dtype=torch.float64)
    reward = trust_rewards(OUTCOME, x, ONE, step, 1000).reward
    assert float(reward[:2].min()) > float(reward[2:].max())
    later = trust_rewards(OUTCOME, x, ONE, step + 10, 1000).reward
    assert bool((later <= reward).all())
    constant = trust_rewards(OUTCOME, torch.full_like(x, 0.6), ONE, step, 1000).reward
    torch.testing.assert_close(ops.normalize(constant, ONE, eps=0.0), ops.normalize(OUTCOME, ONE, eps=0.0))


def batch(progress: float = 0.5, iteration: int = 500) -> Rollouts:
    return Rollouts(
        group=[0] * 4,
        mask=torch.ones(4, 1, dtype=torch.bool),
        outcome=OUTCOME.float(),
        columns={"thinking": [0.2, 0.4, 0.9, 0.7]},
        progress=progress,
        iteration=iteration,
    )


def test_the_stage_follows_the_run() -> None:
    expected = [1.022073, 1.044146, 0.099327, 0.077255]
    falling = TrustWeighted(alpha=ops.Schedule("exponential", start=0.3))
    for stage in (TrustWeighted(), TrustWeighted(total=1000), falling):
        shaped = stage(batch())
        assert shaped.outcome.tolist() == pytest.approx(expected, abs=1e-6)
    assert shaped.columns["trust"] == pytest.approx([math.exp(-0.5)] * 4)
    assert shaped.columns["thinking_bonus"] == pytest.approx([0.022073, 0.044146, 0.099327, 0.077255], abs=1e-6)
    alone = TrustWeighted(alpha=0.0)(batch())
    assert torch.equal(alone.outcome, batch().outcome)


def test_missing_thoughts() -> None:
    value = batch().with_columns(thinking=[0.2, None, 0.9, 0.7])
    shaped = TrustWeighted()(value)
    assert torch.isnan(shaped.outcome).tolist() == [False, True, False, False]
    filled = TrustWeighted(missing=0.0)(value)
    assert float(filled.outcome[1]) == 1.0


def test_bad_input_is_named() -> None:
    for call, match in (
        (lambda: trust_weight(torch.tensor([0.5, 1.5]), torch.zeros(2)), "row 1 is 1.5"),
        (lambda: trust_weight(torch.zeros(2), torch.zeros(3)), "expected"),
        (lambda: trust_rewards(OUTCOME, THINK, ONE, 5, 0), "total"),
        (lambda: trust_rewards(OUTCOME, THINK, ONE, -1, 5), "iteration"),
        (lambda: trust_rewards(OUTCOME, THINK, ONE, 0, 5, uniform_groups="drop"), "uniform_groups"),
        (lambda: TrustWeighted(uniform_groups="drop"), "TrustWeighted.uniform_groups"),
        (lambda: TrustWeighted(total=0), "TrustWeighted.total"),
    ):
        with pytest.raises(ValueError, match=match):
            call()
