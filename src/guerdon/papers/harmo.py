"""HARMO: rules where an answer can be checked, a model where it cannot, and several aspects (arXiv 2510.05283).

The prompt decides who judges: a rule if it has a checkable answer, a reward model if it has none. Added to that are a
reward for the format, and a penalty on wrong responses that are much shorter than the right ones of their group,
against the drift to brevity. Advantages are minus the mean of the group, without a division.

Where this differs from the paper:

* no code was published, and the exact shape of the length penalty and its settings could not be read: the penalty
  here has the published ingredients (the group's right responses as the yardstick, a tolerance, a largest penalty);
  0.5 and 0.2 are this project's;
* this is the text half: who judges a row is the score stage's business (`guerdon.score.router.Router`), and any reward
  model, for images too, can stand there;
* a response that could not be scored takes no part.
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
from guerdon.shape import Blend, LengthPenalty
from guerdon.stages import Score, Shape

PAPER = Paper(
    number=54,
    slug="harmo",
    title="Beyond Monolithic Rewards: A Hybrid and Multi-Aspect Reward Optimization for MLLM Alignment",
    arxiv="2510.05283",
    year=2025,
    stages=("Router", "LengthPenalty", "Blend"),
    summary="a rule or a model by prompt, plus format, minus a penalty for being shorter than right responses",
)


def recipe(
    score: Sequence[Score] = (),
    *,
    p_max: float = 0.5,
    tau: float = 0.2,
    side: str = "short",
    format_weight: float = 0.5,
    n: int = 8,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    kl_coef: float = 0.01,
    aggregation: str = "dapo",
) -> Recipe:
    """Mean-centred GRPO on the sum of accuracy, length penalty and format.

    Args:
        score: Stages that fill the outcome (a `Router` between a rule and a model) and, with a `format_weight`, the
            column `format` (0 or 1).
        p_max: Largest length penalty; 0 = none.
        tau: Relative distance from the mean length of the group's right responses that costs nothing.
        side: Which wrong responses lose: "short", "long" or "both".
        format_weight: What a well-formed response gets.
        n: Responses for a prompt.
        clip_low: How far the ratio may fall below 1.
        clip_high: How far it may rise above 1.
        kl_coef: Weight of the KL against the initial policy.
        aggregation: How the losses of tokens become one number.

    Example:
        >>> recipe().credit.scale
        'none'
    """
    shape: tuple[Shape, ...] = (LengthPenalty(strength=p_max, tolerance=tau, side=side),)
    if format_weight:
        shape = (*shape, Blend(("outcome", "format"), (1.0, format_weight)))
    return Recipe(
        score=score,
        shape=shape,
        credit=GroupNormalized(scale="none"),
        objective=ClippedSurrogate(clip_low, clip_high, kl_coef=kl_coef, aggregation=aggregation),
        rollout=Independent(n),
        name="harmo",
    )


def claim() -> Claim:
    """A policy over lengths whose reward favours brevity, with and without the penalty."""
    return Claim(
        number=PAPER.number,
        slug=PAPER.slug,
        statement=(
            "The best 3B model gains about 9.5 % on average over its baseline, about 16 % on math; the hybrid is "
            "better than the model alone, and the length penalty stabilises training."
        ),
        setting=(
            "The length penalty alone: a softmax policy over the lengths 1 to 20, which does not see that a problem "
            "needs 3, 6 or 9; a response is right with probability 0.95 sigmoid(length - need). The reward is right or "
            "wrong plus 1.5 (1 - length / 20), as a similarity to a short reference favours brevity. 16 groups of 8, "
            "800 updates, plain policy gradient, penalty 1, tolerance 0.2. All figures are exact."
        ),
        tuning=(
            "every arm has the best of three learning rates by accuracy on three seeds of their own; a first version "
            "had 0.5 for all"
        ),
        runner="guerdon.papers.harmo:run_arm",
        arms={
            "no penalty": {"p_max": 0.0, "brevity": 1.5},
            "penalty": {"p_max": 1.0, "brevity": 1.5},
            "no penalty, no bias": {"p_max": 0.0, "brevity": 0.0},
            "penalty, no bias": {"p_max": 1.0, "brevity": 0.0},
        },
        shared={"steps": 800, "prompts": 16, "n": 8, "rate": 0.5},
        metrics={"accuracy": "probability of a right response", "length": "mean length of the responses"},
        comparisons=(
            Comparison(
                "accuracy", "penalty", "no penalty", 0.01, statement="the penalty makes up for some of the bias"
            ),
            Comparison("length", "penalty", "no penalty", 0.0, statement="by longer responses"),
            Comparison(
                "accuracy", "penalty, no bias", "no penalty, no bias", -0.01, statement="without a bias it does no harm"
            ),
        ),
        seeds=10,
        grid=Grid("rate", (0.125, 0.5, 2.0), "accuracy"),
    )


def run_arm(arm: dict[str, Any], shared: dict[str, Any], seed: int, folder: Path) -> dict[str, float]:
    """Train one arm with one seed; called by the claim harness in a process of its own."""
    from guerdon.tasks.lengths import Lengths
    from guerdon.tasks.tabular import train_tabular

    built = recipe(p_max=arm["p_max"], format_weight=0.0)
    biased = built.replace(shape=(*built.shape, Blend(("outcome", "brevity"), (1.0, 1.0))), objective=Reinforce("sum"))
    lab = Lengths(
        needs=(3.0, 6.0, 9.0), shortest=1, ceiling=0.95, centre=9.0, width=3.0, personal=None, brevity=arm["brevity"]
    )
    curve = train_tabular(lab, biased, shared["steps"], shared["prompts"], shared["n"], shared["rate"], seed)
    return {"accuracy": curve.last(), "length": curve.last("length")}
