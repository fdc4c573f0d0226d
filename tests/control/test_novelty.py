"""Novelty, signatures and coverage: worked examples, invariants, and pyribs' and scipy's figures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from guerdon.control.novelty import add_time, coverage, log_signature, novelty, signature

REFERENCE = [[0, 0], [1, 0], [0, 2], [3, 4]]
PATH = [[0, 0], [1, 1], [3, 1], [3, 2]]


def slow_novelty(bd: np.ndarray, reference: np.ndarray, k: int, drop_first: str) -> list[float]:
    found = []
    for point in bd:
        away = sorted(float(np.sqrt(((point - other) ** 2).sum())) for other in reference)
        if drop_first == "always" or away[0] == 0:
            away = away[1:]
        found.append(sum(away[:k]) / len(away[:k]))
    return found


def test_worked_example_of_novelty() -> None:
    assert novelty(REFERENCE, REFERENCE, k=2) == pytest.approx([1.5, 1.618034, 2.118034, 4.038844], abs=1e-6)
    assert novelty([[2, 2]], REFERENCE, k=2) == pytest.approx([2.236068], abs=1e-6)
    assert novelty([[2, 2]], REFERENCE, k=2, drop_first="self") == pytest.approx([(2.0 + 5**0.5) / 2])
    assert novelty(torch.tensor(REFERENCE), torch.tensor(REFERENCE), k=2)[0] == 1.5


def test_worked_example_of_signatures() -> None:
    assert signature(PATH) == pytest.approx([3, 2, 4.5, 3.5, 2.5, 2])
    assert signature(PATH, order=1) == pytest.approx([3, 2])
    assert log_signature(PATH) == pytest.approx([3, 2, 0.5])
    assert log_signature(add_time(PATH, 4, 10)) == pytest.approx([3, 2, 0.4, 0.5, 0.133333, 0], abs=1e-6)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    k=st.integers(1, 6),
    size=st.integers(2, 9),
    dimensions=st.integers(1, 20),
    drop=st.sampled_from(["always", "self"]),
)
def test_equals_the_obvious_loop(seed: int, k: int, size: int, dimensions: int, drop: str) -> None:
    rng = np.random.default_rng(seed)
    reference = rng.integers(0, 3, (size, dimensions)).astype(float)
    bd = np.concatenate((reference[:2], rng.normal(size=(3, dimensions))))
    assert novelty(bd, reference, k, drop) == pytest.approx(slow_novelty(bd, reference, k, drop))


@pytest.mark.parametrize("dimensions", [2, 16])
def test_many_points_equal_the_obvious_loop(dimensions: int) -> None:
    rng = np.random.default_rng(0)
    reference = rng.normal(size=(1_500, dimensions))
    bd = np.concatenate((reference[:400], rng.normal(size=(50, dimensions))))
    found = novelty(bd, reference)
    some = [0, 7, 399, 400, 449]
    assert found[some] == pytest.approx(slow_novelty(bd[some], reference, 15, "always"), rel=1e-12)


@given(seed=st.integers(0, 10_000))
def test_invariants_of_novelty(seed: int) -> None:
    rng = np.random.default_rng(seed)
    bd = rng.normal(size=(12, 3))
    found = novelty(bd, bd, 4)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    moved = bd @ turn + rng.normal(size=3)
    assert novelty(moved, moved, 4) == pytest.approx(found)
    assert novelty(3 * bd, 3 * bd, 4) == pytest.approx(3 * found)
    more = np.concatenate((bd, rng.normal(size=(5, 3))))
    assert (novelty(bd, more, 4) <= found + 1e-12).all()


def test_equal_to_the_proximity_archive_of_pyribs() -> None:
    from ribs.archives import ProximityArchive

    rng = np.random.default_rng(1)
    known, new = rng.normal(size=(200, 2)), rng.normal(size=(40, 2))
    archive = ProximityArchive(solution_dim=1, measure_dim=2, k_neighbors=5, novelty_threshold=0.0, seed=0)
    archive.add(np.zeros((200, 1)), np.zeros(200), known)
    stored = archive.data("measures")
    assert novelty(new, stored, 5, "self") == pytest.approx(archive.compute_novelty(new), rel=1e-5)


def test_edge_cases_of_novelty() -> None:
    assert novelty([[1.0, 1.0]] * 4, [[1.0, 1.0]] * 4).tolist() == [0.0] * 4
    assert novelty([[0.0], [3.0]], [[0.0], [1.0]], k=15).tolist() == [1.0, 3.0]
    assert novelty(np.zeros((0, 2)), np.zeros((3, 2))).shape == (0,)
    assert novelty([[2.0]], [[0.0]], drop_first="self").tolist() == [2.0]
    for wrong, match in (
        (lambda: novelty([[0.0]], [[0.0]]), "reference has one point"),
        (lambda: novelty([[0.0]], [[0.0]], drop_first="self"), "row 0"),
        (lambda: novelty([[0.0]], np.zeros((0, 1))), "reference is empty"),
        (lambda: novelty([[0.0, 1.0]], [[0.0], [1.0]]), "expected equal numbers"),
        (lambda: novelty([[0.0], [float("nan")]], [[0.0], [1.0]]), r"bd\[1, 0\] is nan"),
        (lambda: novelty([[0.0]], [[0.0], [1.0]], k=0), "k >= 1"),
        (lambda: novelty([[0.0]], [[0.0], [1.0]], drop_first="never"), "drop_first 'never'"),
        (lambda: novelty([0.0], [[0.0], [1.0]]), "expected 2 dimensions"),
    ):
        with pytest.raises(ValueError, match=match):
            wrong()


@given(seed=st.integers(0, 10_000), d=st.integers(1, 4))
def test_invariants_of_signatures(seed: int, d: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = rng.normal(size=(5, d)), rng.normal(size=(4, d))
    second += first[-1] - second[0]

    def split(path: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        terms = signature(path)
        return terms[:d], terms[d:].reshape(d, d)

    one, two = split(first)
    assert two + two.T == pytest.approx(np.outer(one, one))
    after_one, after_two = split(second)
    whole_one, whole_two = split(np.concatenate((first, second[1:])))
    assert whole_one == pytest.approx(one + after_one)
    assert whole_two == pytest.approx(two + after_two + np.outer(one, after_one))
    halves = np.insert(first, range(1, 5), (first[1:] + first[:-1]) / 2, axis=0)
    assert signature(halves) == pytest.approx(signature(first))
    there_and_back = np.concatenate((first, first[-2::-1]))
    assert log_signature(there_and_back) == pytest.approx(0, abs=1e-12)
    clocked = log_signature(add_time(there_and_back, 3, 4))
    assert clocked[d] == pytest.approx(0.75)
    assert signature(np.stack((first, first + 1))) == pytest.approx(np.stack([signature(first)] * 2))


def test_edge_cases_of_signatures() -> None:
    for wrong, match in (
        (lambda: signature([[0.0, 1.0]]), "at least 2 points"),
        (lambda: log_signature([[0.0, 1.0]]), "at least 2 points"),
        (lambda: signature(PATH, order=3), "order is 3"),
        (lambda: signature([[0.0], [float("inf")]]), "is inf"),
        (lambda: add_time(PATH, 11, 10), "length 11"),
    ):
        with pytest.raises(ValueError, match=match):
            wrong()


def test_coverage_is_that_of_a_grid_archive() -> None:
    from ribs.archives import GridArchive

    points = np.random.default_rng(2).uniform(-1, 1, (300, 2))
    archive = GridArchive(solution_dim=1, dims=(20, 30), ranges=[(-1, 1), (-1, 1)])
    archive.add(np.zeros((300, 1)), np.zeros(300), points)
    assert coverage(points, -1, [1, 1], (20, 30)) == pytest.approx(archive.stats.coverage)
    assert coverage([[-1.0], [1.0]], -1, 1, 4) == 0.5
    assert coverage(np.zeros((0, 2)), 0, 1, 3) == 0.0
    with pytest.raises(ValueError, match="points in row 1"):
        coverage([[0.0], [1.5]], -1, 1, 4)
    with pytest.raises(ValueError, match="low < high"):
        coverage([[0.0]], 1, 1, 4)
