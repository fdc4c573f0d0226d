"""Clipped and telescoping process rewards."""

from __future__ import annotations

import math
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Recipe, Rollouts, ops
from guerdon.credit import GroupNormalized
from guerdon.shape import Clip, Delta, RefineProcess, Scale, chain, delta, refine_process
from tests.strategies import NAN
from tests.strategies import rollouts as any_rollouts

STEPS = torch.tensor([0.9, 0.8, 0.3, 0.95, 0.6])
scores = st.one_of(st.just(NAN), st.floats(0, 1, width=32))


def returns(reward: torch.Tensor) -> torch.Tensor:
    filled = torch.nan_to_num(reward[None], nan=0.0)
    return ops.accumulate(filled, torch.ones_like(filled, dtype=torch.bool))[0]


@pytest.mark.parametrize(
    ("mode", "rewards", "to_go"),
    [
        ("none", [0.9, 0.8, 0.3, 0.95, 0.6], [1.355, 1.265, 1.185, 1.155, 1.06]),
        ("clip", [0.0, -0.05, -0.55, 0.0, -0.25], [0.915, 0.915, 0.92, 0.975, 0.975]),
        ("delta", [0.1, 0.5, -0.65, 0.95, 0.0], [1.09, 1.08, 1.03, 1.095, 1.0]),
        ("clip+delta", [0.05, 0.5, -0.55, 0.0, 0.0], [1.0, 0.995, 0.945, 1.0, 1.0]),
    ],
)
def test_the_worked_example(mode: str, rewards: list[float], to_go: list[float]) -> None:
    found = refine_process(STEPS, mode, 0.85)
    assert found.tolist() == pytest.approx(rewards, abs=1e-6)
    assert (0.1 * returns(found) + 1.0).tolist() == pytest.approx(to_go, abs=1e-6)


def test_placement_on_tokens() -> None:
    refined = refine_process(torch.tensor([[0.5, 0.7, 0.6]]), "clip+delta", 0.65)
    step = torch.tensor([[0, 0, 0, 1, 2, 2, -1]])
    tokens = ops.place(refined, step)
    tokens[0, 5] += 1.0
    assert tokens[0].tolist() == pytest.approx([0, 0, -0.15, 0, 0, 1, 0], abs=1e-6)


def slow_delta(x: list[float], there: list[bool]) -> list[float]:
    existing = [k for k in range(len(x)) if there[k]]
    scored = [k for k in existing if not math.isnan(x[k]) or k == existing[-1]]
    result = [NAN] * len(x)
    for place, k in enumerate(scored):
        if math.isnan(x[k]):
            continue
        left = len(scored) - place
        result[k] = 0.0 if left == 1 else x[k] if left == 2 else x[k] - x[scored[place + 1]]
    return result


@given(rows=st.lists(st.lists(st.tuples(scores, st.booleans()), min_size=4, max_size=4), min_size=1, max_size=5))
def test_delta_by_a_loop(rows: list[list[tuple[float, bool]]]) -> None:
    x = torch.tensor([[pair[0] for pair in row] for row in rows])
    there = torch.tensor([[pair[1] for pair in row] for row in rows])
    found = delta(x, there)
    for row, line in enumerate(found.tolist()):
        expected = slow_delta(x[row].tolist(), there[row].tolist())
        assert line == pytest.approx(expected, abs=1e-6, nan_ok=True)
        if not torch.isnan(x[row][there[row]]).any():
            torch.testing.assert_close(delta(x[row], there[row]), found[row], equal_nan=True)


@given(p=st.lists(st.floats(0, 1, width=32), min_size=1, max_size=8), eta=st.floats(0, 1))
def test_returns_are_the_steps_own_scores(p: list[float], eta: float) -> None:
    x = torch.tensor(p, dtype=torch.float64)
    plain, bounded = refine_process(x, "delta"), refine_process(x, "clip+delta", eta)
    torch.testing.assert_close(returns(plain)[:-1], x[:-1])
    assert float(returns(plain)[-1]) == 0.0
    assert float(plain.sum()) == pytest.approx(p[0] if len(p) > 1 else 0.0)
    assert bool((returns(bounded) <= 1e-12).all())
    assert bool((refine_process(x, "clip", eta) <= 0).all())
    assert bool((refine_process(x, "clip", min(p)) == 0).all())
    # A copy of a step behind itself adds nothing.
    longer = torch.cat([x[:1], x])
    assert float(refine_process(longer, "delta").sum()) == pytest.approx(p[0])
    assert float(refine_process(longer, "clip", eta).sum()) <= float(refine_process(x, "clip", eta).sum()) + 1e-12


def test_no_steps_and_padding() -> None:
    assert refine_process(torch.zeros(2, 0)).shape == (2, 0)
    padded = torch.cat([STEPS, torch.full((3,), NAN)])
    torch.testing.assert_close(refine_process(padded, eta=0.85)[:5], refine_process(STEPS, eta=0.85))
    assert torch.isnan(refine_process(padded, eta=0.85)[5:]).all()
    for arguments, match in (((STEPS, "cut"), "mode"), ((STEPS, "delta", 0.0, torch.ones(2)), "exists")):
        with pytest.raises(ValueError, match=match):
            refine_process(*arguments)


def batch(process: list[list[float]], iteration: int = 0) -> Rollouts:
    rows, width = len(process), len(process[0])
    step = torch.arange(width).expand(rows, width)
    there = ~torch.isnan(torch.tensor(process))
    return Rollouts(
        group=[0] * rows, mask=there, step=torch.where(there, step, -1), process=process, iteration=iteration
    )


def test_the_stage_is_clip_then_delta() -> None:
    value = batch([STEPS.tolist(), [0.5, 0.7, NAN, NAN, NAN]])
    stage = RefineProcess(eta=0.85, update_order="never")
    composed = chain(Scale(offset=-0.85, target="process"), Clip(high=0.0, target="process"), Delta())
    torch.testing.assert_close(stage(value).process, composed(value).process, equal_nan=True)
    assert stage(value).process[0].tolist() == pytest.approx([0.05, 0.5, -0.55, 0, 0], abs=1e-6)
    assert RefineProcess(eta=0.85, scale=0.1)(value).process[0, 1].item() == pytest.approx(0.05)
    torch.testing.assert_close(stage(value).steps["process_before_refinement"], value.process, equal_nan=True)


def test_the_threshold_is_found_once_and_survives_a_restart() -> None:
    first, second = batch([[0.1, 0.5, 0.9]]), batch([[0.8, 0.8, 0.8]])
    stage = RefineProcess(quantile=0.5)
    recipe = Recipe(credit=GroupNormalized(), shape=stage)
    recipe(batch([[NAN, NAN]]), learn=True)
    assert stage.state_dict() == {}
    batch_one = recipe(first, learn=True)
    assert batch_one.metrics["update/RefineProcess/eta"] == 0.5
    torch.testing.assert_close(batch_one.rollouts.process, refine_process(first.process, eta=0.5))
    assert recipe(second, learn=True).metrics["update/RefineProcess/eta"] == 0.5
    other = RefineProcess(quantile=0.5)
    other.load_state_dict(pickle.loads(pickle.dumps(stage.state_dict())))
    torch.testing.assert_close(other(second).process, stage(second).process)
    assert (
        repr(stage)
        == "RefineProcess(mode='clip+delta', eta=None, quantile=0.5, scale=1.0, update_order='update_first')"
    )
    with pytest.raises(ValueError, match="expected rollouts that it has refined"):
        stage.update(first)


@given(value=any_rollouts())
def test_stages_run_on_any_rollouts(value: Rollouts) -> None:
    for stage in (Delta(), RefineProcess(), RefineProcess("none"), RefineProcess("clip", eta=0.5)):
        shaped = stage(value)
        assert torch.equal(torch.isnan(shaped.process), torch.isnan(value.process))


def test_bad_stages_are_refused() -> None:
    for arguments, match in (
        ({"mode": "cut"}, "mode"),
        ({"quantile": 1.0}, "quantile"),
        ({"update_order": "never"}, "update_order"),
        ({"eta": 0.5, "update_order": "score_first"}, "update_order"),
    ):
        with pytest.raises(ValueError, match=match):
            RefineProcess(**arguments)  # type: ignore[arg-type]
