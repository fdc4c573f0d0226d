from __future__ import annotations

import pytest
import torch

from guerdon import Rollouts
from guerdon.shape.learned_blend import LearnedBlend, blend_gradient

NAN = float("nan")


def rollouts(**changes):
    fields = {
        "group": [0, 0, 0, 1, 1, 2],
        "mask": torch.ones(6, 1, dtype=torch.bool),
        "outcome": [1.0, 0.0, 0.0, 1.0, 0.0, 1.0],
        "columns": {"style": [0.0, 1.0, 2.0, 1.0, 0.0, 5.0]},
    }
    return Rollouts(**{**fields, **changes})


def test_the_gradient_is_that_of_the_free_policy():
    """dE[o]/dw of softmax(sum w s / lambda) over the responses, by differences."""
    draw = torch.Generator().manual_seed(0)
    terms = torch.randn(2, 5, generator=draw, dtype=torch.float64)
    outcome = torch.randn(5, generator=draw, dtype=torch.float64)
    # Where all weights are 0 the policy is uniform, and its covariance is the plain one.
    weights = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    reached = (torch.softmax((weights[:, None] * terms).sum(0) / 0.7, 0) * outcome).sum()
    (expected,) = torch.autograd.grad(reached, weights)
    found = blend_gradient(terms, outcome, torch.zeros(5, dtype=torch.int64), entropy=0.7)
    torch.testing.assert_close(found, expected)


def test_groups_are_apart_and_unscored_rows_and_single_rows_do_not_count():
    terms = torch.tensor([[0.0, 1.0, NAN, 1.0, 0.0, 5.0]])
    outcome = torch.tensor([1.0, 0.0, 1.0, 1.0, NAN, 1.0])
    key = torch.tensor([4, 4, 4, 9, 9, 7])
    # Only two rows of group 4 are scored in both.
    assert blend_gradient(terms, outcome, key).tolist() == [-0.25]
    assert blend_gradient(terms, torch.full((6,), NAN), key).tolist() == [0.0]


def test_a_batch_is_blended_by_the_weights_from_before_it():
    blend = LearnedBlend(("outcome", "style"), (1.0, 0.5), rate=1.0)
    shaped = blend(rollouts())
    assert shaped.outcome.tolist() == [1.0, 0.5, 1.0, 1.5, 0.0, 3.5]
    assert list(shaped.columns["before_blend"]) == [1.0, 0.0, 0.0, 1.0, 0.0, 1.0]
    metrics = blend.update(shaped)
    # Covariances -1/3 and 1/4; the single row says nothing.
    assert blend.learnt == pytest.approx((1.0, 0.5 + (-1 / 3 + 1 / 4) / 2))
    assert metrics == {"weight/outcome": 1.0, "weight/style": blend.learnt[1]}


def test_bounds_and_never():
    bounded = LearnedBlend(("outcome", "style"), (1.0, 0.5), rate=100.0, low=0.0)
    bounded.update(bounded(rollouts()))
    assert bounded.learnt[1] == 0.0
    still = LearnedBlend(("outcome", "style"), (1.0, 0.5), update_order="never")
    still.update(still(rollouts()))
    assert still.learnt == (1.0, 0.5)


def test_the_weights_survive_a_restart():
    blend = LearnedBlend(("outcome", "style"), (1.0, 0.5), rate=1.0)
    blend.update(blend(rollouts()))
    other = LearnedBlend(("outcome", "style"), (1.0, 0.5), rate=1.0)
    other.load_state_dict(blend.state_dict())
    assert other.learnt == blend.learnt
    with pytest.raises(ValueError, match="the state is of the terms"):
        LearnedBlend(("outcome", "length"), (1.0, 1.0)).load_state_dict(blend.state_dict())


def test_bad_settings_are_named():
    with pytest.raises(ValueError, match="two or more"):
        LearnedBlend(("outcome",), (1.0,))
    with pytest.raises(ValueError, match="update_order is 'later'"):
        LearnedBlend(update_order="later")
    with pytest.raises(ValueError, match="no column 'before_blend'"):
        LearnedBlend(("outcome", "style"), (1.0, 0.5)).update(rollouts())
    with pytest.raises(ValueError, match="entropy is 0"):
        blend_gradient(torch.ones(1, 2), torch.ones(2), torch.zeros(2, dtype=torch.int64), entropy=0.0)
