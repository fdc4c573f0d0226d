"""Clipping and Delta: the returns of the worked example through the whole recipe, bounds, and the loss by hand."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Batch, Recipe, Rollouts
from guerdon.credit import GAE, RewardToGo
from guerdon.objective import ClippedSurrogate
from guerdon.papers import clip_delta
from guerdon.search import Independent
from guerdon.shape import RefineProcess
from tests.train.tiny import CountOnes, recipe_trainer

NAN = float("nan")

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


def test_the_defaults() -> None:
    recipe = clip_delta.recipe()
    assert recipe.shape == (RefineProcess("clip+delta", None, quantile=0.3, scale=0.1),)
    assert recipe.credit == GAE(gamma=1.0, lam=1.0, whiten=True, use_process=True, kl_coef=0.1)
    assert recipe.objective == ClippedSurrogate(0.2, 0.2, kl_coef=0.0, aggregation="dapo")
    assert recipe.rollout == Independent(1)
    assert clip_delta.recipe(critic=False).credit == RewardToGo(1.0, "position", use_process=True, kl_coef=0.1)
    assert clip_delta.recipe(mode="success").credit == GAE(kl_coef=0.1)
    text = str(recipe)
    assert text.index("RefineProcess") < text.index("GAE") < text.index("ClippedSurrogate")


def returns(
    mode: str, process: list[list[float]], outcome: list[float], eta: float = 0.85, alpha: float = 0.1
) -> torch.Tensor:
    """(B, S) undiscounted returns of steps of one token each; NaN = no such step."""
    values = torch.tensor(process)
    there = ~torch.isnan(values)
    rollouts = Rollouts(
        group=torch.zeros(len(process), dtype=torch.int64),
        mask=there,
        step=torch.where(there, torch.arange(values.shape[1]), -1),
        outcome=torch.tensor(outcome),
        process=values,
        tokens={"values": torch.zeros_like(values)},
    )
    recipe = clip_delta.recipe(mode=mode, eta=eta, alpha=alpha, kl_coef=0.0)
    for stage in recipe.shape:
        rollouts = stage(rollouts)
    assert isinstance(recipe.credit, GAE)
    return recipe.credit.advantages_and_returns(rollouts)[1]


def test_rewards_are_placed_at_the_ends_of_steps() -> None:
    """Steps of three, one and two tokens, and padding: -0.15 at the end of the first, the outcome at the end."""
    rollouts = Rollouts(
        group=torch.tensor([0]),
        mask=torch.tensor([[True] * 6 + [False]]),
        step=torch.tensor([[0, 0, 0, 1, 2, 2, -1]]),
        outcome=torch.tensor([1.0]),
        process=torch.tensor([[0.5, 0.7, 0.6]]),
        tokens={"values": torch.zeros(1, 7)},
    )
    recipe = clip_delta.recipe(eta=0.65, alpha=1.0, kl_coef=0.0)
    assert isinstance(recipe.credit, GAE)
    found = recipe.credit.advantages_and_returns(recipe.shape[0](rollouts))[1]
    assert found[0].tolist() == pytest.approx([0.85, 0.85, 0.85, 1.0, 1.0, 1.0, 0.0])


def test_short_responses_and_padding() -> None:
    """With one step the outcome alone is left, with two the first keeps its score; longer rows change nothing."""
    rows = [[0.4, NAN, NAN, NAN, NAN], [0.4, 0.7, NAN, NAN, NAN], PROCESS]
    found = returns("delta", rows, [1.0, 0.0, 1.0])
    assert found[0].tolist() == pytest.approx([1.0, 0.0, 0.0, 0.0, 0.0])
    assert found[1].tolist() == pytest.approx([0.04, 0.0, 0.0, 0.0, 0.0])
    assert found[2].tolist() == pytest.approx(RETURNS["delta"])


scores = st.lists(st.floats(0, 1, width=32), min_size=1, max_size=8)


@given(process=scores, right=st.sampled_from([0.0, 1.0]), eta=st.floats(0, 1), alpha=st.sampled_from([0.1, 0.5]))
def test_the_return_of_a_step_is_its_own_score(process: list[float], right: float, eta: float, alpha: float) -> None:
    delta = returns("delta", [process], [right], eta, alpha)[0].tolist()
    both = returns("clip+delta", [process], [right], eta, alpha)[0].tolist()
    assert delta == pytest.approx([right + alpha * score for score in process[:-1]] + [right], abs=1e-5)
    cut = [min(score - eta, 0.0) for score in process[:-1]]
    assert both == pytest.approx([right + alpha * score for score in cut] + [right], abs=1e-5)
    for mode in ("clip", "clip+delta"):
        assert float(returns(mode, [process], [right], eta, alpha).max()) <= right + 1e-5


@given(process=scores, place=st.integers(0, 7), mode=st.sampled_from(clip_delta.MODES[1:]), gain=st.floats(0, 1))
def test_a_better_step_never_returns_less(process: list[float], place: int, mode: str, gain: float) -> None:
    place = min(place, len(process) - 1)
    better = [score + gain * (1.0 - score) if k == place else score for k, score in enumerate(process)]
    before, after = (returns(mode, [steps], [1.0])[0, place] for steps in (process, better))
    assert float(after) >= float(before) - 1e-6


@given(process=scores, right=st.sampled_from([0.0, 1.0]))
def test_two_settings_leave_the_success_reward(process: list[float], right: float) -> None:
    success = returns("success", [process], [right])
    assert torch.equal(returns("clip", [process], [right], eta=min(process)), success)
    for mode in clip_delta.MODES[1:]:
        assert torch.equal(returns(mode, [process], [right], alpha=0.0), success)


def test_the_loss_by_hand() -> None:
    """A right and a wrong response of three and two steps of a token, with a critic, KL in the rewards and a clip."""
    logprobs = torch.tensor([[-1.0, -1.0, -1.0], [-1.0, -1.0, 0.0]])
    rollouts = Rollouts(
        group=torch.tensor([0, 1]),
        mask=torch.tensor([[True, True, True], [True, True, False]]),
        step=torch.tensor([[0, 1, 2], [0, 1, -1]]),
        outcome=torch.tensor([1.0, 0.0]),
        process=torch.tensor([[0.9, 0.3, 0.9], [0.6, 0.2, NAN]]),
        logprobs=logprobs,
        ref_logprobs=torch.tensor([[-1.5, -1.0, -1.0], [-1.0, -0.5, 0.0]]),
        tokens={"values": torch.tensor([[0.5, 0.25, 0.75], [0.5, 0.0, 0.0]])},
    )
    recipe = clip_delta.recipe(eta=0.8, alpha=0.5)
    batch = recipe(rollouts)
    # Clipped: 0, -0.5 | -0.2; as returns, half of that and the outcome; then 0.1 (logp - ref) of this token and later.
    gains = [1.0 + 0.0 - 0.05, 1.0 - 0.25, 1.0, 0.0 - 0.1 + 0.05, 0.0 + 0.05]
    raw = [gain - value for gain, value in zip(gains, [0.5, 0.25, 0.75, 0.5, 0.0], strict=True)]
    mean, spread = statistics.fmean(raw), statistics.stdev(raw)
    advantage = [(value - mean) / spread for value in raw]
    assert batch.advantages[rollouts.mask].tolist() == pytest.approx(advantage, abs=1e-5)
    moves = [0.5, -0.5, 0.1, -0.5, 0.5]
    new = logprobs.clone()
    new[rollouts.mask] += torch.tensor(moves)
    gained = [
        min(math.exp(move) * value, min(max(math.exp(move), 0.8), 1.2) * value)
        for move, value in zip(moves, advantage, strict=True)
    ]
    assert recipe.objective is not None
    assert float(recipe.objective(new, batch).value) == pytest.approx(-statistics.fmean(gained), abs=1e-5)


@dataclass(frozen=True)
class LongLines:
    """A process reward that likes short steps: 1 / (number of tokens)."""

    def __call__(self, rollouts: Rollouts) -> Rollouts:
        there = torch.stack([(rollouts.step == index).sum(1) for index in range(rollouts.n_steps)], 1)
        return rollouts.replace(process=torch.where(there > 0, 1.0 / there.clamp(min=1), torch.nan))


def test_the_trainer_takes_it_without_a_critic(tmp_path: Path) -> None:
    """The KL is in the rewards, so the reference policy is asked although the loss has no use for it."""
    seen: list[Batch] = []
    recipe = clip_delta.recipe((CountOnes(), LongLines()), critic=False, n=4)
    trainer = recipe_trainer(
        tmp_path, recipe, max_steps=2, step_delimiter="\n", on_batch=lambda _, batch: seen.append(batch)
    )
    trainer.train()
    assert len(seen) == 2
    later = seen[1].rollouts
    assert later.logprobs is not None
    assert later.ref_logprobs is not None
    assert not torch.allclose(later.logprobs, later.ref_logprobs)
    assert later.n_steps > 1
    plain = Recipe(shape=(), credit=recipe.credit)(later)
    torch.testing.assert_close(seen[1].advantages, plain.advantages)
    assert "eta" in next(iter(recipe.state_dict().values()))


def test_the_critic_must_have_spoken() -> None:
    with pytest.raises(ValueError, match="critic's values"):
        clip_delta.recipe(eta=0.85)(example(PROCESS, values=False))
