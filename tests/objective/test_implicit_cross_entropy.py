"""Cross-entropy of implicit rewards."""

from __future__ import annotations

import math

import pytest
import torch

from guerdon.objective import ImplicitCrossEntropy, implicit_ce, sequence_log_ratio
from tests.objective.batches import NAN, batch, gradient, pieces_of, random_batch

POLICY = [[0.5, 0.25, 0.8, 0.1], [0.2, 0.9, 0.4, 0.5]]
REFERENCE = [[0.25, 0.5, 0.4, 0.2], [0.4, 0.3, 0.4, 0.25]]


def rewards() -> torch.Tensor:
    policy, reference = torch.tensor(POLICY).log(), torch.tensor(REFERENCE).log()
    return 0.05 * sequence_log_ratio(policy, reference, torch.ones(2, 4, dtype=torch.bool))


def test_by_hand() -> None:
    assert rewards().tolist() == pytest.approx([0.0, 0.054931], abs=1e-6)
    assert float(implicit_ce(rewards(), torch.tensor([0.0, 1.0]))) == pytest.approx(0.679603, abs=1e-6)
    # Four responses of an online reward model.
    ratios = torch.tensor([0.8, -0.2, -0.5, 0.5])
    assert float(implicit_ce(0.05 * ratios, torch.tensor([1.0, 0.0, 0.0, 1.0]))) == pytest.approx(0.680739, abs=1e-6)
    assert float(implicit_ce(torch.zeros(3), torch.tensor([1, 0, 1]))) == pytest.approx(math.log(2.0))


def test_labels_and_missing_rows() -> None:
    reward = torch.tensor([1.0, NAN, 2.0], requires_grad=True)
    loss = implicit_ce(reward, torch.tensor([1.0, 1.0, NAN]))
    assert float(loss) == pytest.approx(math.log1p(math.exp(-1.0)))
    assert gradient(loss, reward)[1:].tolist() == [0.0, 0.0]
    with pytest.raises(ValueError, match=r"label in row 2 is 0\.5"):
        implicit_ce(torch.zeros(3), torch.tensor([1.0, 0.0, 0.5]))
    assert float(implicit_ce(torch.zeros(1), torch.tensor([0.5]), soft_labels=True)) == pytest.approx(math.log(2.0))


def test_the_gradient_raises_right_and_lowers_wrong_responses() -> None:
    made = batch(torch.ones(2, 4), outcome=[0.0, 1.0], ref_logprobs=torch.tensor(REFERENCE).log())
    logprobs = torch.tensor(POLICY).log().requires_grad_()
    found = ImplicitCrossEntropy()(logprobs, made)
    assert float(found.value) == pytest.approx(0.679603, abs=1e-6)
    slope = gradient(found.value, logprobs)
    assert (slope[0] > 0).all()
    assert (slope[1] < 0).all()
    assert found.metrics["implicit_accuracy"] == 1.0


@pytest.mark.parametrize("reference", ["reference", "behaviour", "none"])
def test_references_and_pieces(reference: str) -> None:
    logprobs, made = random_batch(2)
    stage = ImplicitCrossEntropy(beta=0.3, reference=reference)
    whole = stage(logprobs, made).value
    against = {"reference": made.rollouts.ref_logprobs, "behaviour": made.rollouts.logprobs, "none": None}[reference]
    reward = 0.3 * sequence_log_ratio(logprobs, against, made.rollouts.mask)
    torch.testing.assert_close(whole, implicit_ce(reward, made.rollouts.outcome))
    cuts = [[0, 1, 2], [3, 4, 5, 6, 7]]
    parts = [stage(logprobs[rows], piece).value for rows, piece in zip(cuts, pieces_of(made, cuts), strict=True)]
    torch.testing.assert_close(torch.stack(parts).sum(), whole)


def test_errors() -> None:
    logprobs, made = random_batch()
    with pytest.raises(ValueError, match="expected ref_logprobs in the rollouts"):
        ImplicitCrossEntropy()(logprobs, batch(made.rollouts.mask, outcome=made.rollouts.outcome))
    for options in ({"beta": 0.0}, {"reference": "old"}):
        with pytest.raises(ValueError, match=f"ImplicitCrossEntropy.{next(iter(options))}"):
            ImplicitCrossEntropy(**options)  # type: ignore[arg-type]
