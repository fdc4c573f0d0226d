"""Hidden pieces and shuffled steps."""

from __future__ import annotations

import itertools
import math
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon.score.verify.fill_in import (
    FillIn,
    Reorder,
    fill_reward,
    match_item,
    parse_fills,
    parse_order,
    reorder_reward,
)

permutations = st.integers(1, 6).flatmap(lambda n: st.permutations(range(n)))


def test_fill_examples() -> None:
    gold = ["2b", "10"]
    assert fill_reward(["2b", "10.0"], gold) == 1.0
    assert fill_reward(["2 b"], gold) == 0.5
    assert fill_reward(None, gold) == 0.0
    assert fill_reward(["10", "2b"], gold) == 0.0
    assert fill_reward(["2b", "10", "extra"], gold) == 1.0
    assert fill_reward(["2b", "11"], gold, variant="exact") == 0.0
    assert fill_reward(["2b", "10"], gold, variant="exact") == 1.0


def test_undecided_items() -> None:
    def undecided(item: str, piece: str) -> float:
        return math.nan if item == "?" else float(item == piece)

    assert math.isnan(fill_reward(["?", "b"], ["a", "b"], undecided))
    assert fill_reward(["?", "c"], ["a", "b"], undecided, "exact") == 0.0
    assert math.isnan(fill_reward(["?", "b"], ["a", "b"], undecided, "exact"))


@pytest.mark.parametrize(
    ("item", "reference", "value"),
    [
        ("x^2+1", "1+x^2", 1.0),
        ("\\frac12", "0.5", 1.0),
        ("Cauchy-Schwarz", "cauchy-schwarz", 1.0),
        ("Hölder", "Cauchy-Schwarz", 0.0),
        ("11", "10", 0.0),
    ],
)
def test_match_item(item: str, reference: str, value: float) -> None:
    assert match_item(item, reference) == value


@given(gold=st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=5), wrong=st.sets(st.integers(0, 4)))
def test_fill_share(gold: list[str], wrong: set[int]) -> None:
    pred = ["?" if index in wrong else piece for index, piece in enumerate(gold)]
    right = sum(index not in wrong for index in range(len(gold)))
    assert fill_reward(pred, gold, lambda item, piece: float(item == piece)) == pytest.approx(right / len(gold))


def test_order_examples() -> None:
    assert reorder_reward([3, 1, 2], [1, 2, 0]) == 1.0
    assert reorder_reward([3, 2, 1], [1, 2, 0]) == pytest.approx(1 / 3)
    assert reorder_reward([1, 2, 3], [1, 2, 0]) == 0.0
    assert reorder_reward([1, 1, 2], [1, 2, 0]) == 0.0
    assert reorder_reward([2, 3, 1], [1, 2, 0]) == 0.0  # the inverse: the wrong direction
    assert reorder_reward(None, [1, 0]) == 0.0
    assert reorder_reward([1, 2], [1, 2, 0]) == 0.0


@given(perm=permutations)
def test_order_invariants(perm: list[int]) -> None:
    n = len(perm)
    solution = [perm.index(step) + 1 for step in range(n)]
    for variant in ("position", "exact", "kendall"):
        assert reorder_reward(solution, perm, variant=variant) == 1.0
    if n <= 4:
        rewards = [reorder_reward(order, perm) for order in itertools.permutations(range(1, n + 1))]
        assert sum(rewards) / len(rewards) == pytest.approx(1 / n)
        assert n == 1 or (n - 1) / n not in rewards
    assert reorder_reward(solution[::-1], perm, variant="kendall") == (1.0 if n == 1 else 0.0)


@given(perm=permutations, order_seed=st.randoms(use_true_random=False), letters=st.text("ab", min_size=6, max_size=6))
def test_equal_steps_may_stand_for_each_other(perm: list[int], order_seed: object, letters: str) -> None:
    n = len(perm)
    texts = list(letters[:n])
    order = list(range(1, n + 1))
    order_seed.shuffle(order)  # type: ignore[attr-defined]
    expected = sum(texts[perm[label - 1]] == texts[place] for place, label in enumerate(order)) / n
    assert reorder_reward(order, perm, texts) == pytest.approx(expected)
    assert (reorder_reward(order, perm, texts, "kendall") == 1.0) >= (expected == 1.0)


def test_refusals() -> None:
    for call in (
        lambda: fill_reward(["a"], []),
        lambda: fill_reward(["a"], ["a"], variant="some"),
        lambda: reorder_reward([1], [1]),
        lambda: reorder_reward([1], []),
        lambda: reorder_reward([1, 2], [0, 1], ["a"]),
        lambda: reorder_reward([1, 2], [0, 1], variant="spearman"),
        lambda: parse_fills("x", 0),
        lambda: parse_order("x", 0),
        lambda: FillIn(variant="x"),
        lambda: Reorder(variant="x"),
    ):
        with pytest.raises(ValueError):
            call()


def test_parsing() -> None:
    assert parse_fills("[MASK_1]: 2b\n[MASK_2] = 10", 2) == ["2b", "10"]
    assert parse_fills("1) a\n- 2: b\n(3) c\n9. z", 3) == ["a", "b", "c"]
    assert parse_fills("1. a\n1. b", 2) == ["b", None]
    assert parse_fills("no list", 2) is None
    assert parse_order("The order is 3 > 1 > 2", 3) == [3, 1, 2]
    assert parse_order("3, 1", 3) is None


def test_verifiers() -> None:
    fill = pickle.loads(pickle.dumps(FillIn()))
    assert fill("<answer>1. 2b\n2. 11</answer>", "", {"gold": ["2b", "10"]}).reward == 0.5
    assert fill("1. 2b", "", {"gold": ["2b"]}).reward == 0.0
    assert math.isnan(fill("<answer>1. x</answer>", "", {"gold": []}).reward)
    order = pickle.loads(pickle.dumps(Reorder(texts="steps")))
    row = {"permutation": [1, 2, 0], "steps": ["a", "a", "b"]}
    assert order("<answer>1, 3, 2</answer>", "", row).reward == 1.0
    assert order("<answer>1, 1, 2</answer>", "", row).reward == 0.0
    with pytest.raises(ValueError, match="no column"):
        order("<answer>1</answer>", "", {})
