"""Four rooms with doors between them, and a goal in the corner that lies opposite to the start."""

from __future__ import annotations

import numpy as np

from guerdon.control.finite_mdp import FiniteMDP
from guerdon.control.mdp import Array

MOVES = ((-1, 0), (1, 0), (0, -1), (0, 1))
"""Actions 0 to 3: up, down, left, right, as steps of (row, column)."""


def free_cells(size: int = 7) -> tuple[tuple[int, int], ...]:
    """The cells that are no wall, row by row: state i is the cell i.

    Walls run along the middle row and the middle column; each of their four arms has a door at half its length.

    Raises:
        ValueError: The size is even or below 5.
    """
    if size < 5 or size % 2 == 0:
        raise ValueError(f"size is {size}: expected an odd number of at least 5")
    middle = size // 2
    doors = {middle // 2, size - 1 - middle // 2}
    return tuple(
        (row, column)
        for row in range(size)
        for column in range(size)
        if (row != middle or column in doors) and (column != middle or row in doors)
    )


def four_rooms(size: int = 7, slip: float = 0.1, gamma: float = 0.95) -> FiniteMDP:
    """The rooms: a state for each free cell, and the end, the last state, which is never left.

    Args:
        size: Cells along a side, an odd number of at least 5.
        slip: How often a uniform action is taken in the place of the chosen one.
        gamma: The discount.

    Returns:
        The MDP: 4 actions, up, down, left, right; a step into a wall stays; every action in the goal, the last cell,
        leads to the end; the start is the first cell.

    Raises:
        ValueError: The size is even or below 5, or the slip is out of range.
    """
    if not 0 <= slip <= 1:
        raise ValueError(f"slip is {slip}: expected a number in [0, 1]")
    cells = free_cells(size)
    index = {cell: state for state, cell in enumerate(cells)}
    end, actions = len(cells), len(MOVES)
    after = np.full((end + 1, actions), end)
    for (row, column), state in index.items():
        if state < end - 1:
            after[state] = [index.get((row + down, column + right), state) for down, right in MOVES]
    moved = np.eye(end + 1)[after]
    tau = (1 - slip) * moved + slip * moved.mean(axis=1, keepdims=True)
    return FiniteMDP(tau, np.eye(end + 1)[0], gamma)


def rooms_reward(mdp: FiniteMDP, goal: float = 10.0) -> Array:
    """(S, A) reward: `goal` for any action in the goal, which ends the episode; 0 elsewhere."""
    reward = np.zeros((mdp.states, mdp.actions))
    reward[-2] = goal
    return reward
