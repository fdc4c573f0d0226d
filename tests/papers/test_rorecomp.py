"""RoRecomp: what shares an update, and that nothing else changes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from hypothesis import given

from guerdon import Batch, Rollouts
from guerdon.baselines import grpo
from guerdon.credit import GAE, GroupNormalized
from guerdon.objective import ClippedSurrogate
from guerdon.papers import rorecomp
from guerdon.search import Compensation, Independent, waiting_rows
from guerdon.search.compensation import WAITING
from guerdon.select import Recompose
from tests.strategies import rollouts as any_rollouts
from tests.train.tiny import recipe_trainer

LENGTHS = [40, 10, 25, 80, 60, 100, 20, 50]


def batch(outcome: list[float]) -> Rollouts:
    return Rollouts(
        group=[0] * 8,
        mask=torch.ones(8, 1, dtype=torch.bool),
        outcome=outcome,
        columns={"length": LENGTHS, "calls": LENGTHS[::-1]},
    )


def test_the_worked_groups() -> None:
    even = rorecomp.recipe()(batch([1.0] * 4 + [0.0] * 4))
    assert even.trained.nonzero().squeeze(1).tolist() == [1, 2, 4, 5]
    assert even.advantages[:, 0].tolist() == pytest.approx([0.935413] * 4 + [-0.935413] * 4, abs=1e-5)
    lopsided = rorecomp.recipe()(batch([1.0] * 6 + [0.0] * 2))
    assert lopsided.trained.nonzero().squeeze(1).tolist() == [0, 1, 2, 7]
    assert lopsided.advantages[:, 0].tolist() == pytest.approx([0.540061] * 6 + [-1.620182] * 2, abs=1e-5)


def test_with_ratio_one_it_is_grpo() -> None:
    given = batch([1.0, 0.0] * 4)
    whole = rorecomp.recipe(ratio=1.0)(given)
    assert bool(whole.trained.all())
    torch.testing.assert_close(whole.advantages, rorecomp.recipe(ratio=0.3)(given).advantages)


def test_cost_may_be_a_column() -> None:
    chosen = rorecomp.recipe(cost="calls")(batch([1.0] * 4 + [0.0] * 4)).trained.nonzero().squeeze(1).tolist()
    assert chosen == [0, 1, 4, 7]


def test_the_control_has_the_same_counts() -> None:
    given = batch([1.0] * 4 + [0.0] * 4)
    control = rorecomp.recipe(cost="random_cost").replace(shape=(rorecomp.RandomCost(3),))
    assert int(control(given).trained.sum()) == 4
    assert torch.equal(control(given).trained, control(given).trained)


def test_an_arm_repeats_itself(tmp_path: Path) -> None:
    shared = {**rorecomp.claim().shared, "updates": 15, "schedule": 10}
    for arm in rorecomp.claim().arms.values():
        first = rorecomp.run_arm(dict(arm), shared, 1, tmp_path)
        assert first == rorecomp.run_arm(dict(arm), shared, 1, tmp_path)


def test_the_defaults() -> None:
    recipe = rorecomp.recipe()
    assert recipe.select == (Recompose(ratio=0.5, scope="group", drop_degenerate=False, cost="length"),)
    assert recipe.credit == GroupNormalized(scale="group", ddof=1, eps=1e-6)
    assert recipe.objective == ClippedSurrogate(0.2, 0.2, kl_coef=0.0, aggregation="grpo")
    assert recipe.rollout == Independent(8)
    assert not recipe.shape
    assert rorecomp.recipe(base="ppo").credit == GAE()
    with pytest.raises(ValueError, match="base is 'rloo'"):
        rorecomp.recipe(base="rloo")


def with_logprobs(seed: int = 0) -> Rollouts:
    """The worked group with tokens and behaviour log-probabilities."""
    given = batch([1.0] * 4 + [0.0] * 4)
    mask = torch.arange(3) <= torch.arange(8)[:, None] % 3
    drawn = torch.rand(8, 3, generator=torch.Generator().manual_seed(seed)) - 2.0
    return given.replace(mask=mask, step=torch.full((8, 3), -1), logprobs=torch.where(mask, drawn, 0.0))


def test_the_loss_of_the_priority_batch_by_hand() -> None:
    """The mean over the four rows of the mean over each one's tokens; those that wait have no part in it."""
    rollouts, recipe = with_logprobs(), rorecomp.recipe()
    training = recipe(rollouts).training
    assert training.rows.tolist() == [1, 2, 4, 5]
    assert rollouts.logprobs is not None
    move = 0.5
    new = (rollouts.logprobs + move) * rollouts.mask
    gained = [1.2 * 0.935413] * 2 + [math.exp(move) * -0.935413] * 2
    assert recipe.objective is not None
    loss = recipe.objective(new[training.rows], training)
    assert float(loss.value) == pytest.approx(-sum(gained) / 4, abs=1e-5)


def test_the_loss_of_a_compensation_batch() -> None:
    """At the policy that sampled the rows it is the loss that they would have had at once; later the clip acts."""
    rollouts, recipe = with_logprobs(), rorecomp.recipe()
    whole = recipe(rollouts)
    at_once = waiting_rows(whole, WAITING)
    assert at_once.rows.tolist() == [0, 3, 6, 7]
    later = Compensation(total=10).after(whole, 0)
    assert later is not None
    assert recipe.objective is not None
    logprobs = later.rollouts.logprobs
    assert logprobs is not None
    same = [recipe.objective(logprobs, part) for part in (later, at_once)]
    assert float(same[0].value) == float(same[1].value) == pytest.approx(0.0, abs=1e-6)
    moved = (logprobs - 0.5) * later.rollouts.mask
    lost = [math.exp(-0.5) * 0.935413] * 2 + [0.8 * -0.935413] * 2
    assert float(recipe.objective(moved, later).value) == pytest.approx(-sum(lost) / 4, abs=1e-5)


def test_every_response_is_trained_on_once_at_most() -> None:
    """Over forty steps: those of the priority batches at once, of the others each no more than once."""
    recipe, waiting = rorecomp.recipe(), Compensation(total=40, seed=1)
    generator = torch.Generator().manual_seed(0)
    now, later = [], []
    for step in range(40):
        name = [8 * step + row for row in range(8)]
        outcome = (torch.rand(8, generator=generator) < 0.5).float()
        length = torch.randint(1, 50, (8,), generator=generator).tolist()
        mask = torch.ones(8, 1, dtype=torch.bool)
        rollouts = Rollouts(
            group=torch.zeros(8, dtype=torch.int64),
            mask=mask,
            outcome=outcome,
            logprobs=-mask.float(),
            columns={"length": length, "name": name},
            iteration=step,
        )
        whole = recipe(rollouts)
        now += whole.training.rollouts.column("name")
        given = waiting.after(whole, step)
        later += [] if given is None else given.rollouts.column("name")
    assert len(later) > 40
    assert len(set(now + later)) == len(now + later)


@given(value=any_rollouts(binary=True))
def test_advantages_know_nothing_of_the_recomposition(value: Rollouts) -> None:
    whole, plain = rorecomp.recipe()(value), grpo(eps=1e-6)(value)
    assert torch.equal(whole.rows, value.scored.nonzero().squeeze(1))
    assert torch.equal(whole.advantages, plain.advantages[torch.isin(plain.rows, whole.rows)])
    assert bool(rorecomp.recipe(ratio=1.0)(value).trained.all())
    right = whole.rollouts.outcome == 1
    assert bool((whole.advantages[right] >= 0).all())
    assert bool((whole.advantages[~right] <= 0).all())


def test_with_a_critic_solved_prompts_teach_too() -> None:
    value = batch([1.0] * 8).with_tokens(values=torch.linspace(0.1, 0.8, 8)[:, None])
    assert bool((rorecomp.recipe()(value).advantages == 0).all())
    found = rorecomp.recipe(base="ppo")(value)
    assert found.trained.nonzero().squeeze(1).tolist() == [0, 1, 2, 6]
    assert bool((found.advantages != 0).all())
    assert rorecomp.recipe(drop_degenerate=True)(batch([1.0] * 8)).training.rows.tolist() == []


@dataclass(frozen=True)
class Even:
    """Right is a response with an even number of ones."""

    def __call__(self, rollouts: Rollouts) -> Rollouts:
        return rollouts.replace(
            outcome=torch.tensor([float(text.count("1") % 2 == 0) for text in rollouts.column("response")])
        )


def test_the_trainer_trains_on_the_priority_batch(tmp_path: Path) -> None:
    seen: list[Batch] = []
    recipe = rorecomp.recipe((Even(),), n=4)
    recipe_trainer(tmp_path, recipe, max_steps=2, on_batch=lambda _, whole: seen.append(whole)).train()
    assert len(seen) == 2
    for whole in seen:
        assert whole.selection is not None
        assert 0 < int(whole.trained.sum()) < 8
        assert set(whole.selection.reason) <= {"", *WAITING}
