"""BARFI: the recipe's blend learns, and the loops do what the claim says of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from guerdon import Rollouts
from guerdon.control.barfi import BARFI
from guerdon.control.worlds.misleading_grid import MisleadingGrid
from guerdon.papers import barfi


def test_the_recipe_unlearns_a_process_reward_that_is_against_the_outcome() -> None:
    recipe = barfi.recipe(rate=0.5)
    given = Rollouts(
        group=[0, 0, 1, 1],
        mask=torch.ones(4, 2, dtype=torch.bool),
        step=torch.tensor([[0, 1]] * 4),
        outcome=[1.0, 0.0, 1.0, 0.0],
        process=[[0.0, 0.0], [1.0, 1.0], [0.5, 0.5], [1.0, 0.0]],
    )
    batch = recipe(given, learn=True)
    assert batch.rollouts.outcome.tolist() == pytest.approx([1.0, 1.0, 1.5, 0.5])
    # Covariances inside the groups: -1/4 and 0, with the population's divisor.
    assert recipe.shape[0].learnt == pytest.approx((1.0, 1.0 - 0.5 * 0.125))
    again = recipe(given)
    assert again.rollouts.outcome.tolist() == pytest.approx([1.0, 0.9375, 1.46875, 0.46875])


def test_a_short_run_of_every_arm_repeats_itself() -> None:
    shared = {**barfi.claim().shared, "episodes": 480}
    for arm in barfi.claim().arms.values():
        first = barfi.run_arm(dict(arm), shared, 1, Path())
        assert first == barfi.run_arm(dict(arm), shared, 1, Path())
        assert 0.0 <= first["corner"] <= 1.0


def test_the_grid_by_hand() -> None:
    grid = MisleadingGrid("distance", size=2, horizon=3, gamma=0.5, strength=0.2)
    assert grid.following.tolist() == [[0, 2, 0, 1], [1, 3, 0, 1], [0, 2, 2, 3], [1, 3, 2, 3]]
    assert grid.auxiliary.tolist() == pytest.approx([-0.2, -0.1, -0.1, 0.0])
    straight = torch.full((4, 4), -60.0, dtype=torch.float64)
    straight[0, 3] = straight[1, 1] = 0.0
    assert grid.share(straight.flatten()) == pytest.approx(1.0)
    episodes = grid.sample(straight.flatten(), 2, torch.Generator().manual_seed(0))
    assert episodes.mask.tolist() == [[True, True, False]] * 2
    assert episodes.primary.tolist() == [[0.0, 1.0, 0.0]] * 2
    assert MisleadingGrid("corner", size=2).auxiliary.tolist() == [0.0, 0.05, 0.0, 0.0]
    with pytest.raises(ValueError, match="heuristic is 'x'"):
        MisleadingGrid("x")


def test_the_loops_count_their_episodes_and_keep_their_order() -> None:
    grid = MisleadingGrid("corner", size=3, horizon=8)
    learner = BARFI(grid, torch.zeros(36, dtype=torch.float64), 9, inner_steps=2, episodes=16)
    generator = torch.Generator().manual_seed(0)
    with pytest.raises(RuntimeError, match="before inner"):
        learner.outer(generator)
    assert learner.inner(generator) == 48
    before = learner.gamma_phi
    assert before == pytest.approx(0.99)
    assert learner.outer(generator) == 16
    assert learner.seen["j"] > 0.0
    assert float(learner.parts[2]) != 1.0
    assert learner.gamma_phi != before
