"""RL Tango: a generator and a generative verifier of steps, trained together (arXiv 2505.15034).

The generator gets an outcome reward, and for each step what the verifier says of it, divided by the number of steps;
both are normalised apart, and the weight of the steps decays over the run. The verifier is rewarded when its final
verdict agrees with the outcome: it never sees labels of steps, and learns to judge them all the same. Its groups are
verifications of one solution, weighted against the imbalance of right and wrong solutions.

Where this differs from the paper:

* how much a verification loses for each unmet rule of format was not published: that is the score stage's business;
* the weight of the steps falls geometrically over the whole run; its time constant in the paper is not known;
* a response whose verification cannot be read, or has another number of steps, gets no step rewards;
* there is one recipe for each role; TRL's trainer trains one policy, so that two trainers take turns
  (`guerdon.train.alternate`, by default three steps of the generator to one of the verifier, which starts 40 ahead);
* the claim is about two tables, and not about language models.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from guerdon.claims import Claim, Comparison, Grid
from guerdon.credit import ClassBalanced, GroupNormalized, Streams
from guerdon.objective import ClippedSurrogate, Reinforce
from guerdon.ops import Schedule
from guerdon.papers.paper import Paper
from guerdon.recipe import Recipe
from guerdon.rollouts import Rollouts
from guerdon.search import Independent
from guerdon.shape import Blend
from guerdon.stages import Score
from guerdon.train.alternate import turns

PAPER = Paper(
    number=45,
    slug="rl-tango",
    title="RL Tango: Reinforcing Generator and Verifier Together for Language Reasoning",
    arxiv="2505.15034",
    year=2025,
    stages=("Streams", "ClassBalanced"),
    summary="train a generator on outcomes and step verdicts, and its verifier on outcomes alone",
)


def recipe(
    score: Sequence[Score] = (),
    *,
    alpha: float = 0.1,
    alpha_end: float = 1e-3,
    total: float | None = None,
    n: int = 5,
    ddof: int = 1,
    eps: float = 1e-6,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    kl_coef: float = 0.001,
    aggregation: str = "dapo",
) -> Recipe:
    """The generator's recipe, on GRPO.

    Args:
        score: Stages that fill the outcome (0 or 1) and the process rewards: the verifier's verdicts, 1 or -1.
        alpha: Weight of the steps at first; 0 = GRPO.
        alpha_end: Weight at the end.
        total: Iterations until then; None = the whole run.
        n: Responses for a prompt.
        ddof: Of the standard deviations.
        eps: Is added to them.
        clip_low: How far the ratio may fall below 1.
        clip_high: How far it may rise above 1.
        kl_coef: Weight of the KL against the initial policy.
        aggregation: How the losses of tokens become one number.

    Example:
        >>> recipe(alpha=0.0).credit.weights
        (None, 0.0)
    """
    falling: float | Schedule = Schedule("geometric", alpha, alpha_end, total) if alpha else 0.0
    return Recipe(
        score=score,
        credit=Streams(("outcome", "process"), (None, falling), accumulate=True, share_out=True, ddof=ddof, eps=eps),
        objective=ClippedSurrogate(clip_low, clip_high, kl_coef=kl_coef, aggregation=aggregation),
        rollout=Independent(n),
        name="rl-tango",
    )


def verifier_recipe(
    score: Sequence[Score] = (),
    *,
    gamma: float = 0.8,
    balanced: bool = True,
    decay: float = 0.8,
    n: int = 5,
    ddof: int = 1,
    eps: float = 1e-6,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    kl_coef: float = 0.001,
    aggregation: str = "dapo",
) -> Recipe:
    """The verifier's recipe: the verifications of one solution are a group.

    Args:
        score: Stages that fill the outcome (1 if the final verdict agrees with the solution's outcome, else 0), the
            columns `truth` (whether the solution is right) and, with `gamma`, `format` (0 to 1).
        gamma: Weight of the format.
        balanced: Whether right and wrong solutions are weighted against their imbalance.
        decay: Of the counts for that.
        n: Verifications of a solution.
        ddof: Of the standard deviation.
        eps: Is added to it.
        clip_low: How far the ratio may fall below 1.
        clip_high: How far it may rise above 1.
        kl_coef: Weight of the KL against the initial policy.
        aggregation: How the losses of tokens become one number.
    """
    return Recipe(
        score=score,
        shape=(Blend(("outcome", "format"), (1.0, gamma)),) if gamma else (),
        credit=ClassBalanced(decay=decay, ddof=ddof, eps=eps) if balanced else GroupNormalized(ddof=ddof, eps=eps),
        objective=ClippedSurrogate(clip_low, clip_high, kl_coef=kl_coef, aggregation=aggregation),
        rollout=Independent(n),
        name="rl-tango verifier",
    )


def claim() -> Claim:
    """Solutions of three steps that are right if every step is, and a judge of steps that sees outcomes alone."""
    return Claim(
        number=PAPER.number,
        slug=PAPER.slug,
        statement=(
            "Five math sets after 200 steps: GRPO 37.0, with Tango 46.1; GRPO's accuracy of 200 steps is reached in "
            "60. A frozen verifier is worse, and class weights are needed."
        ),
        setting=(
            "40 problems of three steps with four options each, one of them right (probability 0.475 at first); a "
            "solution is right if all its steps are. The generator is a table over problems and steps, the verifier "
            "one over problems, steps and options, at random first; its final verdict is that all steps are right. 16 "
            "problems and 5 responses a step, three generator steps to one of the verifier after a warm-up of 40, 150 "
            "generator steps, plain policy gradient. Accuracies are exact."
        ),
        tuning=(
            "every arm has the best of three learning rates, one for both roles, by accuracy on three seeds of their "
            "own; a first version had the rate 8 for all. The weight of the steps is the paper's"
        ),
        runner="guerdon.papers.rl_tango:run_arm",
        arms={
            "grpo": {"alpha": 0.0},
            "tango": {"alpha": 0.1},
            "frozen verifier": {"alpha": 0.1, "frozen": True},
            "no class weights": {"alpha": 0.1, "balanced": False},
        },
        shared={"steps": 150, "prompts": 16, "n": 5, "rate": 8.0, "warm_up": 40},
        metrics={
            "accuracy": "probability of a right solution after all steps, the mean over problems",
            "half_way": "the same after half of the generator's steps",
            "judging": "balanced accuracy of the verdicts on steps, against truth that nobody trained on",
            "early_recall": "probability that a right solution is called right, after the warm-up",
        },
        comparisons=(
            Comparison("half_way", "tango", "grpo", 0.03, statement="verdicts on steps speed learning up"),
            Comparison("accuracy", "tango", "frozen verifier", 0.0, statement="a frozen verifier is worse"),
            Comparison("judging", "tango", "frozen verifier", 0.1, statement="steps are judged without their labels"),
            Comparison("early_recall", "tango", "no class weights", 0.1, statement="class weights keep recall up"),
        ),
        seeds=10,
        grid=Grid("rate", (2.0, 8.0, 32.0), "accuracy"),
    )


STEPS, OPTIONS, PROBLEMS = 3, 4, 40


def run_arm(arm: dict[str, Any], shared: dict[str, Any], seed: int, folder: Path) -> dict[str, float]:
    """Train one pair with one seed; called by the claim harness in a process of its own."""
    draw = torch.Generator().manual_seed(seed)
    right = torch.randint(OPTIONS, (PROBLEMS, STEPS), generator=draw)
    writes = torch.nn.functional.one_hot(right, OPTIONS).double().reshape(-1, OPTIONS).requires_grad_()
    judges = torch.zeros(PROBLEMS * STEPS * OPTIONS, 2, dtype=torch.float64, requires_grad=True)
    generator = recipe(alpha=arm["alpha"], n=shared["n"]).replace(objective=Reinforce("sum"))
    verifier = verifier_recipe(gamma=0.0, balanced=arm.get("balanced", True)).replace(objective=Reinforce("sum"))
    order = turns("generator", "verifier", shared["steps"], lead=shared["warm_up"])
    figures: dict[str, float] = {}
    done = 0
    for number, turn in enumerate(order):
        if number == shared["warm_up"]:
            figures["early_recall"] = _recall(judges, right)
        problem = torch.randperm(PROBLEMS, generator=draw)[: shared["prompts"]]
        if turn == "generator":
            solutions = _solve(writes, problem.repeat_interleave(shared["n"]), right, draw)
            verdicts = _judge(judges, solutions, draw).tokens["action"]
            scored = solutions.replace(process=2.0 * verdicts - 1.0, progress=done / shared["steps"])
            _descend(writes, generator, scored, shared["rate"])
            done += 1
            if done == shared["steps"] // 2:
                figures["half_way"] = _accuracy(writes, right)
        elif not arm.get("frozen", False):
            solutions = _solve(writes, problem, right, draw)[torch.arange(len(problem)).repeat_interleave(shared["n"])]
            judged = _judge(judges, solutions, draw)
            final = (judged.tokens["action"] == 1).all(1)
            agree = (final == (solutions.outcome > 0.5)).float()
            truth = (solutions.outcome > 0.5).tolist()
            _descend(judges, verifier, judged.replace(outcome=agree).with_columns(truth=truth), shared["rate"])
    verdict = torch.softmax(judges.detach(), 1)[:, 1].reshape(PROBLEMS, STEPS, OPTIONS)
    is_right = torch.nn.functional.one_hot(right, OPTIONS).bool()
    judging = (verdict[is_right].mean() + (1.0 - verdict[~is_right]).mean()) / 2.0
    return {**figures, "accuracy": _accuracy(writes, right), "judging": float(judging)}


def _solve(writes: Tensor, problem: Tensor, right: Tensor, draw: torch.Generator) -> Rollouts:
    """One solution for each entry of `problem`, which is its group too; outcome 1 if all steps are right."""
    from guerdon.tasks.tabular import decisions

    state = problem[:, None] * STEPS + torch.arange(STEPS)[None]
    law = torch.softmax(writes.detach(), 1)[state.flatten()]
    action = torch.multinomial(law, 1, generator=draw).reshape(state.shape)
    rollouts = decisions(writes.detach(), state, action, torch.ones_like(state, dtype=torch.bool), problem)
    return rollouts.replace(outcome=(action == right[problem]).all(1).float())


def _judge(judges: Tensor, solutions: Rollouts, draw: torch.Generator) -> Rollouts:
    """A verdict, 1 = right, on every step of every solution; the verifications of a solution are a group."""
    from guerdon.tasks.tabular import decisions

    state = solutions.tokens["state"] * OPTIONS + solutions.tokens["action"]
    law = torch.softmax(judges.detach(), 1)[state.flatten()]
    action = torch.multinomial(law, 1, generator=draw).reshape(state.shape)
    return decisions(judges.detach(), state, action, solutions.mask, solutions.group)


def _descend(table: Tensor, built: Recipe, rollouts: Rollouts, rate: float) -> None:
    from guerdon.tasks.tabular import taken_logprobs

    assert built.objective is not None
    batch = built(rollouts, learn=True)
    loss = built.objective(taken_logprobs(table, batch.rollouts), batch).value
    (gradient,) = torch.autograd.grad(loss, table)
    with torch.no_grad():
        table -= rate * gradient


def _accuracy(writes: Tensor, right: Tensor) -> float:
    law = torch.softmax(writes.detach(), 1).reshape(PROBLEMS, STEPS, OPTIONS)
    return float(law.gather(2, right[..., None]).prod(1).mean())


def _recall(judges: Tensor, right: Tensor) -> float:
    verdict = torch.softmax(judges.detach(), 1)[:, 1].reshape(PROBLEMS, STEPS, OPTIONS)
    return float(verdict.gather(2, right[..., None]).prod(1).mean())
