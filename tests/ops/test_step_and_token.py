"""Step and token functions against slow obvious loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon import Rollouts, ops
from tests.strategies import NAN, rollouts


def members(row: list[float], steps: list[int], index: int) -> list[float]:
    return [value for value, step in zip(row, steps, strict=True) if step == index]


SLOW = {
    "sum": sum,
    "mean": lambda m: sum(m) / len(m),
    "min": min,
    "max": max,
    "last": lambda m: m[-1],
    "first": lambda m: m[0],
}


@pytest.mark.parametrize("how", SLOW)
@given(value=rollouts())
def test_pool_equals_a_loop(how: str, value: Rollouts) -> None:
    x = torch.randn(value.mask.shape, generator=torch.Generator().manual_seed(1))
    result = ops.pool(x, value.step, value.n_steps, how)
    for row in range(len(value)):
        for index in range(value.n_steps):
            found = members(x[row].tolist(), value.step[row].tolist(), index)
            if found:
                assert float(result[row, index]) == pytest.approx(SLOW[how](found), abs=1e-5)
            else:
                assert math.isnan(result[row, index])


@given(value=rollouts())
def test_spread_and_place_put_values_where_they_belong(value: Rollouts) -> None:
    spread = ops.spread(value.process, value.step, fill=-1.0)
    placed = ops.place(value.process, value.step)
    for row in range(len(value)):
        steps = value.step[row].tolist()
        for position, index in enumerate(steps):
            score = float(value.process[row, index]) if index >= 0 else NAN
            assert float(spread[row, position]) == (-1.0 if math.isnan(score) else pytest.approx(score))
            last = index >= 0 and position == max(p for p, s in enumerate(steps) if s == index)
            assert float(placed[row, position]) == pytest.approx(score if last and not math.isnan(score) else 0.0)


def test_place_refuses_to_lose_a_value() -> None:
    with pytest.raises(ValueError, match="step 1 of row 0 has the value"):
        ops.place(torch.tensor([[0.1, 0.5]]), torch.tensor([[0, 0]]))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("direction", ["suffix", "prefix"])
@given(value=rollouts())
def test_accumulate_equals_a_loop(gamma: float, direction: str, value: Rollouts) -> None:
    exists = value.step_exists
    result = ops.accumulate(value.process, exists, gamma, direction)
    for row in range(len(value)):
        total = 0.0
        order = range(value.n_steps) if direction == "prefix" else reversed(range(value.n_steps))
        for index in order:
            if not exists[row, index]:
                assert math.isnan(result[row, index])
                continue
            score = float(value.process[row, index])
            total = (0.0 if math.isnan(score) else score) + gamma * total
            assert float(result[row, index]) == pytest.approx(total, abs=1e-5)


AGGREGATES = {
    "mean": np.mean,
    "min": np.min,
    "max": np.max,
    "sum": np.sum,
    "prod": np.prod,
    "last": lambda m: m[-1],
    "geometric_mean": lambda m: math.exp(np.mean(np.log(m))),
    "mean_logit": lambda m: np.mean([math.log(v / (1 - v)) for v in m]),
    "mean_odd": lambda m: np.mean([v / (1 - v) for v in m]),
}


@pytest.mark.parametrize("how", AGGREGATES)
@given(value=rollouts())
def test_aggregate_equals_a_loop(how: str, value: Rollouts) -> None:
    x = value.process.clamp(0.01, 0.99)
    result = ops.aggregate(x, how)
    for row in range(len(value)):
        found = [v for v in x[row].tolist() if not math.isnan(v)]
        if found:
            assert float(result[row]) == pytest.approx(float(AGGREGATES[how](np.array(found))), rel=1e-4, abs=1e-5)
        else:
            assert math.isnan(result[row])


def test_differences() -> None:
    x = torch.tensor([[0.2, NAN, 0.5, 0.9], [0.3, NAN, NAN, NAN]])
    progress = ops.difference(x, torch.tensor([0.1, 0.0]))
    torch.testing.assert_close(progress, torch.tensor([[0.1, NAN, 0.3, 0.4], [0.3, NAN, NAN, NAN]]), equal_nan=True)
    delta = ops.difference(x, direction="delta")
    torch.testing.assert_close(delta, torch.tensor([[-0.3, NAN, 0.5, 0.0], [0.0, NAN, NAN, NAN]]), equal_nan=True)


def test_merge_runs_and_first_below() -> None:
    run, names = ops.merge_runs(torch.tensor([[1, 1, 0, -1, 0, 1]]))
    assert run.tolist() == [[0, 0, 1, -1, 1, 2]]
    assert names.tolist() == [[1, 0, 1, -1, -1, -1]]
    x = torch.tensor([[0.9, 0.5, 0.1], [NAN, 0.9, 0.9]])
    assert ops.first_below(x, 0.5).tolist() == [2, -1]
    assert ops.first_below(x, 0.5, inclusive=True).tolist() == [1, -1]


def slow_gae(
    rewards: list[float], values: list[float], mask: list[bool], gamma: float, lam: float, bootstrap: float
) -> tuple[list[float], list[float]]:
    advantage, value = 0.0, bootstrap
    advantages, returns = [0.0] * len(mask), [0.0] * len(mask)
    for t in reversed(range(len(mask))):
        if mask[t]:
            delta = rewards[t] + gamma * value - values[t]
            advantage = delta + gamma * lam * advantage
            value = values[t]
            advantages[t], returns[t] = advantage, advantage + values[t]
    return advantages, returns


units = st.one_of(st.sampled_from([0.0, 1.0, 0.95, 0.999]), st.floats(0.0, 1.0))


@given(data=st.data(), gamma=units, lam=units, seed=st.integers(0, 2**31))
def test_gae_and_discounted_sums_equal_a_loop(data: st.DataObject, gamma: float, lam: float, seed: int) -> None:
    generator = np.random.default_rng(seed)
    rows, width = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 150))
    mask = generator.random((rows, width)) < data.draw(st.sampled_from([0.0, 0.5, 1.0]))
    rewards, values = generator.normal(size=(rows, width)), generator.normal(size=(rows, width))
    bootstrap = generator.normal(size=rows)
    advantages, returns = ops.gae(
        *(torch.from_numpy(v) for v in (rewards, values, mask)), gamma, lam, torch.from_numpy(bootstrap)
    )
    sums = ops.discounted_suffix(torch.from_numpy(rewards), torch.from_numpy(mask), gamma)
    for row in range(rows):
        row_mask = mask[row].tolist()
        slow = slow_gae(rewards[row], values[row], row_mask, gamma, lam, float(bootstrap[row]))
        assert advantages[row].tolist() == pytest.approx(slow[0], abs=1e-9, rel=1e-9)
        assert returns[row].tolist() == pytest.approx(slow[1], abs=1e-9, rel=1e-9)
        total = 0.0
        for t in reversed(range(width)):
            total = rewards[row, t] + gamma * total if row_mask[t] else total
            assert float(sums[row, t]) == pytest.approx(total if row_mask[t] else 0.0, abs=1e-9, rel=1e-9)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 0.99, 0.9999, 1.0])
@pytest.mark.parametrize("lam", [0.0, 0.95, 1.0])
@pytest.mark.parametrize("holes", [False, True])
def test_long_rows_keep_their_accuracy_in_float32(gamma: float, lam: float, holes: bool) -> None:
    generator = np.random.default_rng(0)
    width = 8192
    rewards = generator.normal(size=(2, width)).astype(np.float32)
    values = generator.normal(size=(2, width)).astype(np.float32)
    mask = generator.random((2, width)) < 0.7 if holes else np.ones((2, width), dtype=bool)
    advantages, returns = ops.gae(*(torch.from_numpy(v) for v in (rewards, values, mask)), gamma, lam)
    sums = ops.discounted_suffix(torch.from_numpy(rewards), torch.from_numpy(mask), gamma)
    for row in range(2):
        slow = slow_gae(rewards[row].astype(float), values[row].astype(float), mask[row].tolist(), gamma, lam, 0.0)
        for ours, theirs in zip((advantages, returns), slow, strict=True):
            reference = np.array(theirs)
            error = np.abs(ours[row].double().numpy() - reference) / np.maximum(1.0, np.abs(reference))
            assert error.max() < 1e-5
        total, reference = 0.0, np.zeros(width)
        for t in reversed(range(width)):
            total = float(rewards[row, t]) + gamma * total if mask[row, t] else total
            reference[t] = total if mask[row, t] else 0.0
        error = np.abs(sums[row].double().numpy() - reference) / np.maximum(1.0, np.abs(reference))
        assert error.max() < 1e-5


def test_discounted_suffix_is_differentiable_and_ignores_what_is_masked() -> None:
    x = torch.randn(2, 5, dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([[True, False, True, True, False], [True, True, True, True, True]])
    assert torch.autograd.gradcheck(lambda v: ops.discounted_suffix(v, mask, 0.7), (x,))
    with_nan = torch.tensor([[1.0, NAN, 2.0]])
    assert ops.discounted_suffix(with_nan, torch.tensor([[True, False, True]]), 0.5).tolist() == [[2.0, 0.0, 2.0]]


def test_episodes_are_cut_where_done() -> None:
    rewards, values = torch.tensor([[1.0, 1.0, 1.0]]), torch.zeros(1, 3)
    done = torch.tensor([[False, True, False]])
    advantages, _ = ops.gae(rewards, values, torch.ones(1, 3, dtype=torch.bool), 1.0, 1.0, done=done)
    assert advantages.tolist() == [[2.0, 1.0, 1.0]]


@pytest.mark.parametrize("ddof", [0, 1])
def test_whiten(ddof: int) -> None:
    x = torch.tensor([[1.0, 2.0, NAN], [5.0, -1.0, 3.0]])
    mask = torch.tensor([[True, True, False], [True, True, True]])
    inside = np.array([1.0, 2.0, 5.0, -1.0, 3.0])
    expected = (inside - inside.mean()) / np.sqrt(inside.var(ddof=ddof) + 1e-8)
    result = ops.whiten(x, mask, ddof=ddof)
    assert result[mask].tolist() == pytest.approx(expected.tolist(), abs=1e-5)
    assert float(result[0, 2]) == 0.0
    by_key = ops.whiten(x, mask, key=torch.tensor([4, 9]), center_only=True)
    assert by_key[0, :2].tolist() == [-0.5, 0.5]
    assert torch.equal(ops.whiten(torch.full((1, 3), 0.1), torch.ones(1, 3, dtype=torch.bool)), torch.zeros(1, 3))


def test_kl_estimators() -> None:
    logprobs, reference = torch.tensor([-1.0, -2.0]), torch.tensor([-1.5, -1.0])
    d = reference - logprobs
    assert torch.equal(ops.kl(logprobs, reference, "k1"), -d)
    assert torch.equal(ops.kl(logprobs, reference, "k2"), d**2 / 2)
    assert torch.equal(ops.kl(logprobs, reference, "k3"), torch.exp(d) - d - 1)


@pytest.mark.parametrize("chunk", [1, 3, 64])
def test_token_logprobs_and_entropy(chunk: int) -> None:
    logits = torch.randn(2, 7, 5, dtype=torch.float64, requires_grad=True)
    ids = torch.randint(0, 5, (2, 7))
    reference = torch.log_softmax(logits / 0.7, -1)
    torch.testing.assert_close(
        ops.token_logprobs(logits, ids, 0.7, chunk), reference.gather(2, ids[..., None]).squeeze(2)
    )
    torch.testing.assert_close(ops.token_entropy(logits, 0.7, chunk), -(reference.exp() * reference).sum(-1))
    ours = torch.autograd.grad(ops.token_logprobs(logits, ids, 1.0, chunk).sum(), logits)[0]
    theirs = torch.autograd.grad(torch.log_softmax(logits, -1).gather(2, ids[..., None]).sum(), logits)[0]
    torch.testing.assert_close(ours, theirs)
    certain = torch.tensor([[[0.0, -math.inf, -math.inf]]])
    assert float(ops.token_entropy(certain)) == 0.0
    assert (
        ops.token_logprobs(torch.randn(1, 2, 4).bfloat16(), torch.zeros(1, 2, dtype=torch.int64)).dtype == torch.float32
    )


def test_reduce_loss() -> None:
    x = torch.tensor([[1.0, 2.0, 9.0], [4.0, NAN, NAN], [7.0, 7.0, 7.0]])
    mask = torch.tensor([[True, True, False], [True, False, False], [False, False, False]])
    assert float(ops.reduce_loss(x, mask, "token")) == pytest.approx(7 / 3)
    assert float(ops.reduce_loss(x, mask, "sequence")) == pytest.approx((1.5 + 4.0 + 0.0) / 3)
    assert float(ops.reduce_loss(x, mask, "constant", max_length=10)) == pytest.approx(7 / 30)
    assert float(ops.reduce_loss(x, mask, "sequence", counts=2)) == pytest.approx(5.5 / 2)
    step = torch.tensor([[0, 0, 0], [0, 0, 0], [0, 0, 0]])
    assert float(ops.reduce_loss(x, mask, "step", step=step)) == pytest.approx((1.5 + 4.0) / 2)
    label = torch.tensor([0, 1, 1])
    assert float(ops.reduce_loss(x, mask, "class", label=label)) == pytest.approx((1.5 + 4.0) / 2)
    halves = [ops.reduce_loss(x[[row]], mask[[row]], "sequence", counts=3) for row in range(3)]
    assert float(sum(halves)) == pytest.approx((1.5 + 4.0) / 3)
    weighted = ops.reduce_loss(x, mask, "token", row_weight=torch.tensor([2.0, 0.0, 1.0]))
    assert float(weighted) == pytest.approx(6 / 3)


def test_small_ones() -> None:
    assert ops.shift(torch.tensor([[1.0, 2.0]]), 1).tolist() == [[0.0, 1.0]]
    assert ops.shift(torch.tensor([[1.0, 2.0]]), -1, 9.0).tolist() == [[2.0, 9.0]]
    assert ops.running_mean(torch.tensor([[2.0, 9.0, 4.0]]), torch.tensor([[True, False, True]])).tolist() == [
        [2.0, 2.0, 3.0]
    ]
    assert ops.ngram_repetition("a b a b", 2) == pytest.approx(1 / 3)
    assert ops.ngram_repetition("a b a b", 2, "positions") == pytest.approx(2 / 3)
    assert ops.ngram_repetition("a a a a a", 1) == pytest.approx(1 / 5)
    assert ops.ngram_repetition("a a a a a", 1, "positions") == 1.0
    assert ops.ngram_repetition("a", 2) == 0.0
