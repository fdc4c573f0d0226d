"""PAR: the worked rewards through the recipe, and every transform of the paper."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from guerdon import Rollouts
from guerdon.papers import par


def rollouts(outcome: list[float], length: int = 1) -> Rollouts:
    rows = len(outcome)
    return Rollouts(
        group=[0] * rows,
        mask=torch.ones(rows, 1, dtype=torch.bool),
        outcome=outcome,
        columns={"references": [[0.0, 1.0, 3.0]] * rows, "length": [length] * rows},
    )


def shaped(given: Rollouts, **settings: object) -> list[float]:
    for stage in par.recipe(**settings).shape:  # type: ignore[arg-type]
        given = stage(given)
    found: list[float] = given.outcome.tolist()
    return found


def test_the_worked_rewards() -> None:
    assert shaped(rollouts([2.0, -1.0])) == pytest.approx([0.626932, 0.135377], abs=1e-5)
    assert shaped(rollouts([2.0, -1.0]), max_ref=1) == pytest.approx([0.880797, 0.268941], abs=1e-5)
    assert shaped(rollouts([2.0]), k=3.0) == pytest.approx([0.665842], abs=1e-5)
    assert shaped(rollouts([2.0, -1.0]), transform="lsc") == pytest.approx([-1.252928, -3.936236], abs=2e-4)
    assert shaped(rollouts([2.0]), transform="raw") == [2.0]


def test_the_length_penalty_comes_first() -> None:
    for length, reward in ((300, 3.0), (301, 2.99), (512, 0.88)):
        assert shaped(rollouts([3.0], length), transform="raw") == pytest.approx([reward], abs=1e-5)
        assert shaped(rollouts([3.0], length), limit=None) == pytest.approx(shaped(rollouts([3.0])), abs=1e-6)
    assert shaped(rollouts([3.0], 512)) == pytest.approx(shaped(rollouts([0.88])), abs=1e-5)


@pytest.mark.parametrize("name", par.TRANSFORMS)
def test_every_transform_keeps_the_order(name: str) -> None:
    recipe = par.recipe(transform=name, group=True)
    found = recipe(rollouts([-3.0, -1.0, 0.5, 2.0]), learn=True)
    assert torch.equal(found.rollouts.outcome.argsort(stable=True), torch.arange(4))
    assert bool(torch.isfinite(found.advantages).all())


def test_settings() -> None:
    assert par.recipe(group=True).rollout.n == 5  # type: ignore[union-attr]
    assert "lam=0.95, whiten=True" in str(par.recipe().credit)
    assert "targets='reward_to_go'" in str(par.recipe().credit)
    with pytest.raises(ValueError, match="transform is 'log'"):
        par.recipe(transform="log")


def test_an_arm_repeats_itself(tmp_path: Path) -> None:
    shared = {"candidates": 400, "references": 10}
    for arm in par.claim().arms.values():
        first = par.run_arm(dict(arm), shared, 0, tmp_path)
        assert first == par.run_arm(dict(arm), shared, 0, tmp_path)
