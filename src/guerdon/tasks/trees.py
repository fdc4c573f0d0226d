"""The tree lab: questions that are trees of steps, a few of whose leaves are right.

Every question is a complete tree: the same number of steps leads on from every state, and a response is a path from the
root to a leaf. Leaves are right or wrong. The policy is a table of logits, one row a state; its chance of a right
answer from any state is exact. Responses can be continued from any state, so that prefixes have values by completions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from guerdon.rollouts import Rollouts
from guerdon.tasks.tabular import decisions, draw_prompts


@dataclass(frozen=True, eq=False)
class Trees:
    """Complete trees with right and wrong leaves.

    States are numbered question by question, level by level: the root of question q is q * `nodes`, and the children
    of a question's node k are its nodes k * actions + 1 to k * actions + actions.

    Attributes:
        right: (questions, actions ** depth) bool leaves.
        initial: (questions * nodes, actions) float64 logits of the initial policy.
        actions: Steps that lead on from a state.
        depth: Steps of a response.
    """

    right: Tensor
    initial: Tensor
    actions: int
    depth: int

    @classmethod
    def drawn(
        cls, seed: int, questions: int = 16, actions: int = 4, depth: int = 4, share: float = 0.2, spread: float = 1.0
    ) -> Trees:
        """Draw trees.

        Args:
            seed: Of the leaves and the initial policy.
            questions: Number of trees.
            actions: Steps that lead on from a state, at least 2.
            depth: Steps of a response, at least 1.
            share: Probability that a leaf is right.
            spread: Standard deviation of the initial logits.

        Raises:
            ValueError: A number is out of range.
        """
        if questions < 1 or actions < 2 or depth < 1 or not 0 <= share <= 1 or spread < 0:
            given = f"questions={questions}, actions={actions}, depth={depth}, share={share}, spread={spread}"
            raise ValueError(f"Trees.drawn: a number is out of range in {given}")
        generator = torch.Generator().manual_seed(seed)
        right = torch.rand(questions, actions**depth, generator=generator) < share
        nodes = (actions**depth - 1) // (actions - 1)
        initial = spread * torch.randn(questions * nodes, actions, generator=generator, dtype=torch.float64)
        return cls(right, initial, actions, depth)

    @property
    def questions(self) -> int:
        """Number of trees."""
        return len(self.right)

    @property
    def nodes(self) -> int:
        """States of a question; leaves are not among them."""
        return int((self.actions**self.depth - 1) // (self.actions - 1))

    @property
    def rates(self) -> Mapping[str, float]:
        """All states learn at the run's rate."""
        return {}

    @cached_property
    def level(self) -> Tensor:
        """(nodes,) int64: how many steps lead to each node of a question."""
        return torch.cat([torch.full((self.actions**depth,), depth) for depth in range(self.depth)])

    def parameters(self) -> dict[str, Tensor]:
        """The initial logits."""
        return {"logits": self.initial}

    def logits(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """(questions * nodes, actions) logits."""
        return parameters["logits"]

    def sample(self, logits: Tensor, prompts: int, n: int, generator: torch.Generator) -> Rollouts:
        """Sample `n` paths from the root of each of `prompts` questions; the outcome is 1 at right leaves, else 0."""
        question = draw_prompts(self.questions, prompts, generator).repeat_interleave(n)
        return self.complete(logits, question * self.nodes, generator)

    def complete(self, logits: Tensor, start: Tensor, generator: torch.Generator) -> Rollouts:
        """Continue from given states to leaves.

        Args:
            logits: (states, actions) of the policy.
            start: (B,) int64 states.
            generator: Source of randomness.

        Returns:
            Rollouts whose group is the state that they started from, with the outcome at the leaf.
        """
        law = torch.softmax(logits, -1)
        question, node = start // self.nodes, start % self.nodes
        state = torch.full((len(start), self.depth), -1)
        action = torch.full_like(state, -1)
        for place in range(self.depth):
            going = node < self.nodes
            here = (question * self.nodes + node)[going]
            taken = torch.multinomial(law[here], 1, generator=generator)[:, 0]
            state[going, place], action[going, place] = here, taken
            node = torch.where(going, node.index_put((going,), node[going] * self.actions + 1 + taken), node)
        rollouts = decisions(logits, state, action, state >= 0, start)
        return rollouts.replace(outcome=self.right[question, node - self.nodes].float())

    def expected(self, logits: Tensor) -> dict[str, Tensor]:
        """The exact chance of a right answer: "gold", the mean over the questions."""
        return {"gold": self.values(logits)[:, 0].mean()}

    def values(self, logits: Tensor) -> Tensor:
        """(questions, nodes + leaves) float64: the chance of a right answer from every node; leaves are last."""
        law = torch.softmax(logits, -1).reshape(self.questions, self.nodes, self.actions)
        levels = [self.right.to(law.dtype)]
        for depth in reversed(range(self.depth)):
            here = law[:, self.level == depth]
            levels.insert(0, (here * levels[0].reshape(self.questions, -1, self.actions)).sum(-1))
        return torch.cat(levels, 1)
