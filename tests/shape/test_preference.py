"""Rewards relative to reference responses."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Rollouts, ops
from guerdon.shape import LogSigmoidCentred, PreferenceAsReward, combine_lsc, good_probability, lsc, par
from tests.strategies import NAN

REFS = [[0.0, 1.0, 3.0]]
numbers = st.floats(-30, 30, width=32)


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


def test_preference_over_references() -> None:
    for r, one, three in ((2.0, 0.880797, 0.626932), (-1.0, 0.268941, 0.135377)):
        assert float(par(torch.tensor([r]), REFS)) == pytest.approx(three, abs=1e-6)
        assert float(par(torch.tensor([r]), REFS, max_ref=1)) == pytest.approx(one, abs=1e-6)
    assert float(par(torch.tensor([2.0]), REFS, k=3.0)) == pytest.approx(0.665842, abs=1e-6)


@given(
    rows=st.lists(st.tuples(st.one_of(st.just(NAN), numbers), st.lists(st.one_of(st.just(NAN), numbers), max_size=4)),
                  min_size=1, max_size=5),
    k=st.sampled_from([1.0, 3.0]),
    max_ref=st.sampled_from([None, 1, 2]),
    curve=st.sampled_from(["sigmoid", "tanh", "linear"]),
    offset=st.sampled_from([0.0, 3.0]),
)  # fmt: skip
def test_curves_against_a_loop(
    rows: list[tuple[float, list[float]]], k: float, max_ref: int | None, curve: str, offset: float
) -> None:
    r = torch.tensor([row[0] for row in rows], dtype=torch.float64)
    refs = [row[1] for row in rows]
    kept = [[ref for ref in line if not math.isnan(ref)][:max_ref] for line in refs]
    bare = [not math.isnan(score) and not line for (score, _), line in zip(rows, kept, strict=True)]
    if any(bare):
        with pytest.raises(ValueError, match=f"refs of row {bare.index(True)} are empty"):
            par(r, refs, k, max_ref, curve=curve, offset=offset)
        return
    shape = {"sigmoid": sigmoid, "tanh": math.tanh, "linear": lambda z: z}[curve]
    found = par(r, refs, k, max_ref, curve=curve, offset=offset).tolist()
    for (score, _), line, value in zip(rows, kept, found, strict=True):
        expected = NAN
        if line and not math.isnan(score):
            expected = sum(shape(k * (score - ref - offset)) for ref in line) / len(line)
        assert value == pytest.approx(expected, abs=1e-5, rel=1e-6, nan_ok=True)


@given(r=st.lists(numbers, min_size=2, max_size=6), ref=st.lists(numbers, min_size=1, max_size=4), shift=numbers)
def test_what_makes_it_a_preference(r: list[float], ref: list[float], shift: float) -> None:
    score = torch.tensor(sorted(r), dtype=torch.float64)
    table = torch.tensor([ref] * len(r), dtype=torch.float64)
    value = par(score, table)
    assert bool(((value >= 0) & (value <= 1)).all())
    assert bool((value.diff() >= 0).all())
    torch.testing.assert_close(par(score + shift, table + shift), value)
    one = table[:, :1]
    torch.testing.assert_close(par(score, one) + par(one[:, 0], score[:, None]), torch.ones(len(r)).double())
    torch.testing.assert_close(par(score, one.expand(-1, 5)), par(score, one))


def test_controls() -> None:
    z = torch.linspace(-8, 8, 33, dtype=torch.float64)
    fitted = par(z, torch.zeros(33, 1), curve="polynomial")
    assert fitted[z < -5].tolist() == [0.0] * 6
    assert fitted[z > 5].tolist() == [1.0] * 6
    inside = z.abs() <= 5
    grid = np.linspace(-5, 5, 1001)
    expected = np.polyval(np.polyfit(grid, 1 / (1 + np.exp(-grid)), 5), z[inside].numpy())
    np.testing.assert_allclose(fitted[inside].numpy(), expected, atol=1e-9)
    assert float((fitted - torch.sigmoid(z)).abs().max()) < 0.05
    slow = par(torch.tensor([3.0]), [[0.0]], offset=3.0)
    assert float(slow) == 0.5


def test_half_precision_does_not_flatten() -> None:
    value = par(torch.tensor([7.0, 9.0], dtype=torch.bfloat16), torch.zeros(2, 1))
    assert value.dtype == torch.float32
    assert float(value[0]) < float(value[1]) < 1.0
    assert par(torch.zeros(1, dtype=torch.float64), torch.zeros(1, 1)).dtype == torch.float64
    r = torch.tensor([0.0, NAN], requires_grad=True)
    par(r, torch.tensor([[0.0, NAN], [1.0, 1.0]]))[0].backward()
    assert r.grad is not None
    assert r.grad.tolist() == pytest.approx([0.25, 0.0], nan_ok=True)


def test_log_probability_of_being_good() -> None:
    r = torch.tensor([-2.0, 0.0, 2.0, 5.0], dtype=torch.float64, requires_grad=True)
    u = lsc(r, torch.tensor(1.0, dtype=torch.float64))
    assert u.tolist() == pytest.approx([-3.048587, -1.313262, -0.313262, -0.018150], abs=1e-6)
    u.sum().backward()
    assert r.grad is not None
    assert r.grad.tolist() == pytest.approx([0.952574, 0.731059, 0.268941, 0.017986], abs=1e-6)
    far = lsc(torch.tensor([-1e4, 1e4, NAN]), torch.zeros(()))
    assert far.tolist() == pytest.approx([-1e4, 0.0, NAN], nan_ok=True)
    assert float(lsc(torch.tensor(3.0), torch.tensor(3.0))) == pytest.approx(-math.log(2))
    with pytest.raises(ValueError, match="infinite"):
        lsc(torch.tensor([math.inf]), torch.zeros(1))


def test_a_logical_and_of_properties() -> None:
    rewards, zero = torch.tensor([[2.0, 4.0], [1.0, -1.0]]), torch.zeros(2, 2)
    assert combine_lsc(rewards, zero).tolist() == pytest.approx([-0.440190, -1.331412], abs=1e-6)
    assert good_probability(rewards, zero).tolist() == pytest.approx([0.643914, 0.264104], abs=1e-6)
    assert combine_lsc(rewards, torch.zeros(2, 1), [1.0, 0.0]).tolist() == pytest.approx(lsc(rewards[0], zero[0]))
    more = torch.cat([rewards, torch.full((1, 2), 9.0)])
    assert bool((combine_lsc(more, torch.zeros(3, 1)) <= combine_lsc(rewards, zero)).all())
    with pytest.raises(ValueError, match="expected"):
        combine_lsc(rewards, zero[:1])


def batch(outcome: list[float], **columns: list[object]) -> Rollouts:
    rows = len(outcome)
    return Rollouts(group=[0] * rows, mask=torch.ones(rows, 1, dtype=torch.bool), outcome=outcome, columns=columns)


def test_the_stage_of_preferences() -> None:
    value = batch([2.0, -1.0, NAN], references=[[0.0, 1.0, 3.0], [0.0, 1.0, None, 3.0], None])
    shaped = PreferenceAsReward()(value)
    assert shaped.outcome.tolist() == pytest.approx([0.626932, 0.135377, NAN], abs=1e-6, nan_ok=True)
    assert shaped.columns["raw_outcome"][:2] == (2.0, -1.0)
    cut = PreferenceAsReward(ceiling=0.0, centred=False)(value)
    assert cut.outcome.tolist() == pytest.approx([0.5, sigmoid(-1), NAN], abs=1e-6, nan_ok=True)
    assert PreferenceAsReward(curve="linear")(value).outcome[0].item() == pytest.approx(2 - 4 / 3)
    single = PreferenceAsReward()(batch([2.0], references=[0.0]))
    assert single.outcome.tolist() == pytest.approx([0.880797], abs=1e-6)
    with pytest.raises(ValueError, match="refs of row 0 are empty"):
        PreferenceAsReward()(batch([1.0], references=[[]]))
    for bad in ("high", ["high"], [[1.0]]):
        with pytest.raises(ValueError, match=r"\['references'\] in row 1 is"):
            PreferenceAsReward()(batch([1.0, 1.0], references=[0.0, bad]))


def test_the_stage_of_log_sigmoids() -> None:
    value = batch([2.0, -1.0], references=[[0.0, 1.0, 3.0]] * 2)
    gaussian = LogSigmoidCentred(method="gaussian", std_eps=1e-5)(value)
    assert gaussian.outcome.tolist() == pytest.approx([-1.252928, -3.936236], abs=2e-5)
    two = batch([2.0, 4.0], harmless=[1.0, -1.0], references=[0.0, 0.0], refusal=[[0.0, 0.0], [0.0, 0.0]])
    stage = LogSigmoidCentred(("outcome", "harmless"), ("references", "refusal"), (0.85, 0.95))
    assert stage(two).outcome.tolist() == pytest.approx([-0.440190, -1.331412], abs=1e-6)
    assert stage(two).columns["raw_outcome"] == (2.0, 4.0)
    empirical = LogSigmoidCentred()(batch([2.4], references=[[-1.0, 0.0, 0.5, 2.0, 3.0]]))
    assert empirical.outcome.item() == pytest.approx(-math.log(2), abs=1e-6)
    unscored = LogSigmoidCentred()(batch([NAN], references=[None]))
    assert torch.isnan(unscored.outcome).all()
    with pytest.raises(ValueError, match="refs of row 0 are empty"):
        LogSigmoidCentred()(batch([1.0], references=[[]]))
    with pytest.raises(ValueError, match="no 'references'"):
        LogSigmoidCentred()(batch([1.0]))


def test_bad_stages_are_refused() -> None:
    for call, match in (
        (lambda: PreferenceAsReward(curve="step"), "curve"),
        (lambda: PreferenceAsReward(max_ref=0), "max_ref"),
        (lambda: par(torch.zeros(1), REFS, curve="step"), "curve"),
        (lambda: par(torch.zeros(1), REFS, max_ref=0), "max_ref"),
        (lambda: par(torch.zeros(2), torch.zeros(2)), "refs has shape"),
        (lambda: LogSigmoidCentred(quantiles=(0.5, 0.5)), "equal numbers"),
        (lambda: LogSigmoidCentred(weights=(0.5, 0.5)), "equal numbers"),
        (lambda: LogSigmoidCentred(method="mode"), "method"),
        (lambda: LogSigmoidCentred(quantiles=(1.0,)), "quantiles"),
    ):
        with pytest.raises(ValueError, match=match):
            call()


def hacked(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Gold and proxy scores of 2,000 candidates, of which 1 % please the proxy only."""
    generator = torch.Generator().manual_seed(seed)
    gold = torch.randn(2000, generator=generator, dtype=torch.float64)
    proxy = gold + 0.3 * torch.randn(2000, generator=generator, dtype=torch.float64)
    proxy[:20] = 5 + torch.randn(20, generator=generator, dtype=torch.float64)
    gold[:20] = -2 + 0.3 * torch.randn(20, generator=generator, dtype=torch.float64)
    return gold, proxy


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_bounded_rewards_delay_hacking_at_equal_divergence(seed: int) -> None:
    gold, proxy = hacked(seed)
    base = torch.full_like(gold, 1 / 2000)
    picks = torch.randint(0, 2000, (10,), generator=torch.Generator().manual_seed(seed + 100))
    refs = proxy[picks].expand(2000, 10)
    for kl in (0.5, 1.0):
        raw = float((ops.tilt_to_kl(base, proxy, kl)[0] * gold).sum())
        shaped = float((ops.tilt_to_kl(base, par(proxy, refs), kl)[0] * gold).sum())
        assert shaped - raw >= 0.3


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_log_sigmoids_balance_two_properties_at_equal_divergence(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(2, 20_000, generator=generator, dtype=torch.float64)
    rewards = 2 * torch.stack([noise[0], -0.5 * noise[0] + math.sqrt(0.75) * noise[1]])
    base = torch.full((20_000,), 1 / 20_000, dtype=torch.float64)
    refs = ops.reference_quantile(rewards, 0.85)[:, None]
    worse = rewards.amin(0)
    for kl in (1.0, 2.0, 3.0):
        raw = float((ops.tilt_to_kl(base, rewards.sum(0), kl)[0] * worse).sum())
        balanced = float((ops.tilt_to_kl(base, combine_lsc(rewards, refs), kl)[0] * worse).sum())
        assert balanced - raw >= 0.3
