"""GRPO-lambda: a length penalty for the groups that are solved best, and for no others (arXiv 2505.18086).

Penalties on the length of right responses make training collapse, because they also press on problems that the policy
does not solve yet. Here the groups of a batch are ranked by their share of right responses; only the first lambda of
them are rewarded for brevity, all others for being right.

Where this differs from the paper:

* the exact form of the penalty, lambda and the settings were not published with code; the penalty is the sigmoid of the
  z-scored length among the right responses of the group, lambda is 0.2 and its strength 0.2;
* ties between groups go to the earlier one, the number of groups is rounded down, and a group without any right
  response is never penalised;
* a response that could not be scored takes no part in ratios and lengths;
* the claim is about a policy over lengths, not about a language model.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from guerdon.claims import Claim, Comparison, Grid
from guerdon.credit import GroupNormalized
from guerdon.objective import ClippedSurrogate, Reinforce
from guerdon.papers.paper import Paper
from guerdon.recipe import Recipe
from guerdon.search import Independent
from guerdon.shape import LengthPenalty
from guerdon.stages import Score

PAPER = Paper(
    number=62,
    slug="grpo-lambda",
    title="Stable Reinforcement Learning for Efficient Reasoning",
    arxiv="2505.18086",
    year=2025,
    stages=("LengthPenalty",),
    summary="penalise length in the groups with the highest share of right responses only",
)


def recipe(
    score: Sequence[Score] = (),
    *,
    lam: float = 0.2,
    alpha: float = 0.2,
    threshold: float | None = None,
    n: int = 8,
    ddof: int = 0,
    eps: float = 1e-6,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    kl_coef: float = 0.0,
    aggregation: str = "dapo",
) -> Recipe:
    """GRPO with a length penalty on the best-solved groups of the whole batch.

    Args:
        score: Stages that fill the outcome, 0 or 1.
        lam: Share of the groups that is penalised; 1 = the plain length penalty, 0 = GRPO.
        alpha: Strength of the penalty, in [0, 1).
        threshold: Instead of `lam`: penalise groups with at least this share of right responses.
        n: Responses for a prompt.
        ddof: Of the standard deviation of the advantage; 0 = of the population.
        eps: Is added to it.
        clip_low: How far the ratio may fall below 1.
        clip_high: How far it may rise above 1.
        kl_coef: Weight of the KL against the initial policy.
        aggregation: How the losses of tokens become one number.

    Example:
        >>> recipe(lam=0.5).shape[0].fraction
        0.5
    """
    return Recipe(
        score=score,
        shape=(LengthPenalty("correct_zscore", strength=alpha, fraction=lam, threshold=threshold),),
        credit=GroupNormalized(ddof=ddof, eps=eps),
        objective=ClippedSurrogate(clip_low, clip_high, kl_coef=kl_coef, aggregation=aggregation),
        rollout=Independent(n),
        name="grpo-lambda",
    )


def claim() -> Claim:
    """A policy over lengths, on problems that need different ones."""
    return Claim(
        number=PAPER.number,
        slug=PAPER.slug,
        statement=(
            "Qwen3-8B on five benchmarks: against the base model 1.48 % more accurate and 47 % shorter; plain length "
            "penalties collapse, GRPO-lambda trains at least 2.5 times longer without."
        ),
        setting=(
            "A softmax policy over the lengths 0 to 19 on problems of six difficulties, with logits shared by all and "
            "small ones for each difficulty (a fifth of the learning rate): a response is right with probability 0.97 "
            "sigmoid(length - need). 16 groups of 8, plain policy gradient, 1,500 updates, penalties of strength 0.4. "
            "Accuracy and length are exact; at the start they are 0.876 and 14.8."
        ),
        tuning=(
            "every arm has the best of three learning rates by accuracy on three seeds of their own; one strength for "
            "all. A first version had the rate 0.3 for all"
        ),
        runner="guerdon.papers.grpo_lambda:run_arm",
        arms={
            "untrained": {"lam": 0.0, "rate": 0.0},
            "grpo": {"lam": 0.0},
            "penalty on all": {"lam": 1.0},
            "lambda 0.2": {"lam": 0.2},
            "lambda 0.5": {"lam": 0.5},
        },
        shared={"steps": 1500, "prompts": 16, "n": 8, "rate": 0.3, "alpha": 0.4},
        metrics={
            "accuracy": "probability of a right response, over all difficulties",
            "length": "mean length of the responses",
            "lowest": "the lowest accuracy seen every 100 updates",
        },
        comparisons=(
            Comparison("accuracy", "lambda 0.2", "penalty on all", 0.15, statement="the plain penalty collapses"),
            Comparison("accuracy", "lambda 0.2", "untrained", 0.0, statement="lambda 0.2 is no worse than the start"),
            Comparison(
                "length", "lambda 0.2", "untrained", 0.0, lower_is_better=True, statement="and shorter than the start"
            ),
            Comparison("length", "lambda 0.2", "grpo", 1.0, lower_is_better=True, statement="GRPO writes longer"),
            Comparison("lowest", "lambda 0.2", "penalty on all", 0.1, statement="it does not collapse on the way"),
        ),
        seeds=10,
        grid=Grid("rate", (0.1, 0.3, 1.0), "accuracy"),
    )


def run_arm(arm: dict[str, Any], shared: dict[str, Any], seed: int, folder: Path) -> dict[str, float]:
    """Train one arm with one seed; called by the claim harness in a process of its own."""
    from guerdon.tasks.lengths import Lengths
    from guerdon.tasks.tabular import train_tabular

    built = recipe(lam=arm["lam"], alpha=shared["alpha"]).replace(objective=Reinforce("sum"))
    rate = arm.get("rate", shared["rate"])
    every = max(shared["steps"] // 15, 1)
    curve = train_tabular(Lengths(), built, shared["steps"], shared["prompts"], shared["n"], rate, seed, every=every)
    return {"accuracy": curve.last(), "length": curve.last("length"), "lowest": min(curve.figures["gold"])}
