"""The measurements of the packed scorer are of equal results."""

from __future__ import annotations

from guerdon.bench import likelihood


def test_the_rows_compare_equal_results() -> None:
    found = likelihood.rows(quick=True)
    assert [row.shape[0] for row in found] == [8, 8]
    for row in found:
        assert row.ratio is not None
        assert float(row.note.rsplit(" ", 1)[1]) < 1e-4
