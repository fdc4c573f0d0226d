"""The peers of the control benchmark compute what ours computes."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy")

from guerdon.bench import control
from guerdon.control.mdp import policy_value
from guerdon.control.random_mdps import random_reward, random_transitions
from guerdon.control.starc import canon_epic, canon_val, starc_distance


def test_peers_agree_with_ours() -> None:
    generator = np.random.default_rng(2)
    tau = random_transitions(6, 3, generator)
    first, second = (random_reward(6, 3, control.GAMMA, generator) for _ in range(2))
    np.testing.assert_allclose(control.looped_values(first, tau, 0.9), policy_value(first, tau, 0.9), atol=1e-4)
    np.testing.assert_allclose(control.looped_val(first, tau), canon_val(first, tau, control.GAMMA), atol=1e-3)
    np.testing.assert_allclose(control.looped_epic(first), canon_epic(first, control.GAMMA), atol=1e-9)
    expected = starc_distance(first, second, tau, control.GAMMA)
    assert control.looped_distance(first, second, tau) == pytest.approx(expected, abs=1e-4)


def test_all_rows_are_measured() -> None:
    rows = control.rows(quick=True)
    assert [row.name for row in rows][-3:] == ["novelty", "matching, simulated", "Stochastic Configuration LP"]
    assert len(rows) == 11
    assert all(row.seconds > 0 for row in rows)
