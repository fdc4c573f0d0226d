"""RoRecomp: brevity by which responses share an update, and by nothing else (arXiv 2509.25958).

Short right and long wrong responses of a group are trained on at once; the others wait, and are trained on later, less
and less often. Rewards and advantages stay what they were, so no right response is ever punished for its length; but a
positive advantage meets short responses and a negative one long ones.

Where this differs from the paper:

* no code was published: the share of one half, the choice inside each group and the cosine are the paper's description
  as far as it goes;
* equal costs (numbers of tool calls, say) are ranked in the order of the rows, not by tokens;
* the trainer on TRL trains on the priority batch alone; `guerdon.search.Compensation` holds the rows that wait, for
  loops that train on them too, as the tabular one of the claim does;
* the claim is about a policy over lengths, not about a language model.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from guerdon.claims import Claim, Comparison, Grid
from guerdon.credit import GAE, GroupNormalized
from guerdon.objective import ClippedSurrogate
from guerdon.papers.paper import Paper
from guerdon.recipe import Recipe
from guerdon.rollouts import Rollouts
from guerdon.search import Compensation, Independent
from guerdon.select import Recompose
from guerdon.shape import LengthPenalty
from guerdon.stages import Score

PAPER = Paper(
    number=28,
    slug="rorecomp",
    title="RoRecomp: Enhancing Reasoning Efficiency via Rollout Response Recomposition in Reinforcement Learning",
    arxiv="2509.25958",
    year=2025,
    stages=("Recompose",),
    summary="train on short right and long wrong responses at once, and on the others later",
)

BASES = ("grpo", "ppo")


def recipe(
    score: Sequence[Score] = (),
    *,
    ratio: float = 0.5,
    scope: str = "group",
    drop_degenerate: bool = False,
    cost: str = "length",
    base: str = "grpo",
    n: int = 8,
    ddof: int = 1,
    eps: float = 1e-6,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    kl_coef: float = 0.0,
    aggregation: str = "grpo",
) -> Recipe:
    """GRPO, or PPO, on the priority batch; advantages are those of the full batch.

    Args:
        score: Stages that fill the outcome, 0 or 1.
        ratio: Share of each class that is trained on at once; 1 = plain GRPO.
        scope: Whether responses are ranked in their "group" or in the "batch".
        drop_degenerate: Whether groups with one class only are not trained on.
        cost: What is kept short: "length", or a column such as the number of tool calls.
        base: "grpo", or "ppo" = GAE from a critic's `tokens["values"]`, for which groups with one class only have
            something to teach.
        n: Responses for a prompt.
        ddof: Of the standard deviation of GRPO's advantage.
        eps: Is added to it.
        clip_low: How far the ratio may fall below 1.
        clip_high: How far it may rise above 1.
        kl_coef: Weight of the KL against the initial policy.
        aggregation: How the losses of tokens become one number; the mean of each response is the default, since long
            wrong responses would otherwise have most of the tokens.

    Raises:
        ValueError: An unknown base.

    Example:
        >>> recipe(ratio=0.3).select[0].ratio
        0.3
    """
    if base not in BASES:
        raise ValueError(f"base is {base!r}: expected one of {BASES}")
    return Recipe(
        score=score,
        select=(Recompose(ratio, scope, drop_degenerate, cost),),
        credit=GroupNormalized(ddof=ddof, eps=eps) if base == "grpo" else GAE(),
        objective=ClippedSurrogate(clip_low, clip_high, kl_coef=kl_coef, aggregation=aggregation),
        rollout=Independent(n),
        name="rorecomp",
    )


@dataclasses.dataclass
class RandomCost:
    """Write a column of random numbers: ranked by it, the recomposition is a random one (the control).

    Attributes:
        seed: With the iteration, of the numbers.
    """

    seed: int = 0

    def __call__(self, rollouts: Rollouts) -> Rollouts:
        """Return the rollouts with the column `random_cost`."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + rollouts.iteration)
        return rollouts.with_columns(random_cost=torch.rand(len(rollouts), generator=generator).tolist())


def claim() -> Claim:
    """A policy over lengths whose responses are often longer than they need to be."""
    return Claim(
        number=PAPER.number,
        slug=PAPER.slug,
        statement=(
            "Reasoning length -27.7 % in zero RL, tool calls -46.8 % in agentic RL, up to -52.5 % length in the "
            "compression of thinking, with nearly the same accuracy."
        ),
        setting=(
            "A softmax policy over the lengths 0 to 19, centred at 10, that does not see which of the needs 1, 2 or 3 "
            "a problem has; right with probability 0.9 sigmoid(length - need), so that length and being right are "
            "nearly independent at first. Clipped GRPO on the mean of each response; every arm makes 1,500 updates, a "
            "compensation batch counts as one, of about 64 rows: GRPO samples 8 groups of 8 for that, the "
            "recompositions 16, of which they train on half. Compensation falls along a cosine over 1,000 batches; "
            "the buffer holds four priority batches for up to 8 steps. Accuracy and length are exact."
        ),
        tuning=(
            "every arm has the best of three learning rates by accuracy on three seeds of their own; a second version "
            "had the rate 0.3 for all. The runs are long, because 300 updates had moved the lengths of "
            "a pilot seed by a tenth. A first version ran 1,000 batches of 16 groups an arm, so that compensation came "
            "on top and GRPO had twice the rows an update; its lengths were 10.4 (GRPO), 10.6 (random), 7.8 and 6.1 "
            "(priority only). The comparisons are the same, but for that of the random arm with GRPO, which was added"
        ),
        runner="guerdon.papers.rorecomp:run_arm",
        arms={
            "grpo": {"ratio": 1.0, "prompts": 8},
            "random": {"ratio": 0.5, "cost": "random_cost", "compensate": True},
            "rorecomp": {"ratio": 0.5, "compensate": True},
            "priority only": {"ratio": 0.5},
            "length penalty": {"ratio": 1.0, "prompts": 8, "penalty": 0.2},
        },
        shared={"updates": 1500, "schedule": 1000, "prompts": 16, "n": 8, "rate": 0.3},
        metrics={"accuracy": "probability of a right response", "length": "mean length of the responses"},
        comparisons=(
            Comparison("length", "rorecomp", "grpo", 2.0, lower_is_better=True, statement="a fifth shorter than GRPO"),
            Comparison("accuracy", "rorecomp", "grpo", -0.02, statement="as accurate as GRPO"),
            Comparison(
                "length", "rorecomp", "random", 1.0, lower_is_better=True, statement="it is the choice that does it"
            ),
            Comparison("length", "random", "grpo", -0.5, statement="a random choice shortens nothing"),
            Comparison(
                "length", "priority only", "rorecomp", 0.0, lower_is_better=True, statement="alone it is faster"
            ),
        ),
        seeds=10,
        grid=Grid("rate", (0.1, 0.3, 1.0), "accuracy"),
    )


def run_arm(arm: dict[str, Any], shared: dict[str, Any], seed: int, folder: Path) -> dict[str, float]:
    """Train one arm with one seed; called by the claim harness in a process of its own."""
    from guerdon.tasks.lengths import Lengths
    from guerdon.tasks.tabular import train_tabular

    lab = Lengths(needs=(1.0, 2.0, 3.0), ceiling=0.9, centre=10.0, width=3.0, personal=None)
    built = recipe(ratio=arm["ratio"], cost=arm.get("cost", "length"))
    shape: list[Any] = [RandomCost(seed)] if "cost" in arm else []
    if "penalty" in arm:
        shape.append(LengthPenalty("correct_zscore", strength=arm["penalty"], fraction=1.0))
    prompts, n = arm.get("prompts", shared["prompts"]), shared["n"]
    waiting = Compensation(shared["schedule"], capacity=2 * prompts * n, seed=seed) if arm.get("compensate") else None
    curve = train_tabular(
        lab,
        built.replace(shape=tuple(shape)),
        shared["updates"],
        prompts,
        n,
        shared["rate"],
        seed,
        compensation=waiting,
        most_updates=shared["updates"],
    )
    return {"accuracy": curve.last(), "length": curve.last("length")}
