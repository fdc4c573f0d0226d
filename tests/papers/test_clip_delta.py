"""Clipping and Delta: the returns of the worked example, through the whole recipe."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from guerdon import Rollouts
from guerdon.papers import clip_delta

PROCESS = [0.9, 0.8, 0.3, 0.95, 0.6]
RETURNS = {
    "success": [1.0, 1.0, 1.0, 1.0, 1.0],
    "none": [1.355, 1.265, 1.185, 1.155, 1.06],
    "clip": [0.915, 0.915, 0.92, 0.975, 0.975],
    "delta": [1.09, 1.08, 1.03, 1.095, 1.0],
    "clip+delta": [1.0, 0.995, 0.945, 1.0, 1.0],
}


def example(process: list[float], values: bool = True) -> Rollouts:
    steps = len(process)
    step = torch.arange(steps).repeat_interleave(2)[None]
    zero = torch.zeros(1, 2 * steps)
    return Rollouts(
        group=[0],
        mask=torch.ones(1, 2 * steps, dtype=torch.bool),
        step=step,
        outcome=[1.0],
        process=[process],
        logprobs=zero,
        ref_logprobs=zero,
        tokens={"values": zero} if values else {},
    )


@pytest.mark.parametrize("mode", clip_delta.MODES)
def test_returns_of_the_worked_example(mode: str) -> None:
    recipe = clip_delta.recipe(mode=mode, eta=0.85)
    rollouts = example(PROCESS)
    for stage in recipe.shape:
        rollouts = stage(rollouts)
    _, returns = recipe.credit.advantages_and_returns(rollouts)  # type: ignore[attr-defined]
    assert returns[0, ::2].tolist() == pytest.approx(RETURNS[mode], abs=1e-6)
    # A step pays at its last token, so the token before sees the same return.
    assert returns[0, 1::2].tolist() == pytest.approx(RETURNS[mode], abs=1e-6)
    without = clip_delta.recipe(mode=mode, eta=0.85, critic=False, kl_coef=0.0).credit
    plain = type(without)(baseline="none", use_process=mode != "success")(rollouts)  # type: ignore[call-arg]
    assert plain[0, ::2].tolist() == pytest.approx(RETURNS[mode], abs=1e-6)


def test_repetition_does_not_pay() -> None:
    """The return from the start is the same however often a step is written again; the raw sum grows."""

    def start(mode: str, process: list[float]) -> float:
        recipe = clip_delta.recipe(mode=mode, eta=0.85)
        rollouts = example(process)
        for stage in recipe.shape:
            rollouts = stage(rollouts)
        return float(recipe.credit.advantages_and_returns(rollouts)[1][0, 0])  # type: ignore[attr-defined]

    repeated = [0.9, 0.9, 0.9, *PROCESS]
    for mode in ("delta", "clip+delta"):
        assert start(mode, repeated) == pytest.approx(start(mode, PROCESS), abs=1e-6)
    assert start("none", repeated) == pytest.approx(start("none", PROCESS) + 0.27, abs=1e-6)
    assert start("clip", repeated) <= start("clip", PROCESS) + 1e-6


def test_the_threshold_comes_from_the_first_batch() -> None:
    recipe = clip_delta.recipe(mode="clip", quantile=0.5)
    recipe(example(PROCESS), learn=True)
    (state,) = recipe.state_dict().values()
    assert state["eta"] == pytest.approx(0.8)
    recipe(example([0.1] * 5), learn=True)
    assert next(iter(recipe.state_dict().values()))["eta"] == pytest.approx(0.8)


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="mode is 'raw'"):
        clip_delta.recipe(mode="raw")


def test_an_arm_repeats_itself(tmp_path: Path) -> None:
    shared = {**clip_delta.claim().shared, "steps": 10}
    first = clip_delta.run_arm({"mode": "clip+delta"}, shared, 0, tmp_path)
    assert first == clip_delta.run_arm({"mode": "clip+delta"}, shared, 0, tmp_path)
    assert set(first) == set(clip_delta.claim().metrics)
