from __future__ import annotations

import math

import pytest
import torch

from guerdon.control.dags import Dag, backward_walks, ends, exact_flows, hyper_grid, sample_walks, sequences
from guerdon.control.flow_balance import (
    Walks,
    amortised_residual,
    contrastive_loss,
    convert_policy,
    db_residual,
    ot_residual,
    outcome_posterior,
)
from guerdon.control.gflownet import OutcomeConditionedGFN, adapt, convert, from_scratch, pretrain, success

INF = math.inf


def diamond():
    """Root 0, a = 1, b = 2, ab = 3; one may stop in a, b and ab."""
    children = torch.tensor([[1, 2], [3, -1], [-1, 3], [-1, -1]])
    return Dag(children, torch.tensor([False, True, True, True]), torch.eye(4))


def flows(dag):
    found = [exact_flows(dag, outcome) for outcome in dag.outcomes.tolist()]
    return torch.stack([flow for flow, _ in found]), torch.stack([policy for _, policy in found])


def test_the_diamond_by_hand():
    dag = diamond()
    log_flow, log_pf = flows(dag)
    assert log_flow[2].exp().tolist() == pytest.approx([1.0, 0.5, 0.5, 1.0])
    log_r = torch.tensor([2.0, 1.0, 4.0], dtype=torch.float64).log()
    policy = convert_policy(log_flow, log_pf, log_r)
    assert policy[0].tolist() == pytest.approx([4 / 7, 3 / 7, 0.0])
    assert policy[1].tolist() == pytest.approx([0.5, 0.0, 0.5])
    assert policy[2].tolist() == pytest.approx([0.0, 2 / 3, 1 / 3])
    assert policy[3].tolist() == pytest.approx([0.0, 0.0, 1.0])
    assert ends(dag, policy).tolist() == pytest.approx([0.0, 2 / 7, 1 / 7, 4 / 7])
    posterior = outcome_posterior(log_flow, log_pf, log_r)
    assert posterior[0, 0].tolist() == pytest.approx([0.5, 0.0, 0.5])
    assert posterior[0, 1].tolist() == pytest.approx([0.0, 1 / 3, 2 / 3])
    half = torch.tensor([0.5], dtype=torch.float64).log()
    zero = torch.zeros(1, dtype=torch.float64)
    assert float(ot_residual(zero, half, zero, half, torch.tensor([False]))) == pytest.approx(11.512925, abs=1e-6)
    assert float(ot_residual(zero, half, zero, half, torch.tensor([True]))) == 0.0


@pytest.mark.parametrize("dag", [hyper_grid(4), hyper_grid(3, 3), sequences(4), sequences(2, 3), diamond()])
def test_exact_flows_balance_and_reach_their_outcome(dag):
    for outcome in dag.outcomes[:: max(len(dag.outcomes) // 5, 1)].tolist():
        flow, policy = exact_flows(dag, outcome)
        assert float(flow[0]) == pytest.approx(0.0, abs=1e-12)
        assert float(ends(dag, policy.exp())[outcome]) == pytest.approx(1.0)
        for state in range(dag.states):
            for action, child in enumerate(dag.children[state].tolist()):
                if child >= 0 and flow[child] > -INF:
                    residual = db_residual(flow[state], policy[state, action], flow[child], dag.log_pb[child])
                    assert float(residual) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("dag", [hyper_grid(4), sequences(3)])
def test_a_converted_policy_ends_in_proportion_to_the_reward(dag):
    draw = torch.Generator().manual_seed(0)
    log_flow, log_pf = flows(dag)
    reward = torch.rand(len(dag.outcomes), generator=draw, dtype=torch.float64) ** 4
    reward[1] = 0.0
    policy = convert_policy(log_flow, log_pf, reward.log())
    torch.testing.assert_close(ends(dag, policy)[dag.outcomes], reward / reward.sum())
    torch.testing.assert_close(convert_policy(log_flow, log_pf, (7 * reward).log()), policy)
    equal = ends(dag, convert_policy(log_flow, log_pf, torch.zeros_like(reward)))[dag.outcomes]
    torch.testing.assert_close(equal, torch.full_like(reward, 1 / len(reward)))
    one = torch.full_like(reward, -INF)
    one[2] = 0.0
    passed = log_flow[2] > -INF
    torch.testing.assert_close(convert_policy(log_flow, log_pf, one)[passed], log_pf[2].exp()[passed])
    # Where no outcome with a reward passes there is no policy.
    assert float(convert_policy(log_flow, log_pf, one)[~passed].abs().sum()) == 0.0
    # The numerators of a state sum to its flow, at the source to the sum of rewards.
    numerator = (reward.log()[:, None, None] + log_flow[:, :, None] + log_pf).exp().sum(0)
    assert float(numerator[0].sum()) == pytest.approx(float(reward.sum()))


def test_far_flows_stay_finite():
    log_flow = torch.full((2, 1), -200.0, dtype=torch.float64)
    log_pf = torch.tensor([[[0.5, 0.5]], [[0.25, 0.75]]], dtype=torch.float64).log()
    policy = convert_policy(log_flow, log_pf, torch.tensor([-500.0, -500.0], dtype=torch.float64))
    assert policy[0].tolist() == pytest.approx([0.375, 0.625])


def test_rewards_that_are_none_are_refused():
    log_flow, log_pf = flows(diamond())
    with pytest.raises(ValueError, match="-inf everywhere"):
        convert_policy(log_flow, log_pf, torch.full((3,), -INF))
    with pytest.raises(ValueError, match="NaN"):
        convert_policy(log_flow, log_pf, torch.tensor([0.0, math.nan, 0.0]))
    with pytest.raises(ValueError, match="shapes"):
        convert_policy(log_flow, log_pf, torch.zeros(2))


def test_the_amortised_residual_is_zero_at_the_sum_and_the_posterior():
    dag = diamond()
    log_flow, log_pf = flows(dag)
    log_r = torch.tensor([2.0, 1.0, 4.0], dtype=torch.float64).log()
    numerator = torch.logsumexp(log_r[:, None, None] + log_flow[:, :, None] + log_pf, 0)
    posterior = outcome_posterior(log_flow, log_pf, log_r)
    for y in (0, 2):
        residual = amortised_residual(
            numerator[0, 0], posterior[0, 0, y].log(), log_r[y], log_flow[y, 0], log_pf[y, 0, 0]
        )
        assert float(residual) == pytest.approx(0.0, abs=1e-12)


def test_walks_are_walks_of_the_graph():
    dag = hyper_grid(4)
    draw = torch.Generator().manual_seed(0)
    law = (dag.mask.double() / dag.mask.sum(1, keepdim=True)).expand(200, -1, -1)
    for states, actions, ended in (
        sample_walks(dag, law, draw),
        (*backward_walks(dag, dag.outcomes.repeat(10), draw), dag.outcomes.repeat(10)),
    ):
        mask = states >= 0
        assert bool((states[:, 0] == 0).all())
        for walk, taken, end, length in zip(states, actions, ended, mask.sum(1).tolist(), strict=True):
            assert not bool((walk[length:] >= 0).any())
            assert int(taken[length - 1]) == dag.actions - 1
            assert int(walk[length - 1]) == int(end)
            for place in range(length - 1):
                assert int(dag.children[walk[place], taken[place]]) == int(walk[place + 1])


def test_backward_walks_are_uniform_over_parents():
    dag = hyper_grid(2)
    states, _ = backward_walks(dag, torch.full((4000,), 3), torch.Generator().manual_seed(0))
    assert float((states[:, 1] == 1).double().mean()) == pytest.approx(0.5, abs=0.03)


def test_losses_by_hand():
    balanced = Walks(*(torch.zeros(1, 2) for _ in range(4)), torch.ones(1, 2, dtype=torch.bool), torch.tensor([True]))
    failed = Walks(*(torch.zeros(1, 2) for _ in range(4)), balanced.mask, torch.tensor([False]))
    floor = math.log(1e-5)
    assert float(contrastive_loss(balanced, balanced)) == 0.0
    assert float(contrastive_loss(balanced, failed)) == pytest.approx(floor**2, rel=1e-6)
    assert float(contrastive_loss(balanced, failed, "teleport")) == pytest.approx(2 * floor**2, rel=1e-6)
    with pytest.raises(ValueError, match=r"pos.reached\[0\]"):
        contrastive_loss(failed, failed)
    with pytest.raises(ValueError, match="negatives is 'none'"):
        failed.residuals("none")


def test_a_model_of_exact_flows_has_no_loss():
    """The edges that a model hands to the loss are those of the graph."""
    dag = diamond()
    log_flow, log_pf = flows(dag)
    model = OutcomeConditionedGFN(dag)
    place = {int(outcome): row for row, outcome in enumerate(dag.outcomes)}
    model.forward = lambda state, outcome: (  # type: ignore[method-assign]
        log_flow[[[place[int(y)] for y in row] for row in outcome], state],
        log_pf[[[place[int(y)] for y in row] for row in outcome], state],
    )
    outcome = torch.tensor([3, 3, 1])
    walks = model.walks(*backward_walks(dag, outcome, torch.Generator().manual_seed(1)), outcome, outcome > 0)
    assert float(contrastive_loss(walks, walks)) == pytest.approx(0.0, abs=1e-12)


def test_a_small_grid_is_learnt_converted_and_adapted_to():
    dag = hyper_grid(3)
    model = pretrain(dag, 400, 0, width=32, rate=5e-3)
    assert success(model) > 0.9
    reward = torch.arange(1.0, 10.0)
    truth = (reward / reward.sum()).double()

    def distance(sampler):
        return float((ends(dag, sampler.policy)[dag.outcomes] - truth).abs().sum())

    uniform = float((torch.full((9,), 1 / 9, dtype=torch.float64) - truth).abs().sum())
    assert distance(convert(model, reward.log())) < 0.5 * uniform
    assert distance(adapt(model, reward.log(), 400, 0, width=32, rate=5e-3)) < uniform
    assert distance(from_scratch(dag, reward.log(), 400, 0, width=32, rate=5e-3)) < 0.5 * uniform
    again = pretrain(dag, 5, 0, width=8)
    same = pretrain(dag, 5, 0, width=8)
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), same.parameters(), strict=True))


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="larger numbers"):
        Dag(torch.tensor([[0]]), torch.tensor([True]), torch.zeros(1, 1))
    with pytest.raises(ValueError, match="state 1 has no action"):
        Dag(torch.tensor([[1], [-1]]), torch.tensor([True, False]), torch.zeros(2, 1))
    with pytest.raises(ValueError, match="outcome is 0"):
        exact_flows(diamond(), 0)
    with pytest.raises(ValueError, match="method 'x'"):
        pretrain(diamond(), 1, 0, method="x")
