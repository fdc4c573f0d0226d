"""The walled room: the wall stops, the gap lets through, and pictures show where the robot is."""

from __future__ import annotations

import numpy as np
import pytest

from guerdon.control.worlds.walled_point import WalledPoint


def test_moves_stop_at_the_wall_and_pass_the_gap() -> None:
    room = WalledPoint(gap=0.5)
    here = np.array([[0.0, -0.05], [0.7, -0.05], [0.0, 0.05], [0.45, -0.1], [0.0, -0.5], [0.95, 0.95]])
    move = np.array([[0.1, 0.1], [0.1, 0.1], [0.0, -0.1], [0.1, 0.1], [0.1, 0.1], [0.1, 0.1]])
    there = room.moved(here, move)
    assert there[0] == pytest.approx([0.1, 0.0], abs=1e-5)
    assert there[0, 1] < 0
    assert there[1] == pytest.approx([0.8, 0.05])
    assert there[2] == pytest.approx([0.0, 0.0])
    # It crosses at x = 0.55, right of the wall's end.
    assert there[3] == pytest.approx([0.55, 0.0])
    assert there[4] == pytest.approx([0.1, -0.4])
    assert there[5] == pytest.approx([1.0, 1.0])


def test_nobody_is_behind_the_wall_without_passing_the_gap() -> None:
    room = WalledPoint()
    paths = room.paths(np.random.default_rng(0).normal(0, 2, (500, room.genome_size)))
    assert np.abs(paths).max() <= 1
    assert np.abs(np.diff(paths, axis=1)).max() <= room.speed + 1e-5
    before, after = paths[:, :-1], paths[:, 1:]
    crossed = (before[..., 1] < 0) & (after[..., 1] >= 0)
    assert crossed.any()
    assert np.maximum(before[..., 0], after[..., 0])[crossed].min() >= room.gap - 1e-9


def test_rewards_say_how_short_the_way_was() -> None:
    room = WalledPoint(discs=((-0.5, -0.6),), radius=0.2)
    still = room(np.zeros((1, room.genome_size)))
    assert still.reward.tolist() == [1.0]
    genomes = np.random.default_rng(1).normal(0, 2, (300, room.genome_size))
    found, paths = room(genomes), room.paths(genomes)
    length = np.linalg.norm(np.diff(paths, axis=1), axis=2).sum(1)
    inside = np.linalg.norm(paths[:, -1] - [-0.5, -0.6], axis=1) <= 0.2
    assert found.reward == pytest.approx(np.where(inside, np.exp(-length / 2), 0))


def test_pictures_show_the_robot() -> None:
    room = WalledPoint()
    positions = np.array([[-0.5, -0.6], [0.6, 0.7]])
    pictures = room.pictures(positions)
    assert pictures.shape == (2, 32, 32, 3)
    assert pictures.dtype == np.uint8
    for position, picture in zip(positions, pictures, strict=True):
        row, column = np.unravel_index(picture[..., 0].argmax(), (32, 32))
        assert (column + 0.5) / 16 - 1 == pytest.approx(position[0], abs=1 / 16)
        assert 1 - (row + 0.5) / 16 == pytest.approx(position[1], abs=1 / 16)
    wall = pictures[1, 15:17, :16, 2]
    assert (wall > 60).all()
    assert pictures[0, 15:17, 28:, 2].max() == 0
    assert WalledPoint(draws=False)(np.zeros((1, room.genome_size))).observation is None
    with pytest.raises(ValueError, match="genomes have shape"):
        room.paths(np.zeros((2, 3)))
