"""Pre-training flows for all outcomes, and turning them into the sampler of a reward (OC-GFN, arXiv 2310.03419).

Where this differs from the paper: the positives of pre-training are uniform backward walks from random objects, in the
place of walks of a second network that explores; and graphs are small enough for a policy of all states to be put in a
table at each step, so that walks cost look-ups.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from guerdon.control.dags import Dag, backward_walks, sample_walks
from guerdon.control.flow_balance import (
    FLOOR,
    Walks,
    amortised_residual,
    check_log_reward,
    contrastive_loss,
    convert_policy,
)

METHODS = ("db", "contrastive")


def _network(inputs: int, outputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, outputs)
    )


class OutcomeConditionedGFN(nn.Module):
    """Flows and a forward policy for every outcome; the backward policy is uniform over parents.

    Args:
        dag: The graph.
        width: Of the two hidden layers.
    """

    def __init__(self, dag: Dag, width: int = 128) -> None:
        super().__init__()
        self.dag = dag
        self.body = _network(2 * dag.features.shape[1], 1 + dag.actions, width)

    def forward(self, state: Tensor, outcome: Tensor) -> tuple[Tensor, Tensor]:
        """Log F(s | y) (...,) and log P_F(. | s, y) (..., A) of states and outcomes, both (...,) int64."""
        features = self.dag.features
        found = self.body(torch.cat([features[state], features[outcome]], -1))
        logits = found[..., 1:].masked_fill(~self.dag.mask[state], -torch.inf)
        return found[..., 0], torch.log_softmax(logits, -1)

    def log_flow(self, state: Tensor, outcome: Tensor) -> Tensor:
        """Log F(s | y)."""
        return self(state, outcome)[0]  # type: ignore[no-any-return]

    def log_pf(self, state: Tensor, outcome: Tensor) -> Tensor:
        """Log P_F(. | s, y), -inf for actions that there are not."""
        return self(state, outcome)[1]  # type: ignore[no-any-return]

    @torch.no_grad()
    def table(self, outcomes: Tensor) -> tuple[Tensor, Tensor]:
        """Log F (Y, S) and log P_F (Y, S, A), float64, of all states for given outcomes."""
        states = torch.arange(self.dag.states).expand(len(outcomes), -1)
        flow, policy = self(states, outcomes[:, None].expand_as(states))
        return flow.double(), policy.double()

    def walks(self, states: Tensor, actions: Tensor, outcome: Tensor, reached: Tensor) -> Walks:
        """The edges of walks (B, T) that were asked for outcomes (B,)."""
        mask = states >= 0
        here = states.clamp(min=0)
        flow, policy = self(here, outcome[:, None].expand_as(here))
        taken = policy.gather(-1, actions.clamp(min=0)[..., None])[..., 0]
        final = actions == self.dag.actions - 1
        following = torch.cat([here[:, 1:], here[:, -1:]], 1)
        after = torch.cat([flow[:, 1:], flow[:, -1:]], 1)
        back = self.dag.log_pb.to(flow.dtype)[following]
        zero = torch.zeros_like(flow)
        return Walks(
            flow,
            torch.where(mask, taken, zero),
            torch.where(final | ~mask, zero, after),
            torch.where(final | ~mask, zero, back),
            mask,
            reached,
        )


def pretrain(
    dag: Dag,
    steps: int,
    seed: int,
    *,
    method: str = "contrastive",
    negatives: str = "terminal",
    batch: int = 16,
    rate: float = 1e-3,
    width: int = 128,
    explore: float = 0.1,
    eps: float = FLOOR,
) -> OutcomeConditionedGFN:
    """Learn to reach every object on request; no reward of a task is used.

    Args:
        dag: The graph.
        steps: Updates, of 2 * batch walks each.
        seed: Of everything.
        method: "contrastive" = `batch` walks to random objects, drawn backward, and as many of the model's own for the
            same objects; "db" = 2 * batch walks of the model's own for random objects.
        negatives: "terminal" or "teleport"; see `Walks.residuals`.
        batch: See above.
        rate: Of Adam.
        width: Of the hidden layers.
        explore: Share of random actions in own walks of "db".
        eps: Stands for a reward of 0.

    Raises:
        ValueError: An unknown method, or `steps` below 1.
    """
    if method not in METHODS or steps < 1:
        raise ValueError(f"method {method!r}, steps {steps}: expected one of {METHODS}, and at least 1")
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = OutcomeConditionedGFN(dag, width)
    adam = torch.optim.Adam(model.parameters(), lr=rate)
    number = batch if method == "contrastive" else 2 * batch
    for _ in range(steps):
        drawn = torch.randint(len(dag.outcomes), (number,), generator=generator)
        outcome = dag.outcomes[drawn]
        law = _explored(model.table(outcome)[1].exp(), dag, explore if method == "db" else 0.0)
        states, actions, ended = sample_walks(dag, law, generator)
        own = model.walks(states, actions, outcome, ended == outcome)
        if method == "db":
            loss = (own.residuals(negatives, eps) ** 2).sum(1).mean()
        else:
            towards = backward_walks(dag, outcome, generator)
            loss = contrastive_loss(model.walks(*towards, outcome, torch.ones_like(own.reached)), own, negatives, eps)
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
    return model


def _explored(law: Tensor, dag: Dag, share: float) -> Tensor:
    uniform = dag.mask.double() / dag.mask.sum(1, keepdim=True)
    return (1.0 - share) * law + share * uniform


def success(model: OutcomeConditionedGFN) -> float:
    """The exact chance of ending in the object that is asked for, the mean over all objects."""
    from guerdon.control.dags import ends

    _, log_pf = model.table(model.dag.outcomes)
    found = [ends(model.dag, policy.exp())[y] for policy, y in zip(log_pf, model.dag.outcomes.tolist(), strict=True)]
    return float(torch.stack(found).mean())


@dataclass(frozen=True, eq=False)
class Sampler:
    """A policy in a table that builds objects.

    Attributes:
        dag: The graph.
        policy: (S, A) float64 probabilities.
    """

    dag: Dag
    policy: Tensor

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """(n,) int64 objects."""
        return sample_walks(self.dag, self.policy.expand(n, -1, -1), generator)[2]


def convert(model: OutcomeConditionedGFN, log_r: Tensor) -> Sampler:
    """The sampler of a reward by the exact sum over all objects.

    Args:
        model: Pre-trained.
        log_r: (Y,) log-rewards of `dag.outcomes`; -inf = 0.

    Raises:
        ValueError: See `convert_policy`.
    """
    log_flow, log_pf = model.table(model.dag.outcomes)
    return Sampler(model.dag, convert_policy(log_flow, log_pf, log_r.double()))


class _Amortised(nn.Module):
    """N(s' | s), and Q(y | s', s) over all objects."""

    def __init__(self, dag: Dag, width: int) -> None:
        super().__init__()
        self.dag = dag
        self.numerator = _network(dag.features.shape[1], dag.actions, width)
        self.posterior = _network(dag.features.shape[1] + dag.actions, len(dag.outcomes), width)

    def log_n(self) -> Tensor:
        """(S, A), -inf for actions that there are not."""
        found: Tensor = self.numerator(self.dag.features)
        return found.masked_fill(~self.dag.mask, -torch.inf)

    def log_q(self, state: Tensor, action: Tensor) -> Tensor:
        """(B, Y)."""
        one_hot = nn.functional.one_hot(action, self.dag.actions).float()
        found: Tensor = self.posterior(torch.cat([self.dag.features[state], one_hot], -1))
        return torch.log_softmax(found, -1)


def adapt(
    model: OutcomeConditionedGFN,
    log_r: Tensor,
    steps: int,
    seed: int,
    *,
    batch: int = 16,
    rate: float = 1e-3,
    width: int = 128,
    explore: float = 0.05,
    eps: float = FLOOR,
) -> Sampler:
    """The sampler of a reward without the sum over all objects: two small networks, the pre-trained one frozen.

    Args:
        model: Pre-trained; it is not changed.
        log_r: (Y,) log-rewards of `dag.outcomes`; -inf = 0.
        steps: Updates, of `batch` walks of the current sampler each.
        seed: Of everything.
        batch: See above.
        rate: Of Adam.
        width: Of the hidden layers.
        explore: Share of random actions in walks, and of random objects among those that residuals are taken at.
        eps: Rewards below it count as it.

    Raises:
        ValueError: Rewards that are not finite or all 0, or `steps` below 1.
    """
    check_log_reward(log_r)
    if steps < 1:
        raise ValueError(f"steps is {steps}: expected at least 1")
    dag = model.dag
    frozen = copy.deepcopy(model).requires_grad_(False)
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    networks = _Amortised(dag, width)
    adam = torch.optim.Adam(networks.parameters(), lr=rate)
    reward = log_r.float().clamp(min=torch.tensor(eps).log())
    place = torch.full((dag.states,), -1)
    place[dag.outcomes] = torch.arange(len(dag.outcomes))
    for _ in range(steps):
        log_n = networks.log_n()
        law = _explored(torch.softmax(log_n.detach().double(), -1), dag, explore)
        states, actions, ended = sample_walks(dag, law.expand(batch, -1, -1), generator)
        mask = states >= 0
        state, action = states[mask], actions[mask]
        log_q = networks.log_q(state, action)
        met = place[ended][:, None].expand(mask.shape)[mask]
        own = torch.multinomial(log_q.detach().exp(), 1, generator=generator)[:, 0]
        other = torch.randint(len(dag.outcomes), met.shape, generator=generator)
        loss = log_n.new_zeros(())
        # The walk's own end surely has flow here; the posterior's draw and a random object cover the others.
        for chosen in (met, own, other):
            flow, policy = frozen(state, dag.outcomes[chosen])
            taken = policy.gather(-1, action[:, None])[:, 0]
            gathered = log_q.gather(1, chosen[:, None])[:, 0]
            residual = amortised_residual(log_n[state, action], gathered, reward[chosen], flow, taken)
            loss = loss + (residual**2).mean()
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
    return Sampler(dag, torch.softmax(networks.log_n().detach().double(), -1))


def from_scratch(
    dag: Dag,
    log_r: Tensor,
    steps: int,
    seed: int,
    *,
    batch: int = 16,
    rate: float = 1e-3,
    width: int = 128,
    explore: float = 0.05,
    eps: float = FLOOR,
) -> Sampler:
    """A sampler of a reward that is learnt without pre-training, by detailed balance on its own walks.

    Arguments and errors as for `adapt`.
    """
    check_log_reward(log_r)
    if steps < 1:
        raise ValueError(f"steps is {steps}: expected at least 1")
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    network = _network(dag.features.shape[1], 1 + dag.actions, width)
    adam = torch.optim.Adam(network.parameters(), lr=rate)
    reward = torch.zeros(dag.states)
    reward[dag.outcomes] = log_r.float().clamp(min=torch.tensor(eps).log())
    for _ in range(steps):
        found = network(dag.features)
        policy = torch.log_softmax(found[:, 1:].masked_fill(~dag.mask, -torch.inf), -1)
        law = _explored(policy.detach().double().exp(), dag, explore)
        states, actions, _ = sample_walks(dag, law.expand(batch, -1, -1), generator)
        mask = states >= 0
        state, action = states[mask], actions[mask]
        final = action == dag.actions - 1
        after = dag.children[state, action.clamp(max=dag.actions - 2)]
        target = torch.where(final, reward[state], found[after, 0] + dag.log_pb.float()[after])
        loss = ((found[state, 0] + policy[state, action] - target) ** 2).sum() / batch
        adam.zero_grad()
        loss.backward()
        adam.step()
    table = torch.log_softmax(network(dag.features).detach()[:, 1:].masked_fill(~dag.mask, -torch.inf), -1)
    return Sampler(dag, table.double().exp())
