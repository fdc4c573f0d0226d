"""A policy on HopWorld that chooses what to cite and then answers, whose expectations are exact.

A state is a question with the fact that was cited last; the actions are the facts of the prompt, and at the end the
possible answers. Logits are linear in features that mean the same in every question (does the fact start where the last
one ended? is its relation the one that is asked for?), so what is learnt on questions of two hops decides those of
three.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from guerdon.rollouts import Rollouts
from guerdon.score.models.dimensions import ANSWER, REASONING
from guerdon.tasks.hopworld import Fact, HopWorld, Question, prompt, response
from guerdon.tasks.tabular import decisions, draw_prompts

FEATURES = (
    "first: starts at the question's entity",
    "first: has the first relation",
    "later: starts where the last one ended",
    "later: has the next relation",
    "later: starts at the question's entity",
    "later: was cited just before",
    "any: has the last relation",
    "any: has some relation of the question",
    "answer: is the last citation's tail",
    "answer: is the commonest value in the facts",
)
"""What a logit is a weighted sum of."""


@dataclass(frozen=True, eq=False)
class CitingLab:
    """Questions with facts, and a log-linear policy on them.

    Sampled rollouts have one token a citation and one for the answer, each a step; `tokens["part"]` tells them apart.
    Outcome: 1 for the right answer. Columns: `prompt`, `question`, `response`, `prompt_id`, `sound` (whether the
    citations are the chain).

    Attributes:
        questions: The questions, all of the same number of hops.
        contexts: The facts of each; all equally many.
        initial: (10,) float64, the weights of the initial policy.
        features: (states, actions, 10) float64; NaN = no such action.
    """

    questions: tuple[Question, ...]
    contexts: tuple[tuple[Fact, ...], ...]
    initial: Tensor
    features: Tensor

    @staticmethod
    def draw(world: HopWorld, n: int, hops: int, facts: int, initial: Tensor, seed: int) -> CitingLab:
        """Draw questions and facts."""
        questions = world.questions(n, hops, seed)
        generator = random.Random(f"citing/{hops}/{seed}")
        contexts = [world.context(question, facts, generator) for question in questions]
        features = torch.cat([_features(*pair) for pair in zip(questions, contexts, strict=True)])
        return CitingLab(tuple(questions), tuple(contexts), initial.double(), features)

    @property
    def hops(self) -> int:
        """Facts that answer a question."""
        return len(self.questions[0].relations)

    @property
    def facts(self) -> int:
        """Facts in a prompt."""
        return len(self.contexts[0])

    @property
    def _per_question(self) -> int:
        """States of a question: before the first citation, then hop by hop the fact that was cited last."""
        return 1 + self.hops * self.facts

    # --- the lab of a tabular policy --------------------------------------------------------------------------------

    @property
    def rates(self) -> Mapping[str, float]:
        """Relative learning rates."""
        return {"weights": 1.0}

    def parameters(self) -> dict[str, Tensor]:
        """`weights` (10,): the initial policy."""
        return {"weights": self.initial.clone()}

    def logits(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """(states, actions) logits."""
        absent = torch.isnan(self.features[..., 0])
        value = torch.nan_to_num(self.features) @ parameters["weights"].double()
        return torch.where(absent, -torch.inf, value)

    def sample(self, logits: Tensor, prompts: int, n: int, generator: torch.Generator) -> Rollouts:
        """Sample `n` responses to each of `prompts` questions."""
        chosen = draw_prompts(len(self.questions), prompts, generator).repeat_interleave(n)
        law = torch.softmax(logits.double(), -1)
        state = chosen * self._per_question
        states, actions = [], []
        for hop in range(self.hops + 1):
            action = torch.multinomial(law[state], 1, generator=generator)[:, 0]
            states.append(state)
            actions.append(action)
            state = chosen * self._per_question + 1 + hop * self.facts + action
        group = torch.arange(prompts).repeat_interleave(n)
        mask = torch.ones(len(chosen), self.hops + 1, dtype=torch.bool)
        bare = decisions(logits, torch.stack(states, 1), torch.stack(actions, 1), mask, group)
        return self._judged(bare, chosen.tolist(), torch.stack(actions, 1).tolist())

    def _judged(self, bare: Rollouts, chosen: Sequence[int], actions: Sequence[Sequence[int]]) -> Rollouts:
        columns: dict[str, list[Any]] = {"prompt": [], "question": [], "response": [], "prompt_id": [], "sound": []}
        outcome = []
        for index, taken in zip(chosen, actions, strict=True):
            question, context = self.questions[index], self.contexts[index]
            cited, answer = [context[action] for action in taken[:-1]], question.values[taken[-1]]
            columns["prompt"].append(prompt(question, context))
            columns["question"].append(str(question))
            columns["response"].append(response(cited, answer))
            columns["prompt_id"].append(index)
            columns["sound"].append(question.follows(cited))
            outcome.append(float(answer == question.answer))
        part = torch.full(bare.mask.shape, REASONING)
        part[:, -1] = ANSWER
        return bare.replace(outcome=torch.tensor(outcome)).with_columns(**columns).with_tokens(part=part)

    def expected(self, logits: Tensor) -> dict[str, Tensor]:
        """Exact expectations, the mean over questions; differentiable.

        Returns:
            `gold` = share of right answers; `sound` = of right answers with the right citations; `sound_when_right` =
            the second as a share of the first.
        """
        law = torch.softmax(logits.double(), -1).reshape(len(self.questions), self._per_question, -1)
        facts, rows = self.facts, torch.arange(len(self.questions))
        chain = torch.tensor(
            [
                [context.index(fact) for fact in question.chain]
                for question, context in zip(self.questions, self.contexts, strict=True)
            ]
        )
        right = torch.tensor([question.values.index(question.answer) for question in self.questions])
        reached, path = law[:, 0, :facts], law[rows, 0, chain[:, 0]]
        for hop in range(1, self.hops):
            table = law[:, 1 + (hop - 1) * facts : 1 + hop * facts, :facts]
            path = path * table[rows, chain[:, hop - 1], chain[:, hop]]
            reached = torch.einsum("qf,qfg->qg", reached, table)
        answers = law[:, 1 + (self.hops - 1) * facts :]
        gold = torch.einsum("qf,qf->q", reached, answers[rows, :, right]).mean()
        sound = (path * answers[rows, chain[:, -1], right]).mean()
        return {"gold": gold, "sound": sound, "sound_when_right": sound / gold}

    def with_accuracy(self, accuracy: float) -> CitingLab:
        """The same questions under an initial policy that is as accurate as said: its weights are scaled.

        Raises:
            ValueError: Weights of no scale from 0 to 20 do it.
        """

        def found(scale: float) -> float:
            return float(self.expected(self.logits({"weights": scale * self.initial}))["gold"])

        low, high = 0.0, 20.0
        if not found(low) <= accuracy <= found(high):
            raise ValueError(f"accuracy is {accuracy}: expected {found(low):.3f} to {found(high):.3f}")
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if found(middle) < accuracy else (low, middle)
        return dataclasses.replace(self, initial=low * self.initial)


def _features(question: Question, context: Sequence[Fact]) -> Tensor:
    """(1 + hops * facts, actions, 10) of one question."""
    hops, facts, values = len(question.relations), len(context), question.values
    table = torch.full((1 + hops * facts, max(facts, len(values)), len(FEATURES)), torch.nan, dtype=torch.float64)
    for action, fact in enumerate(context):
        table[0, action] = torch.tensor(_citation(question, fact, None, 0))
    for hop in range(1, hops):
        for last, previous in enumerate(context):
            for action, fact in enumerate(context):
                table[1 + (hop - 1) * facts + last, action] = torch.tensor(_citation(question, fact, previous, hop))
    tails = [fact.tail for fact in context]
    commonest = max(tails.count(value) for value in values)
    for last, previous in enumerate(context):
        for action, value in enumerate(values):
            row = [0.0] * 8 + [float(previous.tail == value), float(tails.count(value) == commonest)]
            table[1 + (hops - 1) * facts + last, action] = torch.tensor(row)
    return table


def _citation(question: Question, fact: Fact, previous: Fact | None, hop: int) -> list[float]:
    first = [float(fact.head == question.start), float(fact.relation == question.relations[0])]
    later = [0.0] * 4
    if previous is not None:
        first = [0.0, 0.0]
        later = [
            float(fact.head == previous.tail),
            float(fact.relation == question.relations[hop]),
            float(fact.head == question.start),
            float(fact == previous),
        ]
    anywhere = [float(fact.relation == question.relations[-1]), float(fact.relation in question.relations)]
    return [*first, *later, *anywhere, 0.0, 0.0]
