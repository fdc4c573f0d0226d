"""The policy gradient with baseline and entropy."""

from __future__ import annotations

import pytest
import torch

from guerdon.objective import ClippedSurrogate, Reinforce, reinforce_loss
from tests.objective.batches import NAN, batch, gradient, pieces_of, random_batch


def test_it_has_the_gradient_of_a_ratio_of_one() -> None:
    logprobs, made = random_batch(7)
    on_policy = batch(made.rollouts.mask, made.advantages, weights=made.weights)
    for aggregation in ("grpo", "dapo", "dr_grpo", "sum", "bnpo"):
        plain = Reinforce(aggregation)(logprobs, on_policy).value
        clipped = ClippedSurrogate(aggregation=aggregation)(logprobs, on_policy).value
        torch.testing.assert_close(gradient(plain, logprobs), gradient(clipped, logprobs))


def test_returns_and_baselines() -> None:
    logprobs = torch.tensor([[-1.0, -2.0], [-3.0, -4.0]])
    mask = torch.tensor([[True, True], [True, False]])
    found = reinforce_loss(logprobs, torch.tensor([2.0, NAN]), mask, baseline=torch.tensor([0.5, 0.0]))
    assert found.tolist() == [[1.5, 3.0], [0.0, 0.0]]
    tokens = reinforce_loss(logprobs, torch.ones(2, 2), mask, baseline=torch.full((2, 2), 3.0))
    assert tokens.tolist() == [[-2.0, -4.0], [-6.0, 0.0]]


def test_the_entropy_bonus_is_the_gradient_of_the_entropy() -> None:
    """Over all sequences of two tokens the expected gradient is that of the entropy of the sequence."""
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(3, generator=generator, dtype=torch.float64).requires_grad_()
    second = torch.randn(3, 3, generator=generator, dtype=torch.float64).requires_grad_()
    one, two = torch.log_softmax(first, 0), torch.log_softmax(second, 1)
    pairs = [(a, b) for a in range(3) for b in range(3)]
    logprobs = torch.stack([torch.stack([one[a], two[a, b]]) for a, b in pairs])
    probability = logprobs.sum(1).exp()
    mask = torch.ones(9, 2, dtype=torch.bool)
    bonus = reinforce_loss(logprobs, torch.zeros(9), mask, entropy_coef=1.0)
    expected = (probability * logprobs.sum(1)).sum()
    found = torch.autograd.grad((probability.detach()[:, None] * bonus).sum(), [first, second], retain_graph=True)
    wanted = torch.autograd.grad(expected, [first, second])
    torch.testing.assert_close(found, wanted)


def test_discounted_entropy_by_hand() -> None:
    logprobs, mask = torch.tensor([[-1.0, -2.0, -4.0]]), torch.tensor([[True, False, True]])
    found = reinforce_loss(logprobs, torch.zeros(1), mask, entropy_coef=0.1, gamma=0.5)
    assert found[0].tolist() == pytest.approx([0.1 * (1.0 + 0.5 * 4.0), 0.0, 4.0 * 0.4])


def test_pieces_add_up_with_kl_and_entropy() -> None:
    logprobs, made = random_batch(8)
    stage = Reinforce(entropy_coef=0.2, gamma=0.9, kl_coef=0.1, kl="k2")
    whole = stage(logprobs, made).value
    cuts = [[0, 1, 4], [2, 3], [5, 6, 7]]
    parts = [stage(logprobs[rows], piece).value for rows, piece in zip(cuts, pieces_of(made, cuts), strict=True)]
    torch.testing.assert_close(torch.stack(parts).sum(), whole)
    with pytest.raises(ValueError, match="expected ref_logprobs"):
        stage(logprobs, batch(made.rollouts.mask))
    for options in ({"aggregation": "step"}, {"entropy_coef": -1.0}, {"gamma": 1.5}, {"kl": "k9"}):
        with pytest.raises(ValueError, match=f"Reinforce.{next(iter(options))}"):
            Reinforce(**options)  # type: ignore[arg-type]
