"""The archive that is never pruned, and the first Pareto front."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon.control.archives import Archive, pareto_first_front


def filled(rows: int, rng: np.random.Generator) -> Archive:
    archive = Archive()
    for size in (1, rows - 1):
        archive.add(
            rng.normal(size=(size, 3)),
            rng.normal(size=(size, 2)),
            rng.random(size),
            {"observation": rng.integers(0, 255, (size, 4, 4), dtype=np.uint8), "id": np.arange(size)},
        )
    return archive


def test_rows_stay_in_order_of_arrival() -> None:
    rng = np.random.default_rng(0)
    archive, expected = Archive(), []
    for size in (1, 0, 5, 2, 17):
        rows = rng.normal(size=(size, 2))
        archive.add(rows, rows + 1, rows[:, 0], {"twice": 2 * rows[:, 0]})
        expected.append(rows)
    whole = np.concatenate(expected)
    assert len(archive) == 25
    assert np.array_equal(archive.genomes(), whole)
    assert np.array_equal(archive.bd(), whole + 1)
    assert np.array_equal(archive.rewards(), whole[:, 0])
    assert np.array_equal(archive.meta("twice"), 2 * whole[:, 0])
    some = archive.take([3, 0])
    assert np.array_equal(some.genomes(), whole[[3, 0]])
    some.extend(archive.take(archive.rewards() > 0))
    assert np.array_equal(some.rewards()[2:], whole[:, 0][whole[:, 0] > 0])
    assert len(archive.take([])) == 0
    assert len(Archive().take([])) == 0
    some.set_bd(np.zeros((len(some), 5)))
    assert np.array_equal(archive.bd(), whole + 1)


def test_save_and_load_lose_nothing(tmp_path: Path) -> None:
    archive = filled(9, np.random.default_rng(1))
    archive.save(tmp_path / "archive.npz")
    loaded = Archive.load(tmp_path / "archive.npz")
    assert len(loaded) == 9
    for read in (Archive.genomes, Archive.bd, Archive.rewards):
        assert np.array_equal(read(loaded), read(archive))
    for name in ("observation", "id"):
        assert np.array_equal(loaded.meta(name), archive.meta(name))
        assert loaded.meta(name).dtype == archive.meta(name).dtype
    loaded.extend(archive)
    assert len(loaded) == 18
    Archive().save(tmp_path / "empty.npz")
    assert len(Archive.load(tmp_path / "empty.npz")) == 0


def test_descriptors_are_recomputed_from_observations() -> None:
    archive = filled(6, np.random.default_rng(2))
    archive.recompute(lambda seen: seen.reshape(len(seen), -1).mean(1, keepdims=True))
    assert archive.bd().shape == (6, 1)
    assert archive.bd()[:, 0] == pytest.approx(archive.meta("observation").mean((1, 2)))
    with pytest.raises(ValueError, match=r"expected \(6, D\)"):
        archive.recompute(lambda seen: seen[:2].reshape(2, -1))
    with pytest.raises(ValueError, match="no 'picture'"):
        archive.recompute(lambda seen: seen, "picture")
    Archive().recompute(lambda seen: seen)


def test_what_does_not_match_is_refused() -> None:
    archive = Archive()
    archive.add([[0.0]], [[0.0]], [1.0])
    with pytest.raises(ValueError, match="expected 2 rows"):
        archive.add([[0.0]], [[0.0], [1.0]], [1.0, 2.0])
    with pytest.raises(ValueError, match="columns are"):
        archive.add([[0.0]], [[0.0]], [1.0], {"id": [1]})
    with pytest.raises(ValueError, match="bd has rows of shape"):
        archive.add([[0.0]], [[0.0, 1.0]], [1.0])
    with pytest.raises(ValueError, match="expected genome"):
        archive.add([0.0], [[0.0]], [1.0])
    assert len(archive) == 1
    archive.set_meta("mark", [3])
    assert archive.meta_names() == ["mark"]
    assert archive.without_meta("mark").meta_names() == []
    with pytest.raises(ValueError, match="expected 1 rows"):
        archive.set_meta("mark", [3, 4])


def test_worked_example_of_the_front() -> None:
    assert pareto_first_front([0.2, 0.9, 0.5, 0.4], [0.8, 0.1, 0.5, 0.4]).tolist() == [0, 1, 2]
    assert pareto_first_front([1.0, 1.0], [2.0, 2.0]).tolist() == [0, 1]
    assert pareto_first_front([], []).tolist() == []
    with pytest.raises(ValueError, match="row 1 has NaN"):
        pareto_first_front([0.0, float("nan")])
    with pytest.raises(ValueError, match="equal lengths"):
        pareto_first_front([0.0], [0.0, 1.0])


@given(st.lists(st.tuples(*[st.integers(0, 4)] * 3), max_size=14))
def test_the_front_is_what_nobody_dominates(rows: list[tuple[int, int, int]]) -> None:
    def dominated(row: tuple[int, ...]) -> bool:
        return any(other != row and all(a >= b for a, b in zip(other, row, strict=True)) for other in rows)

    expected = [place for place, row in enumerate(rows) if not dominated(row)]
    columns = np.array(rows, dtype=float).reshape(-1, 3).T
    assert pareto_first_front(*columns).tolist() == expected
