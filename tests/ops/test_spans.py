"""Spans of a text and their log-probabilities."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon import ops

ROWS = torch.tensor([[[2.0, 1, 1], [1, 3, 4], [6, 3, 1], [1, 1, 2]]])
LOGITS = torch.log(ROWS / ROWS.sum(-1, keepdim=True))
IDS = torch.tensor([[0, 1, 2, 0]])


def test_a_token_is_read_from_the_row_before_it() -> None:
    (found,) = ops.span_logprobs(LOGITS, IDS, [(2, 4)])
    assert found.tolist() == pytest.approx([math.log(0.5), math.log(0.6)])
    assert float(found.mean()) == pytest.approx(-0.601986, abs=1e-6)


@given(data=st.data(), rows=st.integers(0, 4), width=st.integers(2, 9), seed=st.integers(0, 999))
def test_spans_equal_a_loop(data: st.DataObject, rows: int, width: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(rows, width, 5, generator=generator)
    ids = torch.randint(0, 5, (rows, width), generator=generator)
    starts = [data.draw(st.integers(1, width - 1)) for _ in range(rows)]
    spans = [(start, data.draw(st.integers(start + 1, width))) for start in starts]
    found = ops.span_logprobs(logits, ids, spans, temperature=0.7, chunk=3)
    assert len(found) == rows
    for row, (start, end) in enumerate(spans):
        table = torch.log_softmax(logits[row] / 0.7, -1)
        expected = [float(table[t - 1, ids[row, t]]) for t in range(start, end)]
        assert found[row].tolist() == pytest.approx(expected, abs=1e-5)


def test_gradients_and_dtypes() -> None:
    logits = LOGITS.clone().requires_grad_()
    sum(part.sum() for part in ops.span_logprobs(logits, IDS, [(1, 2)])).backward()  # type: ignore[union-attr]
    assert logits.grad is not None
    assert (logits.grad.abs().sum(-1) > 0).tolist() == [[True, False, False, False]]
    assert ops.span_logprobs(LOGITS.bfloat16(), IDS, [(1, 3)])[0].dtype == torch.float32
    assert ops.span_logprobs(LOGITS.double(), IDS, [(1, 3)])[0].dtype == torch.float64


@pytest.mark.parametrize("span", [(0, 2), (2, 2), (3, 2), (2, 5)])
def test_bad_spans_name_the_row(span: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="row 0"):
        ops.span_logprobs(LOGITS, IDS, [span])


def test_bad_shapes_are_named() -> None:
    with pytest.raises(ValueError, match="spans has 2"):
        ops.span_logprobs(LOGITS, IDS, [(1, 2), (1, 2)])
    with pytest.raises(ValueError, match="logits has shape"):
        ops.span_logprobs(LOGITS[0], IDS, [(1, 2)])
    with pytest.raises(ValueError, match="ids has shape"):
        ops.span_logprobs(LOGITS, IDS[:, :3], [(1, 2)])


def test_a_span_is_what_a_rendering_adds() -> None:
    assert ops.appended_span([], [4]) == (0, 1)
    assert ops.appended_span([1, 2], [1, 2, 9, 9]) == (2, 4)
    with pytest.raises(ValueError, match="at token 1"):
        ops.appended_span([1, 2], [1, 7, 9])
    with pytest.raises(ValueError, match="at token 1"):
        ops.appended_span([1, 2], [1])
    with pytest.raises(ValueError, match="no tokens beyond"):
        ops.appended_span([1, 2], [1, 2])


@given(parts=st.lists(st.lists(st.integers(0, 9), max_size=4), max_size=5))
def test_joined_parts_are_found_again(parts: list[list[int]]) -> None:
    ids, spans = ops.joined_spans(parts)
    assert [ids[start:end] for start, end in spans] == parts
    assert len(ids) == sum(map(len, parts))
