from __future__ import annotations

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from guerdon.train.reward.step_values import (
    Verification,
    best_of_k_value,
    distance_to_right,
    first_pit,
    infer_targets,
    progress,
    quality_values,
    voted_labels,
)

NAN = float("nan")
Q = torch.tensor([[0.1, 0.3, 0.3, 0.6, 1.0]], dtype=torch.float64)


def test_progress_under_best_of_four() -> None:
    prover = best_of_k_value(Q, 4)
    start = best_of_k_value(torch.tensor([0.2], dtype=torch.float64), 4)
    assert prover.tolist()[0] == pytest.approx([0.3439, 0.7599, 0.7599, 0.9744, 1.0])
    assert float(start) == pytest.approx(0.5904)
    steps = progress(prover, start)
    assert steps.tolist()[0] == pytest.approx([-0.2465, 0.416, 0.0, 0.2145, 0.0256])
    assert float(steps.sum()) == pytest.approx(float(prover[0, -1] - start))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6), st.integers(1, 20))
def test_more_attempts_and_better_policies_succeed_more_often(values: list[float], k: int) -> None:
    q = torch.tensor(values, dtype=torch.float64).sort().values
    found = best_of_k_value(q, k)
    torch.testing.assert_close(found, 1 - (1 - q) ** k, atol=1e-12, rtol=0)
    assert bool((found.diff() >= 0).all())
    assert bool((best_of_k_value(q, k + 1) >= found - 1e-15).all())


def test_unknown_values_stay_unknown() -> None:
    assert torch.isnan(best_of_k_value(torch.tensor([NAN, 1.0]), 3)).tolist() == [True, False]
    assert best_of_k_value(torch.tensor([0.0, 1.0]), 3).tolist() == [0.0, 1.0]
    found = progress(torch.tensor([[0.5, NAN, 0.25]]), torch.tensor([0.0]))
    torch.testing.assert_close(found, torch.tensor([[0.5, NAN, -0.25]]), equal_nan=True)
    for bad in (lambda: best_of_k_value(Q, 0), lambda: best_of_k_value(Q + 1, 2), lambda: first_pit(Q - 1)):
        with pytest.raises(ValueError, match="expected"):
            bad()


def test_the_first_pit() -> None:
    q = torch.tensor([[0.5, 0.0, 0.0], [0.5, NAN, 0.1], [0.0, 0.5, 0.5]])
    assert first_pit(q).tolist() == [1, -1, 0]
    assert first_pit(q, eps=0.1).tolist() == [1, 2, 0]


def test_quality_values_by_hand() -> None:
    w, v = quality_values(torch.tensor([0.0, 0.0, 1.0, 0.0]), torch.tensor([3, 2, 2, 1]))
    torch.testing.assert_close(w, torch.tensor([1 / 4, 1 / 4, -1 / 6, 1 / 3]))
    torch.testing.assert_close(v, torch.tensor([0.25, 0.5, 1 / 3, 2 / 3]))


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 9)), max_size=8), st.floats(0, 1))
def test_quality_values_stay_between_0_and_1(steps: list[tuple[float, int]], v0: float) -> None:
    wrong = torch.tensor([r for r, _ in steps], dtype=torch.float64)
    distance = torch.tensor([m for _, m in steps], dtype=torch.int64)
    w, v = quality_values(wrong, distance, v0)
    before = torch.cat([torch.tensor([v0], dtype=torch.float64), v])[:-1] if len(v) else v
    assert bool(((v >= 0) & (v <= 1 + 1e-12)).all())
    assert bool((w.abs() <= 1 - before + 1e-12).all())
    unsure = quality_values(torch.full_like(wrong, 0.5), distance, v0)[1]
    torch.testing.assert_close(unsure, torch.full_like(wrong, v0))


@pytest.mark.parametrize("length", [1, 2, 7])
def test_a_sound_shortest_trace_rises_evenly(length: int) -> None:
    distance = torch.arange(length - 1, -1, -1)
    _, v = quality_values(torch.zeros(length, dtype=torch.float64), distance)
    torch.testing.assert_close(v, torch.arange(1, length + 1, dtype=torch.float64) / length)


def test_wrong_quality_values_are_named() -> None:
    for wrong, distance, message in (
        (torch.tensor([2.0]), torch.tensor([1]), "wrong has the value 2.0"),
        (torch.tensor([0.0]), torch.tensor([-1]), "distance is"),
        (torch.tensor([0.0]), torch.tensor([1.0]), "distance is"),
        (torch.tensor([0.0, 0.0]), torch.tensor([1]), "of both"),
    ):
        with pytest.raises(ValueError, match=message):
            quality_values(wrong, distance)


def test_a_tree_by_hand() -> None:
    parent = [-1, 0, 1, 2, 1, 4, 0]
    found = infer_targets(parent, {3: True, 5: False})
    assert found == pytest.approx({1: 1 / 3, 2: 2 / 3, 3: 1.0, 4: 1 / 9, 5: 0.0})
    more = infer_targets(parent, {3: True, 5: False, 6: True})
    assert more == pytest.approx({**found, 6: 1.0})
    assert distance_to_right(parent, {3: True, 5: False}) == ({3: 0, 2: 1, 1: 2, 0: 3, 4: 2, 5: 2}, {4, 5})
    assert infer_targets(parent, {3: False}) == {}
    assert infer_targets([-1], {}) == {}


def test_a_malformed_tree_is_refused() -> None:
    with pytest.raises(ValueError, match="parent of node 1 is 2"):
        infer_targets([-1, 2, 0], {})
    with pytest.raises(ValueError, match="names node 5"):
        infer_targets([-1], {5: True})


def slow_targets(parent: list[int], verified: dict[int, bool]) -> dict[int, float]:
    """Leaf by leaf, walking up, as the method is told."""
    d: dict[int, int] = {}
    bad: set[int] = set()
    for leaf in (node for node, right in verified.items() if right):
        steps, node = 1, leaf
        while node >= 0:
            d[node] = min(d.get(node, steps), steps)
            node, steps = parent[node], steps + 1
    if not d:
        return {}
    good = dict(d)
    for leaf in (node for node, right in verified.items() if not right and node not in good):
        chain, node = [], leaf
        while node not in good:
            chain.append(node)
            node = parent[node]
        for member in chain:
            d[member] = good[node]
            bad.add(member)
    v = {0: 0.0}
    for node in range(1, len(parent)):
        if node in d:
            before = v[parent[node]]
            v[node] = max(0.0, before + (-1 if node in bad else 1) * (1 - before) / d[node])
    return {node: value for node, value in v.items() if node}


@settings(max_examples=200)
@given(st.integers(1, 14), st.integers(0, 10_000))
def test_random_trees_agree_with_walking_up_from_every_leaf(size: int, seed: int) -> None:
    generator = random.Random(seed)
    parent = [-1, *(generator.randrange(node) for node in range(1, size))]
    leaves = [node for node in range(1, size) if node not in parent]
    verified = {leaf: generator.random() < 0.5 for leaf in leaves if generator.random() < 0.7}
    found = infer_targets(parent, verified)
    assert found == pytest.approx(slow_targets(parent, verified))
    assert all(0.0 <= value <= 1.0 for value in found.values())
    assert all(found[leaf] == pytest.approx(1.0) for leaf, right in verified.items() if right)


def test_votes_step_by_step() -> None:
    steps = [(1, 1, 0), (1, 0, 0), (0, 0, 1), (1, 1)]
    votes = [Verification(found, final) for found, final in zip(steps, (1, 0, 1, 0), strict=True)]
    # The one of the wrong length does not vote on the outcome either.
    assert voted_labels(votes, 3) == ([1.0, 0.0, 0.0], 1.0)
    assert voted_labels(votes[::-1], 3) == voted_labels(votes, 3)
    assert voted_labels(votes[:1], 3) == ([1.0, 1.0, 0.0], 1.0)
    assert voted_labels(votes[:2], 3) == ([1.0, 0.0, 0.0], None)
    assert voted_labels(votes, 5) == (None, None)
