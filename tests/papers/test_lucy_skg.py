"""Lucy-SKG: the recipe on a batch by hand, and every arm of the claim in a short run."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from guerdon import Rollouts
from guerdon.control.random_mdps import random_transitions
from guerdon.control.starc import starc_distance
from guerdon.papers import lucy_skg
from guerdon.shape.geometric_and import krc
from guerdon.shape.potential import shaping


def test_the_recipe_pays_only_for_what_holds_at_once() -> None:
    rollouts = Rollouts(
        group=[0] * 4,
        mask=torch.ones(4, 1, dtype=torch.bool),
        outcome=[1.0, 1.0, 0.0, 0.81],
        columns={"format": [1.0, 0.0, 1.0, 1.0]},
    )
    recipe = lucy_skg.recipe(terms=("outcome", "format"), critic=False, n=4)
    batch = recipe(rollouts)
    combined = torch.tensor([1.0, 0.0, 0.0, 0.9])
    expected = (combined - combined.mean()) / (combined.std() + 1e-4)
    assert batch.advantages[:, 0].tolist() == pytest.approx(expected.tolist(), abs=1e-3)
    assert "GeometricAnd" in str(recipe)


def test_with_a_critic_the_combined_outcome_is_paid_at_the_end() -> None:
    rollouts = Rollouts(
        group=[0, 1],
        mask=torch.ones(2, 3, dtype=torch.bool),
        outcome=[0.64, -0.25],
        columns={"format": [1.0, 1.0]},
        tokens={"values": torch.zeros(2, 3)},
    )
    credit = lucy_skg.recipe(terms=("outcome", "format"), lam=1.0).credit
    shaped = lucy_skg.recipe(terms=("outcome", "format")).shape[0](rollouts)
    assert shaped.outcome.tolist() == pytest.approx([0.8, -0.5])
    advantages = credit(shaped)
    assert (advantages[0] > 0).all()
    assert (advantages[1] < 0).all()


@pytest.mark.parametrize("name", [*lucy_skg.claim().arms, "both heads"])
def test_every_arm_runs(name: str, tmp_path: Path) -> None:
    claim = lucy_skg.claim()
    arm = claim.arms.get(name, {"potential": "krc", "reward_class": 1.0, "reconstruction": 1.0})
    shared = {**claim.shared, "steps": 4_096, "fields": 32, "epochs": 1}
    found = lucy_skg.run_arm(dict(arm), shared, 0, tmp_path)
    assert set(found) == set(claim.metrics)
    assert found["log_area"] == pytest.approx(math.log(max(found["area"], 1e-3)))
    assert found == lucy_skg.run_arm(dict(arm), shared, 0, tmp_path)


def test_arms_differ_in_potential_and_heads_only() -> None:
    claim = lucy_skg.claim()
    assert {tuple(sorted(arm)) for arm in claim.arms.values()} == {("potential",), ("potential", "reward_class")}
    assert claim.shared["steps"] == 300_000


def test_shaping_by_krc_orders_all_policies_as_before_and_a_slope_does_not() -> None:
    generator = np.random.default_rng(0)
    tau = random_transitions(6, 3, generator)
    truth = generator.normal(size=(6, 3, 6))
    phi = krc(torch.from_numpy(generator.uniform(-1, 1, (6, 3))))
    for slope, equal in ((1.0, True), (0.5, False)):
        hint = shaping(phi[None, None, :], phi[:, None, None], 0.9, slope).expand(6, 3, 6).numpy()
        assert (starc_distance(truth, truth + hint, tau, 0.9) < 1e-7) is equal
    undifferenced = truth + phi[None, None, :].numpy()
    assert starc_distance(truth, undifferenced, tau, 0.9) > 0.01
