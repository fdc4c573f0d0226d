"""The line: first the key, then the door."""

from __future__ import annotations

import numpy as np
import pytest

from guerdon.control.mdp import optimal
from guerdon.control.worlds.line_key import line_key, line_reward


def test_the_line_needs_the_key() -> None:
    mdp = line_key(10, step=0.1, noise=0.0)
    best = optimal(line_reward(mdp), mdp.tau, 0.95)
    assert best.policy[1] == 2
    assert (best.policy[2:10] == 0).all()
    assert (best.policy[10:19] == 1).all()
    np.testing.assert_allclose(mdp.tau.sum(axis=2), 1)
    np.testing.assert_allclose(mdp.tau[3, 1], np.eye(21)[4])
    assert line_key().tau[5, 1, 6] == pytest.approx(0.5, abs=0.05)
    with pytest.raises(ValueError, match="segments 2"):
        line_key(2)
