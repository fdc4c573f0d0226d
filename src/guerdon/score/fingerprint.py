"""What a value contains, as bytes: equal bytes mean equal contents.

Rows are shared, and kept on disk, by what they contain. A `repr` would not do: it leaves out the middle of a large
array, and says where in memory an object lies instead of what is in it.
"""

from __future__ import annotations

import dataclasses
import io
import pickle
import struct
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch


class FingerprintError(ValueError):
    """The contents of a value cannot be read."""


def fingerprint(*values: Any) -> bytes:
    """Everything that some values contain.

    Numbers, texts, bytes, lists, tuples, dictionaries (in any order), sets, dataclasses, arrays and tensors are
    written out with their types; anything else is pickled. So 4, 4.0, True and "4" differ, as do two arrays that
    differ in one place.

    Args:
        *values: The values.

    Returns:
        Bytes, the same in every process; sets inside of objects that had to be pickled may make an exception.

    Raises:
        FingerprintError: A value can neither be read nor pickled, or contains itself.

    Example:
        >>> fingerprint({"a": 1, "b": [2.0]}) == fingerprint({"b": [2.0], "a": 1})
        True
        >>> fingerprint({"a": 1}) == fingerprint({"a": "1"})
        False
    """
    parts: list[bytes] = []
    try:
        for value in values:
            _write(value, parts)
    except RecursionError as error:
        raise FingerprintError("a value is nested too deeply, or contains itself") from error
    return b"".join(parts)


def _write(value: Any, parts: list[bytes]) -> None:
    kind = type(value)
    if kind is str:
        _sized(b"s", value.encode("utf-8", "surrogatepass"), parts)
    elif value is None or kind is bool:
        parts.append(b"%a;" % value)
    elif kind is int:
        # In hexadecimal: decimals of huge numbers are refused.
        parts.append(b"i%x;" % value)
    elif kind is float:
        parts.append(b"f" + struct.pack("<d", value))
    elif kind is bytes:
        _sized(b"b", value, parts)
    elif kind is list or kind is tuple:
        parts.append((b"l%d:" if kind is list else b"t%d:") % len(value))
        for element in value:
            _write(element, parts)
    elif kind is dict:
        _write_unordered(b"d", ((_bytes(key), _bytes(entry)) for key, entry in value.items()), parts)
    elif kind is set or kind is frozenset:
        _write_unordered(kind.__name__.encode(), ((_bytes(element),) for element in value), parts)
    else:
        _write_object(value, parts)


def _write_object(value: Any, parts: list[bytes]) -> None:
    kind = type(value)
    if isinstance(value, np.ndarray | np.generic) and not value.dtype.hasobject:
        _sized(f"array {kind.__name__} {value.dtype.str} {value.shape} ".encode(), value.tobytes(), parts)
    elif kind is np.ndarray:
        parts.append(f"objects {value.shape} ".encode())
        _write(value.tolist(), parts)
    elif kind is torch.Tensor and value.layout == torch.strided and not value.is_quantized:
        flat = value.detach().cpu().contiguous().flatten().view(torch.uint8)
        _sized(f"tensor {value.dtype} {tuple(value.shape)} ".encode(), flat.numpy().tobytes(), parts)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        named = {entry.name: getattr(value, entry.name, None) for entry in dataclasses.fields(value)}
        _sized(b"o", f"{kind.__module__}.{kind.__qualname__}".encode(), parts)
        _write(named, parts)
    elif isinstance(value, Mapping) and not _is_picklable(value):
        # A read-only view of a dictionary, say.
        _sized(b"m", f"{kind.__module__}.{kind.__qualname__}".encode(), parts)
        _write(dict(value), parts)
    else:
        _sized(b"p", _pickled(value), parts)


def _bytes(value: Any) -> bytes:
    parts: list[bytes] = []
    _write(value, parts)
    return b"".join(parts)


def _sized(tag: bytes, raw: bytes, parts: list[bytes]) -> None:
    # With its length in front, nothing that is written can look like the beginning of what follows it.
    parts.append(b"%b%d:" % (tag, len(raw)))
    parts.append(raw)


def _write_unordered(tag: bytes, entries: Iterable[tuple[bytes, ...]], parts: list[bytes]) -> None:
    listed = sorted(entries)
    parts.append(b"%b%d:" % (tag, len(listed)))
    for entry in listed:
        parts.extend(entry)


def _pickled(value: Any) -> bytes:
    file = io.BytesIO()
    pickler = pickle.Pickler(file, protocol=4)
    # Without references to what was written before, which would tell two equal texts from one that occurs twice.
    pickler.fast = True
    try:
        pickler.dump(value)
    except RecursionError:
        raise
    except Exception as error:
        raise FingerprintError(f"{type(value).__name__} cannot be read ({type(error).__name__}: {error})") from error
    return file.getvalue()


def _is_picklable(value: Any) -> bool:
    try:
        _pickled(value)
    except FingerprintError:
        return False
    return True
