"""PAR: the worked rewards through the recipe, and every transform of the paper."""

from __future__ import annotations

import math
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


def test_the_ceiling_comes_before_the_length_penalty() -> None:
    """min(5, 4) - 0.01 * 100 = 3; the other way round it would be 4. The raw score stays in the log."""
    given = rollouts([5.0, 2.0], 400)
    recipe = par.recipe(transform="raw", ceiling=4.0, group=True)
    batch = recipe(given)
    assert batch.rollouts.outcome.tolist() == pytest.approx([3.0, 1.0])
    assert batch.rollouts.column("raw_outcome") == (5.0, 2.0)


def test_what_is_centred() -> None:
    """A constant of the prompt, which preferences cannot tell, changes nothing; without centring it does."""

    def moved(name: str, shift: float) -> list[float]:
        given = rollouts([2.0 + shift, -1.0 + shift]).with_columns(
            references=[[value + shift for value in (0.0, 1.0, 3.0)]] * 2
        )
        return shaped(given, transform=name, limit=None)

    for name in ("par", "tanh", "polynomial", "centred", "sgfc", "lsc"):
        assert moved(name, 5.0) == pytest.approx(moved(name, 0.0), abs=1e-5)
    for name in ("uncentred", "raw"):
        assert moved(name, 5.0) != pytest.approx(moved(name, 0.0), abs=1e-2)
    assert moved("uncentred", 0.0) == pytest.approx([0.880797, 0.268941], abs=1e-5)


def test_the_transforms_by_hand() -> None:
    gaps = torch.tensor([2.0, 1.0, -1.0])
    assert shaped(rollouts([2.0]), transform="tanh") == pytest.approx([float(gaps.tanh().mean())], abs=1e-6)
    assert shaped(rollouts([2.0]), transform="centred") == pytest.approx([2.0 - 4.0 / 3.0], abs=1e-6)
    assert shaped(rollouts([2.0]), transform="sgfc") == pytest.approx([float((gaps - 3).sigmoid().mean())], abs=1e-6)
    assert shaped(rollouts([2.0]), transform="polynomial") == pytest.approx(shaped(rollouts([2.0])), abs=0.03)
    assert shaped(rollouts([99.0, -99.0]), transform="polynomial") == [1.0, 0.0]


@pytest.mark.parametrize(
    ("name", "batches"),
    [
        ("meanstd", [([2.0, 4.0], [-1.0, 1.0]), ([0.0, 10.0], [-1.069045, 1.603567])]),
        ("minmax", [([1.0, 3.0], [0.0, 1.0]), ([5.0, 2.0], [1.0, 0.25])]),
        ("clip", [([1.0, 2.0, 3.0, 10.0], [1.0, 2.0, 3.0, 7.535534])]),
        ("meanstd", [([7.0], [0.0])]),
        ("minmax", [([7.0, 7.0], [0.0, 0.0])]),
    ],
)
def test_running_statistics_through_the_recipe(name: str, batches: list[tuple[list[float], list[float]]]) -> None:
    recipe = par.recipe(transform=name, group=True, limit=None)
    for scores, expected in batches:
        batch = recipe(rollouts(scores), learn=True)
        assert batch.rollouts.outcome.tolist() == pytest.approx(expected, abs=1e-5)
        assert batch.rollouts.column("raw_outcome") == tuple(scores)


def test_a_response_without_a_score_or_references() -> None:
    batch = par.recipe(group=True)(rollouts([2.0, float("nan"), -1.0]))
    assert batch.advantages[:, 0].tolist() == pytest.approx([0.707107, 0.0, -0.707107], abs=1e-5)
    bare = rollouts([2.0, 1.0]).with_columns(references=[[0.0], []])
    with pytest.raises(ValueError, match="row 1 are empty"):
        par.recipe()(bare)


def test_the_loss_by_hand() -> None:
    """Two responses whose rewards are 0.626932 and 0.135377: advantages of 1 / sqrt(2), and the k3 KL in the loss."""
    given = rollouts([2.0, -1.0]).replace(
        logprobs=torch.zeros(2, 1), ref_logprobs=torch.tensor([[math.log(1.1) + 0.2], [-0.1]])
    )
    recipe = par.recipe(group=True)
    batch = recipe(given)
    assert recipe.objective is not None
    loss = recipe.objective(torch.tensor([[math.log(1.1)], [0.0]]), batch)
    surrogate = -1.1 * math.sqrt(0.5) + math.sqrt(0.5)
    kl = (math.exp(0.2) - 0.2 - 1) + (math.exp(-0.1) + 0.1 - 1)
    assert float(loss.value) == pytest.approx((surrogate + 0.005 * kl) / 2, abs=1e-6)


def test_the_critic_path_by_hand() -> None:
    """PPO: the KL is a reward of every token, the shaped score one of the last; GAE(1, 0.95), whitened."""
    logprobs, reference = torch.tensor([[-1.0, -2.0], [-0.5, -1.5]]), torch.tensor([[-1.5, -1.0], [-0.5, -3.5]])
    values = torch.tensor([[0.3, 0.5], [0.2, 0.1]])
    given = Rollouts(
        group=[0, 1],
        mask=torch.ones(2, 2, dtype=torch.bool),
        outcome=[2.0, -1.0],
        logprobs=logprobs,
        ref_logprobs=reference,
        tokens={"values": values},
        columns={"references": [[0.0, 1.0, 3.0]] * 2},
    )
    rewards = -0.005 * (logprobs - reference)
    rewards[:, 1] += torch.tensor([0.626932, 0.135377])
    last = rewards[:, 1] - values[:, 1]
    first = rewards[:, 0] + values[:, 1] - values[:, 0] + 0.95 * last
    raw = torch.stack([first, last], 1)
    expected = (raw - raw.mean()) / raw.std()
    torch.testing.assert_close(par.recipe()(given).advantages, expected, atol=1e-4, rtol=0)


def test_settings() -> None:
    assert par.recipe(group=True).rollout.n == 5  # type: ignore[union-attr]
    assert "lam=0.95, whiten=True" in str(par.recipe().credit)
    assert "targets='reward_to_go'" in str(par.recipe().credit)
    assert "gamma=1.0" in str(par.recipe().credit)
    assert "kl_coef=0.005" in str(par.recipe().credit)
    assert "kl_coef=0.0," in str(par.recipe().objective)
    assert "kl_coef=0.005" in str(par.recipe(group=True).objective)
    assert "ddof=1, eps=1e-08" in str(par.recipe(group=True).credit)
    assert "clip_low=0.2, clip_high=0.2" in str(par.recipe().objective)
    shown = str(par.recipe())
    assert "strength=0.01" in shown
    assert "limit=300" in shown
    assert "k=1.0, max_ref=10, curve='sigmoid'" in shown
    assert "LengthPenalty" not in str(par.recipe(limit=None))
    with pytest.raises(ValueError, match="transform is 'log'"):
        par.recipe(transform="log")


def test_an_arm_repeats_itself(tmp_path: Path) -> None:
    shared = {"candidates": 400, "references": 10}
    for arm in par.claim().arms.values():
        first = par.run_arm(dict(arm), shared, 0, tmp_path)
        assert first == par.run_arm(dict(arm), shared, 0, tmp_path)
        assert set(first) == set(par.claim().metrics)
