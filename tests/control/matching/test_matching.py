from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guerdon.control.matching import (
    Gain,
    Greedy,
    LeastLoad,
    RandomNeighbour,
    Ranking,
    StochasticBalance,
    configuration_lp,
    exact_value,
    gain_split,
    matching_lp,
    opt_nonanticipating,
    random_graph,
    simulate,
    triangular,
    verify_dual,
)

WORKED = np.array([[0.5, 0.4, 0, 0.3], [0.5, 0, 0.6, 0.3], [0, 0.4, 0.6, 0]])


def random_instance(seed, u=3, v=5, top=0.95):
    draw = np.random.default_rng(seed)
    return np.where(draw.random((u, v)) < 0.7, draw.random((u, v)) * top, 0.0)


def test_the_worked_instance():
    assert exact_value(WORKED, LeastLoad()) == pytest.approx(1.71)
    assert exact_value(WORKED, Greedy()) == pytest.approx(1.674)
    assert opt_nonanticipating(WORKED) == pytest.approx(1.764)
    for program in (configuration_lp(WORKED), configuration_lp(WORKED, stochastic=False), matching_lp(WORKED)):
        assert program.value == pytest.approx(1.8)
    assert verify_dual(WORKED, np.zeros(3), [0.5, 0.4, 0.6, 0.3])[0]
    single = np.array([[0.3, 0.6]])
    assert configuration_lp(single).value == pytest.approx(0.72)
    assert configuration_lp(single, stochastic=False).value == pytest.approx(0.9)


def test_the_gain_functions():
    g, ratio = gain_split("det")
    assert [float(g(np.array(load))) for load in (0, 0.25, 0.5, 1, 3)] == pytest.approx(
        [0.423898, 0.513747, 0.576701, 0.632121, 0.632121], abs=1e-6
    )
    assert ratio == pytest.approx(0.576102, abs=1e-6)
    g, ratio = gain_split("stochastic")
    assert [float(g(np.array(load))) for load in (0, 0.5, 1, 2)] == pytest.approx(
        [0.403653, 0.551743, 0.638671, 0.737916], abs=1e-6
    )
    assert ratio == pytest.approx(0.596347, abs=1e-6)
    # g' = g - l / (1 + l)
    load, step = np.linspace(0.1, 5, 20), 1e-5
    slope = (g(load + step) - g(load - step)) / (2 * step)
    np.testing.assert_allclose(slope, g(load) - load / (1 + load), atol=1e-8)
    with pytest.raises(ValueError, match="kind is 'x'"):
        gain_split("x")


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_every_policy_is_below_the_best_and_that_below_the_programs(seed):
    p = random_instance(seed)
    best = opt_nonanticipating(p)
    stochastic, plain = configuration_lp(p).value, matching_lp(p).value
    for rule in (LeastLoad(), Gain(), Greedy(), RandomNeighbour()):
        assert exact_value(p, rule) <= best + 1e-9
    assert exact_value(p, Greedy()) >= best / 2 - 1e-9
    assert best <= stochastic + 1e-7
    assert stochastic <= plain + 1e-7
    assert plain <= min(len(p), p.max(axis=0).sum()) + 1e-7


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.booleans())
def test_column_generation_equals_all_configurations(seed, stochastic):
    from scipy.optimize import linprog

    p = random_instance(seed, 2, 4)
    columns, worth = [], []
    for u in range(2):
        for size in range(1, 5):
            for taken in itertools.combinations(range(4), size):
                chances = p[u, list(taken)]
                column = np.zeros(6)
                column[u] = 1
                used = np.concatenate([[1], np.cumprod(1 - chances)[:-1]]) if stochastic else np.ones(size)
                column[2 + np.array(taken)] = used
                columns.append(column)
                worth.append(1 - np.prod(1 - chances) if stochastic else min(1, chances.sum()))
    whole = linprog(-np.array(worth), A_ub=np.array(columns).T, b_ub=np.ones(6), method="highs")
    found = configuration_lp(p, stochastic)
    assert found.value == pytest.approx(-whole.fun, abs=1e-7)
    assert found.alpha.sum() + found.beta.sum() == pytest.approx(found.value, abs=1e-7)
    assert verify_dual(p, found.alpha, found.beta, stochastic) == (True, pytest.approx(0, abs=1e-6))
    if found.value > 1e-3:
        assert not verify_dual(p, found.alpha * 0.9, found.beta * 0.9, stochastic)[0]
        assert verify_dual(p, found.alpha * 0.9, found.beta * 0.9, stochastic, ratio=0.9)[0]


def test_a_single_vertex_gets_all_that_there_is():
    p = np.array([[0.3, 0.0, 0.5, 0.2]])
    expected = 1 - 0.7 * 0.5 * 0.8
    for rule in (LeastLoad(), Greedy(), RandomNeighbour()):
        assert exact_value(p, rule) == pytest.approx(expected)
    assert opt_nonanticipating(p) == pytest.approx(expected)
    assert configuration_lp(p).value == pytest.approx(expected)


def test_simulations_approach_exact_values():
    for rule in (LeastLoad(), Gain(), Greedy(), RandomNeighbour()):
        mean, error = simulate(WORKED, rule, 20_000, 0)
        assert abs(mean - exact_value(WORKED, rule)) < 4 * error
    assert simulate(WORKED, Ranking(), 100, 1) == simulate(WORKED, Ranking(), 100, 1)
    sure = np.array([[1.0, 1.0], [0.0, 1.0]])
    assert simulate(sure, LeastLoad(), 10, 0) == (2.0, 0.0)


def test_relabelling_and_removing():
    p = random_instance(4)
    assert opt_nonanticipating(p[::-1]) == pytest.approx(opt_nonanticipating(p))
    assert configuration_lp(p[::-1]).value == pytest.approx(configuration_lp(p).value)
    for u in range(3):
        fewer = np.delete(p, u, axis=0)
        assert opt_nonanticipating(fewer) <= opt_nonanticipating(p) + 1e-9
        assert configuration_lp(fewer).value <= configuration_lp(p).value + 1e-7


def test_the_triangle():
    p = triangular(10, 0.1)
    assert p.shape == (10, 100)
    assert p[3, :40].all()
    assert not p[3, 40:].any()
    assert configuration_lp(p).value == pytest.approx(8.607, abs=5e-4)
    assert matching_lp(p).value == pytest.approx(10.0)


def test_balance_counts_failures_and_refuses_who_is_gone():
    balance = StochasticBalance(3)
    assert balance.choose([0.5, 0.5, 0.0], [True, True, True]) == 0
    balance.record(0, 0.5, False)
    assert balance.choose([0.5, 0.5, 0.0], [True, True, True]) == 1
    balance.record(1, 0.5, True)
    assert balance.choose([0.5, 0.5, 0.0], [True, True, True]) == 0
    assert balance.choose([0.0, 0.5, 0.0], [True, True, True]) is None
    with pytest.raises(ValueError, match="vertex 1 is matched"):
        balance.record(1, 0.5, False)
    gains = StochasticBalance(2, gain_split()[0])
    assert gains.choose([0.5, 0.6], [True, True]) == 1
    gains.record(1, 0.6, False)
    assert gains.choose([0.5, 0.6], [True, True]) == 0


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"p\[0, 1\] is 1.5"):
        matching_lp([[0.5, 1.5]])
    with pytest.raises(ValueError, match=r"p\[0, 0\] is nan"):
        opt_nonanticipating([[float("nan")]])
    with pytest.raises(ValueError, match=r"expected \(U, V\)"):
        simulate([0.5], LeastLoad(), 10, 0)
    with pytest.raises(ValueError, match="Ranking"):
        exact_value(WORKED, Ranking())
    with pytest.raises(ValueError, match="at most"):
        opt_nonanticipating(np.full((13, 2), 0.1))
    assert configuration_lp(np.zeros((2, 3))).value == 0.0
    assert random_graph(4, 30, 0.05, 0.3, np.random.default_rng(0)).shape == (4, 30)
