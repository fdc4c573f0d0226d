"""Contents as bytes: equal for equal values, different for different ones."""

from __future__ import annotations

import datetime
import math
import subprocess
import sys
import threading
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon.score.fingerprint import FingerprintError, fingerprint

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
KEYS = st.booleans() | st.integers() | st.text()
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(KEYS, inner, max_size=3)
        | st.frozensets(KEYS, max_size=3)
    ),
    max_leaves=8,
)  # fmt: skip


@dataclass(frozen=True)
class Setting:
    """A value with two fields."""

    name: str
    weights: Any = ()


def alike(left: Any, right: Any) -> bool:
    """Equal, with equal types all the way down."""
    if type(left) is not type(right):
        return False
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(alike, left, right))
    if isinstance(left, float):
        return (left, math.copysign(1, left)) == (right, math.copysign(1, right))
    if isinstance(left, frozenset | dict):
        others = list(right.items() if isinstance(right, dict) else right)
        mine = list(left.items() if isinstance(left, dict) else left)
        return len(mine) == len(others) and all(any(alike(a, b) for b in others) for a in mine)
    return bool(left == right)


@given(VALUES, VALUES)
def test_it_tells_what_is_different_and_only_that(left: Any, right: Any) -> None:
    assert (fingerprint(left) == fingerprint(right)) == alike(left, right)
    assert (fingerprint(left, right) == fingerprint(right, left)) == alike(left, right)
    assert fingerprint([left, [right]]) != fingerprint([[left], right])


DIFFERENT: list[Any] = [
    1, 1.0, True, "1", b"1", None, "", b"", 0.0, -0.0, math.nan, 10 ** 6000, [1], (1,), {1}, frozenset([1]),
    {1: 2}, {"1": 2}, [1, [2]], [[1], 2], "\ud800", "\udc00", Decimal("1"), datetime.date(2000, 1, 1),
    np.float32(1), np.float64(1), np.zeros(3), np.zeros((3, 1)), np.zeros(3, dtype=np.float32),
    np.array([0, "a", None]),
    torch.zeros(3), torch.zeros(3, 1), torch.zeros(3, dtype=torch.bfloat16), torch.tensor(0.0), torch.zeros(0),
    Setting("a"), Setting("b"), Setting("a", np.ones(3)), MappingProxyType({1: 2}), Setting, math.sqrt,
]  # fmt: skip


def test_kinds_of_values_are_told_apart() -> None:
    written = [fingerprint(value) for value in DIFFERENT]
    assert len(set(written)) == len(DIFFERENT)


def test_equal_values_are_equal_however_they_came_about() -> None:
    text = "a long text"
    assert fingerprint([text, text]) == fingerprint([text, "".join(["a long", " text"])])
    assert fingerprint(Decimal("1.5"), Setting("a", {2, 1})) == fingerprint(Decimal("1.5"), Setting("a", {1, 2}))
    strided = np.arange(20)[::2]
    assert fingerprint(strided) == fingerprint(strided.copy())
    grown = torch.arange(6.0).reshape(2, 3)
    assert fingerprint(grown.T) == fingerprint(grown.T.contiguous()) != fingerprint(grown.reshape(3, 2))
    assert fingerprint(torch.ones(2, requires_grad=True)) == fingerprint(torch.ones(2))


def test_large_arrays_are_read_to_the_end() -> None:
    changed = np.zeros(100_000)
    changed[50_000] = 1
    assert fingerprint(changed) != fingerprint(np.zeros(100_000))


def test_it_is_the_same_in_every_process() -> None:
    code = (
        "from guerdon.score.fingerprint import fingerprint\n"
        "print(fingerprint({'b': {'x', 'y', 'z'}, 'a': [1.5, None]}, frozenset('abc')).hex())"
    )
    written = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed},
            cwd=Path(__file__).parents[2],
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(written) == 1


def test_what_cannot_be_read_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    for value in (lambda: 0, [threading.Lock()], {"a": iter(lambda: 0, 1)}, endless):
        with pytest.raises(FingerprintError):
            fingerprint(value)
