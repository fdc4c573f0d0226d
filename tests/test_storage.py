"""Arrow and Parquet round trips lose nothing; files are whole or not there."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
import torch
from hypothesis import given

from guerdon.rollouts import Rollouts
from guerdon.storage import atomic_write, from_arrow, read_parquet, to_arrow, write_parquet
from tests.strategies import rollouts


@given(value=rollouts())
def test_arrow_round_trip_loses_nothing(value: Rollouts) -> None:
    assert from_arrow(to_arrow(value)).equals(value)


@given(value=rollouts(max_rows=3))
def test_parquet_round_trip_loses_nothing(value: Rollouts, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("parquet") / "rollouts.parquet"
    assert read_parquet(write_parquet(value, path)).equals(value)


def test_awkward_columns_survive() -> None:
    columns = {
        "mixed": [1, 2.0, None],
        "large": [2**70, -(2**63), 0],
        "surrogate": ["\ud800", "é", ""],
        "nan": [float("nan"), float("inf"), -0.0],
        "nested": [{"a": (1, [None, float("nan")])}, {}, {"b": True}],
        "nothing": [None, None, None],
        "flags": [True, False, None],
    }
    value = Rollouts(group=[0, 0, 0], mask=torch.ones(3, 1, dtype=torch.bool), columns=columns)
    back = from_arrow(to_arrow(value))
    assert back.equals(value)
    assert str(back.columns["nan"][2]) == "-0.0"
    assert [type(item) for item in back.columns["mixed"]] == [int, float, type(None)]


def test_what_cannot_be_stored_is_refused_by_name_and_row() -> None:
    value = Rollouts(group=[0, 0], mask=torch.ones(2, 1, dtype=torch.bool), columns={"x": [1, {1, 2}]})
    with pytest.raises(ValueError, match=r"columns\['x'\] in row 1 cannot be stored"):
        to_arrow(value)
    value = value.with_columns(x=[1, {2: "a"}])
    with pytest.raises(ValueError, match=r"row 1 cannot be stored \(key 2 of a mapping"):
        to_arrow(value)


def test_foreign_and_later_tables_are_refused() -> None:
    with pytest.raises(ValueError, match="no guerdon metadata"):
        from_arrow(pa.table({"a": [1]}))
    table = to_arrow(Rollouts(group=[0], mask=[[1]]))
    metadata = table.schema.metadata[b"guerdon"].replace(b'"version": 1', b'"version": 99')
    with pytest.raises(ValueError, match="format 99"):
        from_arrow(table.replace_schema_metadata({b"guerdon": metadata}))


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    atomic_write(path, lambda handle: handle.write(b"old"))

    def fail(handle: object) -> None:
        handle.write(b"half")  # type: ignore[attr-defined]
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        atomic_write(path, fail)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
