from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon.ops._keys import dense_keys


@given(
    st.lists(st.one_of(st.integers(-5, 5), st.integers(-(2**62), 2**62)), max_size=20),
    st.sampled_from([torch.int64, torch.int32]),
)
def test_keys_are_those_of_a_sort(values, dtype):
    key = torch.tensor([value % 1000 if dtype is torch.int32 else value for value in values], dtype=dtype)
    ids, place = dense_keys(key)
    expected_ids, expected = torch.unique(key, return_inverse=True)
    assert ids.dtype == key.dtype
    assert torch.equal(ids, expected_ids)
    assert torch.equal(place, expected)


@pytest.mark.parametrize("key", [[0, 1, 2, 2], [7, 7, 9], [-3, 5, -3], [2**62, -(2**62)]])
def test_near_and_far_keys(key):
    ids, place = dense_keys(torch.tensor(key))
    assert ids[place].tolist() == key
