"""Entropy modulation: the worked batch, invariants, a loop, and a batch cut over two processes."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from guerdon import Rollouts
from guerdon.credit import EntropyModulated, GroupNormalized, empg_advantages, step_entropy
from tests.strategies import NAN, rollouts

ADV = torch.tensor([1.0, -1.0], dtype=torch.float64)
ENTROPY = torch.tensor([[0.2, 1.0, 0.6], [0.4, 0.8, NAN]], dtype=torch.float64)
MASK = ~torch.isnan(ENTROPY)


@pytest.mark.parametrize(
    ("zeta", "center", "first", "second"),
    [
        (0.0, False, [1.550110, 0.570254, 0.940189], [-1.207227, -0.732220]),
        (0.1, False, [1.586898, 0.630907, 0.940189], [-1.159990, -0.732220]),
        (0.1, True, [1.333741, 0.377750, 0.687033], [-1.413147, -0.985377]),
    ],
)
def test_the_worked_batch(zeta: float, center: bool, first: list[float], second: list[float]) -> None:
    found = empg_advantages(ADV, ENTROPY, MASK, zeta=zeta, center=center)
    assert found[0].tolist() == pytest.approx(first, abs=2e-6)
    assert found[1, :2].tolist() == pytest.approx(second, abs=2e-6)
    assert torch.isnan(found[1, 2])


def loop(
    adv: Tensor, entropy: Tensor, mask: Tensor, k: float, k_next: float, zeta: float
) -> dict[tuple[int, int], float]:
    cells = [(i, t) for i in range(len(adv)) for t in range(entropy.shape[1]) if mask[i, t] and not math.isnan(adv[i])]
    if not cells:
        return {}
    low, high = (how(float(entropy[cell]) for cell in cells) for how in (min, max))
    h = {cell: (float(entropy[cell]) - low) / (high - low + 1e-8) for cell in cells}
    mean = sum(math.exp(-k * value) for value in h.values()) / len(cells)
    result = {}
    for i, t in cells:
        later = [u for (j, u) in cells if j == i and u > t]
        bonus = zeta * math.exp(-k_next * h[i, min(later)]) if later else 0.0
        result[i, t] = float(adv[i]) * math.exp(-k * h[i, t]) / mean + bonus
    shift = sum(result.values()) / len(cells)
    return {cell: value - shift for cell, value in result.items()}


@given(st.integers(0, 2**31), st.floats(0.0, 3.0), st.floats(0.0, 3.0), st.floats(0.0, 1.0))
def test_equal_to_a_loop(seed: int, k: float, k_next: float, zeta: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    adv = torch.randn(4, generator=generator, dtype=torch.float64)
    adv[torch.rand(4, generator=generator) < 0.2] = NAN
    entropy = torch.rand(4, 5, generator=generator, dtype=torch.float64)
    mask = torch.rand(4, 5, generator=generator) < 0.7
    found = empg_advantages(adv, entropy, mask, k, k_next, zeta)
    expected = loop(adv, entropy, mask, k, k_next, zeta)
    for i in range(4):
        for t in range(5):
            if not mask[i, t]:
                assert torch.isnan(found[i, t])
            else:
                assert float(found[i, t]) == pytest.approx(expected.get((i, t), 0.0), abs=1e-9)
    if expected:
        assert sum(expected.values()) == pytest.approx(0.0, abs=1e-9)


def test_invariants() -> None:
    ones = torch.ones(2, dtype=torch.float64)
    g = empg_advantages(ones, ENTROPY, MASK, k=2.0, zeta=0.0, center=False)
    assert float(g[MASK].mean()) == pytest.approx(1.0)
    assert float(g[MASK].max() / g[MASK].min()) <= math.exp(2.0) + 1e-9
    moved = empg_advantages(ADV, 3.0 * ENTROPY + 7.0, MASK, eps=0.0)
    torch.testing.assert_close(moved, empg_advantages(ADV, ENTROPY, MASK, eps=0.0), equal_nan=True)
    base = empg_advantages(ADV, ENTROPY, MASK, k=0.0, zeta=0.0, center=False)
    torch.testing.assert_close(base, torch.where(MASK, ADV[:, None], NAN), equal_nan=True)
    flat = empg_advantages(ADV, torch.full_like(ENTROPY, 0.3), MASK, zeta=0.1, center=False)
    assert flat[0].tolist() == pytest.approx([1.1, 1.1, 1.0])


def test_two_processes_agree_with_one() -> None:
    whole = empg_advantages(ADV, ENTROPY, MASK)
    local: list[list[Tensor]] = [[], []]

    def run(rank: int, others: list[Tensor] | None) -> Tensor:
        calls = iter(range(99))

        def reduce(value: Tensor, how: str) -> Tensor:
            local[rank].append(value)
            if others is None:
                return value
            pair = torch.stack([value, others[next(calls)]])
            return {"min": pair.amin, "max": pair.amax, "sum": pair.sum}[how](0)

        return empg_advantages(ADV[[rank]], ENTROPY[[rank]], MASK[[rank]], reduce_fn=reduce)

    # Each pass makes one more number of the other process right; there are five.
    results: list[Tensor] = []
    known: list[list[Tensor] | None] = [None, None]
    for _ in range(6):
        local[:] = [[], []]
        results = [run(rank, known[1 - rank]) for rank in range(2)]
        known = [list(values) for values in local]
    torch.testing.assert_close(torch.cat(results), whole, equal_nan=True)


def test_step_entropy_is_the_mean_over_policy_tokens() -> None:
    tokens = torch.tensor([[1.0, 3.0, 9.0, 5.0]])
    value, exists = step_entropy(tokens, torch.tensor([[0, 0, -1, 2]]), 3)
    assert exists.tolist() == [[True, False, True]]
    assert value[0, [0, 2]].tolist() == [2.0, 5.0]


def test_norm_of_the_score_function() -> None:
    p = torch.tensor([0.7, 0.2, 0.1], dtype=torch.float64)
    scores = torch.eye(3, dtype=torch.float64) - p
    assert float((p[:, None] * scores.square()).sum()) == pytest.approx(0.46)
    assert 1.0 - float(p.square().sum()) == pytest.approx(0.46)


def test_refusals() -> None:
    for name in ("k", "k_next", "zeta"):
        with pytest.raises(ValueError, match=f"{name} is -1"):
            empg_advantages(ADV, ENTROPY, MASK, **{name: -1.0})
        with pytest.raises(ValueError, match=rf"EntropyModulated\.{name}"):
            EntropyModulated(**{name: -1.0})
    with pytest.raises(ValueError, match="step 2 in row 1 is nan"):
        empg_advantages(ADV, ENTROPY, torch.ones_like(MASK))
    with pytest.raises(ValueError, match="entropy is missing"):
        EntropyModulated()(Rollouts(group=[0], mask=[[1]], outcome=[1.0]))


@given(value=rollouts(binary=True))
def test_the_stage_on_anything(value: Rollouts) -> None:
    value = value.replace(entropy=torch.rand(value.mask.shape))
    found = EntropyModulated()(value)
    assert torch.isfinite(found).all()
    assert not (found[~value.mask] != 0).any()
    assert not (found[~value.scored] != 0).any()
    off = EntropyModulated(k=0.0, zeta=0.0, center=False, eps=1e-4)(value)
    torch.testing.assert_close(off, GroupNormalized()(value) * (value.step >= 0))
