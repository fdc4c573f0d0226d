"""R3 and its weights, worked examples and invariants; beliefs in an answer."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from guerdon import ops
from guerdon.score.likelihood.answer_belief import answer_belief
from guerdon.score.likelihood.reasoning_reflection import r3, r3_propagated, r3_weights, token_std

LOGP = torch.tensor([[-0.2, -0.5, -0.1, -0.3], [-0.2, -2.5, -0.1, -0.5], [-0.2, -1.5, -0.1, -0.7]])
BASELINE = torch.tensor([-0.2, -2.0, -0.1, -0.9])
KEY = torch.tensor([1])


def normalised(x: Tensor) -> Tensor:
    return ops.normalize(x, torch.zeros(len(x), dtype=torch.int64), ddof=0, eps=0.0)


def drawn(seed: int, rows: int, width: int) -> Tensor:
    return -3.0 * torch.rand(rows, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_worked_example() -> None:
    sigma = token_std(LOGP)
    assert sigma.tolist() == pytest.approx([0.0, 0.816497, 0.0, 0.163299], abs=1e-6)
    assert r3_weights(sigma).tolist() == pytest.approx([0.0, 0.833333, 0.0, 0.166667], abs=1e-6)
    reward = r3(LOGP, BASELINE)
    assert reward.tolist() == pytest.approx([1.35, -0.35, 0.45], abs=1e-6)
    assert normalised(reward).tolist() == pytest.approx([1.248040, -1.200038, -0.048002], abs=1e-5)
    assert (r3(LOGP, weights=torch.ones(4))).tolist() == pytest.approx([-1.1, -3.3, -2.5], abs=1e-6)
    assert r3_propagated(LOGP, KEY, 0.5).tolist() == pytest.approx([-0.492727, -2.235335, -1.422764], abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 7), st.floats(0.0, 5.0))
def test_against_slow_loops(seed: int, rows: int, width: int, gamma: float) -> None:
    logp = drawn(seed, rows, width)
    keys = [place for place in range(width) if place % 2 == seed % 2]
    sigma = []
    for token in range(width):
        mean = sum(float(logp[row, token]) for row in range(rows)) / rows
        sigma.append(math.sqrt(sum((float(logp[row, token]) - mean) ** 2 for row in range(rows)) / rows))
    total = sum(sigma)
    weights = [x / total for x in sigma] if rows > 1 else [1 / width] * width
    for row in range(rows):
        direct = sum(weights[j] * float(logp[row, j]) for j in range(width))
        assert float(r3(logp)[row]) == pytest.approx(direct, abs=1e-9)
        spread = 0.0
        for j in range(width):
            doubt = 0.0
            for k in keys:
                p = math.exp(float(logp[row, k]))
                doubt += math.log(p + (1 - p) * (1 - math.exp(-gamma * (j - k)))) if k < j else 0.0
            spread += weights[j] * (float(logp[row, j]) + doubt)
        assert float(r3_propagated(logp, torch.tensor(keys, dtype=torch.int64), gamma)[row]) == pytest.approx(
            spread, abs=1e-8
        )


def test_a_shared_baseline_changes_no_advantage_and_one_of_its_own_does() -> None:
    logp = drawn(0, 5, 7)
    shared, own = drawn(1, 1, 7)[0], drawn(2, 5, 7)
    assert torch.allclose(normalised(r3(logp)), normalised(r3(logp, shared)))
    assert not torch.allclose(normalised(r3(logp)), normalised(r3(logp, own)), atol=1e-2)


def test_tokens_that_do_not_vary_count_for_nothing_and_order_does_not_matter() -> None:
    logp = drawn(3, 5, 7)
    constant = torch.cat([logp, torch.full((5, 1), -0.7, dtype=torch.float64)], 1)
    assert torch.allclose(r3(constant), r3(logp))
    order = torch.tensor([3, 1, 4, 0, 2])
    assert torch.allclose(r3(logp[order]), r3(logp)[order])
    assert torch.allclose(r3_weights(1000.0 * token_std(logp)), r3_weights(token_std(logp)))


def test_one_reasoning_or_equal_ones_have_uniform_weights_and_no_advantage() -> None:
    for logp in (drawn(4, 1, 3), drawn(4, 1, 3).expand(4, 3)):
        assert r3_weights(token_std(logp)).tolist() == pytest.approx([1 / 3] * 3)
        assert r3(logp).tolist() == pytest.approx([float(logp[0].mean())] * len(logp))
        assert normalised(r3(logp)).abs().sum() == 0


def test_the_sum_is_diluted_and_the_threshold_is_not() -> None:
    # One key token favours the first reasoning by 1; twenty others favour the second by 0.1 each.
    logp = torch.full((2, 21), -1.0)
    logp[0, 0], logp[1, 1:] = 0.0, -0.9
    assert logp.sum(1).argmax() == 1
    weights = r3_weights(token_std(logp), delta=0.2)
    assert r3(logp, weights=weights).argmax() == 0
    assert weights[1:].sum() == 0


def test_the_propagation_factor() -> None:
    certain = LOGP.clone()
    certain[:, 1] = 0.0
    uniform = torch.full((4,), 0.25)
    assert torch.allclose(r3_propagated(certain, KEY, 0.5, uniform), r3(certain, weights=uniform))
    assert torch.allclose(r3_propagated(LOGP, KEY, 1e6, uniform), r3(LOGP, weights=uniform))
    at = [float((r3_propagated(LOGP, KEY, 0.5, w) - r3(LOGP, weights=w))[0]) for w in torch.eye(4)[2:]]
    assert -0.5 <= at[0] < at[1] <= 0.0
    no_fading = float((r3_propagated(LOGP, KEY, 0.0, torch.eye(4)[3]) - r3(LOGP, weights=torch.eye(4)[3]))[0])
    assert no_fading == pytest.approx(-0.5)


def test_the_other_weights() -> None:
    sigma = torch.tensor([0.0, 0.4, 0.1, 0.4])
    assert r3_weights(sigma, mode="topk", k=2).tolist() == [0.0, 0.5, 0.0, 0.5]
    assert r3_weights(sigma, mode="topk", k=1).tolist() == [0.0, 1.0, 0.0, 0.0]
    soft = r3_weights(sigma, mode="softmax")
    assert soft[0] == 0
    assert soft[1] == soft[3] > soft[2] > 0
    assert float(soft.sum()) == pytest.approx(1.0)
    assert r3_weights(sigma, delta=0.2).tolist() == [0.0, 0.5, 0.0, 0.5]
    assert r3_weights(sigma, delta=9.0).tolist() == [0.25] * 4


def test_no_gradient_and_the_dtype() -> None:
    logp = LOGP.clone().requires_grad_()
    assert not r3(logp).requires_grad
    assert not r3_propagated(logp, KEY).requires_grad
    assert r3(LOGP.double()).dtype == torch.float64
    assert r3(LOGP.to(torch.bfloat16)).dtype == torch.float32


def test_errors() -> None:
    with pytest.raises(ValueError, match="G and L at least 1"):
        r3(torch.zeros(2, 0))
    with pytest.raises(ValueError, match="row 1 is not finite"):
        r3(torch.tensor([[-1.0], [math.nan]]))
    with pytest.raises(ValueError, match="baseline has shape"):
        r3(LOGP, torch.zeros(3))
    with pytest.raises(ValueError, match="weights has shape"):
        r3(LOGP, weights=torch.zeros(3))
    with pytest.raises(ValueError, match="places from 0 to 3"):
        r3_propagated(LOGP, torch.tensor([4]))
    with pytest.raises(ValueError, match="each place once"):
        r3_propagated(LOGP, torch.tensor([1, 1]))
    with pytest.raises(ValueError, match="mode is 'var'"):
        r3_weights(torch.ones(2), mode="var")
    with pytest.raises(ValueError, match="finite and 0 or more"):
        r3_weights(torch.tensor([-1.0]))


def test_beliefs_and_what_turns_add() -> None:
    probabilities = torch.tensor([[[0.05, 0.05], [0.4, 0.1], [0.6, 0.6]], [[0.05, 0.05], [0.04, 0.04], [0.1, 0.1]]])
    belief = answer_belief(probabilities.log())
    assert belief.flatten().tolist() == pytest.approx([0.05, 0.2, 0.6, 0.05, 0.04, 0.1], abs=1e-6)
    gains = belief.diff(dim=1)
    assert gains.flatten().tolist() == pytest.approx([0.15, 0.4, -0.01, 0.06], abs=1e-6)
    assert torch.allclose(answer_belief(probabilities.log(), "logprob").exp(), belief)
    ragged = torch.tensor([[-1.0, math.nan], [math.nan, math.nan]])
    assert float(answer_belief(ragged, "logprob")[0]) == -1.0
    assert math.isnan(float(answer_belief(ragged)[1]))
    for bad, match in ((torch.ones(1, 2), "at most 0"), (torch.zeros(2, 0), "at least one answer token")):
        with pytest.raises(ValueError, match=match):
            answer_belief(bad)
    with pytest.raises(ValueError, match="mode is 'odds'"):
        answer_belief(torch.zeros(1), "odds")
