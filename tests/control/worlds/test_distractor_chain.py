"""The long chain: what can be earned in time."""

from __future__ import annotations

import numpy as np
import pytest

from guerdon.control.mdp import q_values
from guerdon.control.worlds.distractor_chain import chain_reward, distractor_chain


def test_the_chain() -> None:
    mdp = distractor_chain()
    reward = chain_reward(mdp, distractor=0.05, at=3)
    assert reward[3].tolist() == [0.05, 0.05]
    assert reward[-1].tolist() == [1, 1]
    right = q_values(chain_reward(mdp), mdp.tau, 0.99, np.ones(61, dtype=int), 40)
    assert right[40, 1] == pytest.approx(13.70, abs=0.005)
    with pytest.raises(ValueError, match="right 0"):
        distractor_chain(right=0)
