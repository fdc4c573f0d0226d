"""Rollouts to Arrow and Parquet and back, without loss.

A table has one row a response. Columns of the value that hold only strings, only ints, only floats or only bools
(or None) become native Arrow columns; anything else is JSON text. Shapes, dtypes and scalars are in the schema's
metadata under `guerdon`.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from guerdon.rollouts import TOKEN_FIELDS, Rollouts

FORMAT_VERSION = 1
_FIELDS = ("group", "mask", "step", "outcome", "process", "node", *TOKEN_FIELDS)
_NATIVE = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
_AS_BITS = {torch.bfloat16: torch.int16}
_TUPLE, _NUMBER = "__tuple__", "__number__"


def to_arrow(rollouts: Rollouts) -> pa.Table:
    """Turn rollouts into an Arrow table.

    Raises:
        ValueError: A column holds something that JSON cannot; the message names column and row.
    """
    arrays: dict[str, pa.Array] = {}
    shapes: dict[str, Any] = {}
    for name, tensor in _tensors(rollouts).items():
        arrays[name] = _tensor_to_arrow(tensor)
        shapes[name] = {"shape": list(tensor.shape[1:]), "dtype": str(tensor.dtype).removeprefix("torch.")}
    encoded = []
    for name, values in rollouts.columns.items():
        native = _native_type(values)
        if native is None:
            encoded.append(name)
            arrays[name] = pa.array([_to_json(name, row, value) for row, value in enumerate(values)], pa.string())
        else:
            arrays[name] = pa.array(values, native)
    about = {
        "version": FORMAT_VERSION,
        "rows": len(rollouts),
        "tensors": shapes,
        "columns": list(rollouts.columns),
        "json_columns": encoded,
        "progress": rollouts.progress,
        "iteration": rollouts.iteration,
        "temperature": rollouts.temperature,
    }
    table = pa.table(arrays)
    return table.replace_schema_metadata({b"guerdon": json.dumps(about).encode()})


def from_arrow(table: pa.Table) -> Rollouts:
    """Turn a table made by `to_arrow` back into rollouts, on the CPU.

    Raises:
        ValueError: The table was not written by guerdon, or by a later version of the format.
    """
    metadata = (table.schema.metadata or {}).get(b"guerdon")
    if metadata is None:
        raise ValueError("the table has no guerdon metadata: expected one that to_arrow or write_parquet made")
    about = json.loads(metadata)
    if about["version"] > FORMAT_VERSION:
        raise ValueError(f"the table has format {about['version']}: this guerdon reads up to {FORMAT_VERSION}")
    fields: dict[str, Any] = {"tokens": {}, "steps": {}}
    for name, entry in about["tensors"].items():
        shape, dtype = entry["shape"], getattr(torch, entry["dtype"])
        value = _tensor_from_arrow(table.column(name), table.num_rows, shape, dtype)
        kind, _, key = name.partition("/")
        if key:
            fields[kind][key] = value
        else:
            fields[name] = value
    columns = {}
    for name in about["columns"]:
        values = table.column(name).to_pylist()
        columns[name] = [_decode(json.loads(value)) for value in values] if name in about["json_columns"] else values
    scalars = {name: about[name] for name in ("progress", "iteration", "temperature")}
    return Rollouts(**fields, **scalars, columns=columns)


def write_parquet(rollouts: Rollouts, path: str | os.PathLike[str]) -> Path:
    """Write rollouts to a Parquet file, atomically: the file is whole or not there.

    Args:
        rollouts: What to store.
        path: The file; missing folders are made.

    Returns:
        The path written.
    """
    table = to_arrow(rollouts)

    def write(handle: Any) -> None:
        pq.write_table(table, handle, compression="zstd")

    return atomic_write(path, write)


def read_parquet(path: str | os.PathLike[str]) -> Rollouts:
    """Read rollouts that `write_parquet` wrote."""
    return from_arrow(pq.read_table(path))


def atomic_write(path: str | os.PathLike[str], write: Any) -> Path:
    """Write a file so that a reader, or a run killed at any moment, sees the old one or the whole of it.

    Args:
        path: The file to write; missing folders are made.
        write: Called with a binary file handle.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(descriptor, "wb") as handle:
            write(handle)
            handle.flush()
            os.fsync(handle.fileno())
        os.chmod(name, 0o644)
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return target


def _tensors(rollouts: Rollouts) -> dict[str, Tensor]:
    found = {name: getattr(rollouts, name) for name in _FIELDS}
    found |= {f"tokens/{name}": value for name, value in rollouts.tokens.items()}
    found |= {f"steps/{name}": value for name, value in rollouts.steps.items()}
    return {name: value for name, value in found.items() if value is not None}


def _tensor_to_arrow(tensor: Tensor) -> pa.Array:
    value = tensor.detach().cpu().contiguous()
    if value.dtype in _AS_BITS:
        value = value.view(_AS_BITS[value.dtype])
    if value.ndim == 1:
        return pa.array(value.numpy())
    rows = value.shape[0]
    width = int(np.prod(value.shape[1:]))
    offsets = np.arange(rows + 1, dtype=np.int64) * width
    return pa.LargeListArray.from_arrays(offsets, pa.array(value.reshape(-1).numpy()))


def _tensor_from_arrow(column: pa.ChunkedArray, rows: int, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    array = column.combine_chunks()
    flat = array.flatten() if shape else array
    values = np.array(flat.to_numpy(zero_copy_only=False))
    stored = _AS_BITS.get(dtype, dtype)
    tensor = torch.from_numpy(values).to(stored) if values.size else torch.empty(0, dtype=stored)
    return tensor.view(dtype).reshape(rows, *shape)


def _native_type(values: Sequence[Any]) -> pa.DataType | None:
    kinds = {type(value) for value in values if value is not None}
    if len(kinds) != 1:
        return None
    kind = kinds.pop()
    if kind is int and any(value is not None and not -(2**63) <= value < 2**63 for value in values):
        return None
    if kind is str and any(value is not None and not _is_utf8(value) for value in values):
        return None
    return _NATIVE.get(kind)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _to_json(name: str, row: int, value: Any) -> str:
    try:
        return json.dumps(_encode(value))
    except TypeError as error:
        raise ValueError(f"columns[{name!r}] in row {row} cannot be stored ({error}): expected JSON values") from error


def _encode(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, tuple):
        return {_TUPLE: [_encode(item) for item in value]}
    if isinstance(value, list):
        return [_encode(item) for item in value]
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str) or key in (_TUPLE, _NUMBER):
                raise TypeError(f"key {key!r} of a mapping is not a plain string")
        return {key: _encode(item) for key, item in value.items()}
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return {_NUMBER: repr(value)}
    return value


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return [_decode(item) for item in value]
    if isinstance(value, dict):
        if _TUPLE in value:
            return tuple(_decode(item) for item in value[_TUPLE])
        if _NUMBER in value:
            return float(value[_NUMBER])
        return {key: _decode(item) for key, item in value.items()}
    return value
