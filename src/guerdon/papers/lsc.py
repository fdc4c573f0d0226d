"""LSC: rewards through the log-sigmoid, centred on a reference of the prompt, and summed (arXiv 2402.00742).

A Bradley-Terry reward is known up to a constant of the prompt. Minus the reward of a reference response of that prompt,
and through the log-sigmoid, it is the log-probability of being better than the reference. Gains saturate, so that weak
responses are improved first; and the sum over several properties is the log-probability of being good in all of them.

Where this differs from the paper:

* no code was published: the 85 % quantile of the base policy's rewards as the reference is the published one for
  helpfulness, other properties may have quantiles of their own;
* without a critic (`critic=False`) advantages are minus the mean of the group and not divided by its standard
  deviation, which would undo the saturation;
* the claim is in closed form: laws over finitely many candidates, compared at equal divergence from the base policy.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from guerdon import ops
from guerdon.claims import Claim, Comparison
from guerdon.credit import GAE, GroupNormalized
from guerdon.objective import ClippedSurrogate
from guerdon.papers.paper import Paper
from guerdon.recipe import Recipe
from guerdon.search import Independent
from guerdon.shape import Blend, LogSigmoidCentred
from guerdon.stages import Score, Shape

PAPER = Paper(
    number=51,
    slug="lsc",
    title="Transforming and Combining Rewards for Aligning Large Language Models",
    arxiv="2402.00742",
    year=2024,
    stages=("LogSigmoidCentred",),
    summary="log-sigmoid of the reward minus a reference of the prompt; sums of it are conjunctions",
)


def recipe(
    score: Sequence[Score] = (),
    *,
    terms: tuple[str, ...] = ("outcome",),
    references: tuple[str, ...] = ("references",),
    quantiles: tuple[float, ...] = (0.85,),
    weights: tuple[float, ...] | None = None,
    method: str = "empirical",
    transform: str = "lsc",
    n: int = 1,
    critic: bool = True,
    kl_coef: float = 0.05,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    aggregation: str = "dapo",
) -> Recipe:
    """PPO on the transformed rewards of one property or several.

    Args:
        score: Stages that fill the outcome, or a column for each property.
        terms: Names of the properties' scores: "outcome", or columns.
        references: Names of the columns with the scores of the base policy's responses to the same prompt.
        quantiles: Which quantile of them is the reference, one a property.
        weights: One a property; None = 1 each, as in the paper.
        method: Of the quantile: "empirical" or "gaussian".
        transform: "lsc", or "sum" = the raw rewards' weighted sum, the baseline.
        n: Responses for a prompt.
        critic: Whether advantages are GAE's, from `tokens["values"]`; else the group's mean is the baseline.
        kl_coef: Weight of the KL against the initial policy: of the reward with a critic, of the loss without.
        clip_low: How far the ratio may fall below 1.
        clip_high: How far it may rise above 1.
        aggregation: How the losses of tokens become one number.

    Raises:
        ValueError: An unknown transform.

    Example:
        >>> recipe(terms=("helpful", "harmless"), references=("a", "b"), quantiles=(0.85, 0.95)).shape[0].quantiles
        (0.85, 0.95)
    """
    if transform not in ("lsc", "sum"):
        raise ValueError(f"transform is {transform!r}: expected 'lsc' or 'sum'")
    shape: Shape = LogSigmoidCentred(terms, references, quantiles, weights, method)
    if transform == "sum":
        shape = Blend(terms, weights or (1.0,) * len(terms))
    return Recipe(
        score=score,
        shape=(shape,),
        credit=GAE(kl_coef=kl_coef) if critic else GroupNormalized(scale="none"),
        objective=ClippedSurrogate(clip_low, clip_high, kl_coef=0.0 if critic else kl_coef, aggregation=aggregation),
        rollout=Independent(n),
        name="lsc",
    )


def claim() -> Claim:
    """Two properties that pull against each other, and one reward that can be hacked, in closed form."""
    return Claim(
        number=PAPER.number,
        slug=PAPER.slug,
        statement=(
            "At equal KL the transformed reward wins more often than the raw one, hacks less, and the sum of two "
            "transformed rewards is better on both properties at once than the sum of the raw ones."
        ),
        setting=(
            "20,000 candidate responses under a uniform base policy. Two properties: Gaussian rewards of standard "
            "deviation 2 and correlation -0.5, the gold is the lower of them. One property: a standard normal gold, a "
            "reward with noise 0.3, and 1 % hacks whose reward is about 5 and whose gold is about -2. References: the "
            "85 % quantile of 64 responses of the base policy. The policy is the optimum of the utility at a given KL. "
            "Judged is the mean over the seeds: at 1 nat 3 of the 20 seeds alone are below 0.3, the lowest at 0.279. "
            "The share of responses above both references is reported and nothing is asserted of it."
        ),
        tuning="there is nothing to tune: all arms are compared at the same divergences",
        runner="guerdon.papers.lsc:run_arm",
        arms={"sum": {"transform": "sum"}, "lsc": {"transform": "lsc"}},
        shared={"candidates": 20_000, "references": 64},
        metrics={
            "both_1": "mean of the lower of both properties at 1 nat",
            "both_2": "at 2 nats",
            "both_3": "at 3 nats",
            "good_1": "share of responses above both references at 1 nat",
            "good_2": "at 2 nats",
            "good_3": "at 3 nats",
            "hacked_1": "mean gold of the single property at 1 nat",
        },
        comparisons=(
            Comparison("both_1", "lsc", "sum", 0.3, statement="LSC is better on both properties at 1 nat"),
            Comparison("both_2", "lsc", "sum", 0.3, statement="at 2 nats"),
            Comparison("both_3", "lsc", "sum", 0.3, statement="at 3 nats"),
            Comparison("hacked_1", "lsc", "sum", 0.3, statement="LSC is hacked less"),
        ),
        seeds=20,
    )


def run_arm(arm: dict[str, Any], shared: dict[str, Any], seed: int, folder: Path) -> dict[str, float]:
    """Measure one arm with one seed; called by the claim harness in a process of its own."""
    from guerdon.tasks.candidates import gaussian_candidates

    sizes = {"candidates": shared["candidates"], "references": shared["references"], "seed": seed}
    two = gaussian_candidates(properties=2, spread=2.0, correlation=-0.5, noise=0.0, hacks=0.0, **sizes)
    names: dict[str, Any] = {"terms": ("proxy_0", "proxy_1"), "references": ("references_0", "references_1")}
    utility = two.utility(*recipe(transform=arm["transform"], quantiles=(0.85, 0.85), **names).shape)
    reference = torch.stack([ops.reference_quantile(drawn, 0.85) for drawn in two.references])
    good = (two.proxy > reference[..., None]).all(0)
    figures = {}
    for kl in (1, 2, 3):
        law, _ = ops.tilt_to_kl(two.reference, utility, kl)
        figures[f"both_{kl}"] = float(two.means(law)["gold"])
        figures[f"good_{kl}"] = float((law * good).sum(-1).mean())
    one = gaussian_candidates(**sizes)
    hacked = one.utility(*recipe(transform=arm["transform"]).shape)
    return figures | {"hacked_1": float(one.at_kl(hacked, 1.0)["gold"])}
