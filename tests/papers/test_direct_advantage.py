"""Direct advantage: the worked states through the recipe, and that no state gets worse."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from guerdon import Rollouts
from guerdon.papers import direct_advantage


def test_the_worked_states() -> None:
    recipe = direct_advantage.recipe(action="action")
    rollouts = Rollouts(
        group=[0] * 4 + [1] * 4,
        mask=torch.ones(8, 1, dtype=torch.bool),
        outcome=[0.8, 0.5, 0.2, 0.5, 0.41, 0.40, 0.44, 0.39],
        ref_logprobs=[[-6.0], [-7.0], [-6.0], [-7.0]] + [[-1.0]] * 4,
        columns={"action": ["a", "b", "c", "b", "d", "e", "f", "g"]},
    )
    batch = recipe(rollouts)
    trained = batch.training
    assert trained.rows.tolist() == [0, 1, 2]
    assert trained.advantages[:, 0].tolist() == pytest.approx([0.3, 0.0, -0.3], abs=1e-6)
    assert recipe.objective is not None
    for beta, value, gradient in (
        (0.01, 261.7083, [-9.6667, -0.1667, 9.0]),
        (0.5, 1.028333, [0.133333, -0.166667, -0.8]),
    ):
        objective = direct_advantage.recipe(beta=beta).objective
        assert objective is not None
        logprobs = torch.tensor([[-5.0], [-7.5], [-9.0]], requires_grad=True)
        found = objective(logprobs, trained).value
        assert float(found) == pytest.approx(value, rel=1e-5)
        found.backward()
        assert logprobs.grad is not None
        assert logprobs.grad[:, 0].tolist() == pytest.approx(gradient, rel=1e-3)


def test_no_state_gets_worse() -> None:
    shared = {"depth": 2, "iterations": 3, "betas": [0.25, 4.0]}
    for seed in range(5):
        found = direct_advantage.run_arm({"method": "direct"}, shared, seed, Path())
        assert found["worst"] >= -1e-12
        assert 0.0 < found["gain"] <= 1.0
        assert found == direct_advantage.run_arm({"method": "direct"}, shared, seed, Path())
    none = direct_advantage.run_arm({"method": "none"}, shared, 0, Path())
    assert none == {"gain": 0.0, "second": 0.0, "worst": 0.0}
