"""A car, a ball and two goals in the plane: many fields at once.

The car is a disc that drives along its heading, throttles and steers; the ball is a lighter disc with friction, which
bounces off walls and off the car. A field starts anew after a goal at either end, or when its time is up.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from guerdon.control.mdp import Array

OWN_FEATURES = 9
OBJECTS = 3
OBJECT_FEATURES = 7
ACTIONS = 9


@dataclass(frozen=True)
class Pitch:
    """The rules of the field; lengths in metres, times in seconds.

    Attributes:
        half_width: Walls are at x = +- this.
        half_length: Walls with the goals are at y = +- this.
        half_goal: The goals are open where |x| is below this.
        goal_back: Backs of the goals are at y = +- this.
        car_radius: Of the car.
        ball_radius: Of the ball.
        car_speed: Its top speed, forwards and backwards.
        ball_speed: Top speed of the ball.
        acceleration: Of the car at full throttle.
        turn: Radians a second at full speed and full steer.
        car_drag: Share of its speed that a rolling car loses in a second.
        ball_drag: The same of the ball.
        bounce: Share of the speed that the ball keeps at a wall, and restitution against the car.
        step: Seconds between two actions.
        steps: Actions of an episode at most.
    """

    half_width: float = 1.6
    half_length: float = 2.0
    half_goal: float = 0.8
    goal_back: float = 2.4
    car_radius: float = 0.2
    ball_radius: float = 0.2
    car_speed: float = 2.3
    ball_speed: float = 6.0
    acceleration: float = 4.0
    turn: float = 3.5
    car_drag: float = 1.0
    ball_drag: float = 0.3
    bounce: float = 0.6
    step: float = 0.1
    steps: int = 200


@dataclass(frozen=True)
class State:
    """N fields at one moment.

    Attributes:
        car: (N, 2) positions.
        heading: (N,) angles, 0 along +x.
        speed: (N,) along the heading, negative backwards.
        ball: (N, 2) positions.
        ball_velocity: (N, 2).
        clock: (N,) actions since the start of the episode.
    """

    car: Array
    heading: Array
    speed: Array
    ball: Array
    ball_velocity: Array
    clock: NDArray[np.int64]

    @property
    def car_velocity(self) -> Array:
        """(N, 2)."""
        velocity: Array = self.speed[:, None] * np.stack((np.cos(self.heading), np.sin(self.heading)), axis=1)
        return velocity

    def mirrored(self) -> State:
        """The same fields seen from the other end: x and y change sign."""
        return replace(
            self,
            car=-self.car,
            heading=self.heading + np.pi,
            ball=-self.ball,
            ball_velocity=-self.ball_velocity,
        )


@dataclass(frozen=True)
class Moment:
    """What an action led to.

    Attributes:
        after: The state that it led to, before any field started anew.
        goal: (N,) 1 for a goal at +y, -1 for one at -y, else 0.
        touched: (N,) bool, whether the car hit the ball.
        timeout: (N,) bool, the time is up without a goal.
    """

    after: State
    goal: NDArray[np.int64]
    touched: NDArray[np.bool_]
    timeout: NDArray[np.bool_]

    @property
    def done(self) -> NDArray[np.bool_]:
        """(N,) bool, the episode has ended."""
        ended: NDArray[np.bool_] = (self.goal != 0) | self.timeout
        return ended


class CarBall:
    """N fields with a car and a ball each; the car is to bring the ball through the goal at +y.

    Actions are 0 to 8: 3 * throttle + steer, each 0 = back or right, 1 = none, 2 = forward or left.

    Attributes:
        pitch: The rules.
        state: The present state.

    Example:
        >>> world = CarBall(4, seed=0)
        >>> moment = world.step([7, 7, 7, 7])
        >>> moment.after.car.shape, world.observe(world.state).shape
        ((4, 2), (4, 30))
    """

    def __init__(self, fields: int = 32, pitch: Pitch | None = None, *, seed: int = 0) -> None:
        """Start all fields.

        Args:
            fields: N, at least 1.
            pitch: The rules.
            seed: Of the starts.

        Raises:
            ValueError: No field.
        """
        if fields < 1:
            raise ValueError(f"fields is {fields}: expected at least 1")
        self.pitch = pitch or Pitch()
        self._rng = np.random.default_rng(seed)
        self.state = self._starts(fields)

    @property
    def fields(self) -> int:
        """How many fields."""
        return len(self.state.heading)

    def step(self, actions: ArrayLike) -> Moment:
        """Act on all fields; those that end start anew at random.

        Raises:
            ValueError: Not one action of 0 to 8 a field.
        """
        chosen = np.asarray(actions)
        if chosen.shape != (self.fields,) or not np.isin(chosen, np.arange(ACTIONS)).all():
            raise ValueError(f"actions are {chosen}: expected {self.fields} integers from 0 to {ACTIONS - 1}")
        moment = advance(self.state, chosen, self.pitch)
        fresh, done = self._starts(self.fields), moment.done
        # Starts are drawn for every field, so that a field's course does not depend on when others end.
        parts = {
            name: np.where(done.reshape(-1, *[1] * (value.ndim - 1)), value, getattr(moment.after, name))
            for name, value in vars(fresh).items()
        }
        self.state = State(**parts)
        return moment

    def observe(self, state: State) -> Array:
        """(N, 30): 9 numbers of the car, then 7 of each object: ball, goal to attack, goal to defend.

        Of an object: its place and its velocity as seen from the car, its distance, and its place on the pitch.
        """
        p = self.pitch
        forward = np.stack((np.cos(state.heading), np.sin(state.heading)), axis=1)
        left = np.stack((-forward[:, 1], forward[:, 0]), axis=1)
        velocity = state.car_velocity
        still = np.zeros_like(velocity)
        goals = [np.broadcast_to(np.array([0.0, end * p.half_length]), still.shape) for end in (1, -1)]
        features = [
            state.car / (p.half_width, p.half_length),
            forward,
            (state.speed / p.car_speed)[:, None],
            velocity / p.car_speed,
            (state.clock / p.steps)[:, None],
            np.ones((len(state.heading), 1)),
        ]
        for place, moving in ((state.ball, state.ball_velocity), (goals[0], still), (goals[1], still)):
            way, relative = place - state.car, moving - velocity
            for vector, scale in ((way, p.half_length), (relative, p.car_speed)):
                features += [(vector * forward).sum(1, keepdims=True) / scale]
                features += [(vector * left).sum(1, keepdims=True) / scale]
            features += [np.linalg.norm(way, axis=1, keepdims=True) / p.half_length]
            features += [place / (p.half_width, p.half_length)]
        return np.concatenate(features, axis=1)

    def _starts(self, fields: int) -> State:
        p, rng = self.pitch, self._rng
        room = np.array([p.half_width, p.half_length]) - 0.5
        car, ball = rng.uniform(-room, room, (fields, 2)), rng.uniform(-room, room, (fields, 2))
        # Car and ball never start inside each other.
        near = np.linalg.norm(car - ball, axis=1) < 2 * (p.car_radius + p.ball_radius)
        ball = np.where(near[:, None], -np.sign(car) * room / 2, ball)
        return State(
            car=car,
            heading=rng.uniform(-np.pi, np.pi, fields),
            speed=np.zeros(fields),
            ball=ball,
            ball_velocity=np.zeros((fields, 2)),
            clock=np.zeros(fields, dtype=np.int64),
        )


def advance(state: State, actions: NDArray[np.int64], pitch: Pitch) -> Moment:
    """One step of N fields: the car drives, hits, the ball rolls, bounces or crosses a goal line."""
    p = pitch
    throttle, steer = actions // 3 - 1, actions % 3 - 1
    pushed = state.speed + throttle * p.acceleration * p.step
    speed = np.clip(pushed * (1 - p.car_drag * p.step), -p.car_speed, p.car_speed)
    heading = state.heading + steer * p.turn * p.step * speed / p.car_speed
    velocity = speed[:, None] * np.stack((np.cos(heading), np.sin(heading)), axis=1)
    room = np.array([p.half_width, p.half_length]) - p.car_radius
    wanted = state.car + velocity * p.step
    car = np.clip(wanted, -room, room)
    speed = np.where((car != wanted).any(1), speed / 2, speed)
    ball, ball_velocity, touched = _hit(car, velocity, state.ball, state.ball_velocity, p)
    ball_velocity = ball_velocity * (1 - p.ball_drag * p.step)
    fast = np.linalg.norm(ball_velocity, axis=1, keepdims=True)
    ball_velocity = ball_velocity * np.minimum(1.0, p.ball_speed / np.maximum(fast, 1e-9))
    ball, ball_velocity, goal = _roll(ball, ball_velocity, p)
    clock = state.clock + 1
    after = State(car, heading, speed, ball, ball_velocity, clock)
    return Moment(after, goal, touched, (clock >= p.steps) & (goal == 0))


def _hit(
    car: Array, velocity: Array, ball: Array, ball_velocity: Array, p: Pitch
) -> tuple[Array, Array, NDArray[np.bool_]]:
    """The ball leaves a heavy car along the line of their centres."""
    way = ball - car
    distance = np.linalg.norm(way, axis=1, keepdims=True)
    normal = np.where(distance > 1e-9, way / np.maximum(distance, 1e-9), np.array([0.0, 1.0]))
    overlap = p.car_radius + p.ball_radius - distance
    touched = overlap[:, 0] > 0
    closing = ((velocity - ball_velocity) * normal).sum(1, keepdims=True)
    gained = np.where(touched[:, None], (1 + p.bounce) * np.maximum(closing, 0.0) * normal, 0.0)
    moved = np.where(touched[:, None], ball + normal * overlap, ball)
    return moved, ball_velocity + gained, touched


def _roll(ball: Array, velocity: Array, p: Pitch) -> tuple[Array, Array, NDArray[np.int64]]:
    """The ball moves; walls throw it back, and through a goal's mouth its centre may pass the line."""
    moved = ball + velocity * p.step
    edge = np.array([p.half_width, p.half_length]) - p.ball_radius
    inside_mouth = np.abs(moved[:, 0]) < p.half_goal
    goal = np.where(inside_mouth & (np.abs(moved[:, 1]) >= p.half_length), np.sign(moved[:, 1]), 0).astype(np.int64)
    over = np.abs(moved) > edge
    over[:, 1] &= ~inside_mouth
    outwards = over & (velocity * moved > 0)
    back = np.sign(moved) * (2 * edge - np.abs(moved))
    # A ball that a car presses through a wall stays at the wall.
    place = np.where(over, np.clip(back, -edge, edge), moved)
    return place, np.where(outwards, -p.bounce * velocity, velocity), goal
