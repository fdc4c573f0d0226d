"""Classification by the policy's own log-ratio: worked examples, the gradient identities, whole groups."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from guerdon.objective import (
    ImplicitActorCritic,
    balanced_class_weights,
    implicit_actor_critic_loss,
    policy_score,
    relative_score,
)
from tests.objective.batches import NAN, batch, gradient, pieces_of, random_batch

SCORES = [0.6, -0.2, 0.1, -0.3]


def loss_of(scores: list[float], labels: list[float], **options: object) -> tuple[Tensor, Tensor]:
    """The loss of one-token responses whose log-ratio is the score, and its gradient."""
    logprobs = torch.tensor(scores, dtype=torch.float64)[:, None].requires_grad_()
    group = options.pop("group", torch.zeros(len(scores), dtype=torch.int64))
    found = implicit_actor_critic_loss(
        logprobs, torch.zeros_like(logprobs), torch.ones(len(scores), 1, dtype=torch.bool),
        torch.tensor(labels, dtype=torch.float64), group, **options,
    )  # fmt: skip
    return found.value, gradient(found.value, logprobs)[:, 0]


def test_by_hand() -> None:
    group = torch.zeros(4, dtype=torch.int64)
    psi = relative_score(torch.tensor(SCORES), group)
    assert psi.tolist() == pytest.approx([0.733333, -0.333333, 0.066667, -0.466667], abs=1e-6)
    loss, slope = loss_of(SCORES, [1, 0, 1, 0])
    assert float(loss) == pytest.approx(0.519929, abs=1e-6)
    assert slope.tolist() == pytest.approx([-0.107741, 0.139557, -0.160699, 0.128882], abs=1e-6)
    loss, slope = loss_of(SCORES, [1, 0, 0, 0])
    assert float(loss) == pytest.approx(0.48848, abs=1e-6)
    assert slope.tolist() == pytest.approx([-0.235537, 0.073534, 0.095585, 0.066418], abs=1e-6)
    normed = relative_score(torch.tensor(SCORES), group, "grpo")
    assert normed.tolist() == pytest.approx([1.360894, -0.618588, 0.123718, -0.866023], abs=1e-5)
    assert relative_score(torch.tensor(SCORES), group, "naive").tolist() == pytest.approx(SCORES)


def test_on_policy_it_is_the_leave_one_out_policy_gradient() -> None:
    labels = torch.tensor([1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0])
    loss, slope = loss_of([0.0] * 8, labels.tolist(), weights="none", beta=2.0)
    assert float(loss) == pytest.approx(math.log(2.0))
    others = (labels.sum() - labels) / 7
    torch.testing.assert_close(slope, (-2.0 / 8 * (labels - others)).double())
    _, weighted = loss_of([0.0] * 8, labels.tolist(), beta=2.0)
    torch.testing.assert_close(weighted, slope * 64 / (4 * 2 * 6), atol=1e-6, rtol=1e-6)


def test_gradient_sums_to_zero_and_ignores_a_constant() -> None:
    for estimator in ("rloo", "grpo"):
        loss, slope = loss_of(SCORES, [1, 0, 1, 0], estimator=estimator)
        assert float(slope.sum()) == pytest.approx(0.0, abs=1e-9)
        assert float(loss_of([s + 5.0 for s in SCORES], [1, 0, 1, 0], estimator=estimator)[0]) == pytest.approx(
            float(loss), abs=1e-6
        )


def test_uniform_groups_regularise_only_off_policy() -> None:
    for label in (0.0, 1.0):
        assert loss_of([0.0] * 3, [label] * 3)[1].abs().max() < 1e-12
        slope = loss_of([1.0, 0.0, -1.0], [label] * 3)[1]
        assert slope[0] > 0
        assert slope[2] < 0


def test_two_responses_are_dpo() -> None:
    loss, _ = loss_of([0.7, 0.2], [1, 0])
    assert float(loss) == pytest.approx(float(functional.softplus(torch.tensor(-0.5))))


@pytest.mark.parametrize("estimator", ["rloo", "grpo", "naive"])
@pytest.mark.parametrize("weights", ["group", "none", "positive", "negative"])
def test_gradient_by_finite_differences(estimator: str, weights: str) -> None:
    generator = torch.Generator().manual_seed(5)
    logprobs = torch.randn(7, 3, generator=generator, dtype=torch.float64).requires_grad_()
    old = torch.randn(7, 3, generator=generator, dtype=torch.float64)
    mask = torch.rand(7, 3, generator=generator) < 0.8
    outcome = torch.tensor([1.0, 0.0, 1.0, 0.0, NAN, 1.0, 0.0], dtype=torch.float64)
    group = torch.tensor([3, 9, 3, 9, 9, 9, 3])

    def loss(x: Tensor) -> Tensor:
        return implicit_actor_critic_loss(x, old, mask, outcome, group, 0.5, estimator, weights).value

    assert torch.autograd.gradcheck(loss, logprobs, atol=1e-6)


def test_groups_by_id_in_any_order() -> None:
    labels, group = [1.0, 0.0, 0.0, 1.0, 0.0, 1.0], torch.tensor([0, 0, 0, 7, 7, 7])
    scores = [0.5, -0.1, 0.3, 0.2, 0.9, -0.4]
    loss, slope = loss_of(scores, labels, group=group)
    order = [3, 0, 4, 1, 5, 2]
    shuffled, moved = loss_of([scores[i] for i in order], [labels[i] for i in order], group=group[order])
    assert float(shuffled) == pytest.approx(float(loss))
    torch.testing.assert_close(moved, slope[order])


def test_unscored_rows_are_left_out_before_the_baseline() -> None:
    loss, slope = loss_of([*SCORES, 9.0], [1, 0, 1, 0, NAN])
    assert float(loss) == pytest.approx(0.519929, abs=1e-6)
    assert float(slope[4]) == 0.0
    assert balanced_class_weights(torch.tensor([1.0, NAN]), torch.zeros(2, dtype=torch.int64)).tolist() == [1.0, 0.0]


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"outcome in row 1 is 0\.5"):
        loss_of([0.0, 0.0], [1.0, 0.5])
    assert float(loss_of([0.0, 0.0], [1.0, 0.5], soft_labels=True)[0]) == pytest.approx(math.log(2.0))
    with pytest.raises(ValueError, match="one valid element only"):
        loss_of([0.0, 0.0], [1.0, 0.0], group=torch.tensor([0, 1]))
    assert loss_of([0.3, 0.1], [1.0, 0.0], group=torch.tensor([0, 1]), singleton="zero")[1].tolist() == [0.0, 0.0]
    with pytest.raises(ValueError, match="weights is 'all'"):
        loss_of([0.0, 0.0], [1.0, 0.0], weights="all")
    with pytest.raises(ValueError, match="estimator is 'mean'"):
        relative_score(torch.zeros(2), torch.zeros(2, dtype=torch.int64), "mean")
    with pytest.raises(ValueError, match="expected old_logprobs"):
        policy_score(torch.zeros(1, 1), None, torch.ones(1, 1, dtype=torch.bool))
    with pytest.raises(ValueError, match="outcome in row 0"):
        balanced_class_weights(torch.tensor([2.0]), torch.tensor([0]))


def test_scores() -> None:
    logprobs, old = torch.tensor([[-1.0, -2.0, -9.0]]), torch.tensor([[-1.5, -1.0, -1.0]])
    mask = torch.tensor([[True, True, False]])
    assert policy_score(logprobs, old, mask, 2.0).tolist() == [-1.0]
    assert policy_score(logprobs, None, mask, 2.0, "mean_logprob").tolist() == [-3.0]
    assert policy_score(logprobs, old, torch.zeros_like(mask)).tolist() == [0.0]


def test_the_stage() -> None:
    logprobs, made = random_batch(4)
    stage = ImplicitActorCritic(beta=0.7)
    assert stage.needs_whole_groups
    found = stage(logprobs, made)
    rollouts = made.rollouts
    expected = implicit_actor_critic_loss(
        logprobs, rollouts.logprobs, rollouts.mask, rollouts.outcome, rollouts.group, 0.7, row_weight=made.weights
    )
    torch.testing.assert_close(found.value, expected.value)
    assert found.metrics["mixed_groups"] == 1.0
    cuts = [[0, 2, 4, 6], [1, 3, 5, 7]]
    parts = [stage(logprobs[rows], piece).value for rows, piece in zip(cuts, pieces_of(made, cuts), strict=True)]
    torch.testing.assert_close(torch.stack(parts).sum(), found.value)
    prepared = stage.prepare(made)
    assert float(stage(logprobs, prepared).value) == pytest.approx(float(found.value))
    with pytest.raises(ValueError, match="row 1 is in a piece with 1 of its group's 4 rows"):
        stage(logprobs[[0, 1, 2, 4, 6]], pieces_of(prepared, [[0, 1, 2, 4, 6]])[0])
    first = stage(logprobs, batch(rollouts.mask, outcome=rollouts.outcome, group=rollouts.group))
    assert float(first.value) == pytest.approx(math.log(2.0))
    none = made[torch.zeros(8, dtype=torch.bool)]
    assert float(stage(logprobs[:0], none).value) == 0.0


def test_a_warning_where_scores_have_no_spread() -> None:
    with pytest.warns(UserWarning, match="mean_logprob"):
        ImplicitActorCritic(estimator="grpo")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ImplicitActorCritic(estimator="grpo", kind="mean_logprob")
    for options in ({"beta": 0.0}, {"weights": "all"}, {"kind": "sum"}, {"singleton": "raw"}):
        with pytest.raises(ValueError, match=f"ImplicitActorCritic.{next(iter(options))}"):
            ImplicitActorCritic(**options)  # type: ignore[arg-type]
