"""The car and the ball: driving, hitting, bouncing and scoring."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from guerdon.control.car_ball_task import CarBallTask
from guerdon.control.worlds.car_ball import CarBall, Pitch, State, advance
from guerdon.shape.potential import shaping

STILL, FORWARD, BACK = 4, 7, 1


def field(**changes: object) -> State:
    start = State(
        car=np.array([[0.0, -1.0]]),
        heading=np.array([np.pi / 2]),
        speed=np.zeros(1),
        ball=np.array([[1.0, 1.0]]),
        ball_velocity=np.zeros((1, 2)),
        clock=np.zeros(1, dtype=np.int64),
    )
    return replace(start, **changes)  # type: ignore[arg-type]


def test_a_car_drives_along_its_heading_and_turns() -> None:
    pitch = Pitch()
    state = field()
    for _ in range(4):
        state = advance(state, np.array([FORWARD]), pitch).after
    assert state.car[0, 0] == pytest.approx(0, abs=1e-12)
    assert state.car[0, 1] > -1
    assert 0 < state.speed[0] <= pitch.car_speed
    left = advance(replace(state, speed=np.ones(1)), np.array([FORWARD + 1]), pitch).after
    right = advance(replace(state, speed=np.ones(1)), np.array([FORWARD - 1]), pitch).after
    assert left.heading[0] > np.pi / 2 > right.heading[0]
    assert advance(field(), np.array([BACK]), pitch).after.speed[0] < 0
    # Who stands cannot turn.
    assert advance(field(), np.array([STILL + 1]), pitch).after.heading[0] == np.pi / 2


def test_a_hit_sends_the_ball_away_along_the_line_of_centres() -> None:
    moment = advance(field(ball=np.array([[0.0, -0.65]]), speed=np.array([2.0])), np.array([FORWARD]), Pitch())
    assert moment.touched.tolist() == [True]
    assert moment.after.ball_velocity[0, 1] > 2.0
    assert moment.after.ball_velocity[0, 0] == pytest.approx(0)
    away = np.linalg.norm(moment.after.ball - moment.after.car)
    assert away >= 2 * 0.2 - 1e-9
    apart = advance(field(), np.array([FORWARD]), Pitch())
    assert apart.touched.tolist() == [False]


def test_walls_throw_the_ball_back_with_less_speed() -> None:
    pitch = Pitch()
    moment = advance(field(ball=np.array([[1.3, 0.5]]), ball_velocity=np.array([[3.0, 0.0]])), np.array([STILL]), pitch)
    slowed = 3.0 * (1 - pitch.ball_drag * pitch.step)
    assert moment.after.ball_velocity[0, 0] == pytest.approx(-pitch.bounce * slowed)
    assert moment.after.ball[0, 0] <= pitch.half_width - pitch.ball_radius + 1e-12


@pytest.mark.parametrize(("end", "x", "expected"), [(1, 0.0, 1), (-1, 0.0, -1), (1, 1.2, 0)])
def test_goals_are_between_the_posts(end: int, x: float, expected: int) -> None:
    state = field(ball=np.array([[x, end * 1.79]]), ball_velocity=np.array([[0.0, end * 5.0]]))
    moment = advance(state, np.array([STILL]), Pitch())
    assert moment.goal.tolist() == [expected]
    assert moment.done.tolist() == [expected != 0]


def test_nothing_leaves_the_pitch_and_episodes_end_in_time() -> None:
    world = CarBall(64, Pitch(steps=30), seed=1)
    rng = np.random.default_rng(0)
    goals, timeouts = 0, 0
    for _ in range(300):
        before = world.state
        moment = world.step(rng.choice([FORWARD - 1, FORWARD, FORWARD + 1, BACK], 64))
        after = moment.after
        assert (np.abs(after.car) <= [1.4 + 1e-9, 1.8 + 1e-9]).all()
        inside = moment.goal == 0
        assert (np.abs(after.ball[inside]) <= [1.6, 2.0]).all()
        assert np.linalg.norm(after.ball_velocity, axis=1).max() <= 6 + 1e-9
        assert (after.clock == before.clock + 1).all()
        assert (world.state.clock[moment.done] == 0).all()
        assert np.array_equal(world.state.car[~moment.done], after.car[~moment.done])
        goals, timeouts = goals + int((moment.goal != 0).sum()), timeouts + int(moment.timeout.sum())
    assert goals > 0
    assert timeouts > 0
    assert world.observe(world.state).shape == (64, 30)
    assert np.isfinite(world.observe(world.state)).all()


def test_a_course_depends_on_seed_and_actions_alone() -> None:
    one, two = CarBall(5, seed=3), CarBall(5, seed=3)
    for _ in range(20):
        assert np.array_equal(one.step([FORWARD] * 5).after.ball, two.step([FORWARD] * 5).after.ball)
    assert not np.array_equal(one.state.car, CarBall(5, seed=4).state.car)


def test_mirrored_fields_move_alike() -> None:
    state = CarBall(30, seed=2).state
    actions = np.random.default_rng(1).integers(0, 9, 30)
    here, there = advance(state, actions, Pitch()), advance(state.mirrored(), actions, Pitch())
    assert there.after.ball == pytest.approx(-here.after.ball, abs=1e-9)
    assert there.after.car == pytest.approx(-here.after.car, abs=1e-9)
    assert np.array_equal(there.goal, -here.goal)


def test_rewards_are_goals_and_the_difference_of_the_potential() -> None:
    rng = np.random.default_rng(5)
    for kind in ("none", "linear", "krc"):
        task = CarBallTask(CarBall(40, Pitch(steps=25), seed=0), kind, gamma=0.9, weight=2.0)
        reference = CarBall(40, Pitch(steps=25), seed=0)
        ended = 0
        for _ in range(60):
            actions = rng.integers(0, 9, 40)
            before = task.potential(reference.state)
            seen, moment = task.act(torch.from_numpy(actions)), reference.step(actions)
            goal = torch.from_numpy(moment.goal)
            hint = shaping(task.potential(moment.after), before, 0.9, terminal_zero=goal != 0)
            expected = torch.where(goal > 0, 1.0, 0.0) - torch.where(goal < 0, 0.3, 0.0) + 2.0 * hint
            assert seen.reward.tolist() == pytest.approx(expected.tolist(), abs=1e-6)
            assert torch.equal(seen.done, torch.from_numpy(moment.done))
            assert not (seen.timeout & (goal != 0)).any()
            ended += int(seen.timeout.sum())
        assert ended > 0
    with pytest.raises(ValueError, match="potential is 'sum'"):
        CarBallTask(CarBall(1), "sum")


def test_driving_away_facing_wrong_is_never_rewarded_by_krc() -> None:
    """The plain product of two negative components would be."""
    task = CarBallTask(CarBall(500, seed=0), "krc")
    state = replace(task.world.state, speed=np.random.default_rng(0).uniform(-2, 2, 500))
    parts = task.components(state)
    both = (parts[:, 0] < 0) & (parts[:, 1] < 0)
    assert both.any()
    assert (parts[both].prod(-1) > 0).all()
    assert (task.potential(state)[both] < 0).all()


def test_wrong_actions_are_refused() -> None:
    world = CarBall(2)
    for wrong in ([1], [1, 9], [0.5, 1.0]):
        with pytest.raises(ValueError, match="expected 2 integers"):
            world.step(wrong)
    with pytest.raises(ValueError, match="fields is 0"):
        CarBall(0)
