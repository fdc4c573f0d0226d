"""The forms for large batches against the obvious ones: whitening, values over tokens, disjoint pairs."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from guerdon import ops
from guerdon.ops import _memory


def slow_whiten(x: torch.Tensor, mask: torch.Tensor, key: torch.Tensor, eps: float, ddof: int) -> torch.Tensor:
    result = torch.zeros(x.shape, dtype=torch.float64)
    for name in key.tolist():
        chosen = mask & ~torch.isnan(x) & (key == name)[:, None]
        values = x[chosen].double()
        if len(values) > ddof and values.max() > values.min():
            variance = (values - values.mean()).square().sum() / (len(values) - ddof)
            result[chosen] = (values - values.mean()) / (variance + eps).sqrt()
    return result


@given(st.integers(0, 2**31), st.integers(1, 6), st.integers(1, 40), st.sampled_from([0.0, 1.0, 1e4]))
@settings(max_examples=60, deadline=None)
def test_whitening_equals_the_obvious_form(seed: int, rows: int, width: int, offset: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, width, generator=generator) + offset
    x[torch.rand(x.shape, generator=generator) < 0.1] = torch.nan
    mask = torch.rand(x.shape, generator=generator) < 0.7
    key = torch.randint(0, 3, (rows,), generator=generator)
    for ddof in (0, 1):
        expected = slow_whiten(x, mask, key, 1e-8, ddof)
        for kind in (torch.float32, torch.float64):
            given_ = x.to(kind)
            found = ops.whiten(given_, mask, key=key, ddof=ddof)
            assert found.dtype == kind
            torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)
            assert bool((found[~mask] == 0).all())


def test_equal_tokens_have_no_spread() -> None:
    for value in (0.1, 1e6, -3.3):
        x = torch.full((3, 50), value)
        assert bool((ops.whiten(x, torch.ones(3, 50, dtype=torch.bool)) == 0).all())


def test_centring_alone_and_many_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(7, 5, generator=torch.Generator().manual_seed(0)) + 3
    mask = torch.arange(5)[None] < torch.tensor([5, 1, 0, 3, 2, 4, 5])[:, None]
    whole = ops.whiten(x, mask)
    monkeypatch.setattr(_memory, "rows_per_chunk", lambda width, device: 2)
    assert torch.equal(ops.whiten(x, mask), whole)
    centred = ops.whiten(x, mask, center_only=True)
    torch.testing.assert_close(centred, torch.where(mask, x - x[mask].mean(), 0.0))


def test_whitening_has_a_gradient_where_it_is_asked_for() -> None:
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True, generator=torch.Generator().manual_seed(1))
    mask = torch.tensor([[True, True, False, True]] * 3)
    assert torch.autograd.gradcheck(lambda value: ops.whiten(value, mask), (x,))


def test_every_token_gets_the_value_of_its_row() -> None:
    mask = torch.tensor([[True, False, True], [False, False, True], [True, True, True]])
    value = torch.tensor([1.5, -2.0, torch.nan])
    expected = torch.tensor([[1.5, 0.0, 1.5], [0.0, 0.0, -2.0], [0.0, 0.0, 0.0]])
    assert torch.equal(ops.over_tokens(value, mask), expected)
    assert torch.equal(ops.over_tokens(value[:2], mask[:2]), expected[:2])
    assert torch.equal(ops.over_tokens(value[:2].double(), mask.T[:, :2].T[:2]), expected[:2].double())
    infinite = ops.over_tokens(torch.tensor([torch.inf]), torch.tensor([[True, False]]))
    assert infinite.tolist() == [[torch.inf, 0.0]]
    with pytest.raises(ValueError, match="x has shape"):
        ops.over_tokens(value[:1], mask)


@given(st.integers(0, 2**31), st.integers(1, 14))
@settings(max_examples=60, deadline=None)
def test_disjoint_pairs_join_the_best_with_the_worst(seed: int, rows: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    key = torch.randint(0, 3, (rows,), generator=generator)
    score = torch.randint(0, 5, (rows,), generator=generator).float()
    pairs = ops.pair_indices(key, score, mode="one_to_one").tolist()
    expected: list[float] = []
    for name in set(key.tolist()):
        ordered = sorted(score[key == name].tolist())
        expected += [high - low for low, high in zip(ordered, ordered[::-1], strict=True) if high > low]
    assert len({row for pair in pairs for row in pair}) == 2 * len(pairs)
    assert all(key[a] == key[b] for a, b in pairs)
    assert sorted(float(score[a] - score[b]) for a, b in pairs) == sorted(expected)


@pytest.mark.parametrize("gamma", [0.5, 0.9, 0.99, 1.0])
@pytest.mark.parametrize("width", [1, 6, 64, 70])
def test_one_row_with_holes(gamma: float, width: int) -> None:
    x = torch.randn(1, width, generator=torch.Generator().manual_seed(width))
    mask = torch.arange(width)[None] % 3 != 1
    expected, later = torch.zeros(1, width), 0.0
    for place in reversed(range(width)):
        if mask[0, place]:
            later = float(x[0, place]) + gamma * later
            expected[0, place] = later
    torch.testing.assert_close(ops.discounted_suffix(x, mask, gamma), expected)
