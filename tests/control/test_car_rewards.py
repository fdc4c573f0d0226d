"""The rewards of a car with a ball, in Rocket League's units."""

from __future__ import annotations

import pytest
import torch

from guerdon.control import car_rewards as cr
from guerdon.shape.potential import shaping

PLAYER, BALL = torch.tensor([1000.0, -2000, 17]).double(), torch.tensor([500.0, -500, 92.75]).double()
VELOCITY = torch.tensor([-300.0, 1200, 0]).double()
BLUE, ORANGE = torch.tensor(cr.BLUE_GOAL).double(), torch.tensor(cr.ORANGE_GOAL).double()


def test_worked_example() -> None:
    assert float(cr.align(PLAYER, BALL, BLUE, ORANGE)) == pytest.approx(0.908725, abs=1e-6)
    assert float(cr.directed_speed(PLAYER, BALL, VELOCITY, cr.CAR_TOP_SPEED)) == pytest.approx(0.535598, abs=1e-6)
    near = [float(cr.nearness(PLAYER, BALL, cr.BALL_RADIUS, cr.CAR_TOP_SPEED, density=d)) for d in (1.0, 1.1)]
    assert near == pytest.approx([0.72328, 0.744899], abs=1e-5)
    parts = cr.chase_components(PLAYER, VELOCITY, BALL, BLUE, ORANGE)
    assert float(cr.offensive_potential(parts)) == pytest.approx(0.713055, abs=1e-6)
    assert float(cr.distance_weighted_align(PLAYER, BALL, BLUE, ORANGE)) == pytest.approx(0.822745, abs=1e-6)
    other = cr.chase_components(PLAYER, VELOCITY, BALL, ORANGE, BLUE)
    assert float(cr.offensive_potential(other)) == pytest.approx(-0.713055, abs=1e-6)
    goals = [
        float(cr.nearness(BALL, goal, cr.GOAL_DEPTH, cr.BALL_TOP_SPEED, dispersion))
        for goal, dispersion in ((ORANGE, 0.6), (BLUE, 0.4))
    ]
    assert goals == pytest.approx([0.462598, 0.387171], abs=1e-6)
    assert float(cr.ball_to_goal_difference(BALL, BLUE, ORANGE)) == pytest.approx(0.075426, abs=1e-6)


def test_worked_example_of_the_touch_and_the_shaping() -> None:
    before, after = torch.tensor([0.0, 200, 0]).double(), torch.tensor([100.0, 1500, 300]).double()
    touched = torch.tensor(True)
    found = cr.touch_to_goal_acceleration(BALL, after, BALL, before, ORANGE, touched)
    assert float(found) == pytest.approx(0.564445, abs=1e-6)
    assert float(cr.touch_to_goal_acceleration(BALL, after, BALL, before, ORANGE, ~touched)) == 0
    phi = torch.tensor([0.2, 0.5, 0.4, 0.4]).double()
    assert shaping(phi[1:], phi[:-1], 0.995).tolist() == pytest.approx([0.2975, -0.102, -0.002])


def test_mirroring_and_swapping_the_teams_changes_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    player, ball, velocity = (torch.randn(50, 3, generator=generator).double() * 2000 for _ in range(3))
    turn = torch.tensor([-1.0, -1.0, 1.0]).double()
    here = cr.chase_components(player, velocity, ball, BLUE, ORANGE)
    there = cr.chase_components(player * turn, velocity * turn, ball * turn, ORANGE, BLUE)
    assert torch.allclose(here, there)
    one = cr.ball_to_goal_difference(ball, BLUE, ORANGE)
    assert torch.allclose(one, cr.ball_to_goal_difference(ball * turn, ORANGE, BLUE))
    assert torch.allclose(
        cr.distance_weighted_align(player, ball, BLUE, ORANGE),
        cr.distance_weighted_align(player * turn, ball * turn, ORANGE, BLUE),
    )


def test_coincident_points_have_no_direction() -> None:
    assert cr.direction(BALL, BALL).tolist() == [0.0, 0.0, 0.0]
    assert torch.isfinite(cr.chase_components(BALL, VELOCITY, BALL, BLUE, ORANGE)).all()
