"""HARMO: the worked totals through the recipe, its loss by hand, and what must not depend on what."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Batch, Recipe, Rollouts
from guerdon.credit import GroupNormalized
from guerdon.objective import ClippedSurrogate
from guerdon.papers import harmo
from guerdon.score.router import Router
from guerdon.score.verdict import Verdict
from guerdon.score.verify.stage import Verify
from guerdon.search import Independent
from guerdon.shape import Blend, LengthPenalty
from tests.train.tiny import CountOnes, recipe_trainer

NAN = float("nan")


def scored(
    outcome: list[float], lengths: list[int], group: list[int] | None = None, form: list[float] | None = None
) -> Rollouts:
    """Responses of one token, scored."""
    return Rollouts(
        group=group or [0] * len(outcome),
        mask=torch.ones(len(outcome), 1, dtype=torch.bool),
        outcome=outcome,
        columns={"length": lengths, "format": form or [1.0] * len(outcome)},
    )


def test_the_defaults() -> None:
    recipe = harmo.recipe()
    assert recipe.shape == (
        LengthPenalty("correct_mean", strength=0.5, side="short", tolerance=0.2, right_from=0.5),
        Blend(("outcome", "format"), (1.0, 0.5)),
    )
    assert recipe.credit == GroupNormalized(scale="none")
    assert recipe.objective == ClippedSurrogate(0.2, 0.2, kl_coef=0.01, kl="k3", aggregation="dapo")
    assert recipe.rollout == Independent(8)
    assert not recipe.select
    text = str(recipe)
    assert text.index("LengthPenalty") < text.index("Blend") < text.index("GroupNormalized")


def test_the_worked_penalty() -> None:
    lengths = [200, 100, 30, 140, 400]
    rollouts = Rollouts(
        group=[0] * 5,
        mask=torch.ones(5, 1, dtype=torch.bool),
        outcome=[1.0, 1.0, 0.0, 0.0, 0.0],
        columns={"length": lengths},
    )
    for side, last in (("short", 0.0), ("both", -1.0)):
        found = harmo.recipe(p_max=1.0, tau=0.25, side=side, format_weight=0.0)(rollouts)
        expected = [1.0, 1.0, -0.733333, 0.0, last]
        assert found.rollouts.outcome.tolist() == pytest.approx(expected, abs=1e-5)
        mean = sum(expected) / 5
        assert found.advantages[:, 0].tolist() == pytest.approx([value - mean for value in expected], abs=1e-5)


def test_the_worked_total() -> None:
    rollouts = Rollouts(
        group=[0] * 4,
        mask=torch.ones(4, 1, dtype=torch.bool),
        outcome=[1.0, 0.0, 0.0, 1.0],
        columns={"length": [10, 0, 10, 10], "format": [1, 1, 0, 1]},
    )
    found = harmo.recipe()(rollouts)
    assert found.rollouts.outcome.tolist() == pytest.approx([1.5, 0.0, 0.0, 1.5])
    assert found.advantages[:, 0].tolist() == pytest.approx([0.75, -0.75, -0.75, 0.75])


def test_the_prompt_decides_who_judges() -> None:
    asked: list[str] = []

    def rule(response: str, target: str, row: Mapping[str, Any]) -> Verdict:
        asked.append("rule")
        return Verdict(float(response == target))

    def model(response: str, target: str, row: Mapping[str, Any]) -> Verdict:
        asked.append("model")
        return Verdict(0.8)

    rollouts = Rollouts(
        group=[0, 0, 1, 1],
        mask=torch.ones(4, 1, dtype=torch.bool),
        columns={
            "response": ["1", "2", "a", "b"],
            "target": ["1", "1", "", ""],
            "kind": ["checkable", "checkable", "open", "open"],
            "length": [5] * 4,
            "format": [1] * 4,
        },
    )
    router = Router({"checkable": Verify(rule), "open": Verify(model)})
    found = harmo.recipe((router,))(rollouts)
    assert found.scored is not None
    assert found.scored.outcome.tolist() == pytest.approx([1.0, 0.0, 0.8, 0.8])
    assert sorted(asked) == ["model"] * 2 + ["rule"] * 2


def test_an_arm_repeats_itself(tmp_path: Path) -> None:
    shared = {**harmo.claim().shared, "steps": 15}
    for arm in harmo.claim().arms.values():
        first = harmo.run_arm(dict(arm), shared, 1, tmp_path)
        assert first == harmo.run_arm(dict(arm), shared, 1, tmp_path)


def test_the_loss_by_hand() -> None:
    """Two rows of two tokens and one; the policy has moved, and so has it from the initial one."""
    rollouts = Rollouts(
        group=[0, 0],
        mask=[[True, True], [True, False]],
        outcome=[1.0, 0.0],
        logprobs=[[-1.0, -1.0], [-1.0, 0.0]],
        ref_logprobs=[[-1.2, -1.0], [-0.9, 0.0]],
        columns={"format": [1.0, 1.0]},
    )
    recipe = harmo.recipe()
    batch = recipe(rollouts)
    # The wrong response has half the length of the right one: 0.5 (1 - 0.5 - 0.2) / (1 - 0.2) = 0.1875 is lost.
    assert batch.rollouts.outcome.tolist() == pytest.approx([1.5, 0.3125])
    advantage = (1.5 - 0.3125) / 2
    new = [[-0.5, -1.1], [-1.6, 0.0]]
    ratios = [math.exp(0.5), math.exp(-0.1), math.exp(-0.6)]
    surrogate = [min(ratios[0], 1.2) * advantage, ratios[1] * advantage, -max(ratios[2], 0.8) * advantage]
    gaps = [-1.2 + 0.5, -1.0 + 1.1, -0.9 + 1.6]
    divergence = [math.exp(gap) - gap - 1.0 for gap in gaps]
    expected = sum(0.01 * far - gain for far, gain in zip(divergence, surrogate, strict=True)) / 3
    assert recipe.objective is not None
    assert float(recipe.objective(torch.tensor(new), batch).value) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("right", [0.0, 1.0])
def test_groups_of_one_kind_get_no_penalty_and_no_gradient(right: float) -> None:
    found = harmo.recipe()(scored([right] * 4, [0, 1, 50, 400]))
    assert found.rollouts.outcome.tolist() == pytest.approx([right + 0.5] * 4)
    assert bool((found.advantages == 0).all())


def test_an_empty_response_loses_most_and_an_open_answer_may_be_the_yardstick() -> None:
    recipe = harmo.recipe(p_max=0.4, format_weight=0.0)
    found = recipe(scored([0.8, 0.49, 0.0], [100, 100, 0])).rollouts
    assert found.outcome.tolist() == pytest.approx([0.8, 0.49, -0.4])
    assert recipe(scored([0.49, 0.49, 0.0], [100, 100, 0])).rollouts.outcome.tolist() == pytest.approx(
        [0.49, 0.49, 0.0]
    )


def test_what_could_not_be_scored_takes_no_part() -> None:
    """Neither is its length a yardstick, nor its reward part of the mean."""
    whole = harmo.recipe()(scored([1.0, NAN, 0.0, 0.0], [100, 900, 10, 60]))
    without = harmo.recipe()(scored([1.0, 0.0, 0.0], [100, 10, 60]))
    assert torch.equal(whole.advantages[[0, 2, 3]], without.advantages)
    assert float(whole.advantages[1]) == 0.0


responses = st.lists(
    st.tuples(
        st.sampled_from([0.0, 1.0, 0.25, 0.75]), st.integers(0, 60), st.integers(0, 2), st.sampled_from([0.0, 1.0])
    ),
    min_size=1,
    max_size=12,
)


def advantages(rows: list[tuple[float, int, int, float]], **settings: Any) -> torch.Tensor:
    outcome, lengths, group, form = (list(column) for column in zip(*rows, strict=True))
    return harmo.recipe(**settings)(scored(outcome, lengths, group, form)).advantages[:, 0]  # type: ignore[arg-type]


@given(rows=responses, side=st.sampled_from(["short", "long", "both"]), order=st.randoms(use_true_random=False))
def test_groups_are_apart_and_sum_to_zero(rows: list[tuple[float, int, int, float]], side: str, order: Any) -> None:
    found = advantages(rows, side=side)
    for key in {row[2] for row in rows}:
        places = [place for place, row in enumerate(rows) if row[2] == key]
        assert float(found[places].sum()) == pytest.approx(0.0, abs=1e-5)
        alone = advantages([rows[place] for place in places], side=side)
        assert found[places].tolist() == pytest.approx(alone.tolist(), abs=1e-6)
    places = list(range(len(rows)))
    order.shuffle(places)
    assert advantages([rows[place] for place in places], side=side).tolist() == pytest.approx(
        found[places].tolist(), abs=1e-6
    )
    longer = [(right, 3 * length, group, form) for right, length, group, form in rows]
    assert advantages(longer, side=side).tolist() == pytest.approx(found.tolist(), abs=1e-5)


@given(rows=responses, factor=st.sampled_from([0.5, 2.0, 4.0]))
def test_without_the_other_aspects_it_is_grpo_without_a_division(
    rows: list[tuple[float, int, int, float]], factor: float
) -> None:
    outcome, lengths, group, _ = (list(column) for column in zip(*rows, strict=True))
    plain = Recipe(credit=GroupNormalized(scale="none"))(scored(outcome, lengths, group))  # type: ignore[arg-type]
    found = advantages(rows, p_max=0.0, format_weight=0.0)
    assert torch.equal(found, plain.advantages[:, 0])
    scaled = [(factor * right, length, key, form) for right, length, key, form in rows]
    assert advantages(scaled, p_max=0.0, format_weight=0.0).tolist() == pytest.approx((factor * found).tolist())


@given(
    lengths=st.lists(st.integers(0, 60), min_size=2, max_size=6),
    longer=st.integers(1, 60),
    yardstick=st.integers(1, 60),
)
def test_a_longer_wrong_response_never_gets_less(lengths: list[int], longer: int, yardstick: int) -> None:
    def reward(first: int) -> float:
        rollouts = scored([0.0] * len(lengths) + [1.0], [first, *lengths[1:], yardstick])
        return float(harmo.recipe()(rollouts).rollouts.outcome[0])

    assert reward(lengths[0] + longer) >= reward(lengths[0])


@dataclass(frozen=True)
class EvenForm:
    """The form is right where the length is even."""

    def __call__(self, rollouts: Rollouts) -> Rollouts:
        return rollouts.with_columns(format=[float(length % 2 == 0) for length in rollouts.column("length")])


def test_the_trainer_takes_it(tmp_path: Path) -> None:
    seen: list[Batch] = []
    recipe = harmo.recipe((CountOnes(), EvenForm()), n=4)
    recipe_trainer(tmp_path, recipe, max_steps=2, on_batch=lambda _, batch: seen.append(batch)).train()
    assert len(seen) == 2
    for batch in seen:
        assert batch.scored is not None
        rollouts = batch.rollouts
        parts = zip(
            batch.scored.outcome.tolist(),
            rollouts.column("length_penalty"),
            rollouts.column("format"),
            strict=True,
        )
        total = torch.tensor([right + penalty + 0.5 * form for right, penalty, form in parts])
        mean = total.reshape(-1, 4).mean(1).repeat_interleave(4)
        expected = torch.where(rollouts.mask, (total - mean)[:, None], 0.0)
        torch.testing.assert_close(batch.advantages, expected, atol=1e-5, rtol=0)
