"""The step lab: episodes of a few actions in a small Markov decision process, where rewards of steps can be farmed.

Every action is a token and a step of its own. There is a true outcome, known at the end, and a synthetic process reward
or a set of critics for each step. A policy is a table of logits, one row a state; there is no clock in the state, so a
policy that has learnt to repeat a well-paid step never comes to an end. Expectations are exact, by going forward
through the horizon.

`work_mdp` is a chain of reasoning that can be worked on, padded with repetitions, or finished. `submit_mdp` is an agent
with a repository that can look, edit and submit, or write malformed calls.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from guerdon.rollouts import Rollouts
from guerdon.tasks.tabular import decisions, entropy


@dataclass(frozen=True, eq=False)
class StepMDP:
    """A finite process with rewards of steps and of the end.

    X states, A actions. Sampled rollouts have one token a step; `outcome` is the true outcome; `process` the process
    reward; `node` the state that a step leads to, counted from 1 (0 is the end); the steps' extras are `action` (B, S)
    and, where there are critics, `critics` (B, S, C). Columns: `truncated`, `prompt_id`.

    Attributes:
        states: Names of the states; the first is where an episode starts.
        actions: Names of the actions.
        transition: (X, A, X) float64, probabilities of the next state; rows of actions that end the episode keep the
            state.
        ends: (A,) bool, the actions that end the episode.
        outcome: (X,) float64, the outcome of an episode that is ended in a state.
        timeout: (X,) float64, the outcome of one that reaches the horizon there.
        process: (X, A, X) float64, mean process reward of a step from a state by an action to a state.
        noise: Standard deviation of the process reward.
        critics: (X, A, C) float64, the rewards of C critics.
        initial: (X, A) float64, the logits of the initial policy.
        horizon: Largest number of steps.
        success: An outcome from this on is a success.

    Raises:
        ValueError: A shape does not fit, or `transition` holds no probabilities.
    """

    states: tuple[str, ...]
    actions: tuple[str, ...]
    transition: Tensor
    ends: Tensor
    outcome: Tensor
    timeout: Tensor
    process: Tensor
    noise: float
    critics: Tensor
    initial: Tensor
    horizon: int
    success: float

    def __post_init__(self) -> None:
        x, a = len(self.states), len(self.actions)
        wanted = {
            "transition": (x, a, x),
            "ends": (a,),
            "outcome": (x,),
            "timeout": (x,),
            "process": (x, a, x),
            "critics": (x, a, self.critics.shape[-1]),
            "initial": (x, a),
        }
        for name, shape in wanted.items():
            if tuple(getattr(self, name).shape) != shape:
                raise ValueError(f"{name} has shape {tuple(getattr(self, name).shape)}: expected {shape}")
        if not bool((self.transition >= 0).all()) or not torch.allclose(
            self.transition.sum(-1), torch.ones(x, a, dtype=torch.float64)
        ):
            raise ValueError("transition: expected probabilities of sum 1 for each state and action")
        if self.horizon < 1 or not self.noise >= 0.0:
            raise ValueError(f"horizon is {self.horizon}, noise is {self.noise}: expected at least 1, 0 or more")

    @property
    def rates(self) -> Mapping[str, float]:
        """Relative learning rates."""
        return {"states": 1.0}

    def parameters(self) -> dict[str, Tensor]:
        """`states` (X, A): the initial logits."""
        return {"states": self.initial.clone()}

    def logits(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """(X, A) logits."""
        return parameters["states"]

    # --- sampling -----------------------------------------------------------------------------------------------

    def sample(self, logits: Tensor, prompts: int, n: int, generator: torch.Generator) -> Rollouts:
        """Sample `prompts` groups of `n` episodes; all start in the first state."""
        rows = prompts * n
        law = torch.softmax(logits.double(), -1)
        states = torch.zeros(rows, self.horizon + 1, dtype=torch.int64)
        actions = torch.zeros(rows, self.horizon, dtype=torch.int64)
        running = torch.zeros(rows, self.horizon + 1, dtype=torch.bool)
        running[:, 0] = True
        for step in range(self.horizon):
            state = states[:, step]
            actions[:, step] = torch.multinomial(law[state], 1, generator=generator)[:, 0]
            chance = self.transition[state, actions[:, step]]
            states[:, step + 1] = torch.multinomial(chance, 1, generator=generator)[:, 0]
            running[:, step + 1] = running[:, step] & ~self.ends[actions[:, step]]
        group = torch.arange(prompts).repeat_interleave(n)
        bare = decisions(logits, states[:, :-1], actions, running[:, :-1], group)
        return self._rewarded(bare, states, actions, running, generator)

    def _rewarded(
        self, bare: Rollouts, states: Tensor, actions: Tensor, running: Tensor, generator: torch.Generator
    ) -> Rollouts:
        mask, before, after = bare.mask, states[:, :-1], states[:, 1:]
        reward = self.process[before, actions, after]
        reward = reward + self.noise * torch.randn(reward.shape, dtype=torch.float64, generator=generator)
        timed_out, last = running[:, -1], mask.sum(1)
        final = states[torch.arange(len(states)), last]
        steps = {"action": torch.where(mask, actions, -1)}
        if self.critics.shape[-1]:
            critics = self.critics[before, actions].float()
            steps["critics"] = torch.where(mask[..., None], critics, torch.nan)
        ended = running[:, 1:] & mask
        return bare.replace(
            outcome=torch.where(timed_out, self.timeout[final], self.outcome[final]).float(),
            process=torch.where(mask, reward, torch.nan).float(),
            node=torch.where(ended, after + 1, 0),
            steps=steps,
            columns={"truncated": timed_out.tolist(), "prompt_id": bare.group.tolist()},
        )

    # --- what is exact ----------------------------------------------------------------------------------------------

    def expected(self, logits: Tensor) -> dict[str, Tensor]:
        """Exact expectations of an episode.

        Returns:
            `gold` (probability of success), `outcome` (mean outcome), `completed` (probability that the episode is
            ended before the horizon), `length` (mean number of steps), `process` (mean sum of process rewards),
            `critics` (mean sum of all critics), `entropy` (mean sum of the policy's entropies), `action@NAME` (mean
            number of times that each action is taken) and `end@STATE` (probability of ending there by an action).
        """
        law = torch.softmax(logits.double(), -1)
        visits, at_end, present = self._forward(law)
        taken = visits[:, None] * law
        pay = (self.transition * self.process).sum(-1)
        ended, late = at_end, present
        found = {
            "gold": (ended * (self.outcome >= self.success)).sum() + (late * (self.timeout >= self.success)).sum(),
            "outcome": (ended * self.outcome).sum() + (late * self.timeout).sum(),
            "completed": ended.sum(),
            "length": visits.sum(),
            "process": (taken * pay).sum(),
            "critics": (taken * self.critics.sum(-1)).sum(),
            "entropy": (visits * entropy(logits.double())).sum(),
        }
        found |= {f"action@{name}": taken[:, index].sum() for index, name in enumerate(self.actions)}
        return found | {f"end@{name}": ended[index] for index, name in enumerate(self.states)}

    def _forward(self, law: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(X,) mean visits, probability of having ended in a state, and of still being there at the horizon."""
        present = torch.zeros(len(self.states), dtype=torch.float64)
        present[0] = 1.0
        visits, ended = torch.zeros_like(present), torch.zeros_like(present)
        for _ in range(self.horizon):
            visits = visits + present
            flow = present[:, None, None] * law[..., None] * self.transition
            ended = ended + flow[:, self.ends].sum((0, 1))
            present = flow[:, ~self.ends].sum((0, 1))
        return visits, ended, present


def work_mdp(
    needed: int = 3,
    *,
    error: float = 0.1,
    horizon: int = 12,
    work: tuple[float, float] = (0.85, 0.3),
    repeat: tuple[float, float] = (0.97, 0.45),
    finish: tuple[float, float] = (0.9, 0.2),
    noise: float = 0.03,
    start: float = 0.5,
    clock: bool = False,
) -> StepMDP:
    """Work towards a goal, repeat what has been done, or finish: the process reward likes repetition best.

    An episode succeeds if it is finished after `needed` steps of work without an error; every step of work may bring an
    error, which stays. Process rewards depend on the state that a step leads to.

    Args:
        needed: Steps of work.
        error: Probability of an error in a step of work.
        horizon: Largest number of steps.
        work: Mean process reward of a step of work without and with an error so far.
        repeat: The same of a repetition.
        finish: Of finishing with and without success.
        noise: Standard deviation of the process reward.
        start: Initial logit of "work"; the others' are 0.
        clock: Whether the state says how many steps have been taken.

    Raises:
        ValueError: A number is out of range.

    Example:
        >>> lab = work_mdp()
        >>> len(lab.states), lab.actions
        (8, ('work', 'repeat', 'finish'))
    """
    if needed < 1 or not 0.0 <= error <= 1.0:
        raise ValueError(f"needed is {needed}, error is {error}: expected at least 1, and a probability")
    times = range(horizon) if clock else range(1)
    places = [(time, done, flawed) for time in times for done in range(needed + 1) for flawed in (False, True)]
    index = {place: number for number, place in enumerate(places)}
    x = len(places)
    transition, process = torch.zeros(x, 3, x, dtype=torch.float64), torch.zeros(x, 3, x, dtype=torch.float64)
    outcome = torch.zeros(x, dtype=torch.float64)
    for here, (time, done, flawed) in enumerate(places):
        later = min(time + 1, len(times) - 1)
        onward = min(done + 1, needed)
        transition[here, 0, index[later, onward, True]] += 1.0 if flawed else error
        transition[here, 0, index[later, onward, False]] += 0.0 if flawed else 1.0 - error
        transition[here, 1, index[later, done, flawed]] = 1.0
        transition[here, 2, here] = 1.0
        process[:, 0, here], process[:, 1, here] = work[flawed], repeat[flawed]
        solved = done == needed and not flawed
        process[here, 2, here] = finish[not solved]
        outcome[here] = float(solved)
    initial = torch.zeros(x, 3, dtype=torch.float64)
    initial[:, 0] = start
    return StepMDP(
        states=tuple(_name(*place, clock=clock) for place in places),
        actions=("work", "repeat", "finish"),
        transition=transition,
        ends=torch.tensor([False, False, True]),
        outcome=outcome,
        timeout=torch.zeros(x, dtype=torch.float64),
        process=process,
        noise=noise,
        critics=torch.zeros(x, 3, 0, dtype=torch.float64),
        initial=initial,
        horizon=horizon,
        success=1.0,
    )


def _name(time: int, done: int, flawed: bool, *, clock: bool) -> str:
    return f"{f't{time} ' if clock else ''}{done} done{', flawed' if flawed else ''}"


def submit_mdp(
    *,
    tiers: tuple[float, float, float, float] = (-1.0, 0.0, 1.0, 2.0),
    critics: tuple[float, ...] = (0.1, 0.1, 0.1),
    horizon: int = 20,
    repair: float = 0.3,
    damage: float = 0.1,
    start: float = -1.0,
) -> StepMDP:
    """An agent that may look around for ever, edit a file, or submit; every well-formed turn pays, the end pays more.

    The states are "untouched", "broken" (edited, and the tests fail) and "fixed"; the policy sees which. Edits repair
    or damage at random. An episode that is not submitted before the horizon has the lowest outcome, whatever was
    edited.

    Args:
        tiers: Outcomes of no submission, an empty patch, a patch that fails the tests, and one that passes.
        critics: What each critic pays for a well-formed turn; a malformed one gets nothing from any.
        horizon: Largest number of turns.
        repair: Probability that an edit fixes what is not fixed.
        damage: Probability that an edit breaks what is fixed.
        start: Initial logit of "submit"; the others' are 0.

    Raises:
        ValueError: The tiers do not increase, or a probability is none.
    """
    if any(later <= earlier for earlier, later in itertools.pairwise(tiers)):
        raise ValueError(f"tiers is {tiers}: expected strictly increasing outcomes")
    if not 0.0 <= repair <= 1.0 or not 0.0 <= damage <= 1.0:
        raise ValueError(f"repair is {repair}, damage is {damage}: expected probabilities")
    actions = ("look", "edit", "submit", "malformed")
    transition = torch.eye(3, dtype=torch.float64)[:, None, :].repeat(1, 4, 1)
    transition[:2, 1] = torch.tensor([0.0, 1.0 - repair, repair], dtype=torch.float64)
    transition[2, 1] = torch.tensor([0.0, damage, 1.0 - damage], dtype=torch.float64)
    paid = torch.tensor(critics, dtype=torch.float64).expand(3, 4, len(critics)).clone()
    paid[:, 3] = 0.0
    initial = torch.zeros(3, 4, dtype=torch.float64)
    initial[:, 2] = start
    return StepMDP(
        states=("untouched", "broken", "fixed"),
        actions=actions,
        transition=transition,
        ends=torch.tensor([False, False, True, False]),
        outcome=torch.tensor(tiers[1:], dtype=torch.float64),
        timeout=torch.full((3,), tiers[0], dtype=torch.float64),
        process=paid.sum(-1)[..., None].expand(3, 4, 3).clone(),
        noise=0.0,
        critics=paid,
        initial=initial,
        horizon=horizon,
        success=tiers[3],
    )
