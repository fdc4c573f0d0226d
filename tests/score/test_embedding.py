"""Cosine of embeddings as a reward."""

from __future__ import annotations

import pytest
import torch

from guerdon.score.verify.embedding import embedding_cosine


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_equals_torchs(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(50, 7, generator=generator, dtype=torch.float64).to(dtype) for _ in range(2))
    expected = torch.nn.functional.cosine_similarity(left.double(), right.double()).clamp(min=0.0)
    result = embedding_cosine(left, right)
    assert result.dtype == torch.promote_types(dtype, torch.float32)
    torch.testing.assert_close(result.double(), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(embedding_cosine(left, right[0]), embedding_cosine(left, right[:1].expand(50, 7)))


def test_edges() -> None:
    left = torch.tensor([[0.0, 0.0], [1e30, 1e30], [1e-38, 0.0], [float("nan"), 1.0], [1.0, 0.0]])
    right = torch.tensor([[1.0, 0.0], [1e30, 1e30], [1e-38, 0.0], [1.0, 1.0], [-1.0, 0.0]])
    result = embedding_cosine(left, right)
    expected = torch.tensor([0.0, 1.0, 1.0, float("nan"), 0.0])
    torch.testing.assert_close(result, expected, equal_nan=True)
    assert embedding_cosine(torch.zeros(0, 3), torch.zeros(0, 3)).shape == (0,)
    with pytest.raises(ValueError, match="expected"):
        embedding_cosine(torch.zeros(2, 3), torch.zeros(3, 3))
