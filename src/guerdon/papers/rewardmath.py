"""RewardMATH: reward models for mathematics judged by one right solution against nine wrong ones (arXiv 2410.01729).

A benchmark of pairs whose right solution is written by a human and whose wrong one by a machine can be won by style.
Here the right solution, in machine style too, has to beat nine wrong ones strictly, and the score then predicts how
much a policy gains when it is optimised against the model, by best-of-n or reinforcement learning. The measures are in
`guerdon.evaluation`: `one_to_many_accuracy`, `mean_reciprocal_rank`, `aggregate_steps`, `pairwise_scores`,
`best_of_n_report`, `correlate`; the recipe is the optimisation against the model that is judged.

Where this differs from the paper:

* best-of-n curves are the mean over all subsets of a pool of samples, where the official code takes the first n;
* the official code scores a solution without steps 0.5; here it is not scored, and is never chosen;
* step scores of 0 or 1 are bounded to [1e-6, 1 - 1e-6] for mean log-odds and mean odds, which would be infinite;
* answers are compared by the project's verifiers, not by the official "aggressive" equivalence;
* the claim is on synthetic solutions, with policies in closed form.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from guerdon import ops
from guerdon.claims import Claim, Comparison
from guerdon.credit import GroupNormalized
from guerdon.objective import ClippedSurrogate
from guerdon.papers.paper import Paper
from guerdon.recipe import Recipe
from guerdon.score.models.feature_reward import FeatureReward
from guerdon.search import BestOfN, Independent
from guerdon.stages import Score
from guerdon.tasks.styled_solutions import StyledSolutions

PAPER = Paper(
    number=56,
    slug="rewardmath",
    title="Evaluating Robustness of Reward Models for Mathematical Reasoning",
    arxiv="2410.01729",
    year=2024,
    stages=("BestOfN",),
    summary="judge a reward model by one right solution against nine wrong ones in the same style",
)

OPTIMISERS = ("best_of_n", "policy")


def recipe(
    score: Sequence[Score] = (),
    *,
    optimiser: str = "best_of_n",
    n: int | None = None,
    by: str = "outcome",
    aggregate: str = "prod",
    ties: str = "majority",
    eps: float = 1e-4,
    kl_coef: float = 0.05,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    aggregation: str = "dapo",
) -> Recipe:
    """Optimisation against the reward model that is judged.

    Args:
        score: Stages that fill the outcome or process rewards with the reward model, and the column `extracted`.
        optimiser: "best_of_n" = keep the best of n samples; "policy" = a clipped policy gradient on the scores.
        n: Samples of a problem; None = 256 for best-of-n, 8 for a policy.
        by: What samples are chosen by: "outcome", "process", or a column of numbers.
        aggregate: How step scores become one score.
        ties: Which of several best samples; "majority" = one with the commonest answer among them.
        eps: Is added to the standard deviation of the advantage.
        kl_coef: Weight of the k3 KL against the initial policy, in the loss.
        clip_low: How far the ratio may fall below 1.
        clip_high: How far it may rise above 1.
        aggregation: How the losses of tokens become one number.

    Raises:
        ValueError: An unknown optimiser.

    Example:
        >>> recipe().rollout, recipe().select
        (Independent(n=256), (BestOfN(score='outcome', aggregate='prod', ties='majority'),))
    """
    if optimiser not in OPTIMISERS:
        raise ValueError(f"optimiser is {optimiser!r}: expected one of {OPTIMISERS}")
    best = optimiser == "best_of_n"
    policy = ClippedSurrogate(clip_low, clip_high, kl="k3", kl_coef=kl_coef, aggregation=aggregation)
    return Recipe(
        score=score,
        select=(BestOfN(by, aggregate, ties),) if best else (),
        credit=GroupNormalized(eps=eps),
        objective=None if best else policy,
        rollout=Independent(n or (256 if best else 8)),
        name="rewardmath",
    )


def direct_rating(reply: str) -> int:
    """The rating of a judge that was asked for an integer from 1 to 10 after "Rating:"; 1 where none can be read.

    The stage `guerdon.score.judge.Judge` leaves such a response unscored; the benchmark gives it the lowest rating.

    Example:
        >>> direct_rating("Rating: 3 at first. In the end, Rating: 8"), direct_rating("very good")
        (8, 1)
    """
    from guerdon.score.judge.parse import UnreadableReplyError, rating

    try:
        return rating(reply)
    except UnreadableReplyError:
        return 1


def claim() -> Claim:
    """Which benchmark predicts what optimisation against a reward model gains?"""
    return Claim(
        number=PAPER.number,
        slug=PAPER.slug,
        statement=(
            "The score on RewardMATH correlates with the gain of best-of-n and PPO (r2 above 0.8), that on the pairs "
            "of RewardBench-math does not (about 0.13 or less); the policies of robust models do not fall in gold "
            "score."
        ),
        setting=(
            "Solutions of 12 features: a noisy reading of being right, a mark of human style, a length that style "
            "shifts, 9 nuisances. 36 reward models a seed, fitted to 400 pairs each, half of them linear and half with "
            "a hidden layer of 8: 12 shares of pairs, from 0 to 1, whose right solution is in human style, by 3 "
            "draws; each model reads with a noise of its own between 0.3 and 1.5. Benchmarks of 500 problems. Gain in "
            "accuracy: best of 64 from pools of 256 samples of 200 problems (10 % to 60 % right), by the mean "
            "over all subsets; and the KL-regularised optimum at 2 nats. 2 % of the samples are wrong ones in human "
            "style. The arm `constant` gives all models the same score: it explains nothing, by definition r2 is 0. "
            "`turn_worst` and `turn_best`: how far gold falls from its peak to n = 256 for the third of the models "
            "with the lowest and the highest benchmark scores."
        ),
        tuning=(
            "there is nothing to tune: all arms judge the same 36 models. One seed that is not among those measured "
            "was run before; nothing was changed after it"
        ),
        runner="guerdon.papers.rewardmath:run_arm",
        arms={
            "constant": {},
            "one pair, human style": {"wrong": 1, "human": True},
            "one pair, one style": {"wrong": 1, "human": False},
            "one against nine": {"wrong": 9, "human": False},
        },
        shared={"shares": 12, "draws": 3, "pairs": 400, "problems": 500, "pools": 200, "samples": 256, "kl": 2.0},
        metrics={
            "r2_best_of_n": "r2 of benchmark score and gain of the best of 64",
            "r2_policy": "r2 of benchmark score and gain of a policy at 2 nats",
            "turn_worst": "fall of gold after its peak, the third of the models with the lowest scores",
            "turn_best": "the same for the third with the highest scores",
        },
        comparisons=(
            Comparison(
                "r2_best_of_n",
                "one against nine",
                "one pair, human style",
                0.3,
                statement="one against nine predicts best-of-n better than pairs with a leak of style",
            ),
            Comparison("r2_policy", "one against nine", "one pair, human style", 0.3, statement="and a policy"),
            Comparison("r2_best_of_n", "one against nine", "constant", 0.7, statement="its r2 is at least 0.7"),
            Comparison("r2_policy", "one against nine", "constant", 0.7, statement="for a policy too"),
            Comparison(
                "turn_best",
                "one against nine",
                "constant",
                0.0,
                lower_is_better=True,
                statement="models that score high turn over less than the mean of all",
            ),
            Comparison(
                "turn_worst", "one against nine", "constant", 0.0, statement="and models that score low turn over more"
            ),
        ),
        seeds=10,
    )


def trained_models(lab: StyledSolutions, shared: dict[str, Any], seed: int) -> list[tuple[FeatureReward, float]]:
    """The reward models of a seed, each with the noise of its reading."""
    from guerdon.train.reward.feature_pairs import fit_bradley_terry

    generator = torch.Generator().manual_seed(1_000 * seed)
    shares = torch.linspace(0.0, 1.0, shared["shares"]).tolist()
    models = []
    for draw in range(shared["draws"]):
        noises = torch.linspace(0.3, 1.5, len(shares))[torch.randperm(len(shares), generator=generator)].tolist()
        for index, (share, noise) in enumerate(zip(shares, noises, strict=True)):
            model = FeatureReward(lab.names, hidden=8 * ((index + draw) % 2), seed=index)
            win, lose = lab.pairs(shared["pairs"], share, noise, generator)
            fit_bradley_terry(model, win, lose, optimiser="lbfgs", penalty=1e-3, epochs=100)
            models.append((model, noise))
    return models


@torch.no_grad()
def optimised(
    model: FeatureReward, noise: float, lab: StyledSolutions, shared: dict[str, Any], seed: int
) -> dict[str, float]:
    """What optimisation against a model gains in gold, and how far gold falls after its peak."""
    from guerdon.evaluation import best_of_n_report

    generator = torch.Generator().manual_seed(1_000 * seed + 1)
    features, gold = lab.pools(shared["pools"], shared["samples"], noise, generator)
    proxy = model(features.reshape(-1, features.shape[-1])).double().reshape(gold.shape)
    curve = best_of_n_report(proxy, gold, resamples=1)
    at_64 = curve.gold[curve.n.index(min(64, shared["samples"]))].mean
    law, _ = ops.tilt_to_kl(torch.full_like(gold, 1.0 / gold.shape[1]), proxy, shared["kl"])
    policy = float((law * gold).sum(1).mean())
    return {"best_of_n": at_64 - curve.gold[0].mean, "policy": policy - float(gold.mean()), "turn": curve.drop}


@torch.no_grad()
def benchmark_score(
    model: FeatureReward, noise: float, lab: StyledSolutions, arm: dict[str, Any], problems: int, seed: int
) -> float:
    """Accuracy of a model on a benchmark of the lab; 0 for all models on the constant one."""
    from guerdon.evaluation import one_to_many_accuracy

    if not arm:
        return 0.0
    generator = torch.Generator().manual_seed(1_000 * seed + 2)
    right, wrong = lab.benchmark(problems, arm["wrong"], arm["human"], noise, generator)
    rejected: Tensor = model(wrong.reshape(-1, wrong.shape[-1])).reshape(wrong.shape[:2])
    return float(one_to_many_accuracy(model(right), rejected).double().mean())


def run_arm(arm: dict[str, Any], shared: dict[str, Any], seed: int, folder: Path) -> dict[str, float]:
    """Measure one arm with one seed; called by the claim harness in a process of its own."""
    lab = StyledSolutions()
    models = trained_models(lab, shared, seed)
    gains = [optimised(model, noise, lab, shared, seed) for model, noise in models]
    scores = torch.tensor(
        [benchmark_score(model, noise, lab, arm, shared["problems"], seed) for model, noise in models]
    )
    found = {}
    for name in ("best_of_n", "policy"):
        explained = ops.r2(scores, torch.tensor([gain[name] for gain in gains]))
        found[f"r2_{name}"] = 0.0 if math.isnan(explained) else explained
    turns = torch.tensor([gain["turn"] for gain in gains])
    third = max(len(models) // 3, 1)
    order = scores.argsort(stable=True)
    # Equal scores choose nobody: then it is the mean of all.
    equal = bool((scores == scores[0]).all())
    found["turn_worst"] = float((turns if equal else turns[order[:third]]).mean())
    found["turn_best"] = float((turns if equal else turns[order[-third:]]).mean())
    return found
