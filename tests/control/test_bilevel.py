from __future__ import annotations

import math

import pytest
import torch

from guerdon.control.bilevel import (
    Episodes,
    blended_reward,
    curvature_product,
    hypergradient,
    inner_direction,
    primary_gradient,
    returns_to_go,
    solve_inverse,
)
from guerdon.control.bilevel_tables import (
    Task,
    exact_hypergradient,
    expected_inner_update,
    fixed_point,
    primary_return,
)

D = torch.float64


def table(value):
    return torch.tensor(value, dtype=D)


def bandit():
    return Task(table([[[1.0], [1.0]]]), table([1.0]), table([[2.0, 0.0]]), table([[0.0, 3.0]]), 1, 0.9)


def two_states():
    transitions = table([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]])
    return Task(
        transitions, table([1.0, 0.0]), table([[0.0, 0.0], [1.0, 0.0]]), table([[0.6, 0.0], [0.0, 0.0]]), 3, 0.9
    )


def random_task(seed, states=3, actions=3, horizon=4, gamma=0.9):
    draw = torch.Generator().manual_seed(seed)
    transitions = torch.rand(states, actions, states, generator=draw, dtype=D)
    primary, auxiliary = (torch.randn(states, actions, generator=draw, dtype=D) for _ in range(2))
    start = torch.rand(states, generator=draw, dtype=D)
    return Task(
        transitions / transitions.sum(-1, keepdim=True), start / start.sum(), primary, auxiliary, horizon, gamma
    )


def test_a_bandit_by_hand():
    task, phi = bandit(), (torch.zeros(1, 2, dtype=D), 1.0, 1.0)
    theta = fixed_point(task, phi, 0.9, 0.5)
    assert theta.tolist() == pytest.approx([-2.0])
    assert float(task.log_policy(theta).exp()[0, 0]) == pytest.approx(0.119203, abs=1e-6)
    assert float(primary_return(theta, task)) == pytest.approx(0.238406, abs=1e-6)
    (first, second, third), discount = exact_hypergradient(theta, task, phi, 0.9, 0.5, gamma_penalty=0.25)
    assert first[0].tolist() == pytest.approx([0.419974, -0.419974], abs=1e-6)
    assert float(second) == pytest.approx(0.839949, abs=1e-6)
    assert float(third) == pytest.approx(-1.259923, abs=1e-6)
    assert discount == pytest.approx(-0.25)


def test_two_states_by_hand():
    task, phi = two_states(), (torch.zeros(2, 1, dtype=D), 1.0, 1.0)
    zero = torch.zeros(2, dtype=D)
    assert expected_inner_update(zero, task, phi, 0.9, 0.5).tolist() == pytest.approx([0.1747, 0.3125], abs=5e-5)
    theta = fixed_point(task, phi, 0.9, 0.5)
    assert theta.tolist() == pytest.approx([0.4989, 2.0], abs=5e-5)
    assert task.log_policy(theta).exp()[:, 0].tolist() == pytest.approx([0.6222, 0.8808], abs=5e-5)
    assert float(primary_return(theta, task)) == pytest.approx(0.7367, abs=5e-5)
    (first, second, third), discount = exact_hypergradient(theta, task, phi, 0.9, 0.5)
    assert first[:, 0].tolist() == pytest.approx([-0.9673, 0.9673], abs=5e-5)
    assert float(second) == pytest.approx(1.0277, abs=5e-5)
    assert float(third) == pytest.approx(-0.9549, abs=5e-5)
    assert discount == pytest.approx(0.4844, abs=5e-5)


@pytest.mark.parametrize("seed", range(4))
def test_the_implicit_gradient_is_that_of_differences(seed):
    task, entropy = random_task(seed), 0.4
    draw = torch.Generator().manual_seed(100 + seed)
    phi = [0.2 * torch.randn(3, 3, generator=draw, dtype=D), table(0.8), table(0.6)]
    gamma_phi = 0.7
    theta = fixed_point(task, phi, gamma_phi, entropy)
    (first, second, third), discount = exact_hypergradient(theta, task, phi, gamma_phi, entropy)

    def reached(changed, gamma=gamma_phi):
        return float(primary_return(fixed_point(task, changed, gamma, entropy, theta), task))

    step = 1e-5
    for part, gradient in ((1, second), (2, third)):
        ends = []
        for sign in (1, -1):
            changed = list(phi)
            changed[part] = phi[part] + sign * step
            ends.append(reached(changed))
        assert float(gradient) == pytest.approx((ends[0] - ends[1]) / (2 * step), abs=1e-5)
    for place in ((0, 0), (1, 2), (2, 1)):
        bump = torch.zeros(3, 3, dtype=D)
        bump[place] = step
        numeric = (reached([phi[0] + bump, *phi[1:]]) - reached([phi[0] - bump, *phi[1:]])) / (2 * step)
        assert float(first[place]) == pytest.approx(numeric, abs=1e-5)
    numeric = (reached(phi, gamma_phi + step) - reached(phi, gamma_phi - step)) / (2 * step)
    assert discount == pytest.approx(numeric, abs=1e-5)


def test_scaling_the_blend_and_the_entropy_changes_nothing():
    task = random_task(7)
    phi = (torch.zeros(3, 3, dtype=D), 1.0, 0.5)
    theta = fixed_point(task, phi, 0.8, 0.3)
    scaled = fixed_point(task, (phi[0] * 3, 3.0, 1.5), 0.8, 0.9)
    torch.testing.assert_close(theta, scaled)
    (first, second, third), _ = exact_hypergradient(theta, task, phi, 0.8, 0.3)
    step = 1e-5
    ends = [float(primary_return(fixed_point(task, phi, 0.8, 0.3 + sign * step, theta), task)) for sign in (1, -1)]
    along = float((phi[0] * first).sum()) + phi[1] * float(second) + phi[2] * float(third)
    assert along + 0.3 * (ends[0] - ends[1]) / (2 * step) == pytest.approx(0.0, abs=1e-5)


def test_a_heuristic_that_is_nowhere_has_no_gradient():
    task = random_task(3)
    silent = Task(task.transitions, task.start, task.primary, torch.zeros(3, 3, dtype=D), 4, 0.9)
    theta = fixed_point(silent, (0.0, 1.0, 1.0), 0.9, 0.3)
    assert float(exact_hypergradient(theta, silent, (table(0.0), 1.0, 1.0), 0.9, 0.3)[0][2]) == 0.0


def test_outer_steps_undo_a_heuristic_that_is_against_the_primary_reward():
    task = random_task(11, states=4, horizon=6)
    against = Task(task.transitions, task.start, task.primary, -2 * task.primary, 6, 0.9)
    phi, discount = [torch.zeros(4, 3, dtype=D), table(1.0), table(1.0)], 0.9
    theta = fixed_point(against, phi, discount, 0.3)
    before = float(primary_return(theta, against))
    for _ in range(10):
        parts, _ = exact_hypergradient(theta, against, phi, discount, 0.3)
        phi = [part + 0.05 * gradient for part, gradient in zip(phi, parts, strict=True)]
        theta = fixed_point(against, phi, discount, 0.3, theta)
    assert float(primary_return(theta, against)) > before + 0.5
    assert float(phi[2]) < 1.0


# --- solving --------------------------------------------------------------------------------------------------------


def test_all_methods_solve_the_same_system():
    draw = torch.Generator().manual_seed(0)
    matrix = -torch.eye(4, dtype=D) + 0.2 * torch.randn(4, 4, generator=draw, dtype=D)
    j = torch.randn(4, generator=draw, dtype=D)
    expected = torch.linalg.solve(matrix.T, j)
    transposed = {"transposed": lambda v: matrix @ v}
    for method, options in (
        ("exact", {}),
        ("neumann", {"terms": 400, "eta": 0.3}),
        ("cg", {"terms": 40, **transposed}),
    ):
        torch.testing.assert_close(solve_inverse(lambda v: matrix.T @ v, j, method, **options), expected)
    symmetric = (matrix + matrix.T) / 2
    found = solve_inverse(lambda v: symmetric @ v, j, "cg", terms=20)
    torch.testing.assert_close(found, torch.linalg.solve(symmetric, j))


def test_damping_solves_a_shifted_system():
    matrix = table([[-1.0, 0.5], [0.2, -2.0]])
    j = table([1.0, 1.0])
    expected = torch.linalg.solve(matrix.T - 0.3 * torch.eye(2, dtype=D), j)
    for method, options in (("exact", {}), ("neumann", {"terms": 300, "eta": 0.3}), ("cg", {"terms": 20})):
        more = {"transposed": lambda v: matrix @ v} if method == "cg" else {}
        found = solve_inverse(lambda v: matrix.T @ v, j, method, damping=0.3, **options, **more)
        torch.testing.assert_close(found, expected)


def test_no_terms_are_one_step_of_the_meta_gradient():
    j = table([1.0, -2.0])
    assert solve_inverse(lambda v: v * math.nan, j * 1.0, "neumann", terms=0, eta=0.25).tolist() == [-0.25, 0.5]


def test_solutions_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="singular"):
        solve_inverse(lambda v: v * 0.0, table([1.0, 1.0]), "exact")
    with pytest.raises(ValueError, match="not finite"):
        solve_inverse(lambda v: 1e200 * v, table([1.0]), "neumann", terms=10, eta=1.0)
    with pytest.raises(ValueError, match="method is 'lu'"):
        solve_inverse(lambda v: v, table([1.0]), "lu")


# --- from samples ---------------------------------------------------------------------------------------------------


def test_returns_are_discounted_and_differentiable_in_the_discount():
    gamma = torch.tensor(0.5, dtype=D, requires_grad=True)
    rewards = table([[1.0, 2.0, 4.0], [1.0, 1.0, 9.0]])
    mask = torch.tensor([[True, True, True], [True, True, False]])
    found = returns_to_go(rewards, mask, gamma)
    assert found.tolist() == [[3.0, 4.0, 4.0], [1.5, 1.0, 0.0]]
    found[0, 0].backward()
    assert float(gamma.grad) == pytest.approx(2.0 + 2 * 0.5 * 4.0)
    assert returns_to_go(rewards, mask, 0.0)[0].tolist() == [1.0, 2.0, 4.0]


def test_sampled_estimates_approach_the_exact_ones():
    task, entropy, gamma_phi = random_task(5, states=2, actions=2, horizon=3), 0.5, 0.7
    phi = (table([[0.3, 0.0], [0.0, -0.2]]), 0.9, 0.4)
    theta = 0.3 * torch.randn(task.size, generator=torch.Generator().manual_seed(2), dtype=D)
    episodes = task.sample(theta, 200_000, torch.Generator().manual_seed(0))
    on_table = (phi[0][episodes.state, episodes.action], *phi[1:])
    expected = expected_inner_update(theta, task, phi, gamma_phi, entropy)
    found = inner_direction(task.logprobs, theta, episodes, on_table, gamma_phi, entropy)
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0)
    point = theta.clone().requires_grad_(True)
    (j,) = torch.autograd.grad(primary_return(point, task), point)
    torch.testing.assert_close(primary_gradient(task.logprobs, theta, episodes, task.gamma), j, atol=0.02, rtol=0)
    jacobian = torch.autograd.functional.jacobian(
        lambda at: expected_inner_update(at, task, phi, gamma_phi, entropy), theta
    )
    product = curvature_product(task.logprobs, theta, episodes, on_table, gamma_phi, entropy)
    for direction in torch.eye(task.size, dtype=D):
        torch.testing.assert_close(product(direction), jacobian.T @ direction, atol=0.03, rtol=0)


def test_the_sampled_gradient_approaches_the_exact_one_at_a_fixed_point():
    task, entropy = random_task(6, states=2, actions=2, horizon=3), 0.6
    phi = (0.0, 1.0, 1.0)
    theta = fixed_point(task, phi, 0.8, entropy)
    exact, by_discount = exact_hypergradient(theta, task, phi, 0.8, entropy, gamma_penalty=0.1)
    draw = torch.Generator().manual_seed(1)
    data_in, data_out = (task.sample(theta, 200_000, draw) for _ in range(2))
    options = {"gamma": task.gamma, "entropy": entropy, "gamma_penalty": 0.1, "method": "exact"}
    found, discount, seen = hypergradient(task.logprobs, theta, phi, 0.8, data_in, data_out, **options)
    for ours, theirs in zip(found, exact, strict=True):
        assert float(ours) == pytest.approx(float(theirs), abs=0.1)
    assert discount == pytest.approx(by_discount, abs=0.1)
    assert seen["residual"] < 1e-8
    short = hypergradient(task.logprobs, theta, phi, 0.8, data_in, data_out, **options, largest=0.01)
    assert short[2]["x"] == pytest.approx(0.01)


def test_without_primary_rewards_nothing_moves():
    task = random_task(8)
    silent = Task(task.transitions, task.start, torch.zeros(3, 3, dtype=D), task.auxiliary, 4, 0.9)
    theta = torch.zeros(silent.size, dtype=D)
    data = silent.sample(theta, 50, torch.Generator().manual_seed(0))
    found, discount, seen = hypergradient(
        silent.logprobs, theta, (0.0, 1.0, 1.0), 0.5, data, data, gamma=0.9, entropy=0.1
    )
    assert [float(part) for part in found] == [0.0, 0.0, 0.0]
    assert discount == 0.0
    assert seen["j"] == 0.0


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="phi has 2 parts"):
        blended_reward((0.0, 1.0), table([1.0]), table([1.0]))
    with pytest.raises(ValueError, match="auxiliary has shape"):
        Episodes(*(torch.zeros(2, 3) for _ in range(3)), torch.zeros(2), torch.ones(2, 3, dtype=torch.bool))
    with pytest.raises(ValueError, match="entropy is 0"):
        fixed_point(bandit(), (0.0, 1.0, 1.0), 0.9, 0.0)
    data = bandit().sample(torch.zeros(1, dtype=D), 4, torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match=r"gamma_phi is 1\.0"):
        hypergradient(
            bandit().logprobs, torch.zeros(1, dtype=D), (0.0, 1.0, 1.0), 1.0, data, data, gamma=0.9, entropy=0.1
        )
