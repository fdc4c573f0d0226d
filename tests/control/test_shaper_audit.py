"""The project's own shapers on a chain: potential shaping is no distance, other changes are."""

from __future__ import annotations

import numpy as np
import pytest

from guerdon.control.finite_mdp import FiniteMDP
from guerdon.control.mdp import check_transitions, optimal
from guerdon.control.shaper_audit import audit, shaped_on_chain
from guerdon.control.worlds.goal_chain import goal_chain, goal_reward

SAFE = ("factor 3", "factor 3, offset 1", "potential: how near the goal", "potential: random")


def test_the_chain() -> None:
    mdp = goal_chain(3, slip=0.2)
    assert check_transitions(mdp.tau) == (4, 2)
    assert mdp.tau[0, 0].tolist() == [0.8, 0.2, 0, 0]
    assert mdp.tau[1, 1].tolist() == [0.2, 0, 0.8, 0]
    assert mdp.tau[3, :, 3].tolist() == [1, 1]
    reward = goal_reward(mdp)
    assert reward[2, 1, 3] == 1.0
    assert reward[0, 1, 1] == pytest.approx(-0.55)
    assert (reward[3] == 0).all()
    assert optimal(reward, mdp.tau, 0.9).policy[1:3].tolist() == [1, 1]
    for settings in ({"places": 1}, {"slip": 1.2}):
        with pytest.raises(ValueError, match="expected at least 2 places"):
            goal_chain(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("slip", [0.0, 0.1, 0.4])
@pytest.mark.parametrize("gamma", [0.5, 0.9])
def test_only_potentials_and_lines_are_safe(slip: float, gamma: float) -> None:
    mdp = goal_chain(slip=slip, gamma=gamma)
    truth = goal_reward(mdp)
    rows = {row.name: row for row in audit(truth, shaped_on_chain(truth, mdp), mdp)}
    assert set(SAFE) < set(rows)
    for name, row in rows.items():
        if name in SAFE:
            assert row.distance == pytest.approx(0, abs=1e-9)
            assert row.worst_regret == pytest.approx(0, abs=1e-7)
        else:
            assert row.distance > 0.005
            assert row.worst_regret > 1e-4
        assert row.optimal_regret <= row.worst_regret + 1e-9


def test_differences_of_scores_are_a_potential_only_without_discount() -> None:
    distances = []
    for gamma in (0.5, 0.9, 0.99, 0.999):
        mdp = goal_chain(gamma=gamma)
        truth = goal_reward(mdp)
        rewards = {"differences": shaped_on_chain(truth, mdp)["differences of step scores"]}
        distances.append(audit(truth, rewards, mdp)[0].distance)
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 0.01


def test_a_discount_is_needed() -> None:
    mdp = FiniteMDP(goal_chain().tau)
    truth = np.zeros((9, 2, 9))
    with pytest.raises(ValueError, match="gamma"):
        audit(truth, {"same": truth}, mdp)
    with pytest.raises(ValueError, match="gamma"):
        shaped_on_chain(truth, mdp)
    assert audit(truth, {"same": truth}, mdp, gamma=0.5)[0].distance == 0
