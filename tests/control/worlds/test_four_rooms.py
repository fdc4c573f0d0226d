"""Four rooms: doors, the shortest way, and what is refused."""

from __future__ import annotations

import pytest

from guerdon.control.mdp import optimal
from guerdon.control.worlds.four_rooms import four_rooms, free_cells, rooms_reward


def test_the_rooms() -> None:
    cells = free_cells(7)
    mdp = four_rooms()
    assert len(cells) == 40
    assert mdp.states == 41
    assert (3, 1) in cells
    assert (3, 3) not in cells
    best = optimal(rooms_reward(mdp), mdp.tau, 0.95)
    assert best.values.min() == 0
    assert best.values[-2] == pytest.approx(10)
    assert best.values[0] == best.values[:-2].min()
    still = four_rooms(slip=0.0)
    # Twelve moves from corner to corner.
    assert optimal(rooms_reward(still), still.tau, 0.95).values[0] == pytest.approx(10 * 0.95**12)
    for size in (4, 6, 3):
        with pytest.raises(ValueError, match="size"):
            free_cells(size)
    with pytest.raises(ValueError, match="slip"):
        four_rooms(slip=2.0)
