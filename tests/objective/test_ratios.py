"""Log-ratios of responses and turns."""

from __future__ import annotations

import pytest
import torch

from guerdon.objective import mixed_logprob, sequence_log_ratio


def test_mixed_logprob_by_hand() -> None:
    logprobs = torch.tensor([[-1.0, -0.5, -0.25, -0.2, -0.3]])
    thought, action = torch.tensor([[True, True, True, False, False]]), torch.tensor([[False] * 3 + [True, True]])
    assert mixed_logprob(logprobs, thought, action, 0.5).tolist() == pytest.approx([-1.375])
    leaf = logprobs.clone().requires_grad_()
    mixed_logprob(leaf, thought, action, 0.0).sum().backward()
    assert leaf.grad is not None
    assert leaf.grad.tolist() == [[0.0, 0.0, 0.0, 1.0, 1.0]]
    with pytest.raises(ValueError, match="row 0 has tokens in both masks"):
        mixed_logprob(logprobs, thought, thought, 0.5)
    with pytest.raises(ValueError, match="lam is 2"):
        mixed_logprob(logprobs, thought, action, 2.0)


def test_sequence_log_ratio() -> None:
    new, old = torch.tensor([[-1.0, -2.0], [-3.0, -4.0]]), torch.tensor([[-2.0, float("nan")], [0.0, 0.0]])
    mask = torch.tensor([[True, False], [False, False]])
    assert sequence_log_ratio(new, old, mask)[0] == 1.0
    assert torch.isnan(sequence_log_ratio(new, old, mask)[1])
    assert sequence_log_ratio(new, None, mask)[0] == -1.0
    assert sequence_log_ratio(new.bfloat16(), None, mask).dtype == torch.float32
    assert sequence_log_ratio(new.double(), None, mask).dtype == torch.float64
