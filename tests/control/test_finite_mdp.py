"""Finite MDPs from files, gymnasium environments and objects, and rewards from functions."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import sparse

from guerdon.control.finite_mdp import (
    FiniteMDP,
    as_mdp,
    from_gymnasium,
    imported,
    load_mdp,
    reward_table,
    save_mdp,
)
from guerdon.control.mdp import optimal, policy_return

TAU = np.array([[[1.0, 0.0], [0.0, 1.0]], [[0.5, 0.5], [0.0, 1.0]]])


@pytest.mark.parametrize("thin", [False, True])
@pytest.mark.parametrize("gamma", [None, 0.9])
def test_files_come_back_as_they_were(tmp_path: Path, thin: bool, gamma: float | None) -> None:
    mdp = FiniteMDP(sparse.csr_matrix(TAU.reshape(4, 2)) if thin else TAU, [0.3, 0.7], gamma)
    save_mdp(mdp, tmp_path / "mdp.npz")
    back = load_mdp(tmp_path / "mdp.npz")
    assert sparse.issparse(back.tau) == thin
    np.testing.assert_array_equal(back.tau.toarray().reshape(TAU.shape) if thin else back.tau, TAU)
    assert back.mu0.tolist() == [0.3, 0.7]
    assert back.gamma == gamma
    assert (back.states, back.actions) == (2, 2)


def test_a_json_file_and_what_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "mdp.json").write_text(json.dumps({"tau": TAU.tolist()}))
    mdp = load_mdp(tmp_path / "mdp.json")
    assert mdp.mu0.tolist() == [0.5, 0.5]
    assert mdp.gamma is None


def test_what_is_no_mdp_is_refused() -> None:
    with pytest.raises(ValueError, match="mu0"):
        FiniteMDP(TAU, [0.5, 0.6])
    with pytest.raises(ValueError, match="gamma"):
        FiniteMDP(TAU, gamma=1.0)
    with pytest.raises(ValueError, match="str is no finite MDP"):
        as_mdp("TAU")
    assert as_mdp(SimpleNamespace(tau=TAU, gamma=0.5)).gamma == 0.5
    assert as_mdp((TAU, [1.0, 0.0])).mu0.tolist() == [1, 0]
    assert as_mdp((TAU, [1.0, 0.0], 0.25)).gamma == 0.25


def test_a_gymnasium_table_gives_the_returns_of_its_episodes() -> None:
    gymnasium = pytest.importorskip("gymnasium")
    environment = gymnasium.make("FrozenLake-v1", max_episode_steps=10_000)
    mdp, reward = from_gymnasium(environment)
    assert (mdp.states, mdp.actions) == (17, 4)
    policy = optimal(reward, mdp.tau, 0.9).policy
    exact = policy_return(reward, mdp.tau, 0.9, policy, mdp.mu0)
    returns = []
    for episode in range(1500):
        state, _ = environment.reset(seed=episode)
        total, discount, done = 0.0, 1.0, False
        while not done:
            state, paid, done, _, _ = environment.step(int(policy[state]))
            total, discount = total + discount * float(paid), discount * 0.9
        returns.append(total)
    assert exact > 0.05
    assert np.mean(returns) == pytest.approx(exact, abs=0.012)
    with pytest.raises(ValueError, match="no table P"):
        from_gymnasium("CartPole-v1")


def test_functions_become_tables() -> None:
    def reward(state: int, action: int, following: int) -> float:
        assert (state, action, following) != (0, 0, 1)
        return 100 * state + 10 * action + following

    table = reward_table(reward, FiniteMDP(TAU))
    assert table[1, 0].tolist() == [100, 101]
    assert table[0, 0].tolist() == [0, 0]
    thin = reward_table(reward, FiniteMDP(sparse.csr_matrix(TAU.reshape(4, 2))))
    np.testing.assert_array_equal(thin.toarray().reshape(2, 2, 2), table)
    everywhere = reward_table(lambda s, a, t: s + a + t, FiniteMDP(TAU), everywhere=True)
    assert everywhere[0, 0].tolist() == [0, 1]
    with pytest.raises(ValueError, match="what can happen only"):
        reward_table(reward, FiniteMDP(sparse.csr_matrix(TAU.reshape(4, 2))), everywhere=True)


def test_names_of_things() -> None:
    assert imported("math:pi") == pytest.approx(3.14159, abs=1e-5)
    for path in ("math", "math:", ":pi", "math:absent", "absent.module:x"):
        with pytest.raises(ValueError, match=path):
            imported(path)
