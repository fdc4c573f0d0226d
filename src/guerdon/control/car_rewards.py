"""Dense rewards of a car that plays with a ball (arXiv 2305.15801): facing, approaching, being near, and all at once.

Positions and velocities are (..., D) tensors with D = 2 or 3, in any one unit of length; Rocket League's own are the
constants here. Whoever looks says which goal is its own: for the other team the goals change places. Rewards of goals
and other events are differences of the game's counters.
"""

from __future__ import annotations

import torch
from torch import Tensor

from guerdon.shape.geometric_and import distance_shape, krc

CAR_TOP_SPEED = 2300.0
BALL_TOP_SPEED = 6000.0
BALL_RADIUS = 92.75
GOAL_DEPTH = 6000.0 - 5120.0 + BALL_RADIUS
ORANGE_GOAL = (0.0, 6000.0, 321.3875)
"""Back of the goal that blue attacks."""
BLUE_GOAL = (0.0, -6000.0, 321.3875)
CEILING = 2044.0

_SMALL = 1e-8


def direction(origin: Tensor, target: Tensor) -> Tensor:
    """(..., D) unit vectors from origin to target; 0 where they coincide."""
    way = target - origin
    unit: Tensor = way / (way.norm(dim=-1, keepdim=True) + _SMALL)
    return unit


def align(player: Tensor, ball: Tensor, own_goal: Tensor, opponent_goal: Tensor) -> Tensor:
    """(...) in [-1, 1]: 1 where own goal, player, ball and the opponents' goal lie in this order on a line.

    Half the cosine between player-to-ball and own-goal-to-player, plus half that between player-to-ball and
    player-to-opponents'-goal.
    """
    to_ball = direction(player, ball)
    behind = (to_ball * direction(own_goal, player)).sum(-1)
    ahead = (to_ball * direction(player, opponent_goal)).sum(-1)
    return 0.5 * behind + 0.5 * ahead


def directed_speed(origin: Tensor, target: Tensor, velocity: Tensor, top_speed: float) -> Tensor:
    """(...) the part of a velocity that goes from origin to target, as a share of the top speed."""
    return (direction(origin, target) * velocity).sum(-1) / top_speed


def nearness(
    origin: Tensor, target: Tensor, margin: float, scale: float, dispersion: float = 1.0, density: float = 1.0
) -> Tensor:
    """(...) `distance_shape` of the distance of two points less a margin: the ball's radius, or the goal's depth."""
    return distance_shape((origin - target).norm(dim=-1) - margin, scale, dispersion, density)


def ball_to_goal_difference(
    ball: Tensor,
    own_goal: Tensor,
    opponent_goal: Tensor,
    *,
    offensive: float = 1.0,
    defensive: float = 1.0,
    offensive_dispersion: float = 0.6,
    defensive_dispersion: float = 0.4,
    scale: float = BALL_TOP_SPEED,
    depth: float = GOAL_DEPTH,
) -> Tensor:
    """(...) weighted nearness of the ball to the opponents' goal, minus that to the own goal."""
    theirs = nearness(ball, opponent_goal, depth, scale, offensive_dispersion)
    ours = nearness(ball, own_goal, depth, scale, defensive_dispersion)
    return offensive * theirs - defensive * ours


def chase_components(
    player: Tensor,
    velocity: Tensor,
    ball: Tensor,
    own_goal: Tensor,
    opponent_goal: Tensor,
    *,
    dispersion: float = 1.0,
    density: float = 1.1,
    top_speed: float = CAR_TOP_SPEED,
    radius: float = BALL_RADIUS,
) -> Tensor:
    """(..., 3): align, speed towards the ball, nearness to the ball."""
    return torch.stack(
        (
            align(player, ball, own_goal, opponent_goal),
            directed_speed(player, ball, velocity, top_speed),
            nearness(player, ball, radius, top_speed, dispersion, density),
        ),
        dim=-1,
    )


def offensive_potential(components: Tensor) -> Tensor:
    """(...) the chase's components at once: positive only for who approaches the ball from the right side."""
    return krc(components)


def distance_weighted_align(
    player: Tensor,
    ball: Tensor,
    own_goal: Tensor,
    opponent_goal: Tensor,
    *,
    dispersion: float = 1.1,
    density: float = 1.0,
    scale: float = CAR_TOP_SPEED,
    radius: float = BALL_RADIUS,
) -> Tensor:
    """(...) align and nearness to the ball at once."""
    parts = (
        align(player, ball, own_goal, opponent_goal),
        nearness(player, ball, radius, scale, dispersion, density),
    )
    return krc(torch.stack(parts, dim=-1))


def touch_to_goal_acceleration(
    ball: Tensor,
    velocity: Tensor,
    previous_ball: Tensor,
    previous_velocity: Tensor,
    goal: Tensor,
    touched: Tensor,
    top_speed: float = CAR_TOP_SPEED,
) -> Tensor:
    """(...) what a touch added to the ball's speed towards a goal; 0 where the player did not touch it.

    Args:
        ball: (..., D) now.
        velocity: (..., D) of the ball now.
        previous_ball: (..., D) one step before, the same for all players.
        previous_velocity: (..., D) one step before; 0 at an episode's first step.
        goal: (..., D) back of the goal.
        touched: (...) bool.
        top_speed: What the difference is divided by.
    """
    now = directed_speed(ball, goal, velocity, top_speed)
    before = directed_speed(previous_ball, goal, previous_velocity, top_speed)
    return torch.where(touched, now - before, torch.zeros_like(now))
