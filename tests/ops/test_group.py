"""Group functions against slow obvious loops on ragged, NaN-holding, degenerate input."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guerdon import ops

NAN = float("nan")
values = st.one_of(st.just(NAN), st.sampled_from([0.0, 1.0, 0.1, -2.0]), st.floats(-100, 100, width=32))


@st.composite
def grouped(draw: st.DrawFn) -> tuple[list[float], list[int], list[bool]]:
    size = draw(st.integers(0, 14))
    return (
        draw(st.lists(values, min_size=size, max_size=size)),
        draw(st.lists(st.integers(-2, 3), min_size=size, max_size=size)),
        draw(st.lists(st.booleans(), min_size=size, max_size=size)),
    )


def members(x: list[float], key: list[int], where: list[bool], row: int) -> list[float]:
    return [v for v, k, w in zip(x, key, where, strict=True) if k == key[row] and w and not math.isnan(v)]


def same(left: torch.Tensor, right: list[float], tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(
        left.double(), torch.tensor(right, dtype=torch.float64), equal_nan=True, atol=tolerance, rtol=tolerance
    )


SLOW = {
    "mean": lambda m: sum(m) / len(m) if m else NAN,
    "sum": lambda m: sum(m),
    "min": lambda m: min(m) if m else NAN,
    "max": lambda m: max(m) if m else NAN,
    "any": lambda m: float(any(v != 0 for v in m)),
    "all": lambda m: float(all(v != 0 for v in m)),
    "count": lambda m: float(len(m)),
}


@pytest.mark.parametrize("how", SLOW)
@given(case=grouped())
def test_statistics_equal_a_loop(how: str, case: tuple[list[float], list[int], list[bool]]) -> None:
    x, key, where = case
    result = getattr(ops, how)(
        torch.tensor(x), torch.tensor(key, dtype=torch.int64), torch.tensor(where, dtype=torch.bool)
    )
    same(result, [SLOW[how](members(x, key, where, row)) for row in range(len(x))])


@given(case=grouped())
def test_reduce_gives_ids_in_order_of_first_appearance(case: tuple[list[float], list[int], list[bool]]) -> None:
    x, key, where = case
    ids, total = ops.reduce(
        torch.tensor(x), torch.tensor(key, dtype=torch.int64), "count", torch.tensor(where, dtype=torch.bool)
    )
    assert ids.tolist() == list(dict.fromkeys(key))
    assert total.tolist() == [len(members(x, key, where, key.index(i))) for i in ids.tolist()]


@pytest.mark.parametrize("ddof", [0, 1])
@given(case=grouped())
def test_std_equals_numpy(ddof: int, case: tuple[list[float], list[int], list[bool]]) -> None:
    x, key, where = case
    result = ops.std(torch.tensor(x), torch.tensor(key, dtype=torch.int64), ddof, torch.tensor(where, dtype=torch.bool))
    expected = []
    for row in range(len(x)):
        found = members(x, key, where, row)
        spread = len(found) > ddof and len(set(np.float32(found))) > 1
        expected.append(float(np.std(np.float32(found).astype(float), ddof=ddof)) if spread else 0.0)
    same(result, expected)


def slow_normalize(
    x: list[float], key: list[int], where: list[bool], center: str, scale: str, ddof: int, eps: float, singleton: str
) -> list[float]:
    result = []
    everything = [v for v, w in zip(x, where, strict=True) if w and not math.isnan(v)]
    for row, value in enumerate(x):
        if math.isnan(value) or not where[row]:
            result.append(0.0)
            continue
        found = members(x, key, where, row)
        if len(found) == 1:
            result.append(value if singleton == "raw" else 0.0)
            continue
        average = sum(found) / len(found)
        others = (sum(found) - value) / (len(found) - 1)
        centred = value - {"mean": average, "loo": others, "none": 0.0}[center]
        if center != "none" and len(set(found)) == 1:
            centred = 0.0
        pool = {"group": found, "batch": everything, "none": []}[scale]
        if scale != "none":
            spread = float(np.std(pool, ddof=ddof)) if len(pool) > ddof and len(set(pool)) > 1 else 0.0
            centred = centred / (spread + eps) if centred else 0.0
        result.append(centred)
    return result


@pytest.mark.parametrize("center", ["mean", "loo", "none"])
@pytest.mark.parametrize("scale", ["group", "batch", "none"])
@given(case=grouped(), ddof=st.sampled_from([0, 1]), singleton=st.sampled_from(["zero", "raw"]))
def test_normalize_equals_a_loop(
    center: str, scale: str, case: tuple[list[float], list[int], list[bool]], ddof: int, singleton: str
) -> None:
    x, key, where = case
    x = [float(np.float32(v)) for v in x]
    result = ops.normalize(
        torch.tensor(x),
        torch.tensor(key, dtype=torch.int64),
        center=center,
        scale=scale,
        ddof=ddof,
        eps=1e-4,
        singleton=singleton,
        where=torch.tensor(where, dtype=torch.bool),
    )
    same(result, slow_normalize(x, key, where, center, scale, ddof, 1e-4, singleton), 2e-4)


def test_equal_rewards_give_exactly_zero() -> None:
    x = torch.full((9,), 0.1)
    for eps in (0.0, 1e-4):
        assert torch.equal(ops.normalize(x, torch.zeros(9, dtype=torch.int64), eps=eps), torch.zeros(9))
    assert torch.equal(ops.std(x, torch.zeros(9, dtype=torch.int64)), torch.zeros(9))


@given(case=grouped())
def test_normalized_rewards_of_a_key_sum_to_zero(case: tuple[list[float], list[int], list[bool]]) -> None:
    x, key, _ = case
    tensor = torch.tensor(key, dtype=torch.int64)
    result = ops.normalize(torch.tensor(x, dtype=torch.float64), tensor)
    assert torch.isfinite(result).all()
    assert ops.sum(result, tensor).abs().max().item() < 1e-6 if len(x) else True


def test_normalize_is_trl_nan_aware_advantage() -> None:
    from trl.trainer.utils import nanstd

    rewards = torch.tensor([1.0, 0.0, NAN, 1.0, 0.5, 0.5, 0.5, 0.5, 2.0, -1.0, 0.3, NAN])
    grouped = rewards.view(3, 4)
    expected = torch.nan_to_num((grouped - grouped.nanmean(1, keepdim=True)) / (nanstd(grouped, dim=1)[:, None] + 1e-4))
    result = ops.normalize(rewards, torch.arange(12) // 4)
    torch.testing.assert_close(result, expected.flatten())


def test_leave_one_out_mean_and_its_gradient() -> None:
    x = torch.tensor([1.0, 2.0, 6.0, 4.0], dtype=torch.float64, requires_grad=True)
    key = torch.tensor([0, 0, 0, 1])
    with pytest.raises(ValueError, match="key 1 has one valid element only, in row 3"):
        ops.leave_one_out_mean(x, key)
    result = ops.leave_one_out_mean(x[:3], key[:3])
    assert result.tolist() == [4.0, 3.5, 1.5]
    result[0].backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0.0, 0.5, 0.5, 0.0]


def test_gradients_are_those_of_finite_differences_and_never_nan() -> None:
    key = torch.tensor([0, 0, 0, 1, 1])
    x = torch.tensor([0.3, 1.0, -0.7, 2.0, 0.1], dtype=torch.float64, requires_grad=True)
    for center in ("mean", "loo"):
        assert torch.autograd.gradcheck(lambda v, c=center: ops.normalize(v, key, center=c), (x,))
    flat = torch.tensor([0.5, 0.5, NAN], requires_grad=True)
    ops.normalize(flat, torch.zeros(3, dtype=torch.int64)).sum().backward()
    assert flat.grad is not None
    assert torch.isfinite(flat.grad).all()


@pytest.mark.parametrize("ties", ["first", "last", "pessimistic", "average"])
@given(case=grouped(), descending=st.booleans())
def test_rank_equals_a_loop(ties: str, case: tuple[list[float], list[int], list[bool]], descending: bool) -> None:
    x, key, _ = case
    result = ops.rank(torch.tensor(x), torch.tensor(key, dtype=torch.int64), descending, ties).tolist()
    sign = -1.0 if descending else 1.0
    for row, value in enumerate(x):
        if math.isnan(value):
            continue
        peers = [(sign * v, i) for i, v in enumerate(x) if key[i] == key[row] and not math.isnan(v)]
        below = sum(v < sign * value for v, _ in peers)
        equal = [i for v, i in peers if v == sign * value]
        expected = {
            "first": below + sum(i < row for i in equal),
            "last": below + sum(i > row for i in equal),
            "pessimistic": below + len(equal) - 1,
            "average": below + (len(equal) - 1) / 2,
        }[ties]
        assert result[row] == expected


@given(positive=st.integers(0, 12), negative=st.integers(0, 12), keep=st.integers(0, 24))
def test_balanced_counts_have_the_largest_product(positive: int, negative: int, keep: int) -> None:
    keep = min(keep, positive + negative)
    for odd in ("half_even", "positive"):
        kept = ops.balanced_counts(positive, negative, keep, odd)
        splits = [(a, keep - a) for a in range(keep + 1) if a <= positive and keep - a <= negative]
        assert kept in splits
        assert kept[0] * kept[1] == max(a * b for a, b in splits)
        tensors = ops.balanced_counts(torch.tensor(positive), torch.tensor(negative), torch.tensor(keep), odd)
        assert (int(tensors[0]), int(tensors[1])) == kept


def test_balanced_keep_counts_of_the_paper() -> None:
    cases = {(8, 0, 4): (4, 0), (0, 8, 4): (0, 4), (7, 1, 4): (3, 1), (1, 7, 4): (1, 3)}
    cases |= {(4, 4, 3): (2, 3), (5, 3, 3): (3, 2), (6, 2, 3): (3, 2), (3, 2, 9): (0, 0), (3, 2, 0): (3, 2)}
    assert {case: ops.balanced_keep_counts(*case) for case in cases} == cases
    with pytest.raises(ValueError, match="n_negative is -1"):
        ops.balanced_keep_counts(1, -1, 0)


def test_minmax_top_fraction_weights_and_quotas() -> None:
    key = torch.tensor([0, 0, 0, 1, 1])
    x = torch.tensor([1.0, 3.0, NAN, 2.0, 2.0])
    assert ops.minmax(x, key, empty=0.5)[[0, 1, 3, 4]].tolist() == [0.0, 1.0, 0.5, 0.5]
    assert torch.isnan(ops.minmax(x, key)[2])
    assert int(ops.top_fraction(torch.arange(100.0), 0.29).sum()) == 29
    assert int(ops.top_fraction(torch.arange(50.0), 0.58).sum()) == 29
    assert ops.top_fraction(torch.tensor([2.0, 2.0, NAN, 1.0]), 0.25).tolist() == [True, False, False, False]
    weights = ops.class_weights(torch.tensor([1, 0, 0, 1, 1]), key)
    assert weights.tolist() == [1.5, 0.75, 0.75, 1.0, 1.0]
    assert ops.allocate(3, 8).tolist() == [3, 3, 2]
    taken = ops.take(key, torch.tensor([2, 5]), torch.Generator().manual_seed(0))
    assert len(taken) == 4
    assert taken.tolist() == sorted(taken.tolist())


def test_pairs_never_cross_keys() -> None:
    key = torch.tensor([0, 0, 0, 1, 1])
    score = torch.tensor([1.0, 0.0, 0.5, 1.0, NAN])
    assert ops.pair_indices(key, score).tolist() == [[0, 1], [0, 2], [2, 1]]
    assert ops.pair_indices(key, score, "extreme").tolist() == [[0, 1]]
    assert ops.pair_indices(key, score, margin=0.5).tolist() == [[0, 1]]
    assert ops.pair_indices(key, score, texts=("a", "a", "b", "c", "d")).tolist() == [[0, 2], [2, 1]]
    with pytest.raises(ValueError, match="expected a generator"):
        ops.pair_indices(key, score, "random")


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="key has shape"):
        ops.mean(torch.zeros(3), torch.zeros(2, dtype=torch.int64))
    with pytest.raises(ValueError, match="key has dtype"):
        ops.mean(torch.zeros(3), torch.zeros(3))
    with pytest.raises(ValueError, match="scale is 'groups'"):
        ops.normalize(torch.zeros(3), torch.zeros(3, dtype=torch.int64), scale="groups")


def test_half_precision_keeps_its_dtype() -> None:
    x = torch.tensor([1.0, 2.0, 4.0], dtype=torch.bfloat16)
    key = torch.zeros(3, dtype=torch.int64)
    assert ops.mean(x, key).dtype == torch.bfloat16
    assert ops.normalize(x.double(), key).dtype == torch.float64
