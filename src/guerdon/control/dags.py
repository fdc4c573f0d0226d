"""Directed acyclic graphs of states in which objects are built step by step, with exact flows.

State 0 is the source, and children have larger numbers than their parents. From every state that may be stopped in, a
last action ends the walk there: the object is the state. Backward, every parent is equally likely.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Dag:
    """A graph of states.

    Attributes:
        children: (S, A - 1) int64 state that each building action leads to, -1 = there is no such action.
        stops: (S,) bool, states that may be stopped in; action A - 1 stops.
        features: (S, D) float32 encodings of the states, for networks.
    """

    children: Tensor
    stops: Tensor
    features: Tensor

    def __post_init__(self) -> None:
        states = len(self.children)
        if self.stops.shape != (states,) or len(self.features) != states:
            raise ValueError(f"stops {tuple(self.stops.shape)}, features {tuple(self.features.shape)}: {states} states")
        own = torch.arange(states)[:, None]
        if bool(((self.children <= own) & (self.children != -1)).any()) or bool((self.children >= states).any()):
            raise ValueError("children must have larger numbers than their parents, below the number of states")
        if not bool(self.mask.any(1).all()):
            bad = int((~self.mask.any(1)).nonzero()[0])
            raise ValueError(f"state {bad} has no action: expected a child or that it may be stopped in")

    @property
    def states(self) -> int:
        """S."""
        return len(self.children)

    @property
    def actions(self) -> int:
        """A, the stop included."""
        return self.children.shape[1] + 1

    @cached_property
    def outcomes(self) -> Tensor:
        """(Y,) int64 states that may be stopped in: the objects."""
        return torch.nonzero(self.stops)[:, 0]

    @cached_property
    def mask(self) -> Tensor:
        """(S, A) bool, the actions that there are."""
        return torch.cat([self.children >= 0, self.stops[:, None]], 1)

    @cached_property
    def parents(self) -> Tensor:
        """(S,) int64, how many edges lead to each state."""
        reached = self.children[self.children >= 0]
        return torch.bincount(reached, minlength=self.states)

    @cached_property
    def log_pb(self) -> Tensor:
        """(S,) float64: -log of the number of parents; 0 at the source."""
        return -self.parents.clamp(min=1).double().log()

    @cached_property
    def incoming(self) -> Tensor:
        """(S, P) int64: edges s * (A - 1) + a that lead to each state, -1 = no more."""
        found: list[list[int]] = [[] for _ in range(self.states)]
        for edge, child in enumerate(self.children.flatten().tolist()):
            if child >= 0:
                found[child].append(edge)
        width = max(map(len, found), default=0)
        return torch.tensor([edges + [-1] * (width - len(edges)) for edges in found], dtype=torch.int64)


def hyper_grid(size: int, dimensions: int = 2) -> Dag:
    """Cells of a grid; an action adds 1 to a coordinate, and one may stop anywhere.

    Args:
        size: Cells along each dimension, at least 2.
        dimensions: At least 1.
    """
    if size < 2 or dimensions < 1:
        raise ValueError(f"size {size}, dimensions {dimensions}: expected at least 2 and 1")
    cells = torch.arange(size**dimensions)
    places = torch.stack([cells // size**axis % size for axis in reversed(range(dimensions))], 1)
    children = torch.stack(
        [
            torch.where(places[:, axis] + 1 < size, cells + size ** (dimensions - 1 - axis), -1)
            for axis in range(dimensions)
        ],
        1,
    )
    features = torch.nn.functional.one_hot(places, size).flatten(1).float()
    return Dag(children, torch.ones(len(cells), dtype=torch.bool), features)


def sequences(length: int, letters: int = 2) -> Dag:
    """Words of a length, letter after letter; one stops when the word is complete.

    Args:
        length: Letters of a word, at least 1.
        letters: Size of the alphabet, at least 2.
    """
    if length < 1 or letters < 2:
        raise ValueError(f"length {length}, letters {letters}: expected at least 1 and 2")
    counts = [letters**depth for depth in range(length + 1)]
    starts = [sum(counts[:depth]) for depth in range(length + 2)]
    children = torch.full((starts[-1], letters), -1)
    features = torch.zeros(starts[-1], length, letters)
    for depth in range(length + 1):
        word = torch.arange(counts[depth])
        here = starts[depth] + word
        if depth < length:
            children[here] = starts[depth + 1] + word[:, None] * letters + torch.arange(letters)
        for place in range(depth):
            letter = word // letters ** (depth - 1 - place) % letters
            features[here, place, letter] = 1.0
    stops = torch.arange(starts[-1]) >= starts[length]
    return Dag(children, stops, features.flatten(1))


def exact_flows(dag: Dag, outcome: int) -> tuple[Tensor, Tensor]:
    """The flows that lead every walk to one object, backward walks being uniform over parents.

    Args:
        dag: The graph.
        outcome: A state that may be stopped in.

    Returns:
        log F(s) (S,) and log P_F(a | s) (S, A), float64; -inf where no walk goes.

    Raises:
        ValueError: One cannot stop there.
    """
    if not bool(dag.stops[outcome]):
        raise ValueError(f"outcome is {outcome}: expected a state that may be stopped in")
    flow = torch.zeros(dag.states, dtype=torch.float64)
    edges = torch.zeros(dag.states, dag.actions, dtype=torch.float64)
    edges[outcome, -1] = 1.0
    back = dag.log_pb.exp()
    for state in reversed(range(dag.states)):
        for action, child in enumerate(dag.children[state].tolist()):
            if child >= 0:
                edges[state, action] = flow[child] * back[child]
        flow[state] = edges[state].sum()
    policy = torch.where(flow[:, None] > 0, edges / flow[:, None].clamp(min=1e-300), 0.0)
    return flow.log(), policy.log()


def ends(dag: Dag, policy: Tensor) -> Tensor:
    """(S,) float64: how likely a policy stops in each state.

    Args:
        dag: The graph.
        policy: (S, A) probabilities; rows that are never visited may be 0.
    """
    visits = torch.zeros(dag.states, dtype=torch.float64)
    visits[0] = 1.0
    law = policy.double()
    for state in range(dag.states):
        children = dag.children[state]
        there = children >= 0
        visits.index_add_(0, children[there], visits[state] * law[state, :-1][there])
    return visits * law[:, -1]


def sample_walks(dag: Dag, law: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Walks from the source by a policy in a table, one for each row.

    Args:
        dag: The graph.
        law: (B, S, A) probabilities, or (S, A) expanded to it.
        generator: Source of randomness.

    Returns:
        States (B, T) and actions (B, T) int64, padded with -1, and the objects (B,).
    """
    rows = torch.arange(len(law))
    state = torch.zeros(len(law), dtype=torch.int64)
    going = torch.ones(len(law), dtype=torch.bool)
    states, actions = [], []
    while bool(going.any()):
        action = torch.multinomial(law[rows, state], 1, generator=generator)[:, 0]
        states.append(torch.where(going, state, -1))
        actions.append(torch.where(going, action, -1))
        going = going & (action < dag.actions - 1)
        state = torch.where(going, dag.children[state, action.clamp(max=dag.actions - 2)], state)
    return torch.stack(states, 1), torch.stack(actions, 1), state


def backward_walks(dag: Dag, ends: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Walks from the source to given objects, drawn backward, uniformly over parents.

    Args:
        dag: The graph.
        ends: (B,) int64 states that may be stopped in.
        generator: Source of randomness.

    Returns:
        States and actions as of `sample_walks`.
    """
    state, number = ends.clone(), len(ends)
    stop = torch.full((number,), dag.actions - 1)
    states, actions = [state], [stop]
    while bool((state > 0).any()):
        moving = state > 0
        pick = (torch.rand(number, generator=generator) * dag.parents[state].clamp(min=1)).long()
        edge = dag.incoming[state, pick.clamp(max=dag.incoming.shape[1] - 1)]
        state = torch.where(moving, edge // (dag.actions - 1), 0)
        states.append(torch.where(moving, state, -1))
        actions.append(torch.where(moving, edge % (dag.actions - 1), -1))
    walk, taken = torch.stack(states[::-1], 1), torch.stack(actions[::-1], 1)
    # Shorter walks have their padding in front: it goes behind.
    order = torch.sort((walk < 0).long(), dim=1, stable=True).indices
    return walk.gather(1, order), taken.gather(1, order)
