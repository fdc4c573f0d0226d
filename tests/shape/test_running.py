"""Rewards on the scale of what the run has seen."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Recipe, Rollouts
from guerdon.credit import GroupNormalized
from guerdon.ops import RunningMoments, RunningWindow
from guerdon.shape import Running, RunningReward, chain
from tests.strategies import NAN
from tests.strategies import rollouts as any_rollouts

cells = st.one_of(st.just(NAN), st.floats(-20, 20, width=32))
batches = st.lists(st.lists(cells, max_size=5), min_size=1, max_size=5)


def batch(outcome: list[float], **columns: Any) -> Rollouts:
    rows = len(outcome)
    group = torch.zeros(rows, dtype=torch.int64)
    return Rollouts(group=group, mask=torch.ones(rows, 1, dtype=torch.bool), outcome=outcome, columns=columns)


def test_the_worked_example() -> None:
    running = RunningReward("meanstd")
    assert running(torch.tensor([2.0, 4.0])).tolist() == [-1.0, 1.0]
    assert running(torch.tensor([0.0, 10.0])).tolist() == pytest.approx([-1.069045, 1.603567], abs=1e-6)
    bounded = RunningReward("clip")(torch.tensor([1.0, 2.0, 3.0, 10.0], dtype=torch.float64))
    assert bounded.tolist() == pytest.approx([1, 2, 3, 7.535534], abs=1e-6)
    empty_range = RunningReward("minmax")(torch.tensor([2.0, 2.0, NAN]))
    assert empty_range.tolist() == pytest.approx([0.0, 0.0, NAN], nan_ok=True)
    assert RunningReward("meanstd")(torch.tensor([5.0])).tolist() == [0.0]


def slow(mode: str, seen: list[float], x: float) -> float:
    mean, std = np.mean(seen), np.std(seen)
    if mode == "clip":
        return float(np.clip(x, mean - std, mean + std))
    if mode == "minmax":
        width = max(seen) - min(seen)
        return (x - min(seen)) / width if width else 0.0
    return float((x - mean) / (std if std > 0 else 1.0))


@given(given=batches, mode=st.sampled_from(["meanstd", "clip", "minmax"]))
def test_statistics_of_everything_seen(given: list[list[float]], mode: str) -> None:
    running, seen = RunningReward(mode), []
    for values in given:
        seen += [value for value in values if not math.isnan(value)]
        x = torch.tensor(values, dtype=torch.float64)
        peeked = running.peek(x)
        found = running(x)
        assert peeked.tolist() == pytest.approx(found.tolist(), nan_ok=True)
        expected = [x if math.isnan(x) else slow(mode, seen, x) for x in values]
        assert torch.isnan(found).tolist() == [math.isnan(value) for value in values]
        if seen and (mode != "meanstd" or np.std(seen) > 1e-6):
            assert found.tolist() == pytest.approx(expected, abs=1e-6, rel=1e-6, nan_ok=True)


MODES = [
    {"mode": "meanstd", "eps": 1e-4, "squash": "tanh"},
    {"mode": "meanstd", "batch_ddof": 1, "prior": (1e-4, 0.0, 1.0), "zero_up_to": -0.5},
    {"mode": "meanstd", "decay": 0.9},
    {"mode": "clip"},
    {"mode": "minmax"},
    {"mode": "percentile", "transform": "sqrt", "invert": True, "window": 5},
]


@pytest.mark.parametrize("options", MODES, ids=lambda options: "-".join(map(str, options.values())))
@given(given=batches, cut=st.integers(0, 5))
def test_a_restart_changes_nothing(options: dict[str, Any], given: list[list[float]], cut: int) -> None:
    given = [[abs(value) for value in values] for values in given]
    straight, resumed = Running(**options), Running(**options)
    recipes = [Recipe(credit=GroupNormalized(), shape=stage) for stage in (straight, resumed)]
    for place, values in enumerate(given):
        if place == cut:
            recipes[1].load_state_dict(pickle.loads(pickle.dumps(recipes[0].state_dict())))
        found = [recipe(batch(values), learn=True).rollouts.outcome for recipe in recipes]
        if cut <= place:
            assert torch.equal(torch.nan_to_num(found[0]), torch.nan_to_num(found[1]))


@pytest.mark.parametrize("options", MODES, ids=lambda options: "-".join(map(str, options.values())))
def test_calling_is_pure_and_updates_fold_the_batch_in_once(options: dict[str, Any]) -> None:
    stage = Running(**options)
    state = copy.deepcopy(stage.state_dict())
    value = batch([4.0, 1.0, 9.0])
    first = stage(value)
    assert torch.equal(first.outcome, stage(value).outcome)
    assert stage.state_dict() == state
    stage.update(first)
    assert stage.state_dict() != state
    reference = RunningReward(
        stage.mode,
        RunningMoments(stage.batch_ddof, stage.decay, count=stage.prior[0], variance=stage.prior[2]),
        RunningWindow(stage.window, stage.percentiles, stage.transform),
    )
    reference(value.outcome)
    assert stage.state_dict() == reference.state_dict()


def test_unshaped_rewards_are_refused_by_update() -> None:
    with pytest.raises(ValueError, match="expected rollouts that it has transformed"):
        Running().update(batch([1.0]))
    stage = Running()
    with pytest.raises(ValueError, match="a `keep` of its own"):
        chain(stage, Running())(batch([1.0, 2.0]))
    shaped = chain(stage, Running("minmax", keep="before_minmax"))(batch([1.0, 2.0, 3.0]))
    assert shaped.outcome.tolist() == [0.0, 0.5, 1.0]
    assert shaped.columns["raw_outcome"] == shaped.columns["before_running"] == (1.0, 2.0, 3.0)


def test_when_the_statistics_take_the_batch_in() -> None:
    before = Running(update_order="score_first")
    value = batch([2.0, 4.0])
    shaped = before(value)
    assert shaped.outcome.tolist() == [2.0, 4.0]
    before.update(shaped)
    assert before(batch([3.0])).outcome.tolist() == [0.0]
    never = Running(update_order="never", prior=(1.0, 3.0, 4.0))
    never.update(never(value))
    assert never(value).outcome.tolist() == [-0.5, 0.5]
    recipe = Recipe(credit=GroupNormalized(), shape=Running())
    metrics = recipe(value, learn=True).metrics
    assert (metrics["update/Running/mean"], metrics["update/Running/count"]) == (3.0, 2.0)


def test_cheap_calls() -> None:
    stage = Running("percentile", target="cost", transform="sqrt", invert=True)
    value = batch([1.0] * 4, cost=[100.0, 400.0, 0.0, 400.0])
    shaped = stage(value)
    assert shaped.columns["cost"] == (0.5, 0.0, 1.0, 0.0)
    assert shaped.outcome.tolist() == [1.0] * 4
    stage.update(shaped)
    assert stage(batch([1.0], cost=[225.0])).columns["cost"][0] == pytest.approx(0.277778, abs=1e-6)
    assert set(stage.update(shaped)) == {"low", "high", "window"}


def test_a_ranking_reward_below_its_threshold_is_nothing() -> None:
    stage = Running(batch_ddof=1, prior=(1e-4, 0.0, 1.0), zero_up_to=-0.5)
    found = stage(batch([2.0, 4.0])).outcome.tolist()
    assert found == pytest.approx([0.0, 0.7071], abs=1e-4)


@given(given=batches, split=st.integers(0, 5))
def test_processes_that_gather_keep_equal_statistics(given: list[list[float]], split: int) -> None:
    """Every process sees the joined rows of all, so its statistics are those of one process."""
    alone, process = Running(), [Running(), Running()]
    for values in given:
        joined = Rollouts.concatenate([batch(values[:split]), batch(values[split:])])
        for stage in process:
            stage.update(stage(joined))
        alone.update(alone(batch(values)))
    assert process[0].state_dict() == process[1].state_dict() == alone.state_dict()


@given(value=any_rollouts())
def test_the_stage_runs_on_any_rollouts(value: Rollouts) -> None:
    for mode in ("meanstd", "clip", "minmax", "percentile"):
        shaped = Running(mode)(value)
        assert torch.equal(torch.isnan(shaped.outcome), torch.isnan(value.outcome))


def test_bad_stages_are_refused() -> None:
    for options, match in (
        ({"mode": "median"}, "mode"),
        ({"squash": "relu"}, "squash"),
        ({"update_order": "last"}, "update_order"),
        ({"decay": 2.0}, "decay"),
        ({"percentiles": (0.5, 0.5)}, "q is"),
    ):
        with pytest.raises(ValueError, match=match):
            Running(**options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="mode"):
        RunningReward("median")
    with pytest.raises(ValueError, match="the state is of mode"):
        RunningReward("clip").load_state_dict(RunningReward("minmax").state_dict())
