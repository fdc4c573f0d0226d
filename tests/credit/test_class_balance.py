"""Weights of classes by running counts, and advantages of verifications."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Recipe, Rollouts
from guerdon.credit import ClassBalance, ClassBalanced, GroupNormalized, verifier_advantages


@given(st.integers(1, 500), st.integers(1, 500))
def test_weights_have_mean_one_and_go_with_the_root(plus: int, minus: int) -> None:
    balance = ClassBalance()
    balance.update(plus, minus)
    right, wrong = balance.weights()
    assert (plus * right + minus * wrong) / (plus + minus) == pytest.approx(1.0)
    assert right / wrong == pytest.approx(math.sqrt(minus / plus))


def test_counts_decay_and_never_vanish() -> None:
    balance = ClassBalance(0.8)
    assert balance.weights() == (1.0, 1.0)
    balance.update(10, 30)
    balance.update(0, 40)
    assert balance.counts == pytest.approx((8.0, 32.0))
    balance.update(0, 0)
    assert balance.counts == pytest.approx((8.0, 32.0))
    empty = ClassBalance()
    empty.update(0, 5)
    assert empty.weights() == (1.0, 1.0)
    with pytest.raises(ValueError, match="expected 0 or more"):
        balance.update(-1, 2)
    with pytest.raises(ValueError, match="decay is 1"):
        ClassBalance(1.0)


def verifications(outcome: list[float], truth: list[bool]) -> Rollouts:
    rows = len(outcome)
    return Rollouts(
        group=[row // 2 for row in range(rows)],
        mask=torch.ones(rows, 1, dtype=torch.bool),
        outcome=outcome,
        columns={"truth": truth},
    )


def test_the_stage_is_the_function() -> None:
    given_rows = verifications([1.0, 0.0, 1.0, 0.2, 0.5, 0.0], [True, True, False, False, False, False])
    stage = ClassBalanced()
    recipe = Recipe(credit=stage)
    first = recipe(given_rows, learn=True).advantages
    torch.testing.assert_close(first, GroupNormalized(ddof=1, eps=1e-6)(given_rows))
    plus, minus = stage._balance.weights()
    assert stage._balance.counts == (1.0, 2.0)
    second = recipe(given_rows).advantages
    rewards, truth = given_rows.outcome.reshape(3, 2), torch.tensor([True, False, False])
    torch.testing.assert_close(second, verifier_advantages(rewards, truth, plus, minus).reshape(6, 1))
    again = Recipe(credit=ClassBalanced())
    again.load_state_dict(recipe.state_dict())
    torch.testing.assert_close(again(given_rows).advantages, second)


def test_shapes_are_checked_and_nan_is_left_out() -> None:
    with pytest.raises(ValueError, match="expected"):
        verifier_advantages(torch.zeros(2, 3), torch.zeros(3, dtype=torch.bool), 1.0, 1.0)
    found = verifier_advantages(torch.tensor([[1.0, float("nan"), 0.0]]), torch.tensor([True]), 2.0, 1.0)
    assert found[0, 1] == 0.0
    assert found[0, 0] == pytest.approx(2 * 0.707106, abs=1e-4)
