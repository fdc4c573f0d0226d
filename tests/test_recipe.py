"""The pipeline: order, checks, metrics, learning stages, overrides, selections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from hypothesis import given

from guerdon import Batch, Recipe, Rollouts, Selection
from guerdon.credit import GroupNormalized
from guerdon.objective import ClippedSurrogate
from guerdon.overrides import apply_overrides
from guerdon.papers import prof
from guerdon.select import DropUnscorable, DropZeroSpread
from guerdon.shape import Blend, Clip, Scale, combine
from tests.strategies import NAN, rollouts


def batch_of(outcome: list[float], group: list[int]) -> Rollouts:
    return Rollouts(group=group, mask=torch.ones(len(group), 2, dtype=torch.bool), outcome=outcome)


def test_selections_are_applied_in_order_with_the_first_reason() -> None:
    recipe = Recipe(credit=GroupNormalized(), select=(DropUnscorable(), DropZeroSpread()))
    batch = recipe(batch_of([1.0, 0.0, NAN, 1.0, 1.0], [0, 0, 0, 1, 1]))
    assert batch.rows.tolist() == [0, 1]
    assert batch.selection is not None
    assert batch.selection.reason == ("", "", "unscored", "group without spread", "group without spread")
    assert batch.metrics["select/dropped/unscored"] == 1.0
    assert batch.metrics["score/unscored"] == 1.0
    assert batch.metrics["select/kept_fraction"] == pytest.approx(0.4)


def test_unscorable_rows_take_no_part_and_are_counted() -> None:
    batch = Recipe(credit=GroupNormalized(eps=0.0))(batch_of([1.0, NAN, 0.0], [0, 0, 0]))
    assert batch.advantages[:, 0].tolist() == pytest.approx([0.5**0.5, 0.0, -(0.5**0.5)])


@given(value=rollouts(binary=True))
def test_prof_runs_on_any_rollouts_and_annotates_every_row(value: Rollouts) -> None:
    batch = prof.recipe(n_remove=2)(value)
    stored = batch.annotated()
    assert len(stored) == len(value)
    kept = torch.tensor(stored.columns["kept"], dtype=torch.bool)
    assert torch.isnan(stored.tokens["advantage"][~kept]).all()
    assert torch.equal(stored.tokens["advantage"][kept], batch.advantages)


def test_stages_that_break_their_promise_are_named() -> None:
    value = batch_of([1.0, 0.0], [0, 0])

    def half(rollouts: Rollouts) -> Rollouts:
        return rollouts[:1]

    with pytest.raises(ValueError, match="half returned 1 rows: expected Rollouts of the same 2"):
        Recipe(credit=GroupNormalized(), shape=half)(value)
    with pytest.raises(ValueError, match="credit: <lambda> returned shape"):
        Recipe(credit=lambda r: torch.zeros(3))(value)
    with pytest.raises(ValueError, match="select: <lambda> gave Tensor"):
        Recipe(credit=GroupNormalized(), select=lambda r: torch.ones(2))(value)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="is not a stage"):
        Recipe(credit=3)  # type: ignore[arg-type]


class Counting:
    def __init__(self, order: str) -> None:
        self.update_order, self.seen = order, 0

    def __call__(self, rollouts: Rollouts) -> Rollouts:
        return rollouts.replace(outcome=torch.full((len(rollouts),), float(self.seen)))

    def update(self, rollouts: Rollouts) -> Mapping[str, float]:
        self.seen += 1
        return {"seen": self.seen}

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self.seen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.seen = state["seen"]


@pytest.mark.parametrize(
    ("order", "scores", "seen"), [("score_first", 0.0, 1), ("update_first", 1.0, 1), ("never", 0.0, 0)]
)
def test_learning_stages_are_updated_in_their_order(order: str, scores: float, seen: int) -> None:
    stage = Counting(order)
    recipe = Recipe(score=stage, credit=GroupNormalized())
    assert stage.seen == 0
    batch = recipe(batch_of([0.0, 0.0], [0, 0]), learn=True)
    assert float(batch.rollouts.outcome[0]) == scores
    assert stage.seen == seen
    other = Counting(order)
    Recipe(score=other, credit=GroupNormalized()).load_state_dict(recipe.state_dict())
    assert other.seen == seen
    with pytest.raises(ValueError, match="the state is of the stages"):
        Recipe(credit=GroupNormalized()).load_state_dict(recipe.state_dict())


def test_unknown_update_orders_are_refused() -> None:
    with pytest.raises(ValueError, match="update_order is 'sometimes'"):
        Recipe(score=Counting("sometimes"), credit=GroupNormalized())


def test_shapes() -> None:
    value = batch_of([2.0, -1.0, NAN], [0, 0, 0])
    assert Clip(low=0.0, high=1.0)(value).outcome[:2].tolist() == [1.0, 0.0]
    assert Scale(2.0, 1.0)(value).outcome[:2].tolist() == [5.0, -1.0]
    assert torch.isnan(Scale(2.0)(value).outcome[2])
    with pytest.raises(ValueError, match="low is 2 and high is 1"):
        Clip(low=2, high=1)
    key = torch.tensor([0, 0, 1, 1])
    terms = [torch.tensor([1.0, 0.0, 1.0, 1.0]), torch.tensor([0.5, NAN, 0.1, 0.3])]
    assert combine(terms, [1.0, 2.0], key=key, missing="group_mean").tolist() == pytest.approx([2.0, 1.0, 1.2, 1.6])
    assert torch.isnan(combine(terms, [1.0, 2.0], key=key)[1])
    assert combine(terms, [1.0, 2.0], key=key, missing=0.0)[1].item() == 0.0
    ranked = combine([torch.tensor([3.0, 1.0, 7.0, 5.0])], [1.0], key=key, norm="rank")
    assert ranked.tolist() == [1.0, 0.0, 1.0, 0.0]
    with pytest.raises(ValueError, match="one weight a term"):
        Blend(terms=("outcome",), weights=(1.0, 2.0))


def test_selection_checks_itself() -> None:
    kept = torch.tensor([True, False])
    with pytest.raises(ValueError, match="trained in row 1 is True but kept is False"):
        Selection(kept, trained=torch.tensor([True, True]))
    with pytest.raises(ValueError, match="reason in row 0"):
        Selection(kept, reason=("why", "why"))
    with pytest.raises(ValueError, match="weights"):
        Selection(kept, weights=torch.tensor([1.0, -1.0]))
    first = Selection.keep(torch.tensor([True, False, True]), "a")
    both = first.then(Selection(torch.tensor([True, True]), trained=torch.tensor([False, True]), reason=("b", "")))
    assert both.kept.tolist() == [True, False, True]
    assert both.trained.tolist() == [False, False, True]
    assert both.reason == ("b", "a", "")


def test_overrides_change_stages_and_suggest_names() -> None:
    recipe = apply_overrides(
        prof.recipe(),
        ["select.n_remove=2", "credit.scale=none", "objective.dual_clip=3", "select.ConsistencyFilter.mode=joint"],
    )
    assert recipe.select[0].n_remove == 2  # type: ignore[attr-defined]
    assert recipe.select[0].mode == "joint"  # type: ignore[attr-defined]
    assert recipe.objective == ClippedSurrogate(aggregation="dapo", kl_coef=0.001, dual_clip=3.0)
    for setting, message in {
        "select.n_remov=2": "did you mean 'n_remove'",
        "selekt.n_remove=2": "did you mean 'select'",
        "select.n_remove=two": "expected int",
        "select.n_remove": "expected shelf.field=value",
        "shape.factor=2": "the recipe has no shape stage",
        "select.n_remove=-1": "expected 0 or more",
        "objective.dual_clip=0.5": "a number above 1",
        "select.ConsistencyFiltre.mode=joint": "did you mean 'ConsistencyFilter'",
    }.items():
        with pytest.raises(ValueError, match=message):
            apply_overrides(prof.recipe(), [setting])


def test_batches_are_cut_and_checked() -> None:
    batch = Recipe(credit=GroupNormalized())(batch_of([1.0, 0.0], [0, 0]))
    assert len(batch[torch.tensor([True, False])]) == 1
    with pytest.raises(ValueError, match="this is a piece of one"):
        batch[:1].annotated()
    with pytest.raises(ValueError, match="advantages in row 1"):
        Batch(batch.rollouts, torch.tensor([[0.0, 0.0], [NAN, 0.0]]), batch.weights, batch.trained, batch.rows)


def test_surrogate_pieces_add_up_and_match_the_formula() -> None:
    torch.manual_seed(0)
    value = batch_of([1.0, 0.0, 1.0, 0.0], [0, 0, 1, 1])
    value = value.replace(logprobs=torch.randn(4, 2), mask=[[1, 1], [1, 0], [1, 1], [1, 1]])
    batch = Recipe(credit=GroupNormalized())(value)
    logprobs = torch.randn(4, 2, requires_grad=True)
    for aggregation in ("grpo", "dr_grpo", "dapo"):
        stage = ClippedSurrogate(clip_high=0.3, aggregation=aggregation)
        whole = stage(logprobs, batch).value
        import dataclasses

        counted = dataclasses.replace(batch, counts=batch.divisors)
        parts = [stage(logprobs[row : row + 1], counted[[row]]).value for row in range(4)]
        torch.testing.assert_close(sum(parts), whole)
    ratio = torch.exp(logprobs - value.logprobs)
    loss = -torch.min(ratio * batch.advantages, ratio.clamp(0.8, 1.3) * batch.advantages)
    torch.testing.assert_close(whole, (loss * value.mask).sum() / value.mask.sum())
    with pytest.raises(ValueError, match="expected ref_logprobs"):
        ClippedSurrogate(kl_coef=0.1)(logprobs, batch)


def test_every_shape_says_what_it_changed() -> None:
    rollouts = Rollouts(
        group=torch.zeros(4, dtype=torch.int64),
        mask=torch.ones(4, 1, dtype=torch.bool),
        step=torch.zeros(4, 1, dtype=torch.int64),
        outcome=torch.tensor([1.0, -1.0, 3.0, torch.nan]),
        process=torch.tensor([[0.5], [-0.5], [torch.nan], [0.25]]),
    )
    stages = (Scale(-1.0), Clip(-1.0, 1.0), Scale(2.0, target="process"))
    metrics = Recipe(shape=stages, credit=GroupNormalized())(rollouts).metrics
    assert metrics["shape/Scale.0/outcome_sign_flips"] == 1.0
    assert metrics["shape/Scale.0/process_changed"] == 0.0
    assert metrics["shape/Clip/outcome_changed"] == pytest.approx(1 / 3)
    assert metrics["shape/Clip/outcome_sign_flips"] == 0.0
    assert metrics["shape/Clip/outcome_mean"] == pytest.approx(-1 / 3)
    assert metrics["shape/Scale.2/process_changed"] == 1.0
    assert metrics["shape/Scale.2/process_std"] == pytest.approx(torch.tensor([1.0, -1.0, 0.5]).std().item())
