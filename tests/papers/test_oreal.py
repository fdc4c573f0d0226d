"""OREAL: the worked losses through the recipe, and which rows are trained on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from guerdon import Rollouts
from guerdon.papers import oreal


def test_advantages_are_those_of_right_and_wrong() -> None:
    rollouts = Rollouts(
        group=[0] * 8 + [1] * 2,
        mask=torch.ones(10, 1, dtype=torch.bool),
        outcome=[1.0, 1.0] + [0.0] * 6 + [1.0, 1.0],
        tokens={"scores": torch.full((10, 1), 50.0)},
    )
    batch = oreal.recipe(token_model=False, pairs=True, seed=4)(rollouts)
    assert len(batch) == 8
    kinds = [float(batch.rollouts.outcome[row]) for row in batch.trained.nonzero().squeeze(1)]
    assert sorted(kinds) == [-1.0, 1.0]
    assert batch.advantages[:, 0].tolist() == pytest.approx([1.714286] * 2 + [-0.571429] * 6, abs=1e-5)
    everything = oreal.recipe(token_model=False)(rollouts)
    assert int(everything.trained.sum()) == 8
    weighted = oreal.recipe(pairs=False)(rollouts).advantages[:, 0].tolist()
    # Scores that say "right" everywhere leave right responses as they are, and take wrong ones out.
    assert weighted == pytest.approx([1.714286] * 2 + [0.0] * 6, abs=1e-5)


def test_the_worked_loss() -> None:
    """One right and one wrong response of eight, with the weights of their tokens."""
    scores = torch.tensor([[2.0, 1.0, -1.0, 0.5], [-1.0, -3.0, 2.0, 0.0]])
    mask = torch.tensor([[True] * 4, [True, True, True, False]])
    others = torch.zeros(6, 4)
    rollouts = Rollouts(
        group=[0] * 8,
        mask=torch.cat([mask, torch.ones(6, 4, dtype=torch.bool)]),
        outcome=[1.0, 0.0, 1.0] + [0.0] * 5,
        ref_logprobs=torch.cat([torch.tensor([[0.4, 0.8, 0.6, 0.5], [0.5, 0.5, 0.5, 1.0]]).log(), others]),
        tokens={"scores": torch.cat([scores, others])},
    )
    recipe = oreal.recipe(pairs=False)
    batch = recipe(rollouts)
    batch = batch[torch.tensor([0, 1])]
    logprobs = torch.tensor([[0.5, 0.8, 0.9, 0.4], [0.6, 0.3, 0.5, 1.0]]).log().requires_grad_()
    assert recipe.objective is not None
    loss = recipe.objective(logprobs, batch)
    assert loss.metrics["positive"] == pytest.approx(0.420373, abs=1e-5)
    assert loss.metrics["negative"] == pytest.approx(0.147164, abs=1e-5)
    assert loss.metrics["kl"] == pytest.approx(0.000419, abs=1e-5)
    assert float(loss.value) == pytest.approx(0.567957, abs=1e-5)


def test_an_arm_repeats_itself(tmp_path: Path) -> None:
    shared = {**oreal.claim().shared, "steps": 5, "rates": [4.0, 16.0]}
    for arm in oreal.claim().arms.values():
        first = oreal.run_arm(dict(arm), shared, 1, tmp_path)
        assert first == oreal.run_arm(dict(arm), shared, 1, tmp_path)
